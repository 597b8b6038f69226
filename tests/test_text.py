"""Static text features: meaning, determinism, hostile input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semtta.errors import SemttaError
from semtta.motion.dictionary import Dictionary
from semtta.motion.text import TextEncoder, random_directions


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return TextEncoder.load()


@pytest.fixture(scope="module")
def dictionary(text) -> Dictionary:
    return Dictionary.load(text=text)


def test_features_are_unit_and_deterministic(text):
    first = text.encode(["walk", "sit on a chair"])
    again = TextEncoder.load().encode(["walk", "sit on a chair"])
    assert first.shape == (2, text.dim)
    torch.testing.assert_close(first.norm(dim=-1), torch.ones(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("a", "near", "far"),
    [
        ("walk", "a person is walking", "sit on a chair"),
        ("climbing stairs", "walk up the staircase", "drink water"),
        ("throw a ball", "throwing something", "lie on the ground"),
        ("sitting on a chair", "take a seat", "running fast"),
    ],
)
def test_similar_phrases_are_closer(text, a, near, far):
    x = text.encode([a, near, far])
    assert x[0] @ x[1] > x[0] @ x[2] + 0.2


def test_case_accents_and_punctuation_do_not_matter(text):
    x = text.encode(["Walking!", "walking", "wälking"])
    assert torch.equal(x[0], x[1])
    assert torch.equal(x[1], x[2])


def test_rare_words_fall_into_pieces(text):
    assert len(text.tokenize("skateboardingly")) > 1


@pytest.mark.parametrize("bad", ["", "   ", "?!", "走路"])
def test_text_without_known_words_is_refused(text, bad):
    with pytest.raises(SemttaError, match="no word"):
        text.encode(["walk", bad])


def test_one_string_is_refused(text):
    with pytest.raises(SemttaError, match="list"):
        text.encode("walk")


def test_no_texts_give_no_features(text):
    assert text.encode([]).shape == (0, text.dim)


def test_broken_table_is_one_sentence(tmp_path):
    path = tmp_path / "table.npz"
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(SemttaError, match="text table"):
        TextEncoder.load(path)
    np.savez(path, rows=np.zeros((3, 4), np.int8), scale=np.ones((3, 1)),
             pieces=np.frombuffer(b"a\nb", np.uint8))  # fmt: skip
    with pytest.raises(SemttaError, match="3 rows for 2"):
        TextEncoder.load(path)


@pytest.mark.parametrize(
    "text, pieces",
    [("walking", ["walk", "##ing"]), ("Walk, up_2", ["walk", "up", "2"]), ("wal", []),
     ("ing", []), ("walkwalk", ["walk", "##w", "##alk"]), ("up walkx", ["up"]), ("ÜP", ["up"]),
     ("w", ["w"])],
)  # fmt: skip
def test_words_are_cut_into_the_longest_pieces_from_the_left(text, pieces):
    known = ["walk", "##ing", "up", "2", "w", "##w", "##alk", "##in"]
    small = TextEncoder(known, torch.eye(8)[:, :6])
    assert [known[i] for i in small.tokenize(text)] == pieces


def test_a_feature_is_the_direction_of_the_mean_piece():
    small = TextEncoder(["a", "b"], torch.tensor([[3.0, 0, 0], [0, 1, 0]]))
    found = small.encode(["a", "b a b"])
    assert small.dim == 3 and found.dtype == torch.float32
    expected = torch.tensor([[1.0, 0, 0], [3 / 13**0.5, 2 / 13**0.5, 0]])
    torch.testing.assert_close(found, expected)


def test_a_table_is_read_with_the_scale_of_each_row(tmp_path):
    rows = np.array([[1, 2], [3, -4]], np.int8)
    scale, pieces = np.array([[2.0], [0.5]]), np.frombuffer("a\nü".encode(), np.uint8)
    np.savez(tmp_path / "t.npz", rows=rows, scale=scale, pieces=pieces)
    found = TextEncoder.load(str(tmp_path / "t.npz"))
    unit = torch.tensor([[1.0, 2.0], [1.5, -2.0]])
    torch.testing.assert_close(found.encode(["a"])[0], unit[0] / unit[0].norm())
    assert found.tokenize("a") == [0]


def test_random_directions_belong_to_a_name_and_a_seed():
    first = random_directions(["walk", "run"], 5, 3)
    assert first.shape == (2, 5)
    torch.testing.assert_close(first.norm(dim=-1), torch.ones(2))
    assert torch.equal(first[[1]], random_directions(["run"], 5, 3))
    assert float((first[0] @ first[1]).abs()) < 0.999
    assert not torch.allclose(first, random_directions(["walk", "run"], 5, 4))


def test_dictionary_finds_its_own_phrases(dictionary):
    for phrase, index in zip(dictionary.phrases, dictionary.phrase_label.tolist(), strict=True):
        assert dictionary.nearest(phrase.upper()) == dictionary.labels[index]


@pytest.mark.parametrize(
    ("phrase", "label"),
    [
        ("he balances on a narrow beam", "walk on a balance beam"),
        ("the person sits in a chair", "sit on a chair"),
        ("going up the staircase", "walk upstairs"),
        ("dancing salsa with a partner", "salsa dance"),
    ],
)
def test_dictionary_reads_free_text(dictionary, phrase, label):
    assert dictionary.nearest(phrase) == label


@pytest.mark.parametrize(
    ("phrase", "parts"),
    [
        ("waving while walking", ("walk", "wave with the right hand")),  # the legs' first
        ("sit down, then stand up", ()),  # one after another is not at once
        ("walk", ()),
        ("throw with the right hand and walk", ()),  # the dictionary has it whole
        ("walk and quarterly report", ()),  # half of it is no action
        ("walk and walking", ()),
    ],
)
def test_a_compound_text_is_its_parts_unless_it_is_known_whole(dictionary, phrase, parts):
    assert dictionary.parts(phrase) == parts


def test_exemplar_roots_face_forward(dictionary):
    roots = dictionary.roots
    assert roots.shape == (len(dictionary.labels), 60, 3, 3)
    eye = torch.eye(3).expand_as(roots)
    torch.testing.assert_close(roots @ roots.transpose(-1, -2), eye, atol=1e-5, rtol=0)
    upright = dictionary.exemplar_root("walk")
    assert upright[0, 2, 2] > 0.9  # +z stays +z
    assert upright[:, 1, 1].min() > 0.9  # and up stays up


def test_broken_dictionary_is_one_sentence(tmp_path):
    path = tmp_path / "dictionary.npz"
    path.write_bytes(b"")
    with pytest.raises(SemttaError, match="motion dictionary .* cannot be read"):
        Dictionary.load(path)


def test_a_dictionary_that_points_nowhere_is_refused(tmp_path):
    from semtta.shipped import asset

    with np.load(asset("motion/dictionary.npz")) as file:
        arrays = dict(file)
    for name, wrong in (("phrase_label", len(arrays["labels"])), ("phrase_label", -1),
                        ("pose_of", len(arrays["poses"])), ("roots", np.nan)):  # fmt: skip
        spoilt = arrays[name].astype(np.float32 if name == "roots" else np.int64)
        spoilt[0] = wrong
        np.savez(tmp_path / "d.npz", **(arrays | {name: spoilt}))
        with pytest.raises(SemttaError, match=r"d\.npz' is inconsistent"):
            Dictionary.load(tmp_path / "d.npz")


def test_a_broken_text_table_is_one_sentence(tmp_path):
    path = tmp_path / "table.npz"
    scale, pieces = np.ones(3), np.frombuffer(b"a\nb\nc", np.uint8)
    for rows, why in (
        (np.ones(3), "cannot be read: its rows"),
        (np.ones((2, 4)), "has 2 rows for 3"),
    ):
        np.savez(path, rows=rows, scale=scale[: len(rows)][:, None], pieces=pieces)
        with pytest.raises(SemttaError, match=f"text table .*table.npz' {why}"):
            TextEncoder.load(path)
