"""CycleAdapt and the two baselines that add a semantic term to it."""

from __future__ import annotations

import copy
import math

import pytest
import roma
import torch
from test_adapter import CAMERA, TinyPrior, begin, same, tiny_model, walker
from torch import nn

from semtta.config import load_config
from semtta.engine import cosine_lr, silent
from semtta.errors import SemttaError
from semtta.hmr.lifter import Lifter, LifterSettings
from semtta.motion.mdnet import MDNet
from semtta.motion.text import random_directions
from semtta.tta.adapter import Adapter
from semtta.tta.cycleadapt import CycleAdapt
from semtta.tta.meaning import Meaning
from semtta.tta.schedule import learning_rate, warmup_cosine_lr
from semtta.tta.strategy import Networks
from semtta.tta.unpaired import Unpaired, exemplar_poses

# Of 13 cycles with 5e-5 and 1e-6, printed by the official scheduler (torch 2.13).
OFFICIAL_LR = [
    1.6666666666666667e-05, 3.3333333333333335e-05, 5e-05, 5.152346900216241e-05,
    5.000000000000001e-05, 4.561334583918143e-05, 3.889260175162181e-05, 3.0648388661899785e-05,
    2.1875080340262634e-05, 1.363086725054061e-05, 6.910123162980982e-06, 2.523469002162407e-06,
    1e-06,
]  # fmt: skip
OFFICIAL_LR_7 = [1.67e-5, 3.33e-5, 5e-5, 6.63e-5, 5e-5, 1.73e-5, 1e-6]  # total_cycle 6
QUICK = ("optimizer.epochs=5", "optimizer.lr=2e-3", "smoothing.kind=gaussian",
         "discriminator.hidden=16")  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


class DroppingLifter(Lifter):
    """A lifter with dropout, as HMR has."""

    def __init__(self, settings):
        super().__init__(settings)
        self.norm = nn.Sequential(self.norm, nn.Dropout(0.5))


def dropping_model():
    torch.manual_seed(3)
    return DroppingLifter(LifterSettings(embed=16, width=32, blocks=1))


def adapter(*overrides, model=None):
    config = load_config("cycleadapt_lifter", [*QUICK, *overrides])
    return Adapter(model or tiny_model(), config=config)


def started(runner, strategy, track, labels):
    run = begin(runner, track, CAMERA, labels, silent)
    run.first = run.latest = run.predict_all()
    strategy.begin(run)
    return run


# ------------------------------------------------------------------ the schedule


def test_learning_rates_are_the_official_ones():
    found = [warmup_cosine_lr(cycle, 13, 5e-5, 1e-6) for cycle in range(13)]
    assert found == pytest.approx(OFFICIAL_LR, rel=1e-9)
    config = load_config("cycleadapt").optimizer
    assert [learning_rate(config, cycle) for cycle in range(13)] == found
    assert learning_rate(config, 3, 1e-4) > 1e-4 > learning_rate(config, 5, 1e-4)
    shorter = [warmup_cosine_lr(cycle, 7, 5e-5, 1e-6) for cycle in range(7)]
    assert shorter == pytest.approx(OFFICIAL_LR_7, rel=4e-3)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 6])
def test_a_short_schedule_ends_at_the_minimum_and_stays_sane(epochs):
    rates = [warmup_cosine_lr(epoch, epochs, 1.0, 0.1) for epoch in range(epochs)]
    assert all(0.1 <= rate <= 2 for rate in rates)
    assert epochs == 1 or rates[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("epochs", "rates"),
    [(1, [1.0]), (2, [1, 0.1]), (3, [0.5, 1, 0.1]), (4, [1 / 3, 2 / 3, 1, 0.1]),
     (5, [1 / 3, 2 / 3, 1, 1, 0.1]), (6, [1 / 3, 2 / 3, 1, 1.9, 1, 0.1])],
)  # fmt: skip
def test_short_schedules_warm_up_as_far_as_there_is_time(epochs, rates):
    found = [warmup_cosine_lr(epoch, epochs, 1.0, 0.1) for epoch in range(epochs)]
    assert found == pytest.approx(rates)
    if epochs == 6:
        assert warmup_cosine_lr(0, epochs, 1.0, 0.1, warmup=2) == 0.5


def test_the_paper_keeps_its_own_schedule():
    config = load_config("paper_lifter").optimizer
    assert [learning_rate(config, e) for e in range(6)] == [
        cosine_lr(e, 6, 5e-5, 1e-6) for e in range(6)
    ]


# ------------------------------------------------------------------ CycleAdapt


