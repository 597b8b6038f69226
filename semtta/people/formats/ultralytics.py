"""Ultralytics (YOLO pose): ``Results.to_json`` and the text files of ``save_txt``.

JSON is a list of frames, each a list of ``{name, box, keypoints: {x, y, visible}, track_id?}``,
or a folder with one such list an image; in pixels, or shares of the picture where it was asked for.
Text files (``clip_12.txt``, counted from 1) have a person a line: class, box, x y visibility of
each point, then confidence and identity where they were saved; always shares of the picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semtta.errors import SemttaError
from semtta.people.formats.sheet import Counted, Row, Sheet, identity, with_scores
from semtta.people.formats.source import LIMIT, WHAT, Source, json_of
from semtta.reading import read_text
from semtta.skeletons import COCO17

TITLE = "Ultralytics poses"
_POINTS = 17
_LINE = (5 + 2 * _POINTS, 5 + 3 * _POINTS)  # numbers of a line without and with visibilities


def sniff(source: Source) -> bool:
    if source.kind == "text" or (source.kind == "folder" and _is_text(source)):
        return True
    content = source.sample if source.kind == "folder" else (
        source.content if source.kind == "json" else None
    )  # fmt: skip
    while isinstance(content, list) and content:
        content = next((item for item in content if item and item != "[]"), None)
    if isinstance(content, str) and content.startswith("[{"):
        content = json.loads(content)[0]
    return isinstance(content, dict) and _is_person(content)


def _is_person(value) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("keypoints"), dict)
        and {"x", "y"} <= value["keypoints"].keys()
    )


def _is_text(source: Source) -> bool:
    return bool(source.files) and source.files[0].suffix.lower() == ".txt"


def read(source: Source) -> Sheet:
    if source.kind == "text" or _is_text(source):
        return _read_text(source)
    rows, counted = [], Counted()
    for name, where, people in _frames(source):
        for i, person in enumerate(people):
            here = f"{where}, person {i}"
            if not _is_person(person):
                if isinstance(person, dict) and "box" in person and "keypoints" not in person:
                    continue  # some other object
                raise SemttaError(f"{here}: 'keypoints' with x and y are expected.")
            marks = person["keypoints"]
            scores = marks.get("visible", [1.0] * len(marks["x"]))
            points = with_scores(np.stack([marks["x"], marks["y"]], -1), scores, here)
            counted.check(len(points), here)
            who = identity(person.get("track_id"), here)
            rows.append(Row(here, name, points, _box(person.get("box"), here), who))
    # It writes pixels, or shares if it was told to; nothing in a file says which.
    largest = max((np.nan_to_num(np.abs(row.points[:, :2])).max() for row in rows), default=9.0)
    shares = bool(largest <= 1.0)
    notes = ("its points lie between 0 and 1: taken as shares of the picture.",) if shares else ()
    by_place = source.kind == "json" and not _is_person(source.content[0])
    return Sheet(
        rows, counted.allowed or (COCO17,), unit="picture" if shares else "pixels",
        length=len(source.content) if by_place else None, notes=notes,
    )  # fmt: skip


def _frames(source: Source) -> Iterator[tuple[int | str, str, list]]:
    if source.kind == "folder":
        for file in source.files:
            content = json_of(file)
            yield file.stem, f"'{file}'", content if isinstance(content, list) else [content]
        return
    content = source.content
    if _is_person(content[0]):  # one image
        yield source.path.stem, f"'{source.path}'", content
        return
    for i, people in enumerate(content):
        if isinstance(people, str):  # the text that to_json gives, saved as it is
            people = json.loads(people)
        if not isinstance(people, list):
            raise SemttaError(f"'{source.path}', frame {i}: a list of people is expected.")
        yield i, f"'{source.path}', frame {i}", people


def _box(box, where: str) -> np.ndarray | None:
    if not isinstance(box, dict):
        return None
    try:
        return np.array([float(box[key]) for key in ("x1", "y1", "x2", "y2")])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise SemttaError(f"{where}: a box with x1, y1, x2, y2 is expected.") from None


def _read_text(source: Source) -> Sheet:
    files = source.files or (source.path,)
    rows = [row for file in files for row in _lines(file)]
    return Sheet(rows, (COCO17,), first=1, unit="picture")


def _lines(file: Path) -> Iterator[Row]:
    for i, line in enumerate(read_text(file, WHAT, LIMIT).splitlines(), 1):
        if not line.strip():
            continue
        where = f"'{file}', line {i}"
        try:
            values = np.array(line.split(), np.float64)
        except ValueError:
            raise SemttaError(f"{where}: not a line of numbers.") from None
        bare = next((n for n in reversed(_LINE) if n <= len(values) <= n + 2), None)
        if bare is None:
            raise SemttaError(
                f"{where}: {len(values)} numbers; expected class, box and {_POINTS} points, as "
                "Ultralytics' save_txt writes them."
            )
        if values[0] != 0:  # no person
            continue
        marks = values[5:bare].reshape(_POINTS, -1)
        scores = marks[:, 2] if marks.shape[1] == 3 else (marks.any(1)).astype(float)
        center, half = values[1:3], values[3:5] / 2
        yield Row(
            where, file.stem, np.column_stack([marks[:, :2], scores]),
            np.concatenate([center - half, center + half]), _who(values[bare:]),
        )  # fmt: skip


def _who(rest: np.ndarray) -> int | None:
    """The identity is the last number, and whole; a lone number may be a confidence instead."""
    if len(rest) and float(rest[-1]).is_integer() and (len(rest) == 2 or rest[-1] > 1):
        return int(rest[-1])
    return None
