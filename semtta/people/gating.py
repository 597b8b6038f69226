"""Which landmarks count as seen: two networks are heard, and nothing flips from frame to frame.

A landmark is believed as far as the landmark network's looks agree with each other, as it calls
the landmark visible, and as MoveNet, where it is sure, says the same. A landmark on another
person's body needs MoveNet's consent. Where the landmark network wavers and MoveNet is sure,
MoveNet's point is taken. Then a state changes only with good reason and for some time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, label

from semtta.people.fusion import COCO_IN_BODY, Fused, agreement
from semtta.people.rois import steady
from semtta.skeletons import BODY27

# All lengths are in person sizes (root of the box's area; about 0.7 of a standing person's height).
_LOOKS_AGREE = 0.045  # spread of the looks that halves the belief (roughly)
_NETS_AGREE = 0.12  # distance to MoveNet that does
_NETS_CONFIRM = 0.05  # within this, a sure MoveNet confirms
_TAKEN_SPREAD = 0.06  # looks that waver by more give way to a very sure MoveNet
_TAKEN_CONF = 0.6
_ON, _OFF = 0.5, 0.3  # belief that turns a landmark on; that it may sink to
_SHORT = 0.1  # seconds; shorter states are not believed
_FOLLOW = {
    "ankle": ("heel", "big_toe"),
    "wrist": ("pinky", "index", "thumb"),
}
_LIMBS = BODY27.indices(
    [f"{s}_{p}" for s in ("left", "right")
     for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]
)  # fmt: skip


@dataclass(frozen=True)
class Gated:
    """Evidence of one person in T frames, in ``BODY27``.

    Args:
        xy: (T, 27, 2) pixels.
        conf: (T, 27) in [0, 1], 0 = missing.
        boxes: (T, 4) pixels.
        world: (T, 27, 3) metres, hip-centred, camera axes.
        conf3d: (T, 27) in [0, 1].
    """

    xy: np.ndarray
    conf: np.ndarray
    boxes: np.ndarray
    world: np.ndarray
    conf3d: np.ndarray


def gate(
    fused: Fused,
    xy: np.ndarray,
    conf: np.ndarray,
    boxes: np.ndarray,
    hidden: np.ndarray,
    times: np.ndarray,
    image_size: tuple[int, int],
    foreign: np.ndarray | None = None,
) -> Gated:
    """Turn fused landmarks into evidence.

    Args:
        fused: the landmark network's answer.
        xy, conf: (T, 17, 2), (T, 17) MoveNet's keypoints of the same person.
        boxes: (T, 4) MoveNet's boxes.
        hidden: (T, 27) whether the landmark lies on another person's body.
        times: (T,) seconds.
        image_size: width, height.
        foreign: (T,) whether the landmarks are another person's, or between two people: for as
            long as that lasts MoveNet alone is heard.
    """
    size = person_size(boxes)
    belief = believe(fused, xy, conf, size, hidden)
    points = fused.xy.copy()
    refused = np.zeros(len(times), bool) if foreign is None else lasting(foreign, times)
    belief[refused] = 0
    taken = take_over(fused, conf, hidden)
    taken |= refused[:, None] & (conf > _TAKEN_CONF)
    body = points[:, COCO_IN_BODY]
    points[:, COCO_IN_BODY] = np.where(taken[..., None], xy, body)
    belief[:, COCO_IN_BODY] = np.where(taken, 0.8 * conf, belief[:, COCO_IN_BODY])
    belief = follow(belief)

    width, height = image_size
    inside = (points >= -0.5).all(-1) & (points[..., 0] <= width - 0.5)
    inside &= points[..., 1] <= height - 0.5
    seen = hysteresis(np.where(inside, belief, 0), times) & inside
    seen &= (belief > 0) | ~refused[:, None]
    seen = follow(seen.astype(float)) > 0
    strength = np.where(seen, np.clip(belief, 0.1, 1), 0)
    trusted = trust_frames(fused, xy, conf, size, seen, times) & ~refused
    return Gated(
        xy=smooth(points, strength, times),
        conf=strength,
        boxes=person_boxes(points, seen, boxes, times),
        world=smooth(fused.world, strength + 1e-3, times),
        conf3d=strength * trusted[:, None],
    )


def person_size(boxes: np.ndarray) -> np.ndarray:
    """(T, 4) -> (T,) root of the area in pixels, never below the track's median: a person who
    bends or is half hidden does not become small."""
    size = np.sqrt(np.clip(boxes[:, 2:] - boxes[:, :2], 1, None).prod(-1))
    return np.maximum(size, np.median(size))


def believe(
    fused: Fused, xy: np.ndarray, conf: np.ndarray, size: np.ndarray, hidden: np.ndarray
) -> np.ndarray:
    """(T, 27) belief in [0, 1], frame by frame."""
    belief = np.exp(-((fused.spread / _LOOKS_AGREE) ** 2))
    belief *= np.clip(fused.visibility / 0.5, 0, 1)
    belief *= np.clip(fused.flag / 0.5, 0, 1)[:, None]
    belief *= np.where(hidden, 0.4, 1.0)

    apart = np.linalg.norm(fused.xy[:, COCO_IN_BODY] - xy, axis=-1) / size[:, None]
    say = np.clip((conf - 0.1) / 0.4, 0, 1)
    shared = belief[:, COCO_IN_BODY] * (1 - say * (1 - np.exp(-((apart / _NETS_AGREE) ** 2))))
    confirmed = np.exp(-((apart / _NETS_CONFIRM) ** 2)) * np.clip(conf / 0.5, 0, 1)
    belief[:, COCO_IN_BODY] = np.maximum(shared, 0.9 * confirmed)
    return belief


def take_over(fused: Fused, conf: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """(T, 17) where a very sure MoveNet replaces a wavering landmark network."""
    wavers = fused.spread[:, COCO_IN_BODY] > _TAKEN_SPREAD
    return wavers & (conf > _TAKEN_CONF) & ~hidden[:, COCO_IN_BODY]


def follow(belief: np.ndarray) -> np.ndarray:
    """Feet are no better known than their ankle, hands no better than their wrist. (T, 27)."""
    belief = belief.copy()
    for side in ("left", "right"):
        for joint, parts in _FOLLOW.items():
            parent = belief[:, BODY27.index(f"{side}_{joint}"), None]
            ends = BODY27.indices([f"{side}_{part}" for part in parts])
            belief[:, ends] = np.minimum(belief[:, ends], parent)
    return belief


def hysteresis(
    belief: np.ndarray,
    times: np.ndarray,
    *,
    on: float = _ON,
    off: float = _OFF,
    short: float = _SHORT,
) -> np.ndarray:
    """Seen or not, without flicker.

    A stretch in which the smoothed belief stays above ``off`` counts if it reaches ``on``
    somewhere; then gaps and after them stretches shorter than ``short`` seconds are removed. All
    in seconds, so that 30 and 60 frames per second behave alike.

    Args:
        belief: (T, J) in [0, 1].
        times: (T,) seconds.

    Returns:
        (T, J) bool.
    """
    if len(times) == 1:
        return belief >= (on + off) / 2
    step = float(np.median(np.diff(times)))
    calm = gaussian_filter1d(belief, short / 2 / step, axis=0, mode="nearest")
    states = np.stack([_stretches(column, on, off) for column in calm.T], 1)
    for j in range(states.shape[1]):
        for state in (False, True):
            _drop_short(states[:, j], state, times, short, step)
    return states


def lasting(states: np.ndarray, times: np.ndarray, short: float = _SHORT) -> np.ndarray:
    """(T,) bool without stretches shorter than ``short`` seconds: they are not believed."""
    states = states.copy()
    if len(times) > 1:
        _drop_short(states, True, times, short, float(np.median(np.diff(times))))
    return states


def _stretches(belief: np.ndarray, on: float, off: float) -> np.ndarray:
    groups, count = label(belief >= off)
    reached = np.zeros(count + 1, bool)
    np.logical_or.at(reached, groups, belief >= on)
    reached[0] = False
    return reached[groups]


def _drop_short(states: np.ndarray, state: bool, times: np.ndarray, short: float, step: float):
    """Flip runs of ``state`` shorter than ``short`` that have a neighbour on both sides."""
    groups, count = label(states == state)
    for number in range(1, count + 1):
        run = np.flatnonzero(groups == number)
        lasts = times[run[-1]] - times[run[0]] + step
        if lasts < short - 1e-6 and run[0] > 0 and run[-1] < len(states) - 1:
            states[run] = not state


def trust_frames(
    fused: Fused,
    xy: np.ndarray,
    conf: np.ndarray,
    size: np.ndarray,
    seen: np.ndarray,
    times: np.ndarray,
) -> np.ndarray:
    """(T,) whether the 3D landmarks of a frame may be used at all: a person is there, half of
    the limb joints are seen, and MoveNet's sure joints are where the landmarks are."""
    agrees = np.clip(1.5 - agreement(fused.xy, xy, conf, size) / 0.12, 0, 1)
    enough = np.clip(seen[:, _LIMBS].mean(1) / 0.75, 0, 1)
    belief = agrees * enough * np.clip(fused.flag / 0.5, 0, 1)
    return hysteresis(belief[:, None], times)[:, 0]


