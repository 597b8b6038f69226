"""What no evidence shows is held: it neither pulls at what is seen nor is pulled by it."""

from functools import cache

import pytest
import roma
import torch
from test_adapter import CAMERA, TinyPrior, same, tiny_model, walker

from semtta.body import load_body
from semtta.body.lbs import KinematicTree
from semtta.config import load_config
from semtta.geometry import geodesic_degrees
from semtta.output.files import report
from semtta.skeletons import BODY27, SKELETONS, SMPL24, SMPL_PARENTS
from semtta.tta.adapter import Adapter
from semtta.tta.hold import held_depth, held_rotations, held_share
from semtta.tta.limbs import never_seen, seen_limbs
from semtta.tta.run import seen_rotations
from semtta.tta.view import View

LEGS = SMPL24.indices([f"{s}_{j}" for s in ("left", "right") for j in ("hip", "knee", "ankle")])
ARM = SMPL24.indices(["left_shoulder", "left_elbow"])


def turns(count, seed, size=1.0):
    generator = torch.Generator().manual_seed(seed)
    return roma.rotvec_to_rotmat(size * torch.randn(count, 24, 3, generator=generator))


def world(rotmats):
    return KinematicTree(SMPL_PARENTS).chain(rotmats, torch.zeros(len(rotmats), 24, 3))[0]


def share_of(hidden, fps=30.0, after=1.0, count=120, skeleton=BODY27):
    """Of the left arm, which is hidden in some frames."""
    detected = torch.ones(count, len(skeleton), dtype=torch.bool)
    for name in ("elbow", "wrist", "index"):
        detected[hidden, skeleton.index(f"left_{name}")] = False
    seen = seen_rotations(detected, skeleton)
    return held_share(seen, torch.arange(count) / fps, after, skeleton)


# What is held ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [12.0, 30.0, 60.0])
def test_time_without_evidence_says_what_is_held_whatever_the_frame_rate(fps):
    count = int(8 * fps)
    second, four = int(fps), int(4 * fps)
    brief = share_of(slice(second, 2 * second), fps, count=count)
    assert brief.max() < 1e-6  # hidden for a second: seen within half of one
    long = share_of(slice(second, second + four), fps, count=count)
    shoulder = long[:, ARM[0]]
    assert shoulder[3 * second] == 1 and not shoulder[: int(1.4 * fps)].any()
    assert not shoulder[int(4.6 * fps) :].any() and not long[:, LEGS].any()
    assert shoulder.diff().abs().max() < 2.2 / fps  # fades in and out over half a second
    assert (share_of(slice(None), fps, count=count)[:, ARM[0]] == 1).all()


def test_a_limb_whose_end_is_seen_is_not_held():
    detected = torch.ones(90, len(BODY27), dtype=torch.bool)
    detected[:, BODY27.indices(["left_knee", "right_knee", "left_elbow", "left_wrist"])] = False
    share = held_share(seen_rotations(detected, BODY27), torch.arange(90) / 30, 1.0, BODY27)
    assert not share.any()  # ankles and fingers say where knees and elbows may be
    detected[:, BODY27.indices(["left_index", "left_pinky", "left_thumb"])] = False
    share = held_share(seen_rotations(detected, BODY27), torch.arange(90) / 30, 1.0, BODY27)
    held = {SMPL24.joints[j] for j in share[0].nonzero()[:, 0].tolist()}
    assert held == {f"left_{joint}" for joint in ("shoulder", "elbow", "wrist", "hand")}


def test_what_the_skeleton_cannot_see_of_a_hidden_limb_is_held_with_it():
    coco = SKELETONS["coco17"]  # neither fingers nor toes
    detected = torch.ones(60, len(coco), dtype=torch.bool)
    detected[:, coco.indices(["left_knee", "left_ankle", "left_elbow", "left_wrist"])] = False
    share = held_share(seen_rotations(detected, coco), torch.arange(60) / 30, 1.0, coco)
    held = {SMPL24.joints[j] for j in share[0].nonzero()[:, 0].tolist()}
    ends = ("hip", "knee", "ankle", "foot", "shoulder", "elbow", "wrist", "hand")
    assert held == {f"left_{joint}" for joint in ends}


