"""A closer look where the first one was not enough: which part of which frame, and what it adds.

The first look sees whole frames, 448 pixels on the long side. It is enough for most videos, and
then nothing here does anything. Three things it cannot do: follow somebody whose pose or light is
unusual (a square around the last place is looked at, larger), see small people, and name more than
six (both times every frame is looked at again in four parts that overlap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from semtta.people.appearance import colours
from semtta.people.movenet import MoveNet
from semtta.people.ownership import without_mixtures
from semtta.people.tracker import (
    Chain,
    Detections,
    box_iou,
    box_size,
    likeness,
    suppress_duplicates,
    together,
)

Region = tuple[int, int, int, int]  # x0 y0 x1 y1, pixels x0 <= x < x1, y0 <= y < y1

PARTS = 2  # along each side
COVER = 3 / (2 * PARTS + 1)  # of a side; neighbours share a third of a part
_SMALL = 1 / 8  # of the picture's long side: people below it are small
_SLOTS, _GOOD = 6, 0.2  # people that one look can name; the score of those that count
_MISSED = 0.25  # seconds from which somebody is lost; below, the gap is filled well enough
_SEARCHED = 1.0  # seconds for which a lost person is looked for, from either end
_AROUND = 2.5  # sides of the person: the square that is looked at
_WORTH_IT = 0.8  # of the picture's long side: a larger square would show nothing larger
_SEEN = 0.5  # seconds; who was seen for less is not looked for
_MAIN, _MOST = 0.4, 4  # nor is who is smaller than this share of the largest, nor a fifth person
_EDGE = 0.02  # of the picture's long side: who was this near to its border has left
_TRUSTED = 0.3  # seconds for which a velocity is believed
_SAME = 0.75  # likeness of two detections of one person
_LARGEST = 0.8  # a part's answer counts if it shows this much of the person's length


@dataclass
class Search:
    """Where was looked already: nobody is looked for twice in one place.

    Args:
        size: width, height of the picture.
        times: (T,) seconds of all frames.
    """

    size: tuple[int, int]
    times: np.ndarray
    looked: dict[int, list[Region]] = field(default_factory=dict)

    def everywhere(self) -> dict[int, list[Region]]:
        """All parts of all frames."""
        parts = _parts(self.size)
        return {t: parts for t in range(len(self.times))}

    def lost(
        self, chains: Sequence[Chain], detections: Sequence[Detections]
    ) -> dict[int, list[Region]]:
        """Squares around those who are missing, in the frames in which they are."""
        found: dict[int, list[Region]] = {}
        for chain in self._main(chains, detections):
            boxes = np.stack([detections[t].boxes[n] for t, n in zip(chain.frames, chain.picks)])
            for t, box in self._missing(chain, boxes, detections):
                region = self._around(box)
                before = self.looked.setdefault(t, [])
                if region is not None and not _covered(region, before):
                    before.append(region)
                    found.setdefault(t, []).append(region)
        return found

    def _main(self, chains, detections) -> list[Chain]:
        """Those who were seen for long enough, are not far smaller than others, and then longest
        and largest."""
        step = _step(self.times)
        long = [chain for chain in chains if len(chain) * step >= _SEEN]
        sizes = [
            box_size(np.stack([detections[t].boxes[n] for t, n in zip(c.frames, c.picks)]))
            for c in long
        ]
        least = _MAIN * max((float(np.median(size)) for size in sizes), default=0.0)
        order = np.argsort([-size.sum() for size in sizes], kind="stable")
        return [long[i] for i in order if np.median(sizes[i]) >= least][:_MOST]

    def _missing(self, chain: Chain, boxes: np.ndarray, detections):
        """(frame, expected box) of the frames in which somebody is missing."""
        times, frames = self.times, chain.frames
        for i in np.flatnonzero(np.diff(times[frames]) > _MISSED):
            for t in range(frames[i] + 1, frames[i + 1]):
                share = (times[t] - times[frames[i]]) / (times[frames[i + 1]] - times[frames[i]])
                yield t, boxes[i] * (1 - share) + boxes[i + 1] * share
        for last, way in ((True, 1), (False, -1)):
            at = -1 if last else 0
            if self._left(boxes[at]) or not self._is_lost(int(frames[at]), way, boxes[at],
                                                          detections):  # fmt: skip
                continue
            velocity = _velocity(boxes, times[frames], last=last)
            t = int(frames[at]) + way
            while 0 <= t < len(times) and abs(times[t] - times[frames[at]]) <= _SEARCHED:
                away = float(np.clip(times[t] - times[frames[at]], -_TRUSTED, _TRUSTED))
                yield t, boxes[at] + np.tile(away * velocity, 2)
                t += way

    def _is_lost(self, frame: int, way: int, box: np.ndarray, detections) -> bool:
        """Whether the video goes on for long enough, and nobody stands in that place."""
        times = self.times
        rest = abs(times[-1 if way > 0 else 0] - times[frame])
        after = frame + way
        if rest < _MISSED or not 0 <= after < len(times):
            return False
        people = detections[after]
        return not len(people) or float(box_iou(box[None], people.boxes).max()) < 0.5

    def _left(self, box: np.ndarray) -> bool:
        width, height = self.size
        edge = _EDGE * max(width, height)
        return bool(
            (box[:2] < edge).any() or box[2] > width - 1 - edge or box[3] > height - 1 - edge
        )

    def _around(self, box: np.ndarray) -> Region | None:
        """The square around a box, moved into the picture; None if it shows nothing larger."""
        side = _AROUND * float((box[2:] - box[:2]).max())
        if not 8 <= side <= _WORTH_IT * max(self.size):
            return None
        low, high = [], []
        for middle, length in zip((box[:2] + box[2:]) / 2, self.size):
            width = int(min(round(side), length))
            start = int(np.clip(round(float(middle) - side / 2), 0, length - width))
            low.append(start)
            high.append(start + width)
        return low[0], low[1], high[0], high[1]


def _covered(region: Region, others: Sequence[Region]) -> bool:
    """Whether nearly the same place was looked at."""
    if not others:
        return False
    boxes = np.array(others, float)
    return float(box_iou(np.array([region], float), boxes).max()) > 0.6


def _velocity(boxes: np.ndarray, times: np.ndarray, *, last: bool) -> np.ndarray:
    """(2,) pixels per second at an end of a chain."""
    part = slice(-5, None) if last else slice(None, 5)
    centres, times = boxes[part].reshape(-1, 2, 2).mean(1), times[part]
    elapsed = times[-1] - times[0]
    return (centres[-1] - centres[0]) / elapsed if elapsed > 0 else np.zeros(2)


def _step(times: np.ndarray) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30


def why_everywhere(
    chains: Sequence[Chain], detections: Sequence[Detections], size: tuple[int, int],
    first: int = 0,
) -> str | None:  # fmt: skip
    """Why every frame needs a closer look; None if none does.

    Args:
        size: width, height of the picture.
        first: frame with which the part begins that was looked at."""
    if not chains:
        return "nobody was found at first"
    full = [(people.scores >= _GOOD).sum() >= _SLOTS for people in detections[first:]]
    if np.mean(full) >= 0.5:
        return "there are more people than one look can name"
    largest: dict[int, float] = {}
    for chain in chains:
        for t, n in zip(chain.frames, chain.picks):
            box = detections[t].boxes[n]
            largest[t] = max(largest.get(t, 0.0), float((box[2:] - box[:2]).max()))
    small = float(np.median(list(largest.values()))) < _SMALL * max(size)
    return "people are small" if small else None


def _parts(size: tuple[int, int]) -> list[Region]:
    """Equal parts of a picture, in rows; neighbours overlap."""
    starts, lengths = [], []
    for length in size:
        part = min(round(COVER * length), length)
        starts.append([round(i * (length - part) / (PARTS - 1)) for i in range(PARTS)])
        lengths.append(part)
    return [(x, y, x + lengths[0], y + lengths[1]) for y in starts[1] for x in starts[0]]


def look_closer(net: MoveNet, image: np.ndarray, regions: Sequence[Region]) -> Detections:
    """Everyone in parts of an image (H, W, 3), but for those whom a part's edge cuts."""
    found = None
    for x0, y0, x1, y1 in regions:
        people = net(np.ascontiguousarray(image[y0:y1, x0:x1]))
        offset = np.array([x0, y0], float)
        boxes, edge = people.boxes + np.tile(offset, 2), 0.01 * max(x1 - x0, y1 - y0)
        whole = (boxes[:, 0] > x0 + edge) | (x0 == 0)
        whole &= (boxes[:, 1] > y0 + edge) | (y0 == 0)
        whole &= (boxes[:, 2] < x1 - 1 - edge) | (x1 == image.shape[1])
        whole &= (boxes[:, 3] < y1 - 1 - edge) | (y1 == image.shape[0])
        moved = Detections(boxes, people.scores, people.xy + offset, people.conf)[whole]
        found = moved if found is None else together(found, moved)
    assert found is not None
    found = without_mixtures(suppress_duplicates(found))
    return Detections(found.boxes, found.scores, found.xy, found.conf, colours(image, found))


def added(first: Detections, closer: Detections, *, prefer_closer: bool) -> Detections:
    """Both looks' people, each once.

    Args:
        prefer_closer: of somebody whom both show, the closer look's answer is taken, unless it
            shows only a part of the person; else the first's."""
    same = likeness(closer, first) >= _SAME
    if not prefer_closer:
        return together(first, closer[~np.any(same, axis=1)])
    whole = _length(closer)[:, None] >= _LARGEST * _length(first)[None]
    better = ~np.any(same & ~whole, axis=1)
    replaced = np.any(same & better[:, None], axis=0)
    return together(first[~replaced], closer[better])


def _length(people: Detections) -> np.ndarray:
    """(N,) long sides of the boxes, pixels."""
    return (people.boxes[:, 2:] - people.boxes[:, :2]).max(1, initial=0)
