"""A comparison as tables, for the terminal and for the page; its texts are printable already."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from semtta.errors import shortened
from semtta.output.comparison.truth import ROWS

_NONE = "–"


@dataclass(frozen=True)
class Table:
    """Texts in rows.

    Args:
        title, note: above and below.
        head: of the columns, the first one empty.
        rows: a heading and one cell per result; a list of numbers are frames to look at.
    """

    title: str
    note: str
    head: list[str]
    rows: list[list[str | list[int]]]


def tables_of(data: dict, person: dict) -> list[Table]:
    """Of one of ``data["people"]``: its measures, then settings and truth of all.

    Args:
        data: what compare.json holds."""
    names = [result["name"] for result in data["results"]]
    return [table for table in (
        _measures(person, names), _settings(data["settings"], names), _truth(data["truth"], names)
    ) if table]  # fmt: skip


def _measures(person: dict, names: Sequence[str]) -> Table:
    def row(title: str, cell: Callable[[dict], str | list[int]]) -> list:
        told = (person["results"].get(name) for name in names)
        return [title, *(_NONE if each is None else cell(each) for each in told)]

    def change(key: str) -> Callable[[dict], str]:
        return lambda told: _change(told["base"], told["adapted"], key, 2 if "mm" in key else 1)

    def to_first(cell: Callable[[dict], str | list[int]]) -> Callable:
        return lambda told: _NONE if told["to_first"] is None else cell(told["to_first"])

    rows = [
        row("track", lambda told: str(told["track"])),
        row("frames", lambda told: str(told["frames"])),
        row("labels", lambda told: _labels(told["labels"])),
        row("2D error, px", change("error_px")),
        row("hidden joints filled", lambda told: _share(told["filled_share"])),
        row("gate open", lambda told: _share(told["gate_open_share"])),
        row("shake along the ray, mm/frame²", change("shake_mm")),
        row("joints' acceleration, mm/frame²", change("acceleration_mm")),
        row("range of motion, of its base's", lambda told: _moved(told.get("range_of_motion"))),
        row(f"joints to {names[0]}, mm", to_first(lambda far: _number(far["placed_mm"], 1))),
        row("the same about the pelvis, mm", to_first(lambda far: _number(far["posed_mm"], 1))),
        row("differs most in frames",
            to_first(lambda far: [peak["frame"] for peak in far["differ_most"]] or _NONE)),
    ]  # fmt: skip

    note = (
        f"base → adapted, on the {person['frames']} frames that all have; 2D error on detected "
        "joints, distances between adapted motions."
    )
    return Table(f"person {person['track']}", note, ["", *names], rows)


def _settings(settings: dict, names: Sequence[str]) -> Table | None:
    if not settings:
        return None
    rows: list[list[str | list[int]]]
    rows = [[shortened(key), *(_value(values[name]) for name in names)]
            for key, values in settings.items()]  # fmt: skip
    return Table("settings that differ", "", ["", *names], rows)


def _truth(truth: dict, names: Sequence[str]) -> Table | None:
    if not truth:
        return None
    rows: list[list[str | list[int]]]
    rows = [
        [title, *(_change(truth[name]["base"], truth[name]["adapted"], key, 1)
                  if name in truth else _NONE for name in names)]
        for title, key in ROWS
    ]  # fmt: skip
    protocols = dict.fromkeys(told["protocol"] for told in truth.values())
    note = " / ".join(shortened(text, 300) for text in protocols)
    return Table("against truth", note, ["", *names], rows)


def _change(base: dict | None, adapted: dict | None, key: str, digits: int) -> str:
    if base is None or adapted is None:
        return _NONE
    return f"{_number(base[key], digits)} → {_number(adapted[key], digits)}"


def _number(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.0f} %"


def _moved(told: dict | None) -> str:
    if told is None or told["median"] is None or not math.isfinite(told["median"]):
        return _NONE
    least = f" ({told['least_limb']} {_share(told['least'])})" if told["least_limb"] else ""
    return _share(told["median"]) + least


def _labels(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(shortened(label, 60) for label in labels[:3]) + more or _NONE


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return shortened(text)