def test_a_held_limb_is_the_kept_one_and_nothing_else_is_touched():
    moved, kept = turns(5, 0), turns(5, 1)
    share = torch.zeros(5, 24)
    share[:, LEGS[3:]] = 1  # the right leg
    share[2:, ARM] = 1
    held = held_rotations(moved, kept, share)
    free = [j for j in range(24) if j not in LEGS[3:] + ARM]
    assert torch.equal(held[:, free], moved[:, free]) and torch.equal(held[:2, ARM], moved[:2, ARM])
    assert geodesic_degrees(held, kept)[:, LEGS[3:]].max() < 0.1
    assert geodesic_degrees(held, kept)[2:, ARM].max() < 0.1
    assert torch.equal(held_rotations(moved, kept, torch.zeros(5, 24)), moved)


def test_without_any_leg_both_keep_their_orientation_in_camera_axes():
    moved, kept = turns(5, 0), turns(5, 1)
    share = torch.zeros(5, 24)
    share[:, LEGS] = 1
    held = held_rotations(moved, kept, share)
    assert geodesic_degrees(world(held), world(kept))[:, LEGS].max() < 0.1
    assert geodesic_degrees(held, kept)[:, 0].min() > 5  # of a pelvis that has turned


def test_what_is_held_by_half_is_turned_by_half():
    moved, kept = turns(4, 2, 0.4), turns(4, 3, 0.4)
    share = torch.zeros(4, 24)
    share[:, LEGS[0]] = 0.5
    held, whole = held_rotations(moved, kept, share)[:, LEGS[0]], geodesic_degrees(moved, kept)
    for end in (moved, kept):
        off = geodesic_degrees(held, end[:, LEGS[0]])
        assert torch.allclose(off, whole[:, LEGS[0]] / 2, atol=0.1)


def test_two_legs_held_by_half_are_turned_by_half_too():
    moved, kept = turns(4, 2, 0.4), turns(4, 3, 0.4)
    share = torch.zeros(4, 24)
    share[:, LEGS] = 1
    whole = held_rotations(moved, kept, share)
    held = held_rotations(moved, kept, share / 2)
    for hip in (LEGS[0], LEGS[3]):
        # on a straight way to what half of the turn keeps: less than a half would be as wrong
        off, rest = (geodesic_degrees(held[:, hip], end[:, hip]) for end in (moved, whole))
        assert ((off / (off + rest)) - 0.5).abs().max() < 0.1, (off, rest)


# In a run ----------------------------------------------------------------------------------------


def upper_body(count=70):
    """Somebody whose legs nobody sees; what is seen is wrong by a turn and a step."""
    track = walker(count, hidden=False)
    names = ("knee", "ankle", "heel", "big_toe")
    legs = BODY27.indices([f"{side}_{name}" for side in ("left", "right") for name in names])
    track.keypoints.conf[:, legs] = 0
    track.conf3d[:, legs] = 0
    return track


def adapt(track, *overrides, labels=None, similarity=0.9):
    config = load_config("default", ["optimizer.epochs=4", "optimizer.coverage=4",
                                     "optimizer.lr=1e-3", "evidence.heldout=0",
                                     *overrides])  # fmt: skip
    prior = TinyPrior(similarity)
    whole = Adapter(tiny_model(), config=config, prior=prior, gate_prior=prior)
    return whole.adapt(track, CAMERA, labels)


@cache
def legless(*overrides):
    """A run on somebody without legs, looked at by several tests."""
    return adapt(upper_body(), *overrides)


def error(result, motion):
    detected = result.evidence.detected
    return float((motion.landmarks2d - result.detections.xy).norm(dim=-1)[detected].mean())


def same_rows(one, other, rows):
    parts = ("trans", "landmarks2d")
    return all(torch.equal(getattr(one, p)[rows], getattr(other, p)[rows]) for p in parts)


OFF, ON = (
    ("hold.after=null", "hold.depth=false"),
    ("hold.after=1", "hold.to=base", "hold.depth=true"),
)


