"""Walking, running, stairs: two legs half a cycle apart, on paths that bend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.training.figure import SIDES, Figure


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


def _peak(phase: np.ndarray, centre: float, width: float) -> np.ndarray:
    """1 at ``centre`` of a phase that goes round from 0 to 1."""
    return np.exp((np.cos(2 * np.pi * (phase - centre)) - 1) / (2 * np.pi * width) ** 2)


def _sweep(phase: np.ndarray, duty: float) -> np.ndarray:
    """From 1 to -1 evenly while the foot stands, and back through the air."""
    u = np.clip((phase - duty) / (1 - duty), 0, 1)
    slope = -2 / duty * (1 - duty)
    back = (-(2 * u**3 - 3 * u**2 + 1) + slope * (u**3 - 2 * u**2 + u)
            + (-2 * u**3 + 3 * u**2) + slope * (u**3 - u**2))  # fmt: skip
    return np.where(phase < duty, 1 - 2 * phase / duty, back)


def step(f: Figure, gait: Gait, arms: bool = True) -> np.ndarray:
    """Both legs, arms against them, and which foot carries; returns the left leg's phase."""
    start = f.between(0, 1)
    cycle = f.time * gait.hertz + start
    cycle = -cycle if gait.backwards else cycle
    limp = np.exp(f.rng.normal(0, 0.05, 2))  # no one walks symmetrically
    ranks = []
    for side, offset, scale in (("left", 0.0, limp[0]), ("right", 0.5, limp[1])):
        phase, duty = (cycle + offset) % 1, gait.duty
        swing = _peak(phase, duty + 0.36 * (1 - duty), 0.3 * (1 - duty) + 0.035)
        raised = _peak(phase, duty + 0.6 * (1 - duty), 0.4 * (1 - duty) + 0.03)
        load = _peak(phase, 0.2 * duty, 0.12) * min(10.0, 0.25 * gait.hip + 4)
        f.leg(side, gait.ahead + 0.5 * gait.stance + scale * gait.hip * _sweep(phase, duty)
              + gait.lift * raised, gait.stance + load + scale * gait.knee * swing
              + 1.2 * gait.lift * raised, 24 * swing + 12 * raised
              - 14 * _peak(phase, duty, 0.07))  # fmt: skip
        f.flat[side][:] *= np.clip(np.minimum(phase / (0.12 * duty), (0.72 - phase / duty) / 0.2),
                                   0, 1) if gait.lift < 35 else 1.0  # fmt: skip
        if arms:
            forward = -gait.arm * np.cos(2 * np.pi * (phase + 0.03))
            f.arm(side, forward=forward, bend=gait.bend + 0.35 * np.maximum(forward, 0))
        ranks.append(np.where(phase < duty, np.abs(phase - 0.5 * duty), 2))
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


def _gait(curve: float = 1.0, /, **ranges):
    """An action: a gait with numbers drawn from (low, high)."""

    def action(f: Figure) -> None:
        drawn = {k: f.between(*v) if isinstance(v, tuple) else v for k, v in ranges.items()}
        path(f, curve)
        step(f, Gait(**drawn))

    return action


walk = _gait(hertz=(0.75, 1.05), hip=(18, 27), knee=(38, 56), arm=(5, 28), bend=(5, 35),
             lean=(-1, 7))  # fmt: skip
_walk_slowly = _gait(hertz=(0.42, 0.65), hip=(12, 19), knee=(30, 46), arm=(2, 12), bend=(5, 15),
                     lean=(0, 8), duty=(0.64, 0.7))  # fmt: skip
_walk_fast = _gait(hertz=(1.1, 1.35), hip=(25, 32), knee=(48, 62), arm=(25, 42), bend=(20, 60),
                   lean=(3, 10), duty=(0.54, 0.6))  # fmt: skip
_jog = _gait(hertz=(1.2, 1.45), hip=(18, 28), knee=(60, 90), arm=(18, 40), bend=(65, 100),
             lean=(3, 10), stance=(14, 24), lift=(5, 18), ahead=(2, 8), duty=(0.36, 0.44))  # fmt: skip
_run = _gait(hertz=(1.3, 1.6), hip=(23, 31), knee=(75, 105), arm=(25, 52), bend=(65, 100),
             lean=(5, 14), stance=(9, 17), lift=(12, 28), ahead=(2, 7), duty=(0.32, 0.38))  # fmt: skip
_sprint = _gait(0.3, hertz=(1.8, 2.2), hip=(28, 35), knee=(90, 115), arm=(45, 65), bend=(75, 100),
                lean=(8, 18), stance=(8, 14), lift=(18, 32), ahead=(3, 8), duty=(0.28, 0.32))  # fmt: skip
