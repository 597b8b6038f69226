"""What smooths a track: which smoother, what it is told, and how it learns."""

from types import SimpleNamespace

import pytest
import roma
import torch
from torch import nn

from semtta.config import Config
from semtta.config_schema import SmoothingConfig
from semtta.errors import SemttaError
from semtta.geometry import gaussian_smooth
from semtta.motion import denoiser as denoisers
from semtta.motion.mdnet import MDNetSmoother
from semtta.motion.text import TextEncoder, random_directions
from semtta.skeletons import BODY27, COCO17, SMPL24
from semtta.tta import smoothing
from semtta.tta.run import seen_rotations

TIMES = torch.arange(12) / 30


def motion():
    generator = torch.Generator().manual_seed(0)
    rotmats = roma.rotvec_to_rotmat(0.3 * torch.randn(12, 24, 3, generator=generator))
    return rotmats, (torch.rand(12, 24, generator=generator) > 0.3).float()


def test_a_window_is_49_frames_where_nothing_else_is_said():
    values = torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    found = smoothing.window_mean(values)
    torch.testing.assert_close(found, smoothing.window_mean(values, 49))
    torch.testing.assert_close(found[0], values[:49].mean(0))
    torch.testing.assert_close(found[-1], values[-49:].mean(0))
    exact = smoothing.window_mean(values[:49], 49)
    torch.testing.assert_close(exact, values[:49].mean(0).expand(49, 2))


def test_betas_are_pulled_to_the_first_look_s_mean_or_to_that_of_latest_windows():
    first, latest = torch.randn(2, 60, 10, generator=torch.Generator().manual_seed(0))
    told = {target: smoothing.shape_target(SmoothingConfig(shape_target=target), first, latest)
            for target in ("first", "window")}  # fmt: skip
    torch.testing.assert_close(told["first"], first.mean(0).expand(60, 10))
    torch.testing.assert_close(told["window"], smoothing.window_mean(latest))


def test_the_filter_lets_what_is_unseen_count_a_fiftieth():
    rotmats, seen = motion()
    smoother = smoothing.GaussianSmoother(TIMES, 0.04)
    weights = torch.where(seen > 0, 1.0, 0.02)
    expected = gaussian_smooth(rotmats, TIMES, 0.04, weights)
    target, sure = smoother.target(rotmats, seen, None)
    torch.testing.assert_close(target, expected)
    assert torch.equal(sure, torch.ones(12, 24))  # of what is unseen as well
    filled = denoisers.without_unseen(rotmats[None], seen[None])[0]
    completed = smoother.complete(rotmats, seen)
    torch.testing.assert_close(completed, smoother.target(filled, seen, None)[0])
    guess = torch.where(seen[..., None, None] > 0, rotmats, torch.eye(3))
    torch.testing.assert_close(smoother.complete(guess, seen), completed)
    told = smoother.target(rotmats, seen, torch.ones(12, 4), torch.randn(12, 3))
    assert torch.equal(told[0], target) and torch.equal(told[1], sure)
    assert smoother.fit(rotmats, seen, torch.Generator()) == []


@pytest.fixture
def asked(monkeypatch):
    """What the denoiser was asked to do."""
    calls = []

    def remember(name, answer):
        def call(*arguments, **named):
            calls.append((name, arguments, named))
            return answer

        return call

    answer = remember("denoise", ("target", "certainty"))
    monkeypatch.setattr(denoisers, "complete_track", answer)
    monkeypatch.setattr(denoisers, "fit_video", remember("fit", [0.5]))
    return calls


def test_the_denoiser_sees_the_track_its_words_and_a_light_filter(asked):
    rotmats, seen = motion()
    net, text, path = nn.Linear(1, 1), torch.ones(12, 4), torch.ones(12, 3)
    smoother = smoothing.DenoiserSmoother(net, TIMES, SmoothingConfig(sigma=0.07))
    assert smoother.denoiser is not net
    assert smoother.target(rotmats, seen, text, path) == ("target", "certainty")
    ((_, arguments, named),) = asked
    assert named == {"gaussian": 0.07, "trans": path}
    expected = (smoother.denoiser, rotmats, TIMES, seen, text)
    assert all(a is b for a, b in zip(arguments, expected, strict=True))
    assert smoother.complete(rotmats, seen, path) == "target"
    _, arguments, named = asked[-1]
    assert named == {"gaussian": 0.07, "trans": path}
    filled = denoisers.without_unseen(rotmats[None], seen[None])[0]
    torch.testing.assert_close(arguments[1], filled)
    assert arguments[3] is seen and arguments[4] is None
    for call in (lambda: smoother.target(rotmats, seen, text),
                 lambda: smoother.complete(rotmats, seen)):  # fmt: skip
        call()
        assert asked[-1][2]["trans"] is None


