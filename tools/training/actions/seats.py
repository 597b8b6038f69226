"""On a chair, down to it and up from it."""

from __future__ import annotations

import numpy as np

from tools.training.figure import SIDES, Figure


def seated(f: Figure, amount=1.0, hands: bool = True) -> None:
    """Thighs level, feet on the floor; ``amount`` 0 is standing."""
    knee = f.between(78, 100)
    tilt = f.between(-10, 5)
    for side in SIDES:
        f.leg(side, (0.5 * knee + 40 + f.between(-3, 3) + tilt) * amount, 4 + (knee - 4) * amount,
              spread=f.between(2, 12) * amount)  # fmt: skip
        if hands:
            f.arm(side, forward=f.between(15, 40) * amount, bend=f.between(25, 70) * amount)
    f.spine(bend=f.between(-4, 16) * amount)
    f.joint("pelvis", pitch=tilt * amount)


def _sit(f: Figure) -> None:
    seated(f)
    f.sit()
    f.joint("head", yaw=f.wander(12, 0.1, 0.4), pitch=f.wander(5))
    f.spine(lean=f.wander(3), turn=f.wander(5))


def _feet_crossed(f: Figure) -> None:
    _sit(f)
    side, _ = f.a_side()
    if f.chance(0.5):  # one leg over the other
        f.leg(side, f.between(8, 20), -f.between(10, 30), spread=-f.between(15, 28))
        f.flat[side][:] = 0
    else:  # ankles crossed
        f.legs(knee=-f.between(10, 35), spread=-f.between(8, 16), twist=f.between(5, 20))


def _change(f: Figure, up: bool) -> None:
    length = f.between(0.8, 1.4)
    start = f.between(0.1, max(0.15, f.seconds - length - 0.2))
    amount = f.ramp(start, length)
    amount = 1 - amount if up else amount
    seated(f, amount)
    half = 4 * amount * (1 - amount)
    f.bow_down(f.between(30, 50) * half, spine=0.35)
    if f.chance(0.5):
        f.both_arms(forward=f.between(10, 45) * half)
    f.sit(np.clip(5 * amount - 4, 0, 1))


def _stand_and_sit(f: Figure) -> None:
    amount = 1 - f.pulse(0.25, 0.45)
    seated(f, amount)
    f.bow_down(f.between(30, 45) * 4 * amount * (1 - amount), spine=0.35)
    f.sit(np.clip(5 * amount - 4, 0, 1))


def _type(f: Figure) -> None:
    seated(f, hands=False)
    f.sit()
    for side in SIDES:
        f.arm(side, forward=f.between(15, 30), bend=f.between(65, 85), twist=f.between(0, 12),
              raise_=f.wander(2, 0.5, 1.5))  # fmt: skip
        f.joint(f"{side}_wrist", roll=f.wander(6, 2, 5), yaw=f.wander(4, 0.5, 2))
    f.joint("head", pitch=f.between(0, 20), yaw=f.wander(6))


def _drive(f: Figure) -> None:
    seated(f, hands=False)
    f.sit()
    steer = f.wander(1, 0.2, 0.6)
    for side, sign in (("left", 1), ("right", -1)):
        f.arm(side, forward=f.between(45, 60) + sign * 14 * steer, bend=f.between(30, 55))
    f.spine(bend=-f.between(5, 15))
    f.joint("head", yaw=8 * steer)


def _row(f: Figure) -> None:
    """Both arms and the trunk against the stretched legs."""
    pull = f.pulse(0.35, 0.7)
    reach = 1 - pull
    f.legs(hip=75 + 35 * reach, knee=12 + 80 * reach)
    f.spine(bend=25 * reach - 12)
    f.both_arms(forward=20 + 60 * reach, bend=8 + 95 * pull)
    for side in SIDES:
        f.flat[side][:] = 0
    f.sit()


ACTIONS = {
    "sit on a chair": _sit,
    "sit with feet crossed": _feet_crossed,
    "sit down": lambda f: _change(f, up=False),
    "stand up from sitting": lambda f: _change(f, up=True),
    "stand up and sit down again": _stand_and_sit,
    "type on a keyboard": _type,
    "drive a car": _drive,
    "row": _row,
}
