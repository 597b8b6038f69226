"""The video, small enough to lie inside a page, every frame at its true time."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av

from semtta.engine import Progress, silent
from semtta.video import VideoSource, probe, read_through
from semtta.video.mp4 import add_pictures, as_picture

_CODEC = "libx264"  # what every browser plays
_TICKS = 90_000  # per second
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
        times: seconds of every frame up to the last one that is shown, from the video's own zero.
        width, height: of the original, pixels.
        begin: the first frame that is shown; it is at 0 in ``mp4``.
    """

    mp4: bytes
    times: list[float]
    width: int
    height: int
    begin: int = 0


def small_clip(video: VideoSource, progress: Progress = silent) -> Clip:
    """Read a video, or a part of one, and encode it again, smaller; without sound.

    Raises ``SemttaError`` for a video that cannot be read."""
    info = probe(video)
    first, stop = info.span or (0, int(10 * info.fps))
    duration = max(1, stop - first) / info.fps
    size = _small_size(info.width, info.height, duration)
    times: list[float] = []
    ticks, begin = -1, 0
    if _CODEC not in av.codecs_available:
        shown = []
        for index, seconds, image in read_through(video):
            times.append(seconds)
            shown += [] if image is None else [index]
        return Clip(b"", times, info.width, info.height, shown[0])
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        rate = max(Fraction(info.fps).limit_denominator(1001), Fraction(1, 1001))
        base, options = Fraction(1, _TICKS), _OPTIONS | _rate(duration)
        stream = add_pictures(container, _CODEC, rate, base, size, options, threads=2)
        for index, seconds, image in read_through(video, size=size):
            times.append(seconds)
            if image is None:
                begin = index + 1
                continue
            frame = as_picture(image)
            ticks = max(round((seconds - times[begin]) * _TICKS), ticks + 1)
            frame.pts, frame.time_base = ticks, base
            container.mux(stream.encode(frame))
            progress("page", index + 1 - begin, info.span and stop - first, {})
        container.mux(stream.encode(None))
    return Clip(file.getvalue(), times, info.width, info.height, begin)


def _small_size(width: int, height: int, duration: float) -> tuple[int, int]:
    """Even sides, never larger than the original's by more than the pixel that makes them even."""
    side = _LONG_SIDE if duration <= _LONG else _LONG_SIDE_OF_LONG
    scale = min(1.0, side / max(width, height))
    return _even(width * scale), _even(height * scale)


def _even(side: float) -> int:
    return max(2, 2 * round(side / 2))


def _rate(duration: float) -> dict[str, str]:
    size = min(max(_BYTES_PER_SECOND * duration, _LEAST_BYTES), _MOST_BYTES)
    bits = int(8 * size / max(duration, 1.0))
    return {"maxrate": str(bits), "bufsize": str(bits)}
