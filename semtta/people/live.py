"""One person in frames as they arrive: pieces of a track, a second and a bit late.

Every second of frames is looked at as a short video of its own, with half a second of what came
before it and a little of what follows, since what steadies boxes and landmarks looks both ways. It
is the most prominent person at first, and then whoever stands where that person stood.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch

from semtta.errors import SemttaError
from semtta.keypoints import Track
from semtta.people.pipeline import NobodyFound, track_video
from semtta.people.tracker import box_iou
from semtta.video.info import check_rate
from semtta.video.memory import FramesInMemory, check_image

Frame = np.ndarray | tuple[float, np.ndarray]

_STEP, _BEFORE, _AHEAD = 1.0, 0.5, 0.2  # seconds: handed out at a time, looked at again, waited for
_SAME = 1e-4  # seconds: times nearer than this are one
_STAYS = 0.3  # overlap of one person's boxes in two windows, at least


def follow(
    frames: Iterable[Frame], fps: float = 30.0, detect_size: int | str = "auto", threads: int = 2
) -> Iterator[tuple[tuple[int, int], Track]]:
    """Find and follow one person in frames that are still arriving.

    Args:
        frames: (H, W, 3) uint8 RGB, or pairs of seconds and such a picture.
        fps: frame rate, and the times of frames that have none.
        detect_size, threads: see ``track_video``.
    Yields: width and height of the frames, and the next piece of the track, without frames in
        which nobody is found. Somebody else who is followed after the person was lost has another
        ``id``. Raises ``SemttaError`` for what are no pictures, or times that do not increase."""
    check_rate(fps, "frames")
    seen = _Seen(fps, detect_size, threads)
    for number, (seconds, image) in enumerate(_timed(frames, fps)):
        seen.add(number, seconds, image)
        if (piece := seen.ready()) is not None:
            yield seen.size, piece
    if (piece := seen.rest()) is not None:
        yield seen.size, piece


def _timed(frames: Iterable[Frame], fps: float) -> Iterator[tuple[float, object]]:
    for number, frame in enumerate(frames):
        if not (isinstance(frame, (tuple, list)) and len(frame) == 2):
            yield number / fps, frame
            continue
        try:
            seconds = float(frame[0])
        except (TypeError, ValueError, OverflowError):
            raise SemttaError(f"frame {number} of the stream: a pair is of seconds and a "
                              "picture, in this order.") from None  # fmt: skip
        yield seconds, frame[1]


class _Seen:
    """Frames that a window may still need, and who was followed in the last one."""

    def __init__(self, fps: float, detect_size: int | str, threads: int):
        self.fps, self.detect_size, self.threads = fps, detect_size, threads
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.images: list[np.ndarray] = []
        self.done = 0  # frames before this one have been handed out
        self.person: Track | None = None  # as last found
        self.people = 0  # followed so far

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        return self.images[0].shape[1], self.images[0].shape[0]

    def add(self, number: int, seconds: float, image: object) -> None:
        where = f"frame {number}"
        if not math.isfinite(seconds) or (self.times and seconds <= self.times[-1]):
            raise SemttaError(f"{where} of the stream is at {seconds:g} s, not after the frame "
                              "before it.")  # fmt: skip
        self.images.append(check_image(image, self.images[0] if self.images else None, where))
        self.numbers.append(number)
        self.times.append(seconds)

    def ready(self) -> Track | None:
        """The next piece, if enough has followed it and somebody is in it."""
        due = self.times[self.numbers.index(self.done)] + _STEP
        return None if self.times[-1] < due + _AHEAD - _SAME else self._piece(due)

    def rest(self) -> Track | None:
        """What is left when no frame will follow."""
        return self._piece(math.inf) if self.numbers and self.done <= self.numbers[-1] else None

    def _piece(self, due: float) -> Track | None:
        """What is handed out of the frames before ``due``; those too old to matter are let go."""
        found = self._found()
        until = self.numbers[0] + sum(seconds < due - _SAME for seconds in self.times)
        piece = None
        if found is not None:
            rows = torch.nonzero((found.frames >= self.done) & (found.frames < until))[:, 0]
            piece = found.at(rows) if len(rows) else None
        self.done, self.person = until, found or self.person
        old = sum(seconds < due - _BEFORE - _SAME for seconds in self.times)
        old = min(old, len(self.times) - 1)  # one to compare the next with
        for kept in (self.numbers, self.times, self.images):
            del kept[:old]
        return piece

    def _found(self) -> Track | None:
        """The person that was followed, in the frames held; else the most prominent one."""
        frames = FramesInMemory(tuple(self.times), tuple(self.images), self.fps)
        tracks: list[Track] = []
        for most in (1, None):  # everybody only where the first is somebody else
            try:
                video = track_video(
                    frames, detect_size=self.detect_size, max_people=most, threads=self.threads
                )
            except NobodyFound:
                return None
            tracks = [replace(track, frames=track.frames + self.numbers[0])
                      for track in video.tracks]  # fmt: skip
            if self.person is None:
                break
            overlap, best = max((_overlap(self.person, track), -i)
                                for i, track in enumerate(tracks))  # fmt: skip
            if overlap >= _STAYS:
                return replace(tracks[-best], id=self.people)
        self.people += 1
        return replace(tracks[0], id=self.people)


def _overlap(before: Track, now: Track) -> float:
    """Mean overlap of two tracks' boxes in the frames of both; without any, where one ends and the
    other begins."""
    common = np.intersect1d(before.frames.numpy(), now.frames.numpy())
    a, b = before.boxes[-1:], now.boxes[:1]
    if len(common):
        frames = torch.from_numpy(common)
        a = before.boxes[torch.isin(before.frames, frames)]
        b = now.boxes[torch.isin(now.frames, frames)]
    return float(np.diag(box_iou(a.numpy(), b.numpy())).mean())
