"""Sentences of the paper, each held against the strategy's own hooks on a synthetic track."""

import math
from dataclasses import replace

import pytest
import roma
import torch
from test_adapter import CAMERA, TinyPrior, adapter, begin, walker

from semtta.engine import cosine_lr, silent
from semtta.geometry import procrustes_align
from semtta.hmr.base import Prediction
from semtta.keypoints import Keypoints2D
from semtta.motion.text import TextEncoder
from semtta.skeletons import LIMB12, SMPL24
from semtta.tta.segments import Segments
from semtta.tta.smoothing import told_text
from semtta.tta.strategies import build_strategy
from semtta.tta.strategy import Draw


def begun(*overrides, prior=None, gate=None, track=None, texts=None):
    """A run and its strategy after the first look, as the Adapter makes them."""
    track = walker() if track is None else track
    made = adapter(*overrides, prior=prior, gate=gate)
    texts = texts or ["walk"] * len(track)
    run = begin(made, track, CAMERA, texts, silent, None)
    strategy = build_strategy(made.config, True, made._networks)
    run.first = run.latest = run.predict_all()
    strategy.begin(run)
    return run, strategy


def moved(prediction, seed=0, size=0.2):
    """Another prediction: every rotation turned a little."""
    generator = torch.Generator().manual_seed(seed)
    turn = roma.rotvec_to_rotmat(size * torch.randn(3, generator=generator))
    return Prediction(prediction.rotmats @ turn, prediction.betas, prediction.cam)


# ---------------------------------------------------------------- sampling, Eq. 3


def test_segments_that_agree_less_with_their_text_are_drawn_more_often():
    run, strategy = begun("alignment.stride=1")
    similarity = strategy.align.all_similarities(run.latest.rotmats, strategy.segments)
    assert len(similarity) > 3 and similarity.std() > 0
    assert torch.allclose(strategy.sampling, 1 - similarity)


def test_a_frame_takes_the_best_of_the_segments_that_cover_it():
    windows = (torch.arange(0, 4), torch.arange(2, 6), torch.arange(3, 7))
    segments = Segments(windows, ("a", "a", "a"), torch.zeros(3, 4), (), 4)
    best = segments.best_per_frame(torch.tensor([0.9, 0.2, 0.5]), 8)
    expected = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 0.5, math.nan])
    assert torch.allclose(best, expected, equal_nan=True)


# ---------------------------------------------------------------- evidence, Eq. 6-8


OPEN = ("gate.sigma=-1", "evidence.fill=true", "evidence.update=ema", "evidence.alpha=0.5",
        "evidence.ema_visible=true", "evidence.ema_by_confidence=false", "evidence.robust=null",
        "smoothing.kind=gaussian",
        "smoothing.weight=1", "smoothing.from_epoch=0", "gate.source=current",
        "alignment.weight=0")  # fmt: skip


def test_evidence_is_averaged_before_missing_joints_are_filled():
    run, strategy = begun(*OPEN, "evidence.fill_source=completed", "evidence.fill_from_epoch=0",
                          "evidence.refresh_filled=false")  # fmt: skip
    missing = run.evidence.known & ~run.evidence.present
    run.latest = moved(run.latest)
    strategy.end_epoch(run, 0)
    completed = strategy._completed(run, run.project_all(run.latest))
    assert not torch.allclose(completed[missing], run.project_all(run.latest)[missing], atol=0.5)
    # Filled at the end of this epoch: not averaged in it, but from the next one on.
    assert torch.allclose(run.evidence.xy[missing], completed[missing], atol=1e-3)


def test_a_filled_joint_is_averaged_from_the_next_epoch_on_and_not_filled_again():
    run, strategy = begun(*OPEN, "evidence.fill_source=prediction", "evidence.fill_from_epoch=0",
                          "evidence.refresh_filled=false")  # fmt: skip
    missing = run.evidence.known & ~run.evidence.present
    strategy.end_epoch(run, 0)
    first = run.evidence.xy[missing].clone()
    run.latest = moved(run.latest)
    strategy.end_epoch(run, 1)
    second = run.project_all(run.latest)[missing]
    assert torch.allclose(run.evidence.xy[missing], 0.5 * first + 0.5 * second, atol=1e-3)
    assert (run.evidence.filled_in[missing] == 1).all()


