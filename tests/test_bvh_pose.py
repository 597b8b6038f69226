"""From a BVH skeleton's joints to SMPL's: rest poses, gravity, what is said of both."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from small_motions import CHAIN, about, leaning, offsets, swing, without, write_bvh
from test_foreign_motion import own_axes

from semtta.body import load_body
from semtta.errors import SemttaError, SemttaWarning
from semtta.motion.bvh import read_bvh
from semtta.skeletons import SMPL24

FRAMES = 10
STILL = np.tile(np.eye(3), (FRAMES, len(CHAIN), 1, 1))
PLACE = np.array((0.0, 86.0, 0.0))
PLACES = np.tile(PLACE, (FRAMES, 1))
OWN = {name: own_axes(name) for name in CHAIN}  # a zero pose with every bone along one axis
NAMES = dict(zip(CHAIN, ("pelvis", "spine1", "spine2", "spine3", "neck", "head")))
for _side in ("Left", "Right"):
    NAMES |= dict(
        zip(
            (name for name in CHAIN if name.startswith(_side)),
            (
                f"{_side.lower()}_{part}"
                for part in "hip knee ankle foot collar shoulder elbow wrist".split()
            ),
        )
    )


@pytest.fixture
def read(tmp_path):
    """Rotations and places of a motion of ``CHAIN``; what is announced fails the test."""

    def motion(rotations=STILL, places=PLACES, axes=None, names=None, edit=lambda text: text):
        path = write_bvh(tmp_path / "a.bvh", rotations, places, axes, names)
        path.write_text(edit(path.read_text()))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read_bvh(path)[:2]

    return motion


def heard(path) -> tuple[np.ndarray, list[str]]:
    """Rotations, and what is announced of them."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rotmats = read_bvh(path)[0]
    return rotmats, [str(w.message) for w in said]


def of(rotmats: np.ndarray, *joints: str) -> np.ndarray:
    return rotmats[:, SMPL24.indices(joints)]


def turned(matrix: np.ndarray):
    """An edit of a file: a zero pose in other axes of the world."""
    return offsets(**{name: matrix @ offset for name, (_, offset) in CHAIN.items()})


# The zero pose ------------------------------------------------------------------------------------


@pytest.mark.parametrize("quarters", range(4))
def test_a_zero_pose_that_looks_elsewhere_is_turned_to_the_front(read, quarters):
    turn = about("y", 90 * quarters)
    moved = np.linspace(PLACE, (0, 86, 50), FRAMES)
    usual = read(STILL, moved)
    other = read(STILL, moved @ turn.T, edit=turned(turn))
    np.testing.assert_allclose(other[0], usual[0], atol=1e-6)
    np.testing.assert_allclose(other[1], usual[1], atol=1e-6)
    assert other[1][-1, 2] > 0.4


@pytest.mark.parametrize(
    "axis, degrees, name",
    [("x", 90, r"\+z"), ("x", -90, "-z"), ("x", 180, "-y"), ("z", 90, "-x"), ("z", -90, r"\+x")],
)
def test_gravity_is_where_the_person_stands(read, tmp_path, axis, degrees, name):
    world = about(axis, degrees)
    rotations = swing(FRAMES)
    expected = read(rotations)
    rotations[:, 0] = world @ rotations[:, 0]
    with pytest.warns(SemttaWarning, match=rf"stands along \+y, the person in it along {name},"):
        rotmats, trans, _ = read_bvh(write_bvh(tmp_path / "g.bvh", rotations, PLACES @ world.T))
    np.testing.assert_allclose(rotmats[:, 1:], expected[0][:, 1:], atol=1e-5)
    np.testing.assert_allclose(rotmats[:, 0, 1, 1], 1, atol=1e-5)
    np.testing.assert_allclose(trans[:, 1], expected[1][:, 1], atol=1e-5)


@pytest.mark.parametrize("degrees, stands", [(43, True), (46, False)])
def test_who_leans_by_less_than_45_degrees_stands(tmp_path, degrees, stands):
    """Seen at the head, not at a shoulder."""
    world = about("x", 90)
    rotations = STILL.copy()
    rotations[:, 0] = world @ leaning(degrees)
    _, said = heard(write_bvh(tmp_path / "a.bvh", rotations, PLACES @ world.T))
    assert ["which is taken to be up" in text for text in said] == [True] * stands


@pytest.mark.parametrize("upright, believed", [(2, False), (3, True)])
def test_a_zero_pose_is_believed_if_the_person_stands_along_it_now_and_then(
    tmp_path, upright, believed
):
    world = about("x", 90)
    rotations, places = STILL.copy(), PLACES @ world.T
    rotations[upright:, 0], places[:upright] = world, PLACE
    rotmats, said = heard(write_bvh(tmp_path / "a.bvh", rotations, places))
    assert len(said) == (not believed)
    assert np.allclose(rotmats[0, 0], np.eye(3), atol=1e-6) == believed


