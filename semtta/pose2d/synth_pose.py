"""Random poses, shapes and cameras for labelled renders."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import roma
import torch
from torch import Tensor

from semtta.motion.dictionary import Dictionary
from semtta.skeletons import SMPL24

_LIBRARY_SHARE = 0.4  # of the poses come from generated motions, the others from joint limits
_JITTER = 8.0  # degrees on poses of the library


@cache
def _library() -> Tensor:
    """(P, 23, 3) axis-angle poses of the shipped dictionary's generated motions."""
    return Dictionary.load().poses.flatten(0, 1)


def random_poses(count: int, rng: np.random.Generator) -> Tensor:
    """(count, 24, 3, 3) local rotations, the first one the identity."""
    angles = np.stack([_one(rng) for _ in range(count)])
    return roma.rotvec_to_rotmat(torch.from_numpy(angles).float())


def _one(rng: np.random.Generator) -> np.ndarray:
    """(24, 3) axis-angle, radians."""
    if rng.uniform() < _LIBRARY_SHARE:
        library = _library()
        pose = np.zeros((24, 3))
        pose[1:] = library[rng.integers(len(library))].numpy()
        return pose + np.radians(rng.normal(0, _JITTER / 3**0.5, (24, 3))) * _movable()
    return np.radians(_limbs(rng))


@cache
def _movable() -> np.ndarray:
    names = ("pelvis", "left_foot", "right_foot", "left_hand", "right_hand")
    return np.array([[joint not in names] for joint in SMPL24.joints], float)


def _limbs(rng: np.random.Generator) -> np.ndarray:
    """(24, 3) degrees from ranges of each joint: arms anywhere in reach, legs that stand, walk or
    sit. Left is +x, the T-pose faces +z: a left arm comes down by a negative turn about z."""
    pose = np.zeros((24, 3))

    def put(joint: str, value) -> None:
        pose[SMPL24.index(joint)] = value

    for joint in ("spine1", "spine2", "spine3"):
        put(joint, rng.normal(0, 7, 3) + [rng.normal(4, 7), 0, 0])
    put("neck", rng.normal(0, 8, 3))
    put("head", rng.normal(0, 11, 3))
    sits = rng.uniform() < 0.15
    for side, sign in (("left", 1), ("right", -1)):
        height = rng.beta(1.1, 2.2)  # 0 = hanging, 1 = overhead
        lift = -80 + 150 * height
        put(f"{side}_collar", rng.normal(0, 4, 3) + [0, 0, sign * max(0, lift) * 0.25])
        put(f"{side}_shoulder", [rng.normal(0, 20), -sign * rng.normal(12, 32), sign * lift])
        put(f"{side}_elbow", [0, -sign * min(145, abs(rng.normal(0, 60))), rng.normal(0, 8)])
        put(f"{side}_wrist", rng.normal(0, 12, 3))
        bent = rng.normal(85, 15) if sits else rng.choice([1, -0.5], p=[0.7, 0.3]) * abs(
            rng.normal(0, 32)
        )  # fmt: skip
        put(f"{side}_hip", [-bent, sign * rng.normal(6, 12), sign * abs(rng.normal(4, 11))])
        put(f"{side}_knee", [np.clip(rng.normal(max(bent, 0) * 0.9, 25), 0, 140), 0, 0])
        put(f"{side}_ankle", [rng.normal(0, 10), rng.normal(0, 6), 0])
    return pose


def random_betas(count: int, rng: np.random.Generator) -> Tensor:
    """(count, 10) shape coefficients."""
    return torch.from_numpy(np.clip(rng.normal(0, 1, (count, 10)), -2.5, 2.5)).float()


def random_view(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Rotation (3, 3) from body to camera axes, any heading, some pitch and roll, and the distance
    in metres."""

    def turn(x: float, y: float, z: float) -> np.ndarray:
        return cv2.Rodrigues(np.array([x, y, z]))[0]

    heading = turn(0, rng.uniform(-np.pi, np.pi), 0)
    pitch = turn(np.radians(rng.normal(8, 10)), 0, 0)
    roll = turn(0, 0, np.radians(rng.normal(0, 8)))
    upright = np.diag([1.0, -1.0, -1.0])  # y up, z to the back -> y down, z forward
    return roll @ pitch @ upright @ heading, float(rng.uniform(2.2, 7))
