"""The open benchmark on real pixels: one man on a balance beam, seen by four cameras.

Clips and calibration come from the BSD-3-Clause package ``pose2sim``; each clip exists clean and
with a rendered person composited in front, who really hides joints. The truth is triangulated
from the four views (error about 17 mm per joint, jackknife), with refined extrinsics.

Printed with every number: one subject, one motion of 1.67 s, four dependent views; the truth and
the built-in 2D detector belong to one family (BlazePose), although the truth uses 2D only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from semtta.bench.metrics import summarise
from semtta.geometry import Camera
from semtta.shipped import asset
from semtta.skeletons import LIMB12
from semtta.tta.result import Motion

PROTOCOL = "beam12: 12 limb joints, detector convention, root = mid hip, every frame"
_HIPS = LIMB12.indices(["left_hip", "right_hip"])


@dataclass(frozen=True)
class BeamTruth:
    """Truth of one clip.

    Args:
        joints: (100, 12, 3) metres, camera frame, LIMB12 order.
        occluded: (100, 12) bool, hidden by the person in front (all False in a clean clip).
        camera: calibrated intrinsics in this clip's pixels.
    """

    joints: Tensor
    occluded: Tensor
    camera: Camera

    def score(self, motion: Motion, body, frames: Tensor) -> dict[str, float | None]:
        """Errors of a motion over the frames (T,) of its track."""
        joints = body.landmarks(motion.rotmats, motion.betas, LIMB12)
        return summarise(joints, self.joints[frames], _HIPS, self.occluded[frames])


@cache
def _file() -> dict[str, np.ndarray]:
    with np.load(asset("demo/beam_truth.npz")) as file:
        return {key: file[key] for key in file.files}


def beam_truth(camera: int, with_occluder: bool) -> BeamTruth:
    """Truth in one camera (0-3), for the clean clip or the one with a person in front."""
    file = _file()
    world = torch.from_numpy(file["joints3d"]).double()
    rotation = torch.from_numpy(file["R"][camera])
    joints = world @ rotation.T + torch.from_numpy(file["t"][camera])
    k = file["K"][camera]
    affine = np.eye(3)
    occluded = np.zeros(file["occluded"].shape[1:], bool)
    if with_occluder:
        affine[:2] = file["affine_single_to_multi"][camera]
        occluded = file["occluded"][camera]
    k = affine @ k
    return BeamTruth(
        joints.float(),
        torch.from_numpy(occluded),
        Camera(float(k[0, 0]), (float(k[0, 2]), float(k[1, 2]))),
    )
