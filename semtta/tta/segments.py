"""Segments: windows of the prior's length in which the person does one thing.

A segment is a run of poses with one label, without a gap in time, that lasts as long as the prior
looks (60 frames at 30 fps = 2 s). The video has its own frame times, so a segment's rotations are
resampled to the prior's grid by slerp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from semtta.motion.resample import MAX_GAP, fractional_index, resample_positions, stretches


@dataclass(frozen=True)
class Segments:
    """All stride-1 segments of one track, and what they leave over.

    Args:
        windows: (n,) positions in the track of each segment's frames.
        labels: text of each segment.
        grid: (S, length) fractional positions in the track of the prior's frames; where a run
            is shorter than the prior looks, its last frame is repeated.
        loose: runs of positions that no segment covers (unlabelled, too short, or alone in time).
        frames_per_window: about how many of the track's frames last as long as a segment.
    """

    windows: tuple[Tensor, ...]
    labels: tuple[str, ...]
    grid: Tensor
    loose: tuple[Tensor, ...]
    frames_per_window: int

    def __len__(self) -> int:
        return len(self.windows)

    def resample(self, rotmats: Tensor, which: Tensor | None = None) -> Tensor:
        """Rotations of the track at the prior's frame times, differentiable.

        Args:
            rotmats: (T, J, 3, 3) of the whole track.
            which: (S',) segments, default all.
        Returns: (S', length, J, 3, 3)."""
        grid = self.grid if which is None else self.grid[which.cpu()]
        return resample_positions(rotmats, grid.to(rotmats))

    def resample_path(self, path: Tensor, which: Tensor) -> Tensor:
        """(T, D) values of the track at the prior's frame times of some segments: (S', length, D),
        linear between frames."""
        grid = self.grid[which.cpu()].to(path)
        low = grid.floor().long()
        high = (low + 1).clamp_max(len(path) - 1)
        return torch.lerp(path[low], path[high], (grid - low)[..., None])

    def resample_window(self, rotmats: Tensor, index: int) -> Tensor:
        """The same for one segment from the rotations of its own frames: (n, J, 3, 3)."""
        return resample_positions(rotmats, (self.grid[index] - self.windows[index][0]).to(rotmats))

    def frames_of(self, gate: Tensor, frame_count: int) -> Tensor:
        """(S,) bool of segments -> (frame_count,) bool: frames that any of them covers."""
        frames = torch.zeros(frame_count, dtype=torch.bool)
        for i in torch.nonzero(gate)[:, 0].tolist():
            frames[self.windows[i]] = True
        return frames

    def only(self, kept: Tensor) -> Segments:
        """Some of the segments, (S,) bool; frames that none of them covers are left over."""
        if bool(kept.all()):
            return self
        which = torch.nonzero(kept)[:, 0].tolist()
        ends = [int(run[-1]) for run in (*self.windows, *self.loose)]
        count = max(ends, default=-1) + 1
        rest = torch.nonzero(~self.frames_of(kept, count))[:, 0]
        runs = tuple(run for run in _consecutive(rest) if len(run))
        windows = tuple(self.windows[i] for i in which)
        labels = tuple(self.labels[i] for i in which)
        return Segments(windows, labels, self.grid[which], runs, self.frames_per_window)

    def best_per_frame(self, value: Tensor, frame_count: int) -> Tensor:
        """(S,) per segment -> (frame_count,) maximum over covering segments, NaN where none."""
        best = torch.full((frame_count,), -torch.inf)
        for window, v in zip(self.windows, value.tolist(), strict=True):
            best[window] = best[window].clamp_min(v)
        return best.masked_fill(torch.isinf(best), torch.nan)


def find_segments(
    frames: Tensor,
    times: Tensor,
    labels: list[str | None],
    *,
    fps: float,
    length: int,
    stride: int = 1,
) -> Segments:
    """All segments of a track.

    Runs too short for a segment are left over, except where no run of the video is long enough:
    then each of them is one segment with its last frame repeated. A pose alone shows no movement
    and is left over always.

    Args:
        frames: (T,) frame numbers in the video; where gaps are, times alone say.
        times: (T,) seconds.
        labels: one text or None per frame.
        fps, length: of the prior.
        stride: first frames of neighbouring segments are this far apart; the last window of a
            run is always taken."""
    duration = (length - 1) / fps
    tolerance = 0.5 / fps
    runs = label_stretches(times, labels)
    long_enough = [
        labels[a] is not None and float(times[b - 1] - times[a]) >= duration - tolerance
        for a, b in runs
    ]
    pad = not any(long_enough)
    windows, texts, grids = [], [], []
    loose: list[tuple[int, int]] = []
    for (a, b), fits in zip(runs, long_enough):
        text = labels[a]
        if text is None or b - a == 1 or not (fits or pad):
            loose.append((a, b))
            continue
        run_times = times[a:b].double()
        last = int((run_times <= run_times[-1] - duration + tolerance).sum()) if fits else 1
        starts = sorted({*range(0, last, stride), last - 1})
        for start in starts:
            wanted = run_times[start] + torch.arange(length, dtype=torch.float64) / fps
            position = fractional_index(run_times, wanted)
            stop = int(position[-1].ceil()) + 1
            windows.append(torch.arange(a + start, a + stop))
            texts.append(text)
            grids.append(a + position)
    grid = torch.stack(grids) if grids else torch.zeros(0, length, dtype=torch.float64)
    step = float(times.diff().median()) if len(times) > 1 else 1 / fps
    per_window = round(duration / step) + 1
    return Segments(tuple(windows), tuple(texts), grid, _joined(loose), per_window)


def label_stretches(times: Tensor, labels: Sequence[str | None]) -> list[tuple[int, int]]:
    """Half-open ranges of consecutive poses with one label and no gap in time.

    Frame numbers say nothing: poses may come of every second frame, or of two in three."""
    starts = {run.start for run in stretches(times)}
    starts |= {i for i in range(1, len(labels)) if labels[i] != labels[i - 1]}
    return list(pairwise([*sorted(starts), len(labels)]))


def _joined(runs: list[tuple[int, int]]) -> tuple[Tensor, ...]:
    """Positions of runs, those that touch as one: frame by frame, a gap does not matter."""
    joined: list[tuple[int, int]] = []
    for a, b in runs:
        if joined and joined[-1][1] == a:
            a = joined.pop()[0]
        joined.append((a, b))
    return tuple(torch.arange(a, b) for a, b in joined)


def _consecutive(positions: Tensor) -> list[Tensor]:
    """Increasing positions, cut where one is missing."""
    cuts = torch.nonzero(positions.diff() > 1)[:, 0] + 1
    return list(positions.tensor_split(cuts))


def lone_poses(times: Tensor) -> str:
    """A sentence about a track whose poses are mostly too far apart to show movement, else ""."""
    alone = sum(run.stop - run.start == 1 for run in stretches(times))
    if len(times) < 2 or 2 * alone <= len(times):
        return ""
    return (
        f"{alone} of {len(times)} poses are more than {MAX_GAP:g} s away from the next: no movement"
        " is seen between them, so each is fitted alone, without text or smoothing; give 5 poses a "
        "second or more."
    )


def _even_windows(run: Tensor, length: int) -> list[Tensor]:
    """As few windows of ``length`` as cover a run, evenly spaced; a short run is one window."""
    count = -(-len(run) // length)
    starts = torch.linspace(0, len(run) - length, count).round().long().tolist()
    return [run[start : start + length] for start in starts]


def draw_batches(
    segments: Segments,
    weights: Tensor,
    *,
    batch_segments: int,
    coverage: float,
    generator: torch.Generator,
    steps: int | None = None,
) -> list[list[tuple[Tensor, int]]]:
    """One epoch's batches: segments drawn with replacement, and the left-over frames.

    Args:
        segments: of the track.
        weights: (S,) sampling weights, 1 - similarity clamped at 0 (docs/paper.md, sampling).
        batch_segments: windows per batch.
        coverage: how often an epoch sees each frame, on average.
        steps: exact number of batches, all full, in place of ``coverage``; where there are fewer
            draws than left-over runs, chance says which runs an epoch sees.
    Returns: batches of (positions, segment index or -1 for left-over frames)."""
    longest = max((len(w) for w in segments.windows), default=segments.frames_per_window)
    loose = [_even_windows(run, longest) for run in segments.loose]
    least = [len(pieces) for pieces in loose]
    one_pass = [len(run) / len(p[0]) for run, p in zip(segments.loose, loose)]
    if len(segments):
        covered = torch.unique(torch.cat(segments.windows)).numel()
        one_pass.insert(0, covered * len(segments) / sum(len(w) for w in segments.windows))
        least.insert(0, 1)
    if steps is None:
        counts = [max(a, round(coverage * b)) for a, b in zip(least, one_pass)]
    else:
        counts = _shared_out(steps * batch_segments, one_pass, generator)
    draws: list[tuple[Tensor, int]] = []
    if len(segments) and (count := counts.pop(0)):
        weights = weights.clamp_min(0) + 1e-6
        picks = torch.multinomial(weights, count, replacement=True, generator=generator)
        draws += [(segments.windows[i], i) for i in picks.tolist()]
    for pieces, count in zip(loose, counts):
        some = steps is not None and len(pieces) > 1  # not all of them, or not equally often
        first = int(torch.randint(len(pieces), (), generator=generator)) if some else 0
        draws += [(pieces[(first + i) % len(pieces)], -1) for i in range(count)]
    order = torch.randperm(len(draws), generator=generator).tolist()
    draws = [draws[i] for i in order]
    return [draws[i : i + batch_segments] for i in range(0, len(draws), batch_segments)]


def _shared_out(total: int, shares: list[float], generator: torch.Generator) -> list[int]:
    """Whole numbers in proportion to ``shares``, ``total`` in all; chance hands out the rest."""
    exact = torch.tensor(shares, dtype=torch.float64)
    exact = exact * total / exact.sum()
    counts = exact.floor()
    rest = total - int(counts.sum())
    if rest:
        more = torch.multinomial(exact - counts + 1e-9, rest, generator=generator)
        counts[more] += 1
    return [int(count) for count in counts]
