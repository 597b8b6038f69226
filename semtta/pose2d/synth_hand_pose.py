"""Random poses, shapes and cameras for labelled renders of hands."""

from __future__ import annotations

import cv2
import numpy as np

from semtta.body.hand import BONES_OF_FINGER, FINGERS, Hand

# Degrees from least to most that a finger bends at its three joints, counted from straight: of the
# thumb the joints of wrist, knuckle and end, of the others knuckle, middle and end.
_THUMB = np.array([[-18, 22], [-5, 50], [-12, 70]])
_FINGER = np.array([[-20, 85], [0, 105], [0, 70]])
_SPREAD = 14.0  # degrees to either side, of a straight finger; a bent one has less
_WRIST = np.array([60.0, 15.0, 22.0])  # degrees that the palm bends, turns and leans, at the most


def random_hand(hand: Hand, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Local rotations (17, 3, 3) within the limits of the joints, and shape coefficients (6,).

    Neighbouring fingers bend alike, as they do where nobody plays the piano: each follows a common
    bend more or less."""
    betas = np.clip(rng.normal(0, 0.8, len(hand.shapes)), -1.6, 1.6)
    rotations = np.tile(np.eye(3), (len(hand.parents), 1, 1))
    rotations[1] = _turn(np.radians(rng.uniform(-1, 1, 3) * _WRIST))
    angles, spreads = finger_angles(rng)
    for finger in range(FINGERS):
        for k in range(BONES_OF_FINGER):
            row = finger * BONES_OF_FINGER + k
            bend = _turn(hand.flexion[row] * (angles[finger, k] - hand.bends[row]))
            aside = _turn(hand.spread[finger] * spreads[finger]) if k == 0 else np.eye(3)
            rotations[2 + row] = aside @ bend
    return rotations, betas


def finger_angles(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bends (5, 3) from straight and spreads (5,) of the fingers from the thumb on, radians."""
    closed = rng.beta(0.6, 0.9)
    alone = rng.uniform(0, 1) * (rng.uniform(size=FINGERS) < 0.6)  # how far each has its own way
    share = closed + alone * (rng.uniform(size=FINGERS) - closed)
    share = np.clip(share + rng.normal(0, 0.06, FINGERS), 0, 1)
    bends = np.empty((FINGERS, BONES_OF_FINGER))
    for finger in range(FINGERS):
        low, high = (_THUMB if finger == 0 else _FINGER).T
        own = np.clip(share[finger] + rng.normal(0, 0.12, BONES_OF_FINGER), 0, 1)
        own[2] = min(own[2], own[1] + 0.2)  # the last joint hardly bends alone
        bends[finger] = low + own * (high - low)
    spreads = rng.uniform(-1, 1, FINGERS) * _SPREAD * (1 - 0.8 * share)
    spreads[1:] = np.sort(spreads[1:])[::-1]  # neighbours do not cross
    return np.radians(bends), np.radians(spreads)


def random_view(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Rotation (3, 3) from the hand to camera axes, any one that shows the hand, fingers rather
    up than down, and the distance in metres."""
    heading = _turn([0, rng.uniform(-np.pi, np.pi), 0])
    pitch = _turn([np.radians(np.clip(rng.normal(0, 35), -80, 80)), 0, 0])
    roll = _turn([0, 0, np.radians(rng.normal(0, 60))])
    upright = np.diag([1.0, -1.0, -1.0])  # y up, z to the viewer -> y down, z forward
    return roll @ pitch @ upright @ heading, float(rng.uniform(0.35, 1.1))


def _turn(vector) -> np.ndarray:
    """(3, 3) of a rotation vector."""
    return cv2.Rodrigues(np.asarray(vector, np.float64))[0]
