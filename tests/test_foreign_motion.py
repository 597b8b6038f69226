"""BVH and AMASS files as other tools write them: read right, or one sentence."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from small_motions import CHAIN, amass, swing, write_bvh

from semtta.body import load_body
from semtta.errors import SemttaError, SemttaWarning, announce
from semtta.messages import show_announcements
from semtta.motion.bvh import read_bvh
from semtta.motion.bvh_names import ancestors, spine_joints
from semtta.motion.motion_files import list_motions, read_motion
from semtta.skeletons import SMPL24

PLACES = np.tile((0.0, 86.0, 0.0), (12, 1))
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # from y up
# Zero pose of LAFAN1: every bone along its joint's own x. Columns: x, y, z of a joint's axes.
UP = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
DOWN = np.array([[0, 0, -1.0], [-1, 0, 0], [0, 1, 0]])
LEFT = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
RIGHT = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
FORTH = np.array([[0, 0, -1.0], [0, 1, 0], [1, 0, 0]])


def own_axes(name: str) -> np.ndarray:
    if name.endswith(("UpLeg", "Leg")):
        return DOWN
    if name.endswith(("Foot", "ToeBase")):
        return FORTH
    if name.startswith("Left"):
        return LEFT
    return RIGHT if name.startswith("Right") else UP


def angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(24,) largest angle of each joint, degrees."""
    a, b = torch.from_numpy(first).double(), torch.from_numpy(second).double()
    return torch.rad2deg(roma.rotmat_geodesic_distance(a, b)).amax(0).numpy()


@pytest.fixture
def plain(tmp_path):
    return read_bvh(write_bvh(tmp_path / "plain.bvh", swing(), PLACES))


def test_the_unit_of_a_bvh_does_not_matter(tmp_path, plain):
    def scaled(match):
        return " ".join(f"{float(number) / 100:.8f}" for number in match[0].split())

    text = (tmp_path / "plain.bvh").read_text()
    head, motion = text.split("Frame Time", 1)
    head = re.sub(r"(?<=OFFSET )[-\d. e]+", scaled, head)
    first, *rows = motion.splitlines()
    rows = [re.sub(r"^\s*(\S+\s+){3}", lambda m: scaled(m) + " ", row) for row in rows]
    (tmp_path / "metres.bvh").write_text(head + "Frame Time" + "\n".join((first, *rows)))
    rotmats, trans, _ = read_bvh(tmp_path / "metres.bvh")
    np.testing.assert_allclose(rotmats, plain[0], atol=1e-4)
    np.testing.assert_allclose(trans, plain[1], atol=1e-4)


# Rest pose and gravity ----------------------------------------------------------------------------


@pytest.mark.parametrize("quarters", range(4))
def test_a_zero_pose_with_every_bone_along_one_axis_is_the_same_motion(tmp_path, plain, quarters):
    twist = Rotation.from_rotvec((quarters * np.pi / 2, 0, 0)).as_matrix()  # about the bones
    axes = {name: own_axes(name) @ (twist if CHAIN[name][0] else np.eye(3)) for name in CHAIN}
    rotmats, trans, _ = read_bvh(write_bvh(tmp_path / "l.bvh", swing(), PLACES, axes))
    assert angles(plain[0], rotmats).max() < 0.1
    assert np.abs(rotmats[0, 0] - np.eye(3)).max() < 1e-5  # upright, facing +z
    assert np.abs(plain[1] - trans).max() < 1e-5 and trans[0, 1] > 0.7
    joints = load_body().joints(torch.from_numpy(rotmats[-1]), torch.zeros(10))
    knee, hip = joints[SMPL24.indices(["left_knee", "left_hip"])]
    assert knee[2] - hip[2] > 0.2  # lifted to the front


def test_a_zero_pose_may_stand_along_another_axis_than_the_person(tmp_path, plain):
    turned = swing()
    turned[:, 0] = Z_UP @ turned[:, 0]
    path = write_bvh(tmp_path / "z.bvh", turned, PLACES @ Z_UP.T)
    with pytest.warns(SemttaWarning, match=r"stands along \+y, the person in it along \+z"):
        rotmats, trans, _ = read_bvh(path)
    assert angles(plain[0], rotmats).max() < 0.1 and np.abs(plain[1] - trans).max() < 1e-5


