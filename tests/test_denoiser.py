"""The masked motion model: what it must keep, what it must mend, and what it must refuse."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import roma
import torch

from semtta.errors import SemttaError
from semtta.geometry import gaussian_smooth, geodesic_degrees
from semtta.motion.denoiser import (
    complete_track,
    fit_video,
    load_denoiser,
    masked_reconstruction_loss,
    save_denoiser,
    without_unseen,
)
from semtta.motion.denoiser_input import fill_unseen
from semtta.motion.denoiser_net import WINDOW
from semtta.motion.denoiser_windows import Windows, interpolate, merged
from semtta.motion.resample import MAX_GAP
from semtta.skeletons import SMPL24
from tools.training import procedural

_LEG = ("hip", "knee", "ankle", "foot")
LEGS = [i for i, name in enumerate(SMPL24.joints) if name.split("_")[-1] in _LEG]


@pytest.fixture(scope="module")
def denoiser():
    return load_denoiser()


def motion(name: str, frames: int, seed: int = 7) -> torch.Tensor:
    """(frames, 24, 3, 3); the seeds here are not those of the training."""
    return torch.from_numpy(procedural.sample(name, np.random.default_rng(seed), frames)).float()


def times_of(poses: torch.Tensor, fps: float = 30.0) -> torch.Tensor:
    return torch.arange(len(poses), dtype=torch.float64) / fps


def turn(poses: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    out = poses.clone()
    out[..., 0, :, :] = rotation @ out[..., 0, :, :]
    return out


def disturb(poses: torch.Tensor, seed: int, degrees: float = 4.0) -> torch.Tensor:
    """Independent jitter plus a drift of the same size over about a quarter of a second."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(2, *poses.shape[:2], 3, generator=generator)
    frame = torch.arange(float(len(poses)))
    kernel = torch.exp(-0.5 * ((frame[:, None] - frame) / 8) ** 2)
    kernel = kernel / kernel.square().sum(1, keepdim=True).sqrt()
    rotvec = white[0] + torch.einsum("ts,sjc->tjc", kernel, white[1])
    return poses @ roma.rotvec_to_rotmat(torch.deg2rad(degrees * rotvec))


def test_output_is_rotations_and_repeats(denoiser):
    poses = roma.random_rotmat((2, WINDOW, 24))
    seen = (torch.rand(2, WINDOW, 24) > 0.3).float()
    text = torch.randn(2, denoiser.config.text_dim)
    with torch.no_grad():
        out = denoiser(poses, seen, text)
        assert torch.equal(out, denoiser(poses, seen, text))
    assert out.shape == poses.shape
    assert roma.is_rotation_matrix(out, epsilon=1e-4)


def test_no_label_is_a_row_of_zeros(denoiser):
    poses, seen = motion("walk", WINDOW)[None], torch.ones(1, WINDOW, 24)
    with torch.no_grad():
        zeros = denoiser(poses, seen, torch.zeros(1, denoiser.config.text_dim))
        torch.testing.assert_close(zeros, denoiser(poses, seen, None))


@pytest.mark.parametrize("name", ["walk", "squat", "wave with the right hand"])
def test_clean_motion_stays(denoiser, name):
    poses = motion(name, 90)
    out = complete_track(denoiser, poses, times_of(poses), torch.ones(90, 24), gaussian=0.0)[0]
    assert geodesic_degrees(out, poses).mean() < 1.5


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_camera_rotation_turns_the_output_alike(denoiser, axis):
    camera = roma.rotvec_to_rotmat(2.5 * torch.tensor(axis))
    poses = disturb(motion("walk", 80), 1)
    seen = torch.ones(80, 24)
    seen[20:50, LEGS] = 0
    seen[55:60] = 0
    out = complete_track(denoiser, poses, times_of(poses), seen)[0]
    turned = complete_track(denoiser, turn(poses, camera), times_of(poses), seen)[0]
    torch.testing.assert_close(turned, turn(out, camera), atol=1e-4, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 59, 60, 61, 150])
