"""AMASS arrays: shapes, limits of what is a person, the axis and unit that a file leaves out."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from semtta.errors import SemttaError, SemttaWarning
from semtta.motion.amass import amass_length, is_amass, read_amass
from semtta.motion.world_axes import TO_Y_UP, in_metres, up_axis

FRAMES = 20
PATH = Path("a.npz")


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


# Axes and units -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word, turned",
    [("y-up", False), ("Y_UP", False), ("+y", False), ("z", True), (" +Z ", True), (b"z-up", True),
     (["y", "y"], True), (2, True)],
)  # fmt: skip
@pytest.mark.parametrize("key", ["up_axis", "up", "frame"])
def test_a_file_says_what_is_up_in_a_word(read, key, word, turned):
    rotmats, _, _ = read(**{key: np.array(word)})
    assert np.allclose(rotmats[0, 0], np.eye(3), atol=1e-6) == turned


def standing(**frames: int) -> torch.Tensor:
    """(N, 3, 3) pelves: so many that stand along +z, +y or -y; the rest along none."""
    ways = {"z": TO_Y_UP["+z"].T, "y": torch.eye(3), "down": TO_Y_UP["-y"]}
    none = Rotation.from_rotvec(np.deg2rad(54.7) * np.array((1, 0, -1)) / 2**0.5).as_matrix()
    found = [ways[name] for name, count in frames.items() for _ in range(count)]
    found += [torch.from_numpy(none).float()] * (10 - len(found))
    return torch.stack(found)


def told(root: torch.Tensor, place) -> tuple[str, list[str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = up_axis(PATH, root, np.tile(np.array(place, float), (len(root), 1)))
    assert len(said) <= 1
    return found, "".join(str(w.message) for w in said)


FEW, OTHER, NONE = "stands in few frames; +z", "the person in it stands along", "not stand along +z"
CASES = [  # frames, place of the pelvis (x, y, z), axis that is taken to be up, what is said
    ({"z": 10}, (0, 0, 0.9), "+z", ""),
    ({"z": 3, "y": 7}, (0, 0.9, 0), "+z", ""),
    ({"z": 2, "y": 8}, (0, 0.9, 0), "+y", OTHER),
    ({"z": 2}, (0, 0, 0.9), "+z", FEW),
    ({"z": 3}, (0, 0, 0.9), "+z", ""),
    ({}, (0, 0, 0.9), "+z", NONE),
    ({"y": 5}, (0, 0.9, 0), "+z", NONE),
    ({"y": 6}, (0, 0.9, 0), "+y", OTHER),
    ({"down": 6}, (0, -0.9, 0), "-y", OTHER + " -y"),
    ({"down": 6}, (0, 0.9, 0), "+z", NONE),
    ({"y": 10}, (0, 2, 0.2), "+z", NONE),  # lies
    ({"y": 10}, (0, 2, 0.0), "+z", NONE),
    ({"y": 10}, (0, 2, 0.4), "+z", NONE),
    ({"y": 10}, (0, 2, 0.41), "+y", OTHER),
    ({"y": 10}, (0, 2, -0.01), "+y", OTHER),
    ({"y": 10}, (0, 0.49, 0.2), "+z", NONE),
    ({"y": 10}, (0, 1.41, 0.2), "+z", NONE),
    ({"y": 10}, (0, 0.5, 0.2), "+y", OTHER),  # as high as a person who stands
    ({"y": 10}, (0, 1.4, 0.2), "+y", OTHER),
]  # fmt: skip


@pytest.mark.parametrize("frames, place, axis, said", CASES)
def test_what_is_up_is_seen_from_how_and_how_high_people_are(frames, place, axis, said):
    found, text = told(standing(**frames), place)
    assert found == axis and said in text and bool(said) == bool(text)


@pytest.mark.parametrize("degrees, upright", [(43, True), (46, False)])
def test_a_pelvis_leans_by_less_than_45_degrees(degrees, upright):
    lean = Rotation.from_rotvec(np.deg2rad(degrees) * np.array((1, 0, -1)) / 2**0.5).as_matrix()
    root = torch.from_numpy(lean).float().expand(10, 3, 3)
    assert told(root, (0, 0.9, 0))[0] == ("+y" if upright else "+z")


def moving(speed: float, height: float = 0.9, frames: int = 101) -> np.ndarray:
    """(N, 3) places with y up, 30 frames a second."""
    steps = np.arange(frames) * speed / 30
    return np.stack((0 * steps, np.full(frames, height), steps), 1)


@pytest.mark.parametrize("speed, height", [(0, 0.9), (19.9, 0.9), (1, 19.9), (1, -19.9), (1, 0.0)])
def test_metres_of_a_person_are_left_as_they_are(speed, height):
    trans = moving(speed, height)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert in_metres(PATH, trans, 30) is trans


@pytest.mark.parametrize("unit, name", [(100, "centimetres"), (1000, "millimetres")])
@pytest.mark.parametrize("height", [0.5, 1.4])
def test_a_unit_is_one_in_which_the_pelvis_is_as_high_as_a_persons(unit, name, height):
    trans = (moving(1, height) * unit).astype(np.float32)
    scale = 1 + 1e-5 * (1 if height < 1 else -1)  # rounding
    with pytest.warns(SemttaWarning, match=f"translations are taken to be {name}"):
        found = in_metres(PATH, trans * np.float32(scale), 30)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, trans / unit * scale, rtol=1e-6)


@pytest.mark.parametrize(
    "speed, height, said",
    [(20.1, 0.9, "up to 67 m, 20 m/s"), (1, 20.1, "up to 20 m, 1 m/s"), (1, -20.1, "up to 20"),
     (0, 45, "up to 45 m, 0 m/s"), (0, 145, "up to 145"), (3000, 90, "3000 m/s")],
)  # fmt: skip
def test_what_is_in_no_unit_a_persons_is_refused(speed, height, said):
    with pytest.raises(SemttaError, match=f"must be in metres; .*{said}"):
        in_metres(PATH, moving(speed, height), 30)
    with pytest.raises(SemttaError, match="up to 30 m, 0 m/s"):
        in_metres(PATH, moving(0, 30, frames=1), 30)


@pytest.mark.parametrize("jumps, refused", [(4, False), (7, True)])
def test_a_few_jumps_are_no_speed(jumps, refused):
    trans = moving(1)
    for k in range(jumps):
        trans[10 * k + 5 :, 0] += 5.0
    if refused:
        with pytest.raises(SemttaError, match="in metres"):
            in_metres(PATH, trans, 30)
    else:
        assert in_metres(PATH, trans, 30) is trans
    trans[3, 1] = np.nan
    with pytest.raises(SemttaError, match="translations hold NaN or infinite numbers"):
        in_metres(PATH, trans, 30)


def test_turns_to_y_up_are_rotations_that_take_the_named_axis_up():
    for name, axis in (("+y", (0, 1, 0)), ("+z", (0, 0, 1)), ("-y", (0, -1, 0))):
        turn = TO_Y_UP[name]
        assert torch.equal(turn @ torch.tensor(axis).float(), torch.tensor((0.0, 1.0, 0.0)))
        assert float(torch.linalg.det(turn)) == 1 and turn[0].tolist() == [1, 0, 0]