def test_a_label_leads_further_where_the_denoiser_is_not_sure(monkeypatch):
    axis = torch.tensor([0.0, 0.0, 1.0])
    plain = torch.eye(3).expand(12, 24, 3, 3)
    told = roma.rotvec_to_rotmat(0.2 * axis).expand(12, 24, 3, 3)
    sure = torch.ones(12, 24)
    sure[:, 5], sure[:, 6] = 0.0, 0.5
    led = smoothing.guided(plain, sure, told, 3.0)
    for joint, angle in ((0, 0.2), (5, 0.6), (6, 0.4)):
        wanted = roma.rotvec_to_rotmat(angle * axis).expand(12, 3, 3)
        torch.testing.assert_close(led[:, joint], wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(smoothing.guided(plain, sure, told, 1.0), told)
    answers = {True: (told, 0.9 * sure), False: (plain, sure)}
    monkeypatch.setattr(denoisers, "complete_track",
                        lambda net, r, t, s, text, **named: answers[text is not None])  # fmt: skip
    smoother = smoothing.DenoiserSmoother(nn.Linear(1, 1), TIMES, SmoothingConfig(guidance=3.0))
    target, certainty = smoother.target(*motion(), torch.ones(12, 4))
    assert torch.equal(target, led) and torch.equal(certainty, 0.9 * sure)
    assert smoother.target(*motion(), None)[0] is plain  # without a label nothing leads


@pytest.mark.parametrize(("settings", "frames", "steps", "drawn"), [
    ({}, 12, None, False), ({"fit_steps": 7}, 12, 7, False),
    ({"fit_windows": "drawn"}, 12, 1, True), ({"fit_windows": "drawn"}, 16, 1, True),
    ({"fit_windows": "drawn"}, 33, 3, True),
    ({"fit_windows": "drawn", "fit_steps": 5}, 33, 5, True),
])  # fmt: skip
def test_the_denoiser_learns_in_as_many_steps_as_the_settings_say(
    settings, frames, steps, drawn, asked
):
    rotmats, seen = torch.eye(3).expand(frames, 24, 3, 3), torch.ones(frames, 24)
    config = SmoothingConfig(fit_lr=3e-4, **settings)
    smoother = smoothing.DenoiserSmoother(nn.Linear(1, 1), torch.arange(frames) / 30, config)
    generator = torch.Generator()
    assert smoother.fit(rotmats, seen, generator) == [0.5]
    smoother.fit(rotmats, seen, generator, lr=1e-5)
    (_, arguments, first), (_, _, second) = asked
    assert arguments[1] is rotmats and arguments[3] is seen
    assert (first["steps"], first["drawn"], first["lr"]) == (steps, drawn, 3e-4)
    assert first["generator"] is generator and second["lr"] == 1e-5
    assert first["optimizer"] is second["optimizer"]  # one Adam for the whole video
    assert first["optimizer"].param_groups[0]["lr"] == 3e-4


def test_the_denoiser_s_adam_may_be_fresh_and_it_may_not_learn_at_all(asked):
    rotmats, seen = motion()
    fresh, never = (
        smoothing.DenoiserSmoother(nn.Linear(1, 1), TIMES, SmoothingConfig(**settings))
        for settings in ({"fit_state": "fresh"}, {"fit_steps": 0})
    )
    for _ in range(2):
        fresh.fit(rotmats, seen, torch.Generator())
    first, second = (named["optimizer"] for _, _, named in asked)
    assert first is not second
    assert never.fit(rotmats, seen, torch.Generator()) == [] and len(asked) == 2


def test_the_settings_name_the_smoother():
    net = nn.Linear(1, 1)

    def built(kind, **settings):
        return smoothing.build_smoother(SmoothingConfig(kind=kind, **settings), net, TIMES)

    assert built("none") is None and built("gaussian", weight=0.0) is None
    gaussian = built("gaussian", sigma=0.3)
    assert (gaussian.times is TIMES, gaussian.sigma) == (True, 0.3)
    denoiser = built("denoiser", fit_steps=3)
    assert isinstance(denoiser, smoothing.DenoiserSmoother)
    assert denoiser.times is TIMES and denoiser.config.fit_steps == 3
    official = built("mdnet", fit_lr=2e-4, fit_steps=9)
    assert isinstance(official, MDNetSmoother)
    assert (official.steps, official.keep_state, official.times is TIMES) == (9, True, True)
    assert official.optimizer.param_groups[0]["lr"] == 2e-4
    assert not built("mdnet", fit_state="fresh").keep_state


def test_the_settings_name_the_network_that_is_read(monkeypatch):
    read = []
    monkeypatch.setattr(denoisers, "load_denoiser", lambda path: read.append(path) or "ours")
    for kind in ("gaussian", "none"):
        assert smoothing.load_smoothing_network(SmoothingConfig(kind=kind)) is None
    config = SmoothingConfig(kind="denoiser", checkpoint="mine.pt")
    assert smoothing.load_smoothing_network(config) == "ours" and read == ["mine.pt"]
    with pytest.raises(SemttaError, match="missing.pt"):
        smoothing.load_smoothing_network(SmoothingConfig(kind="mdnet", checkpoint="missing.pt"))
    monkeypatch.setattr(smoothing, "require_user_file", lambda kind, path: (kind, path))
    monkeypatch.setattr("semtta.motion.mdnet.load_mdnet", lambda path: path)
    official = smoothing.load_smoothing_network(SmoothingConfig(kind="mdnet", checkpoint="m.pth"))
    assert official == ("mdnet", "m.pth")


# ---------------------------------------------------------------------- what it is told


def running(labels=(None,) * 12, alignment="label", detected=None, **settings):
    """As much of a run as is read here."""
    config = Config(seed=5, smoothing=SmoothingConfig(**settings))
    config.alignment.text = alignment
    detected = torch.ones(12, len(BODY27)).bool() if detected is None else detected
    return SimpleNamespace(
        config=config, labels=list(labels), track=range(len(labels)), device=torch.device("cpu"),
        evidence=SimpleNamespace(detected=detected), view=SimpleNamespace(skeleton=BODY27),
    )  # fmt: skip


def test_a_rotation_is_seen_where_the_landmark_that_it_moves_is():
    detected = torch.ones(2, len(BODY27)).bool()
    detected[1, BODY27.indices(["left_knee", "right_wrist"])] = False
    seen = seen_rotations(detected, BODY27)
    assert seen.shape == (2, 24) and seen[0].eq(1).all()
    hidden = [SMPL24.joints[joint] for joint in (seen[1] == 0).nonzero()[:, 0]]
    assert hidden == ["left_hip", "right_elbow"]
    # what the skeleton lacks hides nothing
    nothing = seen_rotations(torch.zeros(1, len(COCO17)).bool(), COCO17)[0]
    hidden = {SMPL24.joints[joint] for joint in (nothing == 0).nonzero()[:, 0]}
    assert hidden == {f"{side}_{joint}" for side in ("left", "right")
                      for joint in ("hip", "knee", "shoulder", "elbow")}  # fmt: skip


def test_a_smoother_is_told_what_is_unseen_only_where_it_completes():
    detected = torch.ones(12, len(BODY27)).bool()
    detected[3, BODY27.index("left_knee")] = False
    for completion in (True, False):
        told = smoothing.told_rotations(running(detected=detected, completion=completion))
        expected = torch.ones(12, 24)
        expected[3, SMPL24.index("left_hip")] = 1.0 - completion
        assert torch.equal(told, expected)


def test_of_an_unseen_arm_the_guess_counts_as_much_as_the_settings_say():
    detected = torch.ones(12, len(BODY27)).bool()
    detected[3, BODY27.indices(["left_knee", "left_elbow", "right_wrist"])] = False
    told = smoothing.told_rotations(running(detected=detected, completion=True, arm_guess=0.3))
    expected = torch.ones(12, 24)
    expected[3, SMPL24.index("left_hip")] = 0.0
    expected[3, SMPL24.indices(["left_shoulder", "right_elbow"])] = 0.3
    assert torch.equal(told, expected)


SAID = ["walk"] * 3 + [None] * 2 + ["sit down"] * 2 + ["Opa's \u2603"] * 2 + ["\u2603"] * 3


def test_each_frame_s_words_are_told_and_none_where_nobody_knows_them():
    told = smoothing.told_text(running(SAID, text=True, kind="denoiser"), None)
    walk, sit, own = TextEncoder.load().encode(["walk", "sit down", "Opa's"])
    for rows, expected in ((range(3), walk), ((5, 6), sit), ((7, 8), own)):
        torch.testing.assert_close(told[list(rows)], expected.expand(len(rows), -1))
    assert not told[[3, 4, 9, 10, 11]].any()
    prior = SimpleNamespace(spoken={"walk": "sit down", "sit down": ""}.get)
    few = ["walk", "sit down", None]
    resolved = smoothing.told_text(running(few, text=True, kind="denoiser"), prior)
    torch.testing.assert_close(resolved, torch.stack((sit, 0 * walk, 0 * walk)))


def test_random_words_are_those_of_the_names_and_the_seed():
    told = smoothing.told_text(running(SAID[:6], "random", text=True, kind="denoiser"), None)
    sit, walk = random_directions(["sit down", "walk"], TextEncoder.load().dim, 5)
    torch.testing.assert_close(told[[0, 2, 5]], torch.stack((walk, walk, sit)))
    unknown = running(["\u2603"], "random", text=True, kind="denoiser")
    assert not smoothing.told_text(unknown, None).any()


@pytest.mark.parametrize(("labels", "settings"), [
    (SAID, {"text": False, "kind": "denoiser"}), (SAID, {"text": True, "kind": "mdnet"}),
    ([None] * 12, {"text": True, "kind": "denoiser"}),
])  # fmt: skip
def test_nothing_is_told_to_who_cannot_read_or_has_no_label(labels, settings):
    assert smoothing.told_text(running(labels, **settings), None) is None


def test_what_is_made_lies_where_what_was_given_lies():
    far = torch.device("meta")
    assert smoothing.window_mean(torch.zeros(60, 2, device=far)).device == far
    assert seen_rotations(torch.zeros(2, 27, device=far).bool(), BODY27).device == far
    run = running()
    run.device = far
    assert smoothing.told_rotations(run).device == far
    told = running(["walk"], text=True, kind="denoiser")
    told.device = far
    assert smoothing.told_text(told, None).device == far
