"""Releases of TMR's family as files: strict keys, what is missing, and nothing in them is run."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from test_motionclip_files import _Bomb
from test_tmr_features import motion
from tmr_release import (
    SIZES,
    human_skeleton,
    release,
    soma_skeleton,
    statistics,
    weights,
    write_texts,
)

from semtta.config import load_config
from semtta.doctor import examine
from semtta.errors import SemttaError
from semtta.motion import load_prior
from semtta.motion.tmr import load_tmr_encoder
from semtta.motion.tmr_files import Calibration, TMRFiles
from semtta.shipped import file_sha256
from semtta.tta.strategies import load_networks
from semtta.tta.strategy import Networks
from semtta.tta.used_files import used_files


def lightning(path, beside=None):
    """All of the model in one file, with the prefixes of its parts."""
    state = {f"motion_encoder.{key}": value for key, value in weights(135).items()}
    state |= {f"text_encoder.{key}": value for key, value in weights(768, seed=1).items()}
    state |= {"motion_decoder.final_layer.bias": torch.ones(135)}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state, "epoch": 3, **(beside or {})}, path)
    return path


def same(encoder, state) -> bool:
    own = encoder.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


def test_an_encoder_comes_from_its_own_file_or_from_lightnings(tmp_path):
    torch.save(weights(135), tmp_path / "m.pt")
    torch.save({f"module.{key}": value for key, value in weights(135).items()}, tmp_path / "p.pt")
    whole = lightning(tmp_path / "last.ckpt")
    for path in (tmp_path / "m.pt", tmp_path / "p.pt", whole):
        assert same(load_tmr_encoder(path), weights(135))
    assert same(load_tmr_encoder(whole, "text_encoder"), weights(768, seed=1))
    encoder = load_tmr_encoder(tmp_path / "m.pt")
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())


LINEAR = "seqTransEncoder.layers.0.linear1.bias"


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("tokens"), "lacks 'tokens'"),
    (lambda s: s.update(more=torch.ones(2)), "unknown tensor 'more'"),
    (lambda s: s["tokens"].fill_(torch.nan), "not finite"),
    (lambda s: s.update(tokens=torch.ones(1, 16)), r"'tokens' is \(1, 16\)"),
    (lambda s: s.pop(LINEAR), "no projection and transformer"),
    (lambda s: s.pop("projection.weight"), "no projection and transformer"),
    (lambda s: s.update({"projection.weight": torch.ones(16)}), "no projection and transformer"),
    (lambda s: s.update({LINEAR: torch.tensor(1.0)}), "no projection and transformer"),
    (lambda s: s.update({"projection.weight": torch.ones(15, 135)}), "of width 15"),
    (lambda s: s.update({f"seqTransEncoder.layers.{i}.x": torch.ones(1) for i in range(65)}),
     "has 65 layers"),
])  # fmt: skip
def test_wrong_weights_are_refused(tmp_path, change, message):
    state = weights(135)
    change(state)
    torch.save(state, tmp_path / "motion_encoder.pt")
    with pytest.raises(SemttaError, match=message):
        load_tmr_encoder(tmp_path / "motion_encoder.pt")


def test_an_encoder_of_another_kind_is_refused(tmp_path):
    folder = release(tmp_path / "r")
    torch.save(weights(251), folder / "last_weights" / "motion_encoder.pt")  # TMR on KIT
    with pytest.raises(SemttaError, match="reads 251 numbers a frame; known are 135"):
        load_prior("tmr", folder)


def test_no_code_of_a_file_is_run(tmp_path):
    made = tmp_path / "made"
    lightning(tmp_path / "last.ckpt", {"hyper_parameters": _Bomb(str(made))})
    load_tmr_encoder(tmp_path / "last.ckpt")
    folder = release(tmp_path / "r")
    for name in ("stats/humanml3d/feats/mean.pt", "stats/humanml3d/feats/std.pt"):
        kept = (folder / name).read_bytes()
        torch.save(_Bomb(str(made)), folder / name)
        with pytest.raises(SemttaError, match="one tensor of numbers"):
            load_prior("tmr", folder)
        (folder / name).write_bytes(kept)
    assert not made.exists()


@pytest.mark.parametrize("name", SIZES)
def test_numbers_are_normalised_by_the_releases_own(tmp_path, name):
    folder = release(tmp_path / "r", name)
    (folder / "config.json").write_text('{"fps": 25}')
    features, (mean, std) = load_prior("tmr", folder).features, statistics(name)
    assert torch.equal(features.mean, mean) and (features.scale - std).abs().max() < 1e-4
    assert features.fps == 25.0


@pytest.mark.parametrize("name", SIZES)
def test_folders_are_found_however_they_are_named(tmp_path, name):
    folder = release(tmp_path / "r", name)
    whole = load_prior("tmr", folder)
    motions = motion(whole.length).float()
    inner = next(folder.rglob("motion_encoder.pt"))
    assert torch.equal(load_prior("tmr", inner).embed_motion(motions), whole.embed_motion(motions))
    for path in sorted(folder.rglob("*.pt")):
        if path.parent.name == "last_weights":
            shutil.move(path, folder / path.name)  # as kimodo has them
    again = load_prior("tmr", folder)
    assert torch.equal(again.embed_motion(motions), whole.embed_motion(motions))


def test_lightnings_folder(tmp_path):
    folder = release(tmp_path / "r", texts=False)
    wanted = load_prior("tmr", folder, text_vectors=_tokens(tmp_path))
    shutil.rmtree(folder / "last_weights")
    lightning(folder / "logs" / "checkpoints" / "last.ckpt")
    found = load_prior("tmr", folder, text_vectors=_tokens(tmp_path))
    motions = motion(60).float()
    assert torch.equal(found.embed_motion(motions), wanted.embed_motion(motions))
    assert torch.equal(found.embed_text(["walk"]), wanted.embed_text(["walk"]))


def _tokens(tmp_path):
    write_texts(tmp_path / "tokens.npz", size=768, lengths=(2, 3, 1))
    return tmp_path / "tokens.npz"


@pytest.mark.parametrize("name, lost, said", [
    ("motionfix", "last_weights", "has no last.ckpt; put the release's weights"),
    ("motionfix", "stats/humanml3d/feats/mean.pt", "has no mean.pt; put the release's mean"),
    ("motionfix", "stats/humanml3d/feats/std.pt", "has no std.pt"),
    ("motionfix", "texts.npz", "has no texts.npz; .* alignment.text_vectors"),
    ("humanml3d", "skeleton_example_h3d.npy", "has no skeleton_example_h3d.npy"),
    ("soma", "joints.p", "has no joints.p; put kimodo's"),
    ("soma", "stats/body/std.npy", "has no body/std.npy"),
    ("soma", "stats/global_root/mean.npy", "has no global_root/mean.npy"),
])  # fmt: skip
def test_what_is_missing_is_named(tmp_path, name, lost, said):
    folder = release(tmp_path / "r", name)
    path = folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(SemttaError, match=said):
        load_prior("tmr", folder)


def test_a_folder_of_several_models_is_not_guessed(tmp_path):
    for name in ("motionfix", "soma"):
        release(tmp_path / "models" / name, name)
    shutil.move(tmp_path / "models" / "soma", tmp_path / "models" / "a")
    (tmp_path / "models" / "a" / "last_weights").mkdir()
    shutil.move(tmp_path / "models" / "a" / "motion_encoder.pt",
                tmp_path / "models" / "a" / "last_weights")  # fmt: skip
    with pytest.raises(SemttaError, match=r"more than one motion_encoder.pt \('a/last_weights/mo"):
        load_prior("tmr", tmp_path / "models")


def test_what_is_there_twice_is_not_guessed(tmp_path):
    folder = release(tmp_path / "r")
    other = folder / "stats" / "kitml" / "feats"
    other.mkdir(parents=True)
    torch.save(torch.ones(135), other / "mean.pt")
    with pytest.raises(
        SemttaError, match=r"more than one mean.pt \('stats/humanml3d/feats/mean.pt"
    ):
        load_prior("tmr", folder)


@pytest.mark.parametrize("name, where, content, said", [
    ("soma", "joints.p", {"a": torch.ones(30, 3)}, "one tensor of numbers"),
    ("soma", "joints.p", torch.ones(30, 3).long(), "one tensor of numbers"),
    ("soma", "stats/body/mean.npy", np.ones(180, np.float32), "must be 186 finite numbers"),
    ("soma", "stats/body/mean.npy", np.ones(181, int), "array of numbers"),
    ("soma", "stats/body/mean.npy", np.array([{}]), "pickled object"),
    ("humanml3d", "skeleton_example_h3d.npy", np.ones((21, 3), np.float32), "at least 22"),
    ("motionfix", "stats/humanml3d/feats/mean.pt", torch.ones(263), "must be 135 finite numbers"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path, name, where, content, said):
    folder = release(tmp_path / "r", name)
    if where.endswith(".npy"):
        np.save(folder / where, content)
    else:
        torch.save(content, folder / where)
    with pytest.raises(SemttaError, match=said):
        load_prior("tmr", folder)


def test_skeletons_as_their_repositories_have_them(tmp_path):
    folder = release(tmp_path / "s", "soma")
    torch.save(soma_skeleton()[None], folder / "joints.p")
    assert load_prior("tmr", folder).features.bones.shape == (30, 3)
    folder = release(tmp_path / "h", "humanml3d")
    np.save(folder / "skeleton_example_h3d.npy", human_skeleton().astype(np.float64))
    assert load_prior("tmr", folder).features.lengths.shape == (21,)


def test_an_encoder_of_texts_must_belong_to_that_of_motions(tmp_path):
    folder = release(tmp_path / "r")
    text = folder / "last_weights" / "text_encoder.pt"
    for state in (weights(512), weights(768, width=20)):
        torch.save(state, text)
        with pytest.raises(SemttaError, match="does not belong to the motion encoder"):
            load_prior("tmr", folder, text_vectors=_tokens(tmp_path))
    text.unlink()
    with pytest.raises(SemttaError, match="has no text_encoder.pt"):
        load_prior("tmr", folder, text_vectors=_tokens(tmp_path))


def test_a_folder_that_is_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMTTA_CHECKPOINTS", str(tmp_path))
    with pytest.raises(SemttaError, match="alignment.checkpoint: there is no file"):
        load_prior("tmr", tmp_path / "absent")
    with pytest.raises(SemttaError, match="needs alignment.checkpoint=PATH, or tmr in"):
        load_prior("tmr")
    release(tmp_path / "tmr")
    assert load_prior("tmr").fps == 30


# ------------------------------------------------------------------ settings, doctor, benchmarks

SETTINGS = ("alignment.prior=tmr", "smoothing.kind=none", "gate.prior=same", "gate.sigma=null")


def loaded(folder, *overrides):
    config = load_config("default", [*SETTINGS, f"alignment.checkpoint={folder}", *overrides])
    return load_networks(config, True, Networks(), torch.device("cpu"))


def calibrate(folder, sigma=0.4):
    digest = file_sha256(TMRFiles.find(folder).motion)
    Calibration(sigma, 0.6, 0.9, 10, digest).write(folder.with_name("r.sigma.yaml"))


def test_a_gate_without_a_threshold_is_refused(tmp_path):
    folder = release(tmp_path / "r")
    with pytest.raises(SemttaError, match="threshold is not known: find it with tools/calibrate_p"):
        loaded(folder)
    assert loaded(folder, "gate.sigma=0.5").gate_prior.features.layout.name == "motionfix"
    beside = loaded(folder, "gate.prior=independent")
    assert beside.gate_prior is not beside.prior and beside.prior.fps == 30
    calibrate(folder)
    found = loaded(folder)
    assert found.prior is found.gate_prior and found.gate_prior.sigma == 0.4


def test_texts_may_lie_elsewhere(tmp_path):
    folder = release(tmp_path / "r", texts=False)
    write_texts(tmp_path / "mine.npz", texts=("moonwalk",))
    found = loaded(folder, f"alignment.text_vectors={tmp_path / 'mine.npz'}", "gate.sigma=0")
    assert found.prior.embed_text(["Moonwalk"]).shape[0] == 1


def test_doctor_says_what_there_is_and_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMTTA_CHECKPOINTS", str(tmp_path))

    def said():
        return next(f for f in examine() if f.what == "tmr")

    assert said().state == "optional" and "docs/priors.md" in said().detail
    folder = release(tmp_path / "tmr", "soma", texts=False)
    assert said().state == "incomplete" and "has no texts.npz" in said().detail
    write_texts(folder / "texts.npz")
    assert said().state == "ok" and "TMR-SOMA, 3 texts, no sigma" in said().detail
    digest = file_sha256(TMRFiles.find(folder).motion)
    Calibration(0.437, 0.6, 0.9, 10, digest).write(tmp_path / "tmr.sigma.yaml")
    assert "TMR-SOMA, 3 texts, sigma 0.44" in said().detail


def test_a_benchmark_tells_runs_with_other_files_apart(tmp_path):
    folder = release(tmp_path / "r")
    mine = load_config("default", [*SETTINGS, f"alignment.checkpoint={folder}"])
    before = used_files(mine)
    assert {"motion encoder", "text encoder", "mean.pt", "std.pt", "texts.npz"} <= set(before)
    calibrate(folder)
    torch.save(torch.ones(135), folder / "stats" / "humanml3d" / "feats" / "std.pt")
    write_texts(tmp_path / "mine.npz", texts=("x",))
    mine.alignment.text_vectors = str(tmp_path / "mine.npz")
    after = used_files(mine)
    assert "calibration" in after and after["mean.pt"] == before["mean.pt"]
    assert after["std.pt"] != before["std.pt"] and after["texts.npz"] != before["texts.npz"]
    absent = load_config("default", [*SETTINGS, f"alignment.checkpoint={tmp_path / 'no'}"])
    assert not set(used_files(absent)) & set(before)
