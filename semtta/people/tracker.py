"""Identities over time: detections of single frames -> one chain of detections per person.

Pure functions on arrays. No appearance model (``appearance`` joins what remains apart): overlap of
boxes and of keypoints decides, with the person's recent velocity as prediction, assigned by the
Hungarian method. Weak detections may
continue a chain but never begin one (the idea of ByteTrack, Zhang et al., ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

# Deviation of a keypoint, relative to the person's size, that counts as "one standard
# deviation" for identity: about twice COCO's annotation noise for limbs.
_OKS_SIGMA = 0.15
_SURE = 0.2  # keypoints below this confidence have no say in identity


@dataclass(frozen=True)
class Detections:
    """The N people of one image.

    Args:
        boxes: (N, 4) x0 y0 x1 y1, pixels.
        scores: (N,) in [0, 1].
        xy: (N, J, 2) keypoints, pixels, origin at the centre of the top-left pixel.
        conf: (N, J) in [0, 1].
        colours: (N, C) of the clothes, see ``appearance``; None where no picture was looked at.
    """

    boxes: np.ndarray
    scores: np.ndarray
    xy: np.ndarray
    conf: np.ndarray
    colours: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keep) -> Detections:
        colours = None if self.colours is None else self.colours[keep]
        return Detections(
            self.boxes[keep], self.scores[keep], self.xy[keep], self.conf[keep], colours
        )


@dataclass(frozen=True)
class Chain:
    """One person's detections.

    Args:
        frames: (T,) positions in the sequence of detections, increasing, gaps where unseen.
        picks: (T,) which detection of that frame.
    """

    frames: np.ndarray
    picks: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, 4), (M, 4) -> (N, M) intersection over union."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    area_a = (a[:, 2:] - a[:, :2]).prod(-1)
    area_b = (b[:, 2:] - b[:, :2]).prod(-1)
    return common / np.maximum(area_a[:, None] + area_b[None] - common, 1e-9)


def keypoint_similarity(
    xy_a: np.ndarray,
    conf_a: np.ndarray,
    xy_b: np.ndarray,
    conf_b: np.ndarray,
    size: np.ndarray,
    sure: float = _SURE,
) -> np.ndarray:
    """Object keypoint similarity of every pair, over the joints that both are sure of.

    Args:
        xy_a, conf_a: (N, J, 2), (N, J).
        xy_b, conf_b: (M, J, 2), (M, J).
        size: (N,) size of the people of a, pixels (root of the box's area).
        sure: confidence above which a joint has a say.

    Returns:
        (N, M) in [0, 1]; NaN where fewer than three joints are shared.
    """
    squared = ((xy_a[:, None] - xy_b[None]) ** 2).sum(-1)
    scale = (2 * (_OKS_SIGMA * np.maximum(size, 1e-9)) ** 2)[:, None, None]
    shared = (conf_a[:, None] > sure) & (conf_b[None] > sure)
    count = shared.sum(-1)
    total = (np.exp(-squared / scale) * shared).sum(-1)
    return np.where(count >= 3, total / np.maximum(count, 1), np.nan)


def box_size(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) -> (...,) root of the area, pixels."""
    return np.sqrt(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1))


def likeness(a: Detections, b: Detections, sure: float = _SURE) -> np.ndarray:
    """(N, M) in [0, 1]: how far two detections are one person's, by keypoints, else by boxes."""
    same = keypoint_similarity(a.xy, a.conf, b.xy, b.conf, box_size(a.boxes), sure)
    return np.where(np.isnan(same), box_iou(a.boxes, b.boxes), same)


def together(a: Detections, b: Detections) -> Detections:
    """The people of both, a's first."""
    both = None
    if a.colours is not None and b.colours is not None:
        both = np.concatenate([a.colours, b.colours])
    return Detections(
        np.concatenate([a.boxes, b.boxes]),
        np.concatenate([a.scores, b.scores]),
        np.concatenate([a.xy, b.xy]),
        np.concatenate([a.conf, b.conf]),
        both,
    )


