"""Real pixels made harder: the picture cut off below the knees, a patch pasted over limbs.

Where to cut and to paste follows from the triangulated truth, so it is the same everywhere. Only
pixels change: the camera stays, since cutting off the bottom does not move the principal point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from semtta.geometry import Camera, project
from semtta.skeletons import LIMB12
from semtta.video import probe, read_frames, write_video

_KNEES = LIMB12.indices(["left_knee", "right_knee"])
_MARGIN = 0.06  # of the person's height around the limbs that a patch covers


@dataclass(frozen=True)
class Patch:
    """What is pasted over a clip.

    Args:
        joints: of LIMB12, whose place in the middle third of the clip it covers.
        moves: whether it crosses the picture, or stays.
    """

    joints: tuple[str, ...]
    moves: bool


_BOTH_LEGS = ("left_knee", "right_knee", "left_ankle", "right_ankle")
PATCHES = (  # camera by camera
    Patch(_BOTH_LEGS, moves=True),
    Patch(("left_elbow", "left_wrist"), moves=False),
    Patch(_BOTH_LEGS, moves=False),
    Patch(("right_elbow", "right_wrist"), moves=True),
)


def pixels(joints: Tensor, camera: Camera) -> Tensor:
    """(T, 12, 3) metres, camera frame -> (T, 12, 2) pixels."""
    return project(joints, camera.focal, joints.new_tensor(camera.center))


def cut_row(joints: Tensor, camera: Camera) -> int:
    """First row of the picture that is cut away, below three quarters of the knees' positions."""
    row = float(pixels(joints, camera)[:, _KNEES, 1].quantile(0.75))
    return 2 * round(row / 2)  # video codecs want even sizes


def below(joints: Tensor, camera: Camera, row: int) -> Tensor:
    """(T, 12) bool: the joint is on a row that was cut away."""
    return pixels(joints, camera)[..., 1] > row - 0.5


def patch_boxes(joints: Tensor, camera: Camera, patch: Patch) -> np.ndarray:
    """(T, 4) int x0 y0 x1 y1: pixels x0 <= x < x1, y0 <= y < y1 are pasted over."""
    points = pixels(joints, camera)
    frames = len(points)
    height = float((points[..., 1].amax(1) - points[..., 1].amin(1)).median())
    middle = points[frames // 3 : max(frames // 3 + 1, 2 * frames // 3)]
    limbs = middle[:, LIMB12.indices(patch.joints)].flatten(0, 1)
    low, high = limbs.amin(0) - _MARGIN * height, limbs.amax(0) + _MARGIN * height
    boxes = torch.cat((low, high)).expand(frames, 4).clone()
    if patch.moves:
        # from one side of its place to the other: its width on each side, at constant speed
        shift = torch.linspace(-1, 1, frames) * float(high[0] - low[0])
        boxes[:, [0, 2]] += shift[:, None]
    return boxes.round().int().numpy()


def inside(joints: Tensor, camera: Camera, boxes: np.ndarray) -> Tensor:
    """(T, 12) bool: the joint is on a pixel that was pasted over."""
    points, edges = pixels(joints, camera), torch.from_numpy(boxes)[:, None].float() - 0.5
    return ((points >= edges[..., :2]) & (points < edges[..., 2:])).all(-1)


def cut(frames: Iterator[np.ndarray], row: int) -> Iterator[np.ndarray]:
    """Frames without the rows from ``row`` on."""
    for frame in frames:
        yield np.ascontiguousarray(frame[:row])


def paste(frames: Iterator[np.ndarray], boxes: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Frames with a textured grey patch; the texture moves with it."""
    texture = _texture(boxes, seed)
    for frame, (x0, y0, x1, y1) in zip(frames, boxes, strict=True):
        frame = frame.copy()
        height, width = frame.shape[:2]
        left, top = max(0, x0), max(0, y0)
        right, bottom = min(width, x1), min(height, y1)
        if left < right and top < bottom:
            part = texture[top - y0 : bottom - y0, left - x0 : right - x0]
            frame[top:bottom, left:right] = part
        yield frame


def _texture(boxes: np.ndarray, seed: int) -> np.ndarray:
    """(H, W, 3) uint8 cloudy grey, as large as the largest box."""
    size = (boxes[:, 2:] - boxes[:, :2]).max(0)
    noise = np.random.default_rng(seed).normal(0, 1, (9, 9, 1)).astype(np.float32)
    clouds = cv2.resize(noise, (int(size[0]), int(size[1])), interpolation=cv2.INTER_CUBIC)
    grey = np.clip(128 + 30 * clouds, 0, 255)[..., None] + np.array([6, 0, -6])
    return np.clip(grey, 0, 255).astype(np.uint8)


def edited_video(source: Path, target: Path, edit) -> Path:
    """Write a clip anew with each frame edited; whole or not at all.

    Args:
        edit: takes an iterator of (H, W, 3) uint8 RGB frames, yields edited ones of one size."""
    fps = probe(source).fps
    edited = edit(image for _, _, image in read_frames(source))
    first = next(edited)

    def frames() -> Iterator[np.ndarray]:
        yield first
        yield from edited

    return write_video(target, frames(), fps, (first.shape[1], first.shape[0]))
