"""Throws, strokes, kicks and punches; right-handed, mirrored elsewhere."""

from __future__ import annotations

import numpy as np

from tools.training.actions.gaits import Gait, step
from tools.training.actions.stands import fighting_stance, idle
from tools.training.figure import SIDES, Figure


def _stance(f: Figure, knee: float, stagger: float, shift=0.0, wide: float = 4.0) -> None:
    """Left foot ahead; ``shift`` -1 puts the weight on the back foot, 1 on the front one."""
    f.legs(hip=0.55 * knee, knee=knee, spread=wide)
    f.leg("left", stagger - 5 * shift, -0.25 * knee * shift)
    f.leg("right", -stagger - 5 * shift, 0.25 * knee * shift)


def _throw(f: Figure, kind: str = "over", walking: bool = False) -> None:
    release = f.between(0.4, 0.65) * f.seconds
    fast = f.between(0.8, 1.3)
    wind, throw = (
        f.bump(release - 0.25 * fast, 0.15 * fast),
        f.bump(release + 0.1 * fast, 0.13 * fast),
    )
    if kind == "over":
        f.arm("right", raise_=f.between(60, 90) * (wind + 0.6 * throw),
              twist=-f.between(60, 90) * wind, forward=-20 * wind + f.between(60, 100) * throw,
              bend=f.between(70, 100) * wind - 5 * throw)  # fmt: skip
        f.arm("left", forward=f.between(30, 75) * wind - 15 * throw, raise_=f.between(0, 30) * wind)
        f.spine(
            turn=-f.between(20, 35) * wind + f.between(20, 35) * throw, bend=20 * throw - 8 * wind
        )
    elif kind == "under":
        f.arm("right", forward=-f.between(40, 60) * wind + f.between(60, 95) * throw, bend=-8)
        f.arm("left", raise_=f.between(5, 30))
        f.spine(bend=f.between(5, 20) * (wind + throw), turn=-12 * wind + 8 * throw)
    else:  # both hands from over the head
        f.both_arms(forward=f.between(140, 165) * wind + 85 * throw, bend=f.between(50, 80) * wind,
                    twist=10)  # fmt: skip
        f.spine(bend=-15 * wind + 25 * throw)
    if walking:
        step(f, Gait(f.between(0.75, 1.05), f.between(18, 25), f.between(40, 54), 4, 5))
    else:
        _stance(f, f.between(10, 30), f.between(6, 18), 1.5 * throw - wind)


def _catch(f: Figure) -> None:
    idle(f)
    at = f.between(0.4, 0.6) * f.seconds
    up = f.between_times(at - 0.2, at + 0.3, 0.4)
    f.both_arms(forward=f.between(40, 110) * up, bend=(20 + 60 * f.ramp(at, 0.25)) * up,
                twist=8 * up)  # fmt: skip
    f.crouch(8 + 22 * f.bump(at + 0.1, 0.2))


def _serve(f: Figure) -> None:
    """Toss with the left, racket behind the back, up, through and down across."""
    hit = f.between(0.5, 0.7) * f.seconds
    toss = f.between_times(hit - 0.75, hit - 0.25, 0.45)
    back, up, down = f.bump(hit - 0.4, 0.2), f.bump(hit - 0.02, 0.1), f.bump(hit + 0.28, 0.16)
    f.arm("left", forward=f.between(130, 160) * toss, bend=-8 * toss)
    f.arm("right", raise_=72 * back + 135 * up + 10 * down, twist=-80 * back - 30 * up,
          bend=105 * back + 5 * up, forward=-15 * back + 8 * up + 60 * down)  # fmt: skip
    f.spine(bend=-16 * back + 8 * up + 32 * down, turn=-25 * back + 20 * up + 32 * down,
            lean=10 * up)  # fmt: skip
    f.joint("head", pitch=-30 * toss)
    _stance(f, 12 + f.between(15, 40) * 1.0, f.between(6, 14), np.clip(1.5 * down - back, -1, 1), 5)
    f.legs(hip=-12 * up, knee=-20 * up, ankle=-20 * up)


def _forehand(f: Figure, backhand: bool = False) -> None:
    hit = f.between(0.4, 0.65) * f.seconds
    wind, swing = f.bump(hit - 0.35, 0.2), f.bump(hit + 0.02, 0.12)
    after = f.bump(hit + 0.32, 0.2)
    turn = f.between(35, 55)
    if backhand:
        f.arm("right", forward=40 * wind + 45 * swing + 20 * after, bend=50 * wind + 15 * after,
              twist=30 * wind, raise_=-5 * wind + 25 * swing + 60 * after)  # fmt: skip
        f.arm("left", forward=35 * wind + 20 * swing, bend=60 * wind, twist=10)
        f.spine(turn=turn * wind - 0.4 * turn * swing - 0.7 * turn * after)
    else:
        f.arm("right", raise_=50 * wind + 25 * swing + 15 * after, forward=-28 * wind + 50 * swing
              + 75 * after, bend=25 * wind + 15 * swing + 95 * after)  # fmt: skip
        f.arm("left", forward=45 * wind + 20 * after, raise_=30 * (wind + swing), bend=30)
        f.spine(turn=-turn * wind + 0.3 * turn * swing + 0.8 * turn * after)
    f.spine(bend=f.between(5, 15))
    _stance(f, f.between(25, 45), f.between(6, 14), np.clip(swing + after - wind, -1, 1), 8)


