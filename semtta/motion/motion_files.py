"""Motion capture in files that a user has: the documented npz, AMASS folders, BVH.

Whatever the file, a motion comes out in SMPL's convention: 24 local joint rotations, y up, the
person faces +z and has +x to the left, metres, 30 frames a second. Nothing is shipped.

The documented npz (axis-angle poses of all clips end to end) has the keys ``pose`` (N, 24, 3),
``trans`` (N, 3), ``start``, ``length``, ``clip_id``, ``texts``, ``subject``, ``source``,
``split`` ("train" or "val") and ``is_duplicate``, one entry per clip. Two limits of the file of
CMU motion that every evaluation must say: clips whose subject is ``cmuX*`` carry no subject
number, so a performer may stand on both sides of its split; and subject ``cmu61`` (val) is the
dance partner of ``cmu60`` (train).
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import roma
import torch

from semtta.errors import SemttaError
from semtta.motion.bvh import bvh_length, read_bvh
from semtta.motion.clip_names import canonical_label
from semtta.motion.resample import fractional_index, resample_positions

FPS = 30.0
_KEYS = ("pose", "trans", "start", "length", "clip_id", "texts", "subject", "source", "split",
         "is_duplicate")  # fmt: skip
# The documented file's translations belong to legs of 0.777 m; the CC0 body's are longer.
_LEG_SCALE = 1.05
_BROKEN = (OSError, EOFError, KeyError, ValueError, TypeError, IndexError, UnicodeDecodeError,
           zipfile.BadZipFile)  # fmt: skip
_Z_TO_Y_UP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class MotionClip:
    """One labelled motion.

    ``rotmats`` (N, 24, 3, 3) float32 local rotations, root first; ``trans`` (N, 3) float32
    pelvis position in metres. ``label`` is None where the text names no action that the
    library's dictionary knows.
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


@dataclass(frozen=True)
class MotionEntry:
    """What is known of a motion before it is read.

    Args:
        name: unique within its file or folder.
        frames: how many at 30 frames a second.
        text: what its author wrote about it, "" if nothing.
        subject: who moves, as the file or the folder says.
        source: where it comes from.
        split: the file's own ("train", "val"), "" if it has none.
        path: the file; ``index``: its place in a file of many.
    """

    name: str
    frames: int
    text: str
    subject: str
    source: str
    split: str
    path: Path
    index: int = 0


def list_motions(path: str | Path) -> list[MotionEntry]:
    """All motions of a file or folder, in a fixed order, repeated takes left out.

    Args:
        path: the documented npz, an AMASS .npz, a .bvh, or a folder of the last two (searched
            through). In a folder, ``labels.json`` ({"sub/name": text}) or ``name.txt`` beside a
            file says what is done; without either the file's name does ("walk_01_poses" is
            "walk"). The subject is the file's folder.
    Raises ``SemttaError`` if there is nothing to read or a file is not what it claims to be."""
    path = Path(path)
    if path.is_file() and path.suffix == ".npz" and _is_documented(path):
        return _list_npz(path)
    if path.is_file():
        return [_entry(path, path.parent, {})]
    if not path.is_dir():
        raise SemttaError(f"there is no motion file or folder '{path}'.")
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in (".npz", ".bvh"))
    # AMASS keeps each subject's shape in a file of its own.
    files = [f for f in files if f.suffix.lower() == ".bvh" or "poses" in _npz_names(f)]
    if not files:
        raise SemttaError(f"'{path}' holds no motion: neither AMASS .npz (poses, trans, "
                          "mocap_framerate) nor .bvh files.")  # fmt: skip
    labels = _sidecar(path)
    return [_entry(file, path, labels) for file in files]


