"""Motion capture in files that a user has: the documented npz, AMASS folders, BVH.

Whatever the file, a motion comes out in SMPL's convention: 24 local joint rotations, y up, the
person faces +z and has +x to the left, metres, 30 frames a second. Nothing is shipped.

The documented npz (axis-angle poses of all clips end to end) has the keys ``pose`` (N, 24, 3),
``trans`` (N, 3), ``start``, ``length``, ``clip_id``, ``texts``, ``subject``, ``source``,
``split`` ("train", or "val" or "held") and ``is_duplicate``, one entry per clip. Two limits of the
file of CMU motion that every evaluation by its own split must say: clips whose subject is
``cmuX*`` carry no subject number, so a performer may stand on both sides; and subject ``cmu61``
(val) is the dance partner of ``cmu60`` (train). ``semtta.bench.mocap_split`` mends both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import roma
import torch

from semtta.errors import SemttaError, announce
from semtta.motion.amass import amass_length, is_amass, read_amass
from semtta.motion.bvh import bvh_length, read_bvh
from semtta.motion.clip_names import canonical_label
from semtta.motion.resample import fractional_index, resample_positions
from semtta.reading import MEBI, npz_names, read_json, read_npz, read_text

FPS = 30.0
_KEYS = ("pose", "trans", "start", "length", "clip_id", "texts", "subject", "source", "split",
         "is_duplicate")  # fmt: skip
# The older documented file's translations belong to legs of 0.777 m; the CC0 body's are longer.
_LEG_SCALE = 1.05
_MADE_FOR_BODY = "elbow_roll_deg"  # only the newer file has it; its translations fit the CC0 body
_LIMIT = 768 * MEBI  # of the documented file, unpacked
_MOST_FRAMES = 108_000  # of one motion: an hour at 30 frames a second
_TEXT = MEBI  # of a file of texts


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
        split: the file's own ("train", "val", "held"), "" if it has none.
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
        path: the documented npz, an AMASS .npz, a .bvh, or a folder of these (searched
            through). In a folder, ``labels.json`` ({"sub/name": text}) or ``name.txt`` beside a
            file says what is done; without either the file's name does ("walk_01_poses" is
            "walk"). The subject is the file's folder. Broken files in a folder are left out and
            announced.
    Raises ``SemttaError`` if there is nothing to read or a file is not what it claims to be."""
    path = Path(path)
    if path.is_file() and not _is_bvh(path) and _is_documented(path):
        return _list_npz(path)
    if path.is_file():
        return [_entry(path, path.parent, {})]
    if not path.is_dir():
        raise SemttaError(f"there is no motion file or folder '{path}'.")
    labels = _sidecar(path)
    entries, broken = [], []
    for file in sorted(f for f in path.rglob("*") if f.suffix.lower() in (".npz", ".bvh")):
        try:
            if file.name.startswith("."):
                continue
            if not _is_bvh(file) and _is_documented(file):  # before AMASS: it has its keys, too
                entries.extend(_list_npz(file))
            elif _is_bvh(file) or is_amass(_names(file)):
                entries.append(_entry(file, path, labels))
        except SemttaError as error:
            broken.append(error)
    if broken and not entries:
        raise broken[0]
    for fault in broken:
        announce(f"left out: {fault}")
    if not entries:
        raise SemttaError(f"'{path}' holds no motion: neither AMASS .npz (poses, trans, "
                          "mocap_framerate) nor .bvh files.")  # fmt: skip
    return entries


def read_motion(entry: MotionEntry) -> MotionClip:
    """Read one motion, turned to SMPL's convention and 30 frames a second."""
    if _is_bvh(entry.path):
        rotmats, trans = _resample(entry.path, *read_bvh(entry.path))
    elif _is_documented(entry.path):
        rotmats, trans = _read_npz(entry)
    else:
        rotmats, trans = _resample(entry.path, *read_amass(entry.path))
    if not (np.isfinite(rotmats).all() and np.isfinite(trans).all()):
        raise SemttaError(f"the motion '{entry.name}' in '{entry.path}' holds NaN.")
    return MotionClip(
        name=entry.name,
        rotmats=rotmats,
        trans=trans,
        text=entry.text,
        label=canonical_label(entry.text),
        subject=entry.subject,
        source=entry.source,
    )


def _is_bvh(path: Path) -> bool:
    return path.suffix.lower() == ".bvh"


