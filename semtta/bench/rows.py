"""Results of a benchmark run as they come: one JSON row per line, kept through a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from semtta.errors import SemttaError
from semtta.output.files import clean

KEY = ("data", "protocol", "item", "model", "method", "seed", "settings")


def row_key(row: dict) -> tuple:
    """What makes a row the result of one run and no other."""
    return tuple(row[name] for name in KEY)


def read_rows(path: Path) -> list[dict]:
    """All rows of a file; lines that a killed run left unfinished are passed over.

    Of several rows with one key the last counts: a failed run that was repeated."""
    if not path.is_file():
        return []
    rows = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            rows[row_key(row)] = row
        except (ValueError, KeyError, TypeError):
            continue
    return list(rows.values())


def write_text(path: Path, text: str) -> None:
    """A file that is there whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise SemttaError(f"'{path}' cannot be written: {error.strerror}.") from None


def write_rows(path: Path, rows: Iterable[dict]) -> None:
    """Rows in the order of their keys, whatever order they were computed in."""
    ordered = sorted(rows, key=lambda row: tuple(map(str, row_key(row))))
    write_text(path, "".join(_line(row) for row in ordered))


def without_superseded(rows: Iterable[dict], wanted: Collection[tuple]) -> list[dict]:
    """Rows without those of the same runs under other settings than the wanted keys say."""
    runs = {key[:-1] for key in wanted}
    return [row for row in rows if row_key(row) in wanted or row_key(row)[:-1] not in runs]


def append_row(path: Path, row: dict) -> None:
    """When this returns, the row survives a kill. The file must end in a whole line."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(_line(row))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SemttaError(f"'{path}' cannot be written: {error.strerror}.") from None


def _line(row: dict) -> str:
    return json.dumps(clean(row), ensure_ascii=False) + "\n"
