"""Labels in a table: CSV, TSV and the like, one range or one frame in each line."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from semtta.errors import SemttaError
from semtta.labels.entries import Meaning, make_span, meaning
from semtta.labels.spans import Labels, check_overlaps

_SEPARATORS = ("\t", ";", ",", "|")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,4}):(\d{1,2}(?:[.,]\d+)?)")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d{1,3})?")
_WANTED = (
    "it needs a line of column names with start, end and text (or label, action), named such as "
    "start_s or start_frame where the unit matters; or lines of start, end, text"
)
_TIMES = ("start", "end", "duration", "frame")

Row = tuple[int, list[str]]  # line number, cells


def read_table(text: str, path: Path) -> Labels:
    """The labels in a table's text; raises ``SemttaError`` that names the line."""
    where = f"label file '{path}'"
    rows = _rows(text)
    if not rows:
        raise SemttaError(f"{where} is empty.")
    columns, left_out = _columns(rows[0][1])
    if columns is None:
        columns = _nameless(rows, where)
    else:
        rows = rows[1:]
        _check_columns(columns, where)
    cells = [(line, _cells(row, columns)) for line, row in rows]
    unit, said = _unit(columns, cells, where)
    notes = [f"{path.name}: columns that were not used: {', '.join(left_out)}."] if left_out else []
    notes += _unit_notes(unit, said, columns, path.name)
    spans = []
    for line, row in cells:
        if "frame" in row and not row.get("text"):
            continue  # a frame without a label
        at = f"{where}, line {line}"
        spans.append(make_span(_entry(row, columns, at), at, unit))
    check_overlaps(tuple(spans), where)
    return Labels(tuple(spans), unit, path.name, unit_said=said, notes=tuple(notes))


def _rows(text: str) -> list[Row]:
    """The lines that hold anything, cut where the separator is that the first one has most of."""
    lines = ["" if _is_comment(line) else line for line in text.splitlines()]
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if not filled:
        return []
    first = lines[filled[0]]
    separator = max(_SEPARATORS, key=lambda s: len(next(csv.reader([first], delimiter=s))))
    if separator in first:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    else:
        rows = [(i + 1, lines[i].split(maxsplit=2)) for i in filled]
    return [(line, row) for line, row in rows if any(row)]


def _is_comment(line: str) -> bool:
    """Whether a line says nothing; one that names columns does, even behind a #."""
    if line[:4].lower() == "sep=":  # Excel's
        return True
    names = re.split(r"[\t;,|]", line.lstrip("# "))
    return line.startswith("#") and sum(meaning(name) is not None for name in names) < 2


def _columns(first: list[str]) -> tuple[dict[int, Meaning] | None, list[str]]:
    """Position -> meaning of the columns that are used, None without names; names of the others."""
    if any(_value(cell) is not None for cell in first):
        return None, []
    found: dict[str, tuple[Meaning, int]] = {}
    left_out = []
    meanings = [meaning(name.lstrip("#")) for name in first]
    order = sorted(range(len(first)), key=lambda i: _preference(meanings[i]))
    for i in order:
        said = meanings[i]
        if said is None or said.field in found:
            left_out.append(first[i] or f"number {i + 1}")
        else:
            found[said.field] = (said, i)
    if {"start", "end"} <= found.keys():  # they say all
        for field in ("frame", "duration"):
            if field in found:
                left_out.append(first[found.pop(field)[1]])
    return {i: said for said, i in found.values()}, left_out


def _preference(said: Meaning | None) -> tuple[int, int]:
    """Frames are exact, so they count where a table gives both."""
    if said is None:
        return (9, 0)
    return (("frames", "seconds", None, "milliseconds").index(said.unit), said.rank)


def _check_columns(columns: dict[int, Meaning], where: str) -> None:
    fields = {said.field for said in columns.values()}
    ranges = "frame" in fields or ("start" in fields and fields & {"end", "duration"})
    if "text" not in fields or not ranges:
        lacking = "text" if "text" not in fields else "start" if "start" not in fields else "end"
        raise SemttaError(f"{where} has no column '{lacking}'; {_WANTED}.")


def _nameless(rows: list[Row], where: str) -> dict[int, Meaning]:
    """The meaning of three columns of which two are numbers."""
    first = rows[0][1]
    numbers = [i for i, cell in enumerate(first) if _value(cell) is not None]
    if len(first) != 3 or len(numbers) != 2:
        raise SemttaError(f"{where} is no table of labels; {_WANTED}.")
    text = ({0, 1, 2} - set(numbers)).pop()
    return {numbers[0]: Meaning("start"), numbers[1]: Meaning("end"), text: Meaning("text")}


def _cells(row: list[str], columns: dict[int, Meaning]) -> dict[str, str]:
    return {said.field: row[i] if i < len(row) else "" for i, said in columns.items()}


def _unit(columns: dict[int, Meaning], cells: list, where: str) -> tuple[str, bool]:
    """``frames`` or ``seconds``, and whether the table says so by a name or by its numbers."""
    units = {said.unit for said in columns.values() if said.field in _TIMES and said.unit}
    units = {"seconds" if unit == "milliseconds" else unit for unit in units}
    values = [row[field] for _, row in cells for field in _TIMES if row.get(field)]
    if any(":" in value for value in values):
        units.add("seconds")
    if len(units) > 1:
        raise SemttaError(f"{where} gives frames in one place and seconds in another; keep one.")
    if units:
        return units.pop(), True
    whole = all((_value(value) or 0.0).is_integer() for value in values)
    return ("frames", False) if whole else ("seconds", True)


def _unit_notes(unit: str, said: bool, columns: dict[int, Meaning], name: str) -> list[str]:
    notes = []
    if unit == "seconds":
        notes.append(f"{name}: its ranges were read as seconds.")
    if any(column.inclusive for column in columns.values()) and unit == "frames":
        notes.append(f"{name}: its last frames were read as included.")
    return notes


def _entry(row: dict[str, str], columns: dict[int, Meaning], where: str) -> dict:
    """A line as an entry of a label file."""
    entry: dict = {"text": row.get("text", "")}
    for said in columns.values():
        cell = row[said.field]
        if said.field == "text" or not cell:
            continue
        if said.field == "source":
            entry["source"] = cell
            continue
        percent = cell.endswith("%") and said.field == "confidence"
        value = _value(cell.rstrip("% "))
        if value is None or ("%" in cell and not percent):
            raise SemttaError(f"{where}: {said.field} must be a number, not '{cell[:40]}'.")
        if said.field == "track":
            value = int(value) if value.is_integer() else value
        if percent:
            value /= 100
        if said.unit == "milliseconds" and ":" not in cell:
            value /= 1000
        entry[said.field] = value + 1 if said.inclusive and said.unit != "seconds" else value
    if "frame" in entry:
        entry["start"] = entry.pop("frame")
        entry["end"] = entry["start"] + 1
    if "duration" in entry:
        entry["end"] = entry.get("start", 0.0) + entry.pop("duration")
    return entry


def _value(cell: str) -> float | None:
    """A number, with a point or a comma, or a time as m:ss; None if it is neither."""
    clock = _CLOCK.fullmatch(cell)
    if clock:
        hours, minutes, seconds = clock[1] or "0", clock[2], clock[3].replace(",", ".")
        return int(hours) * 3600.0 + int(minutes) * 60 + float(seconds)
    return float(cell.replace(",", ".")) if _NUMBER.fullmatch(cell) else None