def _names(path: Path) -> set[str]:
    return set(npz_names(path, "motion file"))


def _is_documented(path: Path) -> bool:
    return {"pose", "start"} <= _names(path)


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
    if not entries:
        raise SemttaError(f"the motion file '{path}' holds repeated takes only.")
    return entries


def _npz(path: Path) -> dict[str, np.ndarray]:
    stat = path.stat()
    return _npz_arrays(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(2)
def _npz_arrays(path: Path, size: int, modified: int) -> dict[str, np.ndarray]:
    data = read_npz(path, "motion file", _KEYS, _LIMIT)
    missing = [key for key in _KEYS if key not in data]
    if missing:
        raise SemttaError(f"the motion file '{path}' has no {', '.join(missing)}.")
    kinds = {"pose": "fiu", "trans": "fiu", "start": "iu", "length": "iu", "is_duplicate": "biu"}
    wrong = [key for key, kind in kinds.items() if data[key].dtype.kind not in kind]
    if wrong or not all(data[key].shape for key in _KEYS):
        raise SemttaError(f"the motion file '{path}' is inconsistent: {(wrong or ['a list'])[0]} "
                          "is of another kind.")  # fmt: skip
    frames, clips = len(data["pose"]), len(data["start"])
    ends = data["start"].astype(np.int64) + data["length"].astype(np.int64)
    fits = data["pose"].shape == (frames, 24, 3) and data["trans"].shape == (frames, 3)
    fits &= all(data[key].shape == (clips,) for key in _KEYS[2:])
    fits = fits and clips > 0 and bool((data["start"] >= 0).all() and (data["length"] > 0).all())
    if not fits or ends.max() > frames or data["length"].max() > _MOST_FRAMES:
        raise SemttaError(f"the motion file '{path}' is inconsistent: its clips do not fit its "
                          "poses.")  # fmt: skip
    return data


def _read_npz(entry: MotionEntry) -> tuple[np.ndarray, np.ndarray]:
    data = _npz(entry.path)
    start, length = int(data["start"][entry.index]), int(data["length"][entry.index])
    pose = torch.from_numpy(data["pose"][start : start + length].astype(np.float64))
    rotmats = roma.rotvec_to_rotmat(pose).float().numpy()
    trans = data["trans"][start : start + length].astype(np.float32)
    if _MADE_FOR_BODY not in npz_names(entry.path, "motion file"):
        trans = trans * np.float32(_LEG_SCALE)
    return rotmats, trans


# AMASS and folders -------------------------------------------------------------------------------


def _entry(path: Path, root: Path, labels: dict[str, str]) -> MotionEntry:
    name = path.relative_to(root).with_suffix("").as_posix()
    folder = path.parent.relative_to(root).as_posix()
    bvh = _is_bvh(path)
    count, fps = (bvh_length if bvh else amass_length)(path)
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
    labels = read_json(path, "file of labels", _TEXT)
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise SemttaError(f'\'{path}\' must map motion names to texts: {{"sub/name": "walk"}}.')
    return {name.removesuffix(".npz").removesuffix(".bvh"): text for name, text in labels.items()}


def _text_beside(path: Path) -> str:
    beside = path.with_suffix(".txt")
    lines = read_text(beside, "text", _TEXT).split("\n") if beside.is_file() else []
    # HumanML3D's texts go on after a '#' with parts of speech
    return next((line.split("#")[0].strip() for line in lines if line.strip()), "")


def _text_of_name(path: Path) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.stem)
    words = re.split(r"[\W_\d]+", spaced)
    return " ".join(w.lower() for w in words if len(w) > 1 and w not in ("poses", "stageii"))


def _resample(
    path: Path, rotmats: np.ndarray, trans: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """To 30 frames a second."""
    if len(rotmats) / fps * FPS > _MOST_FRAMES:
        raise SemttaError(f"the motion '{path}' is longer than an hour; cut it.")
    times = torch.arange(len(rotmats)).double() / fps
    wanted = torch.arange(int(float(times[-1]) * FPS + 1e-3) + 1).double() / FPS
    grid = fractional_index(times, wanted)
    turned = resample_positions(torch.from_numpy(np.ascontiguousarray(rotmats)).float(), grid)
    index = np.arange(len(trans))
    moved = np.stack([np.interp(grid.numpy(), index, trans[:, k]) for k in range(3)], axis=1)
    return turned.numpy(), moved.astype(np.float32)
