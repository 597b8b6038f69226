"""Procedural labelled motion: simple parametric actions as SMPL local rotations, 30 fps.

Own code and no data: each action is a few sinusoids, ramps and bumps on joint angles with
randomised amplitude, tempo, side, posture and path; the pelvis moves as what stands on the ground
makes it. They fill the gaps of the recorded clips and are meant for training only.

    rng = np.random.default_rng(0)
    motion = perform("walk upstairs", rng)            # rotmats (60, 24, 3, 3), trans (60, 3)
    rotmats = sample("walk upstairs", rng)            # rotations only
    motion = compose("drink", "walk", rng)            # upper body of one, lower of the other
    motion = chain(("stand still", "sit down"), rng)  # one after the other
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from semtta.errors import SemttaError
from tools.training import actions
from tools.training.figure import Figure
from tools.training.motions import LOWER_BODY, mirror, mirror_text, mirror_trans, splice
from tools.training.phrases import phrases
from tools.training.roots import FPS, Footing, follow, turned

# Actions of one side are written for the right one, and mirrored.
MIRRORED = tuple(name for name in map(mirror_text, actions.ACTIONS) if name not in actions.ACTIONS)
ACTIONS = (*actions.ACTIONS, *MIRRORED)
# What the arms do while the legs do something else, and the legs that let them.
UPPER = ("wave with the right hand", "wave with the left hand", "wave with both hands", "clap",
         "point", "drink", "talk on the phone", "look around", "raise both arms", "cross arms",
         "hands on hips", "play the guitar", "play the violin", "conduct an orchestra",
         "throw something with the right hand", "throw something with the left hand",
         "stretch", "hold arms out to the sides", "scratch the head", "boxing",
         "swing the arms in circles", "groove with the arms")  # fmt: skip
LOWER = ("walk", "walk slowly", "walk backwards", "walk sideways", "jog", "walk upstairs",
         "walk downstairs", "march in place", "sit on a chair", "stand still", "turn on the spot",
         "stand with knees bent", "kneel", "squat", "walk crouched with knees bent")  # fmt: skip


@dataclass(frozen=True)
class Performance:
    """A motion: ``rotmats`` (T, 24, 3, 3) and ``trans`` (T, 3) metres, float32, y up, 30 fps.

    It starts over the origin, heading for about +z; the ground is y = 0 where it stands."""

    rotmats: np.ndarray
    trans: np.ndarray


def perform(name: str, rng: np.random.Generator, frames: int = 60) -> Performance:
    """One random performance with the pelvis moving as the feet make it."""
    if name in MIRRORED:
        other = perform(mirror_text(name), rng, frames)
        return Performance(mirror(other.rotmats), mirror_trans(other.trans))
    return _settled(*_drawn(name, rng, frames))


def sample(name: str, rng: np.random.Generator, frames: int = 60) -> np.ndarray:
    """The rotations (frames, 24, 3, 3) of a performance, which starts facing about +z."""
    return perform(name, rng, frames).rotmats


def compose(upper: str, lower: str, rng: np.random.Generator, frames: int = 60) -> Performance:
    """Trunk and arms of one action over the legs, and the path, of another."""
    above, _ = _drawn(upper, rng, frames)
    below, footing = _drawn(lower, rng, frames)
    return _settled(splice(above, below, (0, *LOWER_BODY)), footing)


def chain(names: Sequence[str], rng: np.random.Generator, frames: int = 60) -> Performance:
    """One action into the next, each as long, faded over 0.3 to 1 second."""
    fades = [int(FPS * rng.uniform(0.3, 1.0)) for _ in names[1:]]
    length = -(-(frames + sum(fades)) // len(names))
    fades = [min(fade, length // 2) for fade in fades]
    rotmats, footing = _drawn(names[0], rng, length)
    for name, fade in zip(names[1:], fades, strict=True):
        other, its_footing = _drawn(name, rng, length)
        rotmats = _crossed(rotmats, other, fade)
        footing = footing.joined(its_footing, fade)
    whole = _settled(rotmats, footing)
    return Performance(whole.rotmats[:frames], whole.trans[:frames])


def texts(name: str) -> list[str]:
    """Ways to say the action in English, its own name first."""
    return phrases(name)


def _drawn(name: str, rng: np.random.Generator, frames: int) -> tuple[np.ndarray, Footing]:
    """Rotations without a heading, and what carries them."""
    if name in MIRRORED:
        rotmats, footing = _drawn(mirror_text(name), rng, frames)
        return mirror(rotmats), footing.mirrored()
    if name not in actions.ACTIONS:
        raise SemttaError(f"no procedural action '{name}'; known: {', '.join(sorted(ACTIONS))}.")
    figure = Figure(frames, rng)
    actions.ACTIONS[name](figure)
    return figure.rotmats(), figure.footing


def _settled(rotmats: np.ndarray, footing: Footing) -> Performance:
    rotmats = turned(rotmats, footing.heading).astype(np.float32)
    return Performance(rotmats, follow(rotmats, footing))


def _crossed(first: np.ndarray, second: np.ndarray, overlap: int) -> np.ndarray:
    """Rotations of one motion turned into the other's over so many frames."""
    share = (np.arange(overlap) + 0.5) / overlap
    share = share * share * (3 - 2 * share)
    tail, head = first[len(first) - overlap :], second[:overlap]
    middle = np.empty_like(tail)
    for t, s in enumerate(share):
        turn = Rotation.from_matrix(tail[t].swapaxes(-1, -2) @ head[t]).as_rotvec()
        middle[t] = tail[t] @ Rotation.from_rotvec(s * turn).as_matrix()
    return np.concatenate((first[: len(first) - overlap], middle, second[overlap:]))
