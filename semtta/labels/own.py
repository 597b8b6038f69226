"""``labels.json``, read and written, and the bare lists that are nearly one.

The smallest file is ``{"labels": [{"text": "walking"}]}``. In full::

    {"version": 1, "unit": "seconds", "labels": [
        {"start": 0, "end": 1.6, "text": "walking", "track": 1, "source": "hand", "confidence": 1}]}

``start`` (first) and ``end`` (one past the last) count frames or seconds as ``unit`` says and
default to the whole video; frames are whole numbers, and without a ``unit`` fractions are seconds.
An entry without ``track`` holds for every track. A frame that no entry covers has no label.
``fps``, where given, must be the rate of the video that frames were counted in.
``others`` of an entry (texts that a labeller also thought of) is for the human reader.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.labels.entries import (
    check_count,
    check_number,
    check_text,
    known_keys,
    make_span,
    usual_keys,
)
from semtta.labels.numbers import is_number
from semtta.labels.spans import Labels, LabelSpan, check_overlaps

_FILE_KEYS = ("version", "unit", "fps", "labels")
_LISTS = ("labels", "segments", "annotations", "entries")  # what the list may be called
_BARE = 'it was read as {{"labels": [...]}} around a bare list of {0}.'


def read_own(data: object, path: Path) -> Labels:
    """The labels in the content of a label file; raises ``SemttaError`` that names the entry."""
    where = f"label file '{path}'"
    if isinstance(data, list) and data:
        check_count(len(data), where)
        return _bare(data, path)
    if isinstance(data, dict):
        lists = [key for key in _LISTS if isinstance(data.get(key), list)]
        if len(lists) == 1:
            data = {"labels" if key == lists[0] else key: value for key, value in data.items()}
    if not isinstance(data, dict) or not isinstance(data.get("labels"), list):
        raise SemttaError(f"{where} must be an object with a list 'labels', as in "
                          '{"labels": [{"start": 0, "end": 48, "text": "walking"}]}.')  # fmt: skip
    check_count(len(data["labels"]), where)
    known_keys(data, _FILE_KEYS, where)
    if data.get("version", 1) != 1:
        raise SemttaError(f"{where} has version {data['version']!r:.40}; known: 1.")
    unit = data.get("unit")
    if unit not in (None, "frames", "seconds"):
        raise SemttaError(f"{where}: unit must be frames or seconds, not {unit!r:.40}.")
    fps = check_number(data.get("fps"), "fps", where)
    if fps is not None and fps <= 0:
        raise SemttaError(f"{where}: fps must be positive, not {fps:g}.")
    return _labels(data["labels"], path, unit, fps)


def is_whole(data: object) -> bool:
    """Whether the content of a file's only line is all of a label file, not one entry."""
    if isinstance(data, list):
        return any(isinstance(entry, (list, dict)) for entry in data)
    return isinstance(data, dict) and any(isinstance(data.get(key), list) for key in _LISTS)


def per_frame(texts: Sequence[str | None], name: str, where: str, notes=()) -> Labels:
    """One text or None for each frame of a video, from its first."""
    spans = [
        LabelSpan(check_text(text, f"{where} {i}"), i, i + 1)
        for i, text in enumerate(texts)
        if text is not None
    ]
    return Labels(tuple(spans), name=name, notes=tuple(notes), texts=len(texts))


