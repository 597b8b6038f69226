"""EgoBody's EgoSet, the interactee (Zhang et al. 2022), in either of its two forms.

The release: ``data_info_release.csv``, ``data_splits.csv``, ``calibrations/<recording>/...``,
``egocentric_color/<recording>/<date>/{PV/<timestamp>_frame_%05d.jpg, *_pv.txt, keypoints.npz,
valid_frame.npz}`` and ``smpl_interactee[_<split>]/<recording>/body_idx_*/results/frame_%05d/
000.pkl`` in the frame of the master Kinect. Or, if it is there, the authors' short form
``annotation_egocentric_smpl_npz/egocapture_<split>_smpl.npz``, already in the camera's frame.
The headset dropped frames: their numbers are missing, and nothing is taken across the gaps.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from semtta.bench.benchmark import Item
from semtta.bench.datasets.egobody_raw import read_raw, recordings_of
from semtta.bench.datasets.files import entry, numbers
from semtta.bench.datasets.folder import DataSet
from semtta.bench.datasets.recording import Recording, body_truth
from semtta.bench.protocols import Protocol
from semtta.doctor import Finding
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.keypoints import Keypoints2D
from semtta.reading import read_npz
from semtta.skeletons import BODY25
from semtta.video import ImageSequence

SPLITS = ("train", "val", "test")
_PIXELS_PER_SCALE = 200.0


def items(root: Path, split: str) -> list[Item]:
    short = _short_form(root, split)
    names = _short_recordings(short) if short.is_file() else recordings_of(root, split)
    return [Item(name, name, group=name) for name in names]


def read(root: Path, item: Item, protocol: Protocol) -> Recording:
    for split in SPLITS:
        short = _short_form(root, split)
        if short.is_file() and item.name in _short_recordings(short):
            return _recording(root, short, item.name, _read_short(short, item.name))
    return _recording(root, root, item.name, read_raw(root, item.name))


def findings(root: Path, split: str) -> list[Finding]:
    short = _short_form(root, split)
    try:
        names = [item.name for item in items(root, split)]
    except SemttaError as error:
        return [Finding(f"{split}: annotations", "missing", str(error))]
    where = short if short.is_file() else root / "smpl_interactee"
    found = [Finding(f"{split}: recordings", "ok" if names else "missing",
                     f"{len(names)} in {where}")]  # fmt: skip
    lacking = [n for n in names if not any((root / "egocentric_color" / n).glob("*/PV/*.jpg"))]
    detail = f"missing in {', '.join(lacking)}" if lacking else f"in {root / 'egocentric_color'}"
    found.append(Finding(f"{split}: images", "missing" if lacking or not names else "ok", detail))
    for name in names:
        try:
            _read_short(short, name) if short.is_file() else read_raw(root, name)
        except SemttaError as error:
            found.append(Finding(f"{split}: annotations", "missing", str(error)))
    return found


def _recording(root: Path, file: Path, name: str, rows: dict) -> Recording:
    """Rows of either form, by frame number.

    Args:
        rows: ``imgname`` (N,), ``center`` (N, 2), ``scale`` (N,), ``keypoints`` (N, 25, 3),
            ``global_orient`` (N, 3), ``pose`` (N, 69), ``betas`` (N, 10), ``to_camera``
            (N, 3, 3) or None, ``gender``, ``focal``, ``principal`` (2,), ``valid`` (N,)."""
    numbers_ = np.array([frame_number(image, file) for image in rows["imgname"]])
    order = np.argsort(numbers_, kind="stable")
    frames = numbers_[order]
    if (np.diff(frames) <= 0).any():
        raise SemttaError(f"'{file}': recording {name} has a frame twice.")
    images: list[str | None] = [None] * (int(frames[-1]) + 1)
    for position, frame in zip(order, frames):
        images[frame] = PurePosixPath(rows["imgname"][position]).name
    picture = PurePosixPath(rows["imgname"][0])
    turn = rows["to_camera"]
    keypoints = torch.from_numpy(rows["keypoints"][order])
    center, half = rows["center"][order], rows["scale"][order, None] * _PIXELS_PER_SCALE / 2
    cx, cy = (float(value) for value in rows["principal"])
    return Recording(
        frames=torch.from_numpy(frames),
        # the folder as the file names it, wherever the set was unpacked
        images=ImageSequence(root.joinpath(*picture.parts[-5:-1]), tuple(images)),
        camera=Camera(float(rows["focal"]), (cx, cy)),
        boxes=torch.from_numpy(np.concatenate([center - half, center + half], 1)).float(),
        keypoints=Keypoints2D(
            keypoints[..., :2].float(), keypoints[..., 2].clamp(0, 1).float(), BODY25
        ),
        truth=body_truth(
            rows["global_orient"][order], rows["pose"][order], rows["betas"][order],
            None if turn is None else turn[order], rows["gender"],
        ),
        masks={"valid": torch.from_numpy(rows["valid"][order])},
    )  # fmt: skip


def frame_number(image: str, file: Path) -> int:
    """``.../<timestamp>_frame_01234.jpg`` -> 1234."""
    found = re.search(r"_frame_(\d{1,7})\.", image)
    if not found:
        raise SemttaError(f"'{file}': the image name '{image}' has no frame number.")
    return int(found[1])


def _short_form(root: Path, split: str) -> Path:
    return root / "annotation_egocentric_smpl_npz" / f"egocapture_{split}_smpl.npz"


@lru_cache(maxsize=2)
def _archive(file: Path, modified: int) -> dict[str, np.ndarray]:
    return read_npz(file, "EgoBody annotation")


def _names(file: Path) -> np.ndarray:
    """Recording of every row."""
    images = entry(_archive(file, file.stat().st_mtime_ns), "imgname", file)
    if images.ndim != 1 or images.dtype.kind not in "US":
        raise SemttaError(f"'{file}': 'imgname' does not hold image names.")
    parts = [PurePosixPath(str(image)).parts for image in images]
    if any(len(p) < 5 for p in parts):
        raise SemttaError(f"'{file}': 'imgname' is not egocentric_color/<recording>/<date>/PV/...")
    return np.array([p[-4] for p in parts])


def _short_recordings(file: Path) -> list[str]:
    return sorted(set(_names(file).tolist()))


def _read_short(file: Path, name: str) -> dict:
    content = _archive(file, file.stat().st_mtime_ns)
    chosen = np.flatnonzero(_names(file) == name)
    total = len(content["imgname"])

    def read(key: str, *shape: int) -> np.ndarray:
        value = entry(content, key, file)
        if value.shape != (total, *shape):
            raise SemttaError(
                f"'{file}': '{key}' has shape {value.shape}, expected {(total, *shape)}."
            )
        return numbers(value[chosen], (len(chosen), *shape), f"'{file}': '{key}' of {name}")

    everybody = np.ravel(entry(content, "gender", file))
    if len(everybody) != total:
        raise SemttaError(f"'{file}': 'gender' has {len(everybody)} entries, expected {total}.")
    genders = {str(gender) for gender in everybody[chosen]}
    gender = {"m": "male", "f": "female", "male": "male", "female": "female"}.get(
        genders.pop() if len(genders) == 1 else ""
    )
    if gender is None:
        raise SemttaError(f"'{file}': 'gender' of {name} is not one of male, female.")
    return {
        "imgname": [str(image) for image in content["imgname"][chosen]],
        "center": read("center", 2),
        "scale": read("scale"),
        "keypoints": read("valid_keypoints", 25, 3),
        "global_orient": read("global_orient_pv", 3),
        "pose": read("pose", 69),
        "betas": read("shape", 10),
        "to_camera": None,
        "gender": gender,
        "focal": np.median(np.concatenate([read("fx"), read("fy")])),
        "principal": (np.median(read("cx")), np.median(read("cy"))),
        "valid": np.ones(len(chosen), bool),
    }


EGOBODY = DataSet(
    name="egobody", title="EgoBody (EgoSet)", splits=SPLITS, items=items, read=read,
    findings=findings, own_2d="the set's OpenPose joints (BODY_25)", genders=("male", "female"),
    limits="Focal length and principal point are the medians of a recording.",
)  # fmt: skip