def suppress_duplicates(
    people: Detections, similarity: float = 0.75, sure: float = _SURE
) -> Detections:
    """Drop a person whose keypoints nearly coincide with those of a better-scored one.

    Boxes alone would not do: two people who cross share a box but not their joints.
    """
    order = np.argsort(-people.scores, kind="stable")
    people = people[order]
    same = likeness(people, people, sure)
    kept: list[int] = []
    for i in range(len(people)):
        if all(same[k, i] < similarity for k in kept):
            kept.append(i)
    return people[np.array(kept, int)]


@dataclass
class _Open:
    """A chain that may still grow."""

    frames: list[int]
    picks: list[int]
    box: np.ndarray
    xy: np.ndarray
    conf: np.ndarray
    time: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))  # pixels per second

    def shift(self, time: float, limit: float = 0.3) -> np.ndarray:
        """Expected displacement since last seen; the velocity is trusted for ``limit`` s."""
        return self.velocity * min(time - self.time, limit)


def link(
    detections: Sequence[Detections],
    times: Sequence[float],
    *,
    start_score: float = 0.3,
    keep_seconds: float = 1.0,
    max_cost: float = 0.8,
    sure: float = _SURE,
) -> list[Chain]:
    """Chains of detections, one per person, in order of appearance.

    Args:
        detections: per frame, duplicates removed.
        times: seconds per frame, increasing.
        start_score: a chain begins only with a detection at least this sure.
        keep_seconds: how long an unmatched person is waited for.
        max_cost: largest 1 - similarity of an accepted match.
        sure: confidence above which a joint has a say.
    """
    active: list[_Open] = []
    done: list[_Open] = []
    for t, (people, time) in enumerate(zip(detections, times)):
        done += [chain for chain in active if time - chain.time > keep_seconds]
        active = [chain for chain in active if time - chain.time <= keep_seconds]
        taken = set()
        for a, n in _assign(active, people, time, max_cost, sure):
            _extend(active[a], people, n, t, time)
            taken.add(n)
        for n in range(len(people)):
            if n not in taken and people.scores[n] >= start_score:
                active.append(_Open([t], [n], people.boxes[n], people.xy[n], people.conf[n], time))
    chains = sorted(done + active, key=lambda chain: (chain.frames[0], chain.picks[0]))
    return [Chain(np.array(c.frames), np.array(c.picks)) for c in chains]


def _assign(active: list[_Open], people: Detections, time: float, max_cost: float, sure: float):
    if not active or not len(people):
        return []
    shift = np.stack([chain.shift(time) for chain in active])
    boxes = np.stack([chain.box for chain in active]) + np.tile(shift, 2)
    xy = np.stack([chain.xy for chain in active]) + shift[:, None]
    conf = np.stack([chain.conf for chain in active])
    overlap = box_iou(boxes, people.boxes)
    same = keypoint_similarity(xy, conf, people.xy, people.conf, box_size(boxes), sure)
    similarity = np.where(np.isnan(same), overlap, 0.5 * overlap + 0.5 * same)
    cost = 1 - similarity
    # Pairs beyond the limit must not attract the optimum away from good pairs.
    rows, columns = linear_sum_assignment(np.minimum(cost, max_cost))
    return [(a, n) for a, n in zip(rows, columns) if cost[a, n] < max_cost]


def _extend(chain: _Open, people: Detections, n: int, t: int, time: float) -> None:
    elapsed = max(time - chain.time, 1e-6)
    moved = (people.boxes[n] - chain.box).reshape(2, 2).mean(0) / elapsed
    memory = np.exp(-elapsed / 0.15)  # seconds over which the velocity is averaged
    chain.velocity = memory * chain.velocity + (1 - memory) * moved
    chain.frames.append(t)
    chain.picks.append(n)
    chain.box, chain.xy, chain.conf = people.boxes[n], people.xy[n], people.conf[n]
    chain.time = time
