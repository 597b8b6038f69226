"""How a body moves about, as it sees it itself: what tells walking from marching in place.

Nothing here depends on where the camera stands or how it is held, so a motion in the camera's frame
and one in the world's read alike.
"""

from __future__ import annotations

import math
from functools import lru_cache

import roma
import torch
from torch import Tensor

from semtta.motion.denoiser_input import FPS, ROOT_FEATURES, root_movement

MOVEMENT = ROOT_FEATURES + 3
_SIGMAS = (2.0, 6.0)  # frames; the two time scales
_FASTEST = 4 * math.pi  # radians per second


def body_movement(root: Tensor, trans: Tensor) -> Tensor:
    """Velocity and turning of windows at 30 fps.

    Args:
        root: (S, T, 3, 3) orientation of the pelvis.
        trans: (S, T, 3) pelvis in the camera frame, metres, same axes; zeros: not told.
    Returns: (S, T, 13): velocity at two time scales and the direction from the camera, in the
        body's mean axes; whether it was told; turning, rad/s, in the pelvis' axes."""
    kernels = _kernels(root.shape[1]).to(root)
    frame = roma.special_procrustes(root.mean(1))
    place = root_movement(trans, frame, kernels)
    turn = roma.rotmat_to_rotvec(root[:, :-1].mT @ root[:, 1:]) * FPS
    turn = kernels[0] @ torch.cat((turn[:, :1], turn), 1)
    turn = turn * (_FASTEST / turn.norm(dim=-1, keepdim=True).clamp_min(_FASTEST))
    return torch.cat((place, turn * place[..., -1:]), -1)


@lru_cache(4)
def _kernels(length: int) -> Tensor:
    """(2, T, T) Gaussians over the frames of a window, rows sum to 1."""
    frame = torch.arange(float(length))
    rows = [torch.exp(-0.5 * ((frame[:, None] - frame) / sigma) ** 2) for sigma in _SIGMAS]
    return torch.stack([row / row.sum(1, keepdim=True) for row in rows])
