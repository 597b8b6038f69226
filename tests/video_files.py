"""Videos of every unusual kind, made by PyAV for the tests."""

from __future__ import annotations

from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags


def moving(count: int = 12, width: int = 96, height: int = 64) -> list[np.ndarray]:
    """A bright bar on a dark floor that moves 4 pixels to the right in every frame."""
    frames = []
    for i in range(count):
        frame = np.full((height, width, 3), 40, np.uint8)
        frame[8 : height - 8, 4 * i + 4 : 4 * i + 16] = (220, 200, 180)
        frames.append(frame)
    return frames


def encode(
    path: Path,
    frames: list[np.ndarray],
    codec: str = "libx264",
    *,
    rate: int | Fraction = 30,
    stamps: list[int] | None = None,
    pix_fmt: str = "yuv420p",
    format: str | None = None,
    options: dict | None = None,
    settings: dict | None = None,
    field: str | None = None,
    tags: dict | None = None,
    sound: float = 0.0,
) -> Path:
    """A video file.

    Args:
        stamps: of the frames, in frames.
        settings: attributes of the stream.
        field: tff or bff: the frames are interlaced.
        tags: options of the container.
        sound: seconds of silence that go with it."""
    with av.open(str(path), "w", format=format, options=tags or {}) as container:
        stream = container.add_stream(codec, rate, options=options or {})
        stream.width, stream.height = frames[0].shape[1::-1]
        stream.pix_fmt = pix_fmt
        for name, value in (settings or {}).items():
            target = stream if name == "sample_aspect_ratio" else stream.codec_context
            setattr(target, name, value)
        if field is not None:
            stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        audio = _add_sound(container, sound)
        for i, picture in enumerate(_pictures(frames, pix_fmt, field)):
            picture.pts = i if stamps is None else stamps[i]
            picture.time_base = 1 / Fraction(rate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if audio is not None:
            _write_sound(container, audio, sound)
    return path


def woven(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Interlaced frames: even rows of one picture, odd rows of the next."""
    pairs = []
    for first, second in zip(frames[::2], frames[1::2]):
        frame = first.copy()
        frame[1::2] = second[1::2]
        pairs.append(frame)
    return pairs


def _pictures(frames, pix_fmt, field):
    """Frames for an encoder, marked as interlaced if a field (tff, bff) is named."""
    pictures = (
        av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pix_fmt)
        for frame in frames
    )
    if field is None:
        yield from pictures
        return
    graph = av.filter.Graph()
    height, width = frames[0].shape[:2]
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat(pix_fmt), time_base=Fraction(1, 30)
    )
    mark, sink = graph.add("setfield", field), graph.add("buffersink")
    source.link_to(mark)
    mark.link_to(sink)
    graph.configure()
    for i, picture in enumerate(pictures):
        picture.pts, picture.time_base = i, Fraction(1, 30)
        graph.vpush(picture)
        yield graph.vpull()


def _add_sound(container, seconds: float):
    if not seconds:
        return None
    return container.add_stream("aac", rate=48000)


def _write_sound(container, stream, seconds: float) -> None:
    samples = round(48000 * seconds)
    for at in range(0, samples, 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 48000, at
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


@contextmanager
def copied(source: Path, target: Path, **settings):
    """Both containers and the target's stream, into which packets are to be copied as they are."""
    with av.open(str(source)) as old, av.open(str(target), "w", **settings) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        yield old, new, stream


def recontain(source: Path, target: Path, shift: int = 0, matrix=None, **settings) -> Path:
    """The same packets in another container.

    Args:
        shift: frames by which all come later; earlier ones than 0 are hidden by an edit list.
        matrix: display matrix of the stream, nine integers."""
    with copied(source, target, **settings) as (old, new, stream):
        first = old.streams.video[0]
        if matrix is not None:
            stream.set_display_matrix(matrix)
        ticks = round(shift / first.average_rate / first.time_base)
        for packet in old.demux(first):
            if packet.dts is None:
                continue
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = stream
            new.mux(packet)
    return target
