"""Text features without a language model: a static table of word-piece vectors.

The shipped table was distilled from all-MiniLM-L6-v2 (Apache-2.0, see NOTICE) by
``tools/build_text_table.py``. A text's feature is the mean of its pieces' vectors, so word order
and negation are lost; for short names of actions that costs little.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.engine import make_generator
from semtta.errors import SemttaError
from semtta.motion.wordpiece import cut, plain
from semtta.reading import read_npz, reading
from semtta.shipped import asset

_WHAT = "text table of tools/build_text_table.py"


def text_key(text: str) -> str:
    """By which two texts are the same: neither case nor spaces count."""
    return " ".join(text.lower().split())


class TextEncoder:
    """Word pieces -> mean vector -> unit feature.

    Args:
        pieces: the vocabulary, continuations marked with a leading ``##``.
        table: (V, D) float vectors, their weights included.
    """

    name = "table"  # as ``labels.text`` has it

    def __init__(self, pieces: Sequence[str], table: Tensor):
        self._index = {piece: i for i, piece in enumerate(pieces)}
        self._table = table
        self._longest = max(len(piece) for piece in pieces)

    @classmethod
    def load(cls, path: str | Path | None = None) -> TextEncoder:
        """The shipped table, or another one made by ``tools/build_text_table.py``."""
        path = Path(path) if path else asset("motion/text_table.npz")
        file = read_npz(path, _WHAT, ("rows", "scale", "pieces"))
        with reading(path, _WHAT):
            names = bytes(file["pieces"]).decode("utf8").split("\n")
            rows, scale = (file[name].astype(np.float32) for name in ("rows", "scale"))
            if rows.ndim != 2:
                raise ValueError(f"its rows have the shape {rows.shape}")
            table = torch.from_numpy(rows * np.broadcast_to(scale, rows.shape))
        if len(names) != len(table):
            raise SemttaError(f"the text table '{path}' has {len(table)} rows for {len(names)} "
                              "word pieces; make it anew.")  # fmt: skip
        return cls(names, table)

    @property
    def dim(self) -> int:
        return self._table.shape[1]

    def has_word(self, word: str) -> bool:
        """Whether a word is in the vocabulary, in one piece."""
        return word in self._index

    def tokenize(self, text: str) -> list[int]:
        """Ids of the word pieces of lower-cased, accent-free words; greedy, longest first.

        A word with a character that the table does not know has none."""
        words = re.findall(r"[^\W_]+", plain(text))
        return [i for word in words for i in cut(word, self._index, self._longest)]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit features (L, D), float32 on the CPU.

        Raises ``SemttaError`` for a text that is empty or has no word that the table knows.
        """
        if isinstance(texts, str):
            raise SemttaError("texts must be a list of texts, not one text.")
        features = []
        for text in texts:
            ids = self.tokenize(text)
            if not ids:
                raise SemttaError(f"the text {text!r} has no word that the text encoder knows; "
                                  "describe the action in plain English.")  # fmt: skip
            features.append(self._table[ids].mean(0))
        if not features:
            return torch.zeros(0, self.dim)
        return F.normalize(torch.stack(features))


def random_directions(names: Sequence[str], size: int, seed: int) -> Tensor:
    """(L, size) random unit vectors, the same for a name in every video."""
    rows = []
    for name in names:
        generator = make_generator(zlib.crc32(f"{seed} {name}".encode()))
        rows.append(torch.randn(size, generator=generator))
    return F.normalize(torch.stack(rows))
