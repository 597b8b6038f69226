"""Videos and folders of images alike: describe them, read them, tell them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from semtta.errors import SemttaError
from semtta.reading import check_file, reading
from semtta.shipped import file_sha256
from semtta.video.cut import cut_frames
from semtta.video.decode import file_frames, file_info
from semtta.video.images import check_one_series, image_frames, image_info, list_images
from semtta.video.info import (
    DEFAULT_FPS,
    ImageSequence,
    Note,
    VideoCut,
    VideoInfo,
    VideoSource,
    Wanted,
    check_rate,
    every_frame,
)
from semtta.video.memory import FramesInMemory
from semtta.video.opening import existing


def probe(path: VideoSource | FramesInMemory) -> VideoInfo:
    """Open a video or a folder of images, decode the first frame and describe it.

    Raises ``SemttaError`` for a missing, empty, cut or unreadable file, a folder without images,
    or a range that lies outside the video."""
    if isinstance(path, FramesInMemory):
        return path.info()
    source = _source(path)
    if isinstance(source, VideoCut):
        return _within(source, probe(source.whole))
    if isinstance(source, Path):
        return file_info(source)
    info = image_info(source)
    if isinstance(path, ImageSequence):
        return info
    note = f"'{info.path.name}' holds images, taken as {info.fps:g} frames a second; --fps says "
    return replace(info, notes=(*info.notes, f"{note}otherwise."))


def _within(cut: VideoCut, info: VideoInfo) -> VideoInfo:
    """The video of a cut. Where it makes no claim that the cut lies within, it is read: a claim
    may be wrong, and nobody wants to wait for half a video to hear of it."""
    frames = info.frames
    if frames is None or cut.lies_past(frames, frames / info.fps):
        times = [seconds for _, seconds, _ in _all_frames(cut.whole, wanted=lambda i, t: False)]
        frames, duration = len(times), times[-1] + 1 / info.fps
        if cut.lies_past(frames, duration):
            raise cut.outside(frames, duration)
    return replace(info, frames=frames, cut=cut)


def read_frames(
    path: VideoSource | FramesInMemory,
    note: Note = lambda text: None,
    size: tuple[int, int] | None = None,
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Frames in order, never seeking (seeking is off by one in many variable-rate files).

    Args:
        path: a video file, a folder of images (see :func:`list_images`), a sequence of them,
            frames in memory, or a cut (see :func:`cut_video`), of which only its own frames are
            handed out.
        note: told what only reading shows, such as a video that ends earlier than announced; what
            is known before stands in ``probe(path).notes``.
        size: width and height that the images are shrunk to on the way, which costs less than to
            shrink them afterwards; None = the video's.

    Yields:
        index from 0, presentation time in seconds after the first frame (strictly increasing; where
        the file's own times are broken, the last good one plus 1/fps), RGB image (H, W, 3) uint8.

    Raises ``SemttaError`` for a file that is missing, not a video, cut off or damaged, and for an
    image that cannot be read.
    """
    for index, seconds, image in read_through(path, note, size):
        if image is not None:
            yield index, seconds, image


def read_through(
    path: VideoSource | FramesInMemory,
    note: Note = lambda text: None,
    size: tuple[int, int] | None = None,
) -> Iterator[tuple[int, float, np.ndarray | None]]:
    """As :func:`read_frames`, with the frames before the start of a cut, as None."""
    if isinstance(path, FramesInMemory):
        assert size is None, "only files are shown, and read for that"
        return path.read()
    source = _source(path)
    if not isinstance(source, VideoCut):
        return _all_frames(source, note, size=size)
    fps = probe(source).fps
    return cut_frames(source, fps, lambda wanted: _all_frames(source.whole, note, wanted, size))


def _all_frames(
    path: str | Path | ImageSequence,
    note: Note = lambda text: None,
    wanted: Wanted = every_frame,
    size: tuple[int, int] | None = None,
) -> Iterator[tuple[int, float, np.ndarray | None]]:
    source = _source(path)
    if isinstance(source, Path):
        return file_frames(source, note, wanted, size)
    assert isinstance(source, ImageSequence)  # no cut of a cut
    return image_frames(source, wanted, size)


def open_images(path: str | Path, fps: float | None) -> Path | ImageSequence:
    """A video as ``probe`` and ``read_frames`` take it, a folder of images with its frame rate.

    Args:
        fps: of a folder of images, None = 30; raises ``SemttaError`` where a file knows its own."""
    if fps is None:
        return Path(path)
    check_rate(fps, path)
    source = _source(path, fps)
    if not isinstance(source, ImageSequence):
        existing(path)
        raise SemttaError(
            f"'{path}' is a video file and has its own frame times; --fps is for folders of images."
        )
    return source


def video_hash(path: VideoSource) -> str:
    """SHA-256 of the file, hexadecimal; of a folder, of its images' names and sizes. That of a cut
    is the whole video's."""
    source = _source(path.whole if isinstance(path, VideoCut) else path)
    assert not isinstance(source, VideoCut)
    if isinstance(source, Path):
        return file_sha256(existing(source))
    files = [source.folder / name for name in source.names if name is not None]
    lines = [f"{file.name} {file.stat().st_size if file.exists() else 0}" for file in files]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def content_hash(path: VideoSource) -> str:
    """SHA-256 of everything that a reader of this video sees, hexadecimal.

    Of a file it is the file's; of a folder that of all its images, their order and frame rate;
    of a cut also its range.
    Raises ``SemttaError`` for what is missing or cannot be read."""
    source = _source(path)
    if isinstance(source, VideoCut):
        text = f"{content_hash(source.whole)} {source.start} {source.end}"
        return hashlib.sha256(text.encode()).hexdigest()
    if isinstance(source, Path):
        with reading(source, "video"):
            return file_sha256(existing(source))
    digest = hashlib.sha256(repr(source.fps).encode())
    for name in source.names:
        said = ""
        if name is not None:
            image = check_file(source.folder / name, "image")
            with reading(image, "image"):
                said = f"{name} {file_sha256(image)}"
        digest.update(f"{said}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _source(video: VideoSource, fps: float = DEFAULT_FPS) -> Path | ImageSequence | VideoCut:
    """The path of a video file, or the images of a folder."""
    if isinstance(video, (ImageSequence, VideoCut)):
        return video
    if not Path(video).is_dir():
        return Path(video)
    names = [image.name for image in list_images(video)]
    check_one_series(video, names)
    return ImageSequence(Path(video), tuple(names), fps)
