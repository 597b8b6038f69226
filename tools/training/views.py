"""Angles that depth decides, and from which side somebody is seen.

Shared by the lifter's losses and by what measures it and the detector.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.skeletons import BODY27

VIEWS = ("frontal", "oblique", "side", "back")
_EDGES = torch.tensor([30.0, 60.0, 120.0])  # degrees between facing the camera and the view's end
_LYING = 0.8  # whoever faces up or down by more than this (sine) has no yaw to speak of
# (hinge, its upper end, its lower end) of both sides
HINGES = {
    "knee": [BODY27.indices((f"{s}_hip", f"{s}_knee", f"{s}_ankle")) for s in ("left", "right")],
    "elbow": [BODY27.indices((f"{s}_shoulder", f"{s}_elbow", f"{s}_wrist"))
              for s in ("left", "right")],
}  # fmt: skip


def bone_directions(points: Tensor, hinge: str) -> tuple[Tensor, Tensor]:
    """Unit bones above and below both hinges, (..., 27, 3) -> (..., 2, 3) twice."""
    top, middle, end = (points[..., [h[i] for h in HINGES[hinge]], :] for i in range(3))
    return _unit(middle - top), _unit(end - middle)


def flexion(points: Tensor, hinge: str) -> Tensor:
    """Degrees by which both hinges are bent, (..., 27, 3) -> (..., 2); 0 = straight."""
    upper, lower = bone_directions(points, hinge)
    return torch.rad2deg(2 * torch.asin(((lower - upper).norm(dim=-1) / 2).clamp_max(1.0)))


def facing(root: Tensor) -> Tensor:
    """Where the pelvis faces: rotations (..., 3, 3) in camera axes -> degrees about the vertical,
    0 = at the camera, positive = to the picture's right; NaN for those who face up or down."""
    ahead = root[..., 2]
    yaw = torch.rad2deg(torch.atan2(ahead[..., 0], -ahead[..., 2]))
    return torch.where(ahead[..., 1].abs() > _LYING, torch.nan, yaw)


def turned_by(one: Tensor, other: Tensor) -> Tensor:
    """Degrees between two directions in degrees, 0 to 180."""
    return ((one - other + 180) % 360 - 180).abs()


def view_of(yaw: Tensor) -> Tensor:
    """Index into ``VIEWS`` of directions from :func:`facing`; -1 where there is none."""
    view = torch.bucketize(yaw.abs(), _EDGES.to(yaw))
    return torch.where(torch.isnan(yaw), -1, view)


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-6)
