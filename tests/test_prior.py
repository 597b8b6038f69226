"""The embedded priors on one held-out recorded walk: what opens the gate and what must not.

``golden/walk_heldout.npz`` holds 60 frames at 30 fps of axis-angle poses of a CMU walk that no
training saw (credit: see NOTICE).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roma
import torch
import torch.nn.functional as F

from semtta.errors import SemttaError
from semtta.geometry.rotations import columns_to_rotmat, gaussian_smooth, rotmat_to_columns
from semtta.motion import load_prior
from semtta.motion.encoder import joint_positions
from semtta.motion.prior import EmbeddedPrior
from semtta.motion.resample import fractional_index, resample_positions
from semtta.shipped import asset
from semtta.skeletons import SMPL24

LEGS = [i for i, n in enumerate(SMPL24.joints) if n.split("_")[-1] in ("hip", "knee", "ankle")]
GOLDEN = Path(__file__).parent / "golden" / "walk_heldout.npz"


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["embedded", "embedded-gate"])
def prior(request):
    return load_prior(request.param)


@pytest.fixture(scope="module")
def walk() -> torch.Tensor:
    with np.load(GOLDEN) as file:
        return roma.rotvec_to_rotmat(torch.from_numpy(file["pose"].astype(np.float32)))


def similarity(prior, motion: torch.Tensor, label: str) -> float:
    """Cosine of one motion (60, 24, 3, 3) with a label, the root replaced as in adaptation."""
    posed = torch.cat((prior.exemplar_root(label)[:, None], motion[:, 1:]), 1)
    with torch.no_grad():
        return float(prior.embed_motion(posed[None])[0] @ prior.embed_text([label])[0])


def frozen(walk):
    out = walk.clone()
    out[:, LEGS] = walk[:1, LEGS]
    return out


def averaged(walk):
    out = walk.clone()
    mean = roma.special_procrustes(walk[:, LEGS].mean(0))
    out[:, LEGS] = mean.expand_as(out[:, LEGS])
    return out


def smoothed(walk):
    return gaussian_smooth(walk, torch.arange(60) / 30.0, 12 / 30)


def noisy(walk):
    noise = torch.randn(*walk.shape[:2], 6, generator=torch.Generator().manual_seed(0))
    return columns_to_rotmat(rotmat_to_columns(walk) + 0.08 * noise)


def test_clean_and_noisy_walks_open_the_gate(prior, walk):
    assert similarity(prior, walk, "walk") > prior.sigma
    assert similarity(prior, noisy(walk), "walk") > prior.sigma


@pytest.mark.parametrize("collapse", [frozen, averaged, smoothed])
def test_collapsed_walks_do_not(prior, walk, collapse):
    assert similarity(prior, collapse(walk), "walk") < prior.sigma
    assert similarity(prior, noisy(collapse(walk)), "walk") < prior.sigma


@pytest.mark.parametrize(
    "label", ["sit on a chair", "kick a soccer ball", "salsa dance", "lie down", "wash a window"]
)
def test_wrong_labels_do_not(prior, walk, label):
    assert similarity(prior, walk, label) < prior.sigma


def test_a_text_far_from_all_names_does_not(prior, walk):
    assert similarity(prior, walk, "quarterly financial report") < prior.sigma


def test_free_text_is_near_its_label(prior):
    x = prior.embed_text(["a man strolls along, walking", "walk", "sit on a chair"])
    torch.testing.assert_close(x.norm(dim=-1), torch.ones(3))
    assert x[0] @ x[1] > 0.6
    assert x[0] @ x[2] < 0.3


def test_a_text_unlike_every_name_speaks_for_itself(prior):
    def own(text):
        raw = prior.dictionary.feature(text).to(prior.mean) - prior.mean
        return F.normalize(raw @ prior.whiten, dim=0)

    far, near = "knitting a scarf", "a person walks like a zombie"
    x = prior.embed_text([far, near, "zombie walk"])
    torch.testing.assert_close(x[0], own(far))
    assert x[1] @ x[2] > 0.9 and x[0] @ x[2] < 0.4


def test_root_does_not_decide(prior, walk):
    other = prior.exemplar_root("lie down")
    turned = torch.cat((other[:, None], walk[:, 1:]), 1)
    with torch.no_grad():
        value = float(prior.embed_motion(turned[None])[0] @ prior.embed_text(["walk"])[0])
    assert value > prior.sigma


def test_gate_ignores_the_root_exactly(walk):
    gate = load_prior("embedded-gate")
    turned = walk.clone()
    turned[:, 0] = roma.random_rotmat(60)
    with torch.no_grad():
        assert torch.equal(gate.embed_motion(walk[None]), gate.embed_motion(turned[None]))


def test_gradient_reaches_the_pose_and_only_the_pose(prior, walk):
    motion = averaged(walk)[None].requires_grad_(True)
    (1 - prior.embed_motion(motion)[0] @ prior.embed_text(["walk"])[0]).backward()
    assert torch.isfinite(motion.grad).all()
    assert motion.grad[0, :, LEGS].abs().amax(dim=(1, 2, 3))[:].min() > 0
    assert all(p.grad is None for p in prior.parameters())


def test_frame_rate_does_not_matter(prior, walk):
    fast = resample_positions(walk, torch.arange(119) / 2)
    back = resample_positions(fast, fractional_index(torch.arange(119) / 60, torch.arange(60) / 30))
    assert abs(similarity(prior, back, "walk") - similarity(prior, walk, "walk")) < 0.01


def test_frozen_judge_never_enters_training_mode(prior, walk):
    before = prior.embed_motion(walk[None])
    assert not prior.train().training
    assert torch.equal(before, prior.embed_motion(walk[None]))


def test_true_motion_similarity_is_above_sigma(prior):
    assert prior.sigma < prior.matched("walk") <= 1


def test_aligning_to_a_wrong_label_fools_one_prior_but_not_the_gate(walk):
    """The alignment loss pulls the similarity that it reads; the gate must read another."""
    align, gate, label = load_prior("embedded"), load_prior("embedded-gate"), "kick a soccer ball"
    root = align.exemplar_root(label)[:, None]
    columns = rotmat_to_columns(noisy(walk)[:, 1:]).requires_grad_(True)
    optimiser = torch.optim.Adam([columns], 2e-2)
    target = align.embed_text([label])[0]
    for _ in range(60):
        posed = torch.cat((root, columns_to_rotmat(columns)), 1)[None]
        loss = 1 - align.embed_motion(posed)[0] @ target
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert similarity(align, posed[0].detach(), label) > align.sigma
    assert similarity(gate, posed[0].detach(), label) < gate.sigma


def test_resampling_returns_given_frames_and_interpolates(walk):
    position = fractional_index(torch.tensor([0.0, 0.1, 0.4]), torch.arange(5) / 10)
    out = resample_positions(walk[:3], position)
    torch.testing.assert_close(out[[0, 1, 4]], walk[:3])
    step = roma.rotmat_geodesic_distance(out[1:4], out[2:5])
    torch.testing.assert_close(step[0], step[2], atol=1e-4, rtol=1e-3)  # constant speed
    eye = torch.eye(3).expand_as(out)
    torch.testing.assert_close(out @ out.transpose(-1, -2), eye, atol=1e-5, rtol=0)


def test_resampling_passes_gradients(walk):
    source = walk[:10].clone().requires_grad_(True)
    position = fractional_index(torch.arange(10) / 25, torch.arange(10) / 30)
    resample_positions(source, position).sum().backward()
    assert torch.isfinite(source.grad).all()
    assert (source.grad.abs().sum((1, 2, 3)) > 0).sum() >= 9


def test_joint_positions_of_the_rest_pose_are_the_rest_joints():
    rest = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
    posed = joint_positions(torch.eye(3).expand(2, 24, 3, 3), rest)
    torch.testing.assert_close(posed[0], rest - rest[0])


def test_wrong_input_is_one_sentence(prior, walk, tmp_path):
    with pytest.raises(SemttaError, match="shape"):
        prior.embed_motion(walk[None, :30])
    with pytest.raises(SemttaError, match="list"):
        prior.embed_text("walk")
    with pytest.raises(SemttaError, match="unknown motion prior"):
        load_prior("clip")
    with pytest.raises(SemttaError, match="no motion prior at"):
        load_prior("embedded", tmp_path / "absent.pt")
    path = tmp_path / "broken.pt"
    path.write_bytes(asset("motion/prior_align.pt").read_bytes()[:5000])
    with pytest.raises(SemttaError, match="damaged or not"):
        EmbeddedPrior.load(path)
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(SemttaError, match="is not a motion prior"):
        EmbeddedPrior.load(path)