def test_tracks_of_any_length(denoiser, frames):
    poses = motion("walk", frames)
    out = complete_track(denoiser, poses, times_of(poses), torch.ones(frames, 24))[0]
    assert out.shape == poses.shape
    assert roma.is_rotation_matrix(out, epsilon=1e-4)
    assert geodesic_degrees(out, poses).mean() < 4


def test_other_frame_rates_agree(denoiser):
    poses = disturb(motion("walk", 121), 2)
    times = times_of(poses)
    coarse = complete_track(denoiser, poses, times, torch.ones(121, 24))[0]
    fine_times = torch.arange(241, dtype=torch.float64) / 60
    low = torch.arange(241) // 2
    high = (low + torch.arange(241) % 2).clamp(max=120)
    fine = roma.special_procrustes((poses[low] + poses[high]) / 2)
    out = complete_track(denoiser, fine, fine_times, torch.ones(241, 24))[0]
    assert geodesic_degrees(out[::2], coarse).mean() < 0.5


def test_gaps_are_not_bridged(denoiser):
    first, second = motion("walk", 40, 1), motion("sit on a chair", 50, 2)
    poses = disturb(torch.cat((first, second)), 3)
    times = torch.cat((times_of(first), times_of(second) + 40 / 30 + MAX_GAP))
    seen = torch.ones(90, 24)
    seen[38:42, LEGS] = 0
    both = complete_track(denoiser, poses, times, seen)[0]
    for part in (slice(0, 40), slice(40, 90)):
        alone = complete_track(denoiser, poses[part], times[part], seen[part])[0]
        torch.testing.assert_close(both[part], alone, atol=1e-5, rtol=0)


class Unchanged:
    """A network that is sure of what it is given."""

    def complete(self, rotmats, seen, text, trans):
        return rotmats, torch.zeros_like(seen)


@pytest.mark.parametrize("fps", [30, 25, 60])
def test_a_network_that_changes_nothing_leaves_a_track_of_any_rate_as_it_was(fps):
    times = torch.arange(5 * fps) / fps
    angle = torch.stack((times.sin(), 0.5 * times.cos(), 0.3 * times), -1)
    poses = roma.rotvec_to_rotmat(angle[:, None] * torch.linspace(0, 1, 24)[:, None])
    seen = torch.ones(len(times), 24)
    out = complete_track(Unchanged(), poses, times, seen, gaussian=0)[0]
    torch.testing.assert_close(out, poses, atol=1e-5 if fps == 30 else 5e-3, rtol=0)


def test_windows_count_most_in_their_middle_and_by_what_they_saw_of_a_joint():
    index = torch.stack((torch.arange(WINDOW), torch.arange(30, 30 + WINDOW)))
    turned = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 1.0]))
    poses = torch.eye(3).repeat(2, WINDOW, 24, 1, 1)
    poses[1] = turned
    seen = torch.ones(2, WINDOW, 24)
    seen[1, :, 5] = 0.1

    def angle(motion, joint):
        return roma.rotmat_to_rotvec(motion[:, joint])[:, 2]

    result = merged(poses, Windows(poses, seen, None, index))
    found = angle(result, 0)
    assert (found[:30] == 0).all() and torch.allclose(found[60:], torch.ones(30))
    assert (found[30:60].diff() > 0).all() and found[44] + found[45] == pytest.approx(1, abs=1e-3)
    assert found[35] < 0.1 and found[54] > 0.9
    # the window that saw a tenth of the joint counts (0.02 + 0.1) / (0.02 + 1) as much
    share = 0.12 / 1.02
    between = np.arctan2(share * np.sin(1), 1 + share * np.cos(1))
    assert float(angle(result, 5)[44:46].mean()) == pytest.approx(between, abs=1e-2)


