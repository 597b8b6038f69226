"""Two legs half a cycle apart, over feet that stay where they stand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.training.figure import Figure

_GRID = 101  # phases of a cycle
_THIGH, _SHIN = 0.38, 0.435  # metres
_SOLE = ((-0.045, -0.0505), (0.143, -0.0505))  # heel and ball, ahead of and above the ankle


@dataclass
class Gait:
    """Degrees, but ``hertz`` (cycles a second) and ``duty`` (share of a cycle on the ground).

    The thigh swings by ``hip`` either way around ``ahead``; the swinging knee closes by ``knee``
    beside the ``stance`` that it always has; ``lift`` raises the swinging thigh.
    """

    hertz: float
    hip: float
    knee: float
    arm: float = 15.0
    bend: float = 15.0
    lean: float = 3.0
    stance: float = 8.0
    lift: float = 0.0
    ahead: float = 3.0
    duty: float = 0.62
    backwards: bool = False


def peak(phase: np.ndarray, centre: float, width: float) -> np.ndarray:
    """1 at ``centre`` of a phase that goes round from 0 to 1."""
    return np.exp((np.cos(2 * np.pi * (phase - centre)) - 1) / (2 * np.pi * width) ** 2)


def sweep(phase: np.ndarray, duty: float) -> np.ndarray:
    """From 1 to -1 evenly while the foot stands, and back through the air."""
    u = np.clip((phase - duty) / (1 - duty), 0, 1)
    slope = -2 / duty * (1 - duty)
    back = (-(2 * u**3 - 3 * u**2 + 1) + slope * (u**3 - 2 * u**2 + u)
            + (-2 * u**3 + 3 * u**2) + slope * (u**3 - u**2))  # fmt: skip
    return np.where(phase < duty, 1 - 2 * phase / duty, back)


def _leg(gait: Gait, phase: np.ndarray, scale: float) -> tuple[np.ndarray, ...]:
    """Hip, knee and ankle of a leg in degrees, and how flat its sole is made."""
    duty, air = gait.duty, 1 - gait.duty
    swing = peak(phase, duty + 0.36 * air, 0.24 * air + 0.05)
    raised = peak(phase, duty + 0.6 * air, 0.24 * air + 0.02)
    load = peak(phase, 0.2 * duty, 0.12) * min(10.0, 0.25 * gait.hip + 4)
    hip = gait.ahead + 0.5 * gait.stance + scale * gait.hip * sweep(phase, duty)
    hip = hip + gait.lift * raised
    knee = gait.stance + load + scale * gait.knee * swing + 1.2 * gait.lift * raised
    ankle = 24 * swing + 12 * raised - 14 * peak(phase, duty, 0.07)
    flat = np.clip(np.minimum(phase / (0.12 * duty), (0.72 - phase / duty) / 0.2), 0, 1)
    return hip, knee, ankle, flat if gait.lift < 35 else np.ones_like(phase)


def _steady(gait: Gait, scale: float) -> np.ndarray:
    """Degrees to add to the hip, over a grid of phases, so that the pelvis goes evenly while the
    foot stands: over the heel, then over the ball of the foot."""
    phase = np.linspace(0, 1, _GRID)
    hip, knee, ankle, flat = _leg(gait, phase, scale)
    last = int(gait.duty * (_GRID - 1))
    more = np.zeros(_GRID)
    for _ in range(6):
        thigh = np.deg2rad(hip + more)
        shin = thigh - np.deg2rad(knee)
        pitch = -(shin + np.deg2rad(ankle)) * (1 - flat)
        points = np.stack([
            _THIGH * np.array((np.sin(thigh), -np.cos(thigh)))
            + _SHIN * np.array((np.sin(shin), -np.cos(shin)))
            + np.array((ahead * np.cos(pitch) + up * np.sin(pitch),
                        up * np.cos(pitch) - ahead * np.sin(pitch)))
            for ahead, up in _SOLE])  # fmt: skip
        lower = points[:, 1].argmin(0)
        each = np.diff(points[:, 0], axis=1)[lower[:-1], np.arange(_GRID - 1)]
        gone = np.concatenate(([0.0], np.cumsum(-each[:last])))
        late = gone[-1] * np.linspace(0, 1, last + 1) - gone
        more[: last + 1] -= 0.7 * np.rad2deg(late / (_THIGH + _SHIN))
    return more


def step(f: Figure, gait: Gait, arms: bool = True) -> np.ndarray:
    """Both legs, arms against them, and which foot carries; returns the left leg's phase."""
    start = f.between(0, 1)
    cycle = f.time * gait.hertz + start
    cycle = -cycle if gait.backwards else cycle
    limp = np.exp(f.rng.normal(0, 0.05, 2))  # no one walks symmetrically
    ranks = []
    for side, offset, scale in (("left", 0.0, limp[0]), ("right", 0.5, limp[1])):
        phase = (cycle + offset) % 1
        hip, knee, ankle, flat = _leg(gait, phase, scale)
        hip = hip + np.interp(phase, np.linspace(0, 1, _GRID), _steady(gait, scale))
        f.leg(side, hip, knee, ankle)
        f.flat[side][:] *= flat
        if arms:
            forward = -gait.arm * np.cos(2 * np.pi * (phase + 0.03))
            f.arm(side, forward=forward, bend=gait.bend + 0.35 * np.maximum(forward, 0))
        ranks.append(np.where(phase < gait.duty, np.abs(phase - 0.5 * gait.duty), 2))
    f.footing.support[:] = np.argmin(ranks, 0)
    f.footing.flight[:] |= np.min(ranks, 0) > 1
    around = 2 * np.pi * (cycle + 0.03)
    f.spine(bend=gait.lean, turn=-f.between(0.1, 0.3) * gait.hip * np.cos(around))
    f.joint("pelvis", yaw=f.between(0.05, 0.2) * gait.hip * np.cos(around),
            roll=f.between(0.5, 4) * np.sin(around))  # fmt: skip
    return cycle % 1


def path(f: Figure, curve: float = 1.0) -> None:
    """Straight on, in a bend, or wandering."""
    kind = f.rng.random()
    if kind < 0.35 * curve:
        f.turn(f.between(15, 60) * f.rng.choice([-1, 1]) * f.time)
    elif kind < 0.6 * curve:
        corner = f.between(0.2, 0.8) * f.seconds
        f.turn(f.between(30, 110) * f.rng.choice([-1, 1]) * f.ramp(corner, f.between(0.7, 1.4)))
    f.turn(f.wander(3))
