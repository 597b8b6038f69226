"""A motion at an even rate without gaps, as programs for animation and movement analysis want."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.motion.resample import fractional_index, resample_positions
from semtta.output.load import SavedTrack
from semtta.tta.result import Motion

_MOST = 500_000  # samples; four and a half hours at 30 a second


@dataclass(frozen=True)
class EvenMotion:
    """N samples, 1 / rate seconds apart, from the first frame of a track.

    Args:
        rate: samples a second.
        frames: (N,) numbers that count from the first frame's; the video's own where its rate is
            even and the rates are the same.
        times: (N,) seconds in the video.
        seen: (N,) bool; False inside gaps, where the motion between their ends is made up.
        motion: rotations by slerp, everything else linearly.
    """

    rate: float
    frames: Tensor
    times: Tensor
    seen: Tensor
    motion: Motion


def samples(track: SavedTrack, rate: float) -> int:
    """How many samples a track has at a rate; raises ``SemttaError`` for more than any has."""
    span = float(track.track.times[-1] - track.track.times[0])
    count = int(span * rate + 0.05) + 1
    if count > _MOST:
        raise SemttaError(
            f"track {track.track.id} spans {span:.0f} seconds, gaps included, which are {count} "
            f"samples at {rate:g} a second; at most {_MOST} are written."
        )
    return count


def whole_rate(fps: float) -> float:
    """The whole rate nearest to a video's: readers of AMASS files know no other."""
    return float(max(1, round(fps)))


def evenly(track: SavedTrack, rate: float | None = None) -> EvenMotion:
    """The adapted motion, sampled evenly; frames that lie where they should are kept as they are.

    Args:
        rate: None = the video's."""
    rate = rate or track.fps
    times, frames = track.track.times, track.track.frames
    count = samples(track, rate)
    wanted = times[0] + torch.arange(count, dtype=torch.float64) / rate
    grid = fractional_index(times, wanted)
    low = grid.long()
    high = (low + 1).clamp_max(len(times) - 1)
    share = grid - low
    seen = (share == 0) | (frames[high] - frames[low] <= 1)
    parts = {"rotmats": resample_positions(track.adapted.rotmats, grid)}
    for name in (field.name for field in fields(Motion) if field.name not in parts):
        values = getattr(track.adapted, name)
        part = share.to(values).reshape(-1, *[1] * (values.dim() - 1))
        parts[name] = torch.lerp(values[low], values[high], part)
    return EvenMotion(rate, frames[0] + torch.arange(count), wanted, seen, Motion(**parts))
