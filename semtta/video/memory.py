"""Pictures that are in memory already, as a video: what a camera has just seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semtta.errors import SemttaError
from semtta.video.info import FRAME_LIMIT, VideoInfo, check_pixels


@dataclass(frozen=True)
class FramesInMemory:
    """Consecutive frames. Wherever frames are read, this may stand instead of a path.

    Args:
        times: seconds of each, increasing.
        images: (H, W, 3) uint8 RGB, all of one size.
        fps: frame rate.
    """

    times: tuple[float, ...]
    images: tuple[np.ndarray, ...]
    fps: float

    def __str__(self) -> str:
        return "frames in memory"

    def info(self) -> VideoInfo:
        """What a file would say about itself."""
        height, width = self.images[0].shape[:2]
        return VideoInfo(Path(str(self)), width, height, self.fps, len(self.images))

    def read(self) -> Iterator[tuple[int, float, np.ndarray]]:
        """As ``read_frames`` does: index from 0, seconds, image."""
        yield from zip(range(len(self.times)), self.times, self.images, strict=True)


def check_image(image: object, like: np.ndarray | None, where: str) -> np.ndarray:
    """The picture; raises ``SemttaError`` for what is none, or of another size than the others.

    Args:
        like: one of the others; None = it is the first.
        where: which frame, for the sentence."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        raise SemttaError(f"{where} is no picture: an array (height, width, 3) of uint8, RGB.")
    if image.shape[2] != 3 or 0 in image.shape:
        raise SemttaError(f"{where} has the shape {image.shape}, not (height, width, 3).")
    if like is not None and image.shape != like.shape:
        raise SemttaError(f"{where} has another size than the frames before it.")
    check_pixels(image.shape[1], image.shape[0], FRAME_LIMIT, where)
    return image
