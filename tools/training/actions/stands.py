"""On both feet, or one: standing, squatting, bending down."""

from __future__ import annotations

import numpy as np

from tools.training.figure import SIDES, Figure


def idle(f: Figure) -> None:
    """The weight goes from leg to leg; both feet stay."""
    shift = f.wander(1.2, 0.1, 0.3)
    knee = 4 + f.between(0, 6)
    f.legs(hip=0.5 * knee, knee=knee)
    stance = f.between(0, 6)
    f.leg("left", hip=shift, spread=stance)
    f.leg("right", hip=shift, spread=stance)
    f.joint("pelvis", pitch=0.5 * shift)
    f.spine(turn=f.wander(5, 0.1, 0.3), lean=f.between(-3, 3))
    f.joint("head", yaw=f.wander(8, 0.1, 0.4))


def _knees_bent(f: Figure) -> None:
    f.crouch(f.between(35, 75) + f.wander(2), spread=f.between(3, 14))
    f.both_arms(bend=f.between(0, 60), forward=f.between(-5, 30))
    f.spine(bend=f.between(0, 15))


def fighting_stance(f: Figure, knee: float | None = None) -> None:
    """Side on, one foot ahead, fists up."""
    knee = f.between(15, 40) if knee is None else knee
    stagger, ahead = f.between(10, 20), f.chance(0.8)
    front, back = ("left", "right") if ahead else ("right", "left")
    bounce = f.between(0, 6) * np.sin(f.cycle(f.between(0.8, 1.8)))
    f.legs(hip=0.55 * bounce, knee=bounce)
    f.leg(front, 0.55 * knee + stagger, knee, spread=f.between(3, 8))
    f.leg(back, 0.55 * knee - stagger, knee, spread=f.between(3, 8))
    turn = 1 if front == "left" else -1
    f.joint("pelvis", yaw=-turn * f.between(10, 30))
    f.joint("head", yaw=turn * f.between(8, 20), pitch=8)
    for side in SIDES:
        f.arm(side, forward=f.between(25, 45), bend=f.between(85, 115), raise_=f.between(0, 10))
    f.arm(front, forward=f.between(5, 15), bend=-f.between(5, 20))
    f.spine(bend=f.between(4, 14))


def _one_leg(f: Figure) -> None:
    side, other = f.a_side()
    wobble = np.sin(f.cycle(f.between(0.3, 0.9)))
    f.leg(other, f.between(15, 80), f.between(40, 100), spread=f.between(0, 12))
    f.leg(side, 2, 6 + 3 * wobble, spread=-4)
    f.spine(lean=4 * wobble)
    f.both_arms(raise_=f.between(10, 80) + 6 * wobble)


def _squat(f: Figure, repeated: bool = False) -> None:
    down = f.pulse(0.4, 0.8) if repeated else f.pulse(0.2, 0.45)
    f.crouch(8 + f.between(85, 125) * down, spread=f.between(4, 14))
    lift = f.between(30, 95) * down
    style = f.rng.random()
    if style < 0.6:
        f.both_arms(forward=lift)
    elif style < 0.8:  # hands before the chest
        f.both_arms(forward=30, bend=110)
    else:  # behind the head
        f.both_arms(raise_=70, forward=-10, twist=-70, bend=115)
    f.spine(bend=f.between(8, 25) * down)
    f.joint("pelvis", pitch=f.between(0, 12) * down)
    f.joint("head", pitch=-15 * down)


def _lunge(f: Figure) -> None:
    """Long steps into a deep knee, forwards or on the spot."""
    hertz, deep = f.between(0.28, 0.5), f.between(60, 80)
    phase = f.time * hertz + f.between(0, 0.2)
    swap = f.chance(0.5)
    for k, side in enumerate(SIDES):
        own = (phase + 0.5 * k) % 1 if swap else (phase + 0.5 * k * 0) % 1
        down = np.sin(np.pi * np.clip(own / 0.5, 0, 1)) ** 2
        other = np.sin(np.pi * np.clip((own - 0.5) / 0.5, 0, 1)) ** 2 if swap else 0 * down
        front, back = (down, other) if swap or k == 0 else (0 * down, down)
        f.leg(side, deep * front - 0.35 * deep * back, 8 + 1.1 * deep * front + deep * back)
        f.flat[side][:] = 1 - np.clip(1.5 * back, 0, 1)
    f.both_arms(bend=f.between(0, 90), raise_=f.between(5, 35), forward=f.between(-10, 15))
    f.spine(bend=f.between(-4, 8))
    f.footing.floor[:] = True