def test_it_lowers_the_2d_error_leaves_the_evidence_alone_and_restores_the_model():
    model = tiny_model()
    before = copy.deepcopy(model.state_dict())
    result = adapter("optimizer.epochs=13", model=model).adapt(walker(), CAMERA, ["walk"] * 70)
    seen = result.detections.conf > 0
    base, adapted = (
        (m.landmarks2d - result.detections.xy).norm(dim=-1)[seen].mean()
        for m in (result.base, result.adapted)
    )
    assert adapted < 0.6 * base
    assert torch.equal(result.evidence.present, seen)
    assert torch.equal(result.evidence.xy[seen], result.detections.xy[seen])
    assert result.similarity is None and result.sigma is None  # no text
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert "loss_smoothing" not in result.history[0] and "loss_smoothing" in result.history[1]
    assert [epoch["lr"] for epoch in result.history] == pytest.approx(
        [warmup_cosine_lr(e, 13, 2e-3, 1e-6) for e in range(13)]
    )


def test_text_changes_nothing():
    with_text, without = (adapter().adapt(walker(), CAMERA, t) for t in (["walk"] * 70, None))
    assert same(with_text.adapted, without.adapted)


def test_a_cycle_visits_every_frame_once():
    runner = adapter("optimizer.batch_frames=32")
    strategy = CycleAdapt(Networks())
    run = started(runner, strategy, walker(), [None] * 70)
    draws = list(strategy.batches(run, 0))
    assert [len(draw.frames) for draw in draws] == [32, 32, 6]
    frames = torch.cat([draw.frames for draw in draws])
    assert sorted(frames.tolist()) == list(range(70)) and frames.tolist() != list(range(70))


@pytest.mark.parametrize("kind", ["denoiser", "gaussian", "none"])
@pytest.mark.parametrize("count", [1, 40])
def test_every_smoother_and_short_tracks_run(kind, count):
    settings = (f"smoothing.kind={kind}", "optimizer.epochs=2", "smoothing.fit_steps=1")
    result = adapter(*settings).adapt(walker(count, hidden=False), CAMERA)
    assert torch.isfinite(result.adapted.rotmats).all()
    assert ("denoiser_loss" in result.history[0]) == (kind == "denoiser")
    assert ("loss_smoothing" in result.history[1]) == (kind != "none")


def test_the_official_settings_run_with_mdnet_and_dropout():
    torch.manual_seed(2)
    net = MDNet()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.02)
    before = copy.deepcopy(net.state_dict())
    settings = ["optimizer.lr=1e-3", "smoothing.fit_lr=1e-3", "smoothing.fit_steps=10"]
    config = load_config("cycleadapt", ["optimizer.epochs=3", *settings])
    runner = Adapter(dropping_model(), config=config, denoiser=net)
    first, second = (runner.adapt(walker(), CAMERA) for _ in range(2))
    assert same(first.adapted, second.adapted)  # the second starts from the same denoiser
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    losses = [epoch["denoiser_loss"] for epoch in first.history]
    assert losses[2] < losses[0] and "loss_smoothing" in first.history[1]


def test_stale_targets_are_those_of_the_training_pass():
    runner = adapter("cycleadapt.targets=stale", "optimizer.epochs=2")
    strategy = CycleAdapt(Networks())
    run = started(runner, strategy, walker(), [None] * 70)
    frozen, seen = run.first.rotmats.clone(), run.first.rotmats.clone()
    for draw in strategy.batches(run, 0):
        prediction = run.forward(draw.frames)
        strategy.loss(run, draw, prediction)
        seen[draw.frames] = prediction.rotmats.detach()
        with torch.no_grad():  # weights move between the steps
            run.model.head.weight.mul_(1.1)
    run.latest = run.predict_all()
    strategy.end_epoch(run, 0)
    smooth, _ = strategy.smoother.target(seen, strategy.seen, None)
    assert torch.equal(strategy.targets.rotmats, smooth)
    fresh, _ = strategy.smoother.target(run.latest.rotmats, strategy.seen, None)
    assert (fresh - smooth).abs().max() > 1e-4
    assert torch.equal(run.first.rotmats, frozen)  # what is kept is a copy


