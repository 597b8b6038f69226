"""What the masked motion model is trained to do: right, sure only where it is, and never slow."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from semtta.skeletons import SMPL_PARENTS
from tools.training.denoiser_table import forward_kinematics


def motion_loss(out: Tensor, clean: Tensor, seen: Tensor, rest: Tensor) -> Tensor:
    """L1 on rotation matrices, joint positions, and their first and second differences."""
    hidden = 1 + 2 * (seen < 0.5).float()[..., None]
    moved = hidden[..., [max(parent, 0) for parent in SMPL_PARENTS], :]  # by the parent's rotation
    rotation = out - clean
    local_out, local = (_pelvis_frame_joints(x, rest) for x in (out, clean))
    position = out[..., :1, :, :] @ local_out[..., None] - clean[..., :1, :, :] @ local[..., None]
    position = 10 * position[..., 0]
    loss = (rotation.abs() * hidden[..., None]).mean() + 0.2 * position.abs().mean()
    loss = loss + 4.0 * ((local_out - local).abs() * moved).mean()
    for difference in (rotation, position):
        velocity = difference.diff(dim=1)
        loss = loss + 0.5 * velocity.abs().mean() + 0.5 * velocity.diff(dim=1).abs().mean()
    return loss


def certainty_loss(out: Tensor, clean: Tensor, deviation: Tensor, seen: Tensor) -> Tensor:
    """Negative log-likelihood of the rotations' errors under the predicted deviations.

    The errors are taken as they are: being unsure is no excuse for a worse guess."""
    squared = angle(out.detach(), clean).square()
    likelihood = squared / (2 * deviation.square()) + 3 * deviation.log()
    return (likelihood * torch.where(seen < 0.5, 1.0, 0.3)).mean()


def swing_loss(out: Tensor, clean: Tensor, seen: Tensor) -> Tensor:
    """How much of each seen joint's turning is lost or added, over the whole batch.

    The slope of the output's movement on the true one: noise averages out of it, slowing stays."""
    before, after = (x[:, 2:] - x[:, :-2] for x in (clean, out))
    mask = (seen[:, 2:] * seen[:, :-2] >= 0.25)[..., None, None]
    moved = (before.square() * mask).sum((0, 1, 3, 4))
    slope = (after * before * mask).sum((0, 1, 3, 4)) / moved.clamp_min(1e-6)
    moving = (moved > 1.0).to(slope)
    return ((slope - 1).abs() * moving).sum() / moving.sum().clamp_min(1)


def angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle between rotations (..., 3, 3), radians."""
    half = (first - second).flatten(-2).norm(dim=-1) / (2 * math.sqrt(2))
    return 2 * half.clamp(max=1).asin()


def _pelvis_frame_joints(rotmats: Tensor, rest: Tensor) -> Tensor:
    """Joints (..., 24, 3) in metres as the pelvis sees them, free of the global orientation."""
    upright = torch.eye(3).expand_as(rotmats[..., :1, :, :])
    return forward_kinematics(torch.cat((upright, rotmats[..., 1:, :, :]), dim=-3), rest)
