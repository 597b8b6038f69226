"""Online: frames arrive, and are handed out for good soon after.

A window is fitted whenever enough has arrived: the next frames to be handed out (``online.step``),
those that must have followed them (``ahead``: the network and the motion model look forward as
well), and some of those before, for context (``before``). What is learnt goes on to the next window
(``tta.carried``). What looks at a whole track offline looks at a window here: the path, the light
filter, the limbs that are held, the segments of a label. A frame waits ``step + ahead`` seconds at
most, and nothing that comes later changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch

from semtta.body import Body
from semtta.config import Config, check_online
from semtta.engine import Progress
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.hmr.base import HumanMeshRegressor
from semtta.keypoints import Track
from semtta.labels import Labels
from semtta.tta.carried import Carried
from semtta.tta.result import Result
from semtta.tta.seams import continued, joined_tracks

_SAME = 1e-4  # seconds: times nearer than this are one

# Adapts to all frames of a window, each with a text or None.
Fit = Callable[[Track, list[str | None], Carried], Result]


class Stream:
    """One person's online run: takes pieces of a track, gives windows of results.

    Where the pieces end does not matter: windows go by the frames' times alone.

    Args:
        fit: adapts to one window.
        config: settings, of which ``online`` says how long windows are.
        body: of the results; they are on the CPU.
    """

    def __init__(self, fit: Fit, config: Config, body: Body):
        self.fit, self.config, self.body = fit, config, body
        self.carried = Carried(config)
        self.windows = 0  # handed out so far
        self._track: Track | None = None  # what a window may still need
        self._texts: list[str | None] = []
        self._begin = self._next = 0  # rows: of the context, of the first frame to be handed out
        self._last: Result | None = None  # the last frame that was handed out

    @property
    def person(self) -> int | None:
        """Number of whom it follows, None before the first piece."""
        return None if self._track is None else self._track.id

    def add(self, piece: Track, texts: Sequence[str | None]) -> None:
        """Frames that have arrived.

        Args:
            piece: of the same person, after all frames before.
            texts: one or None per frame.
        Raises ``SemttaError`` for frames that do not follow."""
        if len(texts) != len(piece):
            raise SemttaError(f"{len(texts)} labels for a piece of {len(piece)} frames.")
        if self._track is None:
            self._track, self._texts = piece, list(texts)
            return
        _check_follows(piece, self._track)
        rest = self._track.at(torch.arange(self._begin, len(self._track)))
        self._track = joined_tracks([rest, piece])
        self._texts = [*self._texts[self._begin :], *texts]
        self._begin, self._next = 0, self._next - self._begin

    def ready(self) -> Result | None:
        """The next frames, for good; None as long as too little has followed them."""
        if self._track is None or self._next == len(self._track):
            return None
        times, online = self._track.times, self.config.online
        due = float(times[self._next]) + online.step
        if float(times[-1]) < due + online.ahead - _SAME:
            return None
        return self._window(self._before(due), self._before(due + online.ahead))

    def rest(self) -> Result | None:
        """What is left when no frame will follow; None if nothing is. ``ready`` comes first."""
        if self._track is None or self._next == len(self._track):
            return None
        return self._window(len(self._track), len(self._track))

    def results(self) -> Iterator[Result]:
        """All windows of what has been added, if nothing follows."""
        while (piece := self.ready()) is not None:
            yield piece
        if (piece := self.rest()) is not None:
            yield piece

    def _before(self, seconds: float) -> int:
        """How many frames are earlier."""
        assert self._track is not None, "asked only where there is one"
        return int((self._track.times < seconds - _SAME).sum())

    def _window(self, until: int, end: int) -> Result:
        """Fit to the rows up to ``end`` and hand out those up to ``until``."""
        assert self._track is not None, "asked only where there is one"
        window = self._track.at(torch.arange(self._begin, end))
        result = self.fit(window, self._texts[self._begin : end], self.carried)
        first, last = self._next - self._begin, until - self._begin
        if self._last is not None:
            result = continued(result, first - 1, self._last, self.body)
        self._last = result.at(torch.tensor([last - 1]))
        self.windows += 1
        history = [{"window": self.windows} | numbers for numbers in result.history]
        since = float(self._track.times[until - 1]) - self.config.online.before
        self._begin, self._next = min(self._before(since), until - 1), until
        return replace(result.at(torch.arange(first, last)), history=history)


def _check_follows(piece: Track, before: Track) -> None:
    """Raise ``SemttaError`` for a piece that cannot come after the frames before it."""
    if piece.id != before.id:
        raise SemttaError(f"a stream is of one person: track {piece.id} after track {before.id}.")
    if piece.frames[0] <= before.frames[-1] or piece.times[0] <= before.times[-1]:
        raise SemttaError(
            f"track {piece.id}: frame {int(piece.frames[0])} at {float(piece.times[0]):.3f} s does "
            f"not come after frame {int(before.frames[-1])} at {float(before.times[-1]):.3f} s."
        )
    if piece.keypoints.skeleton != before.keypoints.skeleton or (
        (piece.landmarks3d is None) != (before.landmarks3d is None)
        or (piece.conf3d is None) != (before.conf3d is None)
    ):
        raise SemttaError(f"track {piece.id}: every piece of a stream must have the same skeleton, "
                          "and 3D landmarks in all pieces or in none.")  # fmt: skip


def check_streaming(config: Config, model: HumanMeshRegressor) -> None:
    """Raise ``SemttaError`` for settings and networks that need the whole video."""
    check_online(config)
    if model.crop.reads != "keypoints":
        raise SemttaError("online takes a network that reads landmarks (lifter, lifter-narrow); "
                          f"{type(model).__name__} reads a whole video.")  # fmt: skip


def told_each(windows: Iterator[Result], frames: int, progress: Progress) -> list[Result]:
    """All windows; ``progress`` is told of each, in frames that are handed out."""
    pieces, done = [], 0
    progress("adapt", 0, frames, {})
    for piece in windows:
        pieces.append(piece)
        done += len(piece.labels)
        progress("adapt", done, frames, piece.history[-1] if piece.history else {})
    return pieces


def streamed(
    arrivals: Iterable[tuple[Camera, Track]],
    labels: Labels | None,
    begin: Callable[[Camera], Stream],
    state: Callable[[], AbstractContextManager],
) -> Iterator[Result]:
    """The windows of whoever is followed, one person after the other.

    Args:
        arrivals: pieces of tracks, each with its camera.
        labels: of frames or seconds, as far as they are known.
        begin: a stream for another person.
        state: surrounds the work on each window, but not what the caller does in between."""
    stream: Stream | None = None
    for camera, piece in arrivals:
        if stream is not None and stream.person != piece.id:
            yield from _each(stream.rest, state)
            stream = None
        stream = stream or begin(camera)
        stream.add(piece, [None] * len(piece) if labels is None else labels.for_track(piece))
        yield from _each(stream.ready, state)
    if stream is not None:
        yield from _each(stream.rest, state)


def _each(
    window: Callable[[], Result | None], state: Callable[[], AbstractContextManager]
) -> Iterator[Result]:
    while True:
        with state():
            result = window()
        if result is None:
            return
        yield result
