"""Tracks to windows of the masked motion model and back, and its fit to a video."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch
import torch.nn.functional as F
from golden_weights import noise
from test_denoiser_network import evidence, motion
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.geometry import gaussian_smooth
from semtta.motion.denoiser import complete_track, denoiser_optimizer, fit_video
from semtta.motion.denoiser_windows import (
    Windows,
    check_track,
    gather,
    grid_of,
    interpolate,
    joined,
    merged,
    merged_values,
    per_frame,
)


def seconds(frames: int, fps: float = 30.0) -> Tensor:
    return torch.arange(frames, dtype=torch.float64) / fps


# ------------------------------------------------------------------ tracks to windows and back


def test_tracks_whose_parts_do_not_belong_together_are_refused():
    rotmats, times, seen = motion("g", 3), seconds(3), torch.ones(3, 24)
    for text in (None, torch.zeros(7), torch.zeros(3, 7)):
        check_track(rotmats, times, seen, text)
    for parts in ((rotmats[:2], times, seen, None), (rotmats, times[:2], seen, None),
                  (rotmats, times, seen[:2], None), (rotmats, times, seen, torch.zeros(2, 7)),
                  (rotmats[:, :23], times, seen, None),
                  (rotmats[:0], times[:0], seen[:0], None)):  # fmt: skip
        with pytest.raises(SemttaError, match="one row of text per frame"):
            check_track(*parts)
    with pytest.raises(SemttaError, match="strictly increasing"):
        check_track(rotmats, torch.zeros(3), seen, None)


def test_a_text_is_for_all_frames_or_one_for_each():
    times, rows = seconds(3), torch.randn(3, 4)
    assert torch.equal(per_frame(rows, times), rows)
    assert torch.equal(per_frame(rows[0], times), rows[:1].expand(3, 4))
    assert per_frame(None, times).shape == (3, 0)
    assert per_frame(None, times.to("meta")).device.type == "meta"


@pytest.mark.parametrize("last, frames", [(1.0, 31), (1.0003, 31), (1.0006, 32), (0.0, 1)])
def test_a_stretch_has_frames_to_its_end(last, frames):
    times = 5 + torch.tensor([0.0, 0.4, last] if last else [0.0], dtype=torch.float64)
    count = len(times)
    grid = grid_of(motion("h", count), times, torch.ones(count, 24), torch.ones(count, 2))
    assert len(grid.rotmats) == len(grid.seen) == len(grid.text) == frames
    torch.testing.assert_close(grid.at, seconds(frames))
    assert grid.index.tolist() == [[min(i, frames - 1) for i in range(60)]]


def test_evidence_is_interpolated_and_text_is_that_of_the_nearest_frame():
    times, text = 3 + seconds(20, 20.0), torch.arange(20.0)[:, None]
    seen = evidence("i", 20)
    grid = grid_of(motion("j", 20), times, seen, text)
    for joint in (0, 23):
        wanted = np.interp(grid.at, times - 3, seen[:, joint])
        assert np.allclose(grid.seen[:, joint], wanted, atol=1e-6)
    apart = (grid.at[:, None] - (times - 3)).abs()
    assert (apart.gather(1, grid.text.long())[:, 0] <= apart.min(1).values + 1e-9).all()
    angle = roma.rotmat_geodesic_distance(grid.rotmats[::3], motion("j", 20)[::2])
    assert angle.max() < 2e-3  # every third is a frame of the track


@pytest.mark.parametrize(
    "frames, stride, starts",
    [(60, 15, [0]), (61, 15, [0, 1]), (75, 15, [0, 15]), (100, 15, [0, 15, 30, 40]),
     (63, 1, [0, 1, 2, 3])],
)  # fmt: skip
def test_windows_start_a_stride_apart_and_the_last_ends_with_the_stretch(frames, stride, starts):
    given = motion("k", frames), seconds(frames), torch.ones(frames, 24), torch.zeros(frames, 1)
    index = grid_of(*given, stride).index
    assert index[:, 0].tolist() == starts and (index.diff(dim=1) == 1).all()
    if stride == 15:
        assert torch.equal(grid_of(*given).index, index)


def test_joined_stretches_keep_their_own_windows():
    parts = [grid_of(motion(name, n), seconds(n), evidence(name, n), torch.rand(n, 2))
             for name, n in (("l", 70), ("m", 5), ("n", 61))]  # fmt: skip
    track = joined(parts)
    for name in ("rotmats", "seen", "text", "at"):
        assert torch.equal(getattr(track, name), torch.cat([getattr(p, name) for p in parts]))
    assert track.index[:, 0].tolist() == [0, 10, 70, 75, 76]
    windows, own = gather(track, track.index), gather(parts[2], parts[2].index)
    for name in ("rotmats", "seen", "text"):
        assert torch.equal(getattr(windows, name)[3:], getattr(own, name))
    label = F.normalize(track.text[:60].mean(0), dim=0)
    torch.testing.assert_close(windows.text[0], label)
    assert torch.equal(windows.index, track.index)


def test_windows_are_merged_by_the_documented_weights():
    index = torch.stack((torch.arange(60), torch.arange(17, 77), torch.arange(40, 100)))
    rotmats, seen = motion("o", 3, 60), evidence("p", 3, 60)
    seen[0, :, 3] = 0
    ramp = np.sin(np.pi * (np.arange(60) + 0.5) / 60) ** 2 + 1e-3
    total = torch.zeros(100, 24, 3, 3)
    for window in range(3):
        weight = torch.from_numpy(ramp)[:, None] * (0.02 + seen[window].mean(0))
        total[index[window]] += (weight[..., None, None] * rotmats[window]).float()
    wanted = roma.special_procrustes(total)
    found = merged(rotmats, Windows(rotmats, seen, torch.zeros(3, 0), index))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_numbers_are_merged_by_the_same_weights_and_stay_where_windows_agree():
    index = torch.stack((torch.arange(60), torch.arange(17, 77), torch.arange(40, 100)))
    seen, values = evidence("p", 3, 60), torch.from_numpy(noise("v", 3, 60, 24))
    ramp = np.sin(np.pi * (np.arange(60) + 0.5) / 60) ** 2 + 1e-3
    weights, total = torch.zeros(100, 24), torch.zeros(100, 24)
    for window in range(3):
        weight = (torch.from_numpy(ramp)[:, None] * (0.02 + seen[window].mean(0))).float()
        weights[index[window]] += weight
        total[index[window]] += weight * values[window]
    windows = Windows(motion("o", 3, 60), seen, torch.zeros(3, 0), index)
    torch.testing.assert_close(merged_values(values, windows), total / weights)
    same = merged_values(torch.full((3, 60, 24), 0.3), windows)
    torch.testing.assert_close(same, torch.full((100, 24), 0.3))


def test_without_trust_on_either_side_a_rotation_lies_between_as_usual():
    rotmats = roma.rotvec_to_rotmat(torch.tensor([[0.0, 0, 0], [0, 0, 0.2]]))[:, None]
    for trust in (0.0, 1.0):
        found = interpolate(rotmats, torch.tensor([0.0, 1.0]), torch.full((2, 1), trust),
                            torch.tensor([0.25, 0.5]))  # fmt: skip
        angle = roma.rotmat_to_rotvec(found)[:, 0, 2]
        torch.testing.assert_close(angle, torch.tensor([0.05, 0.1]), atol=1e-3, rtol=0)


# ------------------------------------------------------------------ whole tracks


class Recorder(nn.Module):
    """Answers with what it is given and is sure of it; remembers the windows."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()), requires_grad=False)
        self.given = []

    def forward(self, rotmats, seen, text=None):
        self.given.append((rotmats, seen, text))
        return rotmats * self.scale

    def complete(self, rotmats, seen, text=None, trans=None):
        self.given.append((rotmats, seen, text, trans))
        return rotmats, 0.01 * torch.ones_like(seen)


