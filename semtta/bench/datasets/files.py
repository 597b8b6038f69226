"""Reading the files of data sets; whatever is wrong with them becomes one sentence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from semtta.body.unpickle import BodyUnpickler, plain
from semtta.errors import SemttaError


def _no_bytes() -> bytes:
    """``bytes()`` without arguments: how old pickle protocols store an empty array's content."""
    return b""


class _DataUnpickler(BodyUnpickler):
    def find_class(self, module: str, name: str):
        if module in ("builtins", "__builtin__") and name == "bytes":
            return _no_bytes
        return super().find_class(module, name)


def read_pickle_file(path: Path, what: str):
    """Content of a pickle of arrays, lists and dictionaries; nothing in it is executed.

    Args:
        path: the file.
        what: it should be, for messages."""
    if not path.is_file():
        raise SemttaError(f"there is no {what} '{path}'.")
    try:
        with open(path, "rb") as file:
            return plain(_DataUnpickler(file).load())
    except Exception as error:  # a hostile pickle can raise anything
        raise _damaged(path, what, error) from error


def read_archive(path: Path, what: str) -> dict[str, np.ndarray]:
    """Arrays of an .npz."""
    if not path.is_file():
        raise SemttaError(f"there is no {what} '{path}'.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # zipfile, zlib and numpy each raise their own kinds
        raise _damaged(path, what, error) from error


def read_table(path: Path, what: str) -> list[dict[str, str]]:
    """Rows of a .csv by column name."""
    if not path.is_file():
        raise SemttaError(f"there is no {what} '{path}'.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return [{k: (v or "").strip() for k, v in row.items() if isinstance(k, str)}
                    for row in csv.DictReader(file)]  # fmt: skip
    except (OSError, ValueError, csv.Error) as error:
        raise _damaged(path, what, error) from error


def read_json(path: Path, what: str):
    if not path.is_file():
        raise SemttaError(f"there is no {what} '{path}'.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, what, error) from error


def numbers(value, shape: tuple, where: str, counted: np.ndarray | None = None) -> np.ndarray:
    """A finite float64 array of a given shape.

    Args:
        value: anything.
        shape: expected, None = any size.
        where: beginning of the message of a ``SemttaError``.
        counted: (N,) bool, rows that matter; in the others NaN becomes 0."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise SemttaError(f"{where} does not hold numbers.") from None
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape)
    )
    if not fits:
        words = ", ".join("any" if size is None else str(size) for size in shape)
        raise SemttaError(f"{where} has shape {array.shape}, expected ({words}).")
    if counted is not None:
        array = np.where(counted.reshape(-1, *[1] * (array.ndim - 1)), array, np.nan_to_num(array))
    if not np.isfinite(array).all():
        raise SemttaError(f"{where} holds NaN or infinite numbers.")
    return array


def entry(content, key: str, path: Path):
    """One entry of a dictionary read from a file; a sentence if it lacks it."""
    if not isinstance(content, dict) or key not in content:
        raise SemttaError(f"'{path}' has no '{key}'; it is another file or cut off.")
    return content[key]


def _damaged(path: Path, what: str, error: Exception) -> SemttaError:
    return SemttaError(f"'{path}' is not a readable {what} ({error}); copy or download it again.")
