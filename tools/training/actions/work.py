"""Work with things: lifting, pushing, digging, sweeping."""

from __future__ import annotations

import numpy as np

from tools.training.actions.stands import idle
from tools.training.figure import SIDES, Figure


def _box(f: Figure, down_first: bool, both: bool = False) -> None:
    """A box from the floor to the chest (or down again), with bent knees or a bent back."""
    low = f.between_times(0.3 * f.seconds, 0.55 * f.seconds, 0.3 * f.seconds) if both else (
        1 - f.ramp(f.between(0.25, 0.45) * f.seconds, f.between(0.7, 1.1)))  # fmt: skip
    low = low if down_first or both else 1 - low
    knee, wide = f.between(60, 115), f.between(4, 14)
    f.crouch(6 + knee * low, spread=wide)
    f.bow_down((112 - 0.62 * knee) * low)
    high = 1 - low
    f.both_arms(forward=f.between(58, 70) * low + 22 * high, bend=f.between(68, 90) * high,
                raise_=f.between(0, 8), twist=f.between(0, 14))  # fmt: skip
    f.joint("head", pitch=-18 * low)


def _deadlift(f: Figure) -> None:
    low = f.pulse(0.25, 0.5)
    knee = f.between(40, 75)
    f.crouch(6 + knee * low, spread=f.between(2, 12))
    f.bow_down((95 - 0.5 * knee) * low, spine=0.25)
    f.both_arms(forward=f.between(50, 62) * low, bend=-12)
    f.joint("head", pitch=-25 * low)


def _overhead_press(f: Figure) -> None:
    idle(f)
    up = f.pulse(0.3, 0.7)
    f.both_arms(raise_=30 + 110 * up, twist=-70 + 30 * up, bend=130 - 118 * up)
    f.crouch(4 + 10 * (1 - up) * f.between(0, 1))


def _curls(f: Figure) -> None:
    idle(f)
    cycle, against = f.cycle(f.between(0.35, 0.8)), f.chance(0.5)
    for k, side in enumerate(SIDES):
        f.arm(side, bend=60 - 55 * np.cos(cycle + np.pi * k * against), forward=f.between(-4, 12))


def _staggered(f: Figure, lean: float) -> tuple[str, str]:
    """One foot before the other; returns front and back."""
    front, back = f.a_side()
    knee = f.between(20, 45)
    f.leg(front, 0.6 * knee + f.between(12, 20), knee, spread=4)
    f.leg(back, -f.between(12, 20), 0.4 * knee, spread=4)
    f.joint("pelvis", pitch=lean)
    f.legs(hip=0.4 * lean)
    return front, back


def _push(f: Figure) -> None:
    lean = f.between(12, 28)
    _staggered(f, lean)
    push = f.pulse(0.3, 0.6)
    f.both_arms(forward=f.between(55, 70) + 12 * push, bend=75 - 65 * push, raise_=f.between(0, 15),
                twist=-f.between(0, 15))  # fmt: skip
    f.spine(bend=f.between(0, 10) + 6 * push)
    f.joint("head", pitch=-lean)


def _pull(f: Figure) -> None:
    _staggered(f, -f.between(4, 16))
    pull = f.pulse(0.3, 0.7)
    f.both_arms(forward=65 - 55 * pull, bend=5 + 95 * pull, raise_=f.between(0, 10))
    f.spine(bend=14 - 18 * pull, turn=f.between(-10, 10) * pull)


def _pull_rope(f: Figure) -> None:
    """Hand over hand."""
    _staggered(f, -f.between(2, 10))
    cycle = f.cycle(f.between(0.5, 1.0))
    for k, side in enumerate(SIDES):
        reach = np.sin(cycle + np.pi * k)
        f.arm(side, forward=45 + 28 * reach, bend=55 - 45 * reach, twist=8)
        f.spine(turn=(7 if side == "right" else -7) * reach)


def _dig(f: Figure) -> None:
    """A spade pushed in low, lifted and thrown aside."""
    front, _ = _staggered(f, 0.0)
    turn = 1 if front == "left" else -1
    u = f.cycle(f.between(0.3, 0.5))
    low, throw = 0.5 + 0.5 * np.cos(u), np.clip(np.sin(u - 2.6), 0, 1) ** 2
    f.bow_down(20 + f.between(25, 40) * low)
    f.legs(hip=8 * low, knee=14 * low)
    f.spine(turn=turn * (10 * low - f.between(35, 50) * throw))
    lower = "left" if front == "left" else "right"
    other = "right" if lower == "left" else "left"
    f.arm(lower, forward=48 + 12 * low, bend=10 + 25 * throw, twist=12)
    f.arm(other, forward=22 + 10 * low, bend=60 - 15 * low, twist=15)


