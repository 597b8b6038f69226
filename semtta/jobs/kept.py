"""Tracks that a stopped run had adapted: the next run of the same command goes on behind them."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from torch import Tensor

from semtta.cache import ADAPTED, Cache
from semtta.errors import SemttaError
from semtta.files import write_npz
from semtta.geometry import Camera
from semtta.keypoints import Track
from semtta.motion.user_dictionary import UserDictionary
from semtta.output.exact import exact_arrays, read_exact
from semtta.people.track_files import track_arrays, track_head
from semtta.shipped import file_sha256
from semtta.tta.adapter import Adapter
from semtta.tta.provenance import provenance
from semtta.tta.result import Result

_PACKAGE = Path(__file__).parents[1]


class KeptTracks:
    """The results of one run in a cache, until its output folder is there (a ``tta.resume.Store``).

    Args:
        cache: where they are kept.
        asked: what the run is asked for, see ``what_was_asked``.
        adapter: that makes them.
        added: names that the user added to the priors.
        announce: told in a sentence which tracks are taken from an earlier run.
    """

    def __init__(
        self,
        cache: Cache,
        asked: Mapping[str, str],
        adapter: Adapter,
        added: UserDictionary,
        announce: Callable[[str], None],
    ):
        self.cache, self.announce = cache, announce
        made = provenance(adapter.config, adapter.model, adapter.body, "", None)
        names = [asked[name] for name in ("video", "own files")]  # the rest is in what is given
        phrases, machine = sorted(added.phrases.items()), (platform.machine(), platform.processor())
        parts = [made, names, added.names, phrases, _code(), str(adapter.device), machine]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
        for name, windows in sorted(added.motions.items()):
            digest.update(name.encode() + windows.numpy().tobytes())
        for value in _base_values(adapter.model):
            digest.update(f"{tuple(value.shape)}".encode() + value.cpu().numpy().tobytes())
        self._common = digest
        self._used: set[Path] = set()
        self._windows: set[Path] = set()  # of the track that is not whole yet

    def get(
        self, track: Track, camera: Camera, texts: list[str | None], window: bool = False
    ) -> Result | None:
        """The result of an earlier run that was stopped; a file that is damaged is removed.

        Of windows whoever joins them tells how many were there."""
        asked = self._asked(track, camera, texts, window)
        path = self._path(asked)
        if not path.is_file():
            return None
        try:
            result = read_exact(path, asked)
        except SemttaError:
            self.cache.forget(path)
            self.announce(f"what an earlier run had kept of track {track.id} is damaged or of "
                          "another version; it is adapted anew.")  # fmt: skip
            return None
        self._used.add(path)
        if window:
            self._windows.add(path)
        else:
            self.announce(f"track {track.id} was adapted by an earlier run that was stopped; its "
                          "result is taken (--no-cache adapts it anew).")  # fmt: skip
        return result

    def put(
        self, track: Track, camera: Camera, texts: list[str | None], result: Result,
        window: bool = False,
    ) -> None:  # fmt: skip
        """Keep a result; that it cannot be kept is no error."""
        asked = self._asked(track, camera, texts, window)
        path = self._path(asked)
        try:
            arrays = exact_arrays(result, asked)
            self.cache.keep(path, lambda file: write_npz(file, arrays, compressed=False))
            self._used.add(path)
            if window:
                self._windows.add(path)
            else:
                self._forget(self._windows)  # whole: nobody asks for its parts again
        except (SemttaError, TypeError, ValueError) as error:
            self.announce(f"track {track.id} could not be kept for a run that goes on: {error}")

    def clear(self) -> None:
        """Everything is in the output folder: nobody needs them any more."""
        self._forget(self._used)

    def _forget(self, paths: set[Path]) -> None:
        for path in paths:
            self.cache.forget(path)
        paths.clear()

    def _asked(
        self, track: Track, camera: Camera, texts: list[str | None], window: bool = False
    ) -> str:
        """Hash of everything that the result of a track, or of a window of it, depends on."""
        digest = self._common.copy()
        digest.update(json.dumps([track_head(track), repr(camera), texts, window]).encode())
        for name, array in sorted(track_arrays(track, "").items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()

    def _path(self, asked: str) -> Path:
        return self.cache.path(ADAPTED, asked[:40])


def _base_values(model: object) -> Iterator[Tensor]:
    """Of a model that starts from a result, what it starts from: one file may read others."""
    result = getattr(model, "result", None)
    for track in () if result is None else result.tracks:
        parts = (track.frames, track.rotmats, track.betas, track.trans, track.focal, track.center,
                 track.cam, track.crops)  # fmt: skip
        yield from (part for part in parts if part is not None)


@cache
def _code() -> str:
    """Hash of the package's own code: another version of it may adapt in another way."""
    hashes = [file_sha256(path) for path in sorted(_PACKAGE.rglob("*.py"))]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
