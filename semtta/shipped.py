"""Files: where the shipped ones lie (see NOTICE for their origin), and the hash of any."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from semtta.errors import SemttaError

ROOT = Path(__file__).parent / "assets"


def asset(name: str) -> Path:
    """Path of a shipped file; raises ``SemttaError`` if the installation lacks it."""
    path = ROOT / name
    if not path.is_file():
        raise SemttaError(f"the shipped file '{name}' is missing; reinstall semtta.")
    return path


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal; read in pieces, and once as long as it does not change."""
    stat = Path(path).stat()
    return _sha256(Path(path).resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache
def _sha256(path: Path, size: int, modified: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