def read_motion(entry: MotionEntry) -> MotionClip:
    """Read one motion, turned to SMPL's convention and 30 frames a second."""
    if entry.path.suffix.lower() == ".bvh":
        rotmats, trans, fps = _guard(entry.path, read_bvh)
        rotmats, trans = _resample(rotmats, trans, fps)
    elif _is_documented(entry.path):
        rotmats, trans = _read_npz(entry)
    else:
        rotmats, trans = _guard(entry.path, _read_amass)
    if not (np.isfinite(rotmats).all() and np.isfinite(trans).all()) or len(rotmats) == 0:
        raise SemttaError(f"the motion '{entry.name}' in '{entry.path}' is empty or holds NaN.")
    return MotionClip(
        name=entry.name,
        rotmats=rotmats,
        trans=trans,
        text=entry.text,
        label=canonical_label(entry.text),
        subject=entry.subject,
        source=entry.source,
    )


def _guard(path: Path, read: Callable):
    """What ``read`` says about the file; a sentence instead of what a broken file raises."""
    try:
        return read(path)
    except SemttaError:
        raise
    except _BROKEN as error:
        raise SemttaError(f"'{path}' is damaged or not a motion file: {error}") from error


def _npz_names(path: Path) -> set[str]:
    def names(path: Path) -> set[str]:
        with zipfile.ZipFile(path) as file:
            return {name.removesuffix(".npy") for name in file.namelist()}

    return _guard(path, names)


def _is_documented(path: Path) -> bool:
    return {"pose", "start"} <= _npz_names(path)


# The documented npz ------------------------------------------------------------------------------


def _list_npz(path: Path) -> list[MotionEntry]:
    data = _npz(path)
    entries = []
    for i in range(len(data["start"])):
        if data["is_duplicate"][i]:
            continue
        entries.append(MotionEntry(
            name=str(data["clip_id"][i]),
            frames=int(data["length"][i]),
            text=str(data["texts"][i]).split("\n")[0],
            subject=re.sub(r"^cmu0+(?=\d)", "cmu", str(data["subject"][i])),
            source=str(data["source"][i]),
            split=str(data["split"][i]),
            path=path,
            index=i,
        ))  # fmt: skip
    return entries


def _npz(path: Path) -> dict[str, np.ndarray]:
    stat = path.stat()
    return _guard(path, lambda p: _npz_arrays(p, stat.st_size, stat.st_mtime_ns))


@lru_cache(2)
def _npz_arrays(path: Path, size: int, modified: int) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        missing = [key for key in _KEYS if key not in file.files]
        if missing:
            raise SemttaError(f"the motion file '{path}' has no {', '.join(missing)}.")
        data = {key: file[key] for key in _KEYS}
    frames, clips = len(data["pose"]), len(data["start"])
    ends = data["start"].astype(np.int64) + data["length"].astype(np.int64)
    fits = data["pose"].shape == (frames, 24, 3) and data["trans"].shape == (frames, 3)
    fits &= all(data[key].shape == (clips,) for key in _KEYS[2:])
    fits = fits and clips > 0 and bool((data["start"] >= 0).all() and (data["length"] > 0).all())
    if not fits or ends.max() > frames:
        raise SemttaError(f"the motion file '{path}' is inconsistent: its clips do not fit its "
                          "poses.")  # fmt: skip
    return data


def _read_npz(entry: MotionEntry) -> tuple[np.ndarray, np.ndarray]:
    data = _npz(entry.path)
    start, length = int(data["start"][entry.index]), int(data["length"][entry.index])
    pose = torch.from_numpy(data["pose"][start : start + length].astype(np.float64))
    rotmats = roma.rotvec_to_rotmat(pose).float().numpy()
    trans = data["trans"][start : start + length].astype(np.float32) * _LEG_SCALE
    return rotmats, trans


# AMASS and folders -------------------------------------------------------------------------------


def _entry(path: Path, root: Path, labels: dict[str, str]) -> MotionEntry:
    name = path.relative_to(root).with_suffix("").as_posix()
    folder = path.parent.relative_to(root).as_posix()
    bvh = path.suffix.lower() == ".bvh"
    count, fps = _guard(path, bvh_length if bvh else _amass_length)
    return MotionEntry(
        name=name,
        frames=int((count - 1) / fps * FPS + 1e-3) + 1,
        text=labels.get(name) or _text_beside(path) or _text_of_name(path),
        subject=root.name if folder == "." else folder,
        source="bvh" if bvh else "amass",
        split="",
        path=path,
    )


