"""Small data sets in the official layouts, on a synthetic body whose joints are known by hand.

Every vertex follows the parent of the joint it belongs to, so that a regressor over a joint's
vertices gives exactly that joint in every pose. The female body is 0.9 times the neutral one and
the male one equal to it; beta 0 shifts the whole body by 0.1 m along x and changes nothing else.
"""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import roma
import torch
from test_body import REST

from semtta.skeletons import BODY25, COCO18, SMPL24, SMPL_PARENTS
from semtta.tta.result import Motion

FEMALE_SCALE = 0.9
BETA_SHIFT = 0.1  # metres per unit of beta 0
H36M_ROWS = ["pelvis", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee",
             "right_ankle", "spine1", "neck", "spine3", "head", "left_shoulder", "left_elbow",
             "left_wrist", "right_shoulder", "right_elbow", "right_wrist"]  # fmt: skip
J19_ROWS = ["right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
            "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
            "left_wrist", "neck", "head", "pelvis", "spine3", "spine1", "spine2",
            "head"]  # fmt: skip
# MPI-INF-3DHP's raw order; its "head" is paired with the H36M jaw, here on spine3
MPI_ROWS = ["head", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
            "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip",
            "left_knee", "left_ankle", "pelvis", "spine1", "spine3"]  # fmt: skip
_CORNERS = 0.03 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])


def rows_on(names: list[str]) -> np.ndarray:
    """Regressor whose rows are SMPL joints of the synthetic body."""
    owner = np.repeat(np.arange(24), len(_CORNERS))
    return np.stack([(owner == SMPL24.index(n)) / len(_CORNERS) for n in names])


