"""Files that can be made again, in a folder of bounded size: what was not used for longest goes.

Nothing in it is trusted: who reads a file checks it like any stranger's and makes it anew if it is
not what it should be. Any number of processes may share a folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.places import user_cache_folder

LIMIT_VARIABLE = "SEMTTA_CACHE_MB"
LIMIT = 1000  # megabytes
DETECTIONS, ADAPTED = "detections", "adapted"
_ABANDONED = 86_400.0  # seconds after which an unfinished file is nobody's


@dataclass(frozen=True)
class Cache:
    """npz files by kind and name.

    Args:
        folder: holds a folder for each kind; both are made when something is kept.
        limit: bytes of all kinds together; None = no bound.
    """

    folder: Path
    limit: int | None = None

    @classmethod
    def of_user(cls) -> Cache:
        """In the user's cache folder (``$SEMTTA_CACHE``), of 1 GB or ``$SEMTTA_CACHE_MB``.

        Raises ``SemttaError`` if the folder is unknown or the bound is no number."""
        said = os.environ.get(LIMIT_VARIABLE) or str(LIMIT)
        try:
            limit = int(float(said) * 1e6)
        except (ValueError, OverflowError):
            limit = -1
        if limit < 0:
            raise SemttaError(f"{LIMIT_VARIABLE} must be a number of megabytes, not '{said}'.")
        try:
            return cls(user_cache_folder(), limit)
        except RuntimeError:
            raise SemttaError("the user's home folder is unknown; set SEMTTA_CACHE to a folder for "
                              "what can be used again, or add --no-cache.") from None  # fmt: skip

    def path(self, kind: str, name: str) -> Path:
        """Where a file lies, if it is there."""
        return self.folder / kind / f"{name}.npz"

    def used(self, path: Path) -> None:
        """A file was of use: it stays longer."""
        with suppress(OSError):
            os.utime(path)

    def keep(self, path: Path, write: Callable[[BinaryIO], None]) -> None:
        """Write a file, whole or not at all; then others go until all fit.

        Raises ``SemttaError`` if it cannot be written."""
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            write(file)
        self._make_room()

    def forget(self, path: Path) -> None:
        """Remove a file if it is there."""
        with suppress(OSError):
            path.unlink()

    def _make_room(self) -> None:
        if self.limit is None:
            return
        found = []  # only what this class wrote: other kinds of things may lie beside it
        for kind in (DETECTIONS, ADAPTED):
            for path in (self.folder / kind).glob("*.npz"):
                with suppress(OSError):  # another process removed it
                    stat = path.stat()
                    found.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            abandoned = path.name.startswith(".") and time.time() - used > _ABANDONED
            if total <= self.limit and not abandoned:
                continue
            if path.name.startswith(".") and not abandoned:
                continue  # another process writes it
            self.forget(path)
            total -= size
