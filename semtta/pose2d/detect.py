"""An adapted estimator as a source of 2D evidence for a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D, Track
from semtta.pose2d.augment import NO_CHANGE
from semtta.pose2d.checkpoint import load_with_strategy
from semtta.pose2d.clip2pose import Model, estimator_of
from semtta.pose2d.heatmaps import decode
from semtta.pose2d.layouts import square_around
from semtta.pose2d.loop import prepare
from semtta.pose2d.samples import Entry, cut_crop
from semtta.pose2d.unlabelled import BOX_SCALE
from semtta.video import VideoSource, read_frames

_BATCH = 16


def estimate_keypoints(
    model: Model, video: VideoSource, frames: Tensor, boxes: Tensor,
    *, scale: float = BOX_SCALE, progress: Progress = silent,
) -> Keypoints2D:  # fmt: skip
    """Keypoints of one person in some frames of a video.

    Args:
        model: of :func:`load_checkpoint`, on the device to be used.
        video: file or folder; read once.
        frames: (T,) indices of frames, strictly increasing.
        boxes: (T, 4) x0 y0 x1 y1 of the person, image pixels.
        scale: of the square crops around the boxes.

    Returns:
        T frames of the model's joints in image pixels; the confidence is the height of a heat
        map's peak.

    Raises ``SemttaError`` if the video ends before the last frame.
    """
    spec = estimator_of(model).spec
    if len(boxes) != len(frames):
        raise SemttaError(f"{len(boxes)} boxes for {len(frames)} frames.")
    joints, done = len(spec.joints), 0
    xy, height = torch.zeros(len(frames), joints, 2), torch.zeros(len(frames), joints)
    model.eval()
    crops = _crops(video, frames, boxes, spec.size, scale)
    while part := list(islice(crops, _BATCH)):
        rows, images, squares = zip(*part)
        at = list(rows)
        xy[at], height[at] = _run(model, images, squares)
        done += len(part)
        progress("estimator", done, len(frames), {})
    if done < len(frames):
        raise SemttaError(f"'{video}' ends before frame {int(frames[-1])}, up to which boxes are "
                          "given.")  # fmt: skip
    return Keypoints2D(xy, height.clamp(0, 1), spec.joints)


def _crops(
    video: VideoSource, frames: Tensor, boxes: Tensor, size: int, scale: float
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Row of ``frames``, crop (S, S, 3) uint8 and its square (3,), image pixels, of each frame."""
    rows = {int(frame): t for t, frame in enumerate(frames)}
    last = max(rows, default=-1)
    for index, _, image in read_frames(video):
        if index > last:
            return
        if index in rows:
            box = boxes[rows[index]].numpy()
            square = square_around(box[:2], box[2:], scale)
            entry = Entry(image, square, np.zeros((0, 2)), np.zeros(0), name=f"frame {index}")
            yield rows[index], cut_crop(entry, size, NO_CHANGE).image, square


@torch.no_grad()
def _run(
    model: Model, crops: Sequence[np.ndarray], squares: Sequence[np.ndarray]
) -> tuple[Tensor, Tensor]:
    """(B, K, 2) image pixels and (B, K) heights of crops around squares."""
    estimator = estimator_of(model)
    spec = estimator.spec
    images = torch.from_numpy(np.stack(crops))
    cells, height = decode(model(prepare(images, estimator)).float().cpu(), spec.refine)
    pixels = spec.to_pixels(cells)
    around = torch.from_numpy(np.stack(squares)).float()
    scale = around[:, None, 2:] / spec.size
    return (pixels - (spec.size - 1) / 2) * scale + around[:, None, :2], height


def load_body_estimator(checkpoint: str | Path, device: torch.device | str = "cpu") -> Model:
    """A checkpoint that can be evidence of a body; raises ``SemttaError`` for one that cannot."""
    model, strategy = load_with_strategy(checkpoint, device)
    if "left_hip" not in estimator_of(model).spec.joints:
        raise SemttaError(f"'{checkpoint}' finds joints of '{estimator_of(model).spec.skeleton}', "
                          "but a body is to be adapted.")  # fmt: skip
    if strategy == "regda":
        raise SemttaError(f"'{checkpoint}' was adapted by RegDA, whose maps have no height that "
                          "could be a confidence; use another strategy.")  # fmt: skip
    return model


def estimate_track(
    checkpoint: str | Path | Model, video: VideoSource, track: Track,
    device: torch.device | str = "cpu", progress: Progress = silent,
) -> Track:  # fmt: skip
    """A track whose 2D evidence comes from a checkpoint instead of the built-in detector.

    The detector's own 3D guess, which belongs to its joints, is dropped.

    Args:
        checkpoint: a file, or for several tracks what :func:`load_body_estimator` made of it.
        device: of a file's model.

    Raises ``SemttaError`` if the checkpoint is none, or one of hands."""
    if isinstance(checkpoint, (str, Path)):
        checkpoint = load_body_estimator(checkpoint, device)
    keypoints = estimate_keypoints(checkpoint, video, track.frames, track.boxes, progress=progress)
    return replace(track, keypoints=keypoints, landmarks3d=None, conf3d=None)