@pytest.mark.parametrize(
    "place, along",
    [((0, 0, 86), "z"), ((0, 0, 45), "z"), ((0, 0, 125), "z"), ((0, 0, 35), "y"),
     ((0, 0, 135), "y"), ((0, 0, 40), "y"), ((0, 0, 128), "y"),
     ((0, 86, 86), "y"), ((0, 172, 172), "y"), ((0, 12, 86), "z")],
)  # fmt: skip
def test_who_lies_is_told_from_who_stands_by_the_height_of_the_pelvis(tmp_path, place, along):
    rotations = STILL.copy()
    rotations[:, 0] = about("x", 90)
    path = write_bvh(tmp_path / "a.bvh", rotations, np.tile(place, (FRAMES, 1)))
    stands = r"stands along \+y, the person in it along \+z, which is taken to be up"
    lies = r"the person lies along \+z or that axis points up; .* \+y is taken"
    with pytest.warns(SemttaWarning, match=stands if along == "z" else lies):
        rotmats, _, _ = read_bvh(path)
    assert float(rotmats[0, 0, 1, 1]) == pytest.approx(float(along == "z"), abs=1e-5)


@pytest.mark.parametrize("upright", [5, 6])
def test_of_a_zero_pose_that_is_none_most_frames_tell_what_is_up(tmp_path, read, upright):
    world = about("x", 90)
    rotations = STILL.copy()
    rotations[:upright, 0] = world
    rotations[upright:, 0] = leaning(54.7)
    path = write_bvh(tmp_path / "a.bvh", rotations, PLACES @ world.T, OWN)
    rotmats, said = heard(path)
    none = "the zero pose is none of a standing person; +y is"
    assert [none in text for text in said] == [True] * (upright == 5)
    assert float(rotmats[0, 0, 1, 1]) == pytest.approx(float(upright == 6), abs=1e-5)


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_who_sits_or_stands_on_one_leg_in_the_zero_pose_does_not_stand(read, side):
    """Its thigh goes forward: nothing is concluded about what is up."""
    sits = offsets(**{f"{side}Leg": (0, 0, 40)})
    lying = STILL.copy()
    lying[:, 0] = leaning(54.7)
    with pytest.raises(
        SemttaError, match="^BVH file .*a.bvh.*the zero pose is none of a standing person"
    ):
        read(lying, edit=sits)
    read(lying, edit=offsets(**{f"{side}Leg": (0, -30, 26)}))  # 70 of 80 below the hip
    read(lying, edit=offsets(**{f"{side}{part}": (0, -24, 32) for part in ("Leg", "Foot")}))  # 48


FLAT = {
    "hips in one place": {"LeftUpLeg": (0, -5, 0), "RightUpLeg": (0, -5, 0)},
    "hips above each other": {"LeftUpLeg": (0, 5, 0), "RightUpLeg": (0, -5, 0)},
    "no height": {"LowerBack": (0, -15, 0), "Spine": (0, 0, 0), "Spine1": (0, 0, 0),
                  "LeftShoulder": (4, 10, 0), "RightShoulder": (-4, 10, 0)},
}  # fmt: skip


@pytest.mark.parametrize("kind", FLAT)
def test_a_zero_pose_without_width_or_height_is_refused(read, kind):
    with pytest.raises(SemttaError, match="zero pose has no width or no height"):
        read(edit=offsets(**FLAT[kind]))


def test_hips_that_stand_askew_do_not_turn_the_person(read):
    askew = read(swing(FRAMES), edit=offsets(LeftUpLeg=(10, 8, 0), RightUpLeg=(-10, -5, 0)))
    np.testing.assert_allclose(askew[0], read(swing(FRAMES))[0], atol=1e-6)


# Bones --------------------------------------------------------------------------------------------

ARM = ("LeftForeArm", "LeftHand")


def sloping(degrees: float):
    """Left arm below the horizontal in the zero pose."""
    side, down = np.cos(np.deg2rad(degrees)), -np.sin(np.deg2rad(degrees))
    return offsets(**{NAMES[name]: 28 * np.array((side, down, 0)) for name in ARM})


def slope_of_arm() -> float:
    bone = load_body("cc0").joint_template
    a, b = bone[SMPL24.indices(["left_shoulder", "left_elbow"])]
    return float(-torch.rad2deg(torch.atan2(b[1] - a[1], b[0] - a[0])))


def shape(text: str) -> str:
    """Bones of the library's own body, with SMPL's names."""
    joints = 100 * load_body("cc0").joint_template.numpy()
    found = {}
    for name, (parent, _) in CHAIN.items():
        place = joints[SMPL24.index(NAMES[name])]
        above = joints[SMPL24.index(NAMES[parent])] if parent else 0 * place
        found[NAMES[name]] = place - above
    return offsets(**found)(text)


