"""A part of a video: which frames are read. Their numbers and times stay those of the video."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from semtta.errors import SemttaError, shortened
from semtta.video.info import ImageSequence, Moment, VideoCut, VideoSource

# A frame number, or a text: "120", "4s", "4.5s", "1:02.5" or "1:02:03.25".
Edge = int | str
T = TypeVar("T")

_FRAME = re.compile(r"[0-9]{1,9}")
_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?s")
_CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,6}):([0-5][0-9](?:\.[0-9]{1,9})?)")


def cut_video(
    video: VideoSource, start: Edge | None = None, end: Edge | None = None
) -> VideoSource:
    """The frames of a video from ``start`` until before ``end``; all, if neither is given.

    Args:
        start, end: numbers of frames, or times as texts: ``4s``, ``1:02.5``.
    Raises ``SemttaError`` for what is neither, or a range that ends before it begins."""
    if start is None and end is None:
        return video
    if isinstance(video, VideoCut):
        raise SemttaError(f"'{video}' is a part of a video already; cut the whole one.")
    first, last = _moment(start, "start"), _moment(end, "end")
    if first is not None and last is not None:
        frames, seconds = (first.frame, last.frame), (first.seconds, last.seconds)
        for a, b in (frames, seconds):
            if a is not None and b is not None and b <= a:
                raise SemttaError(f"the range ends at {last}, not after its start at {first}.")
    whole = video if isinstance(video, ImageSequence) else Path(video)
    return VideoCut(whole, first, last)


def _moment(edge: Edge | None, name: str) -> Moment | None:
    if edge is None:
        return None
    if not isinstance(edge, (str, bool)):
        try:
            edge = str(operator.index(edge))
        except TypeError:
            pass
    text = str(edge).strip()
    if _FRAME.fullmatch(text):
        return Moment(frame=int(text))
    if match := _SECONDS.fullmatch(text):
        return Moment(seconds=float(match[1]))
    if match := _CLOCK.fullmatch(text):
        hours, minutes, seconds = match.groups(default="0")
        return Moment(seconds=3600 * int(hours) + 60 * int(minutes) + float(seconds))
    raise SemttaError(
        f"{name} '{shortened(text)}' is neither a frame such as 120 nor a time such as 4s or "
        "1:02.5."
    )


def cut_frames(
    cut: VideoCut,
    fps: float,
    frames: Callable[[Callable[[int, float], bool]], Iterator[tuple[int, float, T]]],
) -> Iterator[tuple[int, float, T]]:
    """The frames of a video up to the cut's end, those before its start without a picture.

    Args:
        fps: of the video.
        frames: gives all frames, pictures of those that it is told to.
    Raises ``SemttaError`` at the end of a video that the cut goes beyond."""
    count, last, any_ = 0, 0.0, False
    for index, seconds, image in frames(cut.holds):
        if cut.past_end(index, seconds):
            if not any_:
                raise cut.outside(index, seconds)
            return
        count, last = index + 1, seconds
        any_ = any_ or cut.past_start(index, seconds)
        yield index, seconds, image
    if not any_ or cut.lies_past(count, last + 1 / fps):
        raise cut.outside(count, last + 1 / fps)
