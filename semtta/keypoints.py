"""2D evidence and tracks: the only seam between detectors and adaptation.

Pixels, boxes, joint orders and times: ``docs/conventions.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.skeletons import Skeleton


@dataclass(frozen=True)
class Keypoints2D:
    """2D joints of one person over T frames.

    Args:
        xy: (T, J, 2) image pixels, origin at the centre of the top-left pixel.
        conf: (T, J) in [0, 1]; 0 means missing, and the xy beside it means nothing.
        skeleton: names of the J joints.
    """

    xy: Tensor
    conf: Tensor
    skeleton: Skeleton

    def __post_init__(self):
        frames, joints = self.conf.shape
        if len(self.skeleton) != joints or self.xy.shape != (frames, joints, 2):
            raise SemttaError(
                f"keypoints of shape {tuple(self.xy.shape)} with confidences "
                f"{tuple(self.conf.shape)} do not fit skeleton '{self.skeleton.name}' "
                f"({len(self.skeleton)} joints)."
            )
        if not torch.isfinite(self.xy).all() or not torch.isfinite(self.conf).all():
            raise SemttaError(
                "keypoints contain NaN or infinite numbers; mark a missing joint by confidence 0."
            )
        if self.conf.numel() and (self.conf.min() < 0 or self.conf.max() > 1):
            raise SemttaError("keypoint confidences must lie between 0 and 1.")

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, frames) -> Keypoints2D:
        return replace(self, xy=self.xy[frames], conf=self.conf[frames])

    def to_skeleton(self, target: Skeleton) -> Keypoints2D:
        """The same evidence in another skeleton, by joint name; joints it lacks are missing.

        Neck and mid hip are filled with the midpoint of shoulders and hips where the source has
        no such joint (OpenPose's own definition), with the smaller of the two confidences.
        """
        xy = self.xy.new_zeros(len(self), len(target), 2)
        conf = self.conf.new_zeros(len(self), len(target))
        midpoints = {"neck": "shoulder", "mid_hip": "hip"}
        for j, name in enumerate(target.joints):
            if name in self.skeleton:
                i = self.skeleton.index(name)
                xy[:, j], conf[:, j] = self.xy[:, i], self.conf[:, i]
            elif name in midpoints and f"left_{midpoints[name]}" in self.skeleton:
                pair = self.skeleton.indices([f"{s}_{midpoints[name]}" for s in ("left", "right")])
                xy[:, j] = self.xy[:, pair].mean(1)
                conf[:, j] = self.conf[:, pair].amin(1)
        return Keypoints2D(xy, conf, target)


@dataclass(frozen=True)
class Track:
    """One person through one video.

    Args:
        id: number of the person, from 1.
        frames: (T,) frame indices in the video, strictly increasing, gaps allowed.
        times: (T,) seconds, true presentation times.
        boxes: (T, 4) x0 y0 x1 y1, pixels.
        keypoints: 2D evidence.
        landmarks3d: (T, J, 3) the detector's own 3D guess for the same joints, metres, centred
            between the hips, in the axes of a camera that looks at the middle of the person's box
            (x right, y down, z forward): a detector sees only its crop. None if it has none.
            Where ``conf3d`` is 0 the numbers mean nothing.
        conf3d: (T, J) in [0, 1].
    """

    id: int
    frames: Tensor
    times: Tensor
    boxes: Tensor
    keypoints: Keypoints2D
    landmarks3d: Tensor | None = None
    conf3d: Tensor | None = None

    def __post_init__(self):
        count = len(self.frames)
        if count == 0:
            raise SemttaError(f"track {self.id} has no frames.")
        if (self.frames.diff() <= 0).any():
            raise SemttaError(f"track {self.id}: frame indices must increase.")
        shapes = (len(self.times), len(self.boxes), len(self.keypoints))
        if any(n != count for n in shapes):
            raise SemttaError(f"track {self.id}: {count} frames but {shapes} times, boxes, poses.")
        if not torch.isfinite(self.boxes).all() or (self.boxes[:, 2:] <= self.boxes[:, :2]).any():
            raise SemttaError(f"track {self.id}: boxes must be finite with x0 < x1 and y0 < y1.")

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, rows: Tensor) -> Track:
        """The same person in some of the frames only, (N,) rows."""

        def chosen(x: Tensor | None) -> Tensor | None:
            return None if x is None else x[rows]

        return Track(
            self.id, self.frames[rows], self.times[rows], self.boxes[rows], self.keypoints[rows],
            chosen(self.landmarks3d), chosen(self.conf3d),
        )  # fmt: skip

    def to(self, device: torch.device) -> Track:
        """Pixels and landmarks on the device; frame numbers and times stay on the CPU.

        They become float32, and usable for learning if they were made in ``inference_mode``."""

        def move(x: Tensor) -> Tensor:
            x = x.to(device, torch.float32)
            return x.clone() if x.is_inference() else x

        def move_if(x: Tensor | None) -> Tensor | None:
            return None if x is None else move(x)

        points = self.keypoints
        return Track(
            self.id, self.frames.cpu(), self.times.cpu(), move(self.boxes),
            replace(points, xy=move(points.xy), conf=move(points.conf)),
            move_if(self.landmarks3d), move_if(self.conf3d),
        )  # fmt: skip
