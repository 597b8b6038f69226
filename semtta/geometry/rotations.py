"""Rotation helpers beyond roma's: the continuous 6D map, mirroring, averages over time."""

from __future__ import annotations

import roma
import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.skeletons import SMPL24

MIRROR_SMPL24 = list(SMPL24.flip)
_BLOCK = 240  # frames that are smoothed at a time
_REACH = 14.5  # standard deviations, beyond which a float32 Gaussian is zero


def columns_to_rotmat(x: Tensor) -> Tensor:
    """First two columns, one after the other, to a rotation (Zhou et al. 2019).

    Args:
        x: (..., 6) = (column 1, column 2), not necessarily orthonormal.
    Returns: (..., 3, 3)."""
    return roma.special_gramschmidt(torch.stack((x[..., :3], x[..., 3:]), dim=-1))


def rotmat_to_columns(rotmats: Tensor) -> Tensor:
    """Inverse of :func:`columns_to_rotmat`: (..., 3, 3) -> (..., 6)."""
    return torch.cat((rotmats[..., 0], rotmats[..., 1]), dim=-1)


def nearest_rotvecs(rotvecs: Tensor) -> Tensor:
    """The same rotations over time, each written as near to the one before as it can be.

    A rotation of nearly half a turn about an axis is also one about the opposite axis: written as
    they come, such vectors jump by 2 pi between two frames that look alike.

    Args:
        rotvecs: (T, ..., 3) radians.
    Returns: (T, ..., 3), of any length."""
    turn = 2 * torch.pi
    found = rotvecs.double().clone()
    for before, now in zip(found[:-1], found[1:]):
        angle = now.norm(dim=-1, keepdim=True)
        # no rotation has no axis: it takes the one before
        axis = torch.where(angle > 1e-6, now / angle, F.normalize(before, dim=-1))
        turns = (((before * axis).sum(-1, keepdim=True) - angle) / turn).round()
        now += turns * turn * axis
    return found.to(rotvecs.dtype)


def mirror_pose(rotmats: Tensor) -> Tensor:
    """Mirror an SMPL pose left-right, in body or camera axes alike (x is negated).

    Args:
        rotmats: (..., 24, 3, 3).
    Returns: (..., 24, 3, 3), M R M with M = diag(-1, 1, 1) and left and right joints exchanged."""
    sign = rotmats.new_tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])
    return rotmats[..., MIRROR_SMPL24, :, :] * sign


def geodesic_degrees(a: Tensor, b: Tensor) -> Tensor:
    """Angle between rotations: (..., 3, 3), (..., 3, 3) -> (...) degrees."""
    return torch.rad2deg(roma.rotmat_geodesic_distance(a, b))


def chordal_mean(rotmats: Tensor, weights: Tensor) -> Tensor:
    """Weighted chordal L2 mean over time with one weight vector per output frame.

    Args:
        rotmats: (T, J, 3, 3).
        weights: (S, T, J) or (S, T), non-negative, each output's weights with a positive sum.
    Returns: (S, J, 3, 3), the rotation closest to the weighted mean matrix."""
    if weights.dim() == 2:
        weights = weights[..., None].expand(-1, -1, rotmats.shape[1])
    total = weights.sum(1).clamp_min(torch.finfo(rotmats.dtype).tiny)
    mean = torch.einsum("stj,tjab->sjab", weights, rotmats) / total[..., None, None]
    return roma.special_procrustes(mean)


def gaussian_smooth(
    rotmats: Tensor, times: Tensor, sigma: float, weights: Tensor | None = None
) -> Tensor:
    """Gaussian filter over time in rotation space; times may be irregular.

    Args:
        rotmats: (T, J, 3, 3).
        times: (T,) seconds.
        sigma: seconds.
        weights: (T, J) how far each rotation is trusted, default 1.
    Returns: (T, J, 3, 3)."""
    times = times.to(rotmats)
    weights = rotmats.new_ones(rotmats.shape[:2]) if weights is None else weights
    out = []
    for at in times.split(_BLOCK):  # else memory would grow with the square of the length
        near = (times >= at.min() - _REACH * sigma) & (times <= at.max() + _REACH * sigma)
        kernel = torch.exp(-0.5 * ((at[:, None] - times[near]) / sigma) ** 2)
        out.append(chordal_mean(rotmats[near], kernel[..., None] * weights[near]))
    return torch.cat(out)