def test_between_two_frames_the_nearer_and_the_trusted_count():
    poses = roma.rotvec_to_rotmat(torch.tensor([[0.0, 0, 0], [0, 0, 0.2]]))[:, None].repeat(
        1, 3, 1, 1
    )
    trust = torch.tensor([[1.0, 1, 0], [1, 0, 1]])
    times, at = torch.tensor([0.0, 0.1]), torch.tensor([-1.0, 0.025, 0.1, 9.0])
    found = interpolate(poses, times, trust, at)
    angles = roma.rotmat_to_rotvec(found)[..., 2]
    expected = torch.tensor([[0, 0, 0], [0.05, 0, 0.2], [0.2, 0.2, 0.2], [0.2, 0.2, 0.2]])
    torch.testing.assert_close(angles, expected, atol=2e-3, rtol=0)


def test_half_of_the_frames_are_asked_for_always_the_middle_one_and_only_where_seen():
    poses, seen = motion("walk", WINDOW).repeat(8, 1, 1, 1, 1), torch.ones(8, WINDOW, 24)
    seen[:, :, LEGS] = 0
    given = {}

    def network(rotmats, remaining, text):
        given.update(remaining=remaining, text=text)
        return poses + 0.5

    words, generator = torch.randn(8, 4), torch.Generator().manual_seed(0)
    loss = masked_reconstruction_loss(network, poses, seen, generator, words)
    hidden = seen - given["remaining"]
    assert (hidden[:, :, 0].sum(1) == WINDOW // 2).all() and hidden[:, WINDOW // 2, 0].all()
    assert hidden[:, :, 0].unique(dim=0).shape[0] == 8 and given["text"] is words
    assert not hidden[:, :, LEGS].any()
    assert float(loss) == pytest.approx(0.5 * 0.5 * (24 - len(LEGS)) / 24)


def test_masked_reconstruction_does_not_read_what_it_asks_for():
    poses, seen = motion("walk", WINDOW)[None], torch.ones(1, WINDOW, 24)
    seen[:, 20:40, LEGS] = 0
    other = poses.clone()
    other[:, 20:40, LEGS] = roma.random_rotmat((1, 20, len(LEGS)))
    given = without_unseen(poses, seen)
    torch.testing.assert_close(given, without_unseen(other, seen))
    assert torch.equal(given[:, :20], poses[:, :20])
    assert roma.is_rotation_matrix(given, epsilon=1e-4)


def test_fill_is_linear_and_keeps_what_was_never_seen():
    x = torch.tensor([0.0, 9.0, 9.0, 3.0, 9.0])[None, :, None, None].repeat(1, 1, 2, 1)
    seen = torch.zeros(1, 5, 2)
    seen[0, [0, 3], 0] = 1
    out = fill_unseen(x, seen)[0, :, :, 0]
    torch.testing.assert_close(out[:, 0], torch.tensor([0.0, 1.0, 2.0, 3.0, 3.0]))
    torch.testing.assert_close(out[:, 1], x[0, :, 1, 0])


def test_better_than_the_best_gaussian(denoiser):
    ours, gauss = [], {frames: [] for frames in (1, 2, 3, 4)}
    ours_jerk, gauss_jerk = [], {frames: [] for frames in (1, 2, 3, 4)}
    for seed, name in enumerate(("walk", "run", "boxing", "squat", "walk upstairs", "sit down")):
        clean = motion(name, 120, 100 + seed)
        noisy, times = disturb(clean, seed), times_of(clean)
        out = complete_track(denoiser, noisy, times, torch.ones(120, 24))[0]
        results = {f: gaussian_smooth(noisy, times, f / 30) for f in gauss}
        ours.append(geodesic_degrees(out, clean).mean())
        ours_jerk.append((out - clean).diff(dim=0).diff(dim=0).abs().mean())
        for f, result in results.items():
            gauss[f].append(geodesic_degrees(result, clean).mean())
            gauss_jerk[f].append((result - clean).diff(dim=0).diff(dim=0).abs().mean())
    best = min(float(torch.stack(x).mean()) for x in gauss.values())
    assert torch.stack(ours).mean() < 0.9 * best
    # a filter that keeps the swing of fast limbs cannot be as calm as one that takes it
    assert torch.stack(ours_jerk).mean() < 0.4 * torch.stack(gauss_jerk[1]).mean()


def test_hidden_legs_of_a_walk_keep_step(denoiser):
    guess_error, linear_error, our_error = [], [], []
    for seed in range(5):
        walk = procedural.perform("walk", np.random.default_rng(200 + seed), 120)
        clean = torch.from_numpy(walk.rotmats)
        path = torch.from_numpy(walk.trans) + torch.tensor([0.3, -0.8, 4.0])
        seen = torch.ones(120, 24)
        seen[40:90, LEGS] = 0
        noisy = disturb(clean, seed, 2.0)
        noisy[40:90, LEGS] = roma.special_procrustes(clean[:, LEGS].mean(0))
        out = complete_track(denoiser, noisy, times_of(clean), seen, trans=path)[0]
        linear = fill_unseen(noisy.flatten(-2)[None], seen[None])[0].unflatten(-1, (3, 3))
        hidden = (slice(40, 90), LEGS)
        guess_error.append(geodesic_degrees(noisy[hidden], clean[hidden]).mean())
        linear_error.append(
            geodesic_degrees(roma.special_procrustes(linear[hidden]), clean[hidden]).mean()
        )
        our_error.append(geodesic_degrees(out[hidden], clean[hidden]).mean())
    ours = torch.stack(our_error).mean()
    assert ours < 0.85 * torch.stack(guess_error).mean()
    assert ours < 0.75 * torch.stack(linear_error).mean()


def test_masked_reconstruction_ignores_what_had_no_evidence(denoiser):
    poses = motion("walk", WINDOW)[None]
    none = masked_reconstruction_loss(
        denoiser, poses, torch.zeros(1, WINDOW, 24), torch.Generator().manual_seed(0)
    )
    some = masked_reconstruction_loss(
        denoiser, poses, torch.ones(1, WINDOW, 24), torch.Generator().manual_seed(0)
    )
    assert float(none.detach()) == 0 and float(some.detach()) > 0


def test_fitting_to_a_video_lowers_its_loss_and_repeats(denoiser):
    poses = disturb(motion("sneak", 90), 5, 2.0)
    seen = torch.ones(90, 24)

    def fitted():
        own = copy.deepcopy(denoiser)
        generator = torch.Generator().manual_seed(3)
        losses = fit_video(own, poses, times_of(poses), seen, steps=8, lr=3e-4, generator=generator)
        return own, losses

    own, losses = fitted()
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    again, _ = fitted()
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), again.parameters()))
    shipped = load_denoiser()
    assert all(torch.equal(a, b) for a, b in zip(denoiser.parameters(), shipped.parameters()))


