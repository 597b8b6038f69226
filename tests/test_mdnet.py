"""CycleAdapt's motion denoiser against the official network, windows and adaptation steps."""

from __future__ import annotations

import copy
import zlib

import numpy as np
import pytest
import roma
import torch

from semtta.errors import SemttaError
from semtta.geometry import geodesic_degrees
from semtta.motion.mdnet import (
    WINDOW,
    MDNet,
    MDNetSmoother,
    draw_hidden,
    load_mdnet,
    mdnet_fit,
    mdnet_loss,
    mdnet_optimizer,
    mdnet_track,
    slide_mean,
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def filled(key: str, shape) -> torch.Tensor:
    """The weights that the golden outputs were made with."""
    x = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(shape))
    return torch.from_numpy(0.02 * x + key.endswith("alpha")).float()


def golden_state() -> dict[str, torch.Tensor]:
    return {key: filled(key, value.shape) for key, value in MDNet().state_dict().items()}


@pytest.fixture
def net(tmp_path):
    torch.save({"model": golden_state()}, tmp_path / "md.pt")
    return load_mdnet(tmp_path / "md.pt")


def motion(frames: int, seed: int = 0) -> torch.Tensor:
    """(frames, 24, 3, 3), smooth."""
    generator = torch.Generator().manual_seed(seed)
    size, speed = torch.rand(2, 24, 3, generator=generator)
    phase = torch.arange(float(frames))[:, None, None] * 0.2 * speed
    return roma.rotvec_to_rotmat(phase.sin() * size)


def times_of(frames: int) -> torch.Tensor:
    return torch.arange(frames, dtype=torch.float64) / 30


# ------------------------------------------------------------------ the official network


def test_official_outputs(net, golden):
    wanted = golden("cycleadapt_mdnet/out.npz")
    x = torch.from_numpy(np.random.RandomState(0).standard_normal((3, 49, 144))).float()
    assert len(net.state_dict()) == 20 and not any(p.requires_grad for p in net.parameters())
    assert (net(x) - wanted["y"]).abs().max() < 1e-5
    masked = net(x * wanted["testmask"][:, None])
    assert (masked - wanted["y_testmask"]).abs().max() < 1e-5


def test_official_adaptation_steps(net, golden):
    """Three steps of the official trainer: loss, gradient and optimiser at once."""
    wanted = golden("cycleadapt_mdnet/out.npz")
    rotvec = np.random.RandomState(102).standard_normal((98, 24, 3)) * 0.5
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(rotvec)).float()
    windows = rotmats[..., :2].reshape(2, 49, 144)
    hidden = wanted["step_mask"] < 0.5
    optimizer = mdnet_optimizer(net.requires_grad_(True), 1e-6)
    losses = []
    for _ in range(3):
        loss = mdnet_loss(net, windows, hidden)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    assert (torch.stack(losses) - wanted["step_losses"]).abs().max() < 1e-6


def test_official_mean_over_windows(golden):
    windows = golden("functions/windows.npz")
    mean = slide_mean(windows["win"])
    assert (mean - windows["slide_window_to_sequence"]).abs().max() < 1e-6


def test_hidden_frames():
    hidden = draw_hidden(40, torch.Generator().manual_seed(1))
    assert (hidden.sum(1) == 25).all() and hidden[:, 24].all()
    share = hidden.float().mean(0)
    assert len(hidden.unique(dim=0)) == 40 and share[torch.arange(49) != 24].max() < 0.9


def test_a_new_network_starts_from_nothing():
    net, x = MDNet(), torch.randn(2, 49, 144)
    assert net(x).abs().max() < 1e-6
    mixed = net.motion_mlp["mlps"](x.transpose(1, 2))
    torch.testing.assert_close(mixed, x.transpose(1, 2), atol=1e-3, rtol=0)


# ------------------------------------------------------------------ tracks


def identity_net() -> MDNet:
    """Passes numbers through: what is left is masking, windows, mean and layout."""
    net = MDNet()
    with torch.no_grad():
        for layer in (net.motion_fc_in, net.motion_fc_out):
            layer.weight.copy_(torch.eye(144))
            layer.bias.zero_()
        for block in net.motion_mlp["mlps"]:
            block.norm0.alpha.zero_()
    return net.eval()


