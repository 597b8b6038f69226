"""The epochs around a strategy: its steps, its terms, and what is told of each epoch."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from test_adapter import CAMERA, TinyPrior, adapter, walker
from test_method import begun, moved

from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D
from semtta.tta import losses
from semtta.tta.loop import fine_tune
from semtta.tta.steps import accumulate_gradient
from semtta.tta.strategy import Draw
from semtta.tta.terms import landmarks3d_term, reprojection_term, smoothing_terms


class Little:
    """A strategy of one frame a step that has the terms it is given."""

    def __init__(self, terms=("first", "second"), steps=3, coupled=True):
        self.terms, self.steps, self.coupled = terms, steps, coupled
        self.modes, self.epochs = [], []

    def begin(self, run):
        self.begun = run

    def batches(self, run, epoch):
        self.epochs.append(epoch)
        for i in range(self.steps):
            yield Draw(torch.tensor([i]), torch.ones(1))

    def loss(self, run, draw, prediction):
        self.modes.append(run.model.training)
        value = 0 * prediction.rotmats.sum() + float(draw.frames[0])
        return {name: value + 10 * i for i, name in enumerate(self.terms)}

    def couples(self, run, draw):
        return self.coupled

    def end_epoch(self, run, epoch):
        return {"own": 7.0 + epoch}


def started(*overrides, track=None):
    run, _ = begun("optimizer.epochs=2", *overrides, track=track)
    return run, list(run.model.parameters())


@pytest.mark.parametrize("train", ["true", "false"])
def test_an_epoch_is_told_with_the_means_of_its_steps(train):
    run, parameters = started(f"optimizer.train_mode={train}")
    told, strategy = [], Little()
    run.progress = lambda *now: told.append(now)
    fine_tune(run, strategy, parameters)
    assert strategy.begun is run and strategy.epochs == [0, 1]
    assert strategy.modes == [train == "true"] * 6
    assert [now[:3] for now in told] == [("adapt", 1, 2), ("adapt", 2, 2)]
    assert [now[3] for now in told] == run.history
    first, second = run.history
    assert (first["epoch"], second["epoch"], first["steps"]) == (1, 2, 3)
    assert first["loss_first"] == pytest.approx(1) and first["loss_second"] == pytest.approx(11)
    assert first["loss"] == pytest.approx(12) and second["own"] == 8
    assert first["lr"] == pytest.approx(run.config.optimizer.lr) and second["lr"] < first["lr"]


def test_the_2d_error_of_an_epoch_is_the_mean_distance_to_the_detections():
    run, parameters = started("optimizer.epochs=1")
    fine_tune(run, Little(), parameters)
    off = (run.project_all(run.latest) - run.track.keypoints.xy).norm(dim=-1)
    expected = float(off[run.evidence.detected].mean())
    assert run.history[0]["reprojection_px"] == pytest.approx(expected)
    assert not run.evidence.detected.all()
    track = walker(9)
    nothing = Keypoints2D(track.keypoints.xy, 0 * track.keypoints.conf, track.keypoints.skeleton)
    run, parameters = started("optimizer.epochs=1", track=replace(track, keypoints=nothing))
    fine_tune(run, Little(), parameters)
    assert math.isnan(run.history[0]["reprojection_px"])


def test_steps_without_a_loss_leave_the_model_as_it_is():
    run, parameters = started()
    before = [p.clone() for p in parameters]
    fine_tune(run, Little(terms=()), parameters)
    assert all(torch.equal(a, b) for a, b in zip(before, parameters))
    assert run.history[0]["loss"] == 0 and run.history[0]["steps"] == 3


def test_evidence_that_is_no_number_any_more_is_named():
    for name in ("xy", "weight"):
        run, parameters = started()
        strategy = Little()

        def spoil(run, epoch, name=name):
            getattr(run.evidence, name).fill_(math.inf)
            return {}

        strategy.end_epoch = spoil
        with pytest.raises(SemttaError, match=r"epoch 1 \(the evidence is not finite"):
            fine_tune(run, strategy, parameters)


# ------------------------------------------------------------------ steps


@pytest.mark.parametrize("size", [None, 2])
def test_a_step_without_terms_has_no_gradient(size):
    run, parameters = started()
    draw = Draw(torch.arange(5), torch.ones(5))
    assert accumulate_gradient(run, Little(terms=()), draw, size) == {}
    assert all(p.grad is None for p in parameters)


def test_chunks_carry_the_gradient_of_a_loss_that_reads_one_part_of_the_prediction():
    class OnlyCamera(Little):
        def loss(self, run, draw, prediction):
            return {"cam": prediction.cam.square().mean()}

    found, gradients = [], []
    for size, coupled in ((None, True), (5, True), (4, True), (2, True), (4, False), (2, False)):
        run, parameters = started()
        strategy = OnlyCamera(coupled=coupled)
        terms = accumulate_gradient(run, strategy, Draw(torch.arange(5), torch.ones(5)), size)
        assert not terms["cam"].requires_grad
        found.append(float(terms["cam"]))
        # what the loss does not reach has no gradient, or one of zeros
        gradients.append(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten()
                                    for p in parameters]))  # fmt: skip
    assert found == pytest.approx([found[0]] * 6)
    assert all(torch.allclose(gradients[0], g, atol=1e-6) for g in gradients)
    assert gradients[0].abs().max() > 0


@pytest.mark.parametrize("coupled", [True, False])
def test_no_more_frames_than_a_chunk_are_held_with_their_activations(coupled):
    for chunk, held in ((None, [5]), (5, [5]), (4, [4, 1]), (2, [2, 2, 1])):
        run, _ = started()
        forward, seen, looked = run.model.forward, [], []

        def counted(batch, forward=forward, seen=seen, looked=looked):
            (seen if torch.is_grad_enabled() else looked).append(len(batch.frames))
            return forward(batch)

        run.model.forward = counted
        strategy = Little(coupled=coupled)
        accumulate_gradient(run, strategy, Draw(torch.arange(5), torch.ones(5)), chunk)
        assert seen == held
        # only what couples frames has to see all of them before the first gradient
        assert looked == (held if coupled and len(held) > 1 else [])


APART = ("evidence3d.weight=1", "smoothing.from_epoch=0", "smoothing.kind=gaussian",
         "reprojection.reduction=all")  # fmt: skip


def gradient_of(strategy, run, draw, size):
    """Terms of one step and its gradient, whatever stood there before."""
    parameters = list(run.model.parameters())
    for parameter in parameters:
        parameter.grad = None
    terms = accumulate_gradient(run, strategy, draw, size)
    gradient = torch.cat([p.grad.flatten() for p in parameters])
    return {name: float(term) for name, term in terms.items()}, gradient


@pytest.mark.parametrize("settings", [
    ("strategy=semtta", "alignment.weight=0"), ("strategy=semtta", "alignment.from_epoch=1"),
    ("strategy=cycleadapt", "cycleadapt.targets=fresh"),
    ("strategy=cycleadapt", "cycleadapt.targets=stale"),
])  # fmt: skip
def test_one_pass_over_a_sum_over_frames_is_the_two_passes(settings, monkeypatch):
    track = walker()
    run, strategy = begun(*settings, *APART, track=replace(track, conf3d=torch.rand(70, 27)))
    frames = torch.randperm(70, generator=torch.Generator().manual_seed(1))[:31]
    draw = Draw(frames, torch.randint(1, 4, (31,)).float(), (0,), (torch.arange(31),))
    assert not strategy.couples(run, draw)
    found = [gradient_of(strategy, run, draw, size) for size in (None, 7)]
    monkeypatch.setattr(strategy, "couples", lambda run, draw: True)
    found.append(gradient_of(strategy, run, draw, 7))
    (terms, whole), *others = found
    assert {"reprojection", "landmarks3d", "smoothing", "shape"} == set(terms)
    for again, gradient in others:
        assert again == pytest.approx(terms, rel=1e-5)
        assert (gradient - whole).norm() < 1e-6 * whole.norm()


def test_what_couples_frames_takes_two_passes():
    draw = Draw(torch.arange(60), torch.ones(60), (0,), (torch.arange(60),))
    loose = replace(draw, segments=(), rows=())
    pulled = begun("alignment.from_epoch=0", "alignment.weight=1", *APART)
    assert pulled[1].couples(pulled[0], draw) and not pulled[1].couples(pulled[0], loose)
    for name in ("semtta", "cycleadapt"):
        run, strategy = begun(f"strategy={name}", "reprojection.reduction=visible")
        assert strategy.couples(run, loose)


# ------------------------------------------------------------------ terms


def test_the_2d_term_is_its_weight_times_the_loss_in_pixels_of_the_crop():
    frames, count = torch.tensor([3, 9]), torch.tensor([1.0, 2.0])
    for weight, reduction in ((0.5, "all"), (2, "visible")):
        run, _ = started(f"reprojection.weight={weight}", f"reprojection.reduction={reduction}")
        prediction = run.forward(frames)
        landmarks = run.view.landmarks(prediction)
        draw = Draw(frames, count)
        found = reprojection_term(run, draw, prediction, landmarks)
        projected = run.view.project(prediction, frames, landmarks)
        expected = weight * losses.reprojection_loss(
            projected, run.evidence.xy[frames], run.evidence.weight[frames],
            (224 / run.view.boxes[frames, 2])[:, None, None], count, reduction,
        )  # fmt: skip
        assert found.keys() == {"reprojection"} and torch.allclose(found["reprojection"], expected)
    run, _ = started("reprojection.weight=0")
    assert reprojection_term(run, draw, prediction, landmarks) == {}


def test_the_3d_term_is_of_detected_joints_by_their_confidence():
    frames = torch.tensor([3, 30])
    draw = Draw(frames, torch.tensor([1.0, 2.0]))
    track = walker()
    track = replace(track, conf3d=torch.rand(70, 27))
    run, _ = started("evidence3d.weight=3", track=track)
    assert not run.evidence.detected[30].all()
    prediction = run.forward(frames)
    landmarks = run.view.landmarks(prediction)
    hips = run.view.skeleton.indices(["left_hip", "right_hip"])
    target = run.view.from_crop_axes(track.landmarks3d[frames], frames)
    error = (landmarks - landmarks[:, hips].mean(1, keepdim=True) - target).abs().sum(-1)
    error = error * track.conf3d[frames] * run.evidence.detected[frames]
    expected = 3 * (error[0].sum() + 2 * error[1].sum()) / (3 * 27 * 3)
    found = landmarks3d_term(run, draw, landmarks)
    assert found.keys() == {"landmarks3d"} and torch.allclose(found["landmarks3d"], expected)
    for missing in ("landmarks3d", "conf3d"):
        run.track = replace(track, **{missing: None})
        assert landmarks3d_term(run, draw, landmarks) == {}
    run, _ = started("evidence3d.weight=0", track=track)
    assert landmarks3d_term(run, draw, landmarks) == {}


def test_the_smoothing_terms_are_weighted_one_inside_the_other():
    run, _ = started("smoothing.weight=2", "smoothing.shape_weight=0.25")
    first, second = run.latest, moved(run.latest)
    second = replace(second, betas=first.betas + 0.5)
    ones = torch.ones(70)
    found = smoothing_terms(run.config.smoothing, first, second.rotmats, second.betas,
                            torch.ones(70, 24), ones)  # fmt: skip
    pose = 2 * (first.rotmats - second.rotmats).abs().mean()
    assert found.keys() == {"smoothing", "shape"} and torch.allclose(found["smoothing"], pose)
    assert float(found["shape"]) == pytest.approx(2 * 0.25 * 0.5)


# ------------------------------------------------------------------ what the steps move


def test_adam_is_given_the_betas_of_the_settings(monkeypatch):
    asked, adam = [], torch.optim.Adam
    monkeypatch.setattr(
        torch.optim, "Adam", lambda *args, **kw: asked.append(kw["betas"]) or adam(*args, **kw)
    )
    run, parameters = started("optimizer.betas=[0.3,0.7]")
    fine_tune(run, Little(), parameters)
    assert asked == [(0.3, 0.7)]


def test_the_learning_rate_moves_on_with_the_epochs():
    settings = ("optimizer.epochs=2", "alignment.weight=0", "optimizer.lr=1e-3")
    low = adapter(*settings, "optimizer.min_lr=1e-9", prior=TinyPrior())
    rates = [epoch["lr"] for epoch in low.adapt(walker(20), CAMERA).history]
    assert rates == pytest.approx([1e-3, 5e-4], rel=1e-3)
