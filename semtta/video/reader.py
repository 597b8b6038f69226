"""Videos and folders of images alike: describe them, read them, tell them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semtta.errors import SemttaError
from semtta.reading import check_file, reading
from semtta.shipped import file_sha256
from semtta.video.decode import file_frames, file_info
from semtta.video.images import check_one_series, image_frames, image_info, list_images
from semtta.video.info import DEFAULT_FPS, ImageSequence, Note, VideoInfo, check_rate
from semtta.video.opening import existing


def probe(path: str | Path | ImageSequence) -> VideoInfo:
    """Open a video or a folder of images, decode the first frame and describe it.

    Raises ``SemttaError`` for a missing, empty, cut or unreadable file, or a folder without images.
    """
    source = _source(path)
    return file_info(source) if isinstance(source, Path) else image_info(source)


def read_frames(
    path: str | Path | ImageSequence, note: Note = lambda text: None
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Frames in order, never seeking (seeking is off by one in many variable-rate files).

    Args:
        path: a video file, a folder of images (see :func:`list_images`) or a sequence of them.
        note: told what only reading shows, such as a video that ends earlier than announced; what
            is known before stands in ``probe(path).notes``.

    Yields:
        index from 0, presentation time in seconds after the first frame (strictly increasing; where
        the file's own times are broken, the last good one plus 1/fps), RGB image (H, W, 3) uint8.

    Raises ``SemttaError`` for a file that is missing, not a video, cut off or damaged, and for an
    image that cannot be read.
    """
    source = _source(path)
    return file_frames(source, note) if isinstance(source, Path) else image_frames(source)


def open_images(path: str | Path, fps: float | None) -> Path | ImageSequence:
    """A video as ``probe`` and ``read_frames`` take it, a folder of images with its frame rate.

    Args:
        fps: of a folder of images, None = 30; raises ``SemttaError`` where a file knows its own."""
    if fps is None:
        return Path(path)
    check_rate(fps, path)
    source = _source(path, fps)
    if isinstance(source, Path):
        existing(path)
        raise SemttaError(
            f"'{path}' is a video file and has its own frame times; --fps is for folders of images."
        )
    return source


def video_hash(path: str | Path | ImageSequence) -> str:
    """SHA-256 of the file, hexadecimal; of a folder, of its images' names and sizes."""
    source = _source(path)
    if isinstance(source, Path):
        return file_sha256(existing(source))
    files = [source.folder / name for name in source.names if name is not None]
    lines = [f"{file.name} {file.stat().st_size if file.exists() else 0}" for file in files]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def content_hash(path: str | Path | ImageSequence) -> str:
    """SHA-256 of everything that a reader of this video sees, hexadecimal.

    Of a file it is the file's; of a folder that of all its images, their order and frame rate.
    Raises ``SemttaError`` for what is missing or cannot be read."""
    source = _source(path)
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


def _source(video: str | Path | ImageSequence, fps: float = DEFAULT_FPS) -> Path | ImageSequence:
    """The path of a video file, or the images of a folder."""
    if isinstance(video, ImageSequence):
        return video
    if not Path(video).is_dir():
        return Path(video)
    names = [image.name for image in list_images(video)]
    check_one_series(video, names)
    return ImageSequence(Path(video), tuple(names), fps)
