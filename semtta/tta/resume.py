"""Tracks that an earlier run has adapted already, for whoever keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from semtta.geometry import Camera
from semtta.keypoints import Track
from semtta.tta.result import Result


class Store(Protocol):
    """Keeps results; it knows for itself what else they depend on (settings, networks)."""

    def get(
        self, track: Track, camera: Camera, texts: list[str | None], window: bool = False
    ) -> Result | None:
        """The very result that was put for these, or None.

        Args:
            window: it is a window of a longer track (``tta.windows``), not a finished motion."""
        ...

    def put(
        self, track: Track, camera: Camera, texts: list[str | None], result: Result,
        window: bool = False,
    ) -> None: ...  # fmt: skip


def recalled(
    store: Store | None,
    track: Track,
    camera: Camera,
    texts: list[str | None],
    make: Callable[[], Result],
    window: bool = False,
) -> Result:
    """The result that the store has, or a new one, which the store is given."""
    found = None if store is None else store.get(track, camera, texts, window)
    if found is not None:
        return found
    result = make()
    if store is not None:
        store.put(track, camera, texts, result, window)
    return result
