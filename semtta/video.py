"""Video in and out: sequential frames with true times, and mp4 files that are whole or absent.

A folder of images is a video too: its images in the order of their names, at 30 frames a second.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.shipped import file_sha256

_DEFAULT_FPS = 30.0
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True)
class VideoInfo:
    """What a video file, or a folder of images, says about itself.

    Args:
        path: the file or folder.
        width, height: pixels, after the file's rotation tag was applied.
        fps: mean frame rate; 30 where the file gives none.
        frames: number of frames by the container's claim, None where it makes none. Only
            reading tells the truth.
    """

    path: Path
    width: int
    height: int
    fps: float
    frames: int | None


@dataclass(frozen=True)
class ImageSequence:
    """Images as a video. Wherever the path of a video is read, this may stand instead.

    Args:
        folder: where they are.
        names: file name of every frame, None for a dropped one: read as black.
        fps: frame rate.
    """

    folder: Path
    names: tuple[str | None, ...]
    fps: float = _DEFAULT_FPS

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)


def probe(path: str | Path | ImageSequence) -> VideoInfo:
    """Open a video or a folder of images, decode the first frame and describe it.

    Raises ``SemttaError`` for a missing, empty or unreadable file, or a folder without images.
    """
    images = _as_images(path)
    if images is not None:
        first = next((name for name in images.names if name is not None), None)
        if first is None:
            raise SemttaError(f"'{images}': not one of {len(images.names)} frames has an image.")
        height, width = read_image(images.folder / first).shape[:2]
        return VideoInfo(images.folder, width, height, images.fps, len(images.names))
    capture = _open(path)
    try:
        ok, frame = capture.read()
        if not ok:
            raise SemttaError(_no_frames(path))
        return _describe(capture, Path(path), frame)
    finally:
        capture.release()


def read_frames(path: str | Path | ImageSequence) -> Iterator[tuple[int, float, np.ndarray]]:
    """Frames in order, never seeking (seeking is off by one in many variable-rate files).

    Args:
        path: a video file, a folder of images (see :func:`list_images`) or a sequence of them.

    Yields:
        index from 0, presentation time in seconds (strictly increasing; where the file's own
        times are broken, the last good one plus 1/fps), RGB image (H, W, 3) uint8.

    Raises ``SemttaError`` for a file that is missing, not a video, or ends long before its own
    header says it should, and for an image that cannot be read.
    """
    images = _as_images(path)
    if images is not None:
        yield from _read_images(images)
        return
    capture = _open(path)
    try:
        info, previous, count = None, None, 0
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            if info is None:
                info = _describe(capture, Path(path), frame)
            _check_size(info, frame, f"frame {count}")
            seconds = next_time(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, previous, info.fps)
            yield count, seconds, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            previous, count = seconds, count + 1
        if info is None:
            raise SemttaError(_no_frames(path))
        _check_complete(info, count, previous)
    finally:
        capture.release()


def list_images(folder: str | Path) -> list[Path]:
    """Images of a folder in the order of their names, numbers by value (2 before 10).

    Raises ``SemttaError`` if there is none."""
    found = [
        path
        for path in Path(folder).iterdir()
        if path.suffix.lower() in _IMAGE_ENDINGS and not path.name.startswith(".")
    ]
    if not found:
        raise SemttaError(
            f"the folder '{folder}' holds no images ({', '.join(_IMAGE_ENDINGS)}); give a video "
            "file or a folder of its frames."
        )

    def by_name(path: Path) -> list:
        parts = re.split(r"([0-9]+)", path.name.lower())
        return [int(part) if i % 2 else part for i, part in enumerate(parts)]

    return sorted(found, key=by_name)


def frame_names(video: str | Path | ImageSequence) -> tuple[str | None, ...] | None:
    """File name of every frame of a folder of images; None for a video file."""
    images = _as_images(video)
    return None if images is None else images.names


def _as_images(video: str | Path | ImageSequence) -> ImageSequence | None:
    """The images of a folder; None for a video file."""
    if isinstance(video, ImageSequence) or not Path(video).is_dir():
        return video if isinstance(video, ImageSequence) else None
    return ImageSequence(Path(video), tuple(image.name for image in list_images(video)))


def _read_images(images: ImageSequence) -> Iterator[tuple[int, float, np.ndarray]]:
    info = probe(images)
    black = np.zeros((info.height, info.width, 3), np.uint8)
    for count, name in enumerate(images.names):
        frame = black
        if name is not None:
            frame = read_image(images.folder / name)
            _check_size(info, frame, f"image '{name}'")
        yield count, count / info.fps, frame


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB; raises ``SemttaError`` naming the file."""
    try:  # not cv2.imread: it cannot open every name on every system
        data = np.fromfile(path, np.uint8)
        frame = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except (OSError, cv2.error):
        frame = None
    if frame is None:
        raise SemttaError(f"the image '{path}' cannot be read; it is missing, damaged or cut off.")
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _check_size(info: VideoInfo, frame: np.ndarray, where: str) -> None:
    if frame.shape[:2] != (info.height, info.width):
        raise SemttaError(
            f"'{info.path}' changes its picture size at {where}; re-encode it with one size."
        )


