"""MediaPipe's 33 landmarks, as its users dump them to JSON: shares of the picture.

A list with one entry a frame (or an object with one for each frame's number or name): nothing, a
list of 33 ``{x, y, z, visibility}``, or an object that has it under ``landmarks``,
``pose_landmarks`` or ``poseLandmarks``; with several people a list of such lists.
"""

from __future__ import annotations

from semtta.errors import SemttaError
from semtta.people.formats.sheet import Row, Sheet, check_many, whole, with_scores
from semtta.people.formats.source import Source
from semtta.skeletons import BLAZEPOSE33

TITLE = "MediaPipe landmarks"
_KEYS = ("landmarks", "landmark", "pose_landmarks", "poseLandmarks", "pose")
_FRAME_KEYS = ("frame", "frame_id", "frame_number", "frame_index", "frame_idx")
_LISTS = ("frames", "data", "results", "poses")


def sniff(source: Source) -> bool:
    if source.kind != "json":
        return False
    frames = _entries(source.content)
    return any(_people(frame) for _, frame in frames[:300])


def read(source: Source) -> Sheet:
    rows: list[Row] = []
    entries = _entries(source.content)
    for name, frame in entries:
        for i, marks in enumerate(_people(frame)):
            where = f"'{source.path}', frame {name}, person {i}"
            if len(marks) != len(BLAZEPOSE33) or not all(map(_is_mark, marks)):
                raise SemttaError(f"{where}: {len(marks)} landmarks, expected 33 with x and y.")
            xy = [[mark["x"], mark["y"]] for mark in marks]
            scores = [mark.get("visibility", mark.get("presence", 1.0)) for mark in marks]
            check_many(len(rows), where)
            rows.append(Row(where, name, with_scores(xy, scores, where)))
    by_place = [name for name, _ in entries] == list(range(len(entries)))
    length = len(entries) if by_place else None
    return Sheet(rows, (BLAZEPOSE33,), first=None, unit="picture", length=length)


def _is_mark(value) -> bool:
    return isinstance(value, dict) and {"x", "y"} <= value.keys()


def _people(frame) -> list:
    """The lists of landmarks in one frame's entry."""
    for _ in range(3):
        if not isinstance(frame, dict):
            break
        frame = next((frame[key] for key in _KEYS if key in frame), None)
    if not isinstance(frame, list) or not frame:
        return []
    if _is_mark(frame[0]):
        return [frame]
    inner = [person for entry in frame for person in _people(entry)]
    return inner if all(isinstance(entry, (list, dict)) for entry in frame) else []


def _entries(content) -> list[tuple[int | str, object]]:
    """Number or name and entry of every frame."""
    if isinstance(content, dict):
        inner = next((content[key] for key in _LISTS if isinstance(content.get(key), list)), None)
        if inner is None:
            if any(key in content for key in _KEYS):
                return [(0, content)]
            return [(int(k) if k.isdecimal() and len(k) < 10 else k, v)
                    for k, v in content.items()]  # fmt: skip
        content = inner
    if not isinstance(content, list) or (content and _is_mark(content[0])):
        return [(0, content)] if isinstance(content, list) else []
    return [(_number(entry, i), entry) for i, entry in enumerate(content)]


def _number(entry, i: int) -> int:
    if isinstance(entry, dict):
        return next((entry[key] for key in _FRAME_KEYS if whole(entry.get(key))), i)
    return i
