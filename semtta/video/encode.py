"""mp4 files that every browser plays, whole or absent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.reading import reason
from semtta.video.complete import lacks
from semtta.video.info import check_rate
from semtta.video.opening import Nameless

_THREADS = 1  # so that the same frames give the same file everywhere
_BT709 = 1  # in all three tables of H.264: matrix, primaries, transfer
_ENCODERS = {
    "libx264": {"preset": "ultrafast", "crf": "20"},
    "mpeg4": {"qscale": "3"},  # in builds of FFmpeg without x264
}
_MPEG4_TICKS = 65535  # per second at most


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], fps: float, size: tuple[int, int]
) -> Path:
    """Write RGB frames as an mp4 file (H.264, or MPEG-4 where there is no encoder for it).

    The file appears under its name only when all frames were written and can be read again.

    Args:
        path: target, ending in .mp4; folders are made as needed.
        frames: (H, W, 3) uint8 RGB images.
        fps: frame rate; 29.97 and its kind are written as the fractions that they are.
        size: width, height of every frame. Odd sides get one more row or column, because browsers
            want even ones.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise SemttaError(f"'{path}': videos are written as .mp4; change the name's ending.")
    check_rate(fps, path)
    with whole_file(path) as temporary:
        try:
            count = _write(temporary, path, frames, fps, size)
            whole = lacks(temporary) is None and count == _count(temporary)
        except av.FFmpegError as error:
            raise SemttaError(f"'{path}' cannot be written: {reason(error)}.") from None
        if not whole:  # the last bytes are written when nobody asks for errors any more
            raise SemttaError(f"'{path}' cannot be written whole; is the disk full?")
    return path


def _write(temporary: Path, path: Path, frames, fps: float, size: tuple[int, int]) -> int:
    """Number of frames written."""
    count = 0
    with _container(temporary) as container:
        stream = _stream(container, fps, size)
        for frame in frames:
            if frame.shape != (size[1], size[0], 3) or frame.dtype != np.uint8:
                raise SemttaError(
                    f"frame {count} for '{path}' is {frame.shape} {frame.dtype}, expected "
                    f"({size[1]}, {size[0]}, 3) uint8."
                )
            container.mux(stream.encode(_picture(frame, count)))
            count += 1
        if count == 0:
            raise SemttaError(f"no frames to write to '{path}'.")
        container.mux(stream.encode(None))
    return count


@contextmanager
def _container(temporary: Path) -> Iterator[av.container.OutputContainer]:
    """An mp4 file with its index in front, so that a browser starts before it has all."""

    def reopen(url: str, flags: int, options: dict):
        return open(temporary, "rb", buffering=0)  # to move the frames behind the index

    # A Python file, because its errors are not overlooked.
    with open(temporary, "w+b", buffering=0) as file:
        container = av.open(
            Nameless(file, ".mp4"),
            "w",
            format="mp4",
            options={"movflags": "faststart"},
            io_open=reopen,
        )
        try:
            yield container
        except BaseException:
            with suppress(Exception):  # the first error counts; this one frees the memory
                container.close()
            raise
        container.close()


def _stream(
    container: av.container.OutputContainer, fps: float, size: tuple[int, int]
) -> av.VideoStream:
    name = next(name for name in _ENCODERS if name in av.codecs_available)
    rate = Fraction(fps).limit_denominator(1001)
    if name == "mpeg4" and rate.numerator > _MPEG4_TICKS:
        rate = Fraction(fps).limit_denominator(50)
    stream = container.add_stream(name, rate, options=_ENCODERS[name])
    stream.width, stream.height = (side + side % 2 for side in size)
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = _THREADS
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = ColorRange.MPEG
    return stream


def _picture(frame: np.ndarray, number: int) -> av.VideoFrame:
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    picture.pts = number
    return picture


def _count(temporary: Path) -> int:
    """Frames of a file as it stands on the disk."""
    with open(temporary, "rb", buffering=0) as file, av.open(file, "r", format="mp4") as container:
        return sum(p.size > 0 and not p.is_corrupt for p in container.demux(video=0))