def test_layout_and_windows_keep_rotations():
    """Each frame is shown by every second window, so a plain mean only scales its numbers."""
    poses = motion(120)
    out = mdnet_track(identity_net(), poses, times_of(120))
    # The first and the last frame are hidden in the one window that covers them.
    assert geodesic_degrees(out[1:-1], poses[1:-1]).max() < 0.1


def test_track_is_the_mean_of_all_windows(net):
    poses = motion(60, seed=2)
    numbers = poses[..., :2].reshape(60, 144)
    shown = (torch.arange(WINDOW) % 2).float()[:, None]
    total, count = torch.zeros(60, 144), torch.zeros(60, 1)
    with torch.no_grad():
        for start in range(60 - WINDOW + 1):
            total[start : start + WINDOW] += net((numbers[start : start + WINDOW] * shown)[None])[0]
            count[start : start + WINDOW] += 1
    columns = (total / count).reshape(60, 24, 3, 2)
    out = mdnet_track(net, poses, times_of(60), batch=5)
    first = columns[..., 0] / columns[..., 0].norm(dim=-1, keepdim=True)
    assert (out[..., 0] - first).abs().max() < 1e-5
    assert roma.is_rotation_matrix(out, epsilon=1e-4)


def test_short_tracks_repeat_the_last_frame(net):
    poses = motion(20)
    padded = torch.cat((poses, poses[-1:].expand(29, -1, -1, -1)))
    wanted = mdnet_track(net, padded, times_of(49))[:20]
    assert torch.equal(mdnet_track(net, poses, times_of(20)), wanted)
    assert mdnet_track(net, poses[:1], times_of(1)).shape == (1, 24, 3, 3)


def test_gaps_are_not_bridged(net):
    poses, times = motion(130), times_of(130)
    times[70:] += 1.0
    out = mdnet_track(net, poses, times)
    assert torch.equal(out[:70], mdnet_track(net, poses[:70], times[:70]))
    assert torch.equal(out[70:], mdnet_track(net, poses[70:], times[70:]))


def test_adapting_learns_the_video_and_repeats():
    fresh, poses, times = MDNet(), motion(80, seed=4), times_of(80)

    def fit(seed):
        net = copy.deepcopy(fresh)
        generator = torch.Generator().manual_seed(seed)
        return mdnet_fit(net, poses, times, generator=generator, lr=2e-3, batch=8, steps=40), net

    losses, net = fit(0)
    again, twin = fit(0)
    assert losses == again and all(map(torch.equal, net.parameters(), twin.parameters()))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert fit(1)[0] != losses
    one_pass = mdnet_fit(net, poses, times, generator=torch.Generator().manual_seed(0), batch=16)
    assert len(one_pass) == 2  # 32 windows


def test_one_step_moves_weights_by_the_learning_rate_which_is_that_of_cycleadapt(net):
    before = net.motion_fc_in.bias.detach().clone()
    mdnet_fit(net, motion(50), times_of(50), generator=torch.Generator(), steps=1)
    moved = (net.motion_fc_in.bias - before).abs()
    assert net.motion_fc_in.bias.requires_grad
    torch.testing.assert_close(moved, torch.full_like(moved, 5e-5), atol=1e-6, rtol=0)
    settings = mdnet_optimizer(net).defaults
    assert (settings["lr"], settings["betas"]) == (5e-5, (0.5, 0.9))


def test_a_step_forgets_earlier_gradients(net):
    twin = copy.deepcopy(net).requires_grad_(True)
    for parameter in twin.parameters():
        parameter.grad = 1e6 * torch.ones_like(parameter)
    for each in (net, twin):
        mdnet_fit(each, motion(50), times_of(50), generator=torch.Generator(), steps=1)
    assert all(map(torch.equal, net.parameters(), twin.parameters()))


def test_a_pass_takes_thirty_two_windows_at_a_time(net):
    sizes = []
    net.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    assert len(mdnet_fit(net, motion(81), times_of(81), generator=torch.Generator())) == 2
    assert sizes == [32, 1]


