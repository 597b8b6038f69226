"""Limbs that nobody sees: what the root's movement says of them, how sure the model is, and what
it leaves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch

from semtta.errors import SemttaError
from semtta.motion.denoiser import complete_track, load_denoiser
from semtta.motion.denoiser_input import root_movement, unseen_time
from semtta.motion.denoiser_net import WINDOW
from semtta.skeletons import SMPL24
from tools.training import procedural
from tools.training.corruption import LEGS
from tools.training.denoiser_table import joints_of, slope
from tools.training.motions import rest_joints

ENDS = SMPL24.indices(["left_wrist", "right_wrist", "left_ankle", "right_ankle"])
CAMERA = torch.tensor([0.3, -0.8, 4.0])


@pytest.fixture(scope="module")
def denoiser():
    return load_denoiser()


class Constant:
    """A network that says the same whatever it is given, with one deviation."""

    def __init__(self, pose: torch.Tensor, deviation: float):
        self.pose, self.deviation, self.told = pose, deviation, []

    def complete(self, rotmats, seen, text, trans):
        self.told.append(trans)
        return self.pose.expand_as(rotmats), torch.full_like(seen, self.deviation)


def performance(name: str, frames: int, seed: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotations and path; the seeds here are not those of the training."""
    made = procedural.perform(name, np.random.default_rng(seed), frames)
    return torch.from_numpy(made.rotmats), torch.from_numpy(made.trans)


def seconds(frames: int, fps: float = 30.0) -> torch.Tensor:
    return torch.arange(frames, dtype=torch.float64) / fps


def hidden(frames: int, joints: list[int], rows: slice = slice(None)) -> torch.Tensor:
    seen = torch.ones(frames, 24)
    seen[rows, joints] = 0
    return seen


def test_hidden_legs_are_nearer_to_the_truth_if_the_root_is_told_as_it_goes(denoiser):
    rest, errors = torch.from_numpy(rest_joints()), []
    for seed in range(6):
        poses, path = performance("walk", 90, 300 + seed)
        still = path[:1].expand_as(path)
        given = poses.clone()
        given[:, LEGS] = roma.special_procrustes(poses[:, LEGS].mean(0))
        seen, knees = hidden(90, LEGS), SMPL24.indices(["left_knee", "right_knee"])
        outs = [complete_track(denoiser, given, seconds(90), seen, trans=told + CAMERA)[0]
                for told in (path, still)]  # fmt: skip
        distances = [joints_of(out, rest) - joints_of(poses, rest) for out in outs]
        errors.append([float(d[:, knees].norm(dim=-1).mean()) for d in distances])
    going, standing = np.mean(errors, 0)
    assert going < 0.97 * standing


def test_a_track_without_a_root_is_completed_as_one_whose_root_is_not_told(denoiser):
    poses, _ = performance("walk", 75)
    seen = hidden(75, LEGS)
    without, certainty = complete_track(denoiser, poses, seconds(75), seen)
    zeros, same = complete_track(denoiser, poses, seconds(75), seen, trans=torch.zeros(75, 3))
    torch.testing.assert_close(without, zeros)
    torch.testing.assert_close(certainty, same)
    assert roma.is_rotation_matrix(without, epsilon=1e-4)


def test_the_path_turns_with_the_camera(denoiser):
    poses, path = performance("walk", 80)
    path, seen = path + CAMERA, hidden(80, LEGS)
    camera = roma.rotvec_to_rotmat(torch.tensor([0.4, 1.9, -0.3]))
    out, certainty = complete_track(denoiser, poses, seconds(80), seen, trans=path)
    poses[:, 0] = camera @ poses[:, 0]
    turned, same = complete_track(denoiser, poses, seconds(80), seen, trans=path @ camera.T)
    out[:, 0] = camera @ out[:, 0]
    torch.testing.assert_close(turned, out, atol=1e-4, rtol=0)
    torch.testing.assert_close(same, certainty, atol=1e-4, rtol=0)


