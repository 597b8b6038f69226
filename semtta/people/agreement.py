"""Whether 2D poses are where people are in the picture: the detector looks at a few frames.

The commonest mistakes leave every number plausible: points found at half the size, on a picture
that was not turned, in a mirrored copy. They are told by one fit: the detector's joints are the
file's, stretched about the origin, on the picture as it is, turned or mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from semtta.errors import SemttaError
from semtta.people.tracker import Detections, box_size

Announce = Callable[[str], None]
# Frames -> the people that the detector sees in each, keypoints in COCO17.
Looks = Callable[[Sequence[int]], Mapping[int, Detections]]

FRAMES = 8  # that are looked at
_SURE = 0.3  # of the detector's joints
_JOINTS = 6  # that both must have
_NEAR = 0.15  # of the person's size: median distance of joints that are the same person's
_FITS = 0.12  # of the person's size: what remains after a fit
_ALIKE = 0.12  # spread of the fits' factors
_EQUAL = 0.04  # factors nearer to 1 are no other size
_BETTER = 0.5  # of the distance before is left by a fit that explains it
_VOTES = 6  # frames that must speak for one way to count


@dataclass(frozen=True)
class Looked:
    """One person of the file in one frame, in COCO17.

    Args:
        frame: of the video.
        xy: (17, 2) pixels.
        seen: (17,) joints that count.
    """

    frame: int
    xy: np.ndarray
    seen: np.ndarray


def choose(frames: Sequence[int], count: int = FRAMES) -> list[int]:
    """A few of these frames, spread evenly."""
    unique = sorted(set(frames))
    return [unique[i] for i in np.linspace(0, len(unique) - 1, min(count, len(unique))).astype(int)]


def check_agreement(
    people: Sequence[Looked], looks: Looks, picture: tuple[int, int], where: str, announce: Announce
) -> None:
    """Compare people of the file with what the detector sees.

    Raises ``SemttaError`` if they fit only when stretched, turned or mirrored; says so if they do
    not fit at all. Frames in which the detector sees nobody say nothing."""
    wanted = choose([person.frame for person in people])
    found = looks(wanted)
    pairs: dict[int, list] = {}
    for person in people:
        if person.frame in found and person.seen.sum() >= _JOINTS:
            pairs.setdefault(person.frame, []).append(person)
    spoken = [frame for frame in pairs if len(found[frame])]
    if not spoken:
        return
    right = [f for f in spoken if min(_distance(p, found[f]).min() for p in pairs[f]) <= _NEAR]
    agreed = 2 * len(right) >= len(spoken)
    wrong = _explained([(pairs[f], found[f]) for f in spoken], picture, agreed)
    if wrong is not None:
        raise SemttaError(f"{where}: {wrong}")
    if not agreed:
        announce(
            f"{where}: in {len(spoken) - len(right)} of {len(spoken)} frames that were looked at "
            "the built-in detector sees people elsewhere than these 2D poses; check that they "
            "belong to this video."
        )


def _distance(person: Looked, people: Detections) -> np.ndarray:
    """(N,) median distance of the joints to each detected person's, in units of their size."""
    both = person.seen & (people.conf >= _SURE)
    apart = np.linalg.norm(people.xy - person.xy, axis=-1)
    apart = np.where(both, apart, np.nan)
    size = np.maximum(box_size(people.boxes), 1.0)
    enough = both.sum(1) >= _JOINTS
    middle = np.array([np.nanmedian(a) if e else np.inf for a, e in zip(apart, enough)])
    return middle / size


# What may have happened to the picture: from the file's points to those of the video.
_TURNED = {
    "": lambda xy: xy,
    "turned by 90 degrees": lambda xy: np.stack([-xy[:, 1], xy[:, 0]], 1),
    "turned by 270 degrees": lambda xy: np.stack([xy[:, 1], -xy[:, 0]], 1),
    "turned by 180 degrees": lambda xy: -xy,
    "mirrored": lambda xy: xy * [-1, 1],
    "turned upside down (does y point up in the file?)": lambda xy: xy * [1, -1],
    "x and y are exchanged": lambda xy: xy[:, ::-1],
    "x and y are exchanged and turned": lambda xy: -xy[:, ::-1],
}


