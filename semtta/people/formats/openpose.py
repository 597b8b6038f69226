"""OpenPose's JSON, and what writes like it: Pose2Sim, Sports2D, rtmlib, AlphaPose, ComfyUI.

One file a frame with a list ``people``; or one file for all: a list of such frames, or, as
AlphaPose's ``--format open`` and ``cmu`` write it, an object with one of them for each image.
Face and hands are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from semtta.errors import SemttaError
from semtta.people.formats.sheet import Counted, Row, Sheet, identity, triples
from semtta.people.formats.source import Source
from semtta.skeletons import BODY25

TITLE = "OpenPose JSON"
# Where a person's body stands: now, before version 1.3, in AlphaPose's "cmu".
_BODY = ("pose_keypoints_2d", "pose_keypoints", "joints")
_PEOPLE = ("people", "bodies")


def sniff(source: Source) -> bool:
    if source.kind == "folder":
        return _is_frame(source.sample)
    if source.kind != "json":
        return False
    content = source.content
    if isinstance(content, list):
        return bool(content) and all(map(_is_frame, content[:10]))
    if isinstance(content, dict):
        return _is_frame(content) or (
            bool(content) and all(map(_is_frame, list(content.values())[:10]))
        )
    return False


def read(source: Source) -> Sheet:
    rows, counted, empty = [], Counted(), 0
    size: tuple[float, float] | None = None
    names, others = [], []
    for name, where, frame in _frames(source):
        if not _is_frame(frame):
            others.append(where)
            continue
        names.append(name)
        people = next(frame[key] for key in _PEOPLE if isinstance(frame.get(key), list))
        if all(isinstance(frame.get(f"canvas_{side}"), (int, float)) for side in _SIDES):
            width, height = (float(frame[f"canvas_{side}"]) for side in _SIDES)
            size = width, height
        for i, person in enumerate(people):
            here = f"{where}, person {i}"
            numbers = _numbers(person, here)
            if numbers is None:  # a face or hands without a body
                empty += 1
                continue
            points = triples(numbers, here)
            counted.check(len(points), here)
            who = identity(person.get("person_id"), here)
            rows.append(Row(here, name, points, person=who))
    if not names:
        raise SemttaError(f"{others[0]} is not OpenPose's output: it has no list 'people'.")
    notes = [f"{empty} people have no body, only face or hands."] if empty else []
    if others:
        notes.append(f"{len(others)} files are no frames (first: {others[0]}): left out.")
    by_place = source.kind == "json" and isinstance(source.content, list)
    return Sheet(
        rows, counted.allowed or (BODY25,), size=size, notes=tuple(notes), frames=tuple(names),
        length=len(names) if by_place else None,
    )  # fmt: skip


_SIDES = ("width", "height")


def _is_frame(content: object) -> TypeGuard[dict]:
    return isinstance(content, dict) and any(isinstance(content.get(k), list) for k in _PEOPLE)


def _frames(source: Source) -> Iterator[tuple[int | str, str, object]]:
    """Number or name, place for messages, content."""
    if source.kind == "folder":
        yield from source.contents()
        return
    content = source.content
    if _is_frame(content):
        yield source.path.stem, f"'{source.path}'", content
        return
    frames = enumerate(content) if isinstance(content, list) else content.items()
    for name, frame in frames:
        yield name, f"'{source.path}', frame {name}", frame


def _numbers(person, where: str):
    if not isinstance(person, dict):
        raise SemttaError(f"{where}: an object with 'pose_keypoints_2d' is expected.")
    return next((person[key] for key in _BODY if person.get(key)), None)
