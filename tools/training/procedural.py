"""Procedural labelled motion: simple parametric actions as SMPL local rotations, 30 fps.

Own code and no data: each action is a few sinusoids, ramps and bumps on joint angles with
randomised amplitude, tempo, side and posture. They fill the gaps of the recorded clips (stairs,
left and right hands, sitting with feet crossed, ...) and are meant for training only.

    rng = np.random.default_rng(0)
    rotmats = sample("walk upstairs", rng)          # (60, 24, 3, 3) float32
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from semtta.errors import SemttaError
from tools.training.figure import SIDES, Figure
from tools.training.phrases import phrases


def _gait(f: Figure, hertz, hip, knee, arm=15.0, bend=15.0, lean=3.0, stance=8.0, lift=0.0,
          backwards=False) -> None:  # fmt: skip
    """Two legs half a cycle apart, arms against the legs; ``lift`` raises the swinging thigh."""
    cycle = f.cycle(hertz)
    cycle = -cycle if backwards else cycle
    limp = f.rng.normal(1, 0.06, 2)  # no one walks symmetrically
    for side, offset, scale in (("left", 0.0, limp[0]), ("right", np.pi, limp[1])):
        phase = cycle + offset
        swing = np.clip(np.sin(phase + 1.2), 0, None) ** 1.5
        f.leg(
            side,
            hip=scale * hip * np.sin(phase) + 0.5 * lift * (1 + np.sin(phase)),
            knee=stance + scale * knee * swing + 0.8 * lift * np.clip(np.sin(phase + 0.4), 0, None),
            ankle=f.between(5, 12) * np.sin(phase - 1.0),
        )
        f.arm(side, forward=-arm * np.sin(phase), bend=bend)
    f.spine(bend=lean, turn=f.between(3, 9) * np.sin(cycle))
    f.joint("pelvis", yaw=-f.between(2, 6) * np.sin(cycle))


def _idle(f: Figure) -> None:
    shift = f.between(-4, 4) * np.sin(f.cycle(f.between(0.1, 0.3)))
    f.leg("left", 2 + shift, 4 + f.between(0, 6), spread=f.between(-1, 5))
    f.leg("right", 2 - shift, 4 + f.between(0, 6), spread=f.between(-1, 5))
    f.spine(turn=f.between(-6, 6), lean=f.between(-3, 3))


def _walk(f):
    b = f.between
    _gait(f, b(0.75, 1.1), b(18, 28), b(40, 60), b(5, 30), b(5, 25), b(0, 8))


def _walk_slowly(f):
    b = f.between
    _gait(f, b(0.42, 0.65), b(12, 19), b(30, 46), b(2, 12), b(5, 15), b(0, 8))


def _walk_fast(f):
    b = f.between
    _gait(f, b(1.15, 1.4), b(26, 35), b(50, 65), b(25, 42), b(20, 50), b(4, 12))


def _run(f):
    b = f.between
    _gait(f, b(1.25, 1.6), b(28, 48), b(75, 110), b(25, 55), b(65, 95), b(5, 20), 15, b(5, 20))


def _walk_backwards(f):
    b = f.between
    _gait(f, b(0.6, 0.95), b(13, 22), b(35, 50), b(3, 15), b(8, 20), b(-4, 6), backwards=True)


def _walk_sideways(f):
    cycle = f.cycle(f.between(0.6, 1.0))
    for side, lag in (("left", 0.0), ("right", f.between(0.3, 0.9))):
        step = np.clip(np.sin(cycle + (0 if side == "left" else np.pi)), 0, None)
        f.leg(side, 8 + 12 * step, 12 + 28 * step,
              spread=f.between(10, 20) * (0.5 + 0.5 * np.sin(cycle + lag)))  # fmt: skip


def _upstairs(f):
    b = f.between
    _gait(f, b(0.5, 0.85), 8, 12, b(3, 18), b(15, 40), b(8, 22), 12, b(46, 70))


def _downstairs(f):
    b = f.between
    _gait(f, b(0.55, 0.9), 8, 30, b(3, 15), b(15, 40), b(-3, 8), 22, b(15, 30), backwards=True)


def _march(f):
    b = f.between
    _gait(f, b(0.8, 1.1), 2, 10, b(15, 40), b(20, 60), 0, 5, b(60, 88))


def _sneak(f):
    b = f.between
    _gait(f, b(0.4, 0.65), b(15, 22), b(35, 50), b(4, 12), b(40, 80), b(20, 35), b(35, 50),
          b(20, 40))  # fmt: skip


def _beam(f):
    b = f.between
    _gait(f, b(0.3, 0.65), b(12, 20), b(25, 48), 2, b(0, 12), b(0, 6), 6)
    wobble = b(4, 14) * np.sin(f.cycle(b(0.4, 1.0)))
    f.spine(lean=0.6 * wobble)
    f.arm("left", raise_=b(50, 85) - wobble, bend=-8)
    f.arm("right", raise_=b(50, 85) + wobble, bend=-8)
    f.legs(spread=-b(1, 5))


def _jump(f):
    u = (f.time / f.between(1.1, 1.8) + f.between(0, 1)) % 1

    def at(centre, width):
        return np.exp(-0.5 * ((u - centre) / width) ** 2)

    crouch, flight, depth = at(0.2, 0.07) + at(0.75, 0.07), at(0.45, 0.1), f.between(55, 95)
    tuck = f.between(5, 30)
    f.legs(hip=0.7 * depth * crouch + tuck * flight, knee=8 + depth * crouch + 1.5 * tuck * flight,
           ankle=0.3 * depth * crouch - 25 * flight)  # fmt: skip
    f.both_arms(forward=-f.between(10, 45) * crouch + f.between(30, 150) * flight,
                bend=f.between(0, 40))  # fmt: skip
    f.spine(bend=f.between(15, 35) * crouch)


def _hop(f):
    side, other = f.a_side()
    spring = 0.5 + 0.5 * np.cos(f.cycle(f.between(1.5, 2.2)))
    f.leg(side, 20 * spring + 5, 35 * spring + 5, 10 * spring)
    f.leg(other, f.between(5, 40), f.between(60, 100))
    f.both_arms(raise_=f.between(5, 60), bend=f.between(20, 50))


def _knees_bent(f):
    knee = f.between(35, 75)
    f.legs(hip=0.75 * knee, knee=knee, ankle=0.3 * knee, spread=f.between(3, 14))
    f.both_arms(bend=f.between(0, 60), forward=f.between(-5, 30))
    f.spine(bend=f.between(5, 35))


def _one_leg(f):
    side, other = f.a_side()
    wobble = np.sin(f.cycle(f.between(0.3, 0.9)))
    f.leg(other, f.between(15, 80), f.between(40, 100), spread=f.between(0, 12))
    f.leg(side, 2, 6 + 4 * wobble)
    f.spine(lean=4 * wobble)
    f.both_arms(raise_=f.between(10, 80) + 6 * wobble)


def _sit_pose(f, amount=1.0):
    hip, knee = f.between(72, 95), f.between(70, 100)
    for side in SIDES:
        f.leg(side, hip * amount, knee * amount, 0, spread=f.between(2, 14))
        f.arm(side, forward=f.between(15, 45) * amount, bend=f.between(20, 70) * amount)
    f.spine(bend=f.between(-5, 20) * amount)
    f.joint("pelvis", pitch=f.between(-10, 5) * amount)


def _feet_crossed(f):
    _sit_pose(f)
    side, _ = f.a_side()
    if f.chance(0.5):  # one leg over the other
        f.leg(side, f.between(5, 20), -f.between(10, 30), spread=-f.between(15, 28))
    else:  # ankles crossed
        f.legs(knee=-f.between(10, 35), spread=-f.between(8, 16), twist=f.between(5, 20))


def _cross_legged(f):
    for side in SIDES:
        f.leg(side, f.between(75, 95), f.between(110, 135), spread=f.between(25, 45),
              twist=f.between(35, 60))  # fmt: skip
        f.arm(side, forward=f.between(15, 35), bend=f.between(20, 60))
    f.spine(bend=f.between(5, 25))


def _floor_sit(f):
    bent = f.between(0, 70)
    for side in SIDES:
        f.leg(side, f.between(75, 95) + 0.4 * bent, bent + f.between(0, 15),
              spread=f.between(2, 18))  # fmt: skip
        f.arm(side, forward=f.between(-40, 40), bend=f.between(5, 40), raise_=f.between(0, 20))
    f.spine(bend=f.between(0, 30))


def _change_seat(f, up: bool):
    amount = f.ramp(f.between(0.05, 0.3) * f.seconds, f.between(0.8, 1.3))
    amount = 1 - amount if up else amount
    _sit_pose(f, amount)
    f.spine(bend=f.between(30, 50) * 4 * amount * (1 - amount))


def _squat(f):
    down, knee = f.pulse(0.35, 0.7), f.between(95, 130)
    f.legs(hip=0.85 * knee * down, knee=knee * down, ankle=0.25 * knee * down, spread=10)
    f.both_arms(forward=f.between(30, 90) * down)
    f.spine(bend=25 * down)


def _bend(f):
    down = f.pulse(0.2, 0.45) if f.chance(0.6) else np.ones_like(f.time)
    angle, knee = f.between(55, 95), f.between(0, 35)
    f.joint("pelvis", pitch=0.45 * angle * down)
    f.spine(bend=0.6 * angle * down)
    f.legs(hip=(0.45 * angle + 0.5 * knee) * down, knee=knee * down)
    f.both_arms(forward=0.8 * angle * down)


def _pick_up(f):
    centre = f.between(0.35, 0.65) * f.seconds
    down = f.bump(centre, f.between(0.25, 0.4))
    angle, knee = f.between(55, 90), f.between(20, 100)
    side, other = f.a_side(0.7)
    f.joint("pelvis", pitch=0.35 * angle * down)
    f.spine(bend=0.6 * angle * down)
    f.legs(hip=(0.35 * angle + 0.6 * knee) * down, knee=knee * down, ankle=0.2 * knee * down)
    f.arm(side, forward=angle * down, bend=60 * f.ramp(centre + 0.2, 0.6))
    f.arm(other, forward=f.between(0.2, 1.0) * angle * down)


def _bow(f):
    down = f.bump(0.5 * f.seconds, f.between(0.3, 0.5))
    f.joint("pelvis", pitch=f.between(10, 25) * down)
    f.spine(bend=f.between(25, 45) * down)
    f.legs(hip=15 * down)


def _throw(f, side: str, walking: bool = False):
    release = f.between(0.35, 0.6) * f.seconds
    wind, throw = f.bump(release - 0.25, 0.16), f.bump(release + 0.12, 0.14)
    turn = -1 if side == "left" else 1
    f.arm(side, raise_=f.between(60, 90) * (wind + throw), twist=-f.between(60, 90) * wind,
          forward=-20 * wind + f.between(60, 110) * throw,
          bend=f.between(70, 100) * wind - 5 * throw)  # fmt: skip
    f.spine(turn=turn * (-25 * wind + 30 * throw), bend=15 * throw)
    if walking:
        _gait(f, f.between(0.75, 1.05), f.between(18, 26), f.between(40, 55), 5, 5)
    else:
        f.leg("right" if side == "left" else "left", 25 * throw, 20 * throw)
        f.leg(side, -15 * throw, 15 * throw + 10 * wind)


def _kick(f, side: str):
    centre = f.between(0.35, 0.65) * f.seconds
    back, kick = f.bump(centre - 0.25, 0.13), f.bump(centre, f.between(0.09, 0.15))
    f.leg(side, -25 * back + f.between(50, 95) * kick, 6 + 70 * back + 10 * kick)
    f.leg("left" if side == "right" else "right", 0, 15 * kick + 8)
    f.spine(bend=-12 * kick)
    f.both_arms(raise_=30 * kick, bend=f.between(5, 40))


def _punch(f, sides: tuple[str, ...]):
    for side in SIDES:
        f.arm(side, forward=f.between(25, 45), bend=f.between(80, 105))
        f.leg(side, 12 if side == "left" else -8, f.between(10, 30))
    for i in range(int(f.between(2, 4.9))):
        side = sides[i % len(sides)]
        hit = f.bump(f.between(0.1, 0.9) * f.seconds, f.between(0.07, 0.12))
        f.arm(side, forward=f.between(40, 60) * hit, bend=-f.between(75, 95) * hit)
        f.spine(turn=(18 if side == "right" else -18) * hit)


def _wave(f, sides: tuple[str, ...]):
    _idle(f)
    for side in sides:
        shake = f.between(15, 32) * np.sin(f.cycle(f.between(1.0, 2.2)))
        f.arm(side, raise_=f.between(50, 125), twist=-90, bend=f.between(30, 90) + shake)


def _raise_arms(f):
    _idle(f)
    up, forward = f.ramp(f.between(0, 0.6), 0.8), f.chance(0.5)
    height = f.between(120, 160) * up
    f.both_arms(**({"forward": height} if forward else {"raise_": height}), bend=f.between(0, 30))


def _arms_out(f):
    _idle(f)
    f.both_arms(raise_=f.between(60, 85), bend=-8)


def _clap(f):
    _idle(f)
    open_ = 0.5 + 0.5 * np.sin(f.cycle(f.between(1.5, 3.0)))
    f.both_arms(forward=f.between(30, 50), bend=f.between(50, 75) - 15 * open_,
                raise_=8 * open_)  # fmt: skip


def _point(f):
    _idle(f)
    side, _ = f.a_side(0.7)
    f.arm(side, forward=f.between(65, 95) * f.ramp(f.between(0, 0.5), 0.5))


def _hands_on_hips(f):
    _idle(f)
    f.both_arms(raise_=30, forward=-15, twist=50, bend=f.between(85, 105))


def _cross_arms(f):
    _idle(f)
    f.both_arms(forward=f.between(30, 45), bend=f.between(95, 112))


def _drink(f):
    _idle(f)
    side, _ = f.a_side(0.7)
    lift = f.bump(0.5 * f.seconds, f.between(0.3, 0.5))
    f.arm(side, forward=30 * lift, bend=f.between(110, 130) * lift)
    f.joint("head", pitch=-15 * lift)


def _phone(f):
    _idle(f)
    side, _ = f.a_side(0.6)
    f.arm(side, raise_=f.between(10, 30), forward=f.between(10, 30), bend=f.between(120, 140))


def _wash_window(f):
    _idle(f)
    cycle, (side, _) = f.cycle(f.between(0.5, 1.3)), f.a_side(0.6)
    reach, circle = f.between(60, 110), f.between(10, 25)
    f.arm(side, forward=reach + circle * np.sin(cycle), raise_=f.between(0, 15) +
          f.between(8, 22) * np.cos(cycle), bend=f.between(5, 50) + 10 * np.sin(cycle))  # fmt: skip
    f.spine(bend=f.between(0, 15), turn=f.between(2, 8) * np.cos(cycle))
    if f.chance(0.4):  # leaning on, or stepping along, the wall
        f.legs(hip=f.between(0, 15), knee=f.between(0, 20))


def _look_around(f):
    _idle(f)
    turn = np.sin(f.cycle(f.between(0.25, 0.5)))
    f.joint("head", yaw=f.between(30, 50) * turn)
    f.joint("neck", yaw=15 * turn)
    f.spine(turn=15 * turn)


def _stretch(f):
    _idle(f)
    up = f.ramp(f.between(0, 0.4), 0.8)
    f.both_arms(raise_=150 * up, bend=f.between(5, 40) * up)
    f.spine(bend=-15 * up, lean=f.between(-25, 25) * up)


def _jumping_jacks(f):
    out = 0.5 - 0.5 * np.cos(f.cycle(f.between(0.8, 1.2)))
    f.both_arms(raise_=f.between(110, 145) * out)
    f.legs(hip=3, knee=8 + 10 * (1 - out), spread=f.between(15, 25) * out)


def _kneel(f):
    if f.chance(0.5):
        side, other = f.a_side()
        f.leg(side, f.between(75, 92), f.between(80, 95))
        f.leg(other, 0, f.between(85, 100))
    else:
        f.legs(hip=f.between(0, 60), knee=f.between(85, 130))
    f.spine(bend=f.between(0, 15))


def _lie(f):
    f.joint("pelvis", pitch=-88 if f.chance(0.6) else 88)
    f.legs(hip=f.between(0, 15), knee=f.between(0, 25))
    f.both_arms(raise_=f.between(0, 40))


def _crawl(f):
    cycle = f.cycle(f.between(0.6, 1.0))
    f.joint("pelvis", pitch=f.between(65, 85))
    for side, offset in (("left", 0.0), ("right", np.pi)):
        f.leg(side, 80 + f.between(12, 22) * np.sin(cycle + offset), f.between(75, 95))
        f.arm(side, forward=80 - f.between(12, 22) * np.sin(cycle + offset))
    f.joint("neck", pitch=-30)


def _turn_around(f):
    _gait(f, f.between(0.7, 1.0), 8, 25, 8)
    angle = f.between(150, 200) * f.rng.choice([-1, 1])
    f.joint("pelvis", yaw=angle * f.ramp(0.1, f.seconds - 0.3))


def _spin(f):
    _idle(f)
    f.joint("pelvis", yaw=f.between(150, 270) * f.rng.choice([-1, 1]) * f.time)
    f.both_arms(raise_=f.between(20, 80))
    step = f.cycle(f.between(1.0, 1.8))
    f.leg("left", 10 * np.sin(step), 15 + 15 * np.sin(step))
    f.leg("right", -10 * np.sin(step), 15 - 15 * np.sin(step))


ACTIONS: dict[str, Callable[[Figure], None]] = {
    "walk": _walk,
    "walk slowly": _walk_slowly,
    "walk fast": _walk_fast,
    "run": _run,
    "walk backwards": _walk_backwards,
    "walk sideways": _walk_sideways,
    "walk upstairs": _upstairs,
    "walk downstairs": _downstairs,
    "march in place": _march,
    "sneak": _sneak,
    "walk on a balance beam": _beam,
    "jump": _jump,
    "hop on one foot": _hop,
    "stand still": _idle,
    "stand with knees bent": _knees_bent,
    "balance on one leg": _one_leg,
    "sit on a chair": _sit_pose,
    "sit with feet crossed": _feet_crossed,
    "sit cross-legged on the floor": _cross_legged,
    "sit on the floor": _floor_sit,
    "sit down": lambda f: _change_seat(f, up=False),
    "stand up from sitting": lambda f: _change_seat(f, up=True),
    "squat": _squat,
    "bend down": _bend,
    "pick up an object": _pick_up,
    "bow": _bow,
    "throw something with the right hand": lambda f: _throw(f, "right"),
    "throw something with the left hand": lambda f: _throw(f, "left"),
    "throw something with the right hand and walking": lambda f: _throw(f, "right", walking=True),
    "kick with the right leg": lambda f: _kick(f, "right"),
    "kick with the left leg": lambda f: _kick(f, "left"),
    "punch": lambda f: _punch(f, ("right",) if f.chance(0.5) else ("left",)),
    "boxing": lambda f: _punch(f, ("left", "right")),
    "wave with the right hand": lambda f: _wave(f, ("right",)),
    "wave with the left hand": lambda f: _wave(f, ("left",)),
    "wave with both hands": lambda f: _wave(f, SIDES),
    "raise both arms": _raise_arms,
    "hold arms out to the sides": _arms_out,
    "clap": _clap,
    "point": _point,
    "hands on hips": _hands_on_hips,
    "cross arms": _cross_arms,
    "drink": _drink,
    "talk on the phone": _phone,
    "wash a window": _wash_window,
    "look around": _look_around,
    "stretch": _stretch,
    "jumping jacks": _jumping_jacks,
    "kneel": _kneel,
    "lie down": _lie,
    "crawl": _crawl,
    "turn around": _turn_around,
    "spin": _spin,
}


def sample(name: str, rng: np.random.Generator, frames: int = 60) -> np.ndarray:
    """One random performance: (frames, 24, 3, 3) float32 local rotations, root facing about +z."""
    if name not in ACTIONS:
        raise SemttaError(f"no procedural action '{name}'; known: {', '.join(sorted(ACTIONS))}.")
    figure = Figure(frames, rng)
    ACTIONS[name](figure)
    return figure.rotmats()


def texts(name: str) -> list[str]:
    """Ways to say the action in English, its own name first."""
    return phrases(name)
