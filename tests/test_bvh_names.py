"""Which joint of a skeleton is which, by its name and by its place among the others."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from small_motions import CHAIN
from test_foreign_motion import SCHEMES, renamed

from semtta.errors import SemttaError, SemttaWarning
from semtta.motion.bvh_names import match_joints, spine_joints

JOINTS = ("pelvis", "", "", "", "neck", "head", *(
    f"{side}_{part}" for side in ("left", "right")
    for part in "hip knee ankle foot collar shoulder elbow wrist".split()
))  # fmt: skip
PARENTS = [list(CHAIN).index(parent) if parent else -1 for parent, _ in CHAIN.values()]
PLACES = {joint: place for place, joint in enumerate(JOINTS) if joint}


def match(names, parents=None) -> dict[str, int]:
    """Joints of a skeleton; whatever is announced fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return match_joints(Path("a.bvh"), list(names), parents or PARENTS)


def called(**change: str) -> list[str]:
    """Names of ``CHAIN``, some of them others."""
    return [change.get(name, name) for name in CHAIN]


def grown(*added: tuple[str, str], **change: str) -> tuple[list[str], list[int]]:
    """Names and parents of ``CHAIN`` with more joints: (name, parent) in their order."""
    names, parents = list(CHAIN), list(PARENTS)
    for name, parent in added:
        parents.append(names.index(parent))
        names.append(name)
    return [change.get(name, name) for name in names], parents


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_joint_of_every_tool_is_found_without_a_word(scheme):
    pattern, words = SCHEMES[scheme]
    names = renamed(pattern, words.split())
    assert match(names[name] for name in CHAIN) == PLACES


@pytest.mark.parametrize("pattern", ["01_{}", "{}_rig", "x_{}_y", "a:b:{}", "{}_0", "{}_01",
                                     "Bone_{}", "{}_jnt", "Rig_{}_m", "ns|{}"])  # fmt: skip
def test_what_all_names_begin_or_end_with_says_nothing(pattern):
    assert match(pattern.format(name) for name in CHAIN) == PLACES


def test_a_skeleton_of_nothing_but_what_is_needed_is_known():
    """A third of its names have "leg" in them, and as many "arm"."""
    parts = ["UpLeg", "Leg", "Foot", "Arm", "ForeArm"]
    names = ["Hips", "Head", *(side + part for side in ("Left", "Right") for part in parts)]
    names = [name for name in names if name != "Head"]
    parents = [-1, *(p for i in (1, 6) for p in (0, i, i + 1, 0, i + 3))]
    with pytest.warns(SemttaWarning, match="moves with the joint below"):
        found = match_joints(Path("a.bvh"), names, parents)
    joints = ["hip", "knee", "ankle", "shoulder", "elbow"]
    assert found == {"pelvis": 0} | {
        f"{side}_{joint}": 1 + 5 * i + k
        for i, side in enumerate(("left", "right")) for k, joint in enumerate(joints)
    }  # fmt: skip


@pytest.mark.parametrize("others, known", [(18, True), (19, True), (20, False)])
def test_an_end_that_more_than_a_third_of_the_names_have_says_nothing(others, known):
    needed = [name for name in CHAIN if name.endswith(("UpLeg", "Leg", "Foot", "Arm"))]
    extra = [(f"Extra{letter}", "Head") for letter in "abcdefgh"[: others - 12]]
    names, parents = grown(*extra, **{name: f"{name}_rig" for name in needed})
    assert len(needed) == 10 and len(names) == 10 + others
    if known:
        assert match(names, parents) == PLACES
    else:
        with pytest.raises(SemttaError, match="is called like left_hip; names as in CMU's"):
            match(names, parents)


@pytest.mark.parametrize("pattern", ["{}", "01_{}", "x_{}"])
@pytest.mark.parametrize("lower, upper", [("Neck", "Neck1"), ("neck", "neck_01")])
def test_of_two_necks_the_numbered_one_is_meant(pattern, lower, upper):
    names = [pattern.format(name) for name in called(Spine1=lower, Neck1=upper)]
    assert match(names)["neck"] == PLACES["neck"]


def test_of_joints_that_begin_otherwise_those_that_begin_as_most_are_meant():
    pattern = "J_Bip_{}"
    names, parents = grown(**{name: pattern.format(name) for name in CHAIN})
    hair = [f"Sec_Hair_{i}" for i in range(60)]  # "J_Bip" is on less than a third of the names
    names = ["Hips", "Aux_LeftArm", "Aux_Head", *hair, *names[1:]]
    moved = [-1, 0, 0, *[2] * len(hair), *(p + 2 + len(hair) if p > 0 else 0 for p in parents[1:])]
    expected = {j: p + 2 + len(hair) if p else 0 for j, p in PLACES.items()}
    assert match(names, moved) == expected
    # and a name that begins with nothing else before any other
    names[expected["left_shoulder"]], names[1] = "LeftArm", "J_Bip_LeftArm"
    assert match(names, moved) == expected


def test_a_name_of_two_joints_is_none_of_them():
    names = called(LeftHand="LeftThumbHand", RightHand="RightLegHand")
    found = match(names)
    assert "left_wrist" not in found and "right_wrist" not in found


def test_one_joint_is_not_taken_twice():
    """ "foot" is the ankle where there are no toes, "shoulder" the arm where there is no other."""
    names = called(LeftToeBase="LeftHeel", RightToeBase="RightHeel", LeftArm="LeftShoulder",
                   LeftShoulder="LeftPart", RightHand="RightPalm")  # fmt: skip
    gone = ("left_foot", "right_foot", "left_collar", "right_wrist")
    assert match(names) == {joint: i for joint, i in PLACES.items() if joint not in gone}


