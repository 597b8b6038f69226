"""Labelled motion clips for the training tools: loading, clean labels, mirroring, splicing.

Motion is in SMPL's convention: 24 local joint rotations, y up, the person faces +z and has
+x to the left, metres, 30 frames a second. The clip file is an ``.npz`` of axis-angle poses
with one free text per clip (CMU motion capture and CC0 KayKit animations; see NOTICE).

Two limits of that file that every evaluation must say: the clips whose subject is ``cmuX*``
carry no subject number, so a performer may stand on both sides of the split; and subject
``cmu61`` (val) is the dance partner of ``cmu60`` (train).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from semtta.errors import SemttaError
from semtta.skeletons import SMPL24, SMPL_PARENTS

FPS = 30.0
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
# The clip file's translations were scaled for legs of 0.777 m; those of the CC0 body are longer.
_LEG_SCALE = 1.05

LOWER_BODY = tuple(i for i, n in enumerate(SMPL24.joints)
                   if n.split("_")[-1] in ("hip", "knee", "ankle", "foot"))  # fmt: skip
UPPER_BODY = tuple(i for i in range(1, 24) if i not in LOWER_BODY)
ARMS = tuple(i for i, n in enumerate(SMPL24.joints)
             if n.split("_")[-1] in ("collar", "shoulder", "elbow", "wrist", "hand"))  # fmt: skip

# Text -> canonical label, first match wins. The file's own label field comes from loose regular
# expressions (archery counts as "bow", sword strikes as "punch") and is not used.
_RULES: tuple[tuple[str, str | None], ...] = (
    # Choreographed sequences ("Start Walk Stop"): lunges and poses, hardly a step of the action.
    (r"^start .* stop$", None),
    (r"salsa", "salsa dance"),
    (r"indian dance", "indian dance"),
    (r"^dance -", "ballet dance"),
    (r"martial arts", "martial arts kata"),
    (r"basketball signals", "give basketball referee signals"),
    (r"basketball", "dribble a basketball"),
    (r"soccer", "kick a soccer ball"),
    (r"direct traffic", "direct traffic"),
    (r"wash windows?", "wash a window"),
    (r"wash self", "wash oneself"),
    (r"sword", "sword fight"),
    (r"shoot a gun", "shoot a gun"),
    (r"shoot with a bow", "shoot with a bow"),
    (r"playground - climb", "climb"),
    (r"jump", "jump"),
    (r"\bhop\b", "hop on one foot"),
    (r"bend over", "bend down"),
    (r"block with shield", "block with a shield"),
    (r"cheer", "cheer with arms raised"),
    (r"crawl", "crawl"),
    (r"dodge", "dodge"),
    (r"drink", "drink"),
    (r"fall down", "fall down"),
    (r"stumble", "stumble"),
    (r"get up from the floor", "get up from the floor"),
    (r"^lie ", "lie down"),
    (r"push up", "do push-ups"),
    (r"sit up exercise", "do sit-ups"),
    (r"pick up", "pick up an object"),
    (r"punch", "punch"),
    (r"kick", "kick"),
    (r"throw", "throw something with the right hand"),
    (r"raise .*arms", "raise both arms"),
    (r"wave with right hand", "wave with the right hand"),
    (r"sit down on the floor", "sit down on the floor"),
    (r"sit down", "sit down"),
    (r"sit on the floor", "sit on the floor"),
    (r"sit on a chair", "sit on a chair"),
    (r"stand up", "stand up from sitting"),
    (r"fighting stance", "stand in a fighting stance"),
    (r"^stand", "stand still"),
    (r"zombie", "zombie walk"),
    (r"sneak", "sneak"),
    (r"crouched", "walk crouched with knees bent"),
    (r"walk backwards", "walk backwards"),
    (r"slow walk|walk slowly", "walk slowly"),
    (r"brisk walk", "walk fast"),
    (r"uneven", "walk on uneven terrain"),
    (r"walk", "walk"),
    (r"\brun", "run"),
)  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """One labelled motion.

    ``rotmats`` (N, 24, 3, 3) float32 local rotations, root first; ``trans`` (N, 3) float32
    pelvis position in metres, the lowest joint's usual height is y = 0. ``label`` is None where
    the text names no action that the library's dictionary knows.
    """

    name: str
    rotmats: np.ndarray
    trans: np.ndarray
    text: str
    label: str | None
    subject: str
    source: str

    def __len__(self) -> int:
        return len(self.rotmats)


def canonical_label(text: str) -> str | None:
    """Canonical action name for a clip's free text, or None."""
    text = text.lower()
    for pattern, label in _RULES:
        if re.search(pattern, text):
            return label
    return None


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
        path: the ``.npz`` with pose, trans, start, length, texts, subject, source, split.
        split: "train", "val" or None for both.

    Translations are rescaled to the CC0 body's leg length and put back on the ground.
    """
    path = Path(path)
    if not path.is_file():
        raise SemttaError(f"no motion file at '{path}'; pass the labelled clips with --motions.")
    if split not in (None, "train", "val"):
        raise SemttaError(f"unknown split '{split}'; use train or val.")
    keys = ("pose", "trans", "start", "length", "clip_id", "texts", "subject", "source", "split",
            "is_duplicate")  # fmt: skip
    with np.load(path) as file:
        data = {key: file[key] for key in keys}
    clips = []
    for i in range(len(data["start"])):
        if data["is_duplicate"][i] or (split and data["split"][i] != split):
            continue
        frames = slice(int(data["start"][i]), int(data["start"][i] + data["length"][i]))
        pose = data["pose"][frames].astype(np.float64)
        rotmats = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix()
        rotmats = rotmats.reshape(-1, 24, 3, 3).astype(np.float32)
        text = str(data["texts"][i]).split("\n")[0]
        clips.append(Clip(
            name=str(data["clip_id"][i]),
            rotmats=rotmats,
            trans=_on_ground(rotmats, data["trans"][frames].astype(np.float32)),
            text=text,
            label=canonical_label(text),
            subject=re.sub(r"^cmu0+(?=\d)", "cmu", str(data["subject"][i])),
            source=str(data["source"][i]),
        ))  # fmt: skip
    return clips


def _on_ground(rotmats: np.ndarray, trans: np.ndarray) -> np.ndarray:
    """Rescaled translation whose lowest joint is at y = 0 (2nd percentile over the clip)."""
    trans = trans * _LEG_SCALE
    lowest = (forward_kinematics(rotmats)[..., 1] + trans[:, None, 1]).min(axis=1)
    trans[:, 1] -= np.percentile(lowest, 2)
    return trans


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
