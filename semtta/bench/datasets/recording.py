"""What every data set's reader hands over: one person in one sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.geometry import Camera
from semtta.keypoints import Keypoints2D
from semtta.skeletons import Skeleton
from semtta.video import ImageSequence


@dataclass(frozen=True)
class BodyTruth:
    """True SMPL parameters in camera axes (x right, y down, z forward); no translation, because
    every protocol subtracts a root.

    Args:
        rotmats: (N, 24, 3, 3), global orientation first.
        betas: (N, 10).
        gender: "male", "female" or "neutral".
    """

    rotmats: Tensor
    betas: Tensor
    gender: str


@dataclass(frozen=True)
class JointTruth:
    """Annotated joints.

    Args:
        joints: (N, J, 3) metres, camera axes.
        skeleton: their names.
    """

    joints: Tensor
    skeleton: Skeleton


@dataclass(frozen=True)
class Recording:
    """One person in one sequence, N frames.

    Args:
        frames: (N,) frame numbers, increasing; where the set dropped frames there are gaps.
        images: the sequence's pictures by frame number.
        camera: intrinsics.
        boxes: (N, 4) x0 y0 x1 y1 around the person, pixels, not enlarged.
        keypoints: the set's own 2D joints.
        truth: body or annotated joints.
        masks: name -> (N,) bool, what protocols choose frames by.
        person: number of the person in the sequence, from 1.
    """

    frames: Tensor
    images: ImageSequence
    camera: Camera
    boxes: Tensor
    keypoints: Keypoints2D
    truth: BodyTruth | JointTruth
    masks: dict[str, Tensor]
    person: int = 1


def body_truth(
    global_orient: np.ndarray, body_pose: np.ndarray, betas: np.ndarray, to_camera, gender: str
) -> BodyTruth:
    """Axis-angle parameters in some world to rotations in camera axes.

    Args:
        global_orient: (N, 3), body_pose: (N, 69), both axis-angle.
        betas: (10,) or (N, 10).
        to_camera: (3, 3) or (N, 3, 3) rotation from that world to the camera; None = already
            there.
        gender: of the body."""
    pose = torch.from_numpy(np.concatenate([global_orient, body_pose], 1))
    rotmats = roma.rotvec_to_rotmat(pose.unflatten(1, (24, 3)))
    if to_camera is not None:
        first = torch.from_numpy(np.asarray(to_camera, np.float64)) @ rotmats[:, 0]
        rotmats = torch.cat((first[:, None], rotmats[:, 1:]), 1)
    shape = torch.from_numpy(np.asarray(betas, np.float64)).expand(len(pose), 10)
    return BodyTruth(rotmats.float(), shape.float(), gender)
