"""EMDB (Kaufmann et al. 2023): ``P{0-9}/<sequence>/{images/%05d.jpg, P*_<sequence>_data.pkl}``,
30 frames a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from semtta.bench.benchmark import Item
from semtta.bench.datasets.files import entry, numbers, read_pickle_file
from semtta.bench.datasets.folder import DataSet
from semtta.bench.datasets.recording import Recording, body_truth
from semtta.bench.protocols import Protocol
from semtta.body.search import GENDERS
from semtta.doctor import Finding
from semtta.errors import SemttaError
from semtta.geometry import Camera, keypoint_boxes
from semtta.keypoints import Keypoints2D
from semtta.skeletons import SMPL24
from semtta.video import ImageSequence

SPLITS = {"emdb1": 17, "emdb2": 25}  # sequences


def items(root: Path, split: str) -> list[Item]:
    files = _files(root)
    if not files:
        raise SemttaError(
            f"'{root}' holds no P*/<sequence>/*_data.pkl; --root must be the folder of EMDB."
        )
    found = []
    for file in files:
        if _belongs(read_pickle_file(file, "EMDB sequence"), split, file):
            name = f"{file.parents[1].name}_{file.parent.name}"
            found.append(Item(name, name, group=file.parents[1].name))
    return found


def read(root: Path, item: Item, protocol: Protocol) -> Recording:
    subject, sequence = item.sequence.split("_", 1)
    folder = root / subject / sequence
    file = folder / f"{subject}_{sequence}_data.pkl"
    content = read_pickle_file(file, "EMDB sequence")
    arrays = _arrays(file, content)
    gender = str(entry(content, "gender", file))
    if gender not in GENDERS:
        raise SemttaError(f"'{file}': 'gender' is '{gender}', expected {', '.join(GENDERS)}.")
    xy = torch.from_numpy(arrays["kp2d"]).float()
    size = torch.tensor(arrays["size"])
    inside = ((xy >= 0) & (xy < size)).all(-1)
    boxes = torch.from_numpy(arrays["bboxes"]).float()
    empty = (boxes[:, 2:] <= boxes[:, :2]).any(1, keepdim=True)
    around = keypoint_boxes(xy, torch.ones_like(xy[..., 0]), margin=1.0)
    k, count = arrays["intrinsics"], len(xy)
    return Recording(
        frames=torch.arange(count),
        images=ImageSequence(folder / "images", tuple(f"{i:05d}.jpg" for i in range(count))),
        camera=Camera(float(k[0, 0] + k[1, 1]) / 2, (float(k[0, 2]), float(k[1, 2]))),
        boxes=torch.where(empty, around, boxes),
        keypoints=Keypoints2D(xy, inside.float(), SMPL24),
        truth=body_truth(
            arrays["poses_root"], arrays["poses_body"], arrays["betas"],
            arrays["extrinsics"][:, :3, :3], gender,
        ),
        masks={"good_frames": torch.from_numpy(arrays["good"])},
    )  # fmt: skip


def findings(root: Path, split: str) -> list[Finding]:
    chosen, broken, images = [], [], []
    for file in _files(root):
        try:
            content = read_pickle_file(file, "EMDB sequence")
            if not _belongs(content, split, file):
                continue
            chosen.append(file)
            expected = len(_arrays(file, content)["good"])
            have = len(list((file.parent / "images").glob("*.jpg")))
            if have < expected:
                images.append(f"{file.parent.name} ({have} of {expected})")
        except SemttaError as error:
            broken.append(str(error))
    state = "ok" if len(chosen) >= SPLITS[split] and not broken else "missing"
    found = [Finding(f"{split}: annotations", state,
                     f"{len(chosen)} of {SPLITS[split]} sequences in {root}")]  # fmt: skip
    found += [Finding(f"{split}: annotations", "missing", text) for text in broken]
    state = "missing" if images or not chosen else "ok"
    detail = f"missing in {', '.join(images)}" if images else "<sequence>/images/%05d.jpg"
    return [*found, Finding(f"{split}: images", state, detail)]


def _files(root: Path) -> list[Path]:
    return sorted(
        file
        for file in root.glob("P*/*/*_data.pkl")
        if file.name == f"{file.parents[1].name}_{file.parent.name}_data.pkl"
    )


def _belongs(content: dict, split: str, file: Path) -> bool:
    flag = np.ravel(entry(content, split, file))
    return bool(numbers(flag, (1,), f"'{file}': '{split}'")[0])


def _arrays(file: Path, content: dict) -> dict[str, np.ndarray]:
    camera, smpl, boxes = (entry(content, key, file) for key in ("camera", "smpl", "bboxes"))

    mask = np.ravel(entry(content, "good_frames_mask", file))
    good = numbers(mask, (None,), f"'{file}': 'good_frames_mask'") > 0
    count = len(good)
    if not count:
        raise SemttaError(f"'{file}': 'good_frames_mask' has no frames.")

    def read(part: dict, key: str, *shape: int) -> np.ndarray:
        return numbers(entry(part, key, file), shape, f"'{file}': '{key}'")

    def per_frame(part: dict, key: str, *shape: int) -> np.ndarray:
        where = f"'{file}': '{key}'"
        return numbers(entry(part, key, file), (count, *shape), where, counted=good)

    return {
        "good": good,
        "size": np.array([read(camera, key) for key in ("width", "height")]),
        "intrinsics": read(camera, "intrinsics", 3, 3),
        "betas": read(smpl, "betas", 10),
        "kp2d": per_frame(content, "kp2d", 24, 2),
        "extrinsics": per_frame(camera, "extrinsics", 4, 4),
        "poses_root": per_frame(smpl, "poses_root", 3),
        "poses_body": per_frame(smpl, "poses_body", 69),
        "bboxes": per_frame(boxes, "bboxes", 4),
    }


EMDB = DataSet(
    name="emdb", title="EMDB", splits=tuple(SPLITS), items=items, read=read, findings=findings,
    own_2d="the set's projected true joints (kp2d): true 2D", genders=("male", "female"),
)  # fmt: skip
