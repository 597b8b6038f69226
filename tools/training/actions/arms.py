"""Mostly arms, on quiet legs: signs, music, small things done with the hands."""

from __future__ import annotations

import numpy as np

from tools.training.actions.stands import idle
from tools.training.figure import SIDES, Figure


def _wave(f: Figure, sides: tuple[str, ...]) -> None:
    idle(f)
    for side in sides:
        shake = f.between(15, 32) * np.sin(f.cycle(f.between(1.0, 2.2)))
        up = f.ramp(f.between(-0.6, 0.4), 0.6)
        f.arm(side, raise_=f.between(50, 110) * up, twist=-f.between(70, 95) * up,
              bend=(f.between(30, 90) + shake) * up)  # fmt: skip


def _raise_arms(f: Figure) -> None:
    idle(f)
    up = f.ramp(f.between(0, 0.6), 0.8)
    height = f.between(120, 160) * up
    f.both_arms(**({"forward": height} if f.chance(0.5) else {"raise_": height}),
                bend=f.between(0, 30))  # fmt: skip


def _cheer(f: Figure) -> None:
    idle(f)
    pump = f.between(5, 22) * np.sin(f.cycle(f.between(1.2, 2.5)))
    f.both_arms(raise_=f.between(110, 150) + pump, bend=f.between(5, 50) - pump)
    f.crouch(np.clip(pump, 0, None))
    f.joint("head", pitch=-f.between(0, 15))


def _arms_out(f: Figure) -> None:
    idle(f)
    f.both_arms(raise_=f.between(60, 85), bend=-8)


def _arm_circles(f: Figure) -> None:
    idle(f)
    cycle, size = f.cycle(f.between(0.5, 1.2)), f.between(10, 40)
    against = f.chance(0.2)
    for k, side in enumerate(SIDES):
        own = cycle + np.pi * k * against
        f.arm(side, raise_=70 + size * np.sin(own), forward=size * np.cos(own), bend=-8)


def _swing_arms(f: Figure) -> None:
    idle(f)
    swing = np.sin(f.cycle(f.between(0.6, 1.1)))
    sign = -1 if f.chance(0.4) else 1
    f.arm("left", forward=20 + f.between(40, 80) * swing)
    f.arm("right", forward=20 + sign * f.between(40, 80) * swing)
    f.crouch(5 + 8 * swing**2)


def _clap(f: Figure) -> None:
    idle(f)
    open_ = 0.5 + 0.5 * np.sin(f.cycle(f.between(1.5, 3.0)))
    f.both_arms(forward=f.between(30, 50), bend=f.between(60, 75) - 10 * open_, twist=22 - 28 * open_,
                raise_=4 + 8 * open_)  # fmt: skip


def _point(f: Figure) -> None:
    idle(f)
    side, _ = f.a_side(0.7)
    up = f.ramp(f.between(0, 0.5), 0.5)
    f.arm(side, forward=f.between(65, 95) * up, raise_=f.between(-5, 40) * up, bend=-10 * up)


def _hands_on_hips(f: Figure) -> None:
    idle(f)
    f.both_arms(raise_=f.between(26, 36), forward=-15, twist=f.between(45, 60),
                bend=f.between(75, 95))  # fmt: skip


def _cross_arms(f: Figure) -> None:
    idle(f)
    f.both_arms(forward=f.between(32, 42), bend=f.between(90, 104), twist=f.between(28, 42))
    f.arm("left", forward=8)


def _drink(f: Figure) -> None:
    idle(f)
    side, _ = f.a_side(0.7)
    lift = f.between_times(f.between(0.3, 0.45) * f.seconds, f.between(0.6, 0.8) * f.seconds,
                           f.between(0.4, 0.7))  # fmt: skip
    start = f.between(0, 60)
    f.arm(side, forward=10 + f.between(25, 50) * lift, bend=start + (125 - start) * lift,
          raise_=f.between(0, 25) * lift, twist=f.between(5, 20) * lift)  # fmt: skip
    f.joint("head", pitch=-f.between(5, 22) * lift)


def _eat(f: Figure) -> None:
    idle(f)
    side, other = f.a_side(0.7)
    lift = f.pulse(0.3, 0.6)
    f.arm(side, forward=15 + 25 * lift, bend=70 + 55 * lift, twist=10)
    f.arm(other, forward=15, bend=f.between(60, 85), twist=10)
    f.joint("head", pitch=10 - 6 * lift)


def _phone(f: Figure) -> None:
    idle(f)
    side, _ = f.a_side(0.6)
    f.arm(side, raise_=f.between(10, 25), forward=f.between(15, 35), bend=f.between(125, 140))
    f.joint("head", roll=f.between(-8, 8), yaw=f.wander(12, 0.1, 0.4))


def _text_phone(f: Figure) -> None:
    idle(f)
    f.both_arms(forward=f.between(10, 30), bend=f.between(85, 110), twist=f.between(10, 25))
    f.joint("head", pitch=f.between(15, 30))
    f.joint("neck", pitch=f.between(5, 15))