def test_terms_are_those_of_every_frame_and_the_smoothing_of_every_joint_alike():
    runner = adapter("smoothing.from_epoch=0", "smoothing.weight=2", "smoothing.unseen_weight=9",
                     "smoothing.shape_target=window", "evidence3d.weight=1")  # fmt: skip
    strategy = CycleAdapt(Networks())
    run = started(runner, strategy, walker(), [None] * 70)
    smooth, _ = strategy.smoother.target(run.first.rotmats, strategy.seen, None)
    assert torch.equal(strategy.targets.rotmats, smooth)
    draw = next(iter(strategy.batches(run, 0)))
    assert torch.equal(draw.count, torch.ones(32))
    prediction = run.forward(draw.frames)
    terms = strategy.loss(run, draw, prediction)
    assert set(terms) == {"reprojection", "landmarks3d", "smoothing", "shape"}
    target = strategy.targets.rotmats[draw.frames]
    expected = 2 * (prediction.rotmats - target).abs().mean()
    assert torch.allclose(terms["smoothing"], expected)
    shape = (prediction.betas - strategy.targets.betas[draw.frames]).abs().mean()
    assert torch.allclose(terms["shape"], 2 * run.config.smoothing.shape_weight * shape)
    assert torch.allclose(strategy.targets.betas[30], run.first.betas.mean(0), atol=0.1)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_targets_come_from_the_cycle_before_the_one_that_is_named(first):
    strategy = CycleAdapt(Networks())
    run = started(adapter(f"smoothing.from_epoch={first}"), strategy, walker(), [None] * 70)
    assert (strategy.targets is not None) == (first == 0)
    for epoch in range(3):
        assert strategy.end_epoch(run, epoch) == {}  # a filter learns nothing
        assert (strategy.targets is not None) == (epoch + 1 >= first)


def test_the_denoiser_stage_follows_the_schedule_and_tells_its_mean_loss():
    strategy = CycleAdapt(Networks())
    run = started(adapter("smoothing.fit_lr=0.1"), strategy, walker(), [None] * 70)
    rates = []

    def fit(rotmats, seen, generator, lr):
        assert rotmats is run.latest.rotmats and seen is strategy.seen
        rates.append(lr)
        return [1.0, 2.0, 6.0]

    strategy.smoother.fit = fit
    assert [strategy.end_epoch(run, e) for e in range(5)] == [{"denoiser_loss": 3.0}] * 5
    assert rates == pytest.approx([warmup_cosine_lr(e, 5, 0.1, 1e-6) for e in range(5)])
    strategy = CycleAdapt(Networks())
    run = started(adapter("smoothing.kind=none"), strategy, walker(), [None] * 70)
    assert strategy.end_epoch(run, 0) == {} and strategy.targets is None


def test_completion_is_an_option_that_tells_the_denoiser_what_is_unseen():
    for option, hidden in (("false", False), ("true", True)):
        strategy = CycleAdapt(Networks())
        started(adapter(f"smoothing.completion={option}"), strategy, walker(), [None] * 70)
        assert bool((strategy.seen == 0).any()) == hidden


# ------------------------------------------------------------------ determinism


@pytest.mark.parametrize("strategy", ["cycleadapt", "discriminator", "unpaired"])
def test_same_seed_same_result_with_dropout_and_whatever_was_drawn_before(strategy):
    setting, labels = f"strategy={strategy}", ["walk"] * 70
    results = []
    for _ in range(2):
        results.append(adapter(setting, model=dropping_model()).adapt(walker(), CAMERA, labels))
        torch.manual_seed(11)  # the caller's own numbers must not matter
    assert same(results[0].adapted, results[1].adapted)
    assert results[0].history == results[1].history
    other = adapter(setting, "seed=1", model=dropping_model()).adapt(walker(), CAMERA, labels)
    assert not same(results[0].adapted, other.adapted)
    still = adapter(setting, "optimizer.train_mode=false", model=dropping_model())
    assert not same(results[0].adapted, still.adapt(walker(), CAMERA, labels).adapted)


def test_a_run_leaves_the_callers_random_numbers_alone():
    model = dropping_model()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    adapter("strategy=discriminator", model=model).adapt(walker(), CAMERA, ["walk"] * 70)
    assert torch.equal(torch.rand(3), expected)


# ------------------------------------------------------------------ unpaired


def test_the_unpaired_target_is_the_labels_exemplar_over_and_over(dictionary):
    times = torch.arange(150) / 30.0
    labels = ["walk"] * 140 + [None] * 5 + ["ballet dance"] * 5
    poses, known = exemplar_poses(dictionary, labels, times)
    assert poses.shape == (150, 23, 3, 3) and known.tolist() == [1.0] * 140 + [0.0] * 10
    assert roma.is_rotation_matrix(poses, epsilon=1e-4)
    walk = dictionary.exemplar_pose("walk")
    torch.testing.assert_close(poses[:60], walk)
    torch.testing.assert_close(poses[60:120], walk)
    other, _ = exemplar_poses(dictionary, ["jumping jacks"] * 150, times)
    assert (other[:60] - walk).abs().mean() > 0.05


def test_without_exemplars_nobody_has_a_target():
    poses, known = exemplar_poses(None, ["walk", None], torch.tensor([0.0, 0.1]))
    assert not known.any() and torch.equal(poses, torch.eye(3).expand(2, 23, 3, 3))


