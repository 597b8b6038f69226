"""Motion in AMASS' npz files (SMPL, SMPL-H, SMPL-X), in the forms in which they go about.

Rotations are axis-angle in radians, (N, 3J) or (N, J, 3), or matrices (N, J, 3, 3): ``poses`` or
``fullpose`` of the 22, 24, 52 or 55 joints of a body of the SMPL family, or in parts
``root_orient`` and ``pose_body``. Their world has z up, unless the file says "y-up" (``frame`` or
``up_axis``) or people stand along another axis. Hands stay open, shapes are not used: they belong
to a licensed body.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import roma
import torch

from semtta.body.unpickle import object_entry
from semtta.errors import SemttaError
from semtta.motion.world_axes import TO_Y_UP, in_metres, up_axis
from semtta.reading import npz_names, npz_shape, read_npz, reading

_WHAT = "motion file"
_WHOLE = ("poses", "fullpose", "pose")
_ROOT, _BODY = ("root_orient", "global_orient"), ("pose_body", "body_pose")
_TRANS = ("trans", "transl")
_RATES = ("mocap_framerate", "mocap_frame_rate", "mocap_fps", "framerate", "frame_rate", "fps")
_UP = ("up_axis", "up", "frame")
_MOST_FRAMES = 120_000
_JOINTS = {"whole": (22, 24, 52, 55), "root": (1,), "body": (21, 23)}
_TURN = 7.0  # radians that no joint of a body turns; a root may have turned twice
_BENT = 1.2  # radians that all joints of a body together are not bent by on the mean
_FEW = 0.05  # of the frames


def is_amass(names: Iterable[str]) -> bool:
    """Whether arrays of these names are a motion; AMASS keeps each subject's shape by itself."""
    return bool(_first(names, _WHOLE) or (_first(names, _ROOT) and _first(names, _BODY)))


def amass_length(path: Path) -> tuple[int, float]:
    """Frames and frame rate; reads headers only, and the rate."""
    names = npz_names(path, _WHAT)
    key = _first(names, _WHOLE) or _first(names, _BODY)
    if key is None or not is_amass(names):
        raise SemttaError(f"'{path}' is not a motion file: it has no poses (nor root_orient and "
                          "pose_body).")  # fmt: skip
    shape = npz_shape(path, key, _WHAT)
    _joints(path, key, shape, "whole" if key in _WHOLE else "body")
    if not 0 < shape[0] <= _MOST_FRAMES:
        raise SemttaError(f"'{path}': it has {shape[0]} frames; from 1 to {_MOST_FRAMES} are "
                          "read.")  # fmt: skip
    return shape[0], _frame_rate(path, names)


def read_amass(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotations (N, 24, 3, 3) and pelvis (N, 3) metres in SMPL's convention, y up; frame rate."""
    frames, fps = amass_length(path)
    names = npz_names(path, _WHAT)
    forms = {"whole": _WHOLE, "root": _ROOT, "body": _BODY, "trans": _TRANS}
    keys = {name: key for name, of in forms.items() if (key := _first(names, of)) is not None}
    if "trans" not in keys:
        raise SemttaError(f"'{path}' is not a motion file: it has no trans.")
    arrays = read_npz(path, _WHAT, list(keys.values()))
    with reading(path, _WHAT):
        trans = _numbers(path, keys["trans"], arrays)
        parts = ("whole",) if "whole" in keys else ("root", "body")
        found = [_rotations(path, keys[part], arrays, part) for part in parts]
        if {len(part) for part in found} != {frames} or trans.shape != (frames, 3):
            raise SemttaError(f"'{path}': {frames} poses but translations {trans.shape}.")
        local = torch.cat(found, 1)
        joints = 24 if local.shape[1] == 24 else 22
        hands = torch.eye(3).expand(frames, 24 - joints, 3, 3)
        rotmats = torch.cat((local[:, :joints], hands), dim=1)
        _check_bent(path, rotmats)
        trans = trans.astype(np.float32)
        turn = TO_Y_UP[_said_up(path, names) or up_axis(path, rotmats[:, 0], trans)]
        rotmats[:, 0] = turn @ rotmats[:, 0]
        return rotmats.numpy(), in_metres(path, trans @ turn.numpy().T, fps), fps


def _joints(path: Path, key: str, shape: tuple[int, ...], part: str) -> int:
    """How many joints' rotations an array holds; refuses shapes that are of something else."""
    for joints in _JOINTS[part]:
        ways = ((3 * joints,), (joints, 3), (joints, 9), (joints, 3, 3))
        if shape[1:] in ways or (joints == 1 and shape[1:] == (3, 3)):
            return joints
    words = " or ".join(str(joints) for joints in _JOINTS[part])
    raise SemttaError(f"'{path}': {key} of shape {shape}; expected axis-angle rotations of {words} "
                      "joints (3 numbers each) or their matrices.")  # fmt: skip


def _rotations(path: Path, key: str, arrays: dict[str, np.ndarray], part: str) -> torch.Tensor:
    """(N, J, 3, 3) of an array in any of its forms."""
    held = _numbers(path, key, arrays)
    joints = _joints(path, key, held.shape, part)
    values = torch.from_numpy(held.astype(np.float32)).reshape(len(held), joints, -1)
    if not torch.isfinite(values).all():
        raise SemttaError(f"'{path}': {key} holds NaN or infinite numbers.")
    if values.shape[-1] == 9:
        found = values.unflatten(-1, (3, 3))
        off = (found @ found.mT - torch.eye(3)).abs().max()
        if off > 0.01 or torch.linalg.det(found).min() < 0:
            raise SemttaError(f"'{path}': {key} of shape {held.shape} holds no rotations.")
        return found
    most = torch.full((joints,), _TURN)
    if part != "body":
        most[0] *= 2
    beyond = (values[:, :22].norm(dim=-1) > most[:22]).any(1).double().mean()
    if float(beyond) > _FEW:
        raise SemttaError(f"'{path}': {key} turns joints by up to {float(values.abs().max()):.0f} "
                          "radians; is it in degrees, or something else?")  # fmt: skip
    return roma.rotvec_to_rotmat(values)


def _check_bent(path: Path, rotmats: torch.Tensor) -> None:
    """Refuses numbers that are no poses, which would bend a body everywhere."""
    angle = roma.rotmat_to_rotvec(rotmats[:, 1:22]).norm(dim=-1)
    if float(angle.mean(1).median()) > _BENT:
        raise SemttaError(f"'{path}': its rotations bend all joints by "
                          f"{np.rad2deg(float(angle.mean())):.0f} degrees on the mean; they are "
                          "none of a person.")  # fmt: skip


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


def _said_up(path: Path, names: Iterable[str]) -> str | None:
    """The axis that the file says is up; refuses what it says and nobody knows."""
    found = read_npz(path, _WHAT, set(_UP) & set(names))
    for key in _UP:
        if key in found and found[key].dtype.kind in "SU" and found[key].size == 1:  # a word
            said = str(found[key].astype(str).item())
            axis = said.lower().replace("_", "-").removesuffix("-up").strip(" +")
            if axis not in ("y", "z"):
                raise SemttaError(f"'{path}': {key} says '{said[:40]}'; 'y-up' and 'z-up' are "
                                  "known.")  # fmt: skip
            return f"+{axis}"
    return None
