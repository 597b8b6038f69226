"""What the paper's strategy hands to the motion model, and what it does with its certainty."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_adapter import CAMERA, adapter, begin, walker
from test_method import OPEN, begun, draw_of, moved

from semtta.engine import silent
from semtta.geometry import full_translation
from semtta.skeletons import BODY27, SMPL24
from semtta.tta.strategies import build_strategy

SMOOTH = ("smoothing.kind=gaussian", "smoothing.weight=1", "smoothing.from_epoch=0")
HIDDEN = slice(23, 35)  # frames without the walker's right leg


class Model:
    """A motion model that remembers what it is handed, and answers as it is told."""

    def __init__(self, answer=None, certainty=None):
        self.answer, self.certainty, self.handed, self.completed = answer, certainty, [], []

    def target(self, rotmats, seen, text, trans=None):
        self.handed.append((rotmats, seen, text, trans))
        answer = rotmats if self.answer is None else self.answer
        return answer, torch.ones_like(seen) if self.certainty is None else self.certainty

    def complete(self, rotmats, seen, trans=None):
        self.completed.append((rotmats, seen, trans))
        return rotmats

    def fit(self, rotmats, seen, generator, lr=None):
        return []


def later(prediction):
    """Another prediction of somebody who stands elsewhere."""
    return replace(moved(prediction), cam=prediction.cam + torch.tensor([0.2, -0.3, 0.1]))


# ------------------------------------------------------------------ what it is handed


@pytest.mark.parametrize("source", ["current", "completed"])
def test_a_model_that_completes_is_handed_the_latest_path_of_the_pelvis(source):
    run, strategy = begun(*SMOOTH, "smoothing.completion=true", f"gate.source={source}")
    strategy.smoother = model = Model()
    run.latest = later(run.latest)
    strategy.end_epoch(run, 0)
    path = full_translation(run.latest.cam, run.view.boxes, CAMERA)
    ((*_, trans),) = model.handed
    assert torch.equal(trans, path)
    assert not torch.allclose(path, full_translation(run.first.cam, run.view.boxes, CAMERA))
    assert len(model.completed) == (source == "completed")
    for rotmats, seen, trans in model.completed:
        assert rotmats is run.latest.rotmats and seen is strategy.seen and torch.equal(trans, path)


def test_a_model_that_does_not_complete_is_handed_no_path():
    run, strategy = begun(*SMOOTH, "smoothing.completion=false", "gate.source=current",
                          "evidence.fill_source=prediction")  # fmt: skip
    strategy.smoother = model = Model()
    run.latest = later(run.latest)
    strategy.end_epoch(run, 0)
    ((rotmats, seen, _, trans),) = model.handed
    assert trans is None and seen.eq(1).all() and torch.equal(rotmats, run.latest.rotmats)


def test_of_rotations_that_are_handed_in_those_held_are_the_bases_and_the_others_the_latest():
    run, strategy = begun(*SMOOTH, "smoothing.completion=true")
    strategy.smoother = model = Model()
    strategy.held[:, SMPL24.index("right_knee")] = 0.5
    strategy.held[26:32, SMPL24.index("right_knee")] = 0.51
    strategy.held[:, SMPL24.index("left_knee")] = 1  # seen all the same
    run.latest = moved(run.latest)
    strategy.end_epoch(run, 0)
    ((rotmats, seen, text, _),) = model.handed
    assert seen is strategy.told and text is strategy.text
    leg = SMPL24.indices(["right_hip", "right_knee", "right_ankle", "right_foot"])
    hidden = torch.zeros(70, 24, dtype=torch.bool)
    hidden[HIDDEN, leg] = True
    assert torch.equal(hidden, seen == 0)
    held = torch.zeros_like(hidden)
    held[26:32, SMPL24.index("right_knee")] = True
    assert bool((rotmats[held] == run.first.rotmats[held]).all())
    assert bool((rotmats[~held] == run.latest.rotmats[~held]).all())
    assert (run.latest.rotmats - run.first.rotmats).abs().flatten(2).amax(2).min() > 0.01


# ------------------------------------------------------------------ how sure it is


def filled(certainty):
    """(70, 27) bool: what an epoch fills in, the gate wide open."""
    run, strategy = begun(*OPEN, "evidence.fill_from_epoch=0")
    strategy.smoother = Model(certainty=certainty)
    strategy.end_epoch(run, 0)
    found = run.evidence.filled_in > 0
    assert torch.equal(run.evidence.present, run.evidence.detected | found)
    return found


def expected(*names, rows=HIDDEN):
    """Of the walker's right leg, what is filled."""
    wanted = torch.zeros(70, 27, dtype=torch.bool)
    wanted[rows, BODY27.indices(names)] = True
    return wanted


LEG = ("right_knee", "right_ankle", "right_heel", "right_big_toe")


