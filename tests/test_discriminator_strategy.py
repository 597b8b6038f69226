"""The discriminator as a semantic term of CycleAdapt: windows, labels and the judge."""

from __future__ import annotations

import pytest
import roma
import torch
from test_adapter import CAMERA, walker
from test_cycleadapt_strategies import adapter, started

from semtta.tta.discriminator import (
    Discriminator,
    body_rotvec,
    discriminator_loss,
    generator_loss,
)
from semtta.tta.strategy import Networks


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


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
    labels = ["walk"] * 66 + [None] * 50 + ["ballet dance"] * 4
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
    for labels in (None, ["ballet dance"] * 70):  # no label, or no exemplar: plain CycleAdapt
        for strategy in ("discriminator", "unpaired"):
            result = adapter(f"strategy={strategy}").adapt(walker(), CAMERA, labels)
            names = {name for epoch in result.history for name in epoch if name[:5] == "loss_"}
            assert names == {"loss_reprojection", "loss_smoothing", "loss_shape"}
