"""Whose a landmark result is: nobody gets a mesh that lies on somebody else, or between two people.

The landmark network sees a crop and follows whom it likes. MoveNet, which sees all at once, says
whose joints are where; a result that has more of another person's joints is refused.
"""

from __future__ import annotations

import numpy as np

from semtta.people.fusion import COCO_IN_BODY
from semtta.people.tracker import Detections, box_size
from semtta.skeletons import COCO17

_LIMBS = COCO17.indices(
    [f"{s}_{p}" for s in ("left", "right")
     for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]
)  # fmt: skip
_FLIP = np.array(COCO17.flip)
_SURE = 0.3
_ON = 0.1  # person sizes; a landmark this near to a joint is that joint
_CHANCE = 3  # of twelve limb joints may lie on somebody else's by chance
_LEAST = 3  # joints that only one of two people explains
_MIXED = 0.8  # share of a detection's joints that two others explain


def is_strangers(
    points: np.ndarray, xy: np.ndarray, conf: np.ndarray, size: np.ndarray | float,
    other_xy: np.ndarray, other_conf: np.ndarray, other_size: np.ndarray | float,
) -> np.ndarray:  # fmt: skip
    """Whether landmarks are another person's, or between that person and their own.

    Args:
        points: (..., 27, 2) landmarks in ``BODY27``, pixels.
        xy, conf: (..., 17, 2), (..., 17) MoveNet's joints of their own person; confidence 0 where
            unseen.
        size, other_size: (...,) of the two people, pixels.
        other_xy, other_conf: as ``xy``, ``conf``, of the other person.
    Returns: (...,) bool.

    Landmarks on a joint of both count for their own person. The other's left and right may be
    exchanged, as the landmark network does.
    """
    body = points[..., COCO_IN_BODY, :]
    own = _on(body, xy, conf, size)
    theirs = _on(body, other_xy, other_conf, other_size)
    theirs |= _on(body, other_xy[..., _FLIP, :], other_conf[..., _FLIP], other_size)
    count = (theirs & ~own)[..., _LIMBS].sum(-1)
    return (count > _CHANCE) & (count > own[..., _LIMBS].sum(-1))


def _on(
    points: np.ndarray, xy: np.ndarray, conf: np.ndarray, size: np.ndarray | float
) -> np.ndarray:
    near = _ON * np.asarray(size)[..., None]
    return (np.linalg.norm(points - xy, axis=-1) < near) & (conf > _SURE)


def without_mixtures(people: Detections) -> Detections:
    """People without those who are made of two others: half the joints of one, half of the other.

    A crowd's densest places are told so. Who is told with a better score is never dropped.
    """
    order = np.argsort(-people.scores, kind="stable")
    people, size = people[order], box_size(people.boxes[order])
    kept: list[int] = []
    for i in range(len(people)):
        sure = people.conf[i] > 0.2
        off = np.linalg.norm(people.xy[kept] - people.xy[i], axis=-1) / max(size[i], 1e-9)
        on = (off < _ON) & (people.conf[kept] > 0.2) & sure
        if not _made_of_two(on, int(sure.sum())):
            kept.append(i)
    return people[np.array(kept, int)]


def _made_of_two(on: np.ndarray, sure: int) -> bool:
    """Whether two rows of (N, 17) bool explain ``sure`` joints between them, neither alone."""
    for a in range(len(on)):
        for b in range(a):
            alone = int((on[a] & ~on[b]).sum()), int((on[b] & ~on[a]).sum())
            if min(alone) >= _LEAST and (on[a] | on[b]).sum() >= _MIXED * sure:
                return True
    return False