def smooth(values: np.ndarray, weight: np.ndarray, times: np.ndarray, seconds: float = 0.02):
    """Weighted Gaussian over time without delay. (T, J, D), (T, J) -> (T, J, D).

    Values of weight 0 neither contribute nor change.
    """
    if len(times) == 1:
        return values
    sigma = seconds / float(np.median(np.diff(times)))
    total = gaussian_filter1d(weight, sigma, axis=0, mode="nearest")[..., None]
    mean = gaussian_filter1d(values * weight[..., None], sigma, axis=0, mode="nearest")
    return np.where(weight[..., None] > 0, mean / np.maximum(total, 1e-9), values)


def person_boxes(
    points: np.ndarray, seen: np.ndarray, boxes: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """(T, 4) detector's box widened to all seen landmarks, steady over time."""
    low = np.where(seen[..., None], points, np.inf).min(1)
    high = np.where(seen[..., None], points, -np.inf).max(1)
    wide = np.concatenate([np.minimum(boxes[:, :2], low), np.maximum(boxes[:, 2:], high)], 1)
    if len(times) > 1:
        wide = steady(wide, 0.1 / float(np.median(np.diff(times))))
    wide[:, 2:] = np.maximum(wide[:, 2:], wide[:, :2] + 1)
    return wide