def _golf(f: Figure) -> None:
    """Both hands together: up behind the right shoulder, through, and over the left one."""
    hit = f.between(0.5, 0.65) * f.seconds
    back, after = f.bump(hit - 0.5, 0.24), f.bump(hit + 0.4, 0.24)
    turn = f.between(45, 65)
    f.crouch(f.between(14, 26), spread=f.between(8, 14))
    f.bow_down(f.between(25, 38) * (1 - 0.7 * after))
    f.spine(turn=-turn * back + turn * after)
    f.joint("pelvis", yaw=-15 * back + 30 * after)
    for side, lead in (("left", back), ("right", after)):
        folded = after if side == "left" else back
        f.arm(side, forward=38 + 55 * (back + after), raise_=-12 * lead, twist=12,
              bend=-6 + 80 * folded)  # fmt: skip
    f.joint("head", pitch=10, yaw=0.6 * turn * back - 0.4 * turn * after)


def _bat(f: Figure) -> None:
    """A bat swung level from over the right shoulder."""
    hit = f.between(0.5, 0.65) * f.seconds
    swing = f.ramp(hit - 0.2, 0.4)
    f.arm("left", forward=62 - 5 * swing, bend=55 - 20 * np.sin(np.pi * swing), twist=22)
    f.arm("right", forward=48 + 20 * swing, bend=105 - 70 * np.sin(np.pi * swing), raise_=18)
    f.spine(turn=-f.between(30, 45) + 85 * swing, bend=8)
    f.joint("head", yaw=30 - 60 * swing)
    _stance(f, f.between(20, 40), f.between(8, 16), 2 * swing - 1, 10)


def _kick(f: Figure) -> None:
    centre = f.between(0.35, 0.65) * f.seconds
    back, kick = f.bump(centre - 0.25, 0.13), f.bump(centre, f.between(0.09, 0.15))
    f.leg("right", -25 * back + f.between(50, 95) * kick, 6 + 70 * back + 10 * kick)
    f.leg("left", 4, 15 * kick + 8)
    f.spine(bend=-12 * kick)
    f.both_arms(raise_=30 * kick, bend=f.between(5, 40))
    f.footing.support[:] = np.where(back + kick > 0.15, 0, -1)


def _side_kick(f: Figure) -> None:
    fighting_stance(f)
    centre = f.between(0.35, 0.65) * f.seconds
    chamber, kick = f.bump(centre - 0.2, 0.12), f.bump(centre, 0.11)
    f.leg(
        "right",
        55 * chamber + 25 * kick,
        75 * chamber,
        spread=20 * chamber + f.between(45, 70) * kick,
    )
    f.spine(lean=-22 * kick)
    f.joint("pelvis", roll=-f.between(10, 22) * kick)
    f.footing.support[:] = np.where(chamber + kick > 0.15, 0, -1)


def _run_and_kick(f: Figure, arms: float = 30) -> None:
    """A ball kicked out of a run."""
    b = f.between
    step(f, Gait(b(1.1, 1.4), b(20, 30), b(60, 90), arms, b(50, 80), b(5, 12), b(12, 20), b(8, 18),
                 b(3, 8), b(0.38, 0.45)))  # fmt: skip
    centre = b(0.4, 0.7) * f.seconds
    back, kick = f.bump(centre - 0.2, 0.1), f.bump(centre, 0.1)
    f.leg("right", -20 * back + 55 * kick, 40 * back - 20 * kick)
    f.leg("left", 0, -10 * kick)
    f.spine(bend=-10 * kick)
    f.arm("left", raise_=40 * kick)
    planted = back + kick > 0.3
    f.footing.support[planted] = 0
    f.footing.flight[planted] = False


def _dribble(f: Figure) -> None:
    """A ball bounced by the right hand, on the spot or on the way."""
    bounce = 0.5 + 0.5 * np.sin(f.cycle(f.between(1.4, 2.2)))
    if f.chance(0.5):
        step(f, Gait(f.between(0.9, 1.3), f.between(14, 22), f.between(40, 60), 4, 20, 14, 20,
                     duty=0.56), arms=False)  # fmt: skip
    else:
        f.crouch(f.between(20, 50), spread=8)
    f.spine(bend=f.between(8, 20))
    f.arm("right", forward=f.between(20, 35) + 10 * bounce, bend=35 + 40 * bounce, raise_=10)
    f.arm("left", raise_=f.between(10, 35), bend=f.between(30, 70), forward=10)


