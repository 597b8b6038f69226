"""CycleAdapt and the two baselines that add a semantic term to it."""

from __future__ import annotations

import copy
import math

import pytest
import roma
import torch
from test_adapter import CAMERA, TinyPrior, same, tiny_model, walker
from torch import nn

from semtta.config import load_config
from semtta.engine import cosine_lr, silent
from semtta.errors import SemttaError
from semtta.hmr.lifter import Lifter, LifterSettings
from semtta.motion.dictionary import Dictionary
from semtta.motion.mdnet import MDNet
from semtta.tta.adapter import Adapter
from semtta.tta.cycleadapt import CycleAdapt
from semtta.tta.discriminator import (
    Discriminator,
    body_rotvec,
    discriminator_loss,
    generator_loss,
)
from semtta.tta.schedule import learning_rate, warmup_cosine_lr
from semtta.tta.semtta import Meaning, random_directions
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


@pytest.fixture(scope="module")
def dictionary():
    return Dictionary.load()


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
    run = runner._begin(track, CAMERA, labels, silent)
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
    smooth = strategy.smoother.target(seen, strategy.seen, None)
    assert torch.equal(strategy.targets.rotmats, smooth)
    fresh = strategy.smoother.target(run.latest.rotmats, strategy.seen, None)
    assert (fresh - smooth).abs().max() > 1e-4
    assert torch.equal(run.first.rotmats, frozen)  # what is kept is a copy


def test_terms_are_those_of_every_frame_and_the_smoothing_of_every_joint_alike():
    runner = adapter("smoothing.from_epoch=0", "smoothing.weight=2", "smoothing.unseen_weight=9",
                     "smoothing.shape_target=window", "evidence3d.weight=1")  # fmt: skip
    strategy = CycleAdapt(Networks())
    run = started(runner, strategy, walker(), [None] * 70)
    smooth = strategy.smoother.target(run.first.rotmats, strategy.seen, None)
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
    labels = ["walk"] * 140 + [None] * 5 + ["salsa dance"] * 5
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


# ------------------------------------------------------------------ discriminator


def test_it_learns_to_tell_and_the_regressor_is_told(dictionary):
    runner = adapter("strategy=discriminator", "discriminator.lr=3e-3")
    strategy = Discriminator(Networks(exemplars=dictionary))
    run = started(runner, strategy, walker(), ["walk"] * 70)
    strategy.judge.eval()  # without its dropout
    draws = [draw for draw in strategy.batches(run, 0) if draw.segments]
    assert torch.cat([draw.frames for draw in draws]).unique().numel() == 70
    draw = draws[0]
    gaps = []
    for _ in range(30):
        prediction = run.forward(draw.frames)
        prediction.rotmats.retain_grad()
        terms = strategy.loss(run, draw, prediction)
        rows = draw.rows[0]
        real = strategy._real_windows(draw, run.generator)
        fake = body_rotvec(prediction.rotmats[rows, 1:].detach())[None]
        gaps.append(float(strategy.judge(real).mean() - strategy.judge(fake).mean()))
    assert gaps[-1] > 0.5 > gaps[0]
    terms["adversarial"].backward()
    gradient = prediction.rotmats.grad.abs().sum((2, 3))
    assert torch.isfinite(gradient).all()
    assert gradient[:, 0].sum() == 0 and (gradient[:, 1:].sum(1) > 0).all()
    assert all(p.grad is None or not p.requires_grad for p in strategy.judge.parameters())


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
def test_a_batch_of_windows_is_about_as_large_as_one_of_frames(dictionary, fps):
    runner = adapter("strategy=discriminator")
    strategy = Discriminator(Networks(exemplars=dictionary))
    run = started(runner, strategy, walker(100, fps=fps), ["walk"] * 100)
    draws = list(strategy.batches(run, 0))
    assert 3 <= len(draws) <= 5 and max(int(draw.count.sum()) for draw in draws) <= 36
    assert torch.cat([draw.frames for draw in draws]).unique().numel() == 100


def test_scores_of_real_motion_go_to_one_and_of_predicted_motion_to_zero():
    real, fake = torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0.0, 1.0])
    assert float(discriminator_loss(real, fake)) == pytest.approx(1 / 2 + 1.25 / 3)
    assert float(generator_loss(torch.tensor([1.0, 3.0, 0.0]))) == pytest.approx(5 / 3)
    rotmats = roma.random_rotmat((2, 5, 23))
    rotvecs = body_rotvec(rotmats)
    assert rotvecs.shape == (2, 5, 69)
    assert torch.equal(rotvecs[1, 3, 6:9], roma.rotmat_to_rotvec(rotmats[1, 3, 2]))


@pytest.mark.parametrize(("fps", "first"), [(30.0, 16), (15.0, 8), (60.0, 31)])
def test_windows_of_sixteen_frames_touch_and_the_last_reaches_the_end(dictionary, fps, first):
    strategy = Discriminator(Networks(exemplars=dictionary))
    started(adapter("strategy=discriminator"), strategy, walker(100, fps=fps), ["walk"] * 100)
    windows = strategy.segments.windows
    assert strategy.segments.grid.shape[1] == 16
    assert [int(w[0]) for w in windows[:2]] == [0, first] and int(windows[-1][-1]) == 99
    gaps = [int(b[0] - a[-1]) for a, b in zip(windows, windows[1:])]
    assert gaps[:-1] == [1 if fps != 15 else 0] * (len(gaps) - 1) and gaps[-1] <= 1


