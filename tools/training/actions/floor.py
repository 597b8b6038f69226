"""On the floor and in water: whatever touches carries."""

from __future__ import annotations

import numpy as np

from tools.training.figure import SIDES, Figure


def _cross_legged(f: Figure) -> None:
    for side in SIDES:
        f.leg(side, f.between(85, 100), f.between(110, 130), spread=f.between(25, 38),
              twist=f.between(35, 55))  # fmt: skip
        f.arm(side, forward=f.between(20, 40), bend=f.between(20, 50))
    f.spine(bend=f.between(5, 25) + f.wander(2))
    f.joint("pelvis", pitch=-f.between(0, 10))
    f.lie()


def _floor_sit(f: Figure) -> None:
    bent, back = f.between(0, 80), f.chance(0.5)
    for side in SIDES:
        f.leg(side, 80 + 0.5 * bent + f.between(-4, 4), 4 + bent, spread=f.between(2, 16))
        if back:  # propped up behind
            f.arm(side, forward=-f.between(35, 50), bend=-8, raise_=f.between(5, 20))
        else:
            f.arm(side, forward=f.between(15, 40), bend=f.between(10, 50), raise_=f.between(0, 12))
    f.joint("pelvis", pitch=-f.between(5, 20))
    f.spine(bend=f.between(-8, 8) if back else f.between(5, 30))
    f.lie()


def _kneeling(f: Figure, amount, one: str | None, deep: float) -> None:
    """On both knees (``deep`` 1 is sitting on the heels), or on one."""
    for side in SIDES:
        if one is None:
            f.leg(side, (60 * deep) * amount, 5 + (88 + 55 * deep) * amount)
        elif side == one:  # the knee on the ground
            f.leg(side, 0 * amount, 5 + 90 * amount)
        else:
            f.leg(side, 86 * amount, 5 + 84 * amount)
    f.joint("pelvis", pitch=f.between(-2, 8) * amount)
    f.lie()
    for side in SIDES:
        f.flat[side][:] = 1.0 if one is not None and side != one else 1 - np.clip(3 * amount, 0, 1)


def _kneel(f: Figure) -> None:
    one = f.a_side()[1] if f.chance(0.5) else None
    _kneeling(f, np.ones(f.frames), one, f.between(0, 1) if f.chance(0.5) else 0.0)
    f.both_arms(forward=f.between(0, 30), bend=f.between(10, 70))
    f.spine(bend=f.between(0, 15) + f.wander(3), turn=f.wander(5))


def _kneel_change(f: Figure, up: bool) -> None:
    length = f.between(0.9, 1.5)
    amount = f.ramp(f.between(0.1, max(0.15, f.seconds - length - 0.2)), length)
    amount = 1 - amount if up else amount
    _kneeling(f, amount, f.a_side()[1], 0.0)
    f.bow_down(f.between(15, 30) * 4 * amount * (1 - amount))


def _lie(f: Figure) -> None:
    supine = f.chance(0.6)
    f.joint("pelvis", pitch=-90 if supine else 90)
    f.legs(hip=f.between(0, 12) if supine else 0, knee=f.between(0, 25))
    f.both_arms(raise_=f.between(0, 40), bend=f.between(0, 30) if supine else 0)
    f.joint("head", yaw=f.wander(12, 0.1, 0.4))
    f.lie(("spine3", "shoulder", "head"), ("ankle", "heel"))


def _fours(f: Figure, sweep: dict[str, np.ndarray] | None = None, swing: float = 0.0) -> None:
    """On hands and knees; ``sweep`` moves a side's hand and knee forwards (1) and back (-1)."""
    f.joint("pelvis", pitch=f.between(72, 85))
    for side in SIDES:
        move = np.zeros(f.frames) if sweep is None else sweep[side]
        hand = np.zeros(f.frames) if sweep is None else -sweep[side]
        f.leg(side, 82 + swing * move, f.between(82, 95) - 6, spread=f.between(0, 6))
        f.leg(side, 0, 12 * np.clip(np.gradient(move) * f.frames / 10, 0, 1))
        f.arm(side, forward=80 + swing * hand, bend=-6 + 14 * np.clip(np.gradient(hand)
              * f.frames / 10, 0, 1), raise_=f.between(-4, 4))  # fmt: skip
    f.joint("neck", pitch=-f.between(5, 25))
    f.joint("head", pitch=-f.between(0, 15))
    f.lie(("hand", "wrist"), ("knee",))


def _crawl(f: Figure) -> None:
    cycle = f.cycle(f.between(0.6, 1.1))
    f.turn(f.wander(8, 0.05, 0.2))
    _fours(f, {"left": np.sin(cycle), "right": np.sin(cycle + np.pi)}, f.between(12, 20))
    f.spine(lean=4 * np.sin(cycle))


def _prone(f: Figure) -> None:
    f.joint("pelvis", pitch=78)
    f.legs(hip=f.between(-4, 6), ankle=f.between(0, 20))
    f.joint("head", pitch=-f.between(5, 25))
    f.lie(("hand", "wrist", "elbow"), ("foot", "knee"))
    f.footing.support[:] = 2


def _push_ups(f: Figure) -> None:
    down = f.pulse(0.4, 1.0)
    _prone(f)
    wide = f.between(5, 35)
    deep = f.between(70, 100) * down
    f.both_arms(forward=80 - 0.62 * deep, bend=deep - 10, raise_=wide + 0.25 * deep)


def _plank(f: Figure) -> None:
    _prone(f)
    if f.chance(0.5):
        f.both_arms(forward=78, bend=-10)
    else:
        f.both_arms(forward=80, bend=85)