def test_what_fills_is_the_setting_s_choice():
    for source in ("prediction", "completed"):
        run, strategy = begun(*OPEN, f"evidence.fill_source={source}", "evidence.fill_from_epoch=0",
                              "evidence.update=none")  # fmt: skip
        missing = run.evidence.known & ~run.evidence.present
        run.latest = moved(run.latest)
        strategy.end_epoch(run, 0)
        projected = run.project_all(run.latest)
        wanted = strategy._completed(run, projected) if source == "completed" else projected
        assert torch.allclose(run.evidence.xy[missing], wanted[missing], atol=1e-3)


@pytest.mark.parametrize(("kind", "weight"), [("one", 1.0), ("similarity", 0.6)])
def test_a_filled_joint_weighs_one_or_what_its_segment_has_in_common_with_the_text(kind, weight):
    run, strategy = begun(*OPEN, f"evidence.fill_weight={kind}", "evidence.fill_from_epoch=0",
                          prior=TinyPrior(0.6))  # fmt: skip
    missing = run.evidence.known & ~run.evidence.present
    strategy.end_epoch(run, 0)
    assert torch.allclose(run.evidence.weight[missing], torch.tensor(weight))


@pytest.mark.parametrize("update", ["ema", "none"])
def test_detections_move_only_where_evidence_is_updated(update):
    run, strategy = begun(*OPEN, f"evidence.update={update}", "evidence.fill=false")
    present, before = run.evidence.present.clone(), run.evidence.xy.clone()
    run.latest = moved(run.latest)
    strategy.end_epoch(run, 0)
    halfway = 0.5 * (before + run.project_all(run.latest))
    expected = halfway if update == "ema" else before
    assert torch.allclose(run.evidence.xy[present], expected[present], atol=1e-3)
    assert not run.evidence.present[~present].any()


def test_by_confidence_a_detection_keeps_what_it_is_sure_of():
    run, strategy = begun(*OPEN, "evidence.ema_by_confidence=true", "evidence.fill=false")
    present, before = run.evidence.present.clone(), run.evidence.xy.clone()
    run.evidence.raw.conf[:, ::2] = 0.6
    run.latest = moved(run.latest)
    strategy.end_epoch(run, 0)
    moves = 0.5 * (1 - run.evidence.raw.conf.clamp(max=1))[..., None]
    expected = before + moves * (run.project_all(run.latest) - before)
    assert torch.allclose(run.evidence.xy[present], expected[present], atol=1e-3)
    assert moves[present].max() > 0.15


@pytest.mark.parametrize("first", [0, 1, 2])
def test_filling_begins_at_the_end_of_the_epoch_that_is_named(first):
    run, strategy = begun(*OPEN, f"evidence.fill_from_epoch={first}")
    missing = run.evidence.known & ~run.evidence.present
    for epoch in range(3):
        strategy.end_epoch(run, epoch)
        assert bool(run.evidence.present[missing].any()) == (epoch >= first)
    assert (run.evidence.filled_in[missing] == first + 1).all()


@pytest.mark.parametrize("least", [0.1, 0.5])
def test_detections_below_the_smallest_confidence_are_missing(least):
    track = walker()
    conf = track.keypoints.conf.clone()
    conf[:, 9] = 0.3
    track = replace(track, keypoints=Keypoints2D(track.keypoints.xy, conf,
                                                 track.keypoints.skeleton))  # fmt: skip
    run, _ = begun(f"evidence.min_confidence={least}", track=track)
    assert bool(run.evidence.present[:, 9].any()) == (least <= 0.3)


# ---------------------------------------------------------------- the gate