def test_long_tracks_go_through_in_batches_with_their_evidence_and_text():
    frames = 60 + 15 * 64 + 1  # 66 windows
    rotmats = motion("q", 1).expand(frames, -1, -1, -1)
    seen, text = evidence("r", frames), torch.arange(frames) / frames * torch.ones(2, 1)
    text, path = text.T + torch.tensor([0.0, 1.0]), torch.from_numpy(noise("u", frames, 3))
    net = Recorder()
    complete_track(net, rotmats, seconds(frames), seen, text, trans=path)[0]
    assert [len(part) for part, *_ in net.given] == [64, 2]
    starts = torch.tensor([*range(0, 15 * 64 + 1, 15), frames - 60])
    index = starts[:, None] + torch.arange(60)
    wanted = gather(grid_of(rotmats, seconds(frames), seen, text, trans=path), index)
    parts = [torch.cat(part) for part in zip(*net.given)]
    for found, all_of in zip(parts, (wanted.rotmats, wanted.seen, wanted.text, wanted.trans)):
        assert torch.equal(found, all_of)
    torch.testing.assert_close(parts[1], seen[index])
    torch.testing.assert_close(parts[3], path[index])
    net = Recorder()
    complete_track(net, rotmats, seconds(frames), seen)[0]
    assert all(said is None and told is None for _, _, said, told in net.given)


