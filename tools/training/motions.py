"""Motion clips for the training tools: on the ground, mirrored, spliced, cut into windows.

Reading and labels are ``semtta.motion.motion_files``; the convention is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from semtta.errors import SemttaError
from semtta.motion.motion_files import MotionClip as Clip
from semtta.motion.motion_files import list_motions, read_motion
from semtta.skeletons import SMPL24, SMPL_PARENTS

# Rest joints of the library's CC0 body (mean shape, metres); the right side is mirrored.
_REST_MIDDLE = {
    "pelvis": (0, 0, 0), "spine1": (0, 0.0933, 0.0020), "spine2": (0, 0.2298, -0.0057),
    "spine3": (0, 0.2988, -0.0107), "neck": (0, 0.4836, 0.0290), "head": (0, 0.5800, 0.0621),
}  # fmt: skip
_REST_LEFT = {
    "hip": (0.1117, -0.0724, 0.0180), "knee": (0.1450, -0.4525, 0.0180),
    "ankle": (0.1375, -0.8874, 0.0180), "foot": (0.1525, -0.9379, 0.1607),
    "collar": (0.0656, 0.4166, 0.0438), "shoulder": (0.1755, 0.3866, 0.0390),
    "elbow": (0.4337, 0.3867, 0.0390), "wrist": (0.6649, 0.3867, 0.0390),
    "hand": (0.7651, 0.3844, 0.0310),
}  # fmt: skip

LOWER_BODY = tuple(i for i, n in enumerate(SMPL24.joints)
                   if n.split("_")[-1] in ("hip", "knee", "ankle", "foot"))  # fmt: skip
UPPER_BODY = tuple(i for i in range(1, 24) if i not in LOWER_BODY)
ARMS = tuple(i for i, n in enumerate(SMPL24.joints)
             if n.split("_")[-1] in ("collar", "shoulder", "elbow", "wrist", "hand"))  # fmt: skip


def rest_joints() -> np.ndarray:
    """(24, 3) rest joints of the mean CC0 body in metres, pelvis at the origin."""

    def position(name: str) -> tuple[float, float, float]:
        if name in _REST_MIDDLE:
            return _REST_MIDDLE[name]
        side, part = name.split("_")
        x, y, z = _REST_LEFT[part]
        return (x if side == "left" else -x), y, z

    return np.array([position(name) for name in SMPL24.joints], dtype=np.float32)


def forward_kinematics(rotmats: np.ndarray, rest: np.ndarray | None = None) -> np.ndarray:
    """Joint positions (..., 24, 3) of local rotations (..., 24, 3, 3), pelvis at the origin."""
    rest = rest_joints() if rest is None else rest
    world = [rotmats[..., 0, :, :]]
    position = [np.zeros(rotmats.shape[:-3] + (3,), rotmats.dtype)]
    for joint in range(1, 24):
        parent = SMPL_PARENTS[joint]
        position.append(position[parent] + world[parent] @ (rest[joint] - rest[parent]))
        world.append(world[parent] @ rotmats[..., joint, :, :])
    return np.stack(position, axis=-2)


def load_clips(path: str | Path, split: str | None = None) -> list[Clip]:
    """Clips of a motion file without repeated takes.

    Args:
        path: the documented npz, an AMASS or BVH file, or a folder of those
            (``semtta.motion.motion_files``).
        split: "train", "val" or None for both.

    Translations are put on the ground: the lowest joint's usual height is y = 0.
    """
    if not Path(path).exists():
        raise SemttaError(f"no motion file at '{path}'; pass the labelled clips with --motions.")
    if split not in (None, "train", "val"):
        raise SemttaError(f"unknown split '{split}'; use train or val.")
    entries = [e for e in list_motions(path) if split is None or e.split == split]
    clips = (read_motion(entry) for entry in entries)
    return [replace(clip, trans=_on_ground(clip.rotmats, clip.trans)) for clip in clips]


def _on_ground(rotmats: np.ndarray, trans: np.ndarray) -> np.ndarray:
    """Translation whose lowest joint is at y = 0 (2nd percentile over the clip)."""
    lowest = (forward_kinematics(rotmats)[..., 1] + trans[:, None, 1]).min(axis=1)
    return trans - np.percentile(lowest, 2).astype(trans.dtype) * np.eye(3, dtype=trans.dtype)[1]


def mirror(rotmats: np.ndarray) -> np.ndarray:
    """Left and right exchanged: (..., 24, 3, 3) local rotations reflected in the plane x = 0."""
    sign = np.array([-1, 1, 1], dtype=rotmats.dtype)
    return rotmats[..., list(SMPL24.flip), :, :] * (sign[:, None] * sign[None, :])


def mirror_trans(trans: np.ndarray) -> np.ndarray:
    """Pelvis positions (..., 3) reflected in the plane x = 0."""
    return trans * np.array([-1, 1, 1], dtype=trans.dtype)


def mirror_text(text: str) -> str:
    """The text with the words left and right exchanged."""
    return re.sub(r"\b(left|right)\b", lambda m: "right" if m.group() == "left" else "left", text)


def windows(clip: Clip, length: int = 60, stride: int = 30) -> Iterator[slice]:
    """Slices of ``length`` consecutive frames; none if the clip is shorter."""
    for start in range(0, len(clip) - length + 1, stride):
        yield slice(start, start + length)


def splice(base: np.ndarray, other: np.ndarray, joints: Sequence[int] = LOWER_BODY) -> np.ndarray:
    """``base`` (..., 24, 3, 3) with the local rotations of ``joints`` taken from ``other``."""
    out = base.copy()
    out[..., list(joints), :, :] = other[..., list(joints), :, :]
    return out


def remove_yaw(rotmats: np.ndarray) -> np.ndarray:
    """Root turned about y so that the first frame (axis -4) faces +z; (..., T, 24, 3, 3)."""
    forward = rotmats[..., 0, 0, :, 2]
    yaw = np.arctan2(forward[..., 0], forward[..., 2])
    turn = Rotation.from_euler("y", -yaw.reshape(-1, 1)).as_matrix().astype(rotmats.dtype)
    turn = turn.reshape(yaw.shape + (1, 3, 3))
    out = rotmats.copy()
    out[..., 0, :, :] = turn @ rotmats[..., 0, :, :]
    return out
