"""The user's own folders for this library, by the habits of each platform. None is created here."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_data_folder() -> Path:
    """What the user keeps for this library: bodies, checkpoints.

    Raises ``RuntimeError`` if the home folder is needed and unknown."""
    return _folder("XDG_DATA_HOME", ".local/share", "Library/Application Support")


def user_cache_folder() -> Path:
    """What can be made, fetched or asked for again: detections, clips, answers.

    ``$SEMTTA_CACHE`` where it is set, else by the platform's habit. Raises ``RuntimeError`` if the
    home folder is needed and unknown."""
    own = os.environ.get("SEMTTA_CACHE")
    return Path(own).expanduser() if own else _folder("XDG_CACHE_HOME", ".cache", "Library/Caches")


def _folder(variable: str, linux: str, mac: str) -> Path:
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        root = Path.home() / mac
    else:
        root = os.environ.get(variable) or Path.home() / linux
    return Path(root) / "semtta"