def write_bodies(folder: Path, legs_first: str = "left", genders=("neutral", "female", "male")):
    """SMPL files and both regressors."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = np.repeat(np.arange(24), len(_CORNERS))
    weights = np.zeros((len(owner), 24))
    weights[np.arange(len(owner)), np.maximum(np.array(SMPL_PARENTS)[owner], 0)] = 1
    shapedirs = np.zeros((len(owner), 3, 10))
    shapedirs[:, 0, 0] = BETA_SHIFT
    template = REST[owner] + np.tile(_CORNERS, (24, 1))
    for gender in genders:
        scale = FEMALE_SCALE if gender == "female" else 1.0
        np.savez(
            folder / f"SMPL_{gender.upper()}.npz", v_template=scale * template,
            shapedirs=shapedirs, posedirs=np.zeros((len(owner), 3, 207)),
            J_regressor=rows_on(list(SMPL24.joints)), weights=weights,
            kintree_table=np.array([SMPL_PARENTS, range(24)], np.int64), f=np.array([[0, 1, 2]]),
        )  # fmt: skip
    rows = list(H36M_ROWS)
    if legs_first == "right":
        rows = rows[:1] + rows[4:7] + rows[1:4] + rows[7:]
    np.save(folder / "J_regressor_h36m.npy", rows_on(rows))
    write_pickle(folder / "SMPL_to_J19.pkl", rows_on(J19_ROWS))
    return folder


def write_pickle(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def write_images(folder: Path, names: list[str], size=(64, 48)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((size[1], size[0], 3), 10 * i, np.uint8))


def poses(count: int, seed: int = 0) -> np.ndarray:
    """(count, 72) axis-angle."""
    return 0.4 * np.random.RandomState(seed).standard_normal((count, 72))


def turn(seed: int) -> np.ndarray:
    return roma.random_rotmat(dtype=torch.float64).numpy() if seed < 0 else roma.rotvec_to_rotmat(
        torch.tensor([0.3, 1.0 + 0.1 * seed, -0.2], dtype=torch.float64)
    ).numpy()  # fmt: skip


def motion(pose: np.ndarray, to_camera=None, betas=None) -> Motion:
    """What a network would have to predict to be right."""
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(pose).view(-1, 24, 3))
    if to_camera is not None:
        rotmats[:, 0] = torch.from_numpy(np.asarray(to_camera)) @ rotmats[:, 0]
    count = len(rotmats)
    betas = torch.zeros(10) if betas is None else torch.as_tensor(betas, dtype=torch.float32)
    zeros = torch.zeros(count, 3)
    pixels = torch.zeros(count, 0, 2)
    return Motion(rotmats.float(), betas.expand(count, 10), zeros, zeros, pixels, zeros)


def figure(count: int, joints: int, seed: int = 3) -> np.ndarray:
    """(count, joints, 3) pixels and confidence: a person 20 x 30 px wide walking right."""
    r = np.random.RandomState(seed)
    xy = r.uniform(0, 1, (joints, 2)) * [20, 30] + [10, 8]
    xy = xy[None] + np.arange(count)[:, None, None] * [0.5, 0.0]
    return np.concatenate([xy, np.full((count, joints, 1), 0.9)], -1)


# --- the four sets ------------------------------------------------------------------------


def write_3dpw(root: Path, count: int = 8, split: str = "test", images: bool = True, **changes):
    """Sequence "walk_00" with two people (f, m). Returns poses (2, count, 72) and the camera's
    rotation (3, 3)."""
    truth, camera = np.stack([poses(count, 1), poses(count, 2)]), turn(1)
    extrinsics = np.tile(np.eye(4), (count, 1, 1))
    extrinsics[:, :3, :3] = camera
    figures = [figure(count, len(COCO18), seed).transpose(0, 2, 1) for seed in (3, 4)]
    content = {
        "sequence": "walk_00", "poses": list(truth), "betas": [np.zeros(10)] * 2,
        "trans": [np.zeros((count, 3))] * 2, "genders": ["f", "m"], "poses2d": figures,
        "jointPositions": [np.zeros((count, 72))] * 2, "cam_poses": extrinsics,
        "cam_intrinsics": np.array([[60.0, 0, 32], [0, 62, 24], [0, 0, 1]]),
        "campose_valid": [np.ones(count)] * 2, "img_frame_ids": np.arange(count),
    }  # fmt: skip
    write_pickle(root / "sequenceFiles" / split / "walk_00.pkl", {**content, **changes})
    if images:
        names = [f"image_{i:05d}.jpg" for i in range(count)]
        write_images(root / "imageFiles" / "walk_00", names)
    return truth, camera


def write_3dhp(root: Path, count: int = 6, univ_scale: float = 1.1, **changes) -> np.ndarray:
    """TS1 with the neutral body's joints; needs h5py. Returns the poses (count, 72)."""
    import h5py

    from semtta.body import load_body

    truth = poses(count, 5)
    body = load_body("smpl", search=write_bodies(root / "bodies"), dtype=torch.float64)
    moved = motion(truth)
    joints = body.joints(moved.rotmats.double(), moved.betas.double()).numpy()
    joints = joints[:, SMPL24.indices(MPI_ROWS)]
    there = joints + [0.1, -0.2, 3.5]
    arrays = {
        "annot2": (1500 * there[..., :2] / there[..., 2:] + [1024, 1030])[:, None],
        "annot3": 1000 * there[:, None],
        "univ_annot3": 1000 * univ_scale * joints[:, None] + 77.0,
        "valid_frame": np.ones((count, 1)),
        "activity_annotation": np.ones((count, 1)),
    }
    for name in ("TS1",):
        folder = root / "mpi_inf_3dhp_test_set" / name
        folder.mkdir(parents=True, exist_ok=True)
        with h5py.File(folder / "annot_data.mat", "w") as file:
            for key, value in {**arrays, **changes}.items():
                if value is not None:
                    file[key] = value
    return truth


EGO_NAME = "recording_20210907_S02_S01_01"
EGO_FRAMES = (100, 101, 102, 105, 106)  # two frames dropped between


def _ego_images() -> list[str]:
    return [f"egocentric_color/{EGO_NAME}/2021-09-07-155421/PV/{9000 + f}_frame_{f:05d}.jpg"
            for f in EGO_FRAMES]  # fmt: skip