def _calf_raises(f: Figure) -> None:
    idle(f)
    f.legs(ankle=-f.between(25, 40) * f.pulse(0.5, 1.0))
    for side in SIDES:
        f.flat[side][:] = 0


def _bend(f: Figure) -> None:
    down = f.pulse(0.2, 0.45) if f.chance(0.6) else np.ones(f.frames)
    angle, knee = f.between(55, 95), f.between(0, 35)
    f.legs(hip=0.55 * knee * down, knee=4 + knee * down)
    f.bow_down(angle * down)
    f.both_arms(forward=0.75 * angle * down)


def _pick_up(f: Figure) -> None:
    centre = f.between(0.35, 0.6) * f.seconds
    down = f.between_times(centre - 0.15, centre + 0.15, f.between(0.5, 0.9))
    knee = f.between(30, 105)
    side, other = f.a_side(0.7)
    f.crouch(6 + knee * down, spread=4)
    f.bow_down((105 - 0.62 * knee) * down)
    f.arm(side, forward=f.between(60, 75) * down, bend=60 * f.ramp(centre + 0.3, 0.6))
    f.arm(other, forward=f.between(0.2, 0.9) * 50 * down, bend=30 * down)


def _bow(f: Figure) -> None:
    centre, angle = 0.5 * f.seconds, f.between(30, 65)
    f.bow_down(angle * f.between_times(centre - f.between(0, 0.4), centre, f.between(0.5, 0.8)))
    f.both_arms(forward=0.3 * angle * f.bump(centre, 0.5))


def _touch_toes(f: Figure) -> None:
    down = f.pulse(0.25, 0.5)
    f.bow_down(f.between(85, 110) * down, spine=0.5)
    f.both_arms(forward=f.between(70, 90) * down, bend=-12)
    f.legs(knee=4)


def _side_bends(f: Figure) -> None:
    idle(f)
    lean = np.sin(f.cycle(f.between(0.25, 0.5)))
    f.spine(lean=f.between(20, 35) * lean)
    f.legs(spread=f.between(5, 12))
    f.arm("left", raise_=f.between(60, 75) * (1 - lean))
    f.arm("right", raise_=f.between(60, 75) * (1 + lean))


def _twists(f: Figure) -> None:
    idle(f)
    turn = np.sin(f.cycle(f.between(0.4, 0.9)))
    f.spine(turn=f.between(30, 50) * turn)
    f.both_arms(raise_=f.between(40, 75), forward=f.between(0, 20), bend=f.between(0, 90))


def _look_around(f: Figure) -> None:
    idle(f)
    turn = np.sin(f.cycle(f.between(0.25, 0.5)))
    f.joint("head", yaw=f.between(25, 45) * turn, pitch=f.wander(6))
    f.joint("neck", yaw=15 * turn)
    f.spine(turn=15 * turn)


def _stretch(f: Figure) -> None:
    idle(f)
    up = f.ramp(f.between(0, 0.4), 0.8)
    f.both_arms(raise_=f.between(135, 155) * up, bend=f.between(5, 40) * up)
    f.spine(bend=-15 * up, lean=f.wander(12, 0.1, 0.3) * up)


ACTIONS = {
    "stand still": idle,
    "stand with knees bent": _knees_bent,
    "stand in a fighting stance": fighting_stance,
    "balance on one leg": _one_leg,
    "squat": _squat,
    "do squats": lambda f: _squat(f, repeated=True),
    "do lunges": _lunge,
    "do calf raises": _calf_raises,
    "bend down": _bend,
    "pick up an object": _pick_up,
    "bow": _bow,
    "touch the toes": _touch_toes,
    "do side bends": _side_bends,
    "twist the trunk": _twists,
    "look around": _look_around,
    "stretch": _stretch,
}
