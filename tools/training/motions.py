"""Motion clips for the training tools: on the ground, mirrored, spliced, cut into windows.

Reading and labels are ``semtta.motion.motion_files``; the convention is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from semtta.bench.mocap_split import DEV, NONE, TEST, TRAIN, Listed, load_split
from semtta.bench.mocap_windows import subject_split
from semtta.errors import SemttaError
from semtta.motion.clip_names import canonical_label
from semtta.motion.motion_files import MotionClip as Clip
from semtta.motion.motion_files import MotionEntry, list_motions, read_motion
from semtta.skeletons import SMPL24, SMPL_PARENTS
from tools.training.phrases import canonical

# Degrees by which a converted source's elbow hinge is rolled about the arm, measured: the angle of
# the mean axis of its flexions. The newer documented file tells its own.
ELBOW_ROLL = {"cmu/expmap": 28.0, "cmu/papagina": 27.0, "cmu/misc": 26.0, "cmu/iclone": -6.0,
              "kaykit": -4.0}  # fmt: skip
_IN_PLACE = ("kaykit", "quaternius", "mesh2motion")
_ARM = ("shoulder", "elbow", "wrist")

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


def load_clips(path: str | Path, side: str | None = None) -> list[Clip]:
    """Clips of a motion file, or of a folder of them, without repeated takes and T-poses.

    Args:
        path: the documented npz, an AMASS or BVH file, or a folder of those
            (``semtta.motion.motion_files``).
        side: "train", "dev" or "test" of ``semtta.bench.mocap_split``, or None for all motion.
            Of motion that the split does not list, training is what its file calls so, and the
            rest goes by the performer's name as in the benchmark. What a file holds back ("held")
            is never on the training side.

    Elbows bend about one axis (``roll_arms``); translations are put on the ground: the lowest
    joint's usual height is y = 0.
    """
    if not Path(path).exists():
        raise SemttaError(f"no motion file at '{path}'; pass the labelled clips with --motions.")
    if side not in (None, TRAIN, DEV, TEST):
        raise SemttaError(f"unknown side '{side}'; use train, dev or test.")
    entries = [e for e in list_motions(path) if side is None or side_of(e) == side]
    clips = (_clean(entry) for entry in entries)
    return [clip for clip in clips if len(clip) > 0]


def side_of(entry: MotionEntry) -> str:
    """Who trains and who tests: "train", "dev", "test" or "none" of a motion."""
    known = _listed(entry)
    if known is not None:
        return NONE if known.side == TRAIN and entry.split == "held" else known.side
    return TRAIN if entry.split == "train" else subject_split(entry.subject)


def _listed(entry: MotionEntry) -> Listed | None:
    """What the split says of a clip of the documented files, which alone have sides."""
    return load_split().find(entry.name) if entry.split else None


def _clean(entry: MotionEntry) -> Clip:
    """One clip as training wants it; empty if it is nothing but a T-pose."""
    clip, known = read_motion(entry), _listed(entry)
    keep = slice(0 if known is None else known.cut, None)
    rotmats, trans = clip.rotmats[keep], clip.trans[keep]
    moving = np.flatnonzero(~is_t_pose(rotmats))
    keep = slice(moving[0], moving[-1] + 1) if len(moving) else slice(0, 0)
    rotmats, trans = rotmats[keep], trans[keep]
    of_file = _documented_extras(entry)
    rotmats = roll_arms(rotmats, of_file.get("elbow_roll_deg", ELBOW_ROLL.get(clip.source, 0.0)))
    if len(trans):
        trans = _on_ground(rotmats, trans)
    label = clip.label
    if known is not None:
        words = (clip.text, known.action)
        label = label or canonical_label(known.action) or canonical(words[0]) or canonical(words[1])
    return replace(clip, rotmats=rotmats, trans=trans, label=label)


@lru_cache(4)
def _extras(path: Path, modified: int) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {"elbow_roll_deg": file["elbow_roll_deg"]} if "elbow_roll_deg" in file else {}


def _documented_extras(entry: MotionEntry) -> dict[str, float]:
    """What only the newer of the documented files says of a clip."""
    if entry.path.suffix != ".npz" or not entry.split:
        return {}
    found = _extras(entry.path, entry.path.stat().st_mtime_ns)
    return {key: float(values[entry.index]) for key, values in found.items()}


def travels(clip: Clip) -> bool:
    """Whether the pelvis really goes where the feet say: most animations walk on the spot."""
    return clip.source not in _IN_PLACE


def is_t_pose(rotmats: np.ndarray) -> np.ndarray:
    """(T,) whether both arms are stretched out sideways and the legs hang straight.

    Somebody may stand so for a purpose, but at the ends of a clip it is how capture starts."""
    joint = dict(zip(SMPL24.joints, np.moveaxis(forward_kinematics(rotmats), -2, 0), strict=True))

    def along(start: str, end: str) -> np.ndarray:
        bone = joint[end] - joint[start]
        return bone / np.linalg.norm(bone, axis=-1, keepdims=True)

    across = along("right_hip", "left_hip")
    held = np.ones(len(rotmats), bool)
    for side, sign in (("left", 1), ("right", -1)):
        for bone in (("shoulder", "elbow"), ("elbow", "wrist")):
            arm = along(*(f"{side}_{part}" for part in bone))
            held &= sign * (arm * across).sum(-1) > np.cos(np.deg2rad(25))
        for bone in (("hip", "knee"), ("knee", "ankle")):
            held &= along(*(f"{side}_{part}" for part in bone))[..., 1] < -np.cos(np.deg2rad(32))
    return held


def roll_arms(rotmats: np.ndarray, degrees: float) -> np.ndarray:
    """Frames of upper arm and forearm turned about the arm, so that elbows bend about (0, -/+1, 0).

    Joint positions stay, and so do the hands, whose wrists turn back. (..., 24, 3, 3)"""
    turn = Rotation.from_euler("x", -degrees, degrees=True).as_matrix().astype(rotmats.dtype)
    out = rotmats.copy()
    for side in ("left", "right"):
        shoulder, elbow, wrist = SMPL24.indices([f"{side}_{p}" for p in _ARM])
        out[..., shoulder, :, :] = rotmats[..., shoulder, :, :] @ turn
        out[..., elbow, :, :] = turn.T @ rotmats[..., elbow, :, :] @ turn
        out[..., wrist, :, :] = turn.T @ rotmats[..., wrist, :, :]
    return out


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