class Stiff(TinyPrior):
    """Likes motion that stands still, joint by joint."""

    def embed_motion(self, rotmats):
        still = torch.exp(-200 * rotmats.diff(dim=1).square().mean((1, 2, 3, 4)))
        return torch.stack((still, (1 - still**2).clamp_min(0).sqrt()), -1)

    def embed_text(self, labels):
        return torch.tensor([[1.0, 0.0]]).expand(len(labels), 2)


def test_the_gate_reads_completed_motion_where_that_is_the_source():
    # A hidden leg that trembles in the prediction is at rest in what is completed around it.
    seen = {}
    for source in ("current", "completed"):
        run, strategy = begun("gate.prior=independent", f"gate.source={source}",
                              "smoothing.kind=gaussian", "smoothing.sigma=0.3",
                              "smoothing.weight=1", prior=Stiff(), gate=Stiff())  # fmt: skip
        rotmats = run.latest.rotmats.clone()
        shake = torch.linalg.qr(torch.randn(70, 3, 3, generator=run.generator)).Q
        rotmats[:, SMPL24.index("right_knee")] = shake
        strategy.seen[:, SMPL24.index("right_knee")] = 0
        run.latest = Prediction(rotmats, run.latest.betas, run.latest.cam)
        strategy._look(run, 0)
        seen[source] = float(strategy.gate_similarity.mean())
    assert seen["completed"] > seen["current"] + 0.02


# ---------------------------------------------------------------- losses, Eq. 4, 9, 10


def draw_of(run, strategy):
    window = strategy.segments.windows[0]
    return Draw.of([(window, 0)], run.device)


def terms(run, strategy):
    draw = draw_of(run, strategy)
    prediction = run.forward(draw.frames)
    strategy.epoch = 1
    return prediction, strategy.loss(run, draw, prediction)


def test_the_alignment_term_is_lambda_2_times_one_minus_the_similarity():
    for weight in (0.2, 0.6):
        run, strategy = begun(f"alignment.weight={weight}", "alignment.target=one",
                              "alignment.reach=all", "alignment.from_epoch=0")  # fmt: skip
        _, found = terms(run, strategy)
        similarity = strategy.align.all_similarities(run.latest.rotmats, strategy.segments)[0]
        assert found["alignment"].item() == pytest.approx(
            weight * (1 - float(similarity)), abs=1e-4
        )


def test_there_is_no_pull_above_the_ceiling():
    for similarity, pull in ((0.5, 0.3), (0.9, 0.0)):  # the label's own motions reach 0.8
        run, strategy = begun("alignment.weight=1", "alignment.target=label",
                              "alignment.from_epoch=0", prior=TinyPrior(similarity))  # fmt: skip
        _, found = terms(run, strategy)
        assert found["alignment"].item() == pytest.approx(pull, abs=1e-4)


@pytest.mark.parametrize("reach", ["all", "unseen"])
def test_the_text_moves_what_it_may_reach(reach):
    run, strategy = begun("alignment.weight=1", "alignment.target=one", "alignment.from_epoch=0",
                          f"alignment.reach={reach}")  # fmt: skip
    seen = strategy.seen.clone()
    seen[:] = 1
    hidden = SMPL24.index("right_knee")
    seen[:, hidden] = 0
    strategy.seen = seen
    draw = draw_of(run, strategy)
    rotmats = run.latest.rotmats[draw.frames].clone().requires_grad_()
    prediction = Prediction(rotmats, run.latest.betas[draw.frames], run.latest.cam[draw.frames])
    strategy._alignment(draw, [*range(len(draw.segments))], prediction, run.config).backward()
    moved_joints = rotmats.grad.abs().sum((0, 2, 3)) > 0
    assert moved_joints[hidden] and not moved_joints[0]  # the root never
    assert bool(moved_joints[SMPL24.index("left_knee")]) == (reach == "all")


