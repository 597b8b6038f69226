"""Still images as frames: folders in the order of their numbers, and files read safely."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from semtta.errors import SemttaError
from semtta.reading import MEBI, check_file
from semtta.video.image_headers import image_size, is_whole
from semtta.video.info import (
    IMAGE_LIMIT,
    ImageSequence,
    VideoInfo,
    Wanted,
    check_pixels,
    check_rate,
    check_size,
    every_frame,
)

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_FILE_LIMIT = 512 * MEBI
_DIGITS = re.compile(r"([0-9]+)")


def list_images(folder: str | Path) -> list[Path]:
    """Images of a folder in the order of their names, numbers by value (2 before 10).

    Raises ``SemttaError`` if there is none."""
    try:
        found = [
            path
            for path in Path(folder).iterdir()
            if path.suffix.lower() in _ENDINGS and not path.name.startswith(".")
        ]
    except OSError as error:
        raise SemttaError(f"the folder '{folder}' cannot be read: {error.strerror}.") from None
    if not found:
        raise SemttaError(
            f"the folder '{folder}' holds no images ({', '.join(_ENDINGS)}); give a video "
            "file or a folder of its frames."
        )

    def by_name(path: Path) -> tuple:
        parts = _DIGITS.split(path.name.lower())
        return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name

    return sorted(found, key=by_name)


def check_one_series(folder: str | Path, names: Sequence[str]) -> None:
    """Raise ``SemttaError`` if the images of a folder are not the frames of one video.

    Two images of the same number (``000001.jpg`` beside ``000001_rendered.png``, left beside
    right), or one without a number beside numbered ones, would be taken for frames of their own."""
    series: dict[str, list[str]] = {}
    for name in names:
        series.setdefault(_DIGITS.sub("#", name.lower()), []).append(name)
    if len(series) == 1:
        return
    first: dict[int | None, tuple[str, str]] = {}  # number -> the series and image that has it
    for pattern, members in series.items():
        for number, name in zip(_frame_numbers(members), members):
            other, its = first.setdefault(number, (pattern, name))
            if other != pattern and number is not None:
                _refuse(folder, its, name)
    if None in first and len(first) > 1:
        _refuse(folder, first[next(n for n in first if n is not None)][1], first[None][1])


def _frame_numbers(members: Sequence[str]) -> list[int | None]:
    """The number of every image of one series: the one that changes most, the last if several."""
    rows = [[int(digits) for digits in _DIGITS.findall(_stem(name))] for name in members]
    columns = list(zip(*rows))
    if not columns:
        return [None] * len(members)
    best = max(range(len(columns)), key=lambda k: (len(set(columns[k])), k))
    return list(columns[best])


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _refuse(folder: str | Path, one: str, other: str) -> None:
    raise SemttaError(
        f"the folder '{folder}' holds two series of images, such as '{one}' and '{other}'; move "
        "one of them to a folder of its own."
    )


def read_image(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned as its EXIF orientation says, without transparency.

    Raises ``SemttaError`` naming the file."""
    path = check_file(path, "image", _FILE_LIMIT)
    frame = None
    try:  # not cv2.imread: it cannot open every name on every system
        data = path.read_bytes()
        size = image_size(data)
        if size is not None and is_whole(data):
            check_pixels(*size, IMAGE_LIMIT, f"the image '{path}'")
            frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        pass
    if frame is None:
        raise SemttaError(
            f"the image '{path}' cannot be read; it is damaged, cut off or of another kind."
        )
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frame)


def image_info(images: ImageSequence) -> VideoInfo:
    """See ``probe``."""
    check_rate(images.fps, images)
    first = next((name for name in images.names if name is not None), None)
    if first is None:
        raise SemttaError(f"'{images}': not one of {len(images.names)} frames has an image.")
    height, width = read_image(images.folder / first).shape[:2]
    frames = len(images.names)
    return VideoInfo(images.folder, width, height, images.fps, frames, images=images)


def image_frames(
    images: ImageSequence, wanted: Wanted = every_frame, size: tuple[int, int] | None = None
) -> Iterator[tuple[int, float, np.ndarray | None]]:
    """See ``read_frames``; frames that are not wanted have no picture."""
    info = image_info(images)
    black = np.zeros((info.height, info.width, 3), np.uint8)
    for count, name in enumerate(images.names):
        seconds = count / info.fps
        if not wanted(count, seconds):
            yield count, seconds, None
            continue
        frame = black
        if name is not None:
            frame = read_image(images.folder / name)
            check_size(info, (frame.shape[1], frame.shape[0]), f"image '{name}'")
        shown = frame if size is None else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        yield count, seconds, np.asarray(shown, np.uint8)
