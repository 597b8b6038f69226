"""mp4 files as they are written and looked at again: by PyAV, with no error overlooked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from semtta.video.opening import Nameless

_BT709 = 1  # in all three tables of H.264; without it, browsers guess the colours by the size


@contextmanager
def new_mp4(path: Path) -> Iterator[av.container.OutputContainer]:
    """An mp4 file to be written, with its index in front: a browser starts before it has all."""

    def reopen(url: str, flags: int, options: dict):
        return open(path, "rb", buffering=0)  # to move the frames behind the index

    # A Python file, because its errors are not overlooked.
    with open(path, "w+b", buffering=0) as file:
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


@contextmanager
def own_mp4(path: Path) -> Iterator[av.container.InputContainer]:
    """An mp4 file as it stands on the disk."""
    with open(path, "rb", buffering=0) as file, av.open(file, "r", format="mp4") as container:
        yield container


def add_pictures(
    container: av.container.OutputContainer, encoder: str, rate: Fraction, base: Fraction,
    size: tuple[int, int], options: dict[str, str], threads: int,
) -> av.VideoStream:  # fmt: skip
    """A stream for :func:`as_picture`'s frames.

    Args:
        encoder: FFmpeg's name of it.
        rate: nominal frames per second.
        base: seconds of a tick, in which frames have their times.
        size: width, height; even.
        options: of the encoder.
        threads: that encode."""
    stream = container.add_stream(encoder, rate, options=options)
    assert isinstance(stream, av.VideoStream), f"{encoder} encodes no pictures"
    stream.width, stream.height = size
    stream.pix_fmt, stream.time_base = "yuv420p", base
    context = stream.codec_context
    context.thread_count = threads
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = ColorRange.MPEG
    return stream


def as_picture(image: np.ndarray) -> av.VideoFrame:
    """An RGB image (H, W, 3) uint8 of even sides as encoders want it."""
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def count_frames(path: Path) -> int:
    """Frames of an mp4 file that are there."""
    with own_mp4(path) as container:
        return sum(p.size > 0 and not p.is_corrupt for p in container.demux(video=0))
