"""People in a video: who is where in every frame, in 2D and roughly in 3D; or files that say so.

Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from semtta.lazy import lazy_exports

_EXPORTS = {
    "track_video": "semtta.people.pipeline",
    "TrackedVideo": "semtta.people.pipeline",
    "tracked_once": "semtta.people.cache",
    "tracks_from_file": "semtta.people.own_poses",
    "load_poses2d": "semtta.people.poses2d",
    "Poses2DOptions": "semtta.people.poses2d",
}

__all__ = sorted(_EXPORTS)
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
