"""Labels in a table: CSV, TSV and the like, one range or one frame in each line."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from semtta.errors import SemttaError
from semtta.labels.entries import (
    MOST_ENTRIES,
    SECONDS,
    Meaning,
    check_count,
    in_seconds,
    make_span,
    meaning,
)
from semtta.labels.numbers import comma_is_decimal, is_clock, is_number, may_be_thousands
from semtta.labels.numbers import value as value_of
from semtta.labels.spans import Labels, check_overlaps

_SEPARATORS = ("\t", ";", ",", "|")
_MOST_COLUMNS = 1000
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
    check_count(len(rows), where)
    columns, left_out = _columns(rows, where)
    if columns is None:
        columns = _nameless(rows, where)
    else:
        rows = rows[1:]
        _check_columns(columns, where)
    cells = [(line, _cells(row, columns)) for line, row in rows]
    decimal = _decimal_comma(columns, cells, where)
    unit, said = _unit(columns, cells, where, decimal)
    notes = [f"{path.name}: columns that were not used: {', '.join(left_out)}."] if left_out else []
    notes += _unit_notes(unit, said, columns, path.name)
    spans = []
    for line, row in cells:
        if "frame" in row and not row.get("text"):
            continue  # a frame without a label
        at = f"{where}, line {line}"
        spans.append(make_span(_entry(row, columns, at, unit, decimal), at, unit))
    check_overlaps(tuple(spans), where)
    return Labels(tuple(spans), unit, path.name, unit_said=said, notes=tuple(notes))


def _rows(text: str) -> list[Row]:
    """The lines that hold anything, cut where the separator is that the first one has most of."""
    if text.count("\n") > 2 * MOST_ENTRIES:
        raise ValueError(f"it has more than {2 * MOST_ENTRIES} lines")
    lines = ["" if _is_comment(line) else line for line in text.splitlines()]
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if not filled:
        return []
    first = lines[filled[0]]
    if max(map(first.count, _SEPARATORS)) > _MOST_COLUMNS:
        raise ValueError(f"its first line has more than {_MOST_COLUMNS} columns")
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


def _columns(rows: list[Row], where: str) -> tuple[dict[int, Meaning] | None, list[str]]:
    """Position -> meaning of the columns that are used, None without names; names of the others."""
    first = rows[0][1]
    if any(is_number(cell) for cell in first):
        return None, []
    found: dict[str, tuple[Meaning, int]] = {}
    left_out, numbers = [], []
    meanings = [meaning(name.lstrip("#")) for name in first]
    order = sorted(range(len(first)), key=lambda i: _preference(meanings[i]))
    for i in order:
        said = meanings[i]
        if said is None or said.field in found:
            if said is not None and said.field == "text" and said == found["text"][0]:
                raise SemttaError(f"{where} has two columns '{first[i]}'; keep the one with texts.")
            left_out.append(first[i] or f"number {i + 1}")
            continue
        filled = [row[i] for _, row in rows[1:] if i < len(row) and row[i]]
        if said.field == "text" and filled and all(map(is_number, filled)):
            numbers.append(first[i])
        elif said.field == "track" and _is_one_name(filled, f"{where}: column '{first[i]}'"):
            left_out.append(first[i])
        else:
            found[said.field] = (said, i)
    if numbers and "text" not in found:
        raise SemttaError(f"{where}: column '{numbers[0]}' holds numbers; say in words what the "
                          "person does.")  # fmt: skip
    left_out += numbers
    if {"start", "end"} <= found.keys():  # they say all
        for field in ("frame", "duration"):
            if field in found:
                left_out.append(first[found.pop(field)[1]])
    return {i: said for said, i in found.values()}, left_out


def _is_one_name(cells: list[str], where: str) -> bool:
    """Whether people are named, not numbered, and it is one; raises for several."""
    names = {cell for cell in cells if not is_number(cell)}
    if len(names) > 1 or (names and len(set(cells)) > 1):
        raise SemttaError(f"{where} names people; give the numbers of their tracks.")
    return bool(names)


def _preference(said: Meaning | None) -> tuple[int, int]:
    """The plainest name of each; frames are exact, so they count where a table gives both."""
    if said is None:
        return (1000, 0)
    return (said.rank, ("frames", *SECONDS, None, "unknown").index(said.unit))


def _check_columns(columns: dict[int, Meaning], where: str) -> None:
    fields = {said.field for said in columns.values()}
    ranges = "frame" in fields or ("start" in fields and fields & {"end", "duration"})
    if "text" not in fields or not ranges:
        lacking = "text" if "text" not in fields else "start" if "start" not in fields else "end"
        raise SemttaError(f"{where} has no column '{lacking}'; {_WANTED}.")


def _nameless(rows: list[Row], where: str) -> dict[int, Meaning]:
    """The meaning of three columns of which two are numbers."""
    first = rows[0][1]
    numbers = [i for i, cell in enumerate(first) if is_number(cell)]
    if len(first) != 3 or len(numbers) != 2:
        raise SemttaError(f"{where} is no table of labels; {_WANTED}.")
    text = ({0, 1, 2} - set(numbers)).pop()
    return {numbers[0]: Meaning("start"), numbers[1]: Meaning("end"), text: Meaning("text")}


def _cells(row: list[str], columns: dict[int, Meaning]) -> dict[str, str]:
    return {said.field: row[i] if i < len(row) else "" for i, said in columns.items()}


def _decimal_comma(columns: dict[int, Meaning], cells: list, where: str) -> bool:
    """Whether a comma in a number begins its fraction; refused if it may part thousands too."""
    units = {said.field: said.unit for said in columns.values() if said.field in _TIMES}
    times = [row[field] for _, row in cells for field in units]
    decimal = comma_is_decimal(times, "frames" in units.values())
    doubtful = [cell for cell in times if "," in cell] if decimal is None else []
    if not decimal and {"frames", "milliseconds"} & set(units.values()):
        points = [cell for cell in times if "." in cell and not is_clock(cell)]
        doubtful += points if all(map(may_be_thousands, points)) else []
    if doubtful:
        raise SemttaError(f"{where}: '{doubtful[0][:40]}' may be a fraction or thousands; write "
                          "whole numbers without signs between.")  # fmt: skip
    return bool(decimal)


def _unit(
    columns: dict[int, Meaning], cells: list, where: str, decimal_comma: bool
) -> tuple[str, bool]:
    """``frames`` or ``seconds``, and whether the table says so by a name or by its numbers."""
    units = {said.unit for said in columns.values() if said.field in _TIMES and said.unit}
    units = {"frames" if unit == "frames" else "seconds" for unit in units}
    values = [row[field] for _, row in cells for field in _TIMES if row.get(field)]
    if any(":" in value for value in values):
        units.add("seconds")
    if len(units) > 1:
        raise SemttaError(f"{where} gives frames in one place and seconds in another; keep one.")
    if units:
        return units.pop(), True
    whole = all((value_of(value, decimal_comma) or 0.0).is_integer() for value in values)
    return ("frames", False) if whole else ("seconds", True)


def _unit_notes(unit: str, said: bool, columns: dict[int, Meaning], name: str) -> list[str]:
    notes = []
    if unit == "seconds":
        notes.append(f"{name}: its ranges were read as seconds.")
    if any(column.inclusive for column in columns.values()) and unit == "frames":
        notes.append(f"{name}: its last frames were read as included.")
    return notes


def _entry(
    row: dict[str, str],
    columns: dict[int, Meaning],
    where: str,
    unit: str,
    decimal_comma: bool,
) -> dict:
    """A line as an entry of a label file, in frames or seconds as ``unit`` says."""
    entry: dict = {"text": row.get("text", "")}
    for said in columns.values():
        cell = row[said.field]
        if said.field == "text" or not cell:
            continue
        if said.field == "source":
            entry["source"] = cell
            continue
        percent = cell.endswith("%") and said.field == "confidence"
        comma = decimal_comma if said.field in _TIMES else True
        value = value_of(cell.rstrip("% "), comma)
        if value is None or ("%" in cell and not percent):
            raise SemttaError(f"{where}: {said.field} must be a number, not '{cell[:40]}'.")
        if said.field == "track":
            value = int(value) if value.is_integer() else value
        if percent:
            value /= 100
        if said.unit is not None:
            value = in_seconds(value, said.unit, is_clock(cell), f"{where}: {said.field}")
        entry[said.field] = value + 1 if said.inclusive and unit == "frames" else value
    if "frame" in entry:
        entry["start"] = entry.pop("frame")
        entry["end"] = entry["start"] + 1
    if "duration" in entry:
        entry["end"] = entry.get("start", 0.0) + entry.pop("duration")
    return entry