def test_a_person_who_lies_is_not_turned_upright_and_it_is_said(tmp_path):
    lying = swing(root=(-np.pi / 2, 0, 0))
    path = write_bvh(tmp_path / "lie.bvh", lying, np.tile((0.0, 12.0, 400.0), (12, 1)))
    with pytest.warns(SemttaWarning, match=r"\+y is taken to be up"):
        rotmats, trans, _ = read_bvh(path)
    assert np.abs(rotmats[:, 0, 1, 1]).max() < 1e-5 and trans[0, 1] < 0.2


# Names --------------------------------------------------------------------------------------------

PARTS = ("Hips", "UpLeg", "Leg", "Foot", "ToeBase", "Shoulder", "Arm", "ForeArm", "Hand", "Neck1",
         "Head")  # fmt: skip
SCHEMES = {  # pattern of a sided name, then PARTS in the tool's words
    "smpl": ("{s}_{p}",
               "pelvis hip knee ankle foot collar shoulder elbow wrist neck head"),
    "maya": ("m_avg_{S}_{P}",
               "Pelvis Hip Knee Ankle Foot Collar Shoulder Elbow Wrist Neck Head"),
    "unity": ("{P}_{S}",
               "Hips UpperLeg LowerLeg Foot Toes Shoulder UpperArm LowerArm Hand Neck Head"),
    "rigify": ("{p}.{S}",
               "hips thigh shin foot toe shoulder upper_arm forearm hand neck head"),
    "unreal": ("{p}_{c}",
               "pelvis thigh calf foot ball clavicle upperarm lowerarm hand neck_01 head"),
    "biped": ("Bip01_{S}_{P}",
               "Pelvis Thigh Calf Foot Toe0 Clavicle UpperArm Forearm Hand Neck Head"),
    "daz": ("{c}{P}",
               "hip Thigh Shin Foot Toe Collar Shldr ForeArm Hand neck head"),
    "asf": ("{c}{p}",
               "root femur tibia foot toes clavicle humerus radius wrist neck head"),
    "jnt": ("{L}{P}_JNT",
               "Hips UpLeg LowLeg Foot Toe Collar UpArm LowArm Hand Neck Head"),
    "model": ("Model_{L}{P}",
               "Hips UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand Neck Head"),
    "mixamo": ("mixamorig:{L}{P}",
               "Hips UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand Neck Head"),
    "iclone": ("CC_Base_{S}_{P}",
               "Hip Thigh Calf Foot ToeBase Clavicle Upperarm Forearm Hand NeckTwist01 Head"),
    "vroid": ("J_Bip_{S}_{P}",
               "C_Hips UpperLeg LowerLeg Foot ToeBase Shoulder UpperArm LowerArm Hand C_Neck "
               "C_Head"),
    "genesis8": ("{c}{P}",
               "hip ThighBend Shin Foot Toe Collar ShldrBend ForearmBend Hand neckLower head"),
    "optitrack": ("{S}{P}",
               "Hip Thigh Shin Foot Toe Shoulder UArm FArm Hand Neck Head"),
    "clav": ("{L}{P}",
               "Hips Hip Knee Ankle Toe Clav Shoulder Elbow Wrist Neck Head"),
    "glued": ("{s}{p}",
               "hips upleg leg foot toe shoulder arm forearm hand neck head"),
}  # fmt: skip


def renamed(pattern: str, words: list[str]) -> dict[str, str]:
    names = {}
    for name in CHAIN:
        side = next((s for s in ("Left", "Right") if name.startswith(s)), "")
        part = name.removeprefix(side)
        word = words[PARTS.index(part)] if part in PARTS else part
        made = pattern if side else pattern.replace("{s}_", "").replace("_{S}", "").replace(
            ".{S}", "").replace("_{c}", "").replace("{S}_", "")  # fmt: skip
        names[name] = made.format(s=side.lower(), S=side[:1], c=side[:1].lower(), L=side, p=word,
                                  P=word)  # fmt: skip
    return names


@pytest.mark.parametrize("scheme", SCHEMES)
def test_names_of_every_tool_are_the_same_skeleton(tmp_path, plain, scheme):
    pattern, words = SCHEMES[scheme]
    names = renamed(pattern, words.split())
    rotmats, trans, _ = read_bvh(write_bvh(tmp_path / "n.bvh", swing(), PLACES, None, names))
    assert np.abs(plain[0] - rotmats).max() < 1e-6 and np.abs(plain[1] - trans).max() < 1e-6