def _mountain_climbers(f: Figure) -> None:
    cycle = f.cycle(f.between(0.8, 1.6))
    _prone(f)
    f.both_arms(forward=80, bend=-8)
    for side, offset in (("left", 0.0), ("right", np.pi)):
        tuck = 0.5 + 0.5 * np.sin(cycle + offset)
        f.leg(side, 85 * tuck, 95 * tuck)


def _sit_ups(f: Figure) -> None:
    up = f.pulse(0.3, 0.6)
    f.joint("pelvis", pitch=-88 + 45 * up)
    f.spine(bend=10 + f.between(40, 55) * up)
    f.legs(hip=48 + 42 * up, knee=f.between(85, 105))
    if f.chance(0.5):
        f.both_arms(raise_=70, forward=0, twist=-70, bend=120)
    else:
        f.both_arms(forward=35, bend=105)
    f.lie(("pelvis", "spine1"), ("heel",))


def _leg_raises(f: Figure) -> None:
    f.joint("pelvis", pitch=-90)
    f.legs(hip=5 + f.between(50, 85) * f.pulse(0.3, 0.6), knee=f.between(2, 15))
    f.both_arms(raise_=f.between(-2, 15))
    f.lie()


def _bridge(f: Figure) -> None:
    up = f.pulse(0.3, 0.6)
    f.joint("pelvis", pitch=-90)
    f.legs(hip=42 - 42 * up, knee=95)
    f.both_arms(raise_=f.between(0, 20))
    f.lie(("shoulder",), ("heel",))


def _down_to_floor(f: Figure, up: bool) -> None:
    """Over one knee and a hand to sitting on the floor, or back."""
    length = min(f.between(1.3, 1.9), f.seconds - 0.3)
    amount = f.ramp(f.between(0.05, max(0.1, f.seconds - length)), length)
    amount = 1 - amount if up else amount
    squat = np.clip(2 * amount, 0, 1)
    stretch = np.clip(2 * amount - 1, 0, 1)
    f.legs(hip=100 * squat - 10 * stretch, knee=4 + 130 * squat - f.between(60, 110) * stretch)
    f.spine(bend=25 * squat - 15 * stretch)
    f.joint("pelvis", pitch=8 * squat - 22 * stretch)
    side, other = f.a_side()
    f.arm(side, forward=-35 * squat + 5 * stretch, raise_=15 * squat)
    f.arm(other, forward=50 * squat * (1 - stretch) + 25 * stretch, bend=20 * stretch)
    f.lie()
    for one in SIDES:
        f.flat[one][:] = 1 - stretch


def _swim(f: Figure, stroke: str) -> None:
    b, speed = f.between, f.between(0.7, 1.4)
    supine = stroke == "back"
    f.joint("pelvis", pitch=-86 if supine else 86)
    cycle = f.cycle(b(0.5, 0.8))
    if stroke == "breast":
        u = 0.5 + 0.5 * np.sin(cycle)  # 1: drawn up
        f.legs(hip=55 * u, knee=8 + 100 * u, spread=22 * u)
        f.both_arms(forward=165 - 70 * u, bend=4 + 70 * u, raise_=25 * np.sin(cycle + 1))
        f.spine(bend=-15 * u)
        speed = speed * (0.6 + 0.5 * np.sin(cycle + 2.5))
    else:
        kick = f.cycle(b(1.5, 2.6))
        for side, offset in (("left", 0.0), ("right", np.pi)):
            f.leg(side, 12 * np.sin(kick + offset), 10 + 10 * np.sin(kick + offset - 1))
            turn = (cycle + offset) % (2 * np.pi)  # around the shoulder, once a cycle
            reach = 90 - 85 * np.cos(turn)
            over = np.sin(turn) > 0
            f.arm(side, forward=reach, raise_=np.where(over, 45, 0) * np.abs(np.sin(turn)),
                  bend=np.where(over, 60, 25) * np.abs(np.sin(turn)))  # fmt: skip
        f.spine(turn=18 * np.sin(cycle), lean=3 * np.sin(cycle))
        f.joint("head", yaw=(25 * np.sin(cycle)) if not supine else 0, pitch=-15)
    f.lie()
    f.sit()
    f.footing.glide[:, 2] = -speed if supine else speed


def _tread_water(f: Figure) -> None:
    cycle = f.cycle(f.between(0.6, 1.0))
    for side, offset in (("left", 0.0), ("right", np.pi)):
        f.leg(side, 35 + 20 * np.sin(cycle + offset), 60 + 25 * np.sin(cycle + offset - 1),
              spread=10)  # fmt: skip
        f.arm(side, raise_=40, forward=40 + 25 * np.sin(cycle), bend=40, twist=20 * np.cos(cycle))
        f.flat[side][:] = 0
    f.sit()
    f.footing.glide[:, 1] = np.gradient(f.wander(0.04, 0.4, 0.9)) * 30


ACTIONS = {
    "sit cross-legged on the floor": _cross_legged,
    "sit on the floor": _floor_sit,
    "sit down on the floor": lambda f: _down_to_floor(f, up=False),
    "get up from the floor": lambda f: _down_to_floor(f, up=True),
    "kneel": _kneel,
    "kneel down": lambda f: _kneel_change(f, up=False),
    "stand up from kneeling": lambda f: _kneel_change(f, up=True),
    "lie down": _lie,
    "on hands and knees": _fours,
    "crawl": _crawl,
    "do push-ups": _push_ups,
    "plank": _plank,
    "do mountain climbers": _mountain_climbers,
    "do sit-ups": _sit_ups,
    "raise the legs lying": _leg_raises,
    "do hip bridges": _bridge,
    "swim": lambda f: _swim(f, "crawl"),
    "swim breaststroke": lambda f: _swim(f, "breast"),
    "swim backstroke": lambda f: _swim(f, "back"),
    "tread water": _tread_water,
}