def test_smoother_keeps_its_optimizer_and_rate_unless_told_otherwise(net):
    poses, seen, generator = motion(50), torch.ones(50, 24), torch.Generator()
    kept = MDNetSmoother(net, times_of(50), steps=1)
    fresh = MDNetSmoother(net, times_of(50), lr=1e-3, steps=1, keep_state=False)
    usual = MDNetSmoother(net, times_of(50))
    assert len(usual.fit(poses, seen, generator)) == 1  # two windows: one pass
    for smoother, rate, same in ((kept, 5e-5, True), (fresh, 1e-3, False)):
        optimizer = smoother.optimizer
        for lr, wanted in ((None, rate), (2e-4, 2e-4), (None, 2e-4)):
            assert len(smoother.fit(poses, seen, generator, lr)) == 1
            assert smoother.optimizer.param_groups[0]["lr"] == wanted
        assert (smoother.optimizer is optimizer) == same
        (step,) = {int(state["step"]) for state in smoother.optimizer.state.values()}
        assert step == (3 if same else 1)
    assert MDNetSmoother(net, times_of(50), steps=0).fit(poses, seen, generator) == []


def test_smoother_leaves_the_net_alone(net):
    before = copy.deepcopy(net.state_dict())
    poses, seen = motion(60), torch.ones(60, 24)
    smoother = MDNetSmoother(net, times_of(60), lr=1e-3)
    first, sure = smoother.target(poses, seen, None)
    assert torch.equal(sure, torch.ones(60, 24))
    smoother.fit(poses, seen, torch.Generator().manual_seed(0))
    assert not torch.equal(smoother.target(poses, seen, None)[0], first)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    never = MDNetSmoother(net, times_of(60), steps=0)
    never.fit(poses, seen, torch.Generator().manual_seed(0))
    assert torch.equal(never.target(poses, seen, None)[0], first)


def test_completion_does_not_read_unseen_guesses(net):
    poses, seen = motion(60), torch.ones(60, 24)
    seen[10:30, 4] = 0
    other = poses.clone()
    other[10:30, 4] = motion(60, seed=9)[10:30, 4]
    smoother = MDNetSmoother(net, times_of(60))
    difference = smoother.complete(other, seen) - smoother.complete(poses, seen)
    assert difference.abs().max() < 0.02
    told, sure = smoother.target(other, seen, None)
    shown = (told - smoother.target(poses, seen, None)[0]).abs().max()
    assert shown > 2 * difference.abs().max()
    assert torch.equal(sure, torch.ones(60, 24))  # of what nobody saw as well


def test_neither_text_nor_path_changes_the_target(net):
    poses, seen = motion(60), torch.ones(60, 24)
    smoother = MDNetSmoother(net, times_of(60))
    plain, told = smoother.target(poses, seen, None), torch.ones(60, 4)
    for found in zip(plain, smoother.target(poses, seen, told, torch.randn(60, 3))):
        assert torch.equal(*found)
    assert torch.equal(smoother.complete(poses, seen, torch.randn(60, 3)), plain[0])


# ------------------------------------------------------------------ hostile input


def test_the_net_is_found_inside_a_larger_one(tmp_path):
    torch.save({f"md.{key}": value for key, value in golden_state().items()}, tmp_path / "md.pt")
    assert torch.equal(load_mdnet(tmp_path / "md.pt").motion_fc_in.bias,
                       golden_state()["motion_fc_in.bias"])  # fmt: skip


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("motion_fc_in.bias"), "lacks 'motion_fc_in.bias'"),
    (lambda s: s.update({"more": torch.ones(2)}), "unknown tensor 'more'"),
    (lambda s: s["motion_fc_in.bias"].fill_(torch.inf), "not finite"),
    (lambda s: s.update({"motion_mlp.mlps.0.fc0.fc.bias": torch.ones(60)}), r"not \(49,\)"),
])  # fmt: skip
def test_wrong_checkpoints_are_refused(tmp_path, change, message):
    state = golden_state()
    change(state)
    torch.save(state, tmp_path / "md.pt")
    with pytest.raises(SemttaError, match=message):
        load_mdnet(tmp_path / "md.pt")


def test_wrong_tracks_are_refused(net):
    with pytest.raises(SemttaError, match="increasing"):
        mdnet_track(net, motion(10), torch.zeros(10))
    with pytest.raises(SemttaError, match="one time each"):
        mdnet_track(net, motion(10), times_of(9))
    with pytest.raises(SemttaError, match="one time each"):
        mdnet_track(net, motion(10)[:, :23], times_of(10))
    with pytest.raises(SemttaError, match="one time each"):
        mdnet_track(net, motion(10)[:0], times_of(0))
