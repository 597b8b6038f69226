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
_ROUNDS = 5  # of Newton's iteration: for means of rotations within a right angle of each other
_SETTLED = 1e-5  # change in the last round, below which the next would show in no digit


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


def nearest_rotation(matrices: Tensor) -> Tensor:
    """The rotations nearest to matrices that are nearly rotations, as means of rotations are.

    ``roma.special_procrustes`` by Newton's iteration for the orthogonal part, x <- (x + x^-T) / 2
    (Higham 1986), in a quarter of its time; roma answers where that does not settle on a rotation,
    and where a gradient is wanted.

    Args:
        matrices: (..., 3, 3).
    Returns: (..., 3, 3)."""
    if matrices.requires_grad:
        return roma.special_procrustes(matrices)
    double = torch.float32 if matrices.device.type == "mps" else torch.float64  # MPS has no other
    x = matrices.to(double).reshape(-1, 3, 3)
    x = 3**0.5 * x / torch.linalg.matrix_norm(x, keepdim=True)
    change = determinant = x
    for _ in range(_ROUNDS):
        cofactors = torch.linalg.cross(x.roll(-1, -2), x.roll(-2, -2), dim=-1)
        determinant = (x * cofactors).sum((-2, -1), keepdim=True) / 3
        change = (cofactors / determinant - x) / 2
        x = x + change
    found = x.to(matrices.dtype).view_as(matrices)
    settled = (change.abs().amax((-2, -1)) < _SETTLED) & (determinant[:, 0, 0] > 0)
    if not bool(settled.all()):
        left = ~settled.view(matrices.shape[:-2])
        found[left] = roma.special_procrustes(matrices[left])
    return found


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
    return nearest_rotation(mean)


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
