"""How the pictures of an overlay are laid out: sizes, one frame of them, the contact sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from semtta.errors import SemttaError
from semtta.files import whole_file

LAYOUTS = ("side", "wipe", "adapted")
_LONG_SIDE = 1280  # pixels of one picture, unless a scale is given
_SMALLEST = 0.1
_SWEEP = 4.0  # seconds in which the line of a wipe goes to and fro
_REACH = 0.42  # how far it goes from the middle, in widths
_CELL = 360  # longest side of a picture of the contact sheet, pixels
_CELLS = 6
_SHEET_LIMIT = 300_000  # bytes
_QUALITIES = (85, 75, 60, 40, 20, 5)


@dataclass(frozen=True)
class OverlayOptions:
    """What ``overlay.mp4`` looks like.

    Args:
        scale: size of each picture, 0.1 to 1 of the video's; None = the long side has at most
            1280 pixels.
        layout: ``side``: all pictures side by side; ``wipe``: one picture, the first one left of a
            line that goes to and fro and the last one right of it; ``adapted``: the last one.

    Raises ``SemttaError`` for anything else."""

    scale: float | None = None
    layout: str = "side"

    def __post_init__(self):
        if self.scale is not None and not _SMALLEST <= self.scale <= 1:
            raise SemttaError(
                f"the overlay's scale is {self.scale:g}; give a number from {_SMALLEST} to 1."
            )
        if self.layout not in LAYOUTS:
            raise SemttaError(
                f"unknown overlay layout '{self.layout}'; use {', '.join(LAYOUTS[:-1])} or "
                f"{LAYOUTS[-1]}."
            )

    def picture_size(self, width: int, height: int) -> tuple[int, int]:
        """Of each picture of a video of this size, pixels: even where it is made smaller."""
        scale = self.scale or min(1.0, _LONG_SIDE / max(width, height))
        if scale == 1:
            return width, height
        return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))

    def drawn(self, titles: Iterable[str]) -> list[str]:
        """Which pictures are drawn at all."""
        titles = list(dict.fromkeys(titles))
        if self.layout == "wipe":
            return titles[:1] + titles[1:][-1:]
        return titles[-1:] if self.layout == "adapted" else titles

    def frame_size(self, pictures: int, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height of a frame of that many pictures of a size."""
        return (size[0] * pictures if self.layout == "side" else size[0]), size[1]

    def arranged(
        self, pictures: Sequence[np.ndarray], titles: Sequence[str], seconds: float
    ) -> np.ndarray:
        """One frame of drawn pictures, each (H, W, 3) RGB, with their titles in the corners."""
        if self.layout == "wipe" and len(pictures) == 2:
            frame = _wiped(pictures[0], pictures[1], seconds)
            _draw_title(frame, titles[0])
            _draw_title(frame, titles[1], right=True)
            return frame
        frame, width = np.concatenate(pictures, 1), pictures[0].shape[1]
        for i, title in enumerate(titles):
            _draw_title(frame[:, i * width : (i + 1) * width], title)
        return frame


def _wiped(left: np.ndarray, right: np.ndarray, seconds: float) -> np.ndarray:
    """Left of a line the one, right of it the other. It starts in the middle."""
    height, width = left.shape[:2]
    line = round(width * (0.5 + _REACH * math.sin(2 * math.pi * seconds / _SWEEP)))
    frame = right.copy()
    frame[:, :line] = left[:, :line]
    thin = max(1, round(max(height, width) / 640))
    frame[:, max(0, line - thin) : line + thin] = 255
    return frame


def _draw_title(picture: np.ndarray, title: str, right: bool = False) -> None:
    """White text on a darkened box in the top corner. In place."""
    if not title:
        return
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(picture.shape[0], 600) / 1300
    thickness = max(1, round(2 * scale))
    (width, height), descent = cv2.getTextSize(title, font, scale, thickness)
    pad = round(0.6 * height)
    x, y = max(0, picture.shape[1] - width - 3 * pad) if right else pad, pad
    box = picture[y : y + height + descent + pad, x : x + width + 2 * pad]
    box[:] = (box * 0.35).astype(np.uint8)
    origin = (x + pad, y + height + (descent + pad) // 2)
    cv2.putText(picture, title, origin, font, scale, (255, 255, 255), thickness, cv2.LINE_AA)


def sheet_frames(frames: Iterable[int]) -> list[int]:
    """Which of the frames that show people go on the contact sheet: evenly spread."""
    there = sorted(set(frames)) or [0]
    picked = np.linspace(0, len(there) - 1, 2 * _CELLS + 1)[1::2]  # the middles of six parts
    return sorted({there[round(i)] for i in picked})


def sheet_cell(picture: np.ndarray) -> np.ndarray:
    """A picture as small as it is on the contact sheet."""
    height, width = picture.shape[:2]
    scale = min(1.0, _CELL / max(height, width))
    size = tuple(max(1, round(side * scale)) for side in (width, height))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def write_sheet(path: Path, cells: Sequence[np.ndarray]) -> Path:
    """Pictures of one size as one JPEG below 300 kB: upright ones in a row, others in rows of
    three."""
    height, width = cells[0].shape[:2]
    columns = min(len(cells), _CELLS if height > width else _CELLS // 2)
    empty = [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    cells = [*cells, *empty]
    rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
    sheet = np.ascontiguousarray(np.concatenate(rows)[..., ::-1])
    for quality in _QUALITIES:
        data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if data.nbytes < _SHEET_LIMIT:
            break
    with whole_file(path) as temporary:
        temporary.write_bytes(data.tobytes())
    return path