def haired(path, bones: int):
    """The same file with many more bones on the head."""
    lines = path.read_text().split("\n")
    place = max(i for i, line in enumerate(lines) if "Head" in line) + 1
    hair = [f"JOINT Sec_Hair_{i}\n{{\nOFFSET 0 2 0\nCHANNELS 0" for i in range(bones)]
    at = next(i for i in range(place, len(lines)) if lines[i].startswith("End"))
    lines[at:at] = [*hair, "End Site\n{\nOFFSET 0 0 0\n}", *["}"] * bones]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("scheme", ["biped", "vroid", "iclone", "model", "jnt"])
def test_many_bones_of_hair_hide_no_name(tmp_path, plain, scheme):
    pattern, words = SCHEMES[scheme]
    names = renamed(pattern, words.split())
    path = haired(write_bvh(tmp_path / "n.bvh", swing(), PLACES, None, names), 90)
    rotmats, _, _ = read_bvh(path)
    assert np.abs(plain[0] - rotmats).max() < 1e-6


def test_a_neck_and_a_head_without_a_name_are_found_by_their_place(tmp_path, plain):
    chain = {"Neck1": "spine.004", "Head": "spine.006"}
    for names in (chain, {"Neck1": "spine.004"}, {"Head": "spine.006"}):
        path = write_bvh(tmp_path / "n.bvh", swing(), PLACES, None, names)
        with pytest.warns(SemttaWarning, match="called like .* is taken for it"):
            rotmats, _, _ = read_bvh(path)
        assert np.abs(plain[0] - rotmats).max() < 1e-6
    path = write_bvh(tmp_path / "n.bvh", swing(), PLACES, None, {"Neck1": "jaw", "Head": "eye"})
    with pytest.warns(SemttaWarning, match="called like head; it moves with the joint below"):
        read_bvh(path)


def test_the_spine_is_what_lies_between_pelvis_and_both_shoulders():
    # 0 pelvis, 1-4 spine, 5 and 6 collar and shoulder, 7 and 8 those of the other side
    parents = [-1, 0, 1, 2, 3, 4, 5, 4, 7]
    assert ancestors(parents, 3) == [0, 1, 2] and ancestors(parents, 0) == []
    places = {"pelvis": 0, "left_shoulder": 6, "right_shoulder": 8}
    assert spine_joints(parents, places) == {"spine1": 1, "spine2": 3, "spine3": 4}
    below = [-1, *(i + 1 for i in parents)]  # the pelvis hangs on a root of its own
    below[1] = 0
    moved = {name: i + 1 for name, i in places.items()}
    assert spine_joints(below, moved) == {"spine1": 2, "spine2": 4, "spine3": 5}
    short = [-1, 0, 1, 1]
    assert spine_joints(short, {"pelvis": 0, "left_shoulder": 2, "right_shoulder": 3}) == {
        "spine2": 1
    }


def test_a_foot_beyond_an_ankle_is_no_ankle(tmp_path, plain):
    names = {"LeftFoot": "LeftAnkle", "LeftToeBase": "LeftFoot", "LeftHand": "LeftWrist"}
    rotmats, _, _ = read_bvh(write_bvh(tmp_path / "a.bvh", swing(), PLACES, None, names))
    assert np.abs(plain[0] - rotmats).max() < 1e-6


# Forms of a BVH -----------------------------------------------------------------------------------


def test_marks_commas_and_rows_too_many_are_read(tmp_path, plain):
    text = write_bvh(tmp_path / "a.bvh", swing(), PLACES).read_text()
    rows = text.rstrip().split("\n")
    head, body = text.split("MOTION")
    forms = {
        "mark": "\ufeff" + text,
        "comma": head + "MOTION" + body.replace(".", ","),
        "everywhere": text.replace(".", ","),
        "lines": text.replace("\n", "\r\n"),
    }
    for name, form in forms.items():
        path = tmp_path / f"{name}.bvh"
        path.write_text(form, encoding="utf-8", newline="")
        assert np.abs(read_bvh(path)[0] - plain[0]).max() < 1e-6, name
    path.write_text("\n".join([*rows, rows[-1]]) + "\n")
    with pytest.warns(SemttaWarning, match="13 rows for the 12 frames"):
        assert len(read_bvh(path)[0]) == 12
    path.write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(SemttaError, match="cut off"):
        read_bvh(path)
    path.write_text(text.replace("0.033333", "0.0"))
    with pytest.raises(SemttaError, match="has the frame time 0.0; the seconds"):
        read_bvh(path)


# AMASS --------------------------------------------------------------------------------------------