def test_certainty_falls_with_the_length_of_a_gap_and_is_full_where_it_is_seen(denoiser):
    found = []
    for gap in (4, 20, 60, 120):
        poses, path = performance("walk", 120)
        first = (120 - gap) // 2
        rows = slice(first, first + gap)
        seen = hidden(120, LEGS, rows)
        poses[rows, LEGS] = torch.eye(3)
        certainty = complete_track(denoiser, poses, seconds(120), seen, trans=path + CAMERA)[1]
        assert (certainty[seen == 1] == 1).all() and (certainty >= 0).all()
        found.append(float(certainty[seen == 0].mean()))
    assert found == sorted(found, reverse=True) and found[0] > found[-1] + 0.01


def test_fast_limbs_that_are_seen_keep_their_swing(denoiser):
    rest, ratios = torch.from_numpy(rest_joints()), []
    for name in ("run", "jumping jacks", "boxing", "wave with both hands", "walk", "squat"):
        poses, path = performance(name, 120)
        out = complete_track(
            denoiser, poses, seconds(120), torch.ones(120, 24), trans=path + CAMERA
        )[0]
        before, after = (joints_of(x, rest)[:, ENDS] for x in (poses, out))
        moving = before.std(0).norm(dim=-1) > 60  # millimetres
        ratios += torch.tensor(slope(after, before))[moving].tolist()
    assert len(ratios) > 12 and 0.97 < np.mean(ratios) < 1.03
    assert all(0.9 < ratio < 1.1 for ratio in ratios)


def test_where_the_model_is_not_sure_what_it_was_given_stays():
    poses, _ = performance("walk", 50)
    pose = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 0.5]))
    seen = hidden(50, LEGS)
    others = [joint for joint in range(24) if joint not in LEGS]
    wild, doubt = complete_track(Constant(pose, 1e3), poses, seconds(50), seen, gaussian=0)
    torch.testing.assert_close(wild[:, LEGS], poses[:, LEGS], atol=1e-4, rtol=0)
    assert doubt[:, LEGS].max() < 1e-4
    sure, certainty = complete_track(Constant(pose, 0.01), poses, seconds(50), seen, gaussian=0)
    torch.testing.assert_close(sure, pose.expand_as(sure), atol=1e-4, rtol=0)
    assert certainty.min() > 0.999
    # what is seen is the network's whatever it says of itself
    torch.testing.assert_close(wild[:, others], sure[:, others])


@pytest.mark.parametrize("degrees, weight", [(22.5, 16 / 17), (45, 1 / 2), (90, 1 / 17)])
def test_a_completion_that_errs_by_half_a_right_angle_counts_half(degrees, weight):
    poses, seen = torch.eye(3).expand(20, 24, 3, 3), hidden(20, LEGS)
    pose = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.4, 0.0]))
    network = Constant(pose, math.radians(degrees) / 3**0.5)
    out, certainty = complete_track(network, poses, seconds(20), seen, gaussian=0)
    torch.testing.assert_close(certainty[:, LEGS], torch.full((20, len(LEGS)), weight))
    angle = roma.rotmat_to_rotvec(out[:, LEGS])[..., 1]
    torch.testing.assert_close(angle, torch.full_like(angle, 0.4 * weight), atol=4e-3, rtol=0)


