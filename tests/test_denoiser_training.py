"""What the masked motion model is trained on and for."""

from __future__ import annotations

import pytest
import roma
import torch

from tools.training.corruption import ARMS, LEGS, Corruptor
from tools.training.denoiser_data import Library, as_told, from_camera
from tools.training.denoiser_loss import angle, certainty_loss, swing_loss
from tools.training.denoiser_rivals import RIVALS
from tools.training.denoiser_table import slope
from tools.training.procedural import Performance


def corruptor(seed: int = 0) -> Corruptor:
    return Corruptor(torch.Generator().manual_seed(seed))


def turns(*shape: int, size: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return roma.rotvec_to_rotmat(size * torch.randn(*shape, 24, 3, generator=generator))


def test_limbs_are_hidden_for_whole_windows_in_two_of_five_and_never_all_of_a_batch():
    clean = torch.eye(3).expand(400, 30, 24, 3, 3)
    _, seen = corruptor()(clean)
    never = (seen < 0.5).all(1)  # (B, 24)
    assert 0.4 < never.any(1).float().mean() < 0.65
    for limb in (LEGS, ARMS, LEGS[::2], ARMS[1::2], LEGS[2:]):
        assert never[:, limb].all(1).any()
    assert (seen > 0.5).all(1).all(1).float().mean() > 0.05


def test_what_is_hidden_is_guessed_and_now_and_then_nothing_is_said():
    clean = turns(1, 1).expand(300, 20, 24, 3, 3)
    noisy, seen = corruptor()(clean)
    never = (seen < 0.5).all(1)[:, LEGS].all(1)
    still = (noisy[never][:, :, LEGS] == torch.eye(3)).flatten(1).all(1).float().mean()
    assert 0.05 < still < 0.4
    assert roma.is_rotation_matrix(noisy, epsilon=1e-4)


def test_a_camera_sees_the_path_from_two_metres_on_and_sometimes_nothing_is_told():
    walk = torch.linspace(0, 1.5, 60)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    trans = (walk + torch.tensor([3.0, 0.9, 2.0])).expand(200, 60, 3)
    exact = from_camera(trans, corruptor())
    torch.testing.assert_close(exact.diff(dim=1), trans.diff(dim=1), atol=1e-4, rtol=0)
    distance = exact[:, 30].norm(dim=-1)
    assert distance.min() > 1.5 and distance.max() < 9
    told = as_told(exact, corruptor(1))
    silent = (told == 0).flatten(1).all(1)
    assert 0.15 < silent.float().mean() < 0.35
    off = ((told - exact)[~silent].norm(dim=-1) / exact[~silent].norm(dim=-1)).mean()
    assert 0.01 < off < 0.3


def test_the_likelihood_is_best_at_the_errors_own_deviation_and_leaves_the_pose_alone():
    clean = torch.eye(3).expand(4, 60, 24, 3, 3)
    out = turns(4, 60, size=0.2).requires_grad_()
    seen = torch.zeros(4, 60, 24)
    values = {s: certainty_loss(out, clean, torch.full_like(seen, s), seen).item()
              for s in (0.1, 0.15, 0.2, 0.27, 0.4)}  # fmt: skip
    assert min(values, key=values.get) == 0.2
    deviation = torch.full_like(seen, 0.2).requires_grad_()
    certainty_loss(out, clean, deviation, seen).backward()
    assert out.grad is None and deviation.grad.abs().sum() > 0
    found = angle(turns(5, 1), torch.eye(3))
    torch.testing.assert_close(found, roma.rotmat_to_rotvec(turns(5, 1)).norm(dim=-1))


@pytest.mark.parametrize("kept", [1.0, 0.8, 1.2])
def test_slowing_a_seen_limb_costs_what_it_takes_and_noise_does_not(kept):
    phase = torch.linspace(0, 12, 60)[None, :, None] + torch.arange(24.0)
    swing = 0.3 * phase.sin()[..., None] * torch.tensor([1.0, 0.0, 0.0])
    clean, out = (roma.rotvec_to_rotmat(scale * swing.repeat(8, 1, 1, 1)) for scale in (1.0, kept))
    seen = torch.ones(8, 60, 24)
    seen[..., LEGS] = 0
    out[..., LEGS, :, :] = torch.eye(3)  # nobody asks how what is hidden moves
    generator = torch.Generator().manual_seed(0)
    jitter = roma.rotvec_to_rotmat(0.02 * torch.randn(8, 60, 24, 3, generator=generator))
    assert float(swing_loss(out, clean, seen)) == pytest.approx(abs(1 - kept), abs=0.02)
    assert float(swing_loss(out @ jitter, clean, seen)) == pytest.approx(abs(1 - kept), abs=0.02)
    points = swing[0]
    assert slope(kept * points + 3, points)[5] == pytest.approx(kept)


def test_windows_keep_rotations_paths_and_texts_of_their_clip_together():
    class Words:
        def encode(self, names):
            return torch.tensor([[float(len(name)), 1.0] for name in names])

    library = Library(Words())
    for k, text in ((1, "wave with the left hand"), (2, "sit")):
        poses = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.1 * k, 0.0])).expand(80, 24, 3, 3)
        path = torch.full((80, 3), float(k))
        library.add(Performance(poses.numpy(), path.numpy()), [text, "", text], 1.0)
    poses, trans, text = library.closed().draw(64, torch.Generator().manual_seed(0))
    which = trans[:, :, 1].round()
    assert set(which.unique().tolist()) == {1.0, 2.0} and (which == which[:, :1]).all()
    yaw = roma.rotmat_to_rotvec(poses)[..., 5, 1].abs()
    torch.testing.assert_close(yaw, 0.1 * which, atol=1e-4, rtol=0)
    mirrored = trans[:, 0, 0] < 0
    assert 0 < mirrored.sum() < 64
    torch.testing.assert_close(roma.rotmat_to_rotvec(poses)[:, 0, 5, 1] < 0, mirrored)
    said = text[:, 1] > 0
    assert 10 < said.sum() < 54
    waving = said & (which[:, 0] == 1)
    assert (text[waving & mirrored, 0] == len("wave with the right hand")).all()
    assert (text[waving & ~mirrored, 0] == len("wave with the left hand")).all()


@pytest.mark.parametrize("kind", RIVALS)
def test_every_network_compared_reads_and_answers_alike(kind):
    network = RIVALS[kind]().eval()
    poses, seen = turns(2, 60), torch.ones(2, 60, 24)
    seen[:, :, LEGS] = 0
    with torch.no_grad():
        out, deviation = network.complete(poses, seen)
        again, _ = network.complete(poses, seen)
    assert roma.is_rotation_matrix(out, epsilon=1e-3) and deviation.shape == seen.shape
    torch.testing.assert_close(out, again)
