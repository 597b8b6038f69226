"""Pinhole camera, and the way from a crop's weak-perspective camera to metres.

Two lineages exist. HMR/SPIN/CycleAdapt look through a camera *of the crop* (focal length 5000
crop pixels, optical axis through the crop's centre); CLIFF, HMR2.0's demo and our lifter place
the person in front of the camera *of the full image*. A model's ``CropSpec.camera`` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from semtta.errors import SemttaError

# In long sides of the picture, with room for crops of it: focal lengths from fisheye to telescope,
# and how far off the middle the optical axis may be.
_FOCAL, _OFF_CENTER = (0.05, 200.0), 5.0


@dataclass(frozen=True)
class Camera:
    """Intrinsics of the full image.

    Args:
        focal: pixels.
        center: (cx, cy) principal point, pixels.
        origin: in words, where the focal length comes from.
    """

    focal: float
    center: tuple[float, float]
    origin: str = field(default="as given", compare=False)

    def matrix(self) -> Tensor:
        """(3, 3) intrinsic matrix K, pixels."""
        (cx, cy), f = self.center, self.focal
        return torch.tensor([[f, 0.0, cx], [0.0, f, cy], [0.0, 0.0, 1.0]])


def check_camera(camera: Camera, width: int, height: int) -> Camera:
    """The camera itself; raises ``SemttaError`` for one that cannot have taken such a picture."""
    side, (low, high) = max(width, height), _FOCAL
    if not low * side <= camera.focal <= high * side:
        raise SemttaError(f"camera.focal={camera.focal:g} pixels does not belong to a picture of "
                          f"{width} x {height}.")  # fmt: skip
    cx, cy = camera.center
    if not max(abs(cx - width / 2), abs(cy - height / 2)) <= _OFF_CENTER * side:
        raise SemttaError(f"camera.center=[{cx:g}, {cy:g}] lies far outside the picture of "
                          f"{width} x {height} pixels.")  # fmt: skip
    return camera


def default_focal(width: int, height: int) -> float:
    """Focal length guessed from the image size: its diagonal (about 53 degrees), pixels.

    The usual guess of the field (CLIFF, 4D-Humans). Phones are often shorter; a known focal
    length is worth 2-3 mm after adaptation."""
    return float((width**2 + height**2) ** 0.5)


def image_camera(
    width: int,
    height: int,
    focal: float | None = None,
    center: Sequence[float] | None = None,
    origin: str = "as given",
) -> Camera:
    """Intrinsics of a picture of this size: what is given, pixels, and the usual guess of the rest.

    Raises ``SemttaError`` for a camera that cannot have taken it."""
    cx, cy = center or ((width - 1) / 2, (height - 1) / 2)
    if focal is None:
        focal, origin = default_focal(width, height), "guessed: the picture's diagonal"
    return check_camera(Camera(focal, (cx, cy), origin), width, height)


def project(points: Tensor, focal: Tensor | float, center: Tensor, eps: float = 1e-4) -> Tensor:
    """Pinhole projection.

    Args:
        points: (..., N, 3) metres, camera frame.
        focal: scalar or (...) pixels.
        center: (..., 2) or (2,) pixels.
        eps: added to the depth (CycleAdapt's guard against division by zero).
    Returns: (..., N, 2) pixels. Points behind the camera are clamped to 1 cm in front of it."""
    depth = (points[..., 2:] + eps).clamp_min(1e-2)
    focal = torch.as_tensor(focal, dtype=points.dtype, device=points.device)
    return points[..., :2] / depth * focal[..., None, None] + center[..., None, :]


def plane_boxes(boxes: Tensor, camera: Camera) -> Tensor:
    """Where square crops lie before the camera, whatever the image's size.

    Args:
        boxes: (..., 3) centre x, centre y, side of the square crop, image pixels.
        camera: intrinsics of the image.
    Returns: (..., 3) in the normalised image plane: (centre - principal point) / f, side / f."""
    center = boxes.new_tensor(camera.center)
    return torch.cat((boxes[..., :2] - center, boxes[..., 2:]), dim=-1) / camera.focal


def full_translation(cam: Tensor, boxes: Tensor, camera: Camera) -> Tensor:
    """Weak perspective of a square crop -> translation in front of the full image's camera.

    Args:
        cam: (..., 3) s, tx, ty in the crop.
        boxes: (..., 3) centre x, centre y, side of the square crop, image pixels.
        camera: intrinsics of the image.
    Returns: (..., 3) metres (CLIFF, Li et al. 2022, Eq. 4-5)."""
    scale = (cam[..., 0] * boxes[..., 2]).clamp_min(1e-6)
    cx, cy = camera.center
    x = cam[..., 1] + 2 * (boxes[..., 0] - cx) / scale
    y = cam[..., 2] + 2 * (boxes[..., 1] - cy) / scale
    return torch.stack((x, y, 2 * camera.focal / scale), dim=-1)


def weak_perspective(trans: Tensor, boxes: Tensor, camera: Camera) -> Tensor:
    """Inverse of :func:`full_translation`.

    Args:
        trans: (..., 3) metres in front of the full image's camera.
        boxes: (..., 3) centre x, centre y, side of the square crop, image pixels.
        camera: intrinsics of the image.
    Returns: (..., 3) s, tx, ty in the crop."""
    depth = trans[..., 2:]
    center = boxes.new_tensor(camera.center)
    place = trans[..., :2] - (boxes[..., :2] - center) * depth / camera.focal
    return torch.cat((2 * camera.focal / (depth * boxes[..., 2:]), place), dim=-1)


def crop_translation(cam: Tensor, size: int, focal: float = 5000.0) -> Tensor:
    """Weak perspective -> translation in front of the crop's own camera (HMR, SPIN).

    Args:
        cam: (..., 3) s, tx, ty.
        size: side of the crop, crop pixels.
        focal: crop pixels.
    Returns: (..., 3) metres = [tx, ty, 2 f / (size s + 1e-9)]."""
    depth = 2 * focal / (size * cam[..., 0] + 1e-9)
    return torch.stack((cam[..., 1], cam[..., 2], depth), dim=-1)


def ray_rotation(center: Tensor) -> Tensor:
    """Rotation of the virtual camera that looks at a point of the image, without extra roll.

    Args:
        center: (..., 2) point in the normalised image plane (x/z, y/z).
    Returns: (..., 3, 3) virtual camera -> camera; its last column is the ray through the point."""
    ray = torch.nn.functional.normalize(
        torch.cat((center, torch.ones_like(center[..., :1])), dim=-1), dim=-1
    )
    x, y, z = ray.unbind(-1)
    # Rodrigues' formula for the shortest turn from (0, 0, 1) to the ray.
    k = 1 / (1 + z)
    rows = (1 - k * x * x, -k * x * y, x, -k * x * y, 1 - k * y * y, y, -x, -y, z)
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
