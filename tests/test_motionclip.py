"""MotionCLIP's encoder against the official one, and the prior that is made of it."""

from __future__ import annotations

import warnings
import zlib

import numpy as np
import pytest
import roma
import torch
import torch.nn.functional as F

from semtta.errors import SemttaError
from semtta.motion import load_prior
from semtta.motion.clip_bpe import ClipBPE
from semtta.motion.clip_text import ClipText, ClipTextTower
from semtta.motion.dictionary import Dictionary
from semtta.motion.encoder import joint_positions
from semtta.motion.exemplars import ExemplarRoots
from semtta.motion.motionclip import MotionCLIPEncoder, MotionCLIPPrior, load_motionclip
from semtta.shipped import asset

TINY = dict(width=64, layers=2, heads=4, feedforward=32)


def filled(key: str, shape) -> torch.Tensor:
    """The weights that the golden outputs were made with."""
    x = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(shape))
    is_norm = ".norm" in key and key.endswith("weight")
    return torch.from_numpy((0.02 * x + is_norm).astype(np.float32))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """Encoder read from a file like the released one: decoder and body tensors lie beside it."""
    own = MotionCLIPEncoder().state_dict()
    state = {f"encoder.{key}": filled(f"encoder.{key}", value.shape) for key, value in own.items()}
    state["encoder.sequence_pos_encoder.pe"] = own["sequence_pos_encoder.pe"]
    assert len(state) == 101
    state |= {"decoder.actionBiases": torch.zeros(1, 512),
              "rotation2xyz.smpl_model.betas": torch.zeros(1, 10)}  # fmt: skip
    path = tmp_path_factory.mktemp("motionclip") / "checkpoint_0100.pth.tar"
    torch.save(state, path)
    return load_motionclip(path)


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(0).standard_normal((2, 25, 6, 60))).float()


def clip_text(dim: int) -> ClipText:
    """A tiny random text tower."""
    bpe = ClipBPE([("w", "a"), ("l", "k")])
    torch.manual_seed(1)
    tower = ClipTextTower(bpe.size, 77, 64, 1, dim)
    for value in tower.parameters():
        torch.nn.init.normal_(value, std=0.3)
    return ClipText(tower, bpe)


def tiny(**settings) -> MotionCLIPPrior:
    torch.manual_seed(0)
    encoder = MotionCLIPEncoder(settings.pop("joints", 25), **TINY)
    torch.nn.init.normal_(encoder.muQuery)
    return MotionCLIPPrior(encoder, clip_text(64), **settings)


def tiny_state() -> dict[str, torch.Tensor]:
    own = MotionCLIPEncoder(**TINY).state_dict()
    return {f"encoder.{key}": value.clone() for key, value in own.items()}