def test_file_round_trip_and_damage(denoiser, tmp_path):
    path = tmp_path / "model.pt"
    save_denoiser(denoiser, path)
    again = load_denoiser(path)
    assert all(torch.equal(a, b) for a, b in zip(denoiser.parameters(), again.parameters()))
    data = path.read_bytes()
    for damage in (data[: len(data) // 2], b"", b"not a model", data[:200] + b"\0" * 400):
        path.write_bytes(damage)
        with pytest.raises(SemttaError):
            load_denoiser(path)
    torch.save({"format": "something else"}, path)
    with pytest.raises(SemttaError):
        load_denoiser(path)
    with pytest.raises(SemttaError):
        load_denoiser(tmp_path / "absent.pt")


def test_wrong_shapes_are_named(denoiser):
    with pytest.raises(SemttaError, match="60"):
        denoiser(roma.random_rotmat((1, 59, 24)), torch.ones(1, 59, 24))
    poses, seen = motion("walk", 70), torch.ones(70, 24)
    with pytest.raises(SemttaError, match="TextEncoder"):
        complete_track(denoiser, poses, times_of(poses), seen, torch.ones(3))[0]
    with pytest.raises(SemttaError, match="per frame"):
        complete_track(denoiser, poses, times_of(poses)[:-1], seen)[0]
    with pytest.raises(SemttaError, match="increasing"):
        complete_track(denoiser, poses, times_of(poses).flip(0), seen)[0]
