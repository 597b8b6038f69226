"""mp4 files that every browser plays, whole or absent."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.reading import reason
from semtta.video.complete import lacks
from semtta.video.info import Note, check_rate
from semtta.video.mp4 import add_pictures, as_picture, count_frames, new_mp4
from semtta.video.sound import add_sound

_THREADS = 1  # so that the same frames give the same file everywhere
_ENCODERS = {
    "libx264": {"crf": "20", "bf": "0"},  # no frame waits for a later one: easy to scrub
    "mpeg4": {"qscale": "3"},  # in builds of FFmpeg without x264
}
_TICKS = 10_000  # per second at least: in them presentation times are written
_MPEG4_TICKS = 65535  # per second at most
_LONGEST = 3600.0  # seconds that a frame may stay: mp4 counts its ticks in 32 bits


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], fps: float, size: tuple[int, int]
) -> Path:
    """Write RGB frames at a fixed rate; the rest is as in :func:`write_timed`.

    Args:
        frames: (H, W, 3) uint8 RGB images.
        fps: frame rate; 29.97 and its kind are written as the fractions that they are.
    """
    check_rate(fps, path)
    return write_timed(path, ((i / fps, frame) for i, frame in enumerate(frames)), fps, size)


def write_timed(
    path: str | Path,
    frames: Iterable[tuple[float, np.ndarray]],
    fps: float,
    size: tuple[int, int],
    *,
    preset: str = "ultrafast",
    sound: Path | None = None,
    note: Note = lambda text: None,
) -> Path:
    """Write RGB frames as an mp4 file (H.264, or MPEG-4 where there is no encoder for it).

    The file appears under its name only when all frames were written and can be read again.

    Args:
        path: target, ending in .mp4; folders are made as needed.
        frames: seconds, increasing, and (H, W, 3) uint8 RGB image of each; the file begins with
            the first one. A frame stays until the next one; where that is more than an hour, for
            1/fps.
        fps: nominal frame rate. Times that are multiples of 1/fps are exact, others to 0.1 ms.
        size: width, height of every frame. Odd sides get one more row or column, because browsers
            want even ones.
        preset: of x264: ``veryfast`` takes twice its time and a third of the space.
        sound: video file whose first sound is laid under the frames, which are that file's, at
            their seconds after its first one.
        note: told what became of a sound that cannot be had whole; the frames are written anyway.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise SemttaError(f"'{path}': videos are written as .mp4; change the name's ending.")
    check_rate(fps, path)
    clock = _Clock(fps)
    with whole_file(path) as temporary:
        try:
            count = _write(temporary, path, frames, clock, size, preset)
            whole = lacks(temporary) is None and count == count_frames(temporary)
        except av.FFmpegError as error:
            raise SemttaError(f"'{path}' cannot be written: {reason(error)}.") from None
        if not whole:  # the last bytes are written when nobody asks for errors any more
            raise SemttaError(f"'{path}' cannot be written whole; is the disk full?")
        if sound is not None and clock.pauses:
            note(f"'{sound.name}' stands still for more than an hour; its sound was left out.")
        elif sound is not None:
            add_sound(temporary, sound, note, clock.first or 0.0)
    return path


class _Clock:
    """Presentation times in the ticks of a file.

    Args:
        fps: nominal frame rate, of which the ticks are a multiple."""

    def __init__(self, fps: float):
        self.rate = max(Fraction(fps).limit_denominator(1001), Fraction(1, 1001))
        self.encoder = next(name for name in _ENCODERS if name in av.codecs_available)
        if self.encoder == "mpeg4" and self.rate.numerator > _MPEG4_TICKS:
            self.rate = Fraction(fps).limit_denominator(50)
        per_second = self.rate.numerator
        self.base = Fraction(1, per_second * -(-_TICKS // per_second))
        self.pauses = 0  # frames that would have stayed for too long
        self.first: float | None = None  # seconds of the first frame
        self._skipped = self._before = 0.0
        self._tick = -1

    def tick(self, seconds: float) -> int:
        """Of the next frame; each is later than the one before."""
        if self.first is None:
            self.first = seconds
        seconds -= self.first
        stay = seconds - self._before
        if stay > _LONGEST:
            self.pauses += 1
            self._skipped += stay - float(1 / self.rate)
        self._before = seconds
        self._tick = max(round((seconds - self._skipped) / self.base), self._tick + 1)
        return self._tick


def _write(
    temporary: Path, path: Path, frames, clock: _Clock, size: tuple[int, int], preset: str
) -> int:
    """Number of frames written."""
    count = 0
    with new_mp4(temporary) as container:
        stream = _stream(container, clock, size, preset)
        for seconds, frame in frames:
            if frame.shape != (size[1], size[0], 3) or frame.dtype != np.uint8:
                raise SemttaError(
                    f"frame {count} for '{path}' is {frame.shape} {frame.dtype}, expected "
                    f"({size[1]}, {size[0]}, 3) uint8."
                )
            picture = _picture(frame)
            picture.pts, picture.time_base = clock.tick(seconds), clock.base
            picture.duration = round(1 / (clock.rate * clock.base))
            container.mux(stream.encode(picture))
            count += 1
        if count == 0:
            raise SemttaError(f"no frames to write to '{path}'.")
        container.mux(stream.encode(None))
    return count


def _stream(
    container: av.container.OutputContainer, clock: _Clock, size: tuple[int, int], preset: str
) -> av.VideoStream:
    options = dict(_ENCODERS[clock.encoder])
    if clock.encoder == "libx264":
        options["preset"] = preset
    width, height = (side + side % 2 for side in size)
    stream = add_pictures(
        container, clock.encoder, clock.rate, clock.base, (width, height), options, _THREADS
    )
    stream.codec_context.time_base = clock.base
    return stream


def _picture(frame: np.ndarray) -> av.VideoFrame:
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return as_picture(frame)
