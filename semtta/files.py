"""Files and folders that are whole or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from semtta.errors import SemttaError


@contextmanager
def whole_file(path: Path, parents: bool = True) -> Iterator[Path]:
    """A temporary name beside ``path``, which takes its place only if the block succeeds.

    Args:
        parents: make the folders that it lies in.
    Raises ``SemttaError`` if it cannot be written."""
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")  # same ending
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise SemttaError(f"'{path}' cannot be written: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(
    path: str | Path, overwrite: bool = False, is_ours: Callable[[Path], bool] = lambda path: False
) -> Iterator[Path]:
    """A folder that appears under its name only if the block succeeds.

    Files are written to a hidden sibling which is renamed at the end; an existing folder is
    replaced only with ``overwrite``, and only then.

    Args:
        is_ours: whether an existing folder may be replaced: never one that others wrote.
    Raises ``SemttaError`` if the place cannot be written or is taken."""
    path = Path(path)
    check_folder(path, overwrite, is_ours)
    absent = [parent for parent in path.absolute().parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise SemttaError(f"output '{path}' cannot be written: {error.strerror}.") from None
    try:
        yield partial
        if path.is_dir():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
            os.replace(path, old / "old")
            os.replace(partial, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(partial, path)
        os.chmod(path, 0o755)
    except OSError as error:
        raise SemttaError(f"output '{path}' cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):  # folders made on the way stay only if the result is in them
            for parent in absent:
                parent.rmdir()


def check_folder(path: Path, overwrite: bool, is_ours: Callable[[Path], bool]) -> None:
    """Raise ``SemttaError`` if a folder is taken, is not one, or cannot be written."""
    if path.exists() and not path.is_dir():
        raise SemttaError(f"output '{path}' is a file, not a folder.")
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise SemttaError(f"output '{path}' cannot be written: '{parent}' is a file.")
    taken = path.is_dir() and any(path.iterdir())
    if taken and not overwrite:
        raise SemttaError(f"output '{path}' exists already; add --overwrite to replace it.")
    if taken and not is_ours(path):
        raise SemttaError(f"output '{path}' holds other files than results; choose a new folder.")
    check_writable(path.absolute().parent)


def check_writable(folder: Path) -> None:
    """Raise ``SemttaError`` if nothing can be written to a folder that may not be there yet."""
    folder = folder.absolute()
    there = next(part for part in (folder, *folder.parents) if part.exists())
    try:
        os.rmdir(tempfile.mkdtemp(dir=there))
    except OSError as error:
        raise SemttaError(f"output '{folder}' cannot be written: {error.strerror}.") from None
