"""The hooks of the paper's strategy, one setting at a time, on a synthetic track."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from test_adapter import TinyPrior, walker
from test_method import OPEN, begun, draw_of, moved, terms

from semtta.hmr.base import Prediction
from semtta.hmr.lifter import Lifter
from semtta.tta.gated import gate_opened
from semtta.tta.meaning import Meaning
from semtta.tta.segments import find_segments
from semtta.tta.semtta import Semtta
from semtta.tta.smoothing import window_mean
from semtta.tta.strategy import Networks

CPU = torch.device("cpu")
SMOOTH = ("smoothing.kind=gaussian", "smoothing.weight=1", "smoothing.from_epoch=0")


class Told(TinyPrior):
    """Labels of different worth, and another sigma."""

    sigma = 0.7

    def exemplar_root(self, label):
        turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
        return (turn if label == "sit down" else torch.eye(3)).expand(self.length, 3, 3)

    def matched(self, label):
        return 0.1 * len(label)


def segments_of(labels):
    track = walker(len(labels))
    return find_segments(track.frames, track.times, labels, fps=30.0, length=60, stride=5)


# ------------------------------------------------------------------ a prior and its segments


def test_every_segment_has_the_text_the_root_and_the_ceiling_of_its_label():
    segments = segments_of(["walk"] * 70 + ["sit down"] * 70)
    assert set(segments.labels) == {"walk", "sit down"}
    prior = Told()
    meaning = Meaning.of(prior, segments, CPU, None)
    assert meaning.sigma == 0.7 and Meaning.of(prior, segments, CPU, 0.2).sigma == 0.2
    for i, label in enumerate(segments.labels):
        assert torch.equal(meaning.text[i], prior.embed_text([label])[0])
        assert torch.equal(meaning.roots[i], prior.exemplar_root(label))
        assert float(meaning.ceiling[i]) == pytest.approx(0.1 * len(label))


def test_similarity_is_the_cosine_of_local_motion_below_the_labels_root():
    segments = segments_of(["walk"] * 70 + ["sit down"] * 70)
    prior = Told()
    meaning = Meaning.of(prior, segments, CPU, None)
    rotmats = moved(Prediction(torch.eye(3).repeat(140, 24, 1, 1), None, None)).rotmats
    rotmats = rotmats @ torch.linalg.qr(torch.randn(140, 1, 3, 3)).Q
    expected = []
    for i, label in enumerate(segments.labels):
        motion = segments.resample(rotmats, torch.tensor([i]))[0]
        motion = torch.cat((prior.exemplar_root(label)[:, None], motion[:, 1:]), 1)
        expected.append(prior.embed_motion(motion[None])[0] @ prior.embed_text([label])[0])
    for chunk in (1, 4, 128):
        found = meaning.all_similarities(rotmats, segments, chunk)
        assert torch.allclose(found, torch.stack(expected), atol=1e-5)
    assert not meaning.all_similarities(rotmats.clone().requires_grad_(), segments).requires_grad


# ------------------------------------------------------------------ the first look


def test_without_labels_there_are_pieces_of_two_seconds_and_no_text():
    for overrides, texts in (((), [None] * 70), (("alignment.weight=0", "evidence.fill=false"),
                                                 ["walk"] * 70)):  # fmt: skip
        run, strategy = begun(*overrides, texts=texts)
        assert strategy.align is None and strategy.gate is None and len(strategy.sampling) == 0
        assert strategy.segments.loose[0].tolist() == list(range(70))
        assert strategy.segments.frames_per_window == 60 and not len(strategy.segments)
        assert strategy.segments.grid.shape == (0, 60)
        assert run.frame_similarity is None and run.gate_similarity is None


def test_a_prior_that_no_gate_reads_beside_is_not_used():
    run, _ = begun()
    strategy = Semtta(Networks(prior=TinyPrior()))
    strategy.begin(run)
    assert strategy.align is None and strategy.gate is None


def test_the_stride_between_segments_is_the_settings_choice():
    for stride, firsts in ((5, [0, 5, 10]), (10, [0, 10])):
        _, strategy = begun(f"alignment.stride={stride}")
        assert [int(window[0]) for window in strategy.segments.windows] == firsts


def test_segments_are_those_of_the_priors_rate_and_length():
    prior = Told()
    prior.fps, prior.length = 15.0, 20
    _, strategy = begun(prior=prior)
    assert strategy.segments.grid.shape[1] == 20 and len(strategy.segments.windows[0]) == 39


def test_the_gate_opens_above_the_settings_sigma_or_its_priors_own():
    for sigma, expected in (("null", 0.7), ("0.25", 0.25)):
        _, strategy = begun(f"gate.sigma={sigma}", prior=TinyPrior(), gate=Told())
        assert strategy.gate.sigma == expected and strategy.gate.prior.sigma == 0.7
        assert strategy.align.prior.sigma == strategy.align.sigma == 0.5


def test_the_first_look_says_how_much_the_motion_shows_its_label():
    run, strategy = begun("gate.source=current", prior=TinyPrior(0.9), gate=TinyPrior(0.3))
    assert torch.allclose(strategy.sampling, torch.tensor(0.1), atol=1e-5)
    assert torch.allclose(run.frame_similarity, torch.tensor(0.9))
    assert torch.allclose(run.gate_similarity, torch.tensor(0.3))
    assert strategy.epoch == 0
    numbers = strategy.end_epoch(run, 2)
    assert strategy.epoch == 3
    assert numbers["similarity"] == pytest.approx(0.9)
    assert numbers["gate_similarity"] == pytest.approx(0.3)


class Deaf(TinyPrior):
    """Knows one label only."""

    def spoken(self, label):
        return label if label == "walk" else ""


def test_a_label_that_the_gates_prior_does_not_know_neither_pulls_nor_opens_it():
    texts = ["walk"] * 65 + ["gurn"] * 65
    overrides = (*OPEN[1:], "alignment.weight=1", "alignment.from_epoch=0",
                 "evidence.fill_from_epoch=0", "gate.sigma=0.5")  # fmt: skip
    for gate, reach in ((Deaf(0.9), 65), (TinyPrior(0.9), 130)):
        run, strategy = begun(*overrides, prior=TinyPrior(0.6), gate=gate, track=walker(130),
                              texts=texts)  # fmt: skip
        assert strategy.gate.known.tolist() == [
            reach == 130 or label == "walk" for label in strategy.segments.labels
        ]
        pulled = 0
        for draw in strategy.batches(run, 0):
            terms = strategy.loss(run, draw, run.forward(draw.frames))
            unknown = all(not strategy.gate.known[i] for i in draw.segments)
            assert ("alignment" in terms) == (bool(draw.segments) and not unknown)
            pulled += "alignment" in terms
        assert pulled > 0
        assert strategy.end_epoch(run, 0)["gate_open"] == pytest.approx(reach / 130)
        assert (run.gate_similarity > 0.5).tolist() == [True] * reach + [False] * (130 - reach)


# ------------------------------------------------------------------ robust weights


@pytest.mark.parametrize(
    ("robust", "own", "scale"),
    [("auto", 0.2, 0.2), ("auto", None, None), ("0.07", 0.2, 0.07), ("null", 0.2, None)],
)
def test_detections_are_doubted_by_the_settings_scale_or_the_models_own(
    robust, own, scale, monkeypatch
):
    monkeypatch.setattr(Lifter, "robust", own, raising=False)
    run, strategy = begun(f"evidence.robust={robust}", *SMOOTH)
    assert strategy.robust == scale
    present = run.evidence.present
    for epoch in range(2):  # at the first look, and after an epoch
        expected = torch.ones(present.shape)
        if scale is not None:
            completed = strategy._completed(run, run.project_all(run.latest))
            off = (completed - run.evidence.raw.xy).norm(dim=-1) / run.view.boxes[:, 2:]
            expected = 1 / (1 + (off / scale) ** 2)
        assert torch.allclose(run.evidence.weight[present], expected[present], atol=1e-5)
        run.latest = moved(run.latest)
        strategy.end_epoch(run, epoch)


# ------------------------------------------------------------------ epochs that begin later


@pytest.mark.parametrize("first", [0, 1, 3])
def test_the_text_pulls_from_the_epoch_that_is_named(first):
    run, strategy = begun("alignment.weight=1", f"alignment.from_epoch={first}")
    draw = draw_of(run, strategy)
    prediction = run.forward(draw.frames)
    for epoch in range(4):
        strategy.epoch = epoch
        assert ("alignment" in strategy.loss(run, draw, prediction)) == (epoch >= first)
    for weight in (0, 1):
        run, strategy = begun(f"alignment.weight={weight}", "alignment.from_epoch=0")
        assert strategy._aligning(run, 0) == bool(weight) and not strategy._aligning(run, -1)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_smoothing_begins_in_the_epoch_that_is_named(first):
    run, strategy = begun("smoothing.kind=gaussian", "smoothing.weight=1",
                          f"smoothing.from_epoch={first}")  # fmt: skip
    assert (strategy.target is not None) == (first == 0)
    for epoch in range(3):
        strategy.end_epoch(run, epoch)
        assert (strategy.target is not None) == (epoch + 1 >= first)


def test_the_target_is_the_smoothed_motion_of_the_last_full_pass():
    run, strategy = begun(*SMOOTH, "smoothing.shape_target=window", "smoothing.sigma=0.1")
    run.latest = Prediction(moved(run.latest).rotmats, run.latest.betas + 1, run.latest.cam)
    strategy.end_epoch(run, 0)
    assert not strategy.held.any()
    expected, _ = strategy.smoother.target(run.latest.rotmats, strategy.told, None)
    assert torch.equal(strategy.target, expected)
    assert torch.equal(strategy.betas_target, window_mean(run.latest.betas))


def test_a_gate_of_unaligned_motion_stays_what_it_was_while_the_text_pulls():
    for source, stays in (("unaligned", True), ("current", False)):
        run, strategy = begun("alignment.weight=1", "alignment.from_epoch=1",
                              f"gate.source={source}")  # fmt: skip
        run.latest = moved(run.latest)
        strategy.end_epoch(run, 0)  # not yet: the gate looks
        looked = strategy.gate_similarity.clone()
        assert torch.allclose(
            looked, strategy.gate.all_similarities(run.latest.rotmats, strategy.segments)
        )
        run.latest = moved(run.latest, seed=1, size=0.5)
        strategy.end_epoch(run, 1)
        assert torch.equal(strategy.gate_similarity, looked) == stays


# ------------------------------------------------------------------ the end of an epoch


def test_an_epoch_tells_how_much_of_the_track_passed_the_gate_and_was_filled():
    fill = ("evidence.fill_from_epoch=0", "gate.sigma=0.5", *OPEN[1:])
    texts = ["walk"] * 60 + [None] * 15
    run, strategy = begun(*fill, prior=TinyPrior(0.6), track=walker(75), texts=texts)
    missing = run.evidence.known & ~run.evidence.present
    numbers = strategy.end_epoch(run, 4)
    assert numbers["gate_open"] == pytest.approx(60 / 75)
    inside = missing.clone()
    inside[60:] = False
    assert numbers["filled"] == pytest.approx(float(inside.sum() / missing.sum()))
    assert (run.evidence.filled_in[inside] == 5).all()
    run, strategy = begun(*fill, prior=TinyPrior(0.6))
    strategy.gate.sigma = float(run.gate_similarity[0])  # above it, not at it
    assert strategy.end_epoch(run, 0)["gate_open"] == 0
    run, strategy = begun(*fill, "evidence.fill=false")
    assert "gate_open" not in strategy.end_epoch(run, 0)


def test_a_motion_against_its_text_fills_without_weight():
    run, strategy = begun(*OPEN, "evidence.fill_from_epoch=0", "evidence.fill_weight=similarity",
                          prior=TinyPrior(-0.5))  # fmt: skip
    missing = run.evidence.known & ~run.evidence.present
    strategy.end_epoch(run, 0)
    assert run.evidence.present[missing].all() and not run.evidence.weight[missing].any()


@pytest.mark.parametrize("refresh", ["true", "false"])
def test_filled_joints_are_averaged_with_the_completed_motion_or_with_the_prediction(refresh):
    run, strategy = begun(*OPEN, "evidence.fill_source=completed", "evidence.fill_from_epoch=0",
                          f"evidence.refresh_filled={refresh}")  # fmt: skip
    missing = run.evidence.known & ~run.evidence.present
    strategy.end_epoch(run, 0)
    first = run.evidence.xy[missing].clone()
    run.latest = moved(run.latest)
    strategy.end_epoch(run, 1)
    projected = run.project_all(run.latest)
    new = strategy._completed(run, projected) if refresh == "true" else projected
    expected = 0.5 * (first + new[missing])
    assert torch.allclose(run.evidence.xy[missing], expected, atol=1e-3)


def test_detections_stay_where_only_filled_joints_are_averaged():
    run, strategy = begun(*OPEN, "evidence.ema_visible=false")
    present, before = run.evidence.present.clone(), run.evidence.xy.clone()
    run.latest = moved(run.latest)
    strategy.end_epoch(run, 0)
    assert torch.equal(run.evidence.xy[present], before[present])


def test_the_denoiser_is_fitted_at_the_rate_of_the_epoch_and_its_mean_loss_is_told():
    run, strategy = begun(*SMOOTH, "optimizer.epochs=4", "smoothing.fit_lr=1e-2",
                          "optimizer.min_lr=1e-6")  # fmt: skip
    asked = []

    def fit(rotmats, seen, generator, lr):
        asked.append(lr)
        assert rotmats is run.latest.rotmats and seen is strategy.told
        return [1.0, 2.0, 6.0][: 3 * (len(asked) == 1)]

    strategy.smoother.fit = fit
    assert strategy.end_epoch(run, 0)["denoiser_loss"] == 3
    assert "denoiser_loss" not in strategy.end_epoch(run, 2)
    assert asked == pytest.approx([1e-2, 5e-3], rel=1e-3)


def test_steps_are_drawn_as_the_optimizer_is_told():
    run, strategy = begun("optimizer.batch_segments=2", "optimizer.steps_per_epoch=5",
                          texts=["walk"] * 35 + [None] * 35)  # fmt: skip
    draws = list(strategy.batches(run, 0))
    assert len(draws) == 5 and all(isinstance(draw.segments, tuple) for draw in draws)
    run, strategy = begun("optimizer.batch_segments=2", "optimizer.coverage=7")
    draws = list(strategy.batches(run, 0))
    assert sum(len(draw.segments) for draw in draws) == round(7 * 70 / 60)
    assert max(len(draw.segments) for draw in draws) == 2


def test_pieces_without_label_are_not_aligned():
    run, strategy = begun("alignment.weight=1", "alignment.from_epoch=0")
    draw = draw_of(run, strategy)
    _, found = terms(run, strategy)
    assert {"reprojection", "alignment"} == set(found)
    loose = type(draw)(draw.frames, draw.count)
    assert "alignment" not in strategy.loss(run, loose, run.forward(draw.frames))


# ------------------------------------------------------------------ what is said of it


def test_the_summary_counts_the_frames_in_which_motion_and_text_agreed():
    def result(labels, gate, sigma=0.5):
        similarity = None if gate is None else torch.tensor(gate)
        return SimpleNamespace(
            labels=labels, gate_similarity=similarity, sigma=sigma, heard=None
        )  # fmt: skip

    nan = float("nan")
    two = result(["walk", "walk", None, "sit", "sit"], [0.6, 0.5, 0.9, nan, 0.4])
    assert gate_opened(two) == "gate open in 1 of 2 frames ('walk'), 0 of 2 frames ('sit')"
    many = result(list("abcdef"), [0.6] * 6)
    assert gate_opened(many).endswith("1 of 1 frames ('d') and of 2 more labels")
    for nothing in (result(["walk"], None), result([None], [0.9]), result(["walk"], [0.9], None)):
        assert gate_opened(nothing) == ""
