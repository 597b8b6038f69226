"""Files that are whole or absent."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
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


def check_writable(folder: Path) -> None:
    """Raise ``SemttaError`` if nothing can be written to a folder that may not be there yet."""
    folder = folder.absolute()
    there = next(part for part in (folder, *folder.parents) if part.exists())
    try:
        os.rmdir(tempfile.mkdtemp(dir=there))
    except OSError as error:
        raise SemttaError(f"output '{folder}' cannot be written: {error.strerror}.") from None
