"""Tracks over time: stretches without a gap, and rotations at other frame times."""

from __future__ import annotations

import roma
import torch
from torch import Tensor

MAX_GAP = 0.25  # seconds without a frame, over which nothing is bridged


def stretches(times: Tensor) -> list[slice]:
    """Parts of a track, (T,) increasing seconds, without a gap longer than ``MAX_GAP``."""
    edges = [0, *((times.diff() > MAX_GAP).nonzero()[:, 0] + 1).tolist(), len(times)]
    return [slice(a, b) for a, b in zip(edges, edges[1:]) if b > a]


def resample_positions(rotmats: Tensor, grid: Tensor) -> Tensor:
    """Slerp between neighbouring frames.

    Args:
        rotmats: (T, ..., 3, 3).
        grid: (..., L) fractional positions in 0..T-1; a whole number returns that frame as it is.
    Returns: (*grid.shape, ..., 3, 3). Gradient reaches ``rotmats``."""
    low = grid.floor().long()
    high = (low + 1).clamp_max(len(rotmats) - 1)
    share = (grid - low).to(rotmats)
    if bool((share < 1e-3).all()):
        return rotmats[low]
    first, second = rotmats[low], rotmats[high]
    share = share.reshape(*grid.shape, *[1] * (first.dim() - grid.dim() - 1))
    step = roma.rotmat_to_rotvec(first.mT @ second)
    return first @ roma.rotvec_to_rotmat(share * step)


def fractional_index(times: Tensor, wanted: Tensor) -> Tensor:
    """Where the wanted times lie between given ones, clamped to the ends.

    Args:
        times: (T,) seconds, strictly increasing.
        wanted: (L,) seconds.
    Returns: (L,) fractional positions. Frame times are rounded to milliseconds, so positions
        within a twentieth of a frame snap to it and equal rates resample exactly."""
    if len(times) == 1:
        return torch.zeros_like(wanted)
    high = torch.searchsorted(times.contiguous(), wanted).clamp(1, len(times) - 1)
    low = high - 1
    share = (wanted - times[low]) / (times[high] - times[low]).clamp_min(1e-9)
    position = (low + share).clamp(0, len(times) - 1)
    rounded = position.round()
    return torch.where((position - rounded).abs() < 0.05, rounded, position)