def motion(count: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return roma.rotvec_to_rotmat(torch.randn(count, 60, 24, 3, generator=generator) * 0.4)


# ------------------------------------------------------------------ the official network


@torch.no_grad()
def test_official_features(official, x, golden):
    wanted = golden("motionclip/out.npz")
    assert (official.sequence_pos_encoder.pe[:4, 0] - wanted["pe_first4"]).abs().max() < 1e-6
    mask = torch.ones(2, 60, dtype=torch.bool)
    assert (official(x) - wanted["mu"]).abs().max() < 1e-5
    assert (official(x, mask) - wanted["mu"]).abs().max() < 1e-5
    mask[1, 45:] = False
    assert (official(x, mask) - wanted["mu_pad45"]).abs().max() < 1e-5
    still = x.clone()
    still[:, 24] = 0
    assert (official(still) - wanted["mu_zerotrans"]).abs().max() < 1e-5


def test_official_loss_and_gradient(official, x, golden):
    wanted = golden("motionclip/out.npz")
    text = torch.from_numpy(np.random.RandomState(1).standard_normal((2, 512))).float()
    x = x.clone().requires_grad_(True)
    cosine = F.cosine_similarity(official(x), text)
    loss = (1 - cosine).mean()
    loss.backward()
    assert (cosine - wanted["cos"]).abs().max() < 1e-5
    assert (loss - wanted["loss"]).abs().max() < 1e-5
    assert (x.grad[0] - wanted["grad_x0"]).abs().max() < 1e-3 * wanted["grad_x0"].abs().max()


@torch.no_grad()
def test_positions_come_from_the_checkpoint(official, x, golden):
    before = official.sequence_pos_encoder.pe
    key = "encoder.sequence_pos_encoder.pe"
    try:
        official.sequence_pos_encoder.pe = filled(key, before.shape)
        difference = official(x) - golden("motionclip/out.npz")["mu_pe_filled"]
    finally:
        official.sequence_pos_encoder.pe = before
    assert difference.abs().max() < 1e-5


@torch.no_grad()
def test_official_input_pipeline(official, golden):
    """From axis-angle and the root's path to the feature, through the prior's own rows."""
    wanted = golden("extra/motionclip_pipeline.npz")
    rotvec = torch.from_numpy(np.random.RandomState(61).standard_normal((60, 24, 3)) * 0.4)
    rotmats = roma.rotvec_to_rotmat(rotvec).float()[None]
    path = torch.from_numpy(np.random.RandomState(62).standard_normal((60, 3))).cumsum(0) * 0.01
    seen = []
    hook = official.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        prior = MotionCLIPPrior(official, clip_text(512), translation="root")
        moving = prior.embed_motion(rotmats, path.float()[None])
        still = MotionCLIPPrior(official, clip_text(512)).embed_motion(rotmats)
    finally:
        hook.remove()
    assert (seen[0][0, ..., :2] - wanted["x_first2"]).abs().max() < 1e-5
    for feature, key in ((moving, "mu"), (still, "mu_zero_translation")):
        assert (feature - F.normalize(wanted[key], dim=-1)).abs().max() < 1e-5


# ------------------------------------------------------------------ the prior


def test_prior_features_are_unit_and_differentiable():
    prior = tiny()
    rotmats = motion().requires_grad_(True)
    feature = prior.embed_motion(rotmats)
    text = prior.embed_text(["walk", "wa lk"])
    assert feature.shape == text.shape == (2, 64)
    assert (feature.norm(dim=-1) - 1).abs().max() < 1e-5
    assert (text.norm(dim=-1) - 1).abs().max() < 1e-5
    (feature * text).sum().backward()
    assert rotmats.grad[:, :, 1:, :2].abs().amax((1, 3, 4)).min() > 0  # every joint matters
    assert rotmats.grad[..., 2, :].abs().max() == 0  # the third row is not read
    assert not any(value.requires_grad for value in prior.parameters())
    assert torch.equal(prior.train().embed_motion(rotmats), feature)  # no dropout
    assert (prior.fps, prior.length, prior.sigma, prior.matched("walk")) == (30.0, 60, 0.75, 1.0)


def test_ankle_moves_about_a_fixed_pelvis():
    rest = torch.randn(24, 3)
    prior = tiny(translation="ankle", rest_joints=rest)
    seen = []
    prior.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    rotmats = motion()
    prior.embed_motion(rotmats)
    turned = rotmats.clone()
    turned[:, :, 0] = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 1.0])) @ turned[:, :, 0]
    prior.embed_motion(turned)
    row = seen[0][:, 24]  # (S, 6, 60)
    ankle = rotmats[:, :, 0] @ joint_positions(rotmats, rest)[:, :, 8, :, None]
    assert (row[:, :3].transpose(1, 2) - (ankle - ankle[:, :1])[..., 0]).abs().max() < 1e-5
    assert row[:, :, 0].abs().max() == 0 and row[:, 3:].abs().max() == 0
    assert (seen[1][:, 24, 2] - row[:, 2]).abs().max() < 1e-5  # a turn about z keeps heights
    assert (seen[1][:, 24, 0] - row[:, 0]).abs().max() > 0.1
    assert tiny(translation="ankle").rest_joints.shape == (24, 3)  # of the CC0 body


def test_encoder_without_translation_row():
    rotmats = motion()
    assert tiny(joints=24).embed_motion(rotmats).shape == (2, 64)
    assert torch.equal(tiny(joints=24).embed_motion(rotmats),
                       tiny(joints=24, translation="ankle").embed_motion(rotmats))  # fmt: skip


def test_a_new_encoder_warns_of_nothing_and_reads_up_to_five_thousand_frames():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = MotionCLIPEncoder(**TINY)
    assert encoder.sequence_pos_encoder.pe.shape == (5000, 1, 64)
    assert not encoder.muQuery.any() and not encoder.sigmaQuery.any()


def test_wrong_use_is_refused():
    with pytest.raises(SemttaError, match="must be one of zeros, root, ankle"):
        tiny(translation="pelvis")
    with pytest.raises(SemttaError, match="only then"):
        tiny(translation="root").embed_motion(motion())
    with pytest.raises(SemttaError, match="only then"):
        tiny().embed_motion(motion(), torch.zeros(2, 60, 3))
    with pytest.raises(SemttaError, match="must have shape"):
        tiny().embed_motion(motion()[:, :59])
    with pytest.raises(SemttaError, match="must have shape"):
        tiny().embed_motion(motion()[0])
    with pytest.raises(SemttaError, match="CLIP tokens"):
        tiny().embed_text(["walk " * 40])
    with pytest.raises(SemttaError, match="32 numbers"):
        MotionCLIPPrior(MotionCLIPEncoder(**TINY), clip_text(32))


def test_prior_from_files(tmp_path):
    torch.save(tiny_state(), tmp_path / "c.pth.tar")
    text = clip_text(64)
    torch.save(text.tower.state_dict(), tmp_path / "clip.pt")
    (tmp_path / "bpe.txt").write_text("#version: 0.2\nw a\nl k\n", encoding="utf8")
    np.savez(tmp_path / "roots.npz", walk=np.zeros((60, 3)))
    own = load_prior("motionclip", tmp_path / "c.pth.tar", clip=tmp_path / "clip.pt",
                     bpe=tmp_path / "bpe.txt", exemplars=tmp_path / "roots.npz",
                     translation="ankle")  # fmt: skip
    assert own.exemplars.labels == ("walk",) and own.translation == "ankle"
    prior = MotionCLIPPrior.load(tmp_path / "c.pth.tar", tmp_path / "clip.pt",
                                 bpe=tmp_path / "bpe.txt", sigma=0.5)  # fmt: skip
    assert torch.equal(prior.embed_text(["walk"]), text.encode(["walk"]))
    assert prior.exemplars.labels == Dictionary.load().labels
    assert (prior.sigma, prior.translation, prior.rest_joints) == (0.5, "zeros", None)
    assert prior.embed_motion(motion()).shape == (2, 64)
    assert roma.is_rotation_matrix(prior.exemplar_root("an unknown text"), epsilon=1e-3)


