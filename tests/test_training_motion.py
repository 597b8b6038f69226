"""Recorded motion that trains: of one side of the split, with one elbow hinge, without T-poses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_motions import amass
from test_mocap import documented

from semtta.bench.mocap_split import load_split
from semtta.errors import SemttaError
from semtta.motion.motion_files import list_motions
from semtta.skeletons import SMPL24
from tools.training.motions import (
    forward_kinematics,
    is_t_pose,
    load_clips,
    roll_arms,
    side_of,
)

ELBOWS = SMPL24.indices(["left_elbow", "right_elbow"])
# Names that the split knows, of every side, and what their file calls them.
KNOWN = {"cmu_02_01": ("train", "train"), "cmu_10_01_daz": ("val", "train"),
         "cmu_60_01": ("train", "test"), "cmu_03_02": ("val", "dev"),
         "m2m_pushup": ("train", "test"), "cmu_01_05_asf": ("held", "none"),
         "cmu_09_12_mb": ("held", "test"), "cmu_16_45_fbx": ("train", "dev")}  # fmt: skip


def poses(seed: int, frames: int = 40) -> np.ndarray:
    turns = np.random.default_rng(seed).normal(0, 0.5, (frames * 24, 3))
    return Rotation.from_rotvec(turns).as_matrix().reshape(frames, 24, 3, 3).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("motions")
    names = [*KNOWN, "a_stranger", "another"]

    def known(arrays):
        count = len(names)
        return {key: values[:count] for key, values in arrays.items() if len(values) < 90} | {
            "clip_id": np.array(names), "is_duplicate": np.zeros(count, bool),
            "split": np.array([split for split, _ in KNOWN.values()] + ["train", "val"]),
        }  # fmt: skip

    documented(folder / "more.npz", known)
    amass(folder / "07" / "walk_fast_01_poses.npz")
    return folder


def test_sides_are_those_of_the_split_and_never_mix(folder):
    sides = {s: {c.name for c in load_clips(folder, s)} for s in ("train", "dev", "test")}
    for name, (_, side) in KNOWN.items():
        assert [s for s, names in sides.items() if name in names] == [side] * (side != "none")
    assert not sides["train"] & sides["dev"] | sides["train"] & sides["test"]
    assert "a_stranger" in sides["train"] and "another" not in sides["train"]
    assert not any(name.startswith("07/") for name in sides["train"])  # nobody said that it may
    people = {s: {load_split().find(n).performer for n in names if n in KNOWN}
              for s, names in sides.items()}  # fmt: skip
    assert not people["train"] & (people["dev"] | people["test"])
    with pytest.raises(SemttaError, match="unknown side 'val'"):
        load_clips(folder, "val")


def test_what_a_file_holds_back_never_trains(folder):
    held = [entry for entry in list_motions(folder) if entry.split == "held"]
    assert held and "train" not in {side_of(entry) for entry in held}


def test_rolling_the_arms_moves_no_joint_and_keeps_the_hands():
    rotmats = poses(0)
    rolled = roll_arms(rotmats, 27.0)
    assert np.abs(forward_kinematics(rolled) - forward_kinematics(rotmats)).max() < 1e-3
    hands = SMPL24.indices(["left_wrist", "right_wrist"])
    for side, hand in zip(("left", "right"), hands, strict=True):
        chain = SMPL24.indices([f"{side}_{p}" for p in ("shoulder", "elbow")])
        before, after = (r[:, chain[0]] @ r[:, chain[1]] @ r[:, hand] for r in (rotmats, rolled))
        assert np.abs(before - after).max() < 1e-5
    assert np.abs(roll_arms(rolled, -27.0) - rotmats).max() < 1e-5


def test_elbows_of_a_rolled_source_bend_about_one_axis():
    """A hinge that lies 30 degrees off about the arm becomes SMPL's own."""
    off = np.deg2rad(30)
    rotmats = np.tile(np.eye(3, dtype=np.float32), (20, 24, 1, 1))
    bend = np.linspace(0, 2, 20)[:, None]
    for joint, sign in zip(ELBOWS, (-1, 1), strict=True):
        axis = np.array([0, sign * np.cos(off), -sign * np.sin(off)])
        rotmats[:, joint] = Rotation.from_rotvec(bend * axis).as_matrix()
    rolled = roll_arms(rotmats, 30.0)
    for joint, sign in zip(ELBOWS, (-1, 1), strict=True):
        turned = Rotation.from_matrix(rolled[:, joint]).as_rotvec()
        assert np.abs(turned - bend * np.array([0, sign, 0])).max() < 1e-5


def test_a_t_pose_is_arms_out_over_straight_legs():
    still = np.tile(np.eye(3, dtype=np.float32), (3, 24, 1, 1))
    still[1, SMPL24.index("left_shoulder")] = Rotation.from_euler("z", -1.2).as_matrix()
    still[2, SMPL24.index("right_knee")] = Rotation.from_euler("x", 1.0).as_matrix()
    assert is_t_pose(still).tolist() == [True, False, False]


def test_t_poses_at_the_ends_are_cut_and_a_clip_of_nothing_else_is_left_out(tmp_path):
    def with_t_pose(arrays):
        pose = arrays["pose"].copy()
        start = arrays["start"]
        pose[start[0] : start[0] + 7] = 0
        pose[start[1] : start[1] + arrays["length"][1]] = 0
        return {"pose": pose}

    path = documented(tmp_path / "motions.npz", with_t_pose)
    plain = {c.name: c for c in load_clips(documented(tmp_path / "plain.npz"))}
    cut = {c.name: c for c in load_clips(path)}
    first, second = list(plain)[:2]
    assert len(plain[first]) - len(cut[first]) == 7
    assert second not in cut and set(plain) - set(cut) == {second}


def test_the_newer_file_tells_its_own_roll_and_is_not_lengthened_twice(tmp_path):
    def newer(arrays):
        return {"elbow_roll_deg": np.full(len(arrays["start"]), 30.0, np.float32)}

    old = load_clips(documented(tmp_path / "old.npz"))[0]
    new = load_clips(documented(tmp_path / "new.npz", newer))[0]
    assert np.abs(new.rotmats - roll_arms(old.rotmats, 30.0)).max() < 1e-6
    assert new.trans[-1, 0] - new.trans[0, 0] == pytest.approx(
        (old.trans[-1, 0] - old.trans[0, 0]) / 1.05, abs=1e-5
    )
