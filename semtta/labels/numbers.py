"""Numbers and times as people and programs write them: 1.5, 1,5, 1,024, 0:05, 00:01:05.120."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CLOCK = re.compile(r"(?:(\d+):([0-5]?\d)|(\d{1,4})):([0-5]?\d(?:[.,]\d+)?)")
_PLAIN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_DECIMAL_COMMA = re.compile(r"[+-]?(?:[1-9]\d{0,2}(?:\.\d{3})+,\d+|\d+(?:,\d*)?|,\d+)")
_THOUSANDS = re.compile(r"[+-]?(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)")


def is_clock(cell: str) -> bool:
    """Whether a text is a time as m:ss or h:mm:ss, with or without a fraction."""
    return _CLOCK.fullmatch(cell) is not None


def is_number(cell: str) -> bool:
    """Whether a text is a number or a time, whatever its commas mean."""
    patterns = (_CLOCK, _PLAIN, _DECIMAL_COMMA, _THOUSANDS)
    return any(pattern.fullmatch(cell) for pattern in patterns)


def may_be_thousands(cell: str) -> bool:
    """Whether points in a number may part its thousands: 1.024."""
    return re.fullmatch(r"[1-9]\d{0,2}(?:\.\d{3})+", cell) is not None


def comma_is_decimal(cells: Iterable[str], whole: bool = False) -> bool | None:
    """What a comma means in numbers of one kind: a decimal one, or thousands; None if either.

    Args:
        whole: whether they can only be whole numbers."""
    cells = [cell for cell in cells if is_number(cell) and not is_clock(cell)]
    if not any("," in cell for cell in cells):
        return False
    decimal = all(_DECIMAL_COMMA.fullmatch(cell) for cell in cells)
    thousands = all(_THOUSANDS.fullmatch(cell) for cell in cells)
    if decimal and thousands:
        parts = (value(cell, True) or 0.0 for cell in cells)
        return False if whole and not all(part.is_integer() for part in parts) else None
    return decimal


def value(cell: str, decimal_comma: bool = False) -> float | None:
    """A number, or a time in seconds; None if it is neither."""
    clock = _CLOCK.fullmatch(cell)
    if clock:
        hours, minutes, seconds = clock[1] or "0", clock[2] or clock[3], clock[4]
        return int(hours) * 3600.0 + int(minutes) * 60 + float(seconds.replace(",", "."))
    if "," not in cell:
        return float(cell) if _PLAIN.fullmatch(cell) else None
    if decimal_comma:
        cell = cell.replace(".", "") if _DECIMAL_COMMA.fullmatch(cell) else "?"
        return float(cell.replace(",", ".")) if cell != "?" else None
    return float(cell.replace(",", "")) if _THOUSANDS.fullmatch(cell) else None
