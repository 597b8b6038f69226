"""EgoBody as released: camera poses of the headset, calibration, one SMPL pickle per frame."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from semtta.bench.datasets.files import (
    entry,
    numbers,
    read_pickle_file,
    read_table,
)
from semtta.errors import SemttaError
from semtta.reading import read_json, read_npz, read_text, reading

# the headset's camera looks along -z with y up
_FLIP = np.diag([1.0, -1.0, -1.0])


def recordings_of(root: Path, split: str) -> list[str]:
    """Names of the recordings of a split."""
    rows = read_table(root / "data_splits.csv", "EgoBody split file")
    names = sorted({row.get(split, "") for row in rows} - {"", "nan"})
    if not names:
        raise SemttaError(f"'{root / 'data_splits.csv'}' has no recordings in column '{split}'.")
    return names


def read_raw(root: Path, name: str) -> dict:
    """Rows of one recording, see ``egobody._recording``; frames without a body are left out."""
    body, gender, first, last = _information(root, name)
    folder = _date_folder(root, name)
    file = folder / "keypoints.npz"
    content = read_npz(file, "EgoBody keypoint file")
    images = [str(image) for image in np.ravel(entry(content, "imgname", file))]
    valid_file = folder / "valid_frame.npz"
    flags = read_npz(valid_file, "EgoBody file of valid frames")
    names = [str(image) for image in np.ravel(entry(flags, "imgname", valid_file))]
    valid = dict(zip(names, np.ravel(entry(flags, "valid", valid_file)).astype(bool).tolist()))
    bodies = _body_folder(root, name, body)
    poses, cx, cy = _camera_poses(folder)
    chosen, parameters, turns, focals = [], [], [], []
    kinect = np.linalg.inv(_calibration(root, name))[:3, :3]
    for position, image in enumerate(images):
        timestamp, _, number = PurePosixPath(image).stem.partition("_frame_")
        pickle = bodies / f"frame_{number}" / "000.pkl"
        if not number.isdigit() or not first <= int(number) <= last or timestamp not in poses:
            continue
        if not pickle.is_file():
            continue
        focal, pv_to_world = poses[timestamp]
        chosen.append(position)
        parameters.append(_parameters(pickle))
        turns.append(_FLIP @ np.linalg.inv(pv_to_world)[:3, :3] @ kinect)
        focals.append(focal)
    if not chosen:
        raise SemttaError(f"EgoBody recording {name} has no frame with image, camera and body.")
    count = len(images)

    def read(key: str, *shape: int) -> np.ndarray:
        where = f"'{file}': '{key}'"
        return numbers(entry(content, key, file), (count, *shape), where)[chosen]

    stacked = [np.stack(part) for part in zip(*parameters)]
    return {
        "imgname": [images[i] for i in chosen],
        "center": read("center", 2),
        "scale": read("scale"),
        "keypoints": read("keypoints", 25, 3),
        "global_orient": stacked[0],
        "pose": stacked[1],
        "betas": stacked[2],
        "to_camera": np.stack(turns),
        "gender": gender,
        "focal": np.median(focals),
        "principal": (cx, cy),
        "valid": np.array([valid.get(images[i], False) for i in chosen]),
    }


def _information(root: Path, name: str) -> tuple[int, str, int, int]:
    """Index and gender of the interactee, first and last frame."""
    file, what = root / "data_info_release.csv", "EgoBody table"
    rows = [r for r in read_table(file, what) if r.get("recording_name") == name]
    if not rows:
        raise SemttaError(f"'{file}' has no usable row of {name}.")
    with reading(file, f"the row of {name} in the {what}"):
        index, gender = rows[0]["body_idx_fpv"].split()
        first, last = int(rows[0]["start_frame"]), int(rows[0]["end_frame"])
        if gender not in ("male", "female"):
            raise ValueError(f"gender '{gender}'")
        return int(index), gender, first, last


def _date_folder(root: Path, name: str) -> Path:
    folder = root / "egocentric_color" / name
    found = sorted(path.parent for path in folder.glob("*/keypoints.npz"))
    if not found:
        raise SemttaError(f"'{folder}' holds no <date>/keypoints.npz.")
    return found[0]


def _body_folder(root: Path, name: str, index: int) -> Path:
    for part in ("smpl_interactee", *(f"smpl_interactee_{s}" for s in ("train", "val", "test"))):
        folder = root / part / name / f"body_idx_{index}" / "results"
        if folder.is_dir():
            return folder
    raise SemttaError(
        f"'{root}' holds no smpl_interactee*/{name}/body_idx_{index}/results; the test bodies are "
        "a download of their own (smpl_interactee_test.zip)."
    )


def _calibration(root: Path, name: str) -> np.ndarray:
    folder = root / "calibrations" / name
    inner = folder / "cal_trans" / "holo_to_kinect12.json"
    file = inner if inner.is_file() else folder / "holo_to_kinect12.json"
    content = read_json(file, "EgoBody calibration")
    return _rigid(numbers(entry(content, "trans", file), (4, 4), f"'{file}': 'trans'"), file)


def _camera_poses(folder: Path) -> tuple[dict[str, tuple[float, np.ndarray]], float, float]:
    """Timestamp -> focal length and camera-to-world matrix (4, 4); principal point."""
    files = sorted(folder.glob("*_pv.txt"))
    if not files:
        raise SemttaError(f"'{folder}' holds no *_pv.txt.")
    file, what = files[0], "file of camera poses"
    text = read_text(file, what)
    with reading(file, what):
        lines = [line.split(",") for line in text.splitlines() if line.strip()]
        cx, cy = float(lines[0][0]), float(lines[0][1])
        poses = {}
        for row in lines[1:]:
            values = np.array(row[1:19], np.float64)
            if len(values) != 18 or not np.isfinite(values).all():
                raise ValueError(f"a row of {len(row)} numbers")
            matrix = _rigid(values[2:].reshape(4, 4), file)
            poses[row[0].strip()] = (float(values[:2].mean()), matrix)
        return poses, cx, cy


def _rigid(matrix: np.ndarray, file: Path) -> np.ndarray:
    rotation = matrix[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.01 or np.linalg.det(rotation) < 0:
        raise SemttaError(f"'{file}' holds a matrix that is no rigid motion.")
    return matrix


def _parameters(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    content = read_pickle_file(file, "EgoBody body")
    sizes = {"global_orient": 3, "body_pose": 69, "betas": 10}
    parts = []
    for key, size in sizes.items():
        value = np.ravel(np.asarray(entry(content, key, file)))
        parts.append(numbers(value, (size,), f"'{file}': '{key}'"))
    orient, pose, betas = parts
    return orient, pose, betas