def test_what_the_motion_model_is_less_than_half_sure_of_is_not_filled_in():
    sure = torch.ones(70, 24)
    assert torch.equal(filled(sure), expected(*LEG))
    sure[:, SMPL24.index("right_hip")] = 0.49
    sure[:, SMPL24.indices(["right_knee", "right_ankle", "right_foot"])] = 0.5
    assert not filled(sure).any()  # the whole leg hangs on its hip
    sure[:, SMPL24.index("right_hip")] = 0.5
    assert torch.equal(filled(sure), expected(*LEG))
    sure[:, SMPL24.index("right_ankle")] = 0.49  # it moves the toe, and the heel goes with it
    assert torch.equal(filled(sure), expected(*LEG[:2]))
    sure[:, SMPL24.index("right_knee")] = 0.49
    assert torch.equal(filled(sure), expected(*LEG[:1]))
    assert not filled(torch.zeros(70, 24)).any()


def test_doubt_bars_only_the_frames_that_have_it():
    sure = torch.ones(70, 24)
    sure[:30] = 0.3
    assert torch.equal(filled(sure), expected(*LEG, rows=slice(30, 35)))


def test_a_held_limb_is_not_filled_in_however_sure_the_motion_model_is():
    run, strategy = begun(*OPEN, "evidence.fill_from_epoch=0")
    strategy.smoother = Model()
    strategy.held[:, SMPL24.index("right_hip")] = 0.5
    strategy.held[:, SMPL24.index("right_knee")] = 0.51
    strategy.end_epoch(run, 0)
    assert torch.equal(run.evidence.filled_in > 0, expected(*LEG[:1]))


@pytest.mark.parametrize("limbs", ["all", "legs"])
def test_arms_are_filled_in_only_if_the_settings_say_so(limbs):
    arm = ("left_elbow", "left_wrist", "left_pinky", "left_index", "left_thumb")
    track = walker()
    conf = track.keypoints.conf.clone()
    conf[40:50, BODY27.indices(["left_shoulder", *arm])] = 0
    track = replace(track, keypoints=replace(track.keypoints, conf=conf))
    run, strategy = begun(*OPEN, "evidence.fill_from_epoch=0", f"evidence.fill_limbs={limbs}",
                          track=track)  # fmt: skip
    strategy.smoother = Model(certainty=torch.ones(70, 24))
    strategy.end_epoch(run, 0)
    wanted = expected(*LEG) | expected("left_shoulder", rows=slice(40, 50))
    if limbs == "all":
        wanted |= expected(*arm, rows=slice(40, 50))
    assert torch.equal(run.evidence.filled_in > 0, wanted)


@pytest.mark.parametrize("first", [0, 2])
def test_without_a_target_nothing_is_in_doubt(first):
    run, strategy = begun(*SMOOTH[:2], f"smoothing.from_epoch={first}")
    strategy.smoother = Model(certainty=torch.zeros(70, 24))
    strategy.end_epoch(run, 0)
    assert strategy.sure.eq(first > 0).all() and (strategy.target is None) == (first > 0)


# ------------------------------------------------------------------ what is held


def holding(**settings):
    """A run that holds the right leg in the middle of its gap, and its strategy."""
    overrides = [f"{name.replace('_', '.', 1)}={value}" for name, value in settings.items()]
    made = adapter(*SMOOTH, "hold.after=0.2", *overrides)
    run = begin(made, walker(), CAMERA, ["walk"] * 70, silent, None)
    run.first = run.latest = run.predict_all()
    run.begin_hold()
    strategy = build_strategy(made.config, True, made._networks)
    strategy.begin(run)
    return run, strategy


def test_held_limbs_are_kept_as_the_motion_model_completes_them_or_as_they_were():
    for to in ("completed", "base"):
        run, strategy = holding(hold_to=to)
        answer = moved(run.first, seed=3).rotmats
        strategy.smoother = Model(answer)
        strategy.end_epoch(run, 0)
        assert torch.equal(strategy.target, answer)
        assert torch.equal(run.kept[:, 0], run.first.rotmats[:, 0])  # the root is never completed
        wanted = answer if to == "completed" else run.first.rotmats
        assert torch.equal(run.kept[:, 1:], wanted[:, 1:])
    run, strategy = holding(hold_after="null", hold_to="completed")
    assert run.held is None and run.kept is None
    strategy.end_epoch(run, 0)
    assert run.kept is None and not strategy.held.any()


def test_the_more_a_limb_is_held_the_less_it_is_smoothed():
    run, strategy = holding(smoothing_unseen_weight=5, smoothing_shape_weight=0)
    assert strategy.held is run.held and ((run.held > 0.1) & (run.held < 0.9)).any()
    draw = draw_of(run, strategy)
    prediction = moved(run.forward(draw.frames))
    off = (prediction.rotmats - strategy.target[draw.frames]).abs().mean((2, 3))
    weighed = off * (5 - 4 * strategy.seen[draw.frames])
    wanted = (weighed * (1 - run.held[draw.frames])).mean()
    found = strategy._smoothing(run, draw, prediction)["smoothing"]
    torch.testing.assert_close(found, wanted)
    assert weighed.mean() > 1.01 * wanted
