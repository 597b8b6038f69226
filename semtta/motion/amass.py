"""Motion in AMASS' npz files (SMPL, SMPL-H, SMPL-X), in the forms in which they go about.

Rotations are axis-angle: ``poses`` or ``fullpose`` (N, 66 or more) or (N, J, 3), or in parts
``root_orient`` and ``pose_body``. Their world has z up, unless the file says "y-up" (``frame`` or
``up_axis``). Hands stay open, shapes are not used: they belong to a licensed body.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import roma
import torch

from semtta.body.unpickle import object_entry
from semtta.errors import SemttaError
from semtta.reading import npz_names, npz_shape, read_npz, reading

_WHAT = "motion file"
_WHOLE = ("poses", "fullpose", "pose")
_ROOT, _BODY = ("root_orient", "global_orient"), ("pose_body", "body_pose")
_TRANS = ("trans", "transl")
_RATES = ("mocap_framerate", "mocap_frame_rate", "mocap_fps", "framerate", "frame_rate", "fps")
_UP = ("up_axis", "up", "frame")
_MOST_FRAMES = 120_000
_Z_TO_Y_UP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def is_amass(names: Iterable[str]) -> bool:
    """Whether arrays of these names are a motion; AMASS keeps each subject's shape by itself."""
    return bool(_first(names, _WHOLE) or (_first(names, _ROOT) and _first(names, _BODY)))


def amass_length(path: Path) -> tuple[int, float]:
    """Frames and frame rate; reads headers only, and the rate."""
    names = npz_names(path, _WHAT)
    key = _first(names, _WHOLE) or _first(names, _BODY)
    if not is_amass(names):
        raise SemttaError(f"'{path}' is not a motion file: it has no poses (nor root_orient and "
                          "pose_body).")  # fmt: skip
    shape = npz_shape(path, key, _WHAT)
    numbers = int(np.prod(shape[1:])) if len(shape) in (2, 3) else 0
    if numbers < (66 if key in _WHOLE else 63) or not 0 < shape[0] <= _MOST_FRAMES:
        raise SemttaError(f"'{path}': {key} of shape {shape}; expected (frames, 66 or more), at "
                          f"most {_MOST_FRAMES} frames.")  # fmt: skip
    return shape[0], _frame_rate(path, names)


def read_amass(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotations (N, 24, 3, 3) and pelvis (N, 3) metres in SMPL's convention, y up; frame rate."""
    frames, fps = amass_length(path)
    names = npz_names(path, _WHAT)
    keys = {name: _first(names, of) for name, of in
            (("whole", _WHOLE), ("root", _ROOT), ("body", _BODY), ("trans", _TRANS))}  # fmt: skip
    if keys["trans"] is None:
        raise SemttaError(f"'{path}' is not a motion file: it has no trans.")
    arrays = read_npz(path, _WHAT, [key for key in keys.values() if key])
    with reading(path, _WHAT):
        trans = _numbers(path, keys["trans"], arrays)
        if keys["whole"]:
            poses = _numbers(path, keys["whole"], arrays).reshape(frames, -1)
        else:
            parts = [_numbers(path, keys[part], arrays) for part in ("root", "body")]
            poses = np.concatenate([part.reshape(len(part), -1) for part in parts], 1)
        joints = 24 if poses.shape[1] == 72 else 22
        if trans.shape != (len(poses), 3):
            raise SemttaError(f"'{path}': {len(poses)} poses but translations {trans.shape}.")
        pose = torch.from_numpy(poses[:, : 3 * joints].astype(np.float32)).reshape(-1, joints, 3)
        rotmats = roma.rotvec_to_rotmat(pose)
        if joints == 22:
            hands = torch.eye(3).expand(len(pose), 2, 3, 3)
            rotmats = torch.cat((rotmats, hands), dim=1)
        trans = trans.astype(np.float32)
        if not _y_up(path, names):
            rotmats[:, 0] = _Z_TO_Y_UP @ rotmats[:, 0]
            trans = trans @ _Z_TO_Y_UP.numpy().T
        return rotmats.numpy(), trans, fps


def _first(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    names = set(names)
    return next((name for name in wanted if name in names), None)


def _numbers(path: Path, key: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    if arrays[key].dtype.kind not in "fiu":
        raise SemttaError(f"'{path}': {key} does not hold numbers.")
    return arrays[key]


def _frame_rate(path: Path, names: Iterable[str]) -> float:
    key = _first(names, _RATES)
    if key is None:
        raise SemttaError(f"'{path}' has no usable mocap_framerate; known are "
                          f"{', '.join(_RATES)}.")  # fmt: skip
    value = object_entry(path, key, _WHAT)
    with reading(path, _WHAT):
        value = np.asarray(value)
        fps = float(value.astype(np.float64).item()) if value.size == 1 else np.nan
        if not 1 <= fps <= 1000:
            raise SemttaError(f"'{path}' has no usable mocap_framerate: {key} is {fps}.")
        return fps


def _y_up(path: Path, names: Iterable[str]) -> bool:
    """Whether the file says that its world has y up; refuses what it says and nobody knows."""
    key = _first(names, _UP)
    if key is None:
        return False
    said = str(np.ravel(read_npz(path, _WHAT, [key])[key])[:1].astype(str).tolist()[0])
    axis = said.lower().replace("_", "-").removesuffix("-up").strip(" +")
    if axis not in ("y", "z"):
        raise SemttaError(f"'{path}': {key} says '{said[:40]}'; 'y-up' and 'z-up' are known.")
    return axis == "y"
