"""AMASS arrays: shapes, limits of what is a person, what a file says is up."""

from __future__ import annotations

import warnings
import zipfile

import numpy as np
import pytest
import roma
import torch

from semtta.errors import SemttaError
from semtta.motion.amass import amass_length, is_amass, read_amass

FRAMES = 20


def poses(joints: int = 24) -> np.ndarray:
    """(N, J, 3) of a person who stands in a world with z up, each joint turned by itself."""
    turned = 0.01 * np.arange(1, joints + 1)[:, None] * np.array((1.0, 0.5, -0.3))
    found = np.tile(turned, (FRAMES, 1, 1))
    found[:, 0] = (np.pi / 2, 0, 0)
    return found


@pytest.fixture
def read(tmp_path):
    """Rotations, places and frame rate of a file; whatever is announced fails the test."""

    def motion(**change):
        usual = {"poses": poses(), "trans": np.tile((1.0, 2, 0.9), (FRAMES, 1)),
                 "mocap_framerate": 30.0}  # fmt: skip
        arrays = {key: value for key, value in (usual | change).items() if value is not None}
        np.savez(tmp_path / "a.npz", **arrays)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read_amass(tmp_path / "a.npz")

    return motion


def matrices(rotvec: np.ndarray) -> np.ndarray:
    return roma.rotvec_to_rotmat(torch.from_numpy(rotvec)).numpy()


# Arrays -------------------------------------------------------------------------------------------