_run_in_place = _gait(0.0, hertz=(1.3, 1.8), hip=(2, 6), knee=(45, 80), arm=(20, 40),
                      bend=(65, 100), lean=(0, 6), stance=(14, 22), lift=(15, 35), ahead=(4, 8),
                      duty=(0.4, 0.46))  # fmt: skip
_high_knees = _gait(0.0, hertz=(1.2, 1.7), hip=(2, 5), knee=(20, 40), arm=(25, 45), bend=(70, 95),
                    lean=(-4, 4), stance=(10, 16), lift=(65, 85), duty=(0.4, 0.46))  # fmt: skip
_butt_kicks = _gait(0.4, hertz=(1.3, 1.7), hip=(6, 12), knee=(105, 125), arm=(15, 35),
                    bend=(65, 95), lean=(2, 8), stance=(12, 18), duty=(0.4, 0.46))  # fmt: skip
_backwards = _gait(hertz=(0.6, 0.95), hip=(11, 19), knee=(32, 46), arm=(3, 15), bend=(8, 20),
                   lean=(-4, 6), backwards=True)  # fmt: skip
_march = _gait(0.3, hertz=(0.8, 1.1), hip=(1, 3), knee=(15, 35), arm=(15, 45), bend=(20, 70),
               lean=(-4, 2), stance=(4, 8), lift=(55, 80), duty=(0.56, 0.64))  # fmt: skip
_crouched = _gait(hertz=(0.5, 0.9), hip=(14, 22), knee=(30, 45), arm=(4, 14), bend=(20, 60),
                  lean=(15, 35), stance=(45, 70), duty=(0.6, 0.7))  # fmt: skip
_high_step = _gait(hertz=(0.45, 0.7), hip=(12, 18), knee=(25, 40), arm=(8, 25), bend=(15, 60),
                   lean=(2, 12), stance=(10, 22), lift=(30, 55), duty=(0.62, 0.7))  # fmt: skip


def _sneak(f: Figure) -> None:
    b = f.between
    path(f)
    step(f, Gait(b(0.4, 0.65), b(14, 20), b(30, 45), b(4, 12), b(50, 90), b(18, 32), b(30, 45),
                 b(15, 35), duty=b(0.62, 0.7)))  # fmt: skip
    f.both_arms(forward=b(10, 40), raise_=b(0, 15))
    f.joint("head", yaw=f.wander(15, 0.2, 0.6), pitch=-10)


def _beam(f: Figure) -> None:
    b = f.between
    step(f, Gait(b(0.35, 0.65), b(12, 19), b(25, 45), 2, b(0, 12), b(0, 6), 6, duty=0.66))
    wobble = b(4, 14) * np.sin(f.cycle(b(0.4, 1.0)))
    f.spine(lean=0.6 * wobble)
    f.arm("left", raise_=b(50, 85) - wobble, bend=-8)
    f.arm("right", raise_=b(50, 85) + wobble, bend=-8)
    f.legs(spread=-b(1, 5))


def _zombie(f: Figure) -> None:
    b = f.between
    step(f, Gait(b(0.5, 0.75), b(10, 16), b(10, 25), 2, 0, b(5, 15), b(4, 12), duty=0.68))
    for side in SIDES:
        f.arm(side, forward=b(60, 90), bend=b(0, 25), raise_=b(-5, 10))
    f.spine(lean=b(6, 12) * np.sin(f.cycle(b(0.5, 0.75))), turn=f.wander(8))
    f.joint("head", roll=b(-25, 25), pitch=b(-5, 15))


def _limp(f: Figure) -> None:
    b = f.between
    side, _ = f.a_side()
    phase = step(f, Gait(b(0.6, 0.85), b(12, 18), b(25, 40), b(3, 12), b(5, 25), b(5, 15)))
    phase = phase if side == "left" else (phase + 0.5) % 1
    f.spine(lean=(-1 if side == "left" else 1) * b(5, 12) * _peak(phase, 0.3, 0.15))
    f.leg(side, knee=b(5, 15))


def _upstairs(f: Figure) -> None:
    b = f.between
    _stairs(f, Gait(b(0.5, 0.8), b(15, 19), b(14, 26), b(3, 18), b(15, 40), b(6, 16), b(24, 32),
                    b(28, 40), b(10, 14), duty=0.6), climb=b(17, 25))  # fmt: skip


def _downstairs(f: Figure) -> None:
    b = f.between
    _stairs(f, Gait(b(0.5, 0.8), b(8, 12), b(28, 40), b(3, 15), b(15, 40), b(-2, 6), b(26, 34),
                    b(8, 16), b(4, 8), duty=0.6), climb=-b(30, 40))  # fmt: skip


def _stairs(f: Figure, gait: Gait, climb: float) -> None:
    """The standing leg stretches on the way up and gives way on the way down."""
    phase = step(f, gait)
    for side, offset in (("left", 0.0), ("right", 0.5)):
        own = (phase + offset) % 1
        bent = climb * _sweep(own, gait.duty)
        f.leg(side, 0.55 * bent, bent)
        f.flat[side][:] = 1 - 0.5 * _peak(own, gait.duty, 0.08)
    f.footing.climb[:] = True