def _explained(
    frames: list[tuple[list[Looked], Detections]], picture: tuple[int, int], agreed: bool
) -> str | None:
    """What was done to the picture before the points were found; None if nothing explains them.

    Args:
        agreed: the points lie near the people as they are; only another size is asked for."""
    size = np.array(picture, np.float64)
    for how, turn in _TURNED.items():
        if how and agreed:
            break
        fits = [fit for people, found in frames if (fit := _fit(people, found, turn, picture))]
        if 2 * len(fits) < len(frames) or len(fits) < 2:
            continue
        factors = np.array([fit.factors for fit in fits])
        middle = np.median(factors, 0)
        if (np.abs(factors / middle - 1).max(1) < _ALIKE).mean() < 0.75:
            continue
        if how:
            return (f"its points fit the picture only when {how}; run the 2D program on the video "
                    "as it is shown (players turn it by its rotation tag).")  # fmt: skip
        better = np.median([fit.left / max(fit.before, 1e-9) for fit in fits]) < _BETTER
        if np.abs(middle - 1).max() > _EQUAL and (better or not agreed):
            made = size / middle
            return (f"its points fit the picture only when stretched by {middle[0]:.2f} x "
                    f"{middle[1]:.2f}: they were found in a picture of about {made[0]:.0f}x"
                    f"{made[1]:.0f}; give its exact size as --poses2d-size.")  # fmt: skip
    return None


@dataclass(frozen=True)
class _Fit:
    """Factors in x and y, and the median distance of joints before and after, in sizes."""

    factors: tuple[float, float]
    before: float
    left: float


def _fit(people, found: Detections, turn, picture) -> _Fit | None:
    """How one person's points are stretched to a detected person's, the best pair of them."""
    best = None
    for person in people:
        for n in range(len(found)):
            both = person.seen & (found.conf[n] >= _SURE)
            if both.sum() < _JOINTS:
                continue
            source, target = turn(person.xy[both]), found.xy[n][both]
            # A turned picture begins at its far edge: pixel 0 lies where the last one was.
            start = np.where(source.mean(0) < 0, np.array(picture) - 1.0, 0.0)
            k = ((target - start) * source).sum(0) / np.maximum((source**2).sum(0), 1e-9)
            size = max(float(box_size(found.boxes[n : n + 1])[0]), 1.0)
            left = float(np.median(np.linalg.norm(source * k + start - target, axis=1))) / size
            before = float(np.median(np.linalg.norm(source + start - target, axis=1))) / size
            if (k > 0.05).all() and left < (_FITS if best is None else best.left):
                best = _Fit((float(k[0]), float(k[1])), before, left)
    return best


def counted_from(people: Sequence[Looked], looks: Looks) -> int | None:
    """0 or 1, whichever number the video's first frame has; None if the picture cannot tell.

    Args:
        people: with the numbers of the file as frames; those that move most tell most."""
    numbers: dict[int, list[Looked]] = {}
    for person in people:
        numbers.setdefault(person.frame, []).append(person)
    moving = [(_movement(numbers[n][0], numbers[n + 1][0]), n) for n in numbers if n + 1 in numbers]
    chosen = sorted(n for _, n in sorted(moving, reverse=True)[: 3 * FRAMES])
    found = looks(chosen)
    votes = []
    for n in chosen:
        if n in found and len(found[n]):
            same = min(_distance(person, found[n]).min() for person in numbers[n])
            later = min(_distance(person, found[n]).min() for person in numbers[n + 1])
            if min(same, later) <= _NEAR and same != later:
                votes.append(int(later < same))
    if len(votes) < _VOTES:
        return None
    ones = sum(votes)
    return None if 0.25 < ones / len(votes) < 0.75 else int(2 * ones > len(votes))


def _movement(a: Looked, b: Looked) -> float:
    both = a.seen & b.seen
    return float(np.median(np.linalg.norm(a.xy - b.xy, axis=1)[both])) if both.any() else 0.0
