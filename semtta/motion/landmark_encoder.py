"""What a person does, read from a detector's landmarks: no regressor can flatten it.

The two motion priors judge rotations, which a regressor made. This encoder names actions from what
came before: 2D landmarks, 3D landmarks, and how the person moves through the picture. So its errors
are its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.motion.encoder import LENGTH, Tower
from semtta.skeletons import BODY27

JOINTS = len(BODY27)
FRAME = JOINTS * (2 + 2 + 3 + 1 + 1) + 7
_TRUNK = BODY27.indices(["left_hip", "right_hip", "left_shoulder", "right_shoulder"])
_ACROSS = (
    BODY27.indices(["left_hip", "left_shoulder"]),
    BODY27.indices(["right_hip", "right_shoulder"]),
)
_FAR = 3.0  # box sides, or metres, beyond which a landmark is only "far out"
_SPEED = 10.0  # velocities are in this many frames


@dataclass(frozen=True)
class Landmarks:
    """What a detector says, of T frames or of windows (S, 60) at 30 fps.

    Args:
        xy: (..., 27, 2) BODY27 in the normalised image plane.
        conf: (..., 27) in [0, 1], 0 = missing.
        space: (..., 27, 3) metres, between the hips, camera axes.
        conf3d: (..., 27), 0 = missing.
        box: (..., 3) square boxes, normalised image plane.
    """

    xy: Tensor
    conf: Tensor
    space: Tensor
    conf3d: Tensor
    box: Tensor

    def at(self, index: Tensor | slice) -> Landmarks:
        """Some frames or windows."""
        parts = (self.xy, self.conf, self.space, self.conf3d, self.box)
        return Landmarks(*(part[index] for part in parts))


def landmark_features(seen: Landmarks) -> Tensor:
    """What the encoder reads of windows, (S, 60, 250).

    2D is in units of the window's usual box, from the middle of the trunk; 3D is turned about the
    vertical until the person faces the camera on the mean over the window, and how far it was
    turned stands beside it."""
    known, deep = seen.conf > 0, seen.conf3d > 0
    side = seen.box[..., 2].median(1).values.clamp_min(1e-6)[:, None, None]
    trunk = seen.conf[..., _TRUNK].gt(0)[..., None].to(seen.xy)
    middle = (seen.xy[..., _TRUNK, :] * trunk).sum(2) / trunk.sum(2).clamp_min(1)
    middle = torch.where(trunk.sum(2) > 0, middle, seen.box[..., :2])
    plane = ((seen.xy - middle[:, :, None]) / side[..., None]).clamp(-_FAR, _FAR)
    plane = plane * known[..., None]
    both = (known[:, 1:] & known[:, :-1])[..., None]
    moved = F.pad((plane[:, 1:] - plane[:, :-1]) * both * _SPEED, (0, 0, 0, 0, 1, 0))
    way = (middle - middle.mean(1, keepdim=True)) / side
    step = F.pad((middle[:, 1:] - middle[:, :-1]) / side * _SPEED, (0, 0, 1, 0))
    size = (seen.box[..., 2:] / side).clamp_min(1e-3).log()
    space, turn = _facing(seen.space.clamp(-_FAR, _FAR), deep)
    parts = (plane.flatten(2), moved.flatten(2).clamp(-_FAR, _FAR), space.flatten(2), seen.conf,
             seen.conf3d, way.clamp(-_FAR, _FAR), step.clamp(-_FAR, _FAR), size, turn)  # fmt: skip
    return torch.cat(parts, -1)


def _facing(space: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """3D landmarks turned to face the camera on the mean, and cosine and sine of the turn,
    (S, 60, 2), zeros where no 3D says."""
    left, right = (space[..., ends, :].mean(2) for ends in _ACROSS)
    whole = known[..., _TRUNK].all(-1)[..., None]
    across = ((left - right) * whole).sum(1)[:, [0, 2]]  # (S, 2): x, z
    length = across.norm(dim=1, keepdim=True)
    cosine, sine = (across / length.clamp_min(1e-6)).unbind(1)
    # the left side lies to the right in the picture of a person who faces the camera
    turn = torch.stack((cosine, sine), -1)
    x = space[..., 0] * cosine[:, None, None] + space[..., 2] * sine[:, None, None]
    z = space[..., 2] * cosine[:, None, None] - space[..., 0] * sine[:, None, None]
    some = length[:, None] > 1e-3
    turned = torch.where(some[..., None], torch.stack((x, space[..., 1], z), -1), space)
    said = (turn * (length > 1e-3))[:, None].expand(-1, space.shape[1], -1)
    return turned * known[..., None], said


class LandmarkEncoder(nn.Module):
    """Dilated convolutions over :func:`landmark_features`.

    Args:
        dim: size of the text feature.
        width, dilations: see ``Tower``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, width: int = 160, dilations: tuple[int, ...] = (1, 2, 4, 8, 1)):
        super().__init__()
        self.register_buffer("mean", torch.zeros(FRAME))
        self.register_buffer("std", torch.ones(FRAME))
        self.tower = Tower(FRAME, dim, width, dilations)

    def forward(self, seen: Landmarks) -> Tensor:
        """(S, dim) unit features."""
        if seen.xy.shape[1:3] != (LENGTH, JOINTS):
            raise ValueError(f"landmarks of shape {tuple(seen.xy.shape)}")
        return self.tower((landmark_features(seen) - self.mean) / self.std)
