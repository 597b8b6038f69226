"""Person boxes and the affine maps between image and crop.

A *square box* is (centre x, centre y, side) in image pixels. A crop of ``size`` pixels shows it
completely: image point p maps to (p - centre) * size / side + size / 2, all in continuous
coordinates; the half-pixel between them and pixel centres is dealt with in ``crop_affine``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def square_boxes(boxes: Tensor, scale: float = 1.0) -> Tensor:
    """(..., 4) x0 y0 x1 y1 -> (..., 3) centre and side = max(width, height) * scale, pixels."""
    low, high = boxes[..., :2], boxes[..., 2:]
    side = (high - low).amax(-1, keepdim=True) * scale
    return torch.cat(((low + high) / 2, side), dim=-1)


def box_overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of two (..., 4) boxes x0 y0 x1 y1: (...) in [0, 1]."""
    common = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    common = common.clamp_min(0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b)]
    return common / (areas[0] + areas[1] - common)


def to_crop(xy: Tensor, boxes: Tensor, size: float) -> Tensor:
    """Image pixels -> crop pixels: xy (B, J, 2), boxes (B, 3) -> (B, J, 2)."""
    return (xy - boxes[:, None, :2]) * (size / boxes[:, None, 2:]) + size / 2


def to_image(xy: Tensor, boxes: Tensor, size: float) -> Tensor:
    """Inverse of :func:`to_crop`."""
    return (xy - size / 2) * (boxes[:, None, 2:] / size) + boxes[:, None, :2]


def crop_affine(box: Tensor, size: int) -> Tensor:
    """(2, 3) affine from image pixels to crop pixels for ``cv2.warpAffine``, one box (3,)."""
    scale = size / float(box[2])
    shift = size / 2 - scale * box[:2]
    return torch.tensor([[scale, 0.0, float(shift[0])], [0.0, scale, float(shift[1])]])


def keypoint_boxes(xy: Tensor, conf: Tensor, margin: float = 1.2) -> Tensor:
    """Boxes around the present keypoints, (T, J, 2), (T, J) -> (T, 4) pixels.

    Frames without any keypoint take the box of the nearest frame that has some."""
    present = conf > 0
    low = xy.masked_fill(~present[..., None], torch.inf).amin(1)
    high = xy.masked_fill(~present[..., None], -torch.inf).amax(1)
    seen = present.sum(1) >= 2
    if not seen.any():
        raise ValueError("no frame has two keypoints, so no box can be drawn around them")
    index = torch.arange(len(xy), device=xy.device)
    nearest = (index[:, None] - index[seen][None]).abs().argmin(1)
    low, high = low[seen][nearest], high[seen][nearest]
    center, half = (low + high) / 2, (high - low).clamp_min(2.0) / 2 * margin
    return torch.cat((center - half, center + half), dim=-1)