def test_smpls_own_skeleton_is_carried_over_as_it_is(read):
    rotations = swing(FRAMES)
    rotmats, _ = read(rotations, names=NAMES, edit=shape)
    order = SMPL24.indices([NAMES[name] for name in CHAIN])
    np.testing.assert_allclose(rotmats[:, order], rotations, atol=1e-5)
    others = sorted(set(range(24)) - set(order))
    np.testing.assert_allclose(rotmats[:, others], np.tile(np.eye(3), (FRAMES, 2, 1, 1)), atol=1e-6)
    assert np.array_equal(read(rotations, names=NAMES, edit=lambda t: shape(t).replace(
        "left_", "LEFT_"))[0], rotmats)  # fmt: skip


@pytest.mark.parametrize("more, corrected", [(14.5, False), (15.5, True), (120, True)])
def test_smpls_bones_differ_by_the_shape_up_to_15_degrees(read, more, corrected):
    bent = sloping(slope_of_arm() + more)
    rotmats, _ = read(names=NAMES, edit=lambda text: bent(shape(text)))
    assert np.allclose(of(rotmats, "left_shoulder"), np.eye(3), atol=1e-4) != corrected
    other, _ = read(names=NAMES, edit=lambda text: bent(shape(text)).replace(" neck", " neck1"))
    assert not np.allclose(of(other, "left_shoulder"), np.eye(3), atol=1e-4)  # not SMPL's names


@pytest.mark.parametrize("names", [None, NAMES])
def test_a_forearm_without_a_hand_hangs_as_the_upper_arm(read, names):
    called = names or {name: name for name in CHAIN}
    arm = {called[f"{side}{part}"]: (0, -27, 0) for side in ("Left", "Right")
           for part in ("ForeArm", "Hand")}  # fmt: skip
    hanging = offsets(**arm)
    hands = without(called["LeftHand"], called["RightHand"])
    whole, _ = read(names=names, edit=hanging)
    cut, _ = read(names=names, edit=lambda text: hands(hanging(text)))
    joints = load_body().joints(torch.from_numpy(cut[0]), torch.zeros(10))
    arm = joints[SMPL24.index("left_wrist")] - joints[SMPL24.index("left_shoulder")]
    assert arm[1] / arm.norm() < -0.95
    legs = [i for i in range(24) if "elbow" not in SMPL24.joints[i] and "wrist" not in
            SMPL24.joints[i]]  # fmt: skip
    np.testing.assert_allclose(cut[:, legs], whole[:, legs], atol=1e-6)


@pytest.mark.parametrize("splay", [0, 30])
def test_feet_and_hips_stay_level_wherever_the_zero_poses_legs_point(read, splay):
    s, c = np.sin(np.deg2rad(splay)), np.cos(np.deg2rad(splay))
    legs = {f"{side}{part}": (sign * 40 * s, -40 * c, 0) for side, sign in (("Left", 1), ("Right",
            -1)) for part in ("Leg", "Foot")}  # fmt: skip
    rotmats, _ = read(edit=offsets(**legs))
    hip, knee, ankle = of(rotmats, "left_hip", "left_knee", "left_ankle")[0]
    np.testing.assert_allclose(hip @ knee @ ankle, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(rotmats[:, 0], STILL[:, 0], atol=1e-6)
    joints = load_body().joints(torch.from_numpy(rotmats[0]), torch.zeros(10))
    bone = joints[SMPL24.index("left_ankle")] - joints[SMPL24.index("left_hip")]
    assert float(torch.rad2deg(torch.atan2(bone[0], -bone[1]))) == pytest.approx(splay, abs=0.1)


def test_a_head_that_looks_aside_all_the_time_is_believed_in_a_zero_pose_that_stands(read):
    aside = STILL.copy()
    aside[:, list(CHAIN).index("Head")] = about("y", 80)
    rotmats, _ = read(aside)
    np.testing.assert_allclose(of(rotmats, "head")[0, 0], about("y", 80), atol=1e-5)


def test_a_bone_without_length_turns_nothing(read):
    rotmats, _ = read(edit=offsets(LeftHand=(0, 0, 0)))
    assert np.isfinite(rotmats).all()
    shoulder, elbow = of(rotmats, "left_shoulder", "left_elbow")[0]
    np.testing.assert_allclose(shoulder @ elbow, np.eye(3), atol=1e-6)


def test_a_joint_between_the_hips_and_the_legs_changes_nothing(read):
    """Daz' skeletons have a "pelvis" below the "hip", with both legs."""

    def edit(text: str) -> str:
        held = "JOINT Between\n{\nOFFSET 0 0 0\nCHANNELS 0\n"
        head, legs = text.split("JOINT LeftUpLeg", 1)
        left, right = legs.split("JOINT RightUpLeg", 1)
        ends = right.split("}\n}\n}\n}\n}\n")
        return (head + held + "JOINT LeftUpLeg" + left + "JOINT RightUpLeg" + ends[0]
                + "}\n" * 6 + "}\n}\n}\n}\n}\n".join(ends[1:]))  # fmt: skip

    np.testing.assert_allclose(read(swing(FRAMES), edit=edit)[0], read(swing(FRAMES))[0], atol=1e-6)
