"""Rows of 2D poses -> one list of rows a person: by the file's identities, else by tracking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from semtta.people.formats import Row
from semtta.people.tracker import Chain, Detections, box_iou, box_size, link, suppress_duplicates

Announce = Callable[[str], None]

_BOX_MARGIN = 0.1  # of the joints' extent, on each side
_SHARED = 0.25  # of the smaller of two boxes that are the same person's
_CORNERS = 1.25  # times better must a box fit as two corners to be taken for that
_SWITCH = 2.0  # sizes that nobody moves between two looks at most half a second apart
_SOON = 0.5  # seconds


@dataclass(frozen=True)
class Entry:
    """One person in one frame of the video.

    Args:
        where: file and position, for messages.
        frame: index from 0.
        points: (J, 3) pixels and confidence in [0, 1].
        box: (4,) x0 y0 x1 y1, pixels.
        person: identity, None where the file has none.
    """

    where: str
    frame: int
    points: np.ndarray
    box: np.ndarray
    person: int | str | None


def entries_of(
    rows: Sequence[Row], frames: Sequence[int], least: float, announce: Announce
) -> list[Entry]:
    """Rows with the frames they belong to; a box that cannot be theirs is drawn around the joints.

    Args:
        rows: in pixels, each with a joint that counts.
        frames: of the rows.
        least: confidence from which a joint counts."""
    entries, mended, first = [], 0, ""
    arounds = [_box_around(row.points, least) for row in rows]
    boxes = _as_corners(rows, arounds, announce)
    for row, frame, around, box in zip(rows, frames, arounds, boxes):
        if row.box is not None and (box is None or not _usable(box, around)):
            mended, first, box = mended + 1, first or row.where, None
        box = around if box is None else box
        entries.append(Entry(row.where, frame, row.points, box, row.person))
    if mended:
        announce(f"{mended} of {len(rows)} rows have a box that is empty or not around the joints "
                 f"(first: {first}); the joints give it.")  # fmt: skip
    return entries


def _as_corners(
    rows: Sequence[Row], arounds: Sequence[np.ndarray], announce: Announce
) -> list[np.ndarray | None]:
    """Boxes of the rows; of a file that has two corners where width and height belong, mended."""
    boxes = [row.box for row in rows]
    boxes = [box if box is not None and np.isfinite(box).all() else None for box in boxes]
    given = [(box, around) for box, around in zip(boxes, arounds) if box is not None]
    mended = [np.concatenate([box[:2], box[2:] - box[:2]]) for box, _ in given]
    fits = [
        _overlap(other, around) > max(_CORNERS * _overlap(box, around), 0.4)
        for other, (box, around) in zip(mended, given)
    ]
    if sum(fits) <= 0.8 * len(given):
        return boxes
    announce("its boxes are two corners, not a corner, width and height: read so.")
    following = iter(mended)
    return [None if box is None else next(following) for box in boxes]


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float(box_iou(a[None], b[None])[0, 0])


def _box_around(points: np.ndarray, least: float) -> np.ndarray:
    seen = points[points[:, 2] >= least, :2]
    low, high = seen.min(0), seen.max(0)
    margin = _BOX_MARGIN * max(float((high - low).max()), 10.0)
    return np.concatenate([low - margin, high + margin])


def _usable(box: np.ndarray, around: np.ndarray) -> bool:
    """Whether a box can be the one that these joints were found in."""
    if not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
        return False
    common = np.minimum(box[2:], around[2:]) - np.maximum(box[:2], around[:2])
    if (common <= 0).any():
        return False
    smaller = min(np.prod(box[2:] - box[:2]), np.prod(around[2:] - around[:2]))
    return bool(np.prod(common) >= _SHARED * smaller)


def people_of(
    entries: Sequence[Entry], seconds: Callable[[int], float], least: float, announce: Announce
) -> list[list[Entry]]:
    """Entries of every person in the order of frames, the largest and longest seen first.

    Args:
        entries: of all people and frames.
        seconds: time of a frame.
        least: confidence from which a joint counts."""
    people = _by_identity(entries, announce)
    if people is None:
        people = _by_tracking(entries, seconds, least, announce)
    return sorted(people, key=lambda person: -sum(_size(entry) for entry in person))


def _size(entry: Entry) -> float:
    return float(box_size(entry.box[None])[0])


def _by_identity(entries: Sequence[Entry], announce: Announce) -> list[list[Entry]] | None:
    """None where identities are missing, or are none: some programs write 0 for everybody."""
    named = sum(entry.person is not None for entry in entries)
    if named == 0:
        return None
    if named < len(entries):
        announce(f"only {named} of {len(entries)} people have an identity; who is who is tracked.")
        return None
    people: dict[int | str, dict[int, Entry]] = {}
    for entry in entries:
        assert entry.person is not None  # all are named
        person = people.setdefault(entry.person, {})
        if entry.frame in person:
            announce(f"{entry.where}: person {entry.person} appears twice in frame {entry.frame}, "
                     "so the file's identities are none; who is who is tracked.")  # fmt: skip
            return None
        person[entry.frame] = entry
    swap = _swapped(people)
    if swap is not None:
        announce(f"the file's identities change places (first in frame {swap}), so they are none; "
                 "who is who is tracked.")  # fmt: skip
        return None
    return [[person[frame] for frame in sorted(person)] for person in people.values()]


def _swapped(people: dict[int | str, dict[int, Entry]]) -> int | None:
    """A frame in which people stand where others of them stood before; None if that is no habit.

    Detectors without a tracker number people anew in each frame."""
    last: dict[int | str, np.ndarray] = {}
    swaps, first = 0, None
    for frame in sorted({frame for person in people.values() for frame in person}):
        now = {who: person[frame].box for who, person in people.items() if frame in person}
        for who, box in now.items():
            if who not in last:
                continue
            size = float(box_size(box[None])[0])
            apart = {o: _distance(box, before) for o, before in last.items()}
            own = apart.pop(who)
            if apart and own > 0.5 * size and min(apart.values()) < 0.25 * own:
                swaps, first = swaps + 1, frame if first is None else first
        last = now
    return first if swaps >= 2 else None


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm((a - b).reshape(2, 2).mean(0)))


def _by_tracking(
    entries: Sequence[Entry], seconds: Callable[[int], float], least: float, announce: Announce
) -> list[list[Entry]]:
    frames: dict[int, list[Entry]] = {}
    for entry in entries:
        frames.setdefault(entry.frame, []).append(entry)
    order = sorted(frames)
    detections, lookup = [], []
    for frame in order:
        group = sorted(frames[frame], key=lambda entry: -entry.points[:, 2].mean())
        people = _detections(group, least)
        kept = suppress_duplicates(people, sure=0.0)
        lookup.append([_whose(group, kept, n) for n in range(len(kept))])
        detections.append(kept)
    times = [seconds(frame) for frame in order]
    chains = link(detections, times, start_score=0.0, sure=0.0)
    if all(len(people) == 1 for people in detections):  # the same one, however long unseen
        chains = _one(chains, detections, times, order, announce)
    return [[lookup[t][n] for t, n in zip(chain.frames, chain.picks)] for chain in chains]


def _detections(group: Sequence[Entry], least: float) -> Detections:
    """What the tracker sees: joints that the loss would not believe are missing."""
    conf = np.stack([entry.points[:, 2] for entry in group])
    return Detections(
        boxes=np.stack([entry.box for entry in group]),
        scores=conf.mean(1),
        xy=np.stack([entry.points[:, :2] for entry in group]),
        conf=np.where(conf >= least, conf, 0.0),
    )


def _whose(group: Sequence[Entry], kept: Detections, n: int) -> Entry:
    return next(e for e in group if np.array_equal(e.points[:, :2], kept.xy[n]))


def _one(
    chains: list[Chain], detections: list[Detections], times: list[float], frames: list[int],
    announce: Announce,
) -> list[Chain]:  # fmt: skip
    """One chain of all frames, unless somebody else takes the person's place at once."""
    if len(chains) < 2:
        return chains
    boxes = np.stack([people.boxes[0] for people in detections])
    center, size = boxes.reshape(-1, 2, 2).mean(1), box_size(boxes)
    moved = np.linalg.norm(np.diff(center, axis=0), axis=1)
    soon = np.diff(times) <= _SOON
    switch = soon & (moved > _SWITCH * np.maximum(size[1:], size[:-1]))
    if switch.any():
        at = frames[int(np.flatnonzero(switch)[0]) + 1]
        announce(f"one person a frame, but in frame {at} somebody stands elsewhere: taken as "
                 f"{len(chains)} people.")  # fmt: skip
        return chains
    announce("one person a frame: taken as the same one throughout, also where unseen for long.")
    return [Chain(np.arange(len(times)), np.zeros(len(times), int))]