def write_egobody(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """As released, split test, a female interactee. Returns poses (5, 72) in the Kinect's frame
    and the rotations (5, 3, 3) to the camera."""
    truth, images = poses(len(EGO_FRAMES), 7), _ego_images()
    (root / "calibrations" / EGO_NAME / "cal_trans").mkdir(parents=True)
    calibration = np.eye(4)
    calibration[:3, :3], calibration[:3, 3] = turn(2), [0.1, 0.2, 0.3]
    (root / "calibrations" / EGO_NAME / "cal_trans" / "holo_to_kinect12.json").write_text(
        json.dumps({"trans": calibration.tolist()})
    )
    _write_csv(root / "data_splits.csv", [["train", "val", "test"], ["", "", EGO_NAME]])
    _write_csv(root / "data_info_release.csv", [
        ["scene_name", "recording_name", "body_idx_0", "body_idx_1", "body_idx_fpv",
         "start_frame", "end_frame"],
        ["room", EGO_NAME, "0 male", "1 female", "1 female", "100", "106"]])  # fmt: skip
    date = (root / images[0]).parents[1]
    write_images(date / "PV", [Path(image).name for image in images])
    lines, turns = ["32,24,64,48"], []
    for i, frame in enumerate(EGO_FRAMES):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn(3 + i), [0, 0, i]
        lines.append(",".join(str(v) for v in [9000 + frame, 60.0, 60.0, *pose.ravel()]))
        rotation = np.linalg.inv(pose)[:3, :3] @ np.linalg.inv(calibration)[:3, :3]
        turns.append(np.diag([1.0, -1, -1]) @ rotation)
        write_pickle(
            root / "smpl_interactee_test" / EGO_NAME / "body_idx_1" / "results"
            / f"frame_{frame:05d}" / "000.pkl",
            {"transl": np.zeros((1, 3)), "global_orient": truth[i : i + 1, :3],
             "body_pose": truth[i : i + 1, 3:], "betas": np.zeros((1, 10))},
        )  # fmt: skip
    (date / "2021-09-07-155421_pv.txt").write_text("\n".join(lines))
    count = len(images)
    np.savez(date / "keypoints.npz", imgname=images, center=np.full((count, 2), [30.0, 20]),
             scale=np.full(count, 0.2), keypoints=figure(count, len(BODY25)),
             gender=["female"] * count)  # fmt: skip
    np.savez(date / "valid_frame.npz", imgname=images, valid=np.ones(count, bool))
    return truth, np.stack(turns)


def write_egobody_short(root: Path) -> np.ndarray:
    """The authors' short form. Returns poses (5, 72) in the camera's frame."""
    images, truth = _ego_images(), poses(len(EGO_FRAMES), 7)
    count = len(images)
    folder = root / "annotation_egocentric_smpl_npz"
    folder.mkdir(parents=True)
    np.savez(folder / "egocapture_test_smpl.npz", imgname=images[::-1],
             center=np.full((count, 2), [30.0, 20]), scale=np.full(count, 0.2),
             pose=truth[::-1, 3:], shape=np.zeros((count, 10)), global_orient_pv=truth[::-1, :3],
             transl_pv=np.zeros((count, 3)), cx=np.full(count, 32.0), cy=np.full(count, 24.0),
             fx=np.full(count, 60.0), fy=np.full(count, 60.0),
             valid_keypoints=figure(count, 25)[::-1], gender=["f"] * count)  # fmt: skip
    return truth


def _write_csv(path: Path, rows: list[list[str]]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_emdb(root: Path, count: int = 6, **changes) -> tuple[np.ndarray, np.ndarray]:
    """P1/09_outdoor_walk of EMDB 1, male. Returns poses (count, 72) in the world and the
    camera's rotation (3, 3)."""
    truth, camera = poses(count, 9), turn(6)
    extrinsics = np.tile(np.eye(4), (count, 1, 1))
    extrinsics[:, :3, :3] = camera
    content = {
        "gender": "male", "name": "P1_09_outdoor_walk", "emdb1": True, "emdb2": False,
        "n_frames": count, "good_frames_mask": np.ones(count, bool),
        "kp2d": figure(count, 24)[..., :2],
        "camera": {"intrinsics": np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]),
                   "extrinsics": extrinsics, "width": 64, "height": 48},
        "smpl": {"poses_root": truth[:, :3], "poses_body": truth[:, 3:],
                 "trans": np.zeros((count, 3)), "betas": np.zeros(10)},
        "bboxes": {"bboxes": np.tile([10.0, 8, 30, 38], (count, 1)), "invalid_idxs": np.array([])},
    }  # fmt: skip
    folder = root / "P1" / "09_outdoor_walk"
    write_pickle(folder / "P1_09_outdoor_walk_data.pkl", {**content, **changes})
    write_images(folder / "images", [f"{i:05d}.jpg" for i in range(count)])
    return truth, camera