def _sidecar(folder: Path) -> dict[str, str]:
    path = folder / "labels.json"
    if not path.is_file():
        return {}
    labels = _guard(path, lambda p: json.loads(p.read_text(encoding="utf-8")))
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise SemttaError(f'\'{path}\' must map motion names to texts: {{"sub/name": "walk"}}.')
    return {name.removesuffix(".npz").removesuffix(".bvh"): text for name, text in labels.items()}


def _text_beside(path: Path) -> str:
    beside = path.with_suffix(".txt")
    lines = _guard(beside, lambda p: p.read_text("utf-8")).split("\n") if beside.is_file() else []
    # HumanML3D's texts go on after a '#' with parts of speech
    return next((line.split("#")[0].strip() for line in lines if line.strip()), "")


def _text_of_name(path: Path) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.stem)
    words = re.split(r"[\W_\d]+", words)
    return " ".join(w.lower() for w in words if len(w) > 1 and w not in ("poses", "stageii"))


def _amass_length(path: Path) -> tuple[int, float]:
    """Frames and frame rate; reads the header of ``poses`` only."""
    with zipfile.ZipFile(path) as file, file.open("poses.npy") as poses:
        major, _ = np.lib.format.read_magic(poses)
        header = np.lib.format.read_array_header_1_0 if major == 1 else (
            np.lib.format.read_array_header_2_0)  # fmt: skip
        shape, *_ = header(poses)
    with np.load(path) as file:
        fps = _frame_rate(path, file)
    if len(shape) != 2 or shape[1] < 66 or shape[0] == 0:
        raise SemttaError(f"'{path}': poses of shape {shape}; expected (frames, 66 or more).")
    return shape[0], fps


def _frame_rate(path: Path, file) -> float:
    keys = [key for key in ("mocap_framerate", "mocap_frame_rate") if key in file.files]
    fps = float(file[keys[0]]) if keys else 0.0
    if not 1 <= fps <= 1000:
        raise SemttaError(f"'{path}' has no usable mocap_framerate.")
    return fps


def _read_amass(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Body joints of AMASS (SMPL, SMPL-H or SMPL-X; z up); hands stay open, shapes are not used:
    they belong to a licensed body."""
    with np.load(path) as file:
        fps = _frame_rate(path, file)
        poses, trans = file["poses"], file["trans"]
    joints = 24 if poses.shape[1] == 72 else 22
    if trans.shape != (len(poses), 3):
        raise SemttaError(f"'{path}': {len(poses)} poses but translations {trans.shape}.")
    pose = torch.from_numpy(poses[:, : 3 * joints].astype(np.float32)).reshape(-1, joints, 3)
    rotmats = roma.rotvec_to_rotmat(pose)
    if joints == 22:
        hands = torch.eye(3).expand(len(pose), 2, 3, 3)
        rotmats = torch.cat((rotmats, hands), dim=1)
    rotmats[:, 0] = _Z_TO_Y_UP @ rotmats[:, 0]
    trans = trans.astype(np.float32) @ _Z_TO_Y_UP.numpy().T
    return _resample(rotmats.numpy(), trans, fps)


def _resample(rotmats: np.ndarray, trans: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """To 30 frames a second."""
    times = torch.arange(len(rotmats), dtype=torch.float64) / fps
    wanted = torch.arange(int(float(times[-1]) * FPS + 1e-3) + 1, dtype=torch.float64) / FPS
    grid = fractional_index(times, wanted)
    turned = resample_positions(torch.from_numpy(np.ascontiguousarray(rotmats)).float(), grid)
    index = np.arange(len(trans))
    moved = np.stack([np.interp(grid.numpy(), index, trans[:, k]) for k in range(3)], axis=1)
    return turned.numpy(), moved.astype(np.float32)
