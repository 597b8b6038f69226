"""Locks that die with their process: a run that was killed stands in nobody's way."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def lock(handle: int) -> bool:
    """Take the lock of an open file or folder without waiting; closing it gives the lock back.

    Returns: whether there is a lock now: some disks and systems know none.
    Raises ``BlockingIOError`` if somebody else has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except PermissionError as error:  # what a taken lock is on Windows
        if sys.platform == "win32":
            raise BlockingIOError(*error.args) from None
        return False
    except (ImportError, OSError):
        return False
    return True


@contextmanager
def lock_file(path: Path) -> Iterator[bool]:
    """Hold a small file that exists as long as the block runs; one left by a killed run is taken.

    Yields: whether it is locked, as in :func:`lock`.
    Raises ``BlockingIOError`` if another run holds it."""
    handle = _locked(path)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            with suppress(OSError):  # while it is still locked, so that nobody else's is removed
                path.unlink()
            os.close(handle)


def _locked(path: Path) -> int | None:
    """The open file behind ``path``, locked; None where that cannot be."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError:
            return None
        try:
            if not lock(handle):
                os.close(handle)
                return None
        except BlockingIOError:
            os.close(handle)
            raise
        if _is_still(path, handle):
            return handle
        os.close(handle)  # its owner removed it between opening and locking


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except OSError:
        return False