@pytest.mark.parametrize("name", ["LeftArm", "RightLeg", "LeftFoot", "RightForeArm"])
def test_a_joint_that_is_needed_and_not_there_is_named(name):
    joint = JOINTS[list(CHAIN).index(name)]
    with pytest.raises(SemttaError, match=f"no joint of this BVH is called like {joint};"):
        match(called(**{name: "Thing", name.replace("Arm", "Shoulder"): "Thing"}))


def test_a_pelvis_without_a_name_is_the_last_joint_above_both_hips():
    names = ["Reference", "World", "Bottom", *list(CHAIN)[1:]]
    parents = [-1, 0, 1, *(p + 2 for p in PARENTS[1:])]
    assert match(names, parents) == {j: p + 2 for j, p in PLACES.items()}
    parents[names.index("LeftUpLeg")] = -1
    with pytest.raises(SemttaError, match="hips of this BVH have no pelvis in common"):
        match(names, parents)


def test_a_pelvis_with_a_name_is_meant_even_if_another_joint_holds_the_legs():
    names, parents = ["Hips", "Holder", *list(CHAIN)[1:]], [-1, 0, *(p + 1 for p in PARENTS[1:])]
    parents = [0 if parent == 1 else parent for parent in parents]
    for leg in ("LeftUpLeg", "RightUpLeg"):
        parents[names.index(leg)] = 1
    assert match(names, parents) == {j: p + 1 if p else 0 for j, p in PLACES.items()}


# Neck and head ------------------------------------------------------------------------------------

HELD = {"Neck1": "A", "Head": "B"}
CHAINS = {  # added joints, other names -> which are taken for neck and head
    "two": ((), HELD, ("A", "B")),
    "three": ((("C", "Head"),), HELD, ("A", "C")),
    "an end beyond": ((("HeadTop_End", "Head"),), HELD, ("A", "B")),
    "eyes": ((("eye_x", "Head"), ("jaw", "Head")), HELD, ("A", "B")),
    "ears of both sides": ((("LeftEar", "Head"), ("RightEar", "Head")), HELD, ("A", "B")),
    "branches": ((("C", "Head"), ("D", "Head")), HELD, ("A", "B")),
    "one": ((), HELD | {"Head": "Top"}, ("", "A")),
    "none": ((("B2", "Neck1"),), HELD | {"Neck1": "Nose"}, ("", "")),
    "named neck": ((("C", "Head"), ("D", "C")), {"Head": "B"}, ("Neck1", "D")),
    "named head": ((), {"Neck1": "A"}, ("A", "Head")),
    "a chain that branches below a named head": ((("C", "Neck1"),), {"Neck1": "A"}, ("A", "Head")),
    "several below a named head": ((), {"Neck1": "A", "Spine1": "S"}, ("A", "Head")),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_neck_and_head_without_a_name_are_the_chain_above_the_shoulders(kind):
    added, change, (neck, head) = CHAINS[kind]
    names, parents = grown(*added, **change)
    with pytest.warns(SemttaWarning) as said:
        found = match_joints(Path("a.bvh"), names, parents)
    assert {part: names[found[part]] for part in ("neck", "head") if part in found} == {
        part: name for part, name in (("neck", neck), ("head", head)) if name
    }
    lacking = [part for part, name in (("neck", "Neck1"), ("head", "Head")) if name not in names]
    taken = {"neck": neck, "head": head}
    assert [str(w.message) for w in said] == [
        f"'a.bvh': no joint is called like {part}; "
        + (f"'{taken[part]}' is taken for it." if taken[part] else
           "it moves with the joint below.")
        for part in lacking
    ]  # fmt: skip


def test_of_a_named_head_right_above_the_shoulders_there_is_no_neck():
    parents = list(PARENTS)
    parents[PLACES["head"]] = PARENTS[PLACES["left_collar"]]
    with pytest.warns(SemttaWarning, match="called like neck; it moves with"):
        found = match_joints(Path("a.bvh"), called(Neck1="A"), parents)
    assert "neck" not in found and found["head"] == PLACES["head"]


@pytest.mark.parametrize("head", ["Head", "Top"])
def test_shoulders_with_nothing_above_both_have_no_neck(head):
    """The root is a shoulder."""
    names = ["LeftArm", "Hips", *list(CHAIN)[1:]]
    names[names.index("LeftArm", 1)], names[names.index("Head")] = "Arm", head
    names[names.index("Neck1")] = "A"
    parents = [-1, 0, *(p + 1 for p in PARENTS[1:])]
    with pytest.warns(SemttaWarning, match="moves with"):
        assert "neck" not in match_joints(Path("a.bvh"), names, parents)


# Spine --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "joints, spine",
    [(0, {}), (1, {"spine2": 1}), (2, {"spine1": 1, "spine3": 2}),
     (3, {"spine1": 1, "spine2": 2, "spine3": 3}), (5, {"spine1": 1, "spine2": 3, "spine3": 5}),
     (6, {"spine1": 1, "spine2": 3, "spine3": 6})],
)  # fmt: skip
def test_up_to_three_joints_of_the_spine_are_spread_over_it(joints, spine):
    parents = [*range(-1, joints), joints, joints]
    places = {"pelvis": 0, "left_shoulder": joints + 1, "right_shoulder": joints + 2}
    assert spine_joints(parents, places) == spine


def test_the_spine_may_stand_beside_the_pelvis_on_the_root():
    # 0 root, 1 pelvis, 2 and 3 spine, 4 neck of both, 5 and 6 shoulders
    parents = [-1, 0, 0, 2, 3, 4, 4]
    places = {"pelvis": 1, "left_shoulder": 5, "right_shoulder": 6, "neck": 4}
    assert spine_joints(parents, places) == {"spine1": 2, "spine3": 3}