def _shoot_hoops(f: Figure) -> None:
    release = f.between(0.5, 0.65) * f.seconds
    set_, up = (
        f.bump(release - 0.3, 0.2),
        f.ramp(release - 0.15, 0.25) * (1 - f.ramp(release + 0.4, 0.5)),
    )
    f.crouch(10 + f.between(30, 55) * f.bump(release - 0.35, 0.17), spread=4)
    f.arm("right", forward=60 * set_ + 140 * up, bend=90 * set_ + 5 * up, twist=8)
    f.arm("left", forward=55 * set_ + f.between(90, 120) * up, bend=80 * set_ + 30 * up, twist=14)
    f.joint("head", pitch=-18 * up)
    flying = (f.time > release - 0.05) & (f.time < release + 0.28)
    if f.chance(0.6):
        f.fly(flying)
        f.legs(ankle=-28 * f.bump(release + 0.1, 0.12))


def _bowl(f: Figure) -> None:
    """A ball rolled out of a deep lunge."""
    at = f.between(0.5, 0.65) * f.seconds
    wind, low = f.bump(at - 0.4, 0.2), f.between_times(at - 0.05, at + 0.4, 0.35)
    _stance(f, 10 + 0.0 * at, 8, 0)
    f.leg("left", 28 * low, 48 * low)
    f.leg("right", -18 * low, 22 * low)
    f.bow_down(35 * low)
    f.arm("right", forward=-45 * wind + 65 * low, bend=-8)
    f.arm("left", raise_=45 * low)


HITS = ("jab", "cross", "hook", "uppercut")


def _hit(f: Figure, side: str, kind: str, at: float, width: float) -> None:
    hit = f.bump(at, width)
    turn = 1 if side == "right" else -1
    if kind in ("jab", "cross"):
        f.arm(side, forward=f.between(40, 55) * hit, bend=-f.between(80, 100) * hit)
    elif kind == "hook":
        f.arm(side, raise_=f.between(50, 65) * hit, forward=25 * hit, bend=-15 * hit)
    else:
        f.arm(side, forward=f.between(30, 55) * hit, bend=-10 * hit)
        f.crouch(12 * f.bump(at - 0.15, 0.1))
    f.spine(turn=turn * f.between(12, 26) * hit, bend=5 * hit)


def _punch(f: Figure, sides: tuple[str, ...] = ("right",), kinds: tuple[str, ...] = HITS) -> None:
    fighting_stance(f)
    at, k = f.between(0.2, 0.5), 0
    while at < f.seconds - 0.1:
        _hit(f, sides[k % len(sides)], kinds[f.rng.integers(len(kinds))], at, f.between(0.06, 0.1))
        k += 1
        at += f.between(0.28, 0.5) if len(sides) > 1 and k % 4 else f.between(0.55, 1.1)


def _guard(f: Figure) -> None:
    fighting_stance(f)
    f.both_arms(forward=f.between(5, 20), bend=f.between(5, 20))
    f.spine(lean=f.wander(9, 0.3, 0.9), bend=f.between(4, 14))
    f.crouch(np.clip(f.wander(18, 0.3, 0.9), 0, None))


def _bow_shot(f: Figure) -> None:
    """The left arm holds the bow, the right draws it."""
    idle(f)
    up = f.ramp(0.1, 0.6)
    draw = f.ramp(0.35 * f.seconds, 0.7)
    f.spine(turn=-f.between(25, 40) * up)
    f.joint("head", yaw=f.between(25, 40) * up)
    f.arm("left", raise_=68 * up, forward=f.between(20, 35) * up, bend=-10 * up)
    f.arm("right", raise_=62 * up, forward=(75 - 55 * draw) * up, bend=(40 + 90 * draw) * up)
    f.legs(spread=8)


ACTIONS = {
    "throw something with the right hand": _throw,
    "throw something with the right hand and walking": lambda f: _throw(f, walking=True),
    "throw underarm with the right hand": lambda f: _throw(f, "under"),
    "throw overhead with both hands": lambda f: _throw(f, "head"),
    "catch a ball": _catch,
    "serve a tennis ball with the right hand": _serve,
    "hit a tennis forehand with the right hand": _forehand,
    "hit a tennis backhand with the right hand": lambda f: _forehand(f, backhand=True),
    "swing a golf club": _golf,
    "swing a baseball bat": _bat,
    "kick with the right leg": _kick,
    "side kick with the right leg": _side_kick,
    "kick a soccer ball": _run_and_kick,
    "dribble a basketball": _dribble,
    "shoot a basketball": _shoot_hoops,
    "bowl a ball": _bowl,
    "punch": lambda f: _punch(f, (f.a_side()[0],)),
    "boxing": lambda f: _punch(f, SIDES),
    "dodge": _guard,
    "shoot with a bow": _bow_shot,
}
