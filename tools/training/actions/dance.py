"""Dancing: joints that follow a beat, each with its own few harmonics."""

from __future__ import annotations

import numpy as np

from tools.training.actions.gaits import Gait, step
from tools.training.actions.stands import idle
from tools.training.figure import SIDES, Figure


class Beat:
    """Random movement that repeats with the music: harmonics of half the tempo."""

    def __init__(self, f: Figure, beats: float):
        self.f, self.cycle = f, f.cycle(0.5 * beats)

    def __call__(self, size: float, harmonics: int = 3) -> np.ndarray:
        """About ``size`` high, more of it slow than fast."""
        rng = self.f.rng
        waves = [np.sin(n * self.cycle + rng.uniform(0, 2 * np.pi)) * rng.normal(0, 1) / n**0.7
                 for n in range(1, harmonics + 1)]  # fmt: skip
        return size * 0.7 * sum(waves)


def _arms(f: Figure, beat: Beat, size: float = 1.0) -> None:
    together = f.chance(0.4)
    shared = {key: beat(1.0) for key in ("raise", "forward", "bend", "twist")}
    high = f.between(10, 70)
    for side in SIDES:
        own = shared if together else {key: beat(1.0) for key in shared}
        f.arm(side, raise_=high + size * 40 * own["raise"], forward=25 + size * 40 * own["forward"],
              bend=55 + size * 45 * own["bend"], twist=size * 40 * own["twist"])  # fmt: skip


def _trunk(f: Figure, beat: Beat, size: float = 1.0) -> None:
    f.spine(bend=6 + size * beat(9), turn=size * beat(14), lean=size * beat(9))
    f.joint("head", pitch=beat(8), yaw=beat(10), roll=beat(6))


def _hip_hop(f: Figure) -> None:
    """Bouncing in the knees, arms on and off the beat, steps now and then."""
    tempo = f.between(1.4, 2.1)
    beat = Beat(f, tempo)
    bounce = 0.5 + 0.5 * np.sin(2 * beat.cycle)
    f.crouch(14 + f.between(12, 30) * bounce + np.abs(beat(10)), spread=f.between(4, 14))
    if f.chance(0.6):
        _side_steps(f, beat)
    _arms(f, beat)
    _trunk(f, beat)


def _side_steps(f: Figure, beat: Beat) -> None:
    """Weight from foot to foot; the free one is lifted, kicked or tapped aside."""
    aside, ahead, lift = f.between(-4, 14), f.between(-15, 30), f.between(15, 60)
    for k, side in enumerate(SIDES):
        free = np.clip(np.sin(beat.cycle + np.pi * k), 0, 1) ** 1.5
        f.leg(side, (ahead + 0.5 * lift) * free, lift * free, spread=aside * free)
        f.footing.support[free > 0.05] = 1 - k


def _groove(f: Figure) -> None:
    idle(f)
    _arms(f, Beat(f, f.between(1.2, 2.2)))


def _legs_groove(f: Figure) -> None:
    beat = Beat(f, f.between(1.4, 2.2))
    f.crouch(12 + 8 * np.sin(2 * beat.cycle))
    _side_steps(f, beat)
    _trunk(f, beat, 0.5)


def _running_man(f: Figure) -> None:
    tempo = f.between(0.8, 1.2)
    step(
        f, Gait(tempo, f.between(3, 7), f.between(25, 45), 25, 60, 8, 18, f.between(40, 60), 5, 0.5)
    )
    f.both_arms(forward=15 * np.sin(f.cycle(2 * tempo)))


def _twist_dance(f: Figure) -> None:
    swing = np.sin(f.cycle(f.between(0.8, 1.4)))
    f.crouch(30 + 10 * np.abs(swing))
    f.joint("pelvis", yaw=f.between(15, 30) * swing)
    f.spine(turn=-f.between(25, 45) * swing)
    f.both_arms(bend=f.between(60, 90), raise_=f.between(15, 35))


def _salsa(f: Figure) -> None:
    tempo = f.between(0.7, 1.0)
    phase = step(f, Gait(tempo, f.between(6, 12), f.between(20, 35), 8, 70, 0, 14, duty=0.62))
    sway = np.sin(2 * np.pi * phase)
    f.joint("pelvis", roll=f.between(5, 10) * sway)
    f.spine(lean=-f.between(5, 10) * sway)
    f.both_arms(forward=f.between(15, 35), raise_=f.between(5, 25))
    f.turn(f.wander(40, 0.05, 0.25))


def _spin(f: Figure) -> None:
    step(f, Gait(f.between(1.2, 1.8), 1, f.between(12, 25), 0, 0, 0, 8, 8, duty=0.62), arms=False)
    f.turn(f.between(150, 270) * f.rng.choice([-1, 1]) * f.time)
    f.both_arms(raise_=f.between(20, 80), bend=f.between(0, 50))


def _free(f: Figure) -> None:
    """Anything on two legs, in time."""
    beat = Beat(f, f.between(1.0, 2.2))
    if f.chance(0.5):
        _side_steps(f, beat)
    f.crouch(10 + np.abs(beat(20)), spread=f.between(2, 12))
    _arms(f, beat, f.between(0.5, 1.2))
    _trunk(f, beat, f.between(0.5, 1.4))
    f.turn(f.between(0, 40) * beat(1.0, 1))


ACTIONS = {
    "hip hop dance": _hip_hop,
    "groove with the arms": _groove,
    "groove with the legs": _legs_groove,
    "dance the running man": _running_man,
    "dance the twist": _twist_dance,
    "salsa dance": _salsa,
    "spin": _spin,
    "dance": _free,
}
