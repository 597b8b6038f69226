"""Reading the files of data sets; whatever is wrong with them becomes one sentence."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from semtta.body.unpickle import BodyUnpickler, plain
from semtta.errors import SemttaError
from semtta.numpy_pickles import SafeCall
from semtta.reading import MEBI, check_file, read_text, reading

_LARGEST, _LARGEST_TABLE = 512 * MEBI, 64 * MEBI
_MOST = 50_000_000  # numbers in an array


# ``bytes()`` without arguments: how old pickle protocols store an empty array's content
_NO_BYTES = SafeCall(lambda: b"")


class _DataUnpickler(BodyUnpickler):
    def find_class(self, module: str, name: str):
        if module in ("builtins", "__builtin__") and name == "bytes":
            return _NO_BYTES
        return super().find_class(module, name)


def read_pickle_file(path: Path, what: str):
    """Content of a pickle of arrays, lists and dictionaries; nothing in it is executed.

    Args:
        path: the file.
        what: it should be, for messages."""
    check_file(path, what, _LARGEST)
    with reading(path, what), open(path, "rb") as file:
        return plain(_DataUnpickler(file).load())


def read_table(path: Path, what: str) -> list[dict[str, str]]:
    """Rows of a .csv by column name."""
    text = read_text(path, what, _LARGEST_TABLE)
    with reading(path, what):
        return [{k: (v or "").strip() for k, v in row.items() if isinstance(k, str)}
                for row in csv.DictReader(io.StringIO(text, newline=""))]  # fmt: skip


def numbers(value, shape: tuple, where: str, counted: np.ndarray | None = None) -> np.ndarray:
    """A finite float64 array of a given shape.

    Args:
        value: anything.
        shape: expected, None = any size.
        where: beginning of the message of a ``SemttaError``.
        counted: (N,) bool, rows that matter; in the others NaN becomes 0."""
    try:
        if _claimed(value) > _MOST:
            raise ValueError
        array = np.asarray(value, np.float64)
    except Exception:  # whatever a pickle may hold
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


def _claimed(value) -> int:
    """How many numbers lists in lists would be: a pickle may hold one of them a billion times."""
    count = 1
    for _ in range(32):  # as deep as an array goes
        if not isinstance(value, (list, tuple)) or not value:
            break
        count, value = count * len(value), value[0]
    return count * int(np.size(value)) if isinstance(value, np.ndarray) else count


def entry(content, key: str, path: Path):
    """One entry of a dictionary read from a file; a sentence if it lacks it."""
    if not isinstance(content, dict) or key not in content:
        raise SemttaError(f"'{path}' has no '{key}'; it is another file or cut off.")
    return content[key]