def _sweep(f: Figure) -> None:
    idle(f)
    swing = np.sin(f.cycle(f.between(0.5, 0.9)))
    front, back = f.a_side()
    f.bow_down(f.between(12, 25))
    f.spine(turn=f.between(14, 26) * swing)
    sign = 1 if front == "left" else -1
    f.arm(
        front,
        forward=f.between(30, 42) + 8 * swing,
        bend=f.between(20, 40),
        raise_=8 * sign * swing,
    )
    f.arm(back, forward=f.between(32, 45), bend=f.between(75, 95), twist=f.between(15, 25))
    f.joint("head", pitch=f.between(5, 18))


def _hammer(f: Figure) -> None:
    idle(f)
    side, other = f.a_side(0.8)
    hit = 0.5 + 0.5 * np.sin(f.cycle(f.between(0.9, 1.8)))
    f.arm(side, forward=35 + 50 * hit, bend=45 + 55 * hit, raise_=f.between(0, 15))
    f.arm(other, forward=f.between(30, 45), bend=f.between(40, 60), twist=12)
    f.spine(bend=f.between(5, 18) - 6 * hit)


def _chop(f: Figure) -> None:
    """An axe with both hands, from over the head."""
    up = f.pulse(0.35, 0.65)
    f.legs(spread=f.between(6, 14))
    f.crouch(28 - 20 * up)
    f.bow_down(45 * (1 - up))
    f.spine(bend=-10 * up)
    f.both_arms(forward=45 + 110 * up, bend=15 + 60 * up, twist=16)


def _wash_window(f: Figure) -> None:
    idle(f)
    cycle, (side, _) = f.cycle(f.between(0.5, 1.3)), f.a_side(0.6)
    reach, circle = f.between(60, 110), f.between(10, 25)
    f.arm(side, forward=reach + circle * np.sin(cycle), raise_=f.between(0, 15) +
          f.between(8, 22) * np.cos(cycle), bend=f.between(5, 50) + 10 * np.sin(cycle))  # fmt: skip
    f.spine(bend=f.between(0, 15), turn=f.between(2, 8) * np.cos(cycle))


def _wipe_table(f: Figure) -> None:
    idle(f)
    cycle, (side, other) = f.cycle(f.between(0.6, 1.3)), f.a_side(0.7)
    f.bow_down(f.between(25, 45))
    f.arm(side, forward=f.between(50, 62) + 10 * np.sin(cycle), raise_=6 + 14 * np.cos(cycle),
          bend=f.between(15, 40))  # fmt: skip
    f.arm(other, forward=f.between(25, 45), bend=f.between(0, 40))


def _stir(f: Figure) -> None:
    idle(f)
    cycle, (side, other) = f.cycle(f.between(0.7, 1.5)), f.a_side(0.8)
    f.arm(side, forward=28 + 9 * np.sin(cycle), raise_=12 + 7 * np.cos(cycle), bend=68, twist=10)
    f.arm(other, forward=22, bend=f.between(60, 85), twist=12)
    f.joint("head", pitch=f.between(8, 22))


def _reach_up(f: Figure) -> None:
    """Something taken from a high shelf."""
    idle(f)
    up = f.between_times(0.35 * f.seconds, 0.6 * f.seconds, f.between(0.5, 0.8))
    side, other = f.a_side(0.6)
    f.arm(side, forward=f.between(135, 165) * up, bend=f.between(5, 20) * up)
    if f.chance(0.4):
        f.arm(other, forward=f.between(120, 155) * up)
    f.legs(ankle=-20 * up)
    for one in SIDES:
        f.flat[one][:] = 1 - up
    f.joint("head", pitch=-25 * up)


def _saw(f: Figure) -> None:
    front, back = _staggered(f, 6.0)
    stroke = np.sin(f.cycle(f.between(0.8, 1.5)))
    f.bow_down(f.between(18, 32))
    f.arm(back, forward=35 + 24 * stroke, bend=70 - 34 * stroke)
    f.arm(front, forward=f.between(42, 55), bend=f.between(10, 30))
    f.spine(turn=(-5 if back == "left" else 5) * stroke)


ACTIONS = {
    "lift a box": lambda f: _box(f, True),
    "put down a box": lambda f: _box(f, False),
    "lift a box and put it down": lambda f: _box(f, True, both=True),
    "deadlift": _deadlift,
    "press a weight overhead": _overhead_press,
    "do biceps curls": _curls,
    "push": _push,
    "pull": _pull,
    "pull a rope": _pull_rope,
    "dig with a spade": _dig,
    "sweep the floor": _sweep,
    "hammer": _hammer,
    "chop wood": _chop,
    "saw": _saw,
    "wash a window": _wash_window,
    "wipe a table": _wipe_table,
    "stir a pot": _stir,
    "reach up": _reach_up,
}
