"""Where a person begins to do something else: cuts at changes of posture and liveliness.

Every frame is described by the local mean of its 2D joints, in units of the person's box, and by
how much they move about it; optimal partitioning then finds the cuts after which both change. A
regular movement such as walking has no cut inside, however long it lasts.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from semtta.keypoints import Track
from semtta.motion.resample import stretches

_RATE = 10.0  # frames a second at which cuts are sought
_LOCAL = 0.5  # seconds, standard deviation of what counts as "local"
_PENALTY = 6.0  # of one more cut: it must explain that much, for a second
_LIVELINESS = 1.5  # weight of how much joints move, against where they are
_STEADY = 0.06  # box sizes; smaller differences are the detector's


def motion_segments(
    track: Track, *, shortest: float = 1.5, longest: float = 8.0
) -> list[tuple[int, int]]:
    """Half-open ranges of positions in the track in which the person does one thing.

    Args:
        track: with 2D evidence.
        shortest, longest: seconds; a stretch of the track that is shorter is one segment.
    Returns: every position is in exactly one of them, in order."""
    times = track.times.double().numpy()
    found = []
    for part in stretches(track.times):
        start, stop = part.start, part.stop
        inner = _cuts(_joints(track, start, stop), times[start:stop], shortest, longest)
        edges = [0, *inner, stop - start]
        found += [(start + a, start + b) for a, b in zip(edges[:-1], edges[1:])]
    return found


def _joints(track: Track, start: int, stop: int) -> np.ndarray:
    """(T, J, 2) joints in box units; missing ones lie where they were last seen."""
    boxes = track.boxes[start:stop].double()
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = (boxes[:, 2:] - boxes[:, :2]).prod(-1).sqrt().median()
    xy = (track.keypoints.xy[start:stop].double() - centre[:, None]) / size
    seen = track.keypoints.conf[start:stop] > 0
    out = torch.zeros_like(xy)
    index = torch.arange(len(xy)).double().numpy()
    for j in range(xy.shape[1]):
        at = torch.nonzero(seen[:, j])[:, 0].numpy()
        for k in range(2):
            if len(at):
                column = np.interp(index, at, xy[at, j, k].numpy())
                out[:, j, k] = torch.from_numpy(column)
    return out.numpy()


def _cuts(xy: np.ndarray, times: np.ndarray, shortest: float, longest: float) -> list[int]:
    """Positions at which another segment begins."""
    if times[-1] - times[0] < 2 * shortest:
        return []
    grid = np.arange(times[0], times[-1], 1 / _RATE)
    flat = xy.reshape(len(xy), -1)
    values = np.stack([np.interp(grid, times, flat[:, d]) for d in range(flat.shape[1])], 1)
    described = _describe(values)
    edges = _partition(described, round(shortest * _RATE), round(longest * _RATE))
    return [int(np.searchsorted(times, grid[e])) for e in edges]


def _describe(values: np.ndarray) -> np.ndarray:
    """(N, D) -> (N, 2 D): local mean and local spread, about 1 for a clear difference."""
    local = partial(gaussian_filter1d, sigma=_LOCAL * _RATE, axis=0, mode="nearest")
    mean = local(values)
    spread = np.sqrt(np.maximum(local(values**2) - mean**2, 0))
    joined = np.concatenate((mean, _LIVELINESS * spread), 1)
    return joined / (_STEADY * np.sqrt(values.shape[1]))


def _partition(x: np.ndarray, shortest: int, longest: int) -> list[int]:
    """Cuts that minimise the squared distance to each segment's mean, a penalty for each cut.

    Args:
        x: (N, D).
        shortest, longest: steps."""
    count = len(x)
    total = np.concatenate((np.zeros((1, x.shape[1])), x.cumsum(0)))
    square = np.concatenate(([0.0], (x**2).sum(1).cumsum()))
    best = np.full(count + 1, np.inf)
    best[0] = -_PENALTY * _RATE
    before = np.zeros(count + 1, int)
    for stop in range(1, count + 1):
        starts = np.arange(max(0, stop - longest), stop - shortest + 1)
        if len(starts) == 0:
            continue
        length = stop - starts
        error = square[stop] - square[starts]
        error = error - ((total[stop] - total[starts]) ** 2).sum(1) / length
        value = best[starts] + error + _PENALTY * _RATE
        i = int(value.argmin())
        best[stop], before[stop] = value[i], starts[i]
    cuts, stop = [], count
    while stop > 0 and np.isfinite(best[stop]):
        stop = int(before[stop])
        cuts.append(stop)
    return [cut for cut in reversed(cuts) if cut > 0]
