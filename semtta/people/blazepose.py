"""BlazePose (full): 33 landmarks in the image and in metres, from a rotated square crop.

Network: Google, MediaPipe Pose (Apache-2.0), converted by ``tools/convert_pose_nets.py``. The
crop, the heat-map refinement and the rotation of the world landmarks follow MediaPipe's graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from semtta.people.onnx_session import open_session
from semtta.skeletons import BLAZEPOSE33

CROP = 256
_GRID = 64  # heat-map size
_MARGIN = 1.25  # MediaPipe's ROI is this much larger than the circle around the person
_FLIP = np.array([*BLAZEPOSE33.flip, 33, 34])


@dataclass(frozen=True)
class Roi:
    """A rotated square in the image.

    Args:
        center: (2,) pixels, counted from the centre of the top-left pixel.
        size: side, pixels.
        angle: radians; the crop's upward axis is the image's upward axis turned by this,
            clockwise on the screen.
    """

    center: np.ndarray
    size: float
    angle: float

    def to_image(self) -> np.ndarray:
        """(2, 3) affine map from the crop (0 … 256, edge to edge) to image pixels."""
        scale = self.size / CROP
        cos, sin = np.cos(self.angle) * scale, np.sin(self.angle) * scale
        linear = np.array([[cos, -sin], [sin, cos]])
        offset = self.center - linear @ np.full(2, CROP / 2)
        return np.concatenate([linear, offset[:, None]], 1)


def roi_from_points(center: np.ndarray, top: np.ndarray) -> Roi:
    """ROI from the point between the hips and a point above, on the circle around the person."""
    x, y = top - center
    return Roi(np.asarray(center), float(2 * _MARGIN * np.hypot(x, y)), float(np.arctan2(x, -y)))


@dataclass(frozen=True)
class Landmarks:
    """What the network says about one person in B crops.

    Args:
        xy: (B, 33, 2) image pixels.
        visibility, presence: (B, 33) in [0, 1].
        world: (B, 33, 3) metres, hip-centred, camera axes (x right, y down, z forward).
        flag: (B,) probability that the crop shows a person.
        next_center, next_top: (B, 2) the network's own proposal for the next ROI.
    """

    xy: np.ndarray
    visibility: np.ndarray
    presence: np.ndarray
    world: np.ndarray
    flag: np.ndarray
    next_center: np.ndarray
    next_top: np.ndarray


class BlazePose:
    """The landmark network with its pre- and post-processing."""

    def __init__(self, threads: int = 1):
        self.session = open_session("pose/blazepose_full.onnx", threads)

    def __call__(self, images: list[np.ndarray], rois: list[Roi], flips: list[bool]) -> Landmarks:
        """Landmarks of B RGB images (H, W, 3) uint8, each seen through its crop.

        ``flips`` says which crops are mirrored before the network sees them; their results are
        mirrored back, with left and right exchanged.
        """
        crops = np.stack([crop(image, roi) for image, roi in zip(images, rois)])
        mirrored = np.array(flips)
        crops[mirrored] = crops[mirrored, :, ::-1]
        names = ["landmarks", "flag", "heatmaps", "world"]
        raw, flag, heatmaps, world = self.session.run(names, {"image": crops})
        raw, world = raw.reshape(-1, 39, 5).astype(np.float64), world.reshape(-1, 39, 3)
        xy = refine(raw[..., :2], heatmaps)[:, :35]
        logits, world = raw[:, :35, 3:], world[:, :35].astype(np.float64)
        for b in np.flatnonzero(mirrored):
            xy[b] = xy[b, _FLIP] * [-1, 1] + [CROP, 0]
            world[b] = world[b, _FLIP] * [-1, 1, 1]
            logits[b] = logits[b, _FLIP]

        maps = np.stack([roi.to_image() for roi in rois])
        xy = xy @ maps[:, :, :2].swapaxes(1, 2) + maps[:, None, :, 2]
        turns = np.stack([_turn_about_z(roi.angle) for roi in rois])
        sure = 1 / (1 + np.exp(-logits[:, :33]))
        return Landmarks(
            xy=xy[:, :33],
            visibility=sure[..., 0],
            presence=sure[..., 1],
            world=(world @ turns.swapaxes(1, 2))[:, :33],
            flag=flag[:, 0].astype(np.float64),
            next_center=xy[:, 33],
            next_top=xy[:, 34],
        )


def crop(image: np.ndarray, roi: Roi) -> np.ndarray:
    """(256, 256, 3) uint8 view of the image through a ROI; black outside the image."""
    to_image = roi.to_image()
    # The crop's own pixels are counted from corners, by OpenCV from centres.
    to_image[:, 2] += to_image[:, :2] @ np.full(2, 0.5)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, to_image, (CROP, CROP), flags=flags)


def refine(xy: np.ndarray, heatmaps: np.ndarray, radius: int = 3) -> np.ndarray:
    """Replace regressed points by the centroid of the heat-map around them (MediaPipe's rule).

    Args:
        xy: (B, J, 2) crop pixels.
        heatmaps: (B, J, 64, 64) logits.
        radius: half the window, heat-map cells.

    Returns:
        (B, J, 2); points whose window lies outside or has no value above one half stay.
    """
    batch, joints = xy.shape[:2]
    cell = np.floor(xy * (_GRID / CROP)).astype(int)
    inside = ((cell >= 0) & (cell < _GRID)).all(-1)
    steps = np.arange(-radius, radius + 1)
    columns = cell[..., 0, None] + steps  # (B, J, K)
    rows = cell[..., 1, None] + steps
    valid = ((rows >= 0) & (rows < _GRID))[..., :, None] & ((columns >= 0) & (columns < _GRID))[
        ..., None, :
    ]
    b, j = np.arange(batch)[:, None, None, None], np.arange(joints)[None, :, None, None]
    logits = heatmaps[
        b, j, rows.clip(0, _GRID - 1)[..., :, None], columns.clip(0, _GRID - 1)[..., None, :]
    ].astype(np.float64)
    weights = np.where(valid, 1 / (1 + np.exp(-logits)), 0.0)
    total = weights.sum((-1, -2))
    x = (weights * columns[..., None, :]).sum((-1, -2))
    y = (weights * rows[..., :, None]).sum((-1, -2))
    refined = np.stack([x, y], -1) / np.maximum(total, 1e-9)[..., None] * (CROP / _GRID)
    use = inside & (weights.max((-1, -2)) >= 0.5)
    return np.where(use[..., None], refined, xy)


def _turn_about_z(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
