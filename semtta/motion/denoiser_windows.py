"""A track of any length and frame rate as the denoiser's windows, and back.

Each stretch without a gap is brought to 30 fps and cut into overlapping windows; what the network
makes of them is merged by a weighted chordal mean.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.errors import SemttaError
from semtta.geometry import nearest_rotation
from semtta.motion.denoiser_net import JOINTS, WINDOW

FPS = 30.0
STRIDE = 15  # frames between the starts of overlapping windows


@dataclass(frozen=True)
class Grid:
    """A stretch at 30 fps, and where its windows lie."""

    rotmats: Tensor  # (N, 24, 3, 3)
    seen: Tensor  # (N, 24)
    text: Tensor  # (N, D)
    index: Tensor  # (S, 60) frames of each window; the padding repeats the last
    at: Tensor  # (N,) seconds from the start of the stretch
    trans: Tensor | None = None  # (N, 3)


@dataclass(frozen=True)
class Windows:
    """Some windows of a grid."""

    rotmats: Tensor  # (S, 60, 24, 3, 3)
    seen: Tensor  # (S, 60, 24)
    text: Tensor  # (S, D)
    index: Tensor  # (S, 60) frame on the 30 fps grid; the padding repeats the last
    trans: Tensor | None = None  # (S, 60, 3)


def check_track(
    rotmats: Tensor,
    times: Tensor,
    seen: Tensor,
    text: Tensor | None,
    trans: Tensor | None = None,
) -> None:
    """Raise ``SemttaError`` unless the counts belong together and times increase."""
    frames = len(rotmats)
    lengths = {len(times), len(seen)}
    if trans is not None and trans.shape != (frames, 3):
        raise SemttaError(f"the root's path of a track of {frames} frames is ({frames}, 3), "
                          f"not {tuple(trans.shape)}.")  # fmt: skip
    if text is not None and text.dim() == 2:
        lengths.add(len(text))
    if rotmats.shape[1:] != (JOINTS, 3, 3) or lengths != {frames} or frames == 0:
        raise SemttaError(
            f"a track to denoise needs rotations (T, {JOINTS}, 3, 3) with one time, one row of "
            f"seen and one row of text per frame, not {tuple(rotmats.shape)} with {lengths}."
        )
    if not (times.diff() > 0).all():
        raise SemttaError("times of a track must be strictly increasing.")


def per_frame(text: Tensor | None, times: Tensor) -> Tensor:
    """(T, D) of a text for each frame, (D,) for all, or None: then D is 0."""
    if text is None:
        return torch.zeros(len(times), 0, device=times.device)
    return text.expand(len(times), -1)


def grid_of(
    rotmats: Tensor,
    times: Tensor,
    seen: Tensor,
    text: Tensor,
    stride: int = STRIDE,
    trans: Tensor | None = None,
) -> Grid:
    """One stretch at 30 fps, its windows ``stride`` frames apart (the last one always)."""
    local = seconds_from_first(times)
    count = int(torch.ceil(local[-1] * FPS - 1e-2)) + 1
    at = torch.arange(count, dtype=torch.float64) / FPS
    seen = seen.to(rotmats)
    poses = interpolate(rotmats, local, seen, at)
    weights = resample_values(seen, local, at)
    nearest = torch.searchsorted((local[1:] + local[:-1]) / 2, at)
    starts = [*range(0, count - WINDOW, stride), max(count - WINDOW, 0)]
    index = torch.tensor(starts)[:, None] + torch.arange(WINDOW)
    index = index.clamp(max=count - 1).to(rotmats.device)
    path = None if trans is None else resample_values(trans.to(rotmats), local, at)
    return Grid(poses, weights, text[nearest.to(text.device)], index, at, path)


def joined(parts: list[Grid]) -> Grid:
    """Several stretches as one; no window crosses from one to the next."""
    first = [0, *itertools.accumulate(len(part.rotmats) for part in parts)]
    return Grid(
        torch.cat([part.rotmats for part in parts]).detach(),
        torch.cat([part.seen for part in parts]),
        torch.cat([part.text for part in parts]),
        torch.cat([part.index + start for part, start in zip(parts, first)]),
        torch.cat([part.at for part in parts]),
    )


def gather(track: Grid, index: Tensor) -> Windows:
    """Windows of the frames (S, 60)."""
    label = F.normalize(track.text[index.to(track.text.device)].mean(1), dim=-1)
    path = None if track.trans is None else track.trans[index]
    return Windows(track.rotmats[index], track.seen[index], label, index, path)


def seconds_from_first(times: Tensor) -> Tensor:
    """Times from the first, float64 on the CPU (not every accelerator has float64)."""
    times = times.cpu().double()
    return times - times[0]


def merged(out: Tensor, windows: Windows) -> Tensor:
    """Windows (S, 60, 24, 3, 3) -> grid (N, 24, 3, 3), weighted chordal mean.

    A window counts most in its middle, and for each joint in proportion to how much of it the
    window has seen: a neighbour that saw the limb knows more about it."""
    weights = _weights(windows).to(out)[..., None, None]
    return nearest_rotation(_summed(out * weights, windows))


def merged_values(values: Tensor, windows: Windows) -> Tensor:
    """Windows (S, 60, 24) of numbers -> grid (N, 24), weighted as rotations are."""
    weights = _weights(windows).to(values)
    return _summed(values * weights, windows) / _summed(weights, windows)


def _weights(windows: Windows) -> Tensor:
    """(S, 60, 24): how much each window counts."""
    seen = windows.seen
    ramp = torch.sin(torch.pi * (torch.arange(WINDOW, device=seen.device) + 0.5) / WINDOW) ** 2
    return (1e-3 + ramp)[None, :, None] * (0.02 + seen.mean(1))[:, None]


def _summed(values: Tensor, windows: Windows) -> Tensor:
    """Windows (S, 60, ...) -> grid (N, ...)."""
    total = values.new_zeros(int(windows.index.max()) + 1, *values.shape[2:])
    return total.index_add_(0, windows.index.flatten(), values.flatten(0, 1))


def _bracket(times: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbouring frames of each moment, and the share (N,) of the right one."""
    right = torch.searchsorted(times, at).clamp(max=len(times) - 1)
    left = (right - 1).clamp_min(0)
    span = (times[right] - times[left]).clamp_min(1e-9)
    return left, right, ((at - times[left]) / span).clamp(0, 1).float()


def resample_values(values: Tensor, times: Tensor, at: Tensor) -> Tensor:
    """Numbers (T, J) at ``times`` -> (N, J) at ``at``, linear, constant outside."""
    left, right, share = (x.to(values.device) for x in _bracket(times, at))
    return torch.lerp(values[left], values[right], share[:, None].to(values))


def interpolate(rotmats: Tensor, times: Tensor, trust: Tensor, at: Tensor) -> Tensor:
    """(T, J, 3, 3) at ``times`` -> (N, J, 3, 3) at ``at``; trusted neighbours (T, J) first."""
    left, right, share = (x.to(rotmats.device) for x in _bracket(times, at))
    share = share[:, None].to(rotmats)
    low, high = (1 - share) * (trust[left] + 1e-3), share * (trust[right] + 1e-3)
    mean = low[..., None, None] * rotmats[left] + high[..., None, None] * rotmats[right]
    return nearest_rotation(mean)