def test_the_closing_filter_is_one_frame_wide_unless_told():
    rotmats, seen = motion("s", 20), torch.ones(20, 24)
    found = [
        complete_track(Recorder(), rotmats, seconds(20), seen, gaussian=g)[0] for g in (1 / 30, 0)
    ]
    usual = complete_track(Recorder(), rotmats, seconds(20), seen)[0]
    assert torch.equal(usual, found[0]) and (usual - found[1]).abs().max() > 0.1
    torch.testing.assert_close(found[1], rotmats, atol=1e-4, rtol=0)


@pytest.mark.parametrize("sigma", [1 / 30, 0.1])
def test_the_closing_filter_gives_back_what_a_second_pass_takes(sigma):
    rotmats, times = motion("s", 20), seconds(20)
    once = gaussian_smooth(rotmats, times, sigma)
    wanted = roma.special_procrustes(once + once - gaussian_smooth(once, times, sigma))
    found = complete_track(Recorder(), rotmats, times, torch.ones(20, 24), gaussian=sigma)[0]
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)


def fitted(frames: int, text=None, **settings) -> tuple[Recorder, list[float]]:
    net = Recorder()
    losses = fit_video(net, motion("t", frames), seconds(frames), torch.ones(frames, 24), text=text,
                       lr=1e-2, generator=torch.Generator().manual_seed(0), **settings)  # fmt: skip
    return net, losses


def test_drawn_windows_are_sixteen_and_half_a_second_apart():
    net, losses = fitted(400, steps=3)  # 24 windows
    assert len(losses) == 3 and [len(part) for part, _, _ in net.given] == [16] * 3
    assert all(text is None for _, _, text in net.given)
    net, losses = fitted(100, steps=2)
    assert len(losses) == 2 and [len(part) for part, _, _ in net.given] == [4, 4]


def test_windows_that_are_not_drawn_come_by_once_in_a_pass():
    net, losses = fitted(100, steps=None, drawn=False)  # 41 windows
    assert [len(part) for part, _, _ in net.given] == [32, 9] and len(losses) == 2
    net, losses = fitted(100, steps=3, drawn=False)
    assert [len(part) for part, _, _ in net.given] == [32, 9, 32]


def test_the_text_of_a_video_reaches_every_step():
    net, _ = fitted(70, text=torch.tensor([3.0, 4.0]), steps=1)
    assert torch.allclose(net.given[0][2], torch.tensor([0.6, 0.8]))


def test_a_network_is_not_fitted_to_what_is_no_track():
    rotmats, seen = motion("t", 3), torch.ones(3, 24)
    for times, words in ((seconds(3).flip(0), "strictly increasing"), (seconds(2), "per frame")):
        with pytest.raises(SemttaError, match=words):
            fit_video(Recorder(), rotmats, times, seen, steps=1, lr=1e-2,
                      generator=torch.Generator())  # fmt: skip


def test_a_step_forgets_earlier_gradients():
    net = Recorder()
    net.scale.grad = torch.tensor(-1e6)
    fit_video(net, motion("t", 70), seconds(70), torch.ones(70, 24), steps=1, lr=1e-2,
              generator=torch.Generator())  # fmt: skip
    assert net.scale.item() == pytest.approx(1 - 1e-2, abs=1e-5)


def test_fitting_thaws_the_network_and_moves_it_by_the_learning_rate():
    net, _ = fitted(70, steps=1)
    assert net.scale.requires_grad and net.scale.item() == pytest.approx(1 - 1e-2, abs=1e-5)
    optimizer = denoiser_optimizer(net, 1.0)
    assert optimizer.defaults["betas"] == (0.5, 0.9) and optimizer.defaults["lr"] == 1.0
    frames = 70
    fit_video(net, motion("t", frames), seconds(frames), torch.ones(frames, 24), steps=1, lr=1e-3,
              generator=torch.Generator(), optimizer=optimizer)  # fmt: skip
    assert net.scale.item() == pytest.approx(1 - 1.1e-2, abs=1e-4)
    assert optimizer.state and optimizer.param_groups[0]["lr"] == 1e-3
