"""TMR's family as priors: the encoder against plain matrices, and what is made of a release."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import roma
import torch
import torch.nn.functional as F
from test_tmr_features import motion
from tmr_release import FEEDFORWARD, LAYERS, SIZES, WIDTH, release, weights, write_texts

from semtta.errors import SemttaError
from semtta.motion import load_prior
from semtta.motion.dictionary import Dictionary
from semtta.motion.tmr import ACTOREncoder, TMRPrior, load_tmr_encoder
from semtta.motion.tmr_files import Calibration, TMRFiles
from semtta.shipped import file_sha256


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=SIZES)
def folder(request, tmp_path_factory):
    return release(tmp_path_factory.mktemp("tmr") / request.param, request.param)


@pytest.fixture(scope="module")
def prior(folder):
    return load_prior("tmr", folder)


# ------------------------------------------------------------------ the encoder, matrix by matrix


def norm(x, w, name):
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x):
    return np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])


def encoded(x, w, present=None):
    """(T, inputs) -> (width,): row by row and head by head."""
    w = {key: value.double().numpy() for key, value in w.items()}
    present = [True] * len(x) if present is None else present
    rows = [*w["tokens"], *(w["projection.weight"] @ v + w["projection.bias"] for v in x)]
    width = len(rows[0])
    for t in range(len(rows)):
        for k in range(width):
            angle = t * 10000 ** (-(k - k % 2) / width)
            rows[t][k] += math.cos(angle) if k % 2 else math.sin(angle)
    seen = [True, True, *present]
    for i in range(LAYERS):
        p = f"seqTransEncoder.layers.{i}."
        qkv = [w[f"{p}self_attn.in_proj_weight"] @ r + w[f"{p}self_attn.in_proj_bias"]
               for r in rows]  # fmt: skip
        q, k, v = ([r[part * width : (part + 1) * width] for r in qkv] for part in range(3))
        mixed = []
        for t in range(len(rows)):
            heads = []
            for h in range(4):
                own = slice(h * width // 4, (h + 1) * width // 4)
                score = np.array([
                    q[t][own] @ k[s][own] / math.sqrt(width / 4) if seen[s] else -math.inf
                    for s in range(len(rows))
                ])  # fmt: skip
                share = np.exp(score - score.max())
                share /= share.sum()
                heads.append(sum(share[s] * v[s][own] for s in range(len(rows))))
            mixed.append(w[f"{p}self_attn.out_proj.weight"] @ np.concatenate(heads)
                         + w[f"{p}self_attn.out_proj.bias"])  # fmt: skip
        rows = [norm(r + m, w, f"{p}norm1") for r, m in zip(rows, mixed)]
        inner = [gelu(w[f"{p}linear1.weight"] @ r + w[f"{p}linear1.bias"]) for r in rows]
        outer = [w[f"{p}linear2.weight"] @ r + w[f"{p}linear2.bias"] for r in inner]
        rows = [norm(r + o, w, f"{p}norm2") for r, o in zip(rows, outer)]
    return rows[0]


@pytest.mark.parametrize("layout", SIZES)
def test_the_encoder_is_that_of_the_matrices(layout, tmp_path):
    state = weights(SIZES[layout])
    torch.save(state, tmp_path / "m.pt")
    encoder = load_tmr_encoder(tmp_path / "m.pt").double()
    x = torch.randn(2, 7, SIZES[layout]).double()
    present = torch.ones(2, 7, dtype=torch.bool)
    present[1, 4:] = False
    for i in range(2):
        wanted = encoded(x[i].numpy(), state)
        assert np.abs(encoder(x)[i].detach().numpy() - wanted).max() < 1e-5
        wanted = encoded(x[i].numpy(), state, present[i].tolist())
        assert np.abs(encoder(x, present)[i].detach().numpy() - wanted).max() < 1e-5
    short = encoder(x[1:, :4])
    assert (encoder(x, present)[1:] - short).abs().max() < 1e-9


def test_a_release_has_the_known_size():
    sizes = {135: 4_773_888, 186: 4_786_944, 4096: 5_787_904}
    for inputs, wanted in sizes.items():
        encoder = ACTOREncoder(inputs)
        assert len(encoder.state_dict()) == 75
        assert sum(p.numel() for p in encoder.parameters()) == wanted
        assert not encoder.tokens.any()


# ------------------------------------------------------------------ the prior


def test_features_are_unit_and_differentiable(prior):
    motions = motion(prior.length).float().requires_grad_(True)
    feature, text = prior.embed_motion(motions), prior.embed_text(["walk", "sit down"])
    assert feature.shape == text.shape == (2, WIDTH)
    for unit in (feature, text):
        assert (unit.norm(dim=-1) - 1).abs().max() < 1e-5
    (feature * text).sum().backward()
    assert motions.grad.isfinite().all() and motions.grad[:, :, 1:20].abs().amax() > 0
    assert not any(value.requires_grad for value in prior.parameters())
    assert torch.equal(prior.train().embed_motion(motions), feature)  # no dropout


def test_a_motion_goes_through_its_numbers_and_the_encoder(prior):
    motions = motion(prior.length).float()
    state = weights(prior.features.layout.size)
    for i in range(2):
        wanted = encoded(prior.features(motions)[i].double().numpy(), state)
        wanted /= np.linalg.norm(wanted)
        assert np.abs(prior.embed_motion(motions)[i].numpy() - wanted).max() < 1e-4


def test_it_reads_two_seconds_at_its_own_rate(prior):
    name = prior.features.layout.name
    assert (prior.fps, prior.length) == ((20.0, 40) if name == "humanml3d" else (30.0, 60))
    for wrong in (
        motion(prior.length + 1),
        motion(prior.length)[0],
        motion(prior.length)[:, :, 1:],
    ):
        with pytest.raises(SemttaError, match="must have shape"):
            prior.embed_motion(wrong.float())


def test_the_configuration_may_tell_another_rate_or_number_of_heads(tmp_path):
    folder = release(tmp_path / "r")
    (folder / "config.json").write_text(json.dumps({"data": {"fps": 20.0}, "x": {"fps": 20.0}}))
    assert load_prior("tmr", folder).length == 40 and load_prior("tmr", folder).fps == 20
    (folder / "config.json").write_text('{"data": {"fps": 20.0}, "render": {"fps": 30}}')
    assert load_prior("tmr", folder).fps == 30  # which one is meant is not known: the layout's
    for text, said in (('{"fps": 3}', "3 frames a second"), ('{"num_heads": 5}', "and 5 heads"),
                       ('{"num_heads": 0}', "and 0 heads"),
                       ('{"a": {"num_heads": 4}, "b": {"num_heads": 8}}', "with 4 and 8 heads"),
                       ('{"activation": "relu"}', "the activation relu")):  # fmt: skip
        (folder / "config.json").write_text(text)
        with pytest.raises(SemttaError, match=said):
            load_prior("tmr", folder)
    (folder / "config.json").unlink()
    (folder / "config.yaml").write_text("motion_encoder:\n  num_heads: 2\n  activation: 'gelu'\n")
    wanted = ACTOREncoder(135, WIDTH, LAYERS, 2, FEEDFORWARD).eval()
    wanted.load_state_dict(weights(135))
    found, motions = load_prior("tmr", folder), motion(60).float()
    seen = found.features(motions)
    assert (found.encoder(seen) - wanted(seen)).abs().max() < 1e-5
    other = ACTOREncoder(135, WIDTH, LAYERS, 4, FEEDFORWARD).eval()
    other.load_state_dict(weights(135))
    assert (other(seen) - wanted(seen)).abs().max() > 1e-3


# ------------------------------------------------------------------ exemplar roots


def test_the_root_is_the_exemplars_at_the_priors_rate(prior):
    dictionary = Dictionary.load()
    quarter = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    recorded = quarter @ dictionary.exemplar_root("spin")
    root = prior.exemplar_root("Spin")
    assert root.shape == (prior.length, 3, 3)
    for t in (0, 2, 20, prior.length - 1):
        place = t * 30 / prior.fps
        if place == int(place):
            assert (root[t] - recorded[int(place)]).abs().max() < 1e-5
        else:
            low, high = recorded[int(place)], recorded[int(place) + 1]
            assert roma.rotmat_geodesic_distance(low, root[t]) == pytest.approx(
                float(roma.rotmat_geodesic_distance(low, high)) / 2, abs=1e-3
            )
    assert torch.equal(prior.exemplar_root("kicking the ball"),
                       prior.exemplar_root("kick a soccer ball"))  # fmt: skip


def test_exemplars_of_the_user(tmp_path):
    walk = np.random.RandomState(0).standard_normal((80, 3))
    np.savez(tmp_path / "roots.npz", walk=walk, wave=np.zeros((5, 3)))
    own = load_prior("tmr", release(tmp_path / "r"), exemplars=tmp_path / "roots.npz")
    wanted = roma.rotvec_to_rotmat(torch.from_numpy(walk[:60])).float()
    assert (own.exemplar_root("walk") - wanted).abs().max() < 1e-5
    assert torch.equal(own.exemplar_root("wave"), torch.eye(3).expand(60, 3, 3))
    assert torch.equal(own.exemplar_root("walking"), own.exemplar_root("walk"))


# ------------------------------------------------------------------ sigma


def test_without_a_calibration_no_gate_opens(prior):
    assert math.isnan(prior.sigma) and prior.matched("walk") == 1.0
    assert not torch.tensor([0.9999, 1.0, 2.0]).gt(prior.sigma).any()


def test_the_calibration_lies_beside_the_folder(tmp_path):
    folder = release(tmp_path / "r")
    files = TMRFiles.find(folder)
    assert files.calibration() is None
    found = Calibration(0.43, 0.61, 0.91, 120, file_sha256(files.motion))
    found.write(tmp_path / "r.sigma.yaml")
    assert files.calibration() == found
    for path in (folder, f"{folder}/"):
        prior = load_prior("tmr", path)
        assert (prior.sigma, prior.matched("anything")) == (0.43, 0.61)
    torch.save(weights(135, seed=9), files.motion)
    with pytest.raises(SemttaError, match="of other weights .*calibrate_prior.py"):
        load_prior("tmr", folder)


@pytest.mark.parametrize("text", [
    "sigma: 0.4", "sigma: .nan\nmatched: 0.5\nauc: 0.9\nwindows: 3\nweights: a",
    "sigma: 1.4\nmatched: 0.5\nauc: 0.9\nwindows: 3\nweights: a",
    "sigma: [1]\nmatched: 0.5\nauc: 0.9\nwindows: 3\nweights: a", "- 1", "sigma: !!python/x y",
    "sigma: 0.4\nmatched: 0.5\nauc: 0.9\nwindows: 3\nweights: a\nmore: 1", "{", "",
])  # fmt: skip
def test_a_wrong_calibration_is_one_sentence(tmp_path, text):
    folder = release(tmp_path / "r")
    (tmp_path / "r.sigma.yaml").write_text(text)
    with pytest.raises(SemttaError) as refused:
        load_prior("tmr", folder)
    assert "r.sigma.yaml" in str(refused.value) and "\n" not in str(refused.value)


# ------------------------------------------------------------------ texts


def test_texts_are_read_by_the_text_encoder(tmp_path):
    folder = release(tmp_path / "r", texts=False)
    rows = write_texts(tmp_path / "t.npz", size=768, lengths=(3, 1, 5))
    prior = load_prior("tmr", folder, text_vectors=tmp_path / "t.npz")
    state, starts = weights(768, seed=1), (0, 3, 4, 9)
    features = prior.embed_text(["Run  fast!", "walk", "SIT DOWN"])
    for feature, i in zip(features, (1, 0, 2)):
        wanted = encoded(rows[starts[i] : starts[i + 1]].astype(float), state)
        assert np.abs(feature.numpy() - wanted / np.linalg.norm(wanted)).max() < 1e-5
    assert prior.embed_text([]).shape[0] == 0
    with pytest.raises(SemttaError, match="'moonwalk' has no vector in '.*t.npz'"):
        prior.embed_text(["walk", "moonwalk"])
    with pytest.raises(SemttaError, match="a list of texts"):
        prior.embed_text("walk")


def test_finished_features_need_no_text_encoder(tmp_path):
    folder = release(tmp_path / "r")
    (folder / "last_weights" / "text_encoder.pt").unlink()
    rows = torch.from_numpy(write_texts(folder / "texts.npz"))
    prior = TMRPrior.load(folder)
    assert torch.equal(prior.embed_text(["walk", "sit down"]), F.normalize(rows[[0, 2]]))


def table(path, **change):
    arrays = dict(texts=np.array(["walk", "run"]), vectors=np.ones((2, WIDTH), np.float32))
    arrays |= change
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize("change, said", [
    (dict(texts=None), "has no 'texts'"), (dict(vectors=None), "has no 'vectors'"),
    (dict(texts=np.array([1, 2])), "list of strings"),
    (dict(texts=np.array([], str)), "list of strings"),
    (dict(texts=np.array(["a", None], object)), "pickled object"),
    (dict(vectors=np.ones(2)), "rows of numbers"),
    (dict(vectors=np.ones((2, WIDTH), int)), "rows of numbers"),
    (dict(vectors=np.full((2, WIDTH), np.nan)), "not finite"),
    (dict(vectors=np.ones((3, WIDTH))), "share out 3 rows"),
    (dict(lengths=np.array([1, 2])), "share out 2 rows"),
    (dict(lengths=np.array([0, 2])), "share out"), (dict(lengths=np.array([2])), "share out"),
    (dict(lengths=np.array([1.0, 1.0])), "share out"),
    (dict(lengths=np.array([1, 2]), vectors=np.ones((3, WIDTH))), "one row for each"),
    (dict(vectors=np.ones((2, 512))), "have 512 numbers; MotionFix-TMR reads 768"),
])  # fmt: skip
def test_a_wrong_table_is_one_sentence(tmp_path, change, said):
    folder = release(tmp_path / "r", texts=False)
    table(tmp_path / "t.npz", **change)
    with pytest.raises(SemttaError, match=said):
        load_prior("tmr", folder, text_vectors=tmp_path / "t.npz")