def test_unseen_legs_stay_the_bases_while_what_is_seen_is_fitted():
    free, held = legless(*OFF), legless(*ON)
    drift = [
        geodesic_degrees(world(r.adapted.rotmats), world(r.base.rotmats))[:, LEGS].mean()
        for r in (free, held)
    ]
    assert drift[0] > 3 and drift[1] < 1
    assert error(held, held.adapted) < 0.8 * error(held, held.base)
    assert torch.allclose(held.adapted.trans[:, 2], held.base.trans[:, 2])
    assert not torch.allclose(free.adapted.trans[:, 2], free.base.trans[:, 2], rtol=1e-3)


def test_a_text_that_opens_the_gate_moves_no_held_limb():
    result = adapt(upper_body(), *ON, "alignment.weight=5", labels=["walk"] * 70)
    turned = geodesic_degrees(world(result.adapted.rotmats), world(result.base.rotmats))
    assert turned[:, LEGS].mean() < 1
    assert not result.evidence.filled_share()  # its 2D is not evidence for the rest


@cache
def fitted(*overrides):
    settings = ("alignment.target=one", "alignment.from_epoch=0", *overrides)
    return adapt(upper_body(), *settings, labels=["walk"] * 70, similarity=None).adapted


@pytest.mark.parametrize("pull", ["smoothing.unseen_weight=100", "alignment.weight=5"])
def test_held_limbs_do_not_pull_at_what_is_seen(pull):
    assert same(fitted(*ON), fitted(*ON, pull))
    assert not same(fitted(*OFF), fitted(*OFF, pull))


def test_what_is_seen_or_hidden_for_a_second_is_fitted_as_if_nothing_were_held():
    track = walker(70)  # a leg is away for 12 frames
    assert same(adapt(track, *ON).adapted, adapt(track, *OFF).adapted)


def test_the_papers_settings_hold_nothing():
    names = ("paper_lifter", "paper_image", "paper_hmr", "paper_hmr2")
    for name in (*names, "cycleadapt", "cycleadapt_lifter"):
        config = load_config(name).hold
        assert config.after is None and not config.depth


# What is said of it -------------------------------------------------------------------------------


def test_limbs_that_no_frame_shows_are_named_and_whose_they_are():
    assert seen_limbs(legless(*ON).evidence) == {
        "left leg": 0, "right leg": 0, "left arm": 1, "right arm": 1,
    }  # fmt: skip
    said = {
        ("optimizer.epochs=0",): "the network's guess",
        OFF: "moved by the fit of the rest",
        ON: "as the frozen network had them, not fitted",
        (*ON, "hold.to=completed"): "and motion model",
    }
    for overrides, words in said.items():
        text = never_seen(legless(*overrides))
        assert "left leg, right leg" in text and words in text and "arm" not in text


def test_of_somebody_without_any_limb_all_four_are_named():
    track = upper_body()
    arms = [f"{s}_{n}" for s in ("left", "right") for n in ("elbow", "wrist")]
    track.keypoints.conf[:, BODY27.indices(arms)] = 0
    assert never_seen(adapt(track, *ON)).startswith("never seen: left leg, right leg, left arm")


def test_no_motion_model_is_named_where_none_completed():
    text = never_seen(adapt(upper_body(), "hold.to=completed", "smoothing.kind=gaussian",
                            "gate.source=current", "evidence.fill_source=prediction"))  # fmt: skip
    assert "frozen network had them" in text and "motion model" not in text


def test_the_picture_of_frames_in_which_nothing_is_held_stays():
    result = legless(*OFF)
    share = torch.zeros(70, 24)
    share[30:, LEGS] = 1
    view = View(load_body(), CAMERA, torch.ones(70, 3), tiny_model().crop, BODY27)
    moved = held_depth(result.adapted, result.base, share, view)
    assert same_rows(moved, result.adapted, slice(0, 30))
    assert torch.allclose(moved.trans[30:, 2], result.base.trans[30:, 2])


def test_of_limbs_that_are_seen_at_times_nothing_is_said():
    result = adapt(walker(70), *ON)
    assert never_seen(result) == "" and 0.8 < seen_limbs(result.evidence)["right leg"] < 0.9
    assert report(result, load_body())["never_seen"] == ""
