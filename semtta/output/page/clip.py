"""The video, small enough to lie inside a page, every frame at its true time."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from semtta.engine import Progress, silent
from semtta.video import ImageSequence, probe, read_frames

_CODEC = "libx264"  # what every browser plays
_TICKS = 90_000  # per second
_BT709 = 1  # in all three tables of H.264; without it, browsers guess the colours by the size
_LONG_SIDE, _LONG_SIDE_OF_LONG, _LONG = 960, 640, 60.0  # pixels, pixels, seconds
# Bytes by duration: a page of ten seconds stays below 10 MB, one of ten minutes below 40 MB.
_BYTES_PER_SECOND, _LEAST_BYTES, _MOST_BYTES = 400e3, 4e6, 24e6
# Scrubbing jumps to any frame: a key frame every dozen, and no frame that needs a later one.
_OPTIONS = {"preset": "veryfast", "crf": "25", "g": "12", "bf": "0", "sc_threshold": "0"}


@dataclass(frozen=True)
class Clip:
    """A video as a page holds it.

    Args:
        mp4: the file; empty where nothing here can encode what browsers play.
        times: seconds of every frame, from the video's own zero; its first frame is at 0 in
            ``mp4``.
        width, height: of the original, pixels.
    """

    mp4: bytes
    times: list[float]
    width: int
    height: int


def small_clip(video: str | Path | ImageSequence, progress: Progress = silent) -> Clip:
    """Read a whole video and encode it again, smaller; without sound.

    Raises ``SemttaError`` for a video that cannot be read."""
    info = probe(video)
    duration = (info.frames or 10 * info.fps) / info.fps
    size = _small_size(info.width, info.height, duration)
    times: list[float] = []
    ticks = -1
    if _CODEC not in av.codecs_available:
        times = [seconds for _, seconds, _ in read_frames(video)]
        return Clip(b"", times, info.width, info.height)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        rate = max(Fraction(info.fps).limit_denominator(1001), Fraction(1, 1001))
        stream = container.add_stream(_CODEC, rate)
        stream.width, stream.height = size
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, _TICKS)
        stream.options = _OPTIONS | _rate(duration)
        context = stream.codec_context
        context.thread_count = 2
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        for index, seconds, image in read_frames(video):
            times.append(seconds)
            frame = _picture(image, size)
            ticks = max(round((seconds - times[0]) * _TICKS), ticks + 1)
            frame.pts, frame.time_base = ticks, Fraction(1, _TICKS)
            container.mux(stream.encode(frame))
            progress("page", index + 1, info.frames, {})
        container.mux(stream.encode(None))
    return Clip(file.getvalue(), times, info.width, info.height)


def _picture(image: np.ndarray, size: tuple[int, int]) -> av.VideoFrame:
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(small), format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def _small_size(width: int, height: int, duration: float) -> tuple[int, int]:
    """Even sides, never larger than the original's by more than the pixel that makes them even."""
    side = _LONG_SIDE if duration <= _LONG else _LONG_SIDE_OF_LONG
    scale = min(1.0, side / max(width, height))
    return tuple(max(2, 2 * round(n * scale / 2)) for n in (width, height))


def _rate(duration: float) -> dict[str, str]:
    size = min(max(_BYTES_PER_SECOND * duration, _LEAST_BYTES), _MOST_BYTES)
    bits = int(8 * size / max(duration, 1.0))
    return {"maxrate": str(bits), "bufsize": str(bits)}
