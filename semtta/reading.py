"""Reading strangers' files: one guard, bounded sizes, nothing ever run.

Every reader of a user's file goes through here. :func:`reading` turns whatever a damaged or hostile
file makes a library raise into one sentence; the functions below it look at a file's kind and size,
and at the sizes that it claims, before they take any memory. Pickles are read elsewhere, by
unpicklers that know only what they need (``checkpoints``, ``body.unpickle``).
"""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from semtta.errors import SemttaError, printable

MEBI = 1 << 20
_TEXT_LIMIT = 512 * MEBI  # of a text or JSON file; COCO's largest is 170 MiB
# Of what a JSON file is made of, by the sign that each needs: a byte or two of text can become a
# hundred in memory. COCO's largest has 4 million containers.
_JSON_LIMITS = (("[{", 5_000_000, "lists and objects"), ('"', 20_000_000, "quotation marks"),
                (",", 80_000_000, "values"))  # fmt: skip
_ARRAY_LIMIT = 384 * MEBI  # of all arrays taken from one file, unpacked
_HEADER_LIMIT = 10_000  # characters of an array's header, numpy's own limit
_REASON = 200  # characters


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """The one guard: inside it, anything that a file can make a reader raise is one sentence.

    Args:
        path: the file, for the message.
        what: how the message calls it: "2D poses", "body file".

    Raises ``SemttaError``; one that the block raises itself passes unchanged."""
    try:
        yield
    except SemttaError:
        raise
    except Exception as error:  # not a list: every library below has its own kinds
        raise SemttaError(f"{what} '{path}' cannot be read: {reason(error)}.") from error


def reason(error: BaseException) -> str:
    """One short line that says why, without the final stop."""
    if isinstance(error, MemoryError):
        return "it asks for more memory than it may have"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not encoded as UTF-8"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = printable(next(iter(said.strip().splitlines()), "")).rstrip(".:")
    if isinstance(error, KeyError):
        line = f"it has no {line}"
    return (line or type(error).__name__)[:_REASON]


def check_file(path: str | Path, what: str, limit: int | None = None) -> Path:
    """The path of a regular file that is not too large.

    A pipe would be waited for without end, and a device never ends.

    Args:
        limit: bytes; None = any size.
    Raises ``SemttaError``."""
    path = Path(path)
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        wrong = "does not exist" if missing else f"cannot be read: {reason(error)}"
        raise SemttaError(f"{what} '{path}' {wrong}.") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or device"
        raise SemttaError(f"{what} '{path}' is {kind}, not a file.")
    if limit is not None and found.st_size > limit:
        raise SemttaError(
            f"{what} '{path}' has {found.st_size / MEBI:.0f} MiB; more than {limit / MEBI:.0f} MiB "
            "are not read."
        )
    return path


def read_text(path: str | Path, what: str, limit: int = _TEXT_LIMIT, errors: str = "strict") -> str:
    """The UTF-8 text of a file, without the mark that some editors put first.

    Args:
        errors: "replace" takes a sign for what is no UTF-8."""
    path = check_file(path, what, limit)
    with reading(path, what):
        return path.read_text(encoding="utf-8-sig", errors=errors)


def read_json(path: str | Path, what: str, limit: int = _TEXT_LIMIT, pairs: Callable | None = None):
    """The content of a JSON file.

    Args:
        pairs: makes an object of its (key, value) pairs; a dictionary if None."""
    text = read_text(path, what, limit)
    for signs, most, name in _JSON_LIMITS:
        if sum(map(text.count, signs)) > most:
            raise SemttaError(f"{what} '{path}' cannot be read: it holds more than {most} {name}.")
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise SemttaError(f"{what} '{path}' is not valid JSON: {reason(error)}.") from None


def read_json_lines(
    path: str | Path, what: str, limit: int, most: int, pairs: Callable | None = None
) -> list:
    """The contents of a small file that holds JSON in every line; see :func:`read_json`.

    Args:
        most: lines."""
    text, found = read_text(path, what, limit), []
    if text.count("\n") > most:
        raise SemttaError(f"{what} '{path}' has more than {most} lines, which are not read.")
    for i, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                found.append(json.loads(line, object_pairs_hook=pairs))
        except (ValueError, RecursionError) as error:
            raise SemttaError(
                f"{what} '{path}', line {i} is not valid JSON: {reason(error)}."
            ) from None
    return found


