"""Readers of the official files of keypoint data sets: what is written there, nothing more."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semtta.body.unpickle import BodyUnpickler, plain
from semtta.errors import SemttaError
from semtta.reading import MEBI, check_file, read_json, reading

_WHAT = "annotation file"
_LARGEST = 512 * MEBI  # of a file that is not JSON

_SEED, _TEST_SHARE, _TEST_MOST = 42, 0.2, 3200  # the peers' random splits
_FREIHAND_VERSIONS = 4  # colour versions of every photo
_FREIHAND_SIZE, _RHD_SIZE = (224, 224), (320, 320)
_H36M_SUBJECTS = {"train": (1, 5, 6, 7, 8), "test": (9, 11)}
_H36M_STEP = 5  # every fifth frame
_RHD_SMALLEST, _RHD_JOINTS, _RHD_OVERLAP = 64, 16, 0.3


@dataclass(frozen=True)
class Labelled:
    """One labelled person or hand, as a data set has it.

    Args:
        image: file.
        points: (N, 2) image pixels, the data set's order.
        visible: (N,) whether a point is labelled.
        box: (4,) x0 y0 x1 y1, where the data set has one.
        mirror: whether the crop is to be mirrored.
        size: width, height of the image that the points were marked in, where the files say it.
        name: for messages.
    """

    image: Path
    points: np.ndarray
    visible: np.ndarray
    box: np.ndarray | None = None
    mirror: bool = False
    name: str = ""
    size: tuple[int, int] | None = None


def _table(path: Path, make) -> list[Labelled]:
    """``make(content)`` of a JSON file; what it stumbles over is a damaged file."""
    content = read_json(path, _WHAT)
    with reading(path, _WHAT):
        return make(content)


def _points(values, columns: int, count: int) -> np.ndarray:
    """(count, columns), row by row: a pickle may hold one list a billion times."""
    if len(values) != count or any(len(row) != columns for row in values):
        raise ValueError(f"joints are not {count} rows of {columns} numbers")
    return np.array([[float(value) for value in row] for row in values])


def image_size(row: dict) -> tuple[int, int] | None:
    """Width and height of an image as COCO's files give them; None where they do not."""
    width, height = (int(row.get(key) or 0) for key in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


def _random_part(samples: list, split: str) -> list:
    """The peers' split of sets that have none: shuffled by seed 42, a fifth, at most 3200, test."""
    order = list(samples)
    random.Random(_SEED).shuffle(order)
    cut = min(int(len(order) * _TEST_SHARE), _TEST_MOST)
    return order[:cut] if split == "test" else order[cut:]


# ------------------------------------------------------------------------------- bodies


def surreal(root: Path, split: str) -> list[Labelled]:
    """``{split}/run{0,1,2}.json``, images in ``{split}/run{k}/``; 24 SMPL joints."""
    found = []
    for run in range(3):
        file = root / split / f"run{run}.json"

        def make(content, folder=root / split / f"run{run}"):
            return [
                Labelled(folder / row["name"], _points(row["keypoint2d"], 2, 24),
                         np.ones(24, bool), name=row["name"])
                for row in content
            ]  # fmt: skip

        found += _table(file, make)
    return found


def _mat(root: Path) -> np.ndarray:
    from scipy.io import loadmat

    file = check_file(root / "joints.mat", _WHAT, _LARGEST)
    with reading(file, _WHAT):
        return np.asarray(loadmat(file, variable_names=["joints"])["joints"], np.float64)


def lsp(root: Path, split: str) -> list[Labelled]:
    """``images/im0001.jpg``..., ``joints.mat`` (3, 14, N) whose third row is 1 for *hidden*
    joints; the first half is the official training part."""
    joints = _mat(root)
    if joints.ndim != 3 or joints.shape[:2] != (3, 14):
        raise SemttaError(f"'{root}/joints.mat' has shape {joints.shape}, expected (3, 14, N); "
                          "that of LSP-Extended is data set lsp_extended.")  # fmt: skip
    count, half = joints.shape[2], joints.shape[2] // 2
    numbers = {"all": range(count), "train": range(half), "test": range(half, count)}[split]
    return [
        Labelled(root / "images" / f"im{i + 1:04d}.jpg", joints[:2, :, i].T, joints[2, :, i] == 0,
                 name=f"im{i + 1:04d}.jpg")
        for i in numbers
    ]  # fmt: skip


def lsp_extended(root: Path, split: str) -> list[Labelled]:
    """``images/im00001.jpg``..., ``joints.mat`` (14, 3, N) whose third column is 1 for *labelled*
    joints; images with fewer than 8 of them are left out."""
    joints = _mat(root)
    if joints.ndim != 3 or joints.shape[:2] != (14, 3):
        raise SemttaError(f"'{root}/joints.mat' has shape {joints.shape}, expected (14, 3, N); "
                          "that of LSP is data set lsp.")  # fmt: skip
    people = [
        Labelled(root / "images" / f"im{i + 1:05d}.jpg", joints[:, :2, i], joints[:, 2, i] == 1,
                 name=f"im{i + 1:05d}.jpg")
        for i in range(joints.shape[2])
    ]  # fmt: skip
    return [person for person in people if person.visible.sum() >= 8]


def human36m(root: Path, split: str) -> list[Labelled]:
    """``annotations/Human36M_subject{n}_{camera,data,joint_3d}.json`` and ``images/``; 17 joints
    in millimetres, projected. Every fifth frame; at most 3200 for testing, none twice."""
    found = []
    for subject in _H36M_SUBJECTS[split]:
        stem = root / "annotations" / f"Human36M_subject{subject}"
        cameras = read_json(f"{stem}_camera.json", _WHAT)
        joints = read_json(f"{stem}_joint_3d.json", _WHAT)

        def make(content, cameras=cameras, joints=joints):
            people = []
            for row in content["images"]:
                if int(row["frame_idx"]) % _H36M_STEP:
                    continue
                camera = cameras[str(row["cam_idx"])]
                place = (str(row[key]) for key in ("action_idx", "subaction_idx", "frame_idx"))
                action, subaction, frame = place
                world = _points(joints[action][subaction][frame], 3, 17)
                uv = _pinhole(world, camera)
                people.append(Labelled(root / "images" / row["file_name"], uv, np.ones(17, bool),
                                       name=row["file_name"],
                                       size=(int(row["width"]), int(row["height"]))))  # fmt: skip
            return people

        found += _table(Path(f"{stem}_data.json"), make)
    if split == "test" and len(found) > _TEST_MOST:
        found = random.Random(_SEED).sample(found, _TEST_MOST)
    return found


def _pinhole(world: np.ndarray, camera: dict) -> np.ndarray:
    """(N, 3) world -> (N, 2) pixels by a camera's R, t, f, c."""
    r, t = np.asarray(camera["R"], float).reshape(3, 3), np.asarray(camera["t"], float).reshape(3)
    f, c = np.asarray(camera["f"], float).reshape(2), np.asarray(camera["c"], float).reshape(2)
    return _image_plane(world @ r.T + t) * f + c


def _image_plane(points: np.ndarray) -> np.ndarray:
    """(N, 3) camera frame -> (N, 2) x/z, y/z; NaN for what is not in front of the camera."""
    depth = points[:, 2:]
    return points[:, :2] / np.where(depth > 0, depth, np.nan)


# -------------------------------------------------------------------------------- hands


def rhd(root: Path, split: str) -> list[Labelled]:
    """``{split}/color/%05d.png`` and ``{split}/anno_{split}.pickle``; (``RHD_published_v2``).

    Hands larger than 64 pixels with more than 16 visible joints that the other hand does not
    overlap by more than 0.3; right hands are mirrored."""
    root = root / "RHD_published_v2" if (root / "RHD_published_v2").is_dir() else root
    file = check_file(root / split / f"anno_{split}.pickle", _WHAT, _LARGEST)
    with reading(file, _WHAT), open(file, "rb") as handle:
        content = plain(BodyUnpickler(handle).load())
        found = []
        for key, row in content.items():
            both = _points(row["uv_vis"], 3, 42)
            image = root / split / "color" / f"{int(key):05d}.png"
            found += _hands(image, both)
        return found


def _hands(image: Path, both: np.ndarray) -> list[Labelled]:
    """The usable ones of an image's two hands (42, 3), left first."""
    sides = [(both[:21], False, "left"), (both[21:], True, "right")]
    boxes = []
    for hand, _, _ in sides:
        seen = hand[hand[:, 2] > 0, :2]
        boxes.append(np.concatenate((seen.min(0), seen.max(0))) if len(seen) else None)
    found = []
    for (hand, mirror, side), box, other in zip(sides, boxes, boxes[::-1]):
        visible = hand[:, 2] > 0
        if box is None or visible.sum() <= _RHD_JOINTS:
            continue
        if (box[2:] - box[:2]).max() <= _RHD_SMALLEST or _overlap(box, other) >= _RHD_OVERLAP:
            continue
        found.append(Labelled(image, hand[:, :2], visible, mirror=mirror,
                              name=f"{image.name}, {side} hand", size=_RHD_SIZE))  # fmt: skip
    return found


def _overlap(box: np.ndarray, other: np.ndarray | None) -> float:
    """Share of a box that another one covers."""
    if other is None:
        return 0.0
    common = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    return float(np.prod(np.clip(common, 0, None)) / max(np.prod(box[2:] - box[:2]), 1e-9))


def h3d(root: Path, split: str) -> list[Labelled]:
    """``H3D_crop/annotation.json`` and ``part1..5/``; hands without objects, already cropped."""
    root = root / "H3D_crop" if (root / "H3D_crop").is_dir() else root

    def make(content):
        return [
            Labelled(root / row["name"], _points(row["keypoint2d"], 2, 21), np.ones(21, bool),
                     name=row["name"])
            for row in content if row["without_object"] == 1
        ]  # fmt: skip

    return _random_part(_table(root / "annotation.json", make), split)


def freihand(root: Path, split: str) -> list[Labelled]:
    """``training_{K,xyz}.json``, ``training/rgb/%08d.jpg``: every photo in four colour versions,
    which stay together in the split. Right hands all, so mirrored."""
    matrices = read_json(root / "training_K.json", _WHAT)

    def make(content):
        if len(content) != len(matrices):
            raise ValueError(f"{len(content)} hands but {len(matrices)} cameras")
        photos = []
        for i, (points, k) in enumerate(zip(content, matrices)):
            photos.append((i, _image_plane(_points(points, 3, 21) @ _points(k, 3, 3).T)))
        return photos

    photos = _table(root / "training_xyz.json", make)
    count = len(photos)
    return [
        Labelled(root / "training" / "rgb" / f"{version * count + i:08d}.jpg", uv,
                 np.ones(21, bool), mirror=True, name=f"{version * count + i:08d}.jpg",
                 size=_FREIHAND_SIZE)
        for i, uv in _random_part(photos, split)
        for version in range(_FREIHAND_VERSIONS)
    ]  # fmt: skip


def wholebody_hands(root: Path, split: str) -> list[Labelled]:
    """``annotations/coco_wholebody_{split}_v1.0.json``, images in ``{split}2017/``: valid hands
    with their boxes; right hands are mirrored."""

    def make(content):
        files = {image["id"]: image for image in content["images"]}
        found = []
        for row in content["annotations"]:
            for side in ("left", "right"):
                if not row.get(f"{side}hand_valid"):
                    continue
                triples = _points(np.reshape(row[f"{side}hand_kpts"], (-1, 3)), 3, 21)
                x, y, w, h = row[f"{side}hand_box"]
                name = files[row["image_id"]]["file_name"]
                found.append(Labelled(root / f"{split}2017" / name, triples[:, :2],
                                      triples[:, 2] > 0, np.array([x, y, x + w, y + h], float),
                                      side == "right", f"{name}, {side} hand",
                                      image_size(files[row["image_id"]])))  # fmt: skip
        return [hand for hand in found if hand.visible.any()]

    return _table(root / "annotations" / f"coco_wholebody_{split}_v1.0.json", make)
