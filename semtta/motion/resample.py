"""A track's rotations at the motion prior's frame rate and length, differentiably."""

from __future__ import annotations

import roma
import torch
from torch import Tensor

from semtta.errors import SemttaError


def resample_rotmats(rotmats: Tensor, times: Tensor, fps: float) -> Tensor:
    """Rotations at a constant rate from the first to the last given time, by slerp.

    Args:
        rotmats: (T, ..., 3, 3).
        times: (T,) seconds, strictly increasing.
        fps: frames a second of the result.
    Returns: (N, ..., 3, 3) with N = 1 + floor((times[-1] - times[0]) * fps). Where a result
    falls on a given frame that frame is returned as it is. Gradient reaches ``rotmats``.
    """
    if len(rotmats) != len(times) or len(times) == 0:
        raise SemttaError(f"{len(rotmats)} rotations for {len(times)} times; one each is needed.")
    seconds = times.detach().double().cpu()
    if len(seconds) > 1 and not bool((seconds[1:] > seconds[:-1]).all()):
        raise SemttaError("times of a track must be strictly increasing.")
    count = int((seconds[-1] - seconds[0]) * fps + 1e-6) + 1
    wanted = seconds[0] + torch.arange(count, dtype=torch.float64) / fps
    after = torch.searchsorted(seconds, wanted - 1e-6 / fps).clamp(max=len(seconds) - 1)
    before = (after - 1).clamp(min=0)
    span = (seconds[after] - seconds[before]).clamp(min=1e-12)
    share = ((wanted - seconds[before]) / span).clamp(0, 1)
    share = torch.where(after == before, torch.zeros_like(share), share)
    on_frame = (share - share.round()).abs() < 1e-5
    nearest = torch.where(share < 0.5, before, after).to(rotmats.device)
    out = rotmats[nearest]
    between = torch.nonzero(~on_frame).flatten()
    if len(between) == 0:
        return out
    start = rotmats[before[between].to(rotmats.device)]
    stop = rotmats[after[between].to(rotmats.device)]
    weight = share[between].to(rotmats).reshape(-1, *[1] * (rotmats.dim() - 3))
    mixed = _slerp(start, stop, weight)
    return out.index_copy(0, between.to(rotmats.device), mixed)


def _slerp(start: Tensor, stop: Tensor, weight: Tensor) -> Tensor:
    """Geodesic interpolation; (..., 3, 3), (..., 3, 3), (...) -> (..., 3, 3)."""
    step = roma.rotmat_to_rotvec(start.transpose(-1, -2) @ stop)
    return start @ roma.rotvec_to_rotmat(weight[..., None] * step)


def pad_to(rotmats: Tensor, length: int) -> Tensor:
    """(T, ...) to (length, ...): the last frame repeated if short, cut if long."""
    missing = length - len(rotmats)
    if missing <= 0:
        return rotmats[:length]
    return torch.cat((rotmats, rotmats[-1:].expand(missing, *rotmats.shape[1:])))
