"""The people of a video together: who else is there in a frame, and what lies on whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from semtta.people.masking import on_body
from semtta.people.ownership import is_strangers
from semtta.people.tracker import box_size

AT_LEAST = 0.11  # confidence with which the limbs of other people are painted
_LINGER = 0.5  # seconds for which a lost person still hides others


@dataclass(frozen=True)
class Person:
    """One chain with every frame of its span filled in.

    Args:
        frames: (T,) consecutive frame indices.
        times: (T,) seconds.
        seen: (T,) whether the detector saw the person there; elsewhere interpolated.
        boxes: (T, 4) pixels.
        xy, conf: (T, 17, 2), (T, 17) MoveNet's keypoints; conf 0 where unseen.
        score: mean detection score.
    """

    frames: np.ndarray
    times: np.ndarray
    seen: np.ndarray
    boxes: np.ndarray
    xy: np.ndarray
    conf: np.ndarray
    score: float

    @cached_property
    def step(self) -> float:
        """Seconds per frame."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 1 / 30

    def places(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the person is in frames (N,) of the video: positions (N,), and whether there at
        all. Somebody who was just lost, or is about to be found, is taken to stand where last or
        first seen."""
        at = np.clip(frames - self.frames[0], 0, len(self.frames) - 1)
        return at, np.abs(frames - self.frames[at]) * self.step <= _LINGER


def present(everyone: Sequence[Person], person: Person, frame: int) -> list[tuple[Person, int]]:
    """The others in a frame, each with its position there; see :meth:`Person.places`."""
    found = []
    for other in everyone:
        if other is not person:
            at, there = other.places(np.array([frame]))
            found += [(other, int(at[0]))] if there[0] else []
    return found


def _meetings(
    person: Person, everyone: Sequence[Person]
) -> Iterator[tuple[Person, np.ndarray, np.ndarray]]:
    """Everybody else, the positions (N,) of a person at which they are there, and theirs (N,)."""
    for other in everyone:
        if other is not person:
            at, there = other.places(person.frames)
            if there.any():
                yield other, np.flatnonzero(there), at[there]


def hidden(points: np.ndarray, person: Person, everyone: Sequence[Person]) -> np.ndarray:
    """(T, J) whether points (T, J, 2) of a person lie on somebody else's body."""
    found = np.zeros(points.shape[:2], bool)
    for other, t, u in _meetings(person, everyone):
        conf = np.maximum(other.conf[u], AT_LEAST)
        found[t] |= on_body(points[t], other.boxes[u], other.xy[u], conf)
    return found


def foreign(
    points: np.ndarray, person: Person, everyone: Sequence[Person], size: np.ndarray
) -> np.ndarray:
    """(T,) whether points (T, 27, 2) are somebody else's, or between two people.

    Args:
        size: (T,) of the person, pixels."""
    found = np.zeros(len(points), bool)
    for other, t, u in _meetings(person, everyone):
        theirs = other.xy[u], other.conf[u], box_size(other.boxes[u])
        found[t] |= is_strangers(points[t], person.xy[t], person.conf[t], size[t], *theirs)
    return found
