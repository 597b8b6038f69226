"""CLIP's byte-pair encoding: ids of the original tokenizer, and which vocabulary files it takes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import GOLDEN
from test_clip_text import MERGES, write_folder_vocabulary

from semtta.errors import SemttaError
from semtta.motion.clip_bpe import ClipBPE, _byte_characters, clean, split_words
from semtta.reading import MEBI


def test_ids_of_the_original_tokenizer():
    with np.load(GOLDEN / "functions/clip_tokens.npz") as file:
        texts, tokens = file["texts"].tolist(), file["tokens"].tolist()
    bpe = ClipBPE.load()
    assert bpe.size == 49408
    for text, wanted in zip(texts, tokens, strict=True):
        ids = bpe.encode(text)
        assert ids + [0] * (77 - len(ids)) == wanted, text


def test_cleaning():
    bpe = ClipBPE.load()
    assert bpe.encode("  Throw\ta \n BALL ") == bpe.encode("throw a ball")
    assert bpe.encode("person\u2019s &amp;amp; dog") == bpe.encode("person's & dog")
    assert bpe.encode("cafe\u0301") == bpe.encode("caf\u00e9")


def test_words():
    assert split_words("it's 12 don't!!! we've") == [
        "it", "'s", "1", "2", "don", "'t", "!!!", "we", "'ve",
    ]  # fmt: skip
    assert split_words("x\u00b2 \u65e5\u672c!'s") == ["x", "\u00b2", "\u65e5\u672c", "!'", "s"]


def test_no_text_breaks_the_tokenizer():
    bpe = ClipBPE.load()
    for text in ("", "\x00\x07", "\ud800", "\U0001f600", "<|endoftext|>", "\u0915\u094d\u092f"):
        ids = bpe.encode(text)
        assert ids[0] == bpe.start and ids[-1] == bpe.end and max(ids[:-1]) < bpe.end


def test_merges_apply_in_order():
    bpe = ClipBPE(MERGES)
    assert bpe.size == 512 + len(MERGES) + 2
    walking = 512 + MERGES.index(("walki", "ng</w>"))
    assert bpe.encode("walking") == [bpe.start, walking, bpe.end]
    assert len(bpe.encode("wal")) == 4  # wa, l</w>


def test_a_pair_is_merged_wherever_it_stands():
    bpe = ClipBPE([("a", "a"), ("a", "b")])
    assert bpe._merge("aaaaab") == ["aa", "aa", "a", "b</w>"]
    assert bpe._merge("aba") == ["ab", "a</w>"]
    assert bpe._merge("a") == ["a</w>"]


def test_typographic_quotes_become_straight_ones():
    assert clean("\u02bc\u2018\u2019\u201a\u201b \u201c\u201d\u201e\u201f") == "''''' " + 4 * '"'


def test_every_contraction_is_a_word():
    words = [
        "they",
        "'re",
        "we",
        "'ve",
        "you",
        "'ll",
        "it",
        "'s",
        "can",
        "'t",
        "i",
        "'m",
        "he",
        "'d",
    ]
    assert split_words("they're we've you'll it's can't i'm he'd") == words


def test_printable_bytes_are_themselves_and_the_others_follow_from_256():
    found = _byte_characters()
    printable = {b for b in range(256) if chr(b).isprintable() and chr(b) != " "}
    assert all(found[b] == chr(b) for b in printable)
    others = [found[b] for b in range(256) if b not in printable]
    assert others == [chr(256 + i) for i in range(len(others))]
    symbols = [found[b] for b in sorted(printable)] + others
    assert [*ClipBPE(MERGES)._ids][:512] == symbols + [symbol + "</w>" for symbol in symbols]


# ------------------------------------------------------------------ vocabulary files


def test_wrong_vocabulary_files_are_refused(tmp_path):
    with pytest.raises(SemttaError, match="missing"):
        ClipBPE.load(tmp_path / "none.gz")
    (tmp_path / "bad.gz").write_bytes(b"nonsense")
    (tmp_path / "bad.txt").write_text("#version\none\n")
    (tmp_path / "merges.txt").write_text("#version\na b\n")
    (tmp_path / "vocab.json").write_text("{}")
    for path in (tmp_path / "bad.gz", tmp_path / "bad.txt", tmp_path):
        with pytest.raises(SemttaError, match="not CLIP's vocabulary"):
            ClipBPE.load(path)


@pytest.mark.parametrize("lines", ["one\n", "a b\na b c\n", "\n\n"])
def test_lines_that_are_no_pairs_are_refused(tmp_path, lines):
    (tmp_path / "bpe.txt").write_text("#version\n" + lines)
    with pytest.raises(SemttaError, match="not CLIP's vocabulary"):
        ClipBPE.load(tmp_path / "bpe.txt")


def test_the_first_line_and_empty_ones_are_passed_over(tmp_path):
    lines = ["w a", *(" ".join(pair) for pair in MERGES)]
    (tmp_path / "bpe.txt").write_text("\n\n".join(lines))
    assert ClipBPE.load(tmp_path / "bpe.txt")._ids == ClipBPE(MERGES)._ids


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_folder_needs_both_files(tmp_path, name):
    write_folder_vocabulary(tmp_path)
    assert ClipBPE.load(tmp_path)._ids == ClipBPE(MERGES)._ids
    (tmp_path / name).unlink()
    with pytest.raises(SemttaError, match=f"{name}' is missing"):
        ClipBPE.load(tmp_path)


@pytest.mark.parametrize("change", [
    lambda ids: ids.pop("walki"),  # of a merge
    lambda ids: ids.pop("b"),
    lambda ids: ids.pop("b</w>"),
    lambda ids: ids.pop("<|startoftext|>"),
    lambda ids: ids.update({"more": len(ids)}),  # the end is not the last: it would not be found
])  # fmt: skip
def test_a_vocabulary_without_one_of_its_symbols_is_refused(tmp_path, change):
    write_folder_vocabulary(tmp_path)
    ids = dict(ClipBPE(MERGES)._ids)
    change(ids)
    (tmp_path / "vocab.json").write_text(json.dumps(ids), encoding="utf8")
    with pytest.raises(SemttaError, match="not CLIP's vocabulary"):
        ClipBPE.load(tmp_path)


def test_files_beyond_any_vocabulary_are_not_read(tmp_path):
    path = tmp_path / "bpe.txt"
    for size, message in ((16 * MEBI, "not CLIP's vocabulary"), (16 * MEBI + 1, "are not read")):
        with open(path, "wb") as file:
            file.truncate(size)
        with pytest.raises(SemttaError, match=message):
            ClipBPE.load(path)