def save_labels(path: str | Path, labels: Labels, overwrite: bool = True) -> None:
    """Write a label file, whole or not at all; one line for each entry, to be edited by hand.

    A span without text, as in a template, is written with an empty one.

    Args:
        overwrite: whether a file that is there by then may be replaced."""
    path = Path(path)
    rows = [json.dumps(_entry(span, labels.unit), ensure_ascii=False) for span in labels.spans]
    fps = f' "fps": {round(labels.fps, 4):g},' if labels.fps else ""
    text = f'{{"version": 1, "unit": "{labels.unit}",{fps} "labels": [\n  '
    text += ",\n  ".join(rows) + "\n]}\n"
    with whole_file(path, parents=False, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def unique_keys(pairs: list[tuple[str, object]]) -> dict:
    """JSON would keep the last of two values of one key, and silently lose what was meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        text = found.get("text")
        where = f" in the entry '{text}'" if isinstance(text, str) else ""
        raise ValueError(f"the key '{twice}' stands twice{where}")
    return found


def _labels(entries: list, path: Path, unit: str | None, fps: float | None, notes=()) -> Labels:
    where = f"label file '{path}'"
    renamed, units = [], set() if unit is None else {unit}
    for i, entry in enumerate(entries, 1):
        if isinstance(entry, dict):
            entry, said = usual_keys(entry, f"{where}, entry {i}", unit)
            units |= said
        renamed.append(entry)
    if len(units) > 1:
        raise SemttaError(f"{where} gives frames in one place and seconds in another; keep one.")
    if unit is None and "seconds" in units:
        notes = (*notes, f"{path.name}: the names of its keys say seconds.")
    if not units and any(_is_fraction(entry) for entry in renamed):
        units = {"seconds"}
        notes = (*notes, f"{path.name}: its ranges have fractions and were read as seconds.")
    used = next(iter(units), "frames")
    spans = tuple(
        make_span(entry, f"{where}, entry {i}", used) for i, entry in enumerate(renamed, 1)
    )
    check_overlaps(spans, where)
    return Labels(spans, used, path.name, fps, unit_said=bool(units), notes=tuple(notes))


def _is_fraction(entry: object) -> bool:
    """Whether an entry has a time that can be no frame."""
    times = [entry.get(key) for key in ("start", "end")] if isinstance(entry, dict) else []
    return any(isinstance(time, float) and not time.is_integer() for time in times)


def _bare(data: list, path: Path) -> Labels:
    """A list of entries, of [start, end, text], or of one text or null per frame."""
    note = f"{path.name}: {_BARE}"
    if all(isinstance(entry, dict) for entry in data):
        return _labels(data, path, None, None, [note.format("entries")])
    entries = _triples(data)
    if entries is not None:
        return _labels(entries, path, None, None, [note.format("[start, end, text]")])
    if all(entry is None or isinstance(entry, str) for entry in data):
        notes = [f"{path.name}: its {len(data)} texts were read as one for each frame."]
        return per_frame(data, path.name, f"label file '{path}', frame", notes)
    raise SemttaError(f"label file '{path}' is a list of neither entries such as "
                      '{"start": 0, "end": 48, "text": "walking"}, nor [0, 48, "walking"], nor one '
                      "text per frame.")  # fmt: skip


def _triples(data: list) -> list[dict] | None:
    """All entries by name; None as soon as one is no triple."""
    entries = []
    for triple in data:
        entry = _as_entry(triple)
        if entry is None:
            return None
        entries.append(entry)
    return entries


def _as_entry(entry: object) -> dict | None:
    """[start, end, text] or [text, start, end] by name; None for anything else."""
    if not isinstance(entry, list) or len(entry) != 3:
        return None
    kinds = ["number" if isinstance(x, str) and is_number(x) else _kind(x) for x in entry]
    if kinds == ["number", "number", "str"]:
        return dict(zip(("start", "end", "text"), entry))
    if kinds == ["str", "number", "number"]:
        return dict(zip(("text", "start", "end"), entry))
    return None


def _kind(value: object) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "number" if number or value is None else type(value).__name__


def _entry(span: LabelSpan, unit: str) -> dict:
    number = int if unit == "frames" else lambda seconds: round(seconds, 3)
    entry: dict = {}
    if span.track is not None:
        entry["track"] = span.track
    for key, value in (("start", span.start), ("end", span.end)):
        if value is not None:
            entry[key] = number(value)
    entry |= {"text": span.text, "source": span.source, "confidence": round(span.confidence, 3)}
    return entry | ({"others": list(span.others)} if span.others else {})