def test_the_unpaired_term_is_l1_of_labelled_frames_and_leaves_the_root_alone(dictionary):
    runner = adapter("strategy=unpaired", "unpaired.weight=2", "smoothing.kind=none")
    strategy = Unpaired(Networks(exemplars=dictionary))
    labels = ["walk"] * 35 + [None] * 35
    run = started(runner, strategy, walker(), labels)
    draw = next(iter(strategy.batches(run, 0)))
    prediction = run.forward(draw.frames)
    prediction.rotmats.retain_grad()
    term = strategy.loss(run, draw, prediction)["unpaired"]
    labelled = draw.frames < 35
    error = (prediction.rotmats[:, 1:] - strategy.poses[draw.frames]).abs()
    expected = 2 * error[labelled].sum() / error.numel()
    assert float(term.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    term.backward()
    gradient = prediction.rotmats.grad.abs().sum((2, 3))
    assert gradient[:, 0].sum() == 0 and gradient[~labelled].sum() == 0
    assert (gradient[labelled].sum(1) > 0).all()


def test_unpaired_pulls_towards_its_exemplar(dictionary):
    walk, _ = exemplar_poses(dictionary, ["walk"] * 70, walker().times)
    distance = {}
    for strategy in ("cycleadapt", "unpaired"):
        runner = adapter(f"strategy={strategy}", "unpaired.weight=5", "optimizer.epochs=8")
        result = runner.adapt(walker(), CAMERA, ["walk"] * 70)
        distance[strategy] = float((result.adapted.rotmats[:, 1:] - walk).abs().mean())
    assert distance["unpaired"] < 0.9 * distance["cycleadapt"]


# ------------------------------------------------------------------ exemplars and random text
def test_generated_exemplars_move_as_their_names_say(dictionary):
    knees = {}
    for label in ("walk", "stand still", "sit on a chair"):
        pose = dictionary.exemplar_pose(label)
        assert pose.shape == (60, 23, 3, 3)
        bend = roma.rotmat_to_rotvec(pose[:, 3]).norm(dim=-1)  # left knee, joint 4
        knees[label] = (float(bend.mean()), float(bend.max() - bend.min()))
    assert knees["walk"][1] > 0.5 > knees["stand still"][1]
    assert knees["sit on a chair"][0] > math.radians(50)
    left, right = (dictionary.exemplar_pose(f"kick with the {s} leg") for s in ("left", "right"))
    thigh = lambda pose, joint: roma.rotmat_to_rotvec(pose[:, joint - 1]).norm(dim=-1).max()  # noqa: E731
    assert thigh(left, 1) > thigh(left, 2) and thigh(right, 2) > thigh(right, 1)
    assert dictionary.exemplar_pose("ballet dance") is None


def test_random_text_is_a_direction_of_its_own_for_each_label():
    from semtta.tta.segments import find_segments

    track = walker()
    segments = find_segments(track.frames, track.times, ["walk"] * 70, fps=30.0, length=60)
    device = torch.device("cpu")
    text, random, again, other = (
        Meaning.of(TinyPrior(), segments, device, None, seed) for seed in (None, 0, 0, 1)
    )
    assert torch.equal(random.text, again.text) and not torch.equal(random.text, other.text)
    assert float((random.text * text.text).sum(-1).abs().max()) < 0.99
    torch.testing.assert_close(random.text.norm(dim=-1), torch.ones(len(segments)))
    assert torch.equal(random.roots, text.roots) and torch.equal(random.ceiling, text.ceiling)
    directions = random_directions(["walk", "run"], 512, 0)
    assert abs(float(directions[0] @ directions[1])) < 0.2


def test_random_text_reaches_the_run():
    results = []
    for text in ("label", "random"):
        settings = [f"alignment.text={text}", "alignment.from_epoch=0", "alignment.weight=5",
                    "alignment.reach=all", "optimizer.epochs=2", "smoothing.kind=none"]  # fmt: skip
        runner = Adapter(
            tiny_model(), config=load_config("default", settings),
            prior=TinyPrior(), gate_prior=TinyPrior(),
        )  # fmt: skip
        results.append(runner.adapt(walker(), CAMERA, ["walk"] * 70))
    assert not same(results[0].adapted, results[1].adapted)
    assert results[0].history[-1]["similarity"] != results[1].history[-1]["similarity"]


def test_settings_that_do_not_exist_are_refused():
    for override in ("strategy=cycle", "optimizer.schedule=linear", "alignment.text=none",
                     "cycleadapt.targets=old", "optimizer.batch_frames=0"):  # fmt: skip
        with pytest.raises(SemttaError):
            load_config("cycleadapt", [override])