def parts(arrays: dict) -> dict:
    poses = arrays.pop("poses")
    return {"root_orient": poses[:, :3], "pose_body": poses[:, 3:66], "pose_hand": poses[:, 66:]}


FORMS = {
    "fps": lambda a: {"fps": a.pop("mocap_framerate")},
    "frame_rate": lambda a: {"mocap_frame_rate": a.pop("mocap_framerate")},
    "object": lambda a: {"mocap_framerate": np.array(120.0, object)},
    "list": lambda a: {"mocap_framerate": np.array([120])},
    "parts": parts,
    "fullpose": lambda a: {"fullpose": a.pop("poses")},
    "joints": lambda a: {"poses": a["poses"].reshape(-1, 52, 3)},
    "smplx": lambda a: {"poses": np.pad(a["poses"], ((0, 0), (0, 9)))},
}


@pytest.mark.parametrize("form", FORMS)
def test_amass_forms_are_the_same_motion(tmp_path, form):
    first = amass(tmp_path / "a.npz")
    with np.load(first) as file:
        arrays = dict(file)
    arrays |= FORMS[form](arrays)
    np.savez(tmp_path / "b.npz", **arrays)
    one, two = (read_motion(list_motions(tmp_path / f"{n}.npz")[0]) for n in "ab")
    assert len(one) == 60 and np.abs(one.rotmats - two.rotmats).max() < 1e-6
    assert np.abs(one.trans - two.trans).max() < 1e-6


def test_an_amass_file_may_say_which_axis_is_up(tmp_path):
    lies = read_motion(list_motions(amass(tmp_path / "y.npz", frame=np.array("y-up")))[0])
    stands = read_motion(list_motions(amass(tmp_path / "z.npz", up_axis=np.array("Z")))[0])
    assert np.allclose(stands.rotmats[:, 0], np.eye(3), atol=1e-5)
    assert np.allclose(lies.trans[:, 2], 0.9) and np.allclose(stands.trans[:, 1], 0.9)
    with pytest.raises(SemttaError, match="frame says 'camera'"):
        read_motion(list_motions(amass(tmp_path / "c.npz", frame=np.array("camera")))[0])


def test_what_an_amass_file_lacks_is_named(tmp_path):
    path = amass(tmp_path / "a.npz", mocap_framerate=np.array("fast"))
    with pytest.raises(SemttaError, match="a.npz' cannot be read: could not convert"):
        list_motions(path)
    np.savez(path, poses=np.zeros((9, 72)), mocap_framerate=30)
    with pytest.raises(SemttaError, match="has no trans"):
        read_motion(list_motions(path)[0])


def test_a_broken_file_in_a_folder_is_left_out_and_named_once(tmp_path):
    good = amass(tmp_path / "S1" / "walk_01_poses.npz")
    (tmp_path / "S1" / "walk_02_poses.npz").write_bytes(good.read_bytes()[:4000])
    (tmp_path / "S1" / "._walk_01_poses.npz").write_bytes(b"Mac OS X")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert [entry.name for entry in list_motions(tmp_path)] == ["S1/walk_01_poses"]
    assert len(said) == 1 and "left out: " in str(said[0].message)
    assert "walk_02_poses.npz' cannot be read" in str(said[0].message)