def _ladder(f: Figure) -> None:
    b = f.between
    hertz, phase = b(0.35, 0.6), b(0, 1)
    reach = b(15, 30)
    for side, offset in (("left", 0.0), ("right", 0.5)):
        own = (f.time * hertz + phase + offset) % 1
        sweep = _sweep(own, 0.58)
        raised = _peak(own, 0.8, 0.09)
        f.leg(side, 48 + 27 * sweep + 6 * raised, 62 + 36 * sweep + 10 * raised, spread=b(2, 8))
        hand = _sweep((own + 0.5) % 1, 0.58)  # the other side's hand goes with the foot
        f.arm(side, forward=b(100, 115) + reach * hand, bend=b(60, 70) - 1.6 * reach * hand,
              raise_=b(0, 12), twist=b(-15, 10))  # fmt: skip
        f.footing.support[own < 0.54] = 0 if side == "left" else 1
    f.spine(bend=b(-2, 10), lean=b(2, 6) * np.sin(2 * np.pi * f.time * hertz))
    f.joint("head", pitch=-b(5, 20))
    f.footing.climb[:] = True


def _sideways(f: Figure) -> None:
    hertz, open_ = f.between(0.6, 1.1), f.between(9, 17)
    toward = f.rng.choice([-1, 1])
    for k, side in enumerate(SIDES):
        phase = (f.time * hertz + 0.5 * k) % 1
        out = 1 if side == "left" else -1
        lift = _peak(phase, 0.78, 0.1)
        f.leg(side, 8 + 16 * lift, 12 + 34 * lift,
              spread=0.5 * open_ + toward * out * open_ * -_sweep(phase, 0.56))  # fmt: skip
        f.footing.support[phase < 0.54] = k
    f.both_arms(raise_=f.between(0, 25), bend=f.between(0, 50))


def _skip(f: Figure) -> None:
    b = f.between
    path(f)
    phase = step(f, Gait(b(0.8, 1.0), b(18, 25), b(40, 60), b(25, 45), b(20, 60), b(0, 6),
                         b(12, 18), b(30, 50), duty=0.5))  # fmt: skip
    for offset in (0.0, 0.5):
        f.fly(((phase + offset) % 1 > 0.24) & ((phase + offset) % 1 < 0.42))
    f.footing.glide[:] = 0


def _turn_on_the_spot(f: Figure, low: float = 60, high: float = 130) -> None:
    b = f.between
    step(f, Gait(b(0.8, 1.2), b(1, 3), b(15, 30), b(2, 8), lift=b(8, 18), duty=0.62))
    angle = b(low, high) * f.rng.choice([-1, 1])
    start, length = b(0, 0.25) * f.seconds, b(0.5, 0.75) * f.seconds
    f.turn(angle * f.ramp(start, length))
    f.joint("head", yaw=0.2 * angle * f.bump(start + 0.3 * length, 0.25 * length))


def _carry(f: Figure) -> None:
    b = f.between
    path(f)
    step(f, Gait(b(0.7, 0.95), b(15, 22), b(35, 50), 0, 0, b(-8, 3), b(8, 16)), arms=False)
    f.both_arms(forward=b(5, 35), bend=b(55, 90), raise_=b(0, 12), twist=b(0, 15))


def _suitcase(f: Figure) -> None:
    b = f.between
    path(f)
    side, _ = f.a_side(0.7)
    step(f, Gait(b(0.75, 1.0), b(16, 24), b(35, 52), b(2, 12), b(2, 10)))
    f.spine(lean=(1 if side == "right" else -1) * -b(3, 9))
    f.arm(side, raise_=b(0, 8))


ACTIONS = {
    "walk": walk,
    "walk slowly": _walk_slowly,
    "walk fast": _walk_fast,
    "jog": _jog,
    "run": _run,
    "sprint": _sprint,
    "run in place": _run_in_place,
    "run with high knees": _high_knees,
    "run kicking the heels up": _butt_kicks,
    "walk backwards": _backwards,
    "walk sideways": _sideways,
    "walk upstairs": _upstairs,
    "walk downstairs": _downstairs,
    "march in place": _march,
    "sneak": _sneak,
    "walk crouched with knees bent": _crouched,
    "walk on uneven terrain": _high_step,
    "walk on a balance beam": _beam,
    "zombie walk": _zombie,
    "limp": _limp,
    "climb a ladder": _ladder,
    "skip": _skip,
    "turn on the spot": _turn_on_the_spot,
    "turn around": lambda f: _turn_on_the_spot(f, 150, 200),
    "carry a box": _carry,
    "carry a suitcase": _suitcase,
}
