"""What people look like, as far as telling them apart after a gap needs it: colours of the clothes.

A chain that ends and one that begins soon after are one person's if the second begins where the
first can have come to, in the same size and the same colours, and if nobody else, of whatever
colours, can have come from there or to there. In doubt they stay two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from semtta.people.tracker import Chain, Detections, box_size
from semtta.skeletons import COCO17

_LEVELS = 4  # of each of red, green and blue
_SIDE = 24  # pixels of a patch that are looked at, along each side
_SURE = 0.2
_TRUNK = COCO17.indices(["left_shoulder", "right_shoulder", "left_hip", "right_hip"])
_LEGS = COCO17.indices(["left_hip", "right_hip", "left_knee", "right_knee"])
_LONGEST = 2.0  # seconds of a gap; the network sees nothing in it, so it must be filled
_AT_ENDS = 8  # detections that say where, how large and of which colours a chain ends or begins
_REACH = 0.5, 1.5  # person sizes off the expected place: at once, and more in every second
_TRUSTED = 0.3  # seconds for which a velocity is believed
_GROWTH = 1.7  # largest ratio of sizes
_ALIKE = 0.8  # least similarity of colours; nine in ten pairs of ends of one person reach 0.85
_EDGE = 0.03  # of the picture's long side: who ends or begins this near to its border came or went


def colours(image: np.ndarray, people: Detections) -> np.ndarray:
    """Colours of trunk and thighs of the N people of an RGB image (H, W, 3) uint8.

    Returns:
        (N, 128) roots of two histograms' shares; the product of two is their similarity in [0, 1].
    """
    rows = [
        np.concatenate([_histogram(image, people, n, part) for part in (_TRUNK, _LEGS)])
        for n in range(len(people))
    ]
    width = 2 * _LEVELS**3
    return np.stack(rows).astype(np.float16) if rows else np.zeros((0, width), np.float16)


def _histogram(image: np.ndarray, people: Detections, n: int, part: list[int]) -> np.ndarray:
    """(64,) of the rectangle around the part's joints, or of the box's middle if unsure of it."""
    points = people.xy[n, part]
    if (people.conf[n, part] > _SURE).sum() >= 3:
        low, high = points.min(0), points.max(0)
    else:
        corners = people.boxes[n].reshape(2, 2)
        low, high = corners[0] * 0.65 + corners[1] * 0.35, corners[0] * 0.35 + corners[1] * 0.65
    size = np.array([image.shape[1], image.shape[0]])
    x0, y0 = np.clip(np.floor(low), 0, size - 1).astype(int)
    x1, y1 = np.clip(np.ceil(high), 0, size - 1).astype(int)
    rows = np.linspace(y0, y1, min(_SIDE, y1 - y0 + 1)).astype(int)
    columns = np.linspace(x0, x1, min(_SIDE, x1 - x0 + 1)).astype(int)
    pixels = image[rows[:, None], columns].reshape(-1, 3) // (256 // _LEVELS)
    cells = pixels.astype(int) @ np.array([_LEVELS**2, _LEVELS, 1])
    counts = np.bincount(cells, minlength=_LEVELS**3)
    return np.sqrt(counts / counts.sum() / 2)


def join(
    chains: Sequence[Chain],
    detections: Sequence[Detections],
    times: Sequence[float],
    picture: tuple[int, int],
) -> list[Chain]:
    """Chains of one person made one: by place, size and colours, and only where nobody else fits.

    Args:
        chains: as :func:`semtta.people.tracker.link` gives them.
        detections: with their colours; without, nothing is joined.
        times: seconds per frame.
        picture: width, height.
    """
    if len(chains) < 2 or any(people.colours is None for people in detections):
        return list(chains)
    clock = np.asarray(times)
    ends = [_End(chain, detections, clock, last=True) for chain in chains]
    starts = [_End(chain, detections, clock, last=False) for chain in chains]
    after = _successors(ends, starts, picture)
    followers = set(after.values())
    joined = []
    for i in range(len(chains)):
        if i in followers:
            continue
        parts = [i]
        while parts[-1] in after:
            parts.append(after[parts[-1]])
        joined.append(
            Chain(
                np.concatenate([chains[part].frames for part in parts]),
                np.concatenate([chains[part].picks for part in parts]),
            )
        )
    return joined


class _End:
    """Where, when, how large and of which colours a chain ends or begins."""

    def __init__(
        self, chain: Chain, detections: Sequence[Detections], times: np.ndarray, *, last: bool
    ):
        part = slice(-_AT_ENDS, None) if last else slice(None, _AT_ENDS)
        frames, picks = chain.frames[part], chain.picks[part]
        boxes = np.stack([detections[t].boxes[n] for t, n in zip(frames, picks)])
        centres = boxes.reshape(-1, 2, 2).mean(1)
        at = -1 if last else 0
        self.time, self.centre, self.box = float(times[frames[at]]), centres[at], boxes[at]
        self.size = float(np.median(box_size(boxes)))
        elapsed = float(times[frames[-1]] - times[frames[0]])
        self.velocity = (centres[-1] - centres[0]) / elapsed if elapsed > 0 else np.zeros(2)
        rows = [detections[t].colours for t in frames]
        seen = np.stack([row[n] for row, n in zip(rows, picks) if row is not None])
        self.colours = np.sqrt((seen.astype(float) ** 2).mean(0))

    def at_border(self, picture: tuple[int, int]) -> bool:
        """Whether the box is about to leave the picture, or just came in, on the left or right."""
        edge = _EDGE * max(picture)
        return bool(self.box[0] < edge or self.box[2] > picture[0] - 1 - edge)


def _can_be(end: _End, start: _End) -> bool:
    """Whether a chain can go on as another, by place and size."""
    small, large = sorted((end.size, start.size))
    if small <= 0 or large > _GROWTH * small:
        return False
    gap = start.time - end.time
    trusted = min(gap, _TRUSTED)
    moved = start.centre - end.centre
    off = min(float(np.linalg.norm(moved - trusted * v)) for v in (end.velocity, start.velocity))
    return off <= (_REACH[0] + _REACH[1] * gap) * large


def _successors(
    ends: Sequence[_End], starts: Sequence[_End], picture: tuple[int, int]
) -> dict[int, int]:
    """End -> start of those who can be each other and nobody else, in the same colours."""
    begins = np.array([start.time for start in starts])
    order = np.argsort(begins, kind="stable")
    of_end: dict[int, list[int]] = {}
    of_start: dict[int, list[int]] = {}
    for a, end in enumerate(ends):
        first, last = np.searchsorted(begins[order], [end.time, end.time + _LONGEST], "right")
        for b in map(int, order[first:last]):
            if _can_be(end, starts[b]):
                of_end.setdefault(a, []).append(b)
                of_start.setdefault(b, []).append(a)
    return {
        a: found[0]
        for a, found in of_end.items()
        if len(found) == len(of_start[found[0]]) == 1
        and float(ends[a].colours @ starts[found[0]].colours) >= _ALIKE
        and not ends[a].at_border(picture)
        and not starts[found[0]].at_border(picture)
    }
