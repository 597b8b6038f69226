"""Files and folders that are whole or absent, and never take the place of anything else.

What is written lies under a hidden name beside its place until it is whole:
``.NAME.1a2b3c4d.partial``, and ``….old`` for the moment in which a folder is exchanged. A run holds
``.NAME.lock`` meanwhile, so what a killed run left behind is known as such and tidied up by the
next one. Links are followed: what they lead to is written, they stay.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from semtta.errors import SemttaError, shortened
from semtta.locks import lock_file
from semtta.reading import reason

Arrays = dict[str, "np.ndarray | np.generic"]  # by their names in an npz file

_LONGEST = 200  # bytes of a name; disks take 255, hidden names need some
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)  # how disks say that a place is taken


@contextmanager
def whole_file(path: Path, parents: bool = True, overwrite: bool = True) -> Iterator[Path]:
    """A temporary name beside ``path``, which takes its place only if the block succeeds.

    Args:
        parents: make the folders that it lies in.
        overwrite: whether a file that is there, or appears meanwhile, may be replaced.
    Raises ``SemttaError`` if it cannot be written."""
    target = _real(path, f"'{shortened(path)}'")
    temporary = target.with_name(f".{uuid.uuid4().hex[:8]}{target.suffix}")  # same ending
    try:
        if parents:
            target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not overwrite:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(temporary, target)
    except OSError as error:
        if isinstance(error, FileExistsError) and not overwrite and target.parent.is_dir():
            raise SemttaError(f"'{path}' exists already; it was left as it is.") from None
        raise SemttaError(f"'{path}' cannot be written: {reason(error)}.") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(
    path: str | Path, overwrite: bool = False, is_ours: Callable[[Path], bool] = lambda path: False
) -> Iterator[Path]:
    """A folder that appears under its name only if the block succeeds.

    Files are written to a hidden sibling which is renamed at the end; an existing folder is
    replaced only with ``overwrite``, only then, and only if nobody has touched it meanwhile. While
    the block runs, no other one can write to the same place.

    Args:
        is_ours: whether an existing folder may be replaced: never one that others wrote.
    Raises ``SemttaError`` if the place cannot be written or is taken."""
    path = Path(path)
    check_folder(path, overwrite, is_ours)
    target = _real(path, f"output '{path}'")
    absent = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _sole_writer(target, path) as locked:
            if locked:
                _tidy(target, is_ours)
                check_folder(path, overwrite, is_ours)  # now that nobody else writes there
            before = _content(target)
            partial = _hidden(target, "partial")
            partial.mkdir()  # with the permissions that the user's umask leaves
            try:
                yield partial
                _publish(partial, target, before)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise SemttaError(f"output '{path}' cannot be written: {reason(error)}.") from None
    finally:
        with suppress(OSError):  # folders made on the way stay only if the result is in them
            for parent in absent:
                parent.rmdir()


def check_folder(path: Path, overwrite: bool, is_ours: Callable[[Path], bool]) -> None:
    """Raise ``SemttaError`` if a folder is taken, is not one, or cannot be written."""
    name = f"output '{shortened(path)}'"
    target = _real(path, name)
    if len(os.fsencode(target.name)) > _LONGEST:
        raise SemttaError(f"{name} has a name of more than {_LONGEST} bytes; choose a shorter one.")
    if target.exists() and not target.is_dir():
        raise SemttaError(f"{name} is a file, not a folder.")
    for parent in target.parents:
        if parent.exists() and not parent.is_dir():
            raise SemttaError(f"{name} cannot be written: '{parent}' is a file.")
    here = Path.cwd()
    if target == here or target in here.parents:
        raise SemttaError(f"{name} is the folder that you are in, or holds it; name a new folder.")
    if os.path.ismount(target):
        raise SemttaError(f"{name} is a disk of its own; name a new folder on it.")
    taken = bool(_content(target))
    if taken and not overwrite:
        raise SemttaError(f"{name} exists already; add --overwrite to replace it.")
    if taken and not is_ours(target):
        raise SemttaError(f"{name} holds other files than results; choose a new folder.")
    check_writable(target.parent)


def check_writable(folder: Path) -> None:
    """Raise ``SemttaError`` if nothing can be written to a folder that may not be there yet."""
    name = f"output '{shortened(folder)}'"
    folder = _real(folder, name)
    there = next(part for part in (folder, *folder.parents) if part.exists())
    try:
        os.rmdir(tempfile.mkdtemp(dir=there))
    except OSError as error:
        raise SemttaError(f"{name} cannot be written: {reason(error)}.") from None


# ---------------------------------------------------------------------- places


def _real(path: Path, name: str) -> Path:
    """Where a path leads; raises ``SemttaError`` for one that no system call would take.

    Args:
        name: how the message calls it."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.stat(path)
        target = Path(os.path.realpath(path))
        dangling = os.path.islink(path) and not os.path.exists(path)
    except (OSError, ValueError) as error:  # too long, in a circle, not to be entered, with a NUL
        raise SemttaError(f"{name} cannot be written: {reason(error)}.") from None
    if dangling:
        raise SemttaError(f"{name} is a link to '{target}', which does not exist.")
    return target