def test_a_folder_of_broken_files_alone_says_what_is_wrong_with_the_first(tmp_path):
    (tmp_path / "walk_poses.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(SemttaError, match=r"walk_poses\.npz' cannot be read"):
        list_motions(tmp_path)


@pytest.mark.parametrize("content", ['["walk"]', '{"S1/walk_01_poses": 3}'])
def test_labels_beside_motions_map_names_to_texts(tmp_path, content):
    amass(tmp_path / "S1" / "walk_01_poses.npz")
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(SemttaError, match="labels.json' must map motion names to texts"):
        list_motions(tmp_path)


def test_announcements_are_notes_on_the_terminal(capsys, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    show_announcements()
    warnings.simplefilter("always")
    announce("'\x1b[2Ja.bvh' is [bold]read[/bold]")
    said = capsys.readouterr()
    assert said.err == "note: '\\x1b[2Ja.bvh' is [bold]read[/bold]\n" and not said.out


# What AMASS' keys may hold elsewhere --------------------------------------------------------------


def reread(path, **change):
    """The motion of ``amass`` with other arrays; None takes one away."""
    with np.load(amass(path)) as file:
        arrays = dict(file) | change
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return read_motion(list_motions(path)[0])


@pytest.fixture
def usual(tmp_path):
    """Poses (N, 22, 3) and places (N, 3) with z up, and the motion that is read of them."""
    with np.load(amass(tmp_path / "usual.npz")) as file:
        poses, trans = file["poses"][:, :66].reshape(-1, 22, 3), file["trans"]
    return poses, trans, read_motion(list_motions(tmp_path / "usual.npz")[0])


def matrices(poses: np.ndarray) -> np.ndarray:
    return roma.rotvec_to_rotmat(torch.from_numpy(poses)).numpy()


OTHERS = {
    "6d": lambda p: matrices(p)[..., :2].reshape(len(p), 22, 6),
    "6d flat": lambda p: matrices(p)[..., :2].reshape(len(p), 132),
    "quaternions": lambda p: np.pad(p, ((0, 0), (0, 0), (0, 1))),
    "places and poses": lambda p: np.pad(p.reshape(-1, 66), ((0, 0), (3, 6))),
    "keypoints": lambda p: np.full((len(p), 133, 3), 400.0),
    "pixels": lambda p: np.random.default_rng(0).uniform(0, 900, (len(p), 22, 3)),
    "joints": lambda p: np.random.default_rng(0).normal(size=(len(p), 22, 3)),
    "degrees": np.rad2deg,
    "nan": lambda p: p * np.nan,
    "scaled matrices": lambda p: 2 * matrices(p),
    "no root": lambda p: p[:, 1:].reshape(-1, 63),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_axis_angle_of_a_body_is_refused(tmp_path, usual, other):
    with pytest.raises(SemttaError, match="a.npz.*(of shape|radians|bend all|NaN)"):
        reread(tmp_path / "a.npz", poses=OTHERS[other](usual[0]))


def test_matrices_are_the_same_motion(tmp_path, usual):
    poses, _, motion = usual
    made = matrices(poses)
    for form in (made, made.reshape(-1, 22, 9)):
        again = reread(tmp_path / "a.npz", poses=form)
        assert np.abs(again.rotmats - motion.rotmats).max() < 1e-5
    parts = {"global_orient": made[:, 0], "body_pose": made[:, 1:]}
    again = reread(tmp_path / "a.npz", poses=None, **parts)
    assert np.abs(again.rotmats - motion.rotmats).max() < 1e-5


@pytest.mark.parametrize("unit, name", [(100, "centimetres"), (1000, "millimetres")])
def test_another_unit_is_seen_and_said(tmp_path, usual, unit, name):
    with pytest.warns(SemttaWarning, match=f"taken to be {name}"):
        again = reread(tmp_path / "a.npz", trans=usual[1] * unit)
    assert np.abs(again.trans - usual[2].trans).max() < 1e-4
    with pytest.raises(SemttaError, match="must be in metres"):
        reread(tmp_path / "a.npz", trans=usual[1] * unit**3)


@pytest.mark.parametrize("turn, axis", [((-np.pi / 2, 0, 0), r"\+y"), ((np.pi / 2, 0, 0), "-y")])
def test_people_who_stand_along_another_axis_are_turned_upright_and_it_is_said(
    tmp_path, usual, turn, axis
):
    poses, trans, motion = usual
    world = Rotation.from_rotvec(turn)
    poses = poses.copy()
    poses[:, 0] = (world * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    parts = {"global_orient": poses[:, 0], "body_pose": poses[:, 1:].reshape(-1, 63)}
    with pytest.warns(SemttaWarning, match=f"stands along {axis}"):
        again = reread(tmp_path / "a.npz", poses=None, trans=None, transl=world.apply(trans),
                       frame=np.arange(len(poses)), **parts)  # fmt: skip
    assert np.allclose(again.rotmats[:, 0, 1, 1], 1, atol=1e-5)
    assert np.allclose(again.trans[:, 1], motion.trans[:, 1], atol=1e-5)


def test_a_person_who_lies_in_an_amass_file_stays_lying_and_it_is_said(tmp_path, usual):
    poses = usual[0].copy()
    poses[:, 0] = 0
    with pytest.warns(SemttaWarning, match="does not stand along"):
        again = reread(tmp_path / "a.npz", poses=poses, trans=usual[1] * (1, 0, 0) + (0, 0, 0.12))
    assert np.abs(again.rotmats[:, 0, 1, 1]).max() < 1e-5 and np.allclose(again.trans[:, 1], 0.12)