def test_what_is_read_is_local_rotations_and_places_with_y_up(read):
    rotmats, trans, fps = read()
    assert rotmats.dtype == trans.dtype == np.float32 and fps == 30
    np.testing.assert_allclose(rotmats[:, 1:], matrices(poses())[:, 1:], atol=1e-6)
    np.testing.assert_allclose(rotmats[:, 0], np.tile(np.eye(3), (FRAMES, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(trans, np.tile((1, 0.9, -2), (FRAMES, 1)), atol=1e-6)


def test_of_two_arrays_of_poses_the_usual_one_is_read(tmp_path):
    arrays = {"fullpose": np.zeros((3, 72)), "poses": np.zeros((5, 72)), "fps": 30}
    np.savez(tmp_path / "b.npz", trans=np.zeros((5, 3)), up="y", **arrays)
    assert amass_length(tmp_path / "b.npz") == (5, 30)
    assert len(read_amass(tmp_path / "b.npz")[0]) == 5


def test_poses_of_another_shape_are_refused_before_they_are_read(tmp_path):
    np.savez(tmp_path / "b.npz", poses=np.zeros((5, 70)), fps=30)
    with pytest.raises(SemttaError, match=r"poses of shape \(5, 70\)"):
        amass_length(tmp_path / "b.npz")


@pytest.mark.parametrize("joints", [22, 52, 55])
def test_hands_of_other_bodies_stay_open(read, joints):
    rotmats, _, _ = read(poses=poses(joints).reshape(FRAMES, -1))
    np.testing.assert_allclose(rotmats[:, 1:22], matrices(poses())[:, 1:22], atol=1e-6)
    assert np.array_equal(rotmats[:, 22:], np.tile(np.eye(3), (FRAMES, 2, 1, 1)))


ROOTS = {
    "flat": lambda r: r, "one joint": lambda r: r[:, None], "matrix": matrices,
    "one matrix": lambda r: matrices(r)[:, None],
    "nine numbers": lambda r: matrices(r).reshape(-1, 1, 9),
}  # fmt: skip


@pytest.mark.parametrize("form", ROOTS)
@pytest.mark.parametrize("joints", [21, 23])
def test_a_body_in_parts_is_the_same_motion(read, form, joints):
    whole = poses()
    parts = {"root_orient": ROOTS[form](whole[:, 0]), "body_pose": whole[:, 1 : joints + 1]}
    rotmats, _, _ = read(poses=None, **parts)
    np.testing.assert_allclose(rotmats[:, : joints + 1], read()[0][:, : joints + 1], atol=1e-6)


@pytest.mark.parametrize(
    "names, motion",
    [(("poses",), True), (("fullpose", "trans"), True), (("root_orient", "pose_body"), True),
     (("global_orient", "body_pose"), True), (("root_orient",), False), (("body_pose",), False),
     (("betas", "trans"), False)],
)  # fmt: skip
def test_a_motion_has_poses_or_a_root_and_a_body(read, names, motion):
    assert is_amass(names) == motion
    if not motion:
        arrays = dict.fromkeys(names, np.zeros((FRAMES, 63)))
        with pytest.raises(SemttaError, match="has no poses .nor root_orient and pose_body."):
            read(poses=None, **arrays)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"poses": np.zeros((FRAMES, 23, 3))}, "expected axis-angle rotations of 22 or 24 or 52"),
        ({"poses": np.zeros((FRAMES, 63))}, r"poses of shape \(20, 63\); expected"),
        ({"poses": np.zeros((0, 72))}, "has 0 frames; from 1 to 120000 are read"),
        ({"poses": np.full((FRAMES, 72), "1")}, "poses does not hold numbers"),
        ({"poses": np.zeros((FRAMES, 72), bool)}, "poses does not hold numbers"),
        ({"trans": np.zeros((FRAMES, 3), bool)}, "trans does not hold numbers"),
        ({"trans": np.zeros((FRAMES, 2))}, r"20 poses but translations \(20, 2\)"),
        ({"trans": np.zeros((FRAMES - 1, 3))}, r"20 poses but translations \(19, 3\)"),
        ({"poses": None, "root_orient": np.zeros((FRAMES - 1, 3)),
          "pose_body": np.zeros((FRAMES, 63))}, "20 poses but translations"),
        ({"trans": None}, "has no trans"),
        ({"mocap_framerate": None}, "no usable mocap_framerate; known are mocap_framerate, "),
        ({"mocap_framerate": 0.99}, "mocap_framerate is 0.99"),
        ({"mocap_framerate": 1000.1}, "mocap_framerate is 1000.1"),
        ({"mocap_framerate": np.array([30, 60])}, "mocap_framerate is nan"),
        ({"up_axis": np.array("x")}, "up_axis says 'x'; 'y-up' and 'z-up' are known"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_array_is_said(read, change, said):
    with pytest.raises(SemttaError, match=said):
        read(**change)


@pytest.mark.parametrize("fps", [1, 1000])
def test_one_to_a_thousand_frames_a_second_are_read(read, fps):
    assert read(mocap_framerate=fps, trans=np.tile((0, 0, 1), (FRAMES, 1)))[2] == fps


@pytest.mark.parametrize("frames, read", [(120_000, True), (120_001, False)])
def test_the_length_is_read_from_the_header_and_has_a_limit(tmp_path, frames, read):
    np.savez(tmp_path / "b.npz", mocap_framerate=np.array(60))
    head = {"descr": "<f8", "fortran_order": False, "shape": (frames, 66)}
    with (
        zipfile.ZipFile(tmp_path / "b.npz", "a") as archive,
        archive.open("poses.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, head)
    if read:
        assert amass_length(tmp_path / "b.npz") == (frames, 60)
    else:
        with pytest.raises(SemttaError, match=f"it has {frames} frames; from 1 to 120000"):
            amass_length(tmp_path / "b.npz")


# What a person can do -----------------------------------------------------------------------------


def changed(joint: int, rotvec, frames: int = FRAMES, joints: int = 24) -> np.ndarray:
    found = poses(joints)
    found[:frames, joint] = rotvec
    return found


@pytest.mark.parametrize("turn, refused", [((6.9, 0, 0), False), ((0, 5, 5.1), True)])
@pytest.mark.parametrize("joint", [1, 21])
def test_a_joint_turns_by_up_to_seven_radians(read, turn, refused, joint):
    whole = changed(joint, turn)
    parts = {"poses": None, "root_orient": whole[:, 0], "pose_body": whole[:, 1:22]}
    for arrays in ({"poses": whole}, parts):
        if refused:
            with pytest.raises(SemttaError, match="turns joints by up to 5 radians"):
                read(**arrays)
        else:
            read(**arrays)


@pytest.mark.parametrize("angle, refused", [(13.9, False), (14.1, True)])
def test_a_root_may_have_turned_twice(read, angle, refused):
    parts = {"poses": None, "root_orient": np.tile((0, 0, angle), (FRAMES, 1)),
             "pose_body": poses()[:, 1:22]}  # fmt: skip
    for arrays in ({"poses": changed(0, (0, 0, angle))}, parts):
        if refused:
            with pytest.raises(SemttaError, match="turns joints by up to 14 radians"):
                read(up_axis=np.array("z"), **arrays)
        else:
            read(up_axis=np.array("z"), **arrays)


def test_one_frame_in_twenty_may_turn_as_it_likes_and_so_may_hands(read):
    read(poses=changed(5, (9, 0, 0), frames=1))
    read(poses=changed(22, (9, 0, 0), joints=52))
    with pytest.raises(SemttaError, match="radians"):
        read(poses=changed(5, (9, 0, 0), frames=2))


@pytest.mark.parametrize("angle, refused", [(1.19, False), (1.21, True)])
def test_joints_are_not_all_bent_by_more_than_a_person_can(read, angle, refused):
    found = np.tile((angle, 0, 0), (FRAMES, 24, 1))
    found[:, 0], found[:, 22:] = (np.pi / 2, 0, 0), 0
    found[0, 1:] = 0  # whatever single frames hold
    if refused:
        with pytest.raises(SemttaError, match=r"bend all joints by 6\d degrees on the mean"):
            read(poses=found)
    else:
        read(poses=found)


@pytest.mark.parametrize(
    "wrong", [np.diag((1.2, 1.2, 1.2)), np.diag((1, 1, -1)), np.full((3, 3), np.nan)]
)
def test_matrices_of_which_one_is_no_rotation_are_refused(read, wrong):
    found = matrices(poses())
    read(poses=found + 0.001)  # rounded
    found[3, 7] = wrong
    with pytest.raises(SemttaError, match="holds no rotations|NaN or infinite"):
        read(poses=found)


# Axes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word, turned",
    [("y-up", False), ("Y_UP", False), ("+y", False), ("z", True), (" +Z ", True), (b"z-up", True),
     (["y", "y"], True), (2, True)],
)  # fmt: skip
@pytest.mark.parametrize("key", ["up_axis", "up", "frame"])
def test_a_file_says_what_is_up_in_a_word(read, key, word, turned):
    rotmats, _, _ = read(**{key: np.array(word)})
    assert np.allclose(rotmats[0, 0], np.eye(3), atol=1e-6) == turned