def _hidden(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.{kind}")


@contextmanager
def _sole_writer(target: Path, path: Path) -> Iterator[bool]:
    """Nobody else writes to the place meanwhile; yields whether that is certain."""
    with ExitStack() as held:
        try:
            locked = held.enter_context(lock_file(target.with_name(f".{target.name}.lock")))
        except BlockingIOError:
            raise SemttaError(
                f"another run writes to output '{path}'; wait for it, or choose another folder."
            ) from None
        yield locked


def _content(folder: Path) -> dict[str, tuple]:
    """What lies in a folder, in enough detail to see whether it is touched; {} if it is absent."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    except FileNotFoundError:
        return {}
    return {name: (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in found.items()}


def _publish(partial: Path, target: Path, before: dict[str, tuple]) -> None:
    """Put a finished folder in its place, if that is still as it was before.

    A folder is never renamed onto anything but nothing or an empty folder: the system sees to that
    in one step, so what appears at the last moment is safe too."""
    old = _hidden(target, "old")
    if not before:
        _take_place(partial, target)
        return
    try:
        os.rename(target, old)
    except FileNotFoundError:  # moved away meanwhile
        _take_place(partial, target)
        return
    try:
        if _content(old) != before:
            raise SemttaError(f"output '{target}' was changed meanwhile and is left as it is; "
                              "choose another folder.")  # fmt: skip
        _take_place(partial, target)
    except BaseException:
        with suppress(OSError):
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _take_place(partial: Path, target: Path) -> None:
    try:
        try:
            os.rename(partial, target)
        except FileExistsError:  # Windows wants even an empty folder removed
            os.rmdir(target)
            os.rename(partial, target)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        raise SemttaError(f"output '{target}' appeared meanwhile and is left as it is; choose "
                          "another folder.") from None  # fmt: skip


def _tidy(target: Path, is_ours: Callable[[Path], bool]) -> None:
    """Remove what killed runs left beside a place whose lock we hold.

    A folder that had been moved aside for a new one that never came is put back."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.(partial|old)")
    for found in sorted(target.parent.iterdir()):
        kind = ours.fullmatch(found.name)
        if kind is None or found.is_symlink() or not found.is_dir():
            continue
        if kind[1] == "partial":
            shutil.rmtree(found, ignore_errors=True)
        elif not _content(target):
            _take_place(found, target)
        elif _known(target, is_ours):
            shutil.rmtree(found, ignore_errors=True)


def _known(folder: Path, is_ours: Callable[[Path], bool]) -> bool:
    try:
        return is_ours(folder)
    except SemttaError:
        return False


def write_npz(file: BinaryIO, arrays: Arrays, compressed: bool = True) -> None:
    """Named arrays as one npz file."""
    save = np.savez_compressed if compressed else np.savez
    save(file, **arrays)  # type: ignore[arg-type]  # "allow_pickle" is no name of an array here
