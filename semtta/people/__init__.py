"""People in a video: who is where in every frame, in 2D and roughly in 3D; or files that say so.

Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib

_EXPORTS = {
    "track_video": "semtta.people.pipeline",
    "TrackedVideo": "semtta.people.pipeline",
    "tracks_from_file": "semtta.people.pipeline",
    "load_poses2d": "semtta.people.poses2d",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module 'semtta.people' has no attribute '{name}'")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
