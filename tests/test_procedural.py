"""Procedural motion: people could move so, and the pelvis goes where the feet carry it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from semtta.errors import SemttaError
from semtta.skeletons import SMPL24
from tools.training import procedural
from tools.training.motions import forward_kinematics, mirror, mirror_trans
from tools.training.phrases import PHRASES
from tools.training.roots import FEET, contact_points, heights

ELBOWS = SMPL24.indices(["left_elbow", "right_elbow"])
KNEES = SMPL24.indices(["left_knee", "right_knee"])


@pytest.fixture(scope="module")
def performances():
    rng = np.random.default_rng(5)
    return {name: procedural.perform(name, rng, 45) for name in procedural.ACTIONS}


def test_every_action_is_made_of_rotations_and_has_texts(performances):
    for name, motion in performances.items():
        assert motion.rotmats.shape == (45, 24, 3, 3) and motion.trans.shape == (45, 3)
        assert motion.rotmats.dtype == motion.trans.dtype == np.float32
        off = motion.rotmats @ motion.rotmats.swapaxes(-1, -2) - np.eye(3)
        assert np.abs(off).max() < 1e-4 and np.isfinite(motion.trans).all(), name
        assert name in PHRASES and len(set(procedural.texts(name))) >= 2, name


def test_a_text_belongs_to_one_name():
    texts = [text for name, group in PHRASES.items() for text in (name, *group)]
    assert len(texts) == len(set(texts))


def test_nothing_is_below_the_ground(performances):
    low = {name: heights(m.rotmats, m.trans)[:, :4].min() for name, m in performances.items()}
    assert {name: value for name, value in low.items() if value < -0.02} == {}
    pelvis = {name: m.trans[:, 1].min() for name, m in performances.items()}
    assert min(pelvis.values()) > 0.05


def test_knees_and_elbows_bend_one_way_only_and_no_farther_than_people_can(performances):
    for name, motion in performances.items():
        for joint in KNEES:
            turn = np.rad2deg(Rotation.from_matrix(motion.rotmats[:, joint]).as_rotvec())
            assert turn[:, 0].min() > -1 and turn[:, 0].max() < 152, name
            assert np.abs(turn[:, 1:]).max() < 1, name
        for joint, sign in zip(ELBOWS, (-1, 1), strict=True):
            turn = np.rad2deg(Rotation.from_matrix(motion.rotmats[:, joint]).as_rotvec())
            assert (sign * turn[:, 1]).min() > -1 and (sign * turn[:, 1]).max() < 150, name
            assert np.abs(turn[:, [0, 2]]).max() < 1, name


@pytest.mark.parametrize("name", ["walk", "walk slowly", "walk fast", "walk backwards", "jog",
                                  "run", "walk upstairs", "carry a box"])  # fmt: skip
def test_the_planted_foot_does_not_slide(name):
    """The lower end of the foot that carries moves by less than 5 mm in three of four frames and
    hardly ever by more than 15 mm, while the pelvis goes by up to 14 cm."""
    slid = []
    for seed in range(3):
        rotmats, footing = procedural._drawn(name, np.random.default_rng(seed), 75)
        motion = procedural._settled(rotmats, footing)
        points = contact_points(motion.rotmats) + motion.trans[:, None]
        for k, foot in enumerate(FEET.values()):
            planted = (footing.support == k) & ~footing.flight
            planted = planted[1:-1] & planted[:-2] & planted[2:]
            moved = np.diff(points[:, foot], axis=0)[1:]
            lower = points[1:-1, foot, 1].argmin(1)
            moved = moved[np.arange(len(moved)), lower][planted]
            slid.append(np.linalg.norm(moved[:, [0, 2]], axis=1))
    slid = np.concatenate(slid)
    assert np.percentile(slid, 75) < 0.005 and np.percentile(slid, 95) < 0.015


@pytest.mark.parametrize(("name", "low", "high"), [
    ("stand still", 0, 0.1), ("walk slowly", 0.2, 0.9), ("walk", 0.7, 1.5), ("walk fast", 1.1, 2.3),
    ("run", 2, 4.5), ("sprint", 3.5, 7), ("drink", 0, 0.1), ("sit on a chair", 0, 0.05),
    ("crawl", 0.1, 0.8), ("swim", 0.6, 1.5)])  # fmt: skip
def test_actions_go_as_fast_as_people_do(name, low, high):
    speeds = []
    for seed in range(6):
        trans = procedural.perform(name, np.random.default_rng(seed), 60).trans
        speeds.append(np.linalg.norm(np.diff(trans[:, [0, 2]], axis=0).sum(0)) / 59 * 30)
    assert low <= np.mean(speeds) <= high


@pytest.mark.parametrize("name", ["walk", "walk backwards", "jog", "run", "walk upstairs"])
def test_the_pelvis_goes_evenly(name):
    """Its speed over the ground changes by far less than a tenth from one frame to the next."""
    for seed in range(3):
        motion = procedural.perform(name, np.random.default_rng(seed), 75)
        speed = np.linalg.norm(np.diff(motion.trans[:, [0, 2]], axis=0), axis=1)
        assert np.percentile(np.abs(np.diff(speed)), 95) < 0.15 * speed.mean() + 0.001


def test_a_walk_goes_where_its_heading_points():
    motion = procedural.perform("march in place", np.random.default_rng(0), 90)
    assert np.linalg.norm(motion.trans[-1, [0, 2]]) < 1.0
    for name, sign in (("walk", 1), ("walk backwards", -1)):
        motion = procedural.perform(name, np.random.default_rng(1), 90)
        ahead = motion.rotmats[:-1, 0, :, 2][:, [0, 2]]
        along = (np.diff(motion.trans[:, [0, 2]], axis=0) * ahead).sum(1)
        assert sign * along.mean() > 0.01


def test_flight_is_free_fall():
    """Between leaving and finding the ground the pelvis falls by g."""
    rotmats, footing = procedural._drawn("jump", np.random.default_rng(2), 75)
    motion = procedural._settled(rotmats, footing)
    inside = footing.flight[:-4] & footing.flight[2:-2] & footing.flight[4:]
    fall = np.diff(motion.trans[:, 1], 2)[1:-1][inside] * 30**2
    assert len(fall) > 5 and np.median(fall) == pytest.approx(-9.81, abs=1.0)


def test_stairs_go_up_and_down():
    for name, sign in (("walk upstairs", 1), ("walk downstairs", -1), ("climb a ladder", 1)):
        rise = [np.diff(procedural.perform(name, np.random.default_rng(s), 90).trans[[0, -1], 1])
                for s in range(4)]  # fmt: skip
        assert 0.15 < sign * np.mean(rise) < 2.5


def test_left_is_right_in_the_mirror():
    assert "wave with the left hand" in procedural.MIRRORED
    for left in procedural.MIRRORED:
        right = left.replace("left", "right")
        one = procedural.perform(left, np.random.default_rng(3), 30)
        other = procedural.perform(right, np.random.default_rng(3), 30)
        assert np.array_equal(one.rotmats, mirror(other.rotmats))
        assert np.array_equal(one.trans, mirror_trans(other.trans))
    wrists = SMPL24.indices(["left_wrist", "right_wrist"])
    joints = forward_kinematics(
        procedural.sample("wave with the right hand", np.random.default_rng(0))
    )
    assert joints[-1, wrists[1], 1] > joints[-1, wrists[0], 1]


def test_a_seed_gives_its_motion_again_and_another_seed_another():
    for make in (lambda rng: procedural.perform("hip hop dance", rng),
                 lambda rng: procedural.compose("drink", "walk", rng),
                 lambda rng: procedural.chain(("walk", "stand still"), rng)):  # fmt: skip
        one, again, other = (make(np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert np.array_equal(one.rotmats, again.rotmats)
        assert np.array_equal(one.trans, again.trans)
        assert np.abs(one.rotmats - other.rotmats).max() > 0.05
    sampled = procedural.sample("walk", np.random.default_rng(4))
    assert np.array_equal(sampled, procedural.perform("walk", np.random.default_rng(4)).rotmats)


def test_a_composition_has_the_arms_of_one_and_the_way_of_the_other():
    motion = procedural.compose("cheer with arms raised", "walk", np.random.default_rng(0), 60)
    assert np.linalg.norm(motion.trans[-1, [0, 2]]) > 0.8
    joints = forward_kinematics(motion.rotmats)
    hands = SMPL24.indices(["left_wrist", "right_wrist"])
    assert (joints[-1, hands, 1] > joints[-1, SMPL24.index("spine3"), 1]).all()
    for upper, lower in ((procedural.UPPER[-1], procedural.LOWER[-1]), ("clap", "sit on a chair")):
        assert procedural.compose(upper, lower, np.random.default_rng(1)).trans.shape == (60, 3)
    assert set(procedural.UPPER) | set(procedural.LOWER) <= set(procedural.ACTIONS)


def test_a_transition_never_jumps():
    rng = np.random.default_rng(0)
    for names in (("stand still", "sit down"), ("walk", "stand still", "run"), ("run", "jump")):
        motion = procedural.chain(names, rng, 120)
        assert motion.rotmats.shape == (120, 24, 3, 3) and motion.trans.shape == (120, 3)
        step = motion.rotmats[:-1].swapaxes(-1, -2) @ motion.rotmats[1:]
        angle = np.rad2deg(np.arccos(np.clip((np.trace(step, axis1=-2, axis2=-1) - 1) / 2, -1, 1)))
        assert angle.max() < 60
        assert np.abs(np.diff(motion.trans, axis=0)).max() < 0.25


def test_anything_may_be_drawn_and_is_told():
    rng, kinds = np.random.default_rng(0), set()
    for _ in range(40):
        motion, said = procedural.anything(rng, 45)
        assert motion.rotmats.shape == (45, 24, 3, 3) and np.isfinite(motion.trans).all()
        assert heights(motion.rotmats, motion.trans)[:, :4].min() > -0.02, said
        kinds.add("compose" if " and " in said[0] else "chain" if ", then " in said[0] else "one")
    assert kinds == {"compose", "chain", "one"}


def test_an_unknown_action_is_named():
    with pytest.raises(SemttaError, match="no procedural action 'levitate'"):
        procedural.sample("levitate", np.random.default_rng(0))


def test_pools_of_the_training_tools_hold_the_new_actions():
    from tools.training.synthetic import MotionPool

    actions, rng = ("skip rope", "crawl"), np.random.default_rng(0)
    pool = MotionPool.build([], seed=0, actions=actions, performances=1, frames=75)
    played = [procedural.perform(name, rng, 75) for name in actions]
    for name in ("rotmats", "trans"):
        wanted = np.concatenate([getattr(motion, name) for motion in played])
        assert np.array_equal(getattr(pool, name), wanted)
    assert pool.first.unique().tolist() == [0, 75] and pool.last.unique().tolist() == [74, 149]
    usual = MotionPool.build([], seed=0, actions=actions, performances=1)
    assert usual.rotmats.shape == (200, 24, 3, 3) and torch.isfinite(usual.trans).all()
    assert torch.allclose(usual.weight * 100, torch.ones(200))  # a performance as often as another
