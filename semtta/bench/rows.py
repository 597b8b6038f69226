"""Results of a benchmark run as they come: one JSON row per line, kept through a kill."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from semtta.bench.statistics import ERRORS, OTHERS
from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.locks import lock
from semtta.output.files import clean

KEY = ("data", "protocol", "item", "model", "method", "seed", "settings")
_TEXTS = ("data", "protocol", "item", "model", "method", "settings", "sequence", "level", "group")
_BEGINNING = '{"data": "'
_COUNTS = ("order", "frames", "track_frames", "occluded", "seconds")


def row_key(row: dict) -> tuple:
    """What makes a row the result of one run and no other."""
    return tuple(row[name] for name in KEY)


def read_rows(path: Path) -> list[dict]:
    """All rows of a file; a last line that a killed run left unfinished is passed over.

    Of several rows with one key the last counts: a failed run that was repeated. Raises
    ``SemttaError`` for any other line that is no row: this program did not write it, and must not
    throw it away."""
    if not path.is_file():
        return []
    try:
        *lines, unfinished = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise SemttaError(f"'{path}' cannot be read: {error.strerror}.") from None
    torn = all(a == b for a, b in zip(unfinished, _BEGINNING)) or not unfinished.strip("\0")
    if not torn or _row(unfinished) is not None:
        lines.append(unfinished)
    rows = {}
    for number, line in enumerate(lines, 1):
        row = _row(line)
        if row is None:
            raise SemttaError(
                f"line {number} of '{path}' is no result of `semtta bench`; delete that line, or "
                "choose another folder with -o."
            )
        rows[row_key(row)] = row
    return list(rows.values())


def _row(line: str) -> dict | None:
    """The row of a line, None for anything that no table could be made of."""
    try:
        row = json.loads(line)
        texts = all(isinstance(row[name], str) for name in _TEXTS)
        numbers = [row.get(name) for name in (*ERRORS, *OTHERS, *_COUNTS)]
        real = all(n is None or math.isfinite(n) for n in numbers)
        counts = all((row.get(name) or 0) >= 0 for name in _COUNTS)
        return row if texts and real and counts and isinstance(row["seed"], int) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Nobody else computes into the folder meanwhile; the lock dies with the process.

    Raises ``SemttaError`` if somebody does already. Where the system or the disk knows no such
    locks, there is none."""
    handle: int | None = None
    try:
        handle = os.open(folder, os.O_RDONLY)
        lock(handle)
    except BlockingIOError:
        if handle is not None:
            os.close(handle)
        raise SemttaError(
            f"another run writes into '{folder}'; wait for it, or choose another folder with -o."
        ) from None
    except OSError:  # Windows opens no folder
        pass
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """A file that is there whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
