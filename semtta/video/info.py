"""What a video says about itself, and what all readers of videos and images share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semtta.errors import SemttaError

DEFAULT_FPS = 30.0
MAX_FPS = 1000.0
IMAGE_LIMIT = 1 << 26  # pixels of a still image: 8192 x 8192, which takes 192 MiB
FRAME_LIMIT = 36_000_000  # of a frame: 8K; a decoder keeps several of them

# Told in one sentence each what was done to the pictures, or is wrong with the file.
Note = Callable[[str], None]


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
    fps: float = DEFAULT_FPS

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)


@dataclass(frozen=True)
class VideoInfo:
    """What a video file, or a folder of images, says about itself.

    Args:
        path: the file or folder.
        width, height: pixels of the frames that are read: turned as the file's rotation tag says,
            and stretched in width until pixels are square.
        fps: mean frame rate; 30 where the file gives none.
        frames: number of frames by the container's claim, None where it makes none. Only
            reading tells the truth.
        notes: a sentence each on what is done to the pictures before they are handed out, and on
            what is unusual about the file.
        images: the sequence, where the frames are images.
    """

    path: Path
    width: int
    height: int
    fps: float
    frames: int | None
    notes: tuple[str, ...] = ()
    images: ImageSequence | None = None

    @property
    def source(self) -> Path | ImageSequence:
        """What ``read_frames`` takes to read these frames."""
        return self.images or self.path


def next_time(stamp: float, previous: float | None, fps: float) -> float:
    """The stamp of a frame in seconds, or the previous time plus 1/fps if it is unusable."""
    if math.isfinite(stamp) and stamp >= 0 and (previous is None or stamp > previous):
        return stamp
    return 0.0 if previous is None else previous + 1 / fps


def check_rate(fps: float, where: object) -> None:
    """Raise ``SemttaError`` for a frame rate that no video has."""
    if not (math.isfinite(fps) and 0 < fps <= MAX_FPS):
        raise SemttaError(
            f"'{where}': a video cannot have {fps:g} frames per second; give a number above 0 and "
            f"up to {MAX_FPS:g}."
        )


def check_pixels(width: int, height: int, limit: int, where: str) -> None:
    """Raise ``SemttaError`` for a picture that would take too much memory."""
    if width * height > limit:
        raise SemttaError(
            f"{where} has {width} x {height} pixels; more than {limit / 1e6:.0f} million are "
            "not read; make it smaller."
        )


def check_size(info: VideoInfo, frame: np.ndarray, where: str) -> None:
    """Raise ``SemttaError`` for a frame of another size than the first."""
    if frame.shape[:2] != (info.height, info.width):
        raise SemttaError(
            f"'{info.path}' changes its picture size at {where}; re-encode it with one size."
        )