def test_the_network_gets_the_path_at_its_own_rate_and_none_where_there_is_none():
    times = seconds(41, 20.0)
    path = CAMERA + torch.stack((times, times * 0, -times), -1).float()
    network = Constant(torch.eye(3), 0.1)
    poses, seen = torch.eye(3).expand(41, 24, 3, 3), torch.ones(41, 24)
    complete_track(network, poses, times, seen, trans=path)
    complete_track(network, poses, times, seen)
    told, none = network.told
    wanted = CAMERA + torch.arange(60)[:, None] / 30 * torch.tensor([1.0, 0.0, -1.0])
    torch.testing.assert_close(told[0], wanted, atol=1e-4, rtol=0)
    assert none is None
    with pytest.raises(SemttaError, match="root's path of a track of 41 frames"):
        complete_track(network, poses, times, seen, trans=path[:40])
    with pytest.raises(SemttaError, match="root's path"):
        load_denoiser().complete(poses[None, :1].expand(1, WINDOW, -1, -1, -1),
                                 torch.ones(1, WINDOW, 24), None, path[None])  # fmt: skip


@pytest.mark.parametrize("hertz, least", [(1.0, 0.995), (2.0, 0.98)])
def test_the_closing_filter_takes_jitter_and_leaves_swings(hertz, least):
    times = seconds(120)
    angle = 0.4 * (2 * math.pi * hertz * times).sin().float()
    jitter = 0.05 * torch.randn(120, generator=torch.Generator().manual_seed(0))

    def filtered(angles):
        poses = roma.rotvec_to_rotmat(angles[:, None, None] * torch.tensor([1.0, 0, 0]))
        seen = torch.ones(120, 24)

        class Unchanged:
            def complete(self, rotmats, seen, text, trans):
                return rotmats, seen

        out = complete_track(Unchanged(), poses.repeat(1, 24, 1, 1), times, seen)[0]
        return roma.rotmat_to_rotvec(out)[10:-10, 3, 0]

    assert least < filtered(angle).std() / angle[10:-10].std() < 1.005
    assert filtered(jitter).std() < 0.7 * jitter[10:-10].std()


def test_time_unseen_counts_to_the_nearest_evidence_and_never_is_told():
    seen = torch.zeros(1, 40, 3)
    seen[0, 6, 0] = seen[0, 3:5, 1] = 1
    seen[0, 4, 1] = 0.4  # not evidence enough
    found = unseen_time(seen)[0] * torch.tensor([30.0, 30.0, 1.0])
    torch.testing.assert_close(found[[0, 6, 10, 39], 0], torch.tensor(
        [[30.0, 6, 0], [0, 0, 0], [4, 30, 0], [30, 30, 0]]))  # fmt: skip
    torch.testing.assert_close(found[4, 1], torch.tensor([1.0, 30, 0]))
    assert (found[:, 2] == torch.tensor([30.0, 30, 1])).all()


def test_the_root_moves_as_the_body_sees_it():
    frame = roma.rotvec_to_rotmat(torch.tensor([[0.0, math.pi / 2, 0.0]]))  # it looks along +x
    path = CAMERA + torch.arange(60.0)[:, None] / 30 * torch.tensor([1.5, 0.0, 0.0])
    kernels = torch.eye(60).expand(2, 60, 60)
    found = root_movement(path[None], frame, kernels)[0]
    ahead = torch.tensor([0.0, 0.0, 1.5])
    torch.testing.assert_close(found[:, :6], ahead.repeat(60, 2), atol=1e-4, rtol=0)
    ray = (frame[0].T @ path[7]) / path[7].norm()
    torch.testing.assert_close(found[7, 6:], torch.cat((ray, torch.ones(1))))
    assert not root_movement(torch.zeros(1, 60, 3), frame, kernels).any()
    lost = path.clone()
    lost[30] += 100
    assert root_movement(lost[None], frame, kernels)[..., :6].abs().max() < 8 * 3**0.5 + 1e-4


def test_a_file_of_the_older_format_is_refused_in_a_sentence(tmp_path):
    torch.save({"format": "semtta-denoiser-2", "config": {}, "state": {}}, tmp_path / "d.pt")
    with pytest.raises(SemttaError, match="d.pt' is a denoiser of an older format") as caught:
        load_denoiser(tmp_path / "d.pt")
    assert "\n" not in str(caught.value) and "train_denoiser.py" in str(caught.value)
