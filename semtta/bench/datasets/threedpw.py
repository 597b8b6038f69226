"""3DPW (von Marcard et al. 2018): ``sequenceFiles/{train,validation,test}/*.pkl`` and
``imageFiles/<sequence>/image_%05d.jpg``; 37 tracks in the test split, 30 frames a second."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from semtta.bench.benchmark import Item
from semtta.bench.datasets.files import entry, numbers, read_pickle_file
from semtta.bench.datasets.folder import DataSet
from semtta.bench.datasets.recording import Recording, body_truth
from semtta.bench.protocols import Protocol
from semtta.doctor import Finding
from semtta.errors import SemttaError
from semtta.geometry import Camera, keypoint_boxes
from semtta.keypoints import Keypoints2D
from semtta.skeletons import COCO18, LIMB12
from semtta.video import ImageSequence

SPLITS = {"train": 24, "validation": 12, "test": 24}  # sequences
_GENDERS = {"m": "male", "f": "female", "male": "male", "female": "female"}
_VISIBLE = 0.3  # VIBE: a limb joint is visible above it, a frame counts with more than 6 of 12
_LEAST_VISIBLE = 7


def items(root: Path, split: str) -> list[Item]:
    folder = root / "sequenceFiles" / split
    files = sorted(folder.glob("*.pkl"))
    if not files:
        raise SemttaError(f"'{folder}' holds no .pkl; --root must be the folder of 3DPW.")
    found = []
    for file in files:
        for person in range(_people(file)):
            name = f"{file.stem}_p{person}"
            found.append(Item(name, file.stem, group=file.stem))
    return found


def read(root: Path, item: Item, protocol: Protocol) -> Recording:
    file = _file(root, item)
    content = _content(file, file.stat().st_mtime_ns)
    person = int(item.name.rsplit("_p", 1)[1])
    arrays = _arrays(file, content, person)
    count = len(arrays["poses"])
    poses2d = arrays["poses2d"].transpose(0, 2, 1)
    keypoints = Keypoints2D(
        torch.from_numpy(poses2d[..., :2]).float(),
        torch.from_numpy(poses2d[..., 2]).clamp(0, 1).float(),
        COCO18,
    )
    try:
        boxes = keypoint_boxes(keypoints.xy, keypoints.conf, margin=1.0)
    except ValueError:
        raise SemttaError(f"'{file}': person {person} has no 2D joints in any frame.") from None
    limbs = keypoints.conf[:, COCO18.indices(LIMB12.joints)] > _VISIBLE
    k = arrays["cam_intrinsics"]
    names = tuple(f"image_{i:05d}.jpg" for i in range(count))
    return Recording(
        frames=torch.arange(count),
        images=ImageSequence(root / "imageFiles" / file.stem, names),
        camera=Camera(float(k[0, 0] + k[1, 1]) / 2, (float(k[0, 2]), float(k[1, 2]))),
        boxes=boxes,
        keypoints=keypoints,
        truth=body_truth(
            arrays["poses"][:, :3], arrays["poses"][:, 3:], arrays["betas"],
            arrays["cam_poses"][:, :3, :3], _gender(file, content, person),
        ),
        masks={
            "campose_valid": torch.from_numpy(arrays["campose_valid"] > 0),
            "has_2d": (keypoints.conf > 0).any(1),
            "seven_limb_joints": limbs.sum(1) >= _LEAST_VISIBLE,
        },
        person=person + 1,
    )  # fmt: skip


def findings(root: Path, split: str) -> list[Finding]:
    folder = root / "sequenceFiles" / split
    files = sorted(folder.glob("*.pkl"))
    state = "ok" if len(files) >= SPLITS[split] else "missing"
    found = [Finding(f"{split}: annotations", state,
                     f"{len(files)} of {SPLITS[split]} sequences in {folder}")]  # fmt: skip
    tracks, broken, images = 0, [], []
    for file in files:
        try:
            content = _content(file, file.stat().st_mtime_ns)
            people = range(_people(file))
            expected = max(len(_arrays(file, content, person)["poses"]) for person in people)
            for person in people:
                _gender(file, content, person)
            tracks += len(people)
            have = len(list((root / "imageFiles" / file.stem).glob("image_*.jpg")))
            if have < expected:
                images.append(f"{file.stem} ({have} of {expected})")
        except SemttaError as error:
            broken.append(str(error))
    found += [Finding(f"{split}: annotations", "missing", text) for text in broken]
    found.append(Finding(f"{split}: tracks", "ok" if tracks else "missing", f"{tracks}"))
    detail = f"missing in {', '.join(images)}" if images else f"in {root / 'imageFiles'}"
    state = "missing" if images or not files else "ok"
    found.append(Finding(f"{split}: images", state, detail))
    return found


def _file(root: Path, item: Item) -> Path:
    for split in SPLITS:
        file = root / "sequenceFiles" / split / f"{item.sequence}.pkl"
        if file.is_file():
            return file
    raise SemttaError(f"'{root / 'sequenceFiles'}' has no {item.sequence}.pkl.")


@lru_cache(maxsize=2)  # two people of one sequence follow each other
def _content(file: Path, modified: int) -> dict:
    return read_pickle_file(file, "3DPW sequence")


def _people(file: Path) -> int:
    poses = entry(_content(file, file.stat().st_mtime_ns), "poses", file)
    if not isinstance(poses, (list, tuple, np.ndarray)) or not len(poses):
        raise SemttaError(f"'{file}': 'poses' holds nobody.")
    return len(poses)


def _arrays(file: Path, content: dict, person: int) -> dict[str, np.ndarray]:
    def of_person(key: str):
        value = entry(content, key, file)
        try:
            return value[person]
        except Exception:  # whatever a pickle may hold
            raise SemttaError(f"'{file}': '{key}' has no entry of person {person}.") from None

    def read(key: str, value, shape: tuple) -> np.ndarray:
        return numbers(value, shape, f"'{file}': '{key}' of person {person}")

    poses = read("poses", of_person("poses"), (None, 72))
    count = len(poses)
    return {
        "poses": poses,
        "betas": read("betas", np.ravel(of_person("betas"))[:10], (10,)),
        "poses2d": read("poses2d", of_person("poses2d"), (count, 3, 18)),
        "campose_valid": read("campose_valid", of_person("campose_valid"), (count,)),
        "cam_poses": read("cam_poses", entry(content, "cam_poses", file), (count, 4, 4)),
        "cam_intrinsics": read("cam_intrinsics", entry(content, "cam_intrinsics", file), (3, 3)),
    }


def _gender(file: Path, content: dict, person: int) -> str:
    genders = entry(content, "genders", file)
    try:
        return _GENDERS[str(genders[person]).lower()]
    except Exception:  # whatever a pickle may hold
        raise SemttaError(f"'{file}': 'genders' has no m or f for person {person}.") from None


THREEDPW = DataSet(
    name="3dpw", title="3DPW", splits=tuple(SPLITS), items=items, read=read, findings=findings,
    own_2d="the set's OpenPose joints (COCO-18, cleaned by hand)", genders=("male", "female"),
)  # fmt: skip
