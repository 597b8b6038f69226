"""CLIP's byte-pair encoding (Radford et al. 2021): text to token ids, without other packages.

A text is cleaned, lower-cased and cut into words; a word's UTF-8 bytes are written with 256
printable characters, the last one marked ``</w>``, and neighbours are merged in the order of
the vocabulary file until no merge applies. The file (MIT, see NOTICE) is shipped.
"""

from __future__ import annotations

import gzip
import html
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from semtta.errors import SemttaError
from semtta.reading import MEBI, check_file, read_json
from semtta.shipped import asset

_MERGES = 49152 - 256 - 2  # of the longer list in the file, those that the text tower knows
_LIMIT = 16 * MEBI  # of a vocabulary file, unpacked
_START, _END = "<|startoftext|>", "<|endoftext|>"
_CONTRACTIONS = ("'re", "'ve", "'ll", "'s", "'t", "'m", "'d")
_STRAIGHT = {**dict.fromkeys(map(ord, "\u02bc\u2018\u2019\u201a\u201b"), "'"),
             **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f"), '"')}  # fmt: skip


class ClipBPE:
    """Tokenizer of CLIP's text tower.

    Args:
        merges: pairs of symbols, most frequent first.
        ids: id of every symbol; None = bytes, bytes at the end of a word, merges, start, end.
    """

    def __init__(self, merges: Sequence[tuple[str, str]], ids: Mapping[str, int] | None = None):
        self._byte = _byte_characters()
        if ids is None:
            alphabet = sorted(self._byte, key=lambda b: (ord(self._byte[b]) > 255, b))
            symbols = [self._byte[b] for b in alphabet]
            symbols += [symbol + "</w>" for symbol in symbols]
            symbols += [a + b for a, b in merges] + [_START, _END]
            ids = {symbol: i for i, symbol in enumerate(symbols)}
        self._ids = ids
        self._rank = {pair: i for i, pair in enumerate(merges)}
        self.start, self.end = ids[_START], ids[_END]

    @property
    def size(self) -> int:
        """Number of ids."""
        return max(self._ids.values()) + 1

    @classmethod
    def load(cls, path: str | Path | None = None) -> ClipBPE:
        """From ``bpe_simple_vocab_16e6.txt.gz``, or a folder with ``vocab.json``, ``merges.txt``.

        None = the shipped file. Raises ``SemttaError`` if it is missing or something else."""
        path = Path(path) if path else asset("clip/bpe_simple_vocab_16e6.txt.gz")
        files = (path / "merges.txt", path / "vocab.json") if path.is_dir() else (path,)
        for file in files:
            if not file.is_file():
                raise SemttaError(f"CLIP's vocabulary file '{file}' is missing.")
            check_file(file, "CLIP's vocabulary", _LIMIT)
        try:
            merges = _read_merges(files[0])
            if len(files) == 1:
                return cls(merges)
            ids = read_json(files[1], "CLIP's vocabulary")
            symbols = {*_byte_characters().values(), *(a + b for a, b in merges), _START, _END}
            symbols |= {symbol + "</w>" for symbol in _byte_characters().values()}
            if not symbols <= ids.keys() or max(ids.values()) != ids[_END]:
                raise ValueError("vocabulary and merges do not belong together")
            return cls(merges, ids)
        except Exception as error:  # whatever is in its place
            raise SemttaError(f"'{path}' is not CLIP's vocabulary: give its "
                              "bpe_simple_vocab_16e6.txt.gz, or a folder with vocab.json and "
                              "merges.txt.") from error  # fmt: skip

    def encode(self, text: str) -> list[int]:
        """Ids of a text between the start and the end token."""
        ids = [self.start]
        for word in split_words(clean(text)):
            ids += [self._ids[symbol] for symbol in self._merge(word)]
        return [*ids, self.end]

    def _merge(self, word: str) -> list[str]:
        """Symbols of one word."""
        symbols = [self._byte[b] for b in word.encode("utf8", "replace")]
        symbols[-1] += "</w>"
        never = len(self._rank)
        while len(symbols) > 1:
            pairs = zip(symbols, symbols[1:])
            best = min(pairs, key=lambda pair: self._rank.get(pair, never))
            if best not in self._rank:
                break
            merged, i = [], 0
            while i < len(symbols):
                step = 2 if tuple(symbols[i : i + 2]) == best else 1
                merged.append("".join(symbols[i : i + step]))
                i += step
            symbols = merged
        return symbols


def clean(text: str) -> str:
    """Composed accents, straight quotes, no HTML entities, single spaces, lower case.

    CLIP also repairs text that was decoded with a wrong encoding; labels have no need of it."""
    text = unicodedata.normalize("NFC", text).translate(_STRAIGHT)
    return " ".join(html.unescape(html.unescape(text)).split()).lower()


def split_words(text: str) -> list[str]:
    """Contractions, runs of letters, single digits, runs of anything else; spaces are dropped."""
    words, start = [], 0
    while start < len(text):
        stop = start + 1
        contraction = next((c for c in _CONTRACTIONS if text.startswith(c, start)), None)
        kind = _kind(text[start])
        if contraction:
            stop = start + len(contraction)
        elif kind != "N":
            while stop < len(text) and _kind(text[stop]) == kind:
                stop += 1
        if kind != "space":
            words.append(text[start:stop])
        start = stop
    return words


def _kind(character: str) -> str:
    if character.isspace():
        return "space"
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "other"


def _byte_characters() -> dict[int, str]:
    """A printable character for each byte: itself where it is one, else one above 255."""
    every = range(256)
    others = [b for b in every if chr(b).isspace() or not chr(b).isprintable()]
    return {b: chr(256 + others.index(b)) if b in others else chr(b) for b in every}


def _read_merges(path: Path) -> list[tuple[str, str]]:
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        text = file.read(_LIMIT).decode("utf8")
    lines = text.split("\n")[1:]  # the first line tells the version
    merges = [tuple(line.split()) for line in lines[:_MERGES] if line.strip()]
    if not merges:
        raise ValueError("no merges")
    return [(first, second) for first, second in merges]