# ------------------------------------------------------------------ exemplar roots


def test_without_exemplars_the_root_is_constant():
    root = tiny().exemplar_root("anything")
    assert root.shape == (60, 3, 3)
    assert torch.equal(root[59], torch.diag(torch.tensor([1.0, -1.0, -1.0])))
    assert root[0, :2].flatten().tolist() == [1, 0, 0, 0, -1, 0]
    assert tiny().to("meta").exemplar_root("anything").device.type == "meta"


def test_exemplars_of_the_user(tmp_path):
    walk = np.random.RandomState(0).standard_normal((80, 3))
    wave = roma.rotvec_to_rotmat(torch.randn(10, 3)).numpy()
    np.savez(tmp_path / "roots.npz", **{"walk": walk, "wave and bow": wave})
    prior = tiny(exemplars=ExemplarRoots.load(tmp_path / "roots.npz"))
    wanted = roma.rotvec_to_rotmat(torch.from_numpy(walk[:60])).float()
    assert (prior.exemplar_root("Walk ") - wanted).abs().max() < 1e-5
    bow = prior.exemplar_root("wave and bow")
    assert np.array_equal(bow[:10], wave) and torch.equal(bow[59], bow[9])
    text = prior.embed_text(["walk", "wave and bow", "wave bow"])
    nearest = ("walk", "wave and bow")[int((text[:2] @ text[2]).argmax())]
    assert torch.equal(prior.exemplar_root("wave bow"), prior.exemplar_root(nearest))


@pytest.mark.parametrize("meant", [0, 1])
def test_a_phrase_means_its_label_however_near_another_is(meant):
    roots = roma.random_rotmat((2, 60))
    prior = tiny(exemplars=ExemplarRoots(("walk", "wave"), roots, {"stroll": meant}))
    assert torch.equal(prior.exemplar_root("stroll"), roots[meant])


def test_exemplars_of_the_library_stand_upright_in_z():
    dictionary = Dictionary.load()
    exemplars = ExemplarRoots.load(asset("motion/dictionary.npz"))
    assert exemplars.labels == dictionary.labels
    quarter = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # takes y to z
    assert (exemplars.roots - quarter @ dictionary.roots).abs().max() < 1e-6
    roots = exemplars.roots[exemplars.find("walk")]
    up = roots @ torch.tensor([0.0, 1.0, 0.0])
    assert up[:, 2].min() > 0.8
    facing = roots[0] @ torch.tensor([0.0, 0.0, 1.0])
    assert facing[1] < -0.9
    phrase = dictionary.phrases[-1]
    assert exemplars.find(phrase) == dictionary.find(phrase)
    assert exemplars.find("no such thing") is None


def test_a_label_of_the_users_goes_before_a_phrase():
    roots = torch.eye(3).expand(2, 60, 3, 3)
    exemplars = ExemplarRoots(("walk", "run"), roots, {"run": 0, "jog": 1})
    found = [exemplars.find(text) for text in ("WALK", "run", " Jog", "sit")]
    assert found == [0, 1, 1, None]


def test_wrong_exemplar_files_are_refused(tmp_path):
    with pytest.raises(SemttaError, match="there is no file"):
        ExemplarRoots.load(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("walk")
    np.savez(tmp_path / "shape.npz", walk=np.zeros((5, 4)))
    np.savez(tmp_path / "scaled.npz", walk=np.zeros((5, 3, 3)))
    np.savez(tmp_path / "larger.npz", walk=np.tile(1.05 * np.eye(3), (5, 1, 1)))
    np.savez(tmp_path / "nan.npz", walk=np.array(((0, 0, 0), (0, np.nan, 0))))
    np.savez(tmp_path / "none.npz", walk=np.zeros((0, 3)))
    for name in ("text", "shape", "scaled", "larger", "nan", "none"):
        with pytest.raises(SemttaError, match="does not hold exemplar roots"):
            ExemplarRoots.load(tmp_path / f"{name}.npz")
    with np.load(asset("motion/dictionary.npz")) as file:
        part = {name: file[name] for name in ("labels", "phrases", "phrase_label", "roots")}
    np.savez(tmp_path / "part.npz", **part)
    with pytest.raises(SemttaError, match="exemplar roots .*it has no poses"):
        ExemplarRoots.load(tmp_path / "part.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(SemttaError, match="no exemplar at all"):
        ExemplarRoots.load(tmp_path / "empty.npz")