def test_unseen_rotations_are_smoothed_with_their_own_weight():
    found = {}
    for weight in (1, 5):
        run, strategy = begun(
            "smoothing.kind=gaussian", "smoothing.weight=1", "smoothing.sigma=0.2",
            "smoothing.from_epoch=0", f"smoothing.unseen_weight={weight}",
        )  # fmt: skip
        draw = draw_of(run, strategy)
        hidden = strategy.seen[draw.frames] <= 0.5
        assert hidden.any() and not hidden.all()
        rotmats = strategy.target[draw.frames].clone()
        rotmats[hidden] = rotmats[hidden] + 0.1  # only unseen rotations are off
        prediction = Prediction(rotmats, strategy.betas_target[draw.frames],
                                run.latest.cam[draw.frames])  # fmt: skip
        found[weight] = float(strategy._smoothing(run, draw, prediction)["smoothing"])
    assert found[5] == pytest.approx(5 * found[1], rel=1e-3) and found[1] > 0


def test_the_denoiser_is_told_the_words_of_each_frame():
    texts = ["walk"] * 30 + [None] * 15 + ["sit down"] * 25
    run, strategy = begun(texts=texts)
    walk, sit = TextEncoder.load().encode(["walk", "sit down"])
    for kind, reads in (("denoiser", True), ("denoiser", False), ("gaussian", True)):
        smoothing = replace(run.config.smoothing, kind=kind, text=reads)
        run.config = replace(run.config, smoothing=smoothing)
        text = told_text(run, strategy.prior)
        if (kind, reads) != ("denoiser", True):
            assert text is None
            continue
        assert torch.allclose(text[:30], walk) and torch.allclose(text[45:], sit)
        assert not text[30:45].any()


# ---------------------------------------------------------------- schedule and measures


def test_history_holds_the_mean_of_the_steps_losses():
    still = ("optimizer.lr=1e-12", "optimizer.min_lr=1e-12", "optimizer.batch_segments=1",
             "optimizer.epochs=1", "alignment.weight=1", "alignment.from_epoch=0")  # fmt: skip
    track = walker(60)  # one segment: every step is the same
    run, strategy = begun(*still, track=track)
    expected = {name: value.item() for name, value in terms(run, strategy)[1].items()}
    result = adapter(*still, "optimizer.coverage=3").adapt(track, CAMERA, ["walk"] * 60)
    (epoch,) = result.history
    assert epoch["steps"] == 3
    for name, value in expected.items():
        assert epoch[f"loss_{name}"] == pytest.approx(value, rel=1e-3)
    assert epoch["loss"] == pytest.approx(sum(expected.values()), rel=1e-3)


def test_the_rate_goes_from_lr_to_min_lr_along_a_cosine():
    rates = [cosine_lr(epoch, 6, 5e-5, 1e-6) for epoch in range(7)]
    assert rates[0] == pytest.approx(5e-5) and rates[6] == pytest.approx(1e-6)
    assert rates[3] == pytest.approx((5e-5 + 1e-6) / 2)
    assert all(a > b for a, b in zip(rates, rates[1:]))


def test_pa_of_hidden_joints_is_measured_after_the_alignment():
    from semtta.bench.metrics import summarise

    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(20, 12, 3, generator=generator)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    turn = turn * torch.linalg.det(turn).sign()
    predicted = 1.3 * truth @ turn.T + 0.5
    hidden = torch.zeros(20, 12, dtype=torch.bool)
    hidden[:, LIMB12.index("left_knee")] = True
    numbers = summarise(predicted, truth, LIMB12.indices(["left_hip", "right_hip"]), hidden)
    assert numbers["pa_mpjpe_occluded_mm"] == pytest.approx(0, abs=1e-2)
    assert numbers["mpjpe_occluded_mm"] > 100
    predicted[:, LIMB12.index("left_knee")] += 0.2
    numbers = summarise(predicted, truth, LIMB12.indices(["left_hip", "right_hip"]), hidden)
    knee = (procrustes_align(predicted, truth) - truth).norm(dim=-1)[hidden]
    assert numbers["pa_mpjpe_occluded_mm"] == pytest.approx(1000 * float(knee.mean()), rel=1e-4)
