"""Off the ground: jumps, hops, rope, jumping jacks."""

from __future__ import annotations

import numpy as np

from tools.training.actions.gaits import Gait, step
from tools.training.figure import FPS, SIDES, Figure


def _spring(f: Figure, u: np.ndarray, air: tuple[float, float], depth, tuck=0.0) -> np.ndarray:
    """Legs of a jump whose cycle u goes from 0 to 1 and that is off the ground between ``air``."""
    leave, land = air
    crouch = np.exp(-0.5 * ((u - 0.55 * leave) / (0.2 * leave)) ** 2)
    soft = np.exp(-0.5 * ((u - land - 0.35 * (1 - land)) / (0.22 * (1 - land))) ** 2)
    flying = (u > leave) & (u < land)
    flight = np.sin(np.pi * np.clip((u - leave) / (land - leave), 0, 1))
    f.crouch(8 + depth * crouch + 0.75 * depth * soft)
    f.legs(hip=0.75 * tuck * flight, knee=1.4 * tuck * flight, ankle=-35 * flight)
    f.spine(bend=0.25 * depth * crouch + 0.15 * depth * soft)
    for side in SIDES:
        f.flat[side][:] *= ~flying
    f.fly(flying)
    return flight - crouch


def _jump(f: Figure, forward: tuple[float, float] = (0, 0), turn: float = 0.0,
          tuck: tuple[float, float] = (0, 20), once: bool = False) -> None:  # fmt: skip
    air, period = f.between(0.38, 0.55), f.between(1.2, 1.8)
    leave = f.between(0.35, 0.45)
    land = leave + air / period
    if once:
        period = f.seconds
        leave = f.between(0.35, 0.5)
        land = leave + air / period
    u = (f.time / period + (0 if once else f.between(0, 1))) % 1
    swing = _spring(f, u, (leave, land), f.between(55, 95), f.between(*tuck))
    lift = f.between(40, 120)
    f.both_arms(forward=lift * np.clip(swing, 0, 1) + 40 * np.clip(swing, -1, 0),
                bend=f.between(0, 40), raise_=f.between(0, 15))  # fmt: skip
    flying = (u > leave) & (u < land)
    if forward[1]:
        f.footing.glide[flying, 2] = f.between(*forward) / air
    if turn:
        share = np.cumsum(flying / FPS / air)
        f.turn(turn * f.rng.choice([-1, 1]) * share)


def _hop(f: Figure) -> None:
    side, other = f.a_side()
    hertz, duty = f.between(1.6, 2.3), f.between(0.4, 0.55)
    u = (f.time * hertz + f.between(0, 1)) % 1
    load = np.sin(np.pi * np.clip(u / duty, 0, 1))
    f.leg(side, 8 + 16 * load, 14 + 30 * load, spread=-4)
    f.leg(side, 0, 0, -25 * (1 - load))
    f.flat[side][:] = load
    f.leg(other, f.between(5, 40), f.between(60, 100))
    f.both_arms(raise_=f.between(5, 60) + 8 * load, bend=f.between(20, 50))
    f.fly(u > duty)
    if f.chance(0.5):
        f.footing.glide[u > duty, 2] = f.between(0.4, 1.2)


def _bounce(f: Figure, hertz: float, duty: float, knee: float) -> np.ndarray:
    """Both feet leave the ground every time; returns the phase, 0 to ``duty`` on the ground."""
    u = (f.time * hertz + f.between(0, 1)) % 1
    load = np.sin(np.pi * np.clip(u / duty, 0, 1))
    f.crouch(8 + knee * load)
    f.legs(ankle=-22 * (1 - load))
    for side in SIDES:
        f.flat[side][:] = load
    f.fly(u > duty)
    return u


def _jacks(f: Figure) -> None:
    """Feet land apart, then together, at half the rate of the hops."""
    hertz, duty = f.between(0.7, 1.35), f.between(0.5, 0.68)
    _bounce(f, 2 * hertz, duty, f.between(12, 30))
    out = 0.5 - 0.5 * np.cos(f.cycle(hertz))
    f.both_arms(raise_=f.between(105, 155) * out, bend=f.between(-10, 20))
    f.legs(spread=f.between(14, 24) * out)


