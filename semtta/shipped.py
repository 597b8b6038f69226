"""Paths of the files that are shipped with the library (see NOTICE for their origin)."""

from __future__ import annotations

from pathlib import Path

from semtta.errors import SemttaError

ROOT = Path(__file__).parent / "assets"


def asset(name: str) -> Path:
    """Path of a shipped file; raises ``SemttaError`` if the installation lacks it."""
    path = ROOT / name
    if not path.is_file():
        raise SemttaError(f"the shipped file '{name}' is missing; reinstall semtta.")
    return path
