"""MPI-INF-3DHP's test set (Mehta et al. 2017): ``mpi_inf_3dhp_test_set/TS{1..6}/`` with
``annot_data.mat`` (HDF5) and ``imageSequence/img_%06d.jpg``, counted from 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from semtta.bench.benchmark import Item
from semtta.bench.datasets.files import numbers
from semtta.bench.datasets.folder import DataSet
from semtta.bench.datasets.recording import JointTruth, Recording
from semtta.bench.protocols import MPI17, Protocol
from semtta.doctor import Finding
from semtta.errors import SemttaError
from semtta.geometry import Camera, keypoint_boxes
from semtta.keypoints import Keypoints2D
from semtta.reading import MEBI, check_file, reading
from semtta.skeletons import LIMB12
from semtta.video import ImageSequence

SEQUENCES = tuple(f"TS{i}" for i in range(1, 7))
_SIZES = {"TS5": (1920, 1080), "TS6": (1920, 1080)}  # the others:
_USUAL_SIZE = (2048, 2048)
_FPS = 25.0
_WHAT, _LARGEST = "annotation of MPI-INF-3DHP", 128 * MEBI  # of one array


def items(root: Path, split: str) -> list[Item]:
    folder = _folder(root)
    found = [name for name in SEQUENCES if (folder / name / "annot_data.mat").is_file()]
    if not found:
        raise SemttaError(
            f"'{folder}' holds no TS1 ... TS6 with annot_data.mat; --root must be the folder of "
            "mpi_inf_3dhp_test_set."
        )
    return [Item(name, name, group=name) for name in found]


def read(root: Path, item: Item, protocol: Protocol) -> Recording:
    folder = _folder(root) / item.sequence
    annotation = protocol.truth if protocol.annotated else "annot3"
    arrays = _arrays(folder / "annot_data.mat", annotation)
    xy = torch.from_numpy(arrays["annot2"][:, 0]).float()
    count = len(xy)
    joints = arrays[annotation][:, 0] / 1000
    size = torch.tensor(_SIZES.get(item.sequence, _USUAL_SIZE))
    inside = ((xy >= 0) & (xy < size)).all(-1).all(-1)
    limbs = MPI17.indices(LIMB12.joints)
    names = tuple(f"img_{i:06d}.jpg" for i in range(1, count + 1))
    return Recording(
        frames=torch.arange(1, count + 1),
        # number 0 does not exist
        images=ImageSequence(folder / "imageSequence", (None, *names), _FPS),
        camera=_camera(folder, arrays),
        boxes=keypoint_boxes(xy, torch.ones(xy.shape[:2]), margin=1.0),
        keypoints=Keypoints2D(xy[:, limbs], torch.ones(count, len(limbs)), LIMB12),
        truth=JointTruth(torch.from_numpy(joints).float(), MPI17),
        masks={
            "valid_frame": torch.from_numpy(arrays["valid_frame"] != 0),
            "all_joints_in_image": inside,
        },
    )


def findings(root: Path, split: str) -> list[Finding]:
    found = [_package()]
    folder = _folder(root)
    for name in SEQUENCES:
        file = folder / name / "annot_data.mat"
        state = "ok" if file.is_file() else "missing"
        found.append(Finding(f"{name}: annotations", state, str(file)))
        images = len(list((folder / name / "imageSequence").glob("img_*.jpg")))
        state, detail = ("ok" if images else "missing"), f"{images} in {name}/imageSequence"
        if file.is_file() and found[0].state == "ok":
            try:
                expected = len(_arrays(file, "annot3")["valid_frame"])
                state = "ok" if images >= expected else "missing"
                detail = f"{images} of {expected} in {name}/imageSequence"
            except SemttaError as error:
                found.append(Finding(f"{name}: annotations", "missing", str(error)))
        found.append(Finding(f"{name}: images", state, detail))
    return found


def _folder(root: Path) -> Path:
    inner = root / "mpi_inf_3dhp_test_set"
    return inner if inner.is_dir() else root


def _package() -> Finding:
    try:
        import h5py
    except ImportError:
        return Finding("package h5py", "missing", "pip install 'semtta[bench]'")
    return Finding("package h5py", "ok", h5py.__version__)


def _arrays(file: Path, annotation: str) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError:
        raise SemttaError(
            "annot_data.mat of MPI-INF-3DHP is HDF5: pip install 'semtta[bench]' (or h5py)."
        ) from None
    check_file(file, _WHAT)
    with reading(file, _WHAT), h5py.File(file, "r") as content:
        keys = ("valid_frame", "annot2", "annot3", annotation)
        raw = {key: _dataset(h5py, content, key) for key in keys}
    valid = numbers(np.ravel(raw["valid_frame"]), (None,), f"'{file}': 'valid_frame'")
    count = len(valid)
    if not count:
        raise SemttaError(f"'{file}': 'valid_frame' is empty.")
    shapes = {"annot2": (count, 1, 17, 2), "annot3": (count, 1, 17, 3)}
    shapes[annotation] = (count, 1, 17, 3)
    arrays = {
        key: numbers(raw[key], shape, f"'{file}': '{key}'", counted=valid != 0)
        for key, shape in shapes.items()
    }
    return {**arrays, "valid_frame": valid}


def _dataset(h5py, content, key: str) -> np.ndarray:
    """An array that lies in the file itself: others may be as large as they claim, or devices."""
    link = content.get(key, getlink=True)
    if link is None:
        raise ValueError(f"it has no '{key}'")
    data = content[key] if isinstance(link, h5py.HardLink) else None
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise ValueError(f"'{key}' is no array in the file")
    if data.size * data.dtype.itemsize > _LARGEST:
        raise ValueError(f"'{key}' claims more than {_LARGEST // MEBI} MiB")
    return np.asarray(data)


def _camera(folder: Path, arrays: dict[str, np.ndarray]) -> Camera:
    """Intrinsics by least squares from 2D and 3D annotations: u z = f x + cx z."""
    xyz = arrays["annot3"].reshape(-1, 3)
    uv = arrays["annot2"].reshape(-1, 2)
    front = xyz[:, 2] > 100  # mm
    if front.sum() < 17:
        raise SemttaError(f"'{folder}': annot3 is not in front of the camera.")
    plane = xyz[front, :2] / xyz[front, 2:]
    zero, one = np.zeros(len(plane)), np.ones(len(plane))
    rows = np.concatenate([np.stack([plane[:, 0], one, zero], 1),
                           np.stack([plane[:, 1], zero, one], 1)])  # fmt: skip
    seen = np.concatenate([uv[front, 0], uv[front, 1]])
    (focal, cx, cy), *_ = np.linalg.lstsq(rows, seen, rcond=None)
    if not focal > 1:
        raise SemttaError(f"'{folder}': annot2 is not a picture of annot3.")
    return Camera(float(focal), (float(cx), float(cy)))


MPI3DHP = DataSet(
    name="3dhp", title="MPI-INF-3DHP (test)", splits=("test",), items=items, read=read,
    findings=findings, own_2d="the set's true 2D joints (annot2), 12 limb joints",
    limits="25 frames/s are assumed; there is no true mesh.",
)  # fmt: skip