def next_time(stamp: float, previous: float | None, fps: float) -> float:
    """The stamp of a frame in seconds, or the previous time plus 1/fps if it is unusable."""
    if math.isfinite(stamp) and stamp >= 0 and (previous is None or stamp > previous):
        return stamp
    return 0.0 if previous is None else previous + 1 / fps


def video_hash(path: str | Path | ImageSequence) -> str:
    """SHA-256 of the file, hexadecimal; of a folder, of its images' names and sizes."""
    images = _as_images(path)
    if images is not None:
        files = [images.folder / name for name in images.names if name is not None]
        lines = [f"{file.name} {file.stat().st_size if file.exists() else 0}" for file in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return file_sha256(_existing(path))


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], fps: float, size: tuple[int, int]
) -> Path:
    """Write RGB frames as an mp4 file.

    The file appears under its name only when all frames were written.

    Args:
        path: target, ending in .mp4; folders are made as needed.
        frames: (H, W, 3) uint8 RGB images.
        fps: frame rate.
        size: width, height of every frame.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise SemttaError(f"'{path}': videos are written as .mp4; change the name's ending.")
    if not (math.isfinite(fps) and fps > 0):
        raise SemttaError(f"'{path}': a video cannot have {fps} frames per second.")
    with whole_file(path) as temporary:
        _write_frames(temporary, path, frames, fps, size)
    return path


def _write_frames(temporary: Path, path: Path, frames, fps: float, size: tuple[int, int]) -> None:
    # Two decimals: mpeg4's clock has 16 bits, which 119.8801198 would overflow.
    codec = cv2.VideoWriter_fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(temporary), codec, round(fps, 2), size)
    if not writer.isOpened():
        raise SemttaError(f"cannot write a video to '{path}'; is the folder writable?")
    count = 0
    try:
        for count, frame in enumerate(frames, 1):
            if frame.shape != (size[1], size[0], 3) or frame.dtype != np.uint8:
                raise SemttaError(
                    f"frame {count - 1} for '{path}' is {frame.shape} {frame.dtype}, expected "
                    f"({size[1]}, {size[0]}, 3) uint8."
                )
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
    if count == 0:
        raise SemttaError(f"no frames to write to '{path}'.")


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise SemttaError(f"video '{path}' does not exist.")
    if path.stat().st_size == 0:
        raise SemttaError(f"video '{path}' is empty (0 bytes).")
    return path


def _open(path: str | Path) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(_existing(path)))
    if not capture.isOpened():
        capture.release()
        raise SemttaError(
            f"'{path}' cannot be opened as a video; it is damaged, cut off or of another kind."
        )
    return capture


def _no_frames(path) -> str:
    return f"no frame of '{path}' can be decoded; it is damaged, cut off or not a video."


def _describe(capture: cv2.VideoCapture, path: Path, frame: np.ndarray) -> VideoInfo:
    fps = capture.get(cv2.CAP_PROP_FPS)
    if not (math.isfinite(fps) and 0 < fps <= 1000):
        fps = _DEFAULT_FPS
    frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    claimed = int(frames) if math.isfinite(frames) and frames > 0 else None
    return VideoInfo(path, frame.shape[1], frame.shape[0], fps, claimed)


def _check_complete(info: VideoInfo, count: int, last: float) -> None:
    """A cut file has fewer frames *and* ends earlier than announced; a variable frame rate alone
    makes the announced number a bad estimate, but not the duration."""
    if info.frames is None:
        return
    if count < 0.9 * info.frames - 1 and last < 0.9 * info.frames / info.fps - 1 / info.fps:
        raise SemttaError(
            f"'{info.path}' ends after {count} of {info.frames} frames; the file is cut off or "
            "damaged."
        )
