"""A picture of renders, the last row of each kind with its labels.

    python tools/draw_renders.py bodies.jpg
    python tools/draw_renders.py hands.jpg --hands

Bodies: green is left, red is right. Hands: a colour for each finger, two rows of each style.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from semtta.body import load_body
from semtta.pose2d.skeletons import BODY16, HAND21, GroupedSkeleton
from semtta.pose2d.synth import render_people
from semtta.pose2d.synth_hand import STYLES, render_hands

_GREEN, _RED, _YELLOW = (40, 220, 40), (235, 60, 50), (240, 200, 40)
_FINGERS = {"thumb": _RED, "index": _YELLOW, "middle": _GREEN, "ring": (60, 150, 255),
            "little": (220, 80, 230)}  # fmt: skip


def bodies_sheet(path: Path, rows: int = 3, columns: int = 8, size: int = 128) -> Path:
    """Bodies, the last row with its labels."""
    renders = list(render_people(rows * columns, 7, size, load_body("cc0")))
    plain, last = renders[:-columns], renders[-columns:]
    tiles = [zoomed(r.image) for r in plain]
    tiles += [drawn(r.image, torch.from_numpy(r.xy), BODY16) for r in last]
    return _write(path, tiles, columns)


def hands_sheet(path: Path, columns: int = 8, size: int = 96) -> Path:
    """Hands: two rows of each style, the second one with its labels."""
    tiles = []
    for style in STYLES:
        renders = list(render_hands(2 * columns, 7, size, style))
        tiles += [zoomed(r.image) for r in renders[:columns]]
        tiles += [drawn(r.image, torch.from_numpy(r.xy), HAND21) for r in renders[columns:]]
    return _write(path, tiles, columns)


def zoomed(image: np.ndarray, zoom: int = 2) -> np.ndarray:
    """(H, W, 3) -> twice as large."""
    return cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)


def drawn(image: np.ndarray, found: torch.Tensor, skeleton: GroupedSkeleton, zoom: int = 2):
    """(H, W, 3) with the edges of (K, 2) keypoints in pixels."""
    image = zoomed(image, zoom)
    dots = (found.numpy() * zoom).round().astype(int)
    for a, b in skeleton.edge_indices():
        colour = _colour(skeleton.joints[a] + " " + skeleton.joints[b])
        cv2.line(image, tuple(map(int, dots[a])), tuple(map(int, dots[b])), colour, 2, cv2.LINE_AA)
    return image


def _colour(names: str) -> tuple[int, int, int]:
    if "left" in names or "right" in names:
        return _GREEN if "left" in names else _RED
    return next((colour for finger, colour in _FINGERS.items() if finger in names), _YELLOW)


def _write(path: Path, tiles: list[np.ndarray], columns: int) -> Path:
    lines = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), np.vstack(lines)[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 70))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--hands", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"drawn: {(hands_sheet if options.hands else bodies_sheet)(options.file)}")


if __name__ == "__main__":
    main()
