"""The engine room: items to processes of this machine or of a Ray cluster, and back.

It knows nothing of what is done to an item. ``map_items`` does something to each of many things
and names what failed; ``run_tasks`` is for those who write their own rows as they come. Names are
loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from semtta.lazy import lazy_exports

_EXPORTS = {
    "ENGINES": "semtta.work.engines",
    "check_engine": "semtta.work.engines",
    "run_tasks": "semtta.work.engines",
    "Outcome": "semtta.work.items",
    "map_items": "semtta.work.items",
}

__all__ = sorted(_EXPORTS)
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
