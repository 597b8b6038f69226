"""Where the pelvis goes: carried by whatever stands on the ground, or through the air."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from semtta.skeletons import SMPL24
from tools.training.motions import forward_kinematics

FPS = 30.0
GRAVITY = 9.81
# Joints that a body can rest on and how thick it is there, in metres. The ground is where the ball
# of a standing foot is; the heel is as low, behind the ankle.
_HEEL = np.array([0.0, -0.0505, -0.045], np.float32)
_RADIUS = {"knee": 0.045, "ankle": 0.04, "wrist": 0.03, "hand": 0.02, "elbow": 0.035,
           "shoulder": 0.07, "hip": 0.09, "pelvis": 0.1, "head": 0.08, "spine1": 0.1,
           "spine3": 0.1, "foot": 0.0}  # fmt: skip
_JOINTS = [i for i, name in enumerate(SMPL24.joints) if name.split("_")[-1] in _RADIUS]
_THICK = np.array([0.0, 0.0, *(_RADIUS[SMPL24.joints[i].split("_")[-1]] for i in _JOINTS)])
FEET = {side: (k, 2 + _JOINTS.index(SMPL24.index(f"{side}_foot")))
        for k, side in enumerate(("left", "right"))}  # fmt: skip
_HANDS = [2 + k for k, j in enumerate(_JOINTS) if "hand" in SMPL24.joints[j]]
_FEET = [point for side in FEET.values() for point in side]
_BELOW_WAIST = [*_FEET, *(2 + k for k, j in enumerate(_JOINTS)
                          if SMPL24.joints[j].split("_")[-1] in ("knee", "ankle", "pelvis"))]  # fmt: skip
_SWITCH = 0.008  # metres by which another point must be lower to take over


@dataclass(frozen=True)
class Footing:
    """What carries a motion, frame by frame.

    Args:
        support: (T,) what is planted: 0 the left foot, 1 the right one, 2 the hands, or -1 for
            whatever is lowest.
        flight: (T,) bool, nothing touches the ground: the pelvis falls freely.
        seat: (T,) 0 to 1, held up by a seat or water: the pelvis keeps its place and height.
        climb: (T,) bool, each planted foot has found its own height (stairs, rungs).
        floor: (T,) bool, any part of the body may carry, not the legs alone.
        glide: (T, 3) metres a second in the body's heading, of a flight or on a ``seat``.
        heading: (T,) degrees about y, towards the left.
    """

    support: np.ndarray
    flight: np.ndarray
    seat: np.ndarray
    climb: np.ndarray
    floor: np.ndarray
    glide: np.ndarray
    heading: np.ndarray

    @staticmethod
    def standing(frames: int) -> Footing:
        none, zero = np.zeros(frames, bool), np.zeros(frames)
        return Footing(np.full(frames, -1), none, zero, none.copy(), none.copy(),
                       np.zeros((frames, 3)), zero.copy())  # fmt: skip

    def mirrored(self) -> Footing:
        """Left and right exchanged."""
        foot = (self.support == 0) | (self.support == 1)
        support = np.where(foot, 1 - self.support, self.support)
        return replace(self, support=support, glide=self.glide * (-1, 1, 1), heading=-self.heading)

    def joined(self, other: Footing, overlap: int) -> Footing:
        """This one, then the other, faded over so many frames; the heading goes on."""
        shift = self.heading[len(self.heading) - overlap] - other.heading[0]
        other = replace(other, heading=other.heading + shift)
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Footing(**{name: _faded(a, b, overlap) for name, (a, b) in pairs.items()})


def _faded(first: np.ndarray, second: np.ndarray, overlap: int) -> np.ndarray:
    """Numbers cross over, what is yes or no changes in the middle."""
    share = (np.arange(overlap) + 0.5) / overlap
    if first.dtype.kind != "f":
        share = (share > 0.5).astype(int)
    share = share.reshape(-1, *(1,) * (first.ndim - 1))
    middle = first[len(first) - overlap :] * (1 - share) + second[:overlap] * share
    rest = (first[: len(first) - overlap], middle.astype(first.dtype), second[overlap:])
    return np.concatenate(rest)


def contact_points(rotmats: np.ndarray) -> np.ndarray:
    """(T, K, 3) heels, then the joints that can carry; pelvis at the origin."""
    joints = forward_kinematics(rotmats)
    heels = []
    for side in ("left", "right"):
        ankle = SMPL24.index(f"{side}_ankle")
        heels.append(joints[:, ankle] + _foot_frames(rotmats, side) @ _HEEL)
    return np.concatenate((np.stack(heels, 1), joints[:, _JOINTS]), axis=1)


def _foot_frames(rotmats: np.ndarray, side: str) -> np.ndarray:
    world = rotmats[:, 0]
    for part in ("hip", "knee", "ankle"):
        world = world @ rotmats[:, SMPL24.index(f"{side}_{part}")]
    return world


def heights(rotmats: np.ndarray, trans: np.ndarray) -> np.ndarray:
    """(T, K) of the surface at each contact point over the ground; negative is below it."""
    return contact_points(rotmats)[..., 1] + trans[:, None, 1] - _THICK


def turned(rotmats: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """The root turned about y by (T,) degrees."""
    out = rotmats.copy()
    turn = Rotation.from_euler("y", heading[:, None], degrees=True).as_matrix()
    out[:, 0] = turn @ rotmats[:, 0]
    return out


def follow(rotmats: np.ndarray, footing: Footing) -> np.ndarray:
    """(T, 3) pelvis positions in metres of a motion that already has its heading.

    The lowest planted point does not move; in flight the pelvis goes on as it left the ground."""
    points = contact_points(rotmats)
    height = points[..., 1] - _THICK
    carried = np.where(footing.floor, height.min(1), height[:, _BELOW_WAIST].min(1))
    step = -_planted_steps(points, height, footing)
    up = np.concatenate(([0.0], np.where(footing.climb[1:], step[:, 1], -np.diff(carried))))
    level = np.cumsum(up) - carried[0]
    if not footing.climb.any():
        level = np.maximum(gaussian_filter1d(level, 1.0, mode="nearest"), -carried)
    level = _on_seat(level, footing.seat)
    across = _through_air(step[:, [0, 2]], footing)
    keep = 1 - footing.seat[1:, None]
    turn = np.deg2rad(footing.heading)
    ahead = np.stack((np.sin(turn), np.cos(turn)), 1)
    aside = np.stack((np.cos(turn), -np.sin(turn)), 1)
    glide = footing.glide[:, 2:] * ahead + footing.glide[:, :1] * aside
    across = gaussian_filter1d(across, 0.7, axis=0, mode="nearest") * keep + glide[1:] / FPS
    place = np.concatenate((np.zeros((1, 2)), np.cumsum(across, 0)))
    level = _fall(level, footing.flight) + np.cumsum(footing.glide[:, 1]) / FPS
    if footing.climb.any() or footing.glide[:, 1].any():  # the lowest step is on the ground
        level = level + max(0.0, float((-carried - level).max()))
    return np.stack((place[:, 0], level, place[:, 1]), 1).astype(np.float32)


def _planted_steps(points: np.ndarray, height: np.ndarray, footing: Footing) -> np.ndarray:
    """(T - 1, 3) movement of the point that carries, as the pelvis sees it."""
    pair = 0.5 * (height[1:] + height[:-1])
    moved = np.diff(points, axis=0)
    out, current = np.zeros((len(pair), 3)), -1
    for t, row in enumerate(pair):
        foot = footing.support[t]
        allowed = (FEET["left"], FEET["right"], _HANDS)[foot] if foot >= 0 else (
            range(len(row)) if footing.floor[t] else _FEET)  # fmt: skip
        best = min(allowed, key=row.__getitem__)
        if current not in allowed or row[current] > row[best] + _SWITCH:
            current = best
        out[t] = moved[t, current]
    return out


def _on_seat(level: np.ndarray, seat: np.ndarray) -> np.ndarray:
    held = seat > 0.99
    if not held.any():
        return level
    return np.maximum(level, level * (1 - seat) + level[held].max() * seat)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and one past last of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(int), [0]))))
    return list(zip(edges[::2], edges[1::2], strict=True))


def _through_air(step: np.ndarray, footing: Footing) -> np.ndarray:
    """What flies keeps the speed with which it left the ground, and lands with its next one."""
    out = step.copy()
    air = footing.flight[1:]
    for first, last in _runs(air):
        around = [step[max(first - 3, 0) : first], step[last : last + 3]]
        ends = [part.mean(0) for part in around if len(part)] or [np.zeros(2)]
        if footing.glide[first + 1 : last + 1].any():  # told how far
            ends = [np.zeros(2)]
        share = np.linspace(0, 1, last - first)[:, None]
        out[first:last] = (1 - share) * ends[0] + share * ends[-1]
    return out


def _fall(level: np.ndarray, flight: np.ndarray) -> np.ndarray:
    """Parabolas over the flights, between the heights at which ground is left and found."""
    out = level.copy()
    for first, last in _runs(flight):
        start, end = max(first - 1, 0), min(last, len(level) - 1)
        t = (np.arange(start, end + 1) - start) / FPS
        whole = max(t[-1], 1 / FPS)
        line = level[start] + (level[end] - level[start]) * t / whole
        arc = line + 0.5 * GRAVITY * t * (whole - t)
        out[start : end + 1] = np.maximum(arc, level[start : end + 1])
    return out


def level_between(rotmats: np.ndarray, one: tuple[str, ...], other: tuple[str, ...]) -> np.ndarray:
    """The root pitched so that the lowest of two groups of joints are equally high.

    What lies on the ground with both ends, hands and toes, say: the groups' names without sides."""
    points = contact_points(rotmats)
    height = points[..., 1] - _THICK

    def lowest(parts: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        chosen = [2 + k for k, j in enumerate(_JOINTS) if SMPL24.joints[j].split("_")[-1] in parts]
        chosen += [0, 1] if "heel" in parts else []
        ends = points[:, chosen].copy()
        ends[..., 1] = height[:, chosen]
        best = ends[..., 1].argmin(1)
        return ends[np.arange(len(ends)), best, 2], ends[np.arange(len(ends)), best, 1]

    out = rotmats
    for _ in range(3):
        (z0, y0), (z1, y1) = lowest(one), lowest(other)
        angle = np.arctan2(y1 - y0, z1 - z0)
        angle = np.where(np.abs(angle) > np.pi / 2, angle - np.sign(angle) * np.pi, angle)
        angle = gaussian_filter1d(angle, 1.0, mode="nearest")
        turn = Rotation.from_euler("x", angle[:, None]).as_matrix()
        out = out.copy()
        out[:, 0] = turn @ out[:, 0]
        points = contact_points(out)
        height = points[..., 1] - _THICK
    return out
