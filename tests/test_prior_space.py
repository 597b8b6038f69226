"""How an embedded prior reads texts, and which files it refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from semtta.errors import SemttaError
from semtta.motion import load_embedded, load_prior
from semtta.motion.dictionary import Dictionary
from semtta.motion.encoder import AlignEncoder, GateEncoder
from semtta.motion.prior import EmbeddedPrior, _check_sizes
from semtta.shipped import asset

FILES = {"embedded": "motion/prior_align.pt", "embedded-gate": "motion/prior_gate.pt"}


@pytest.fixture(scope="module")
def prior():
    return load_prior()


def test_the_prior_of_the_loss_is_the_usual_one():
    assert isinstance(load_prior().encoder, AlignEncoder)
    assert isinstance(load_embedded().encoder, AlignEncoder)
    assert isinstance(load_prior("embedded-gate").encoder, GateEncoder)


def test_a_prior_is_what_its_file_says():
    dictionary = Dictionary.load()
    for file in FILES.values():
        saved = torch.load(asset(file), weights_only=True)
        prior = EmbeddedPrior.load(asset(file), dictionary)
        assert prior.dictionary is dictionary and prior.sigma == saved["sigma"]
        rows = F.normalize(saved["features"].float(), dim=-1)
        assert torch.equal(prior.embed_text(dictionary.labels), rows)
        index = dictionary.labels.index("sit on a chair")
        assert prior.matched("sit on a chair") == float(saved["matched"].float()[index])
        root = dictionary.roots[index]
        assert torch.equal(prior.exemplar_root("sit on a chair"), root)
        assert not any(p.requires_grad for p in prior.parameters()) and not prior.training
        assert (prior.fps, prior.length) == (30.0, 60)


@pytest.mark.parametrize("text", ["somebody strolls slowly along", "climbing up a rope"])
def test_a_free_text_is_a_mixture_of_names(prior, text):
    """By how near they are, temperature 0.05."""
    assert prior.dictionary.read(text).kind == "near"
    weight = (prior.dictionary.nearness(text)[0] / 0.05).softmax(0)
    mixture = F.normalize((weight[:, None] * prior.features).sum(0), dim=0)
    torch.testing.assert_close(prior.embed_text([text])[0], mixture, atol=1e-5, rtol=0)
    assert float(mixture @ prior.features[int(weight.argmax())]) > 0.6


@pytest.mark.parametrize("text", ["knitting a scarf", "quarterly report", "run, then clap"])
def test_a_text_that_no_motion_shows_keeps_its_own_feature(prior, text):
    own = F.normalize((prior.dictionary.feature(text) - prior.mean) @ prior.whiten, dim=0)
    torch.testing.assert_close(prior.embed_text([text])[0], own, atol=1e-5, rtol=0)
    said = prior.remark(text)
    assert f"'{text}'" in said and "its gate stays shut" in said and said.endswith(".")
    assert prior.remark("walking") == ""


def test_a_compound_text_is_the_sum_of_its_parts(prior):
    both, walk, wave = prior.embed_text(
        ["walking and waving", "walk", "wave with the right hand"]
    )  # fmt: skip
    torch.testing.assert_close(both, F.normalize(walk + wave, dim=0))
    assert prior.embed_text([]).shape == (0, 128)


# ------------------------------------------------------------------ files


def changed(tmp_path, **change):
    saved = torch.load(asset(FILES["embedded"]), weights_only=True) | change
    path = tmp_path / "prior.pt"
    torch.save(saved, path)
    return path


@pytest.mark.parametrize("name", ["features", "mean", "whiten", "matched"])
def test_a_text_space_of_other_sizes_or_without_numbers_is_refused(tmp_path, name):
    value = torch.load(asset(FILES["embedded"]), weights_only=True)[name].clone()
    for wrong in (value[:-1], value.index_fill(0, torch.tensor([0]), torch.nan)):
        with pytest.raises(SemttaError, match=f"'{name}' is not .* finite numbers"):
            EmbeddedPrior.load(changed(tmp_path, **{name: wrong}))


def test_a_prior_of_another_dictionary_is_refused(tmp_path):
    with pytest.raises(SemttaError, match="trained on another dictionary"):
        EmbeddedPrior.load(changed(tmp_path, labels=["walk", "run"]))
    saved = torch.load(asset(FILES["embedded"]), weights_only=True)
    del saved["settings"]
    torch.save(saved, tmp_path / "less.pt")
    with pytest.raises(SemttaError, match="^motion prior '.*less.pt' cannot be read: it has no"):
        EmbeddedPrior.load(tmp_path / "less.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(SemttaError, match="is not a motion prior of tools/train_prior.py"):
        EmbeddedPrior.load(tmp_path / "list.pt")


def test_encoders_larger_than_any_use_are_refused():
    _check_sizes({"layers": 64, "width": 8192, "dilations": (0,) * 64})
    for wrong in ({"layers": 65}, {"width": 8193}, {"width": -1}, {"dilations": [1] * 65},
                  {"dilations": (1, 8193)}):  # fmt: skip
        with pytest.raises(ValueError, match="of its encoder is"):
            _check_sizes(wrong)


def test_motion_of_another_shape_is_refused(prior):
    for shape in ((60, 24, 3, 3), (1, 59, 24, 3, 3), (1, 60, 23, 3, 3)):
        with pytest.raises(SemttaError, match="motion must have shape"):
            prior.embed_motion(torch.zeros(shape))


def test_a_prior_made_in_training_mode_still_judges(prior):
    made = EmbeddedPrior(nn.Dropout(), prior.dictionary, prior.features, prior.mean, prior.whiten,
                         0.5, torch.ones(len(prior.features)))  # fmt: skip
    assert not made.training and not made.encoder.training