def npz_names(path: str | Path, what: str) -> list[str]:
    """Names of the arrays in an .npz file; nothing is unpacked."""
    path = check_file(path, what)
    with reading(path, what), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_npz(
    path: str | Path,
    what: str,
    wanted: Iterable[str] | None = None,
    limit: int = _ARRAY_LIMIT,
) -> dict[str, np.ndarray]:
    """Arrays of an .npz file by name: only the wanted ones, never a pickled object.

    What an entry claims to hold is held against its size in the archive before it gets memory.

    Args:
        wanted: names; those that are absent are left out. None = all but pickled objects.
        limit: bytes of all of them together, unpacked.

    Raises ``SemttaError``; for a wanted array that is a pickled object it names it."""
    path = check_file(path, what)
    with reading(path, what), zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy"): name for name in archive.namelist()}
        chosen = names if wanted is None else [name for name in wanted if name in names]
        _check_total((archive.getinfo(names[name]).file_size for name in chosen), limit)
        arrays = {}
        for name in chosen:
            info = archive.getinfo(names[name])
            with archive.open(info) as stream:
                shape, fortran, dtype, start = _array_header(stream)
                if dtype.hasobject:
                    if wanted is None:
                        continue
                    raise SemttaError(
                        f"{what} '{path}': '{name}' is a pickled object, which is not read; save "
                        "it as a plain array of numbers."
                    )
                arrays[name] = _array(stream, shape, fortran, dtype, info.file_size - start)
        return arrays


def read_npy(path: str | Path, what: str, limit: int = _ARRAY_LIMIT) -> np.ndarray:
    """The array of an .npy file; never a pickled object."""
    path = check_file(path, what, limit)
    with reading(path, what), open(path, "rb") as stream:
        shape, fortran, dtype, start = _array_header(stream)
        if dtype.hasobject:
            raise SemttaError(
                f"{what} '{path}' is a pickled object, which is not read; save it as a plain "
                "array of numbers."
            )
        return _array(stream, shape, fortran, dtype, path.stat().st_size - start)


def npz_shape(path: str | Path, name: str, what: str) -> tuple[int, ...]:
    """Shape of one array of an .npz file, from its header."""
    path = check_file(path, what)
    with reading(path, what), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        return _array_header(file)[0]


class Metered:
    """A stream for an unpickler, which takes one piece per operation: so many and no more.

    A pickle's objects take far more memory than its bytes; long pieces are numbers or text.

    Args:
        stream: binary.
        limit: pieces."""

    def __init__(self, stream, limit: int = 2_000_000):
        self._stream, self._left = stream, limit

    def read(self, size: int = -1) -> bytes:
        self._count()
        return self._stream.read(size)

    def readline(self) -> bytes:
        self._count()
        return self._stream.readline()

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError("it holds too many objects")


def _check_total(sizes: Iterable[int], limit: int) -> None:
    total = sum(sizes)
    if total > limit:
        raise ValueError(
            f"unpacked it would have {total / MEBI:.0f} MiB, more than the {limit / MEBI:.0f} MiB "
            "that are read"
        )


def _array_header(stream) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, Fortran order, dtype and length of the header of an array in numpy's format."""
    major, minor = np.lib.format.read_magic(stream)
    if (major, minor) not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"it has version {major}.{minor} of numpy's format")
    # 3.0 is 2.0 with UTF-8 names of fields, which no file of numbers has
    read = np.lib.format.read_array_header_1_0 if major == 1 else (
        np.lib.format.read_array_header_2_0
    )  # fmt: skip
    shape, fortran, dtype = read(stream, max_header_size=_HEADER_LIMIT)
    if any(isinstance(n, bool) or n < 0 for n in shape):
        raise ValueError(f"an array claims the shape {shape}")
    return shape, fortran, dtype, stream.tell()


def _array(stream, shape, fortran: bool, dtype: np.dtype, there: int) -> np.ndarray:
    """The array behind a header, if the bytes that are there can be it."""
    if math.prod(shape) * dtype.itemsize != there:
        raise ValueError(f"an array claims the shape {_short(shape)} but has {there} bytes")
    data = stream.read(there)
    if len(data) != there:
        raise ValueError("it is cut off")
    array = np.frombuffer(bytearray(data), dtype)  # writable
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _short(shape: tuple[int, ...]) -> str:
    text = str(shape)
    return text if len(text) < 60 else text[:57] + "..."
