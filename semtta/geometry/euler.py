"""Euler angles that follow a motion: no jump where an equal triple lies nearer."""

from __future__ import annotations

import numpy as np

_LOCK = 1e-6  # cosine of the middle angle below which only two of the three angles are known


def euler_angles(rotmats: np.ndarray, order: str) -> np.ndarray:
    """Angles over time, each frame's the nearest to those of the frame before.

    Every rotation has two triples of angles, each repeated every full turn. Where the middle angle
    is a right angle (gimbal lock) the third is kept from the frame before.

    Args:
        rotmats: (T, 3, 3).
        order: three different axes, e.g. "ZXY": R = Rz(a) Rx(b) Ry(c), BVH's order of channels.
    Returns: (T, 3) radians, in the order's order."""
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    r = np.asarray(rotmats, np.float64)
    cosine = np.hypot(r[:, i, i], r[:, i, j])
    first = np.arctan2(-sign * r[:, j, k], r[:, k, k])
    middle = np.arctan2(sign * r[:, i, k], cosine)
    last = np.arctan2(-sign * r[:, i, j], r[:, i, i])
    # first + turn * last, all that is known at gimbal lock: adding angles needs no third one
    turn = sign * np.sign(middle)
    known = np.arctan2(sign * r[:, k, j], r[:, j, j])
    angles = np.stack((first, middle, last), -1)
    for t in range(len(r)):
        before = angles[t - 1] if t else np.zeros(3)
        if cosine[t] < _LOCK:
            angles[t, 2] = before[2]
            angles[t, 0] = known[t] - turn[t] * before[2]
        angles[t] = _nearest(angles[t], before)
    return angles


def _nearest(angles: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Of all triples of one rotation the one nearest to a target."""
    other = np.array((angles[0] + np.pi, np.pi - angles[1], angles[2] + np.pi))
    both = np.stack((angles, other))
    both += 2 * np.pi * np.round((target - both) / (2 * np.pi))
    return both[np.abs(both - target).sum(-1).argmin()]