def _scratch(f: Figure) -> None:
    idle(f)
    side, _ = f.a_side()
    f.arm(side, raise_=f.between(55, 75), forward=f.between(15, 30), twist=-f.between(60, 85),
          bend=f.between(120, 135) + f.between(4, 9) * np.sin(f.cycle(f.between(2, 3.5))))  # fmt: skip
    f.joint("head", roll=f.between(-10, 10), pitch=8)


def _salute(f: Figure) -> None:
    idle(f)
    side, _ = f.a_side(0.85)
    up = f.between_times(0.3 * f.seconds, 0.8 * f.seconds, 0.35)
    f.arm(side, raise_=62 * up, forward=22 * up, twist=-60 * up, bend=128 * up)


def _guitar(f: Figure) -> None:
    idle(f)
    strum = np.sin(f.cycle(f.between(1.5, 3.5)))
    f.arm("right", forward=f.between(0, 12), raise_=f.between(15, 25), twist=f.between(30, 45),
          bend=f.between(75, 90) + f.between(8, 18) * strum)  # fmt: skip
    f.arm("left", raise_=f.between(15, 35), forward=f.between(15, 30), twist=-f.between(5, 25),
          bend=f.between(85, 110) + f.wander(10, 0.2, 0.8))  # fmt: skip
    f.joint("head", pitch=10 + 5 * strum * f.between(0, 1), yaw=f.between(0, 25))
    f.crouch(4 + 4 * strum * f.between(0, 1))


def _violin(f: Figure) -> None:
    idle(f)
    stroke = f.wander(1, 0.5, 1.5)
    f.arm("left", raise_=f.between(20, 32), forward=f.between(45, 60), bend=f.between(80, 100),
          twist=f.between(-25, -5))  # fmt: skip
    f.arm("right", raise_=f.between(35, 50), forward=f.between(30, 45) - 6 * stroke, twist=20,
          bend=f.between(75, 90) + 26 * stroke)  # fmt: skip
    f.joint("head", yaw=f.between(15, 35), roll=-f.between(5, 15), pitch=10)
    f.spine(lean=f.wander(5, 0.2, 0.6))


def _drum(f: Figure) -> None:
    idle(f)
    hertz = f.between(1.2, 2.8)
    for k, side in enumerate(SIDES):
        beat = np.sin(f.cycle(hertz, np.pi * k))
        f.arm(side, forward=f.between(15, 30) + 8 * beat, bend=f.between(70, 90) + 24 * beat,
              raise_=f.between(5, 20))  # fmt: skip
    f.joint("head", pitch=6 * np.sin(f.cycle(hertz)))


def _conduct(f: Figure) -> None:
    idle(f)
    hertz = f.between(0.7, 1.4)
    for k, side in enumerate(SIDES):
        cycle = f.cycle(hertz, np.pi * k * f.chance(0.2))
        f.arm(side, forward=f.between(45, 65) + 20 * np.sin(cycle), raise_=18 + 16 * np.cos(cycle),
              bend=f.between(40, 70) + 15 * np.sin(2 * cycle))  # fmt: skip


def _talk(f: Figure) -> None:
    """Hands that speak along."""
    idle(f)
    for side in SIDES:
        quiet = f.between(0.2, 1)
        f.arm(side, forward=f.between(10, 25) + quiet * f.wander(18, 0.2, 0.9),
              bend=f.between(50, 90) + quiet * f.wander(28, 0.3, 1.2),
              raise_=8 + quiet * f.wander(10, 0.2, 0.9), twist=quiet * f.wander(22, 0.2, 0.9))  # fmt: skip
        f.joint(f"{side}_wrist", roll=f.wander(15, 0.3, 1.2))
    f.joint("head", yaw=f.wander(14, 0.1, 0.5), pitch=f.wander(7, 0.3, 1.2))


def _shake_hands(f: Figure) -> None:
    idle(f)
    up = f.between_times(0.3 * f.seconds, 0.75 * f.seconds, 0.4)
    f.arm("right", forward=(f.between(35, 50) + 6 * np.sin(f.cycle(f.between(2, 3)))) * up,
          bend=f.between(30, 55) * up)  # fmt: skip
    f.bow_down(8 * up)


ACTIONS = {
    "wave with the right hand": lambda f: _wave(f, ("right",)),
    "wave with both hands": lambda f: _wave(f, SIDES),
    "raise both arms": _raise_arms,
    "cheer with arms raised": _cheer,
    "hold arms out to the sides": _arms_out,
    "swing the arms in circles": _arm_circles,
    "swing the arms": _swing_arms,
    "clap": _clap,
    "point": _point,
    "hands on hips": _hands_on_hips,
    "cross arms": _cross_arms,
    "drink": _drink,
    "eat": _eat,
    "talk on the phone": _phone,
    "type on a phone": _text_phone,
    "scratch the head": _scratch,
    "salute": _salute,
    "play the guitar": _guitar,
    "play the violin": _violin,
    "play the drums": _drum,
    "conduct an orchestra": _conduct,
    "talk with the hands": _talk,
    "shake hands": _shake_hands,
}