def test_a_pass_holds_every_window_and_what_none_covers_in_batches_of_the_size(dictionary):
    settings = ("strategy=discriminator", "optimizer.batch_frames=40")
    labels = ["walk"] * 66 + [None] * 50 + ["salsa dance"] * 4
    strategy = Discriminator(Networks(exemplars=dictionary))
    run = started(adapter(*settings), strategy, walker(120), labels)
    assert set(strategy.real) == {"walk"} and strategy.real["walk"].shape == (60, 69)
    draws = list(strategy.batches(run, 0))
    assert sorted(i for draw in draws for i in draw.segments) == list(range(5))
    assert sorted(len(draw.segments) for draw in draws) == [0, 0, 1, 2, 2]
    loose = torch.cat([draw.frames for draw in draws if not draw.segments])
    assert sorted(loose.tolist()) == list(range(66, 120))
    assert max(len(d.frames) for d in draws if not d.segments) == 40
    other = [draw.segments for draw in strategy.batches(run, 1)]
    assert other != [draw.segments for draw in draws]  # in another order each time
    run.config.optimizer.steps_per_epoch = 12
    assert len(list(strategy.batches(run, 2))) == 12  # two passes and some of the third
    run.config.optimizer.steps_per_epoch = 3
    assert len(list(strategy.batches(run, 2))) == 3
    small = Discriminator(Networks(exemplars=dictionary))
    run = started(adapter("strategy=discriminator", "optimizer.batch_frames=8"), small,
                  walker(), ["walk"] * 70)  # fmt: skip
    assert {len(draw.segments) for draw in small.batches(run, 0)} == {1}  # never none


def test_real_windows_come_from_anywhere_in_the_exemplar_of_the_label(dictionary):
    strategy = Discriminator(Networks(exemplars=dictionary))
    labels = ["walk"] * 48 + ["jumping jacks"] * 32
    run = started(adapter("strategy=discriminator"), strategy, walker(80), labels)
    draw = next(d for d in iter(lambda: next(strategy.batches(run, 0)), None) if d.segments)
    starts = set()
    for _ in range(300):
        for window, i in zip(strategy._real_windows(draw, run.generator), draw.segments):
            motion = strategy.real[strategy.segments.labels[i]]
            found = [a for a in range(45) if torch.equal(window, motion[a : a + 16])]
            starts.update(found)
            assert found
    assert {0, 44} <= starts  # both ends


def test_the_judge_starts_from_the_users_file(official_discriminator, dictionary, tmp_path):
    path = tmp_path / "disc.pt"
    torch.save({"disc_motion_state_dict": official_discriminator}, path)
    strategy = Discriminator(Networks(exemplars=dictionary))
    runner = adapter("strategy=discriminator", f"discriminator.checkpoint={path}")
    started(runner, strategy, walker(), ["walk"] * 70)
    for key, value in strategy.judge.state_dict().items():
        assert torch.equal(value, official_discriminator[key])
    assert strategy.judge.training


def test_the_judge_learns_as_the_settings_say(dictionary):
    strategy = Discriminator(Networks(exemplars=dictionary))
    runner = adapter("strategy=discriminator", "discriminator.lr=0.02",
                     "discriminator.weight_decay=0.03", "discriminator.weight=5")  # fmt: skip
    run = started(runner, strategy, walker(), ["walk"] * 70)
    assert strategy.judge.training
    strategy.judge.eval()  # without its dropout
    group = strategy.optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.02, 0.03)
    draw = next(d for d in strategy.batches(run, 0) if d.segments)
    prediction = run.forward(draw.frames)
    term = strategy.loss(run, draw, prediction)["adversarial"]
    windows = [strategy.segments.resample_window(prediction.rotmats[rows, 1:], i)
               for rows, i in zip(draw.rows, draw.segments)]  # fmt: skip
    expected = 5 * generator_loss(strategy.judge(body_rotvec(torch.stack(windows))))
    assert torch.allclose(term, expected, rtol=1e-4)
    real, fake = (torch.randn(2, 16, 69) for _ in range(2))
    group["lr"] = 0.0
    for _ in range(2):  # each step's gradient is its own
        strategy._teach(real, fake)
    strategy.judge.requires_grad_()
    loss = discriminator_loss(strategy.judge(real), strategy.judge(fake))
    parameters = list(strategy.judge.parameters())
    for parameter, wanted in zip(parameters, torch.autograd.grad(loss, parameters)):
        assert torch.allclose(parameter.grad, wanted, atol=1e-6)


def test_one_frame_alone_shows_no_movement_to_judge(dictionary):
    strategy = Discriminator(Networks(exemplars=dictionary))
    run = started(adapter("strategy=discriminator"), strategy, walker(1, hidden=False), ["walk"])
    [draw] = strategy.batches(run, 0)
    terms = strategy.loss(run, draw, run.forward(draw.frames))
    assert draw.segments == () and "adversarial" not in terms and "reprojection" in terms


def test_frames_without_exemplar_are_adapted_without_the_term():
    labels = [None] * 20 + ["walk"] * 50
    result = adapter("strategy=discriminator").adapt(walker(), CAMERA, labels)
    assert "loss_adversarial" in result.history[0]
    moved = (result.adapted.rotmats - result.base.rotmats).abs().amax((1, 2, 3))
    assert (moved > 0).all()
    for labels in (None, ["salsa dance"] * 70):  # no label, or no exemplar: plain CycleAdapt
        for strategy in ("discriminator", "unpaired"):
            result = adapter(f"strategy={strategy}").adapt(walker(), CAMERA, labels)
            names = {name for epoch in result.history for name in epoch if name[:5] == "loss_"}
            assert names == {"loss_reprojection", "loss_smoothing", "loss_shape"}


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
