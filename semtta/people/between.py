"""Frames between two that were looked at: whoever is in both was on the way from one to the other.

Every second frame is enough where nobody jumps. Where somebody sure is in one of the neighbours
only, or moved far, or one of their joints did (exchanged legs do), or the neighbours lie too far
apart in time, the frame has to be looked at itself. A joint is no surer than where it is less sure.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from semtta.people.tracker import Detections, likeness

LONGEST = 0.09  # seconds from neighbour to neighbour: two frames of at least 23 a second
_SAME = 0.75  # likeness of one person's detections in the neighbours
_SURE = 0.3  # score from which somebody must be found in both: chains begin with no less
_JOINT = 0.3  # confidence from which a joint that moved far is believed to have jumped
_FAR = 0.2  # of the longer side of the box: farther no joint is thought to go in between


def midway(before: Detections, after: Detections, share: float) -> Detections | None:
    """The people of a frame between two others; None if it has to be looked at.

    Whoever is unsure and in one of them only is left out.

    Args:
        share: of the time from one to the other that has passed."""
    alike = likeness(before, after)
    one, two = linear_sum_assignment(-alike)
    pair = alike[one, two] >= _SAME
    one, two = one[pair], two[pair]
    for people, found in ((before, one), (after, two)):
        if (np.delete(people.scores, found) >= _SURE).any():
            return None
    a, b = before[one], after[two]
    moved = np.linalg.norm(a.xy - b.xy, axis=-1)  # (N, J)
    side = np.maximum((a.boxes[:, 2:] - a.boxes[:, :2]).max(1), 1)[:, None]
    if (moved > _FAR * side)[np.minimum(a.conf, b.conf) >= _JOINT].any():
        return None

    def mixed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x * (1 - share) + y * share

    clothes = None
    if a.colours is not None and b.colours is not None:  # roots of shares
        clothes = np.sqrt(mixed(a.colours.astype(float) ** 2, b.colours.astype(float) ** 2))
        clothes = clothes.astype(a.colours.dtype)
    return Detections(mixed(a.boxes, b.boxes), mixed(a.scores, b.scores), mixed(a.xy, b.xy),
                      np.minimum(a.conf, b.conf), clothes)  # fmt: skip