def _ski_jacks(f: Figure) -> None:
    hertz, duty = f.between(0.8, 1.3), 0.6
    _bounce(f, 2 * hertz, duty, f.between(12, 25))
    swing = np.sin(f.cycle(hertz))
    for side, sign in (("left", 1), ("right", -1)):
        f.leg(side, sign * f.between(14, 22) * swing)
        f.arm(side, forward=-sign * f.between(40, 80) * swing + 15)


def _rope(f: Figure) -> None:
    hertz = f.between(1.6, 2.6)
    style, duty = f.rng.random(), f.between(0.45, 0.62)
    if style < 0.6:
        _bounce(f, hertz, duty, f.between(8, 24))
    else:  # foot by foot
        step(f, Gait(0.5 * hertz, 2, f.between(25, 50), 0, 0, 2, 14, f.between(8, 25), 5, 0.42),
             arms=False)  # fmt: skip
    cycle = f.cycle(hertz)
    for side in SIDES:
        f.arm(side, raise_=f.between(12, 25), bend=f.between(55, 85) + 6 * np.sin(cycle),
              twist=f.between(20, 45) + 10 * np.cos(cycle), forward=-f.between(0, 12))  # fmt: skip
        f.joint(f"{side}_wrist", yaw=15 * np.cos(cycle), roll=15 * np.sin(cycle))


def _land_and_run(f: Figure) -> None:
    """Down from a height, a deep landing, and off."""
    land = f.between(0.2, 0.4)
    off = land + f.between(0.35, 0.55)
    run = Figure(f.frames, f.rng)
    b = f.between
    step(run, Gait(b(1.3, 1.6), b(24, 34), b(70, 100), b(25, 45), b(60, 90), b(8, 18), b(12, 20),
                   b(10, 24), b(3, 8), b(0.33, 0.4)))  # fmt: skip
    later = f.ramp(off - 0.1, 0.35)
    for joint in range(24):
        f.angles[joint] += later[:, None] * run.angles[joint]
    for side in SIDES:
        for key, own in f.arms[side].items():
            own += later * run.arms[side][key]
        f.flat[side][:] = np.where(later > 0.5, run.flat[side], f.flat[side])
    running = f.time > off
    f.footing.support[running] = run.footing.support[running]
    f.footing.flight[:] = np.where(f.time > off + 0.1, run.footing.flight, f.time < land)
    f.footing.glide[f.time < land, 2] = b(0.2, 1.5)
    deep = f.bump(land + 0.16, 0.13)
    f.crouch((8 + b(60, 100) * deep) * (1 - 0.6 * later))
    f.bow_down(b(15, 35) * deep)
    f.both_arms(raise_=b(20, 60) * (1 - f.ramp(land, 0.3)), forward=b(10, 40) * deep)


def _burpee(f: Figure) -> None:
    """Squat, plank, squat, jump."""
    period = f.between(2.4, 3.4)
    u = (f.time / period + f.between(0, 1)) % 1

    def at(start: float, end: float, fade: float = 0.07) -> np.ndarray:
        def smooth(x):
            x = np.clip(x, 0, 1)
            return x * x * (3 - 2 * x)

        return smooth((u - start) / fade) * (1 - smooth((u - end) / fade))

    down, plank, air = at(0.12, 0.66), at(0.27, 0.5, 0.09), (u > 0.8) & (u < 0.94)
    f.legs(hip=115 * down - 118 * plank, knee=6 + 130 * down - 130 * plank)
    f.joint("pelvis", pitch=38 * down + 40 * plank)
    f.spine(bend=25 * down - 22 * plank)
    f.both_arms(forward=95 * down - 15 * plank + 130 * np.sin(np.pi * np.clip((u - 0.76) / 0.2, 0, 1)),
                bend=-8)  # fmt: skip
    f.legs(ankle=-30.0 * air)
    f.lie()
    for side in SIDES:
        f.flat[side][:] = 1 - np.clip(2 * plank, 0, 1)
    f.fly(air)


ACTIONS = {
    "jump": _jump,
    "jump forward": lambda f: _jump(f, (0.5, 1.6)),
    "jump and turn": lambda f: _jump(f, turn=f.between(90, 200), once=True),
    "tuck jump": lambda f: _jump(f, tuck=(50, 85)),
    "hop on one foot": _hop,
    "jumping jacks": _jacks,
    "ski jacks": _ski_jacks,
    "skip rope": _rope,
    "land from a jump and run off": _land_and_run,
    "do burpees": _burpee,
}
