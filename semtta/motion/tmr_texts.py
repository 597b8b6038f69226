"""Texts as TMR's family reads them: states that another program's language model made.

The language models are large (DistilBERT, or Llama 3 for TMR-SOMA) and a handful of labels is all
that an adaptation asks for, so their states come as a table, an npz file with

    texts    (L,) strings; neither case, spaces nor a final stop count
    vectors  (N, D) float
    lengths  (L,) integers: how many rows of ``vectors`` each text has, in order; may be left out
             where every text has one

D is 768 (DistilBERT's last hidden states, one row a token, [CLS] and [SEP] among them), 4096
(LLM2Vec, one row a text), or the encoder's own width for finished features. docs/priors.md has the
lines of Python that make one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.motion.text import text_key
from semtta.reading import read_npz, reading

_WHAT = "table of text vectors"
_LONGEST = 512  # tokens that DistilBERT reads


def _key(text: str) -> str:
    return text_key(text.strip().rstrip(".!?"))


class TMRTexts(nn.Module):
    """A table of texts and the encoder that reads it; frozen.

    Args:
        texts: L texts.
        vectors: for each, (n, D) states, or (1, width) a finished feature.
        encoder: (L, n, D) and mask -> (L, width); None where the features are finished.
        source: the table's file, for messages.
    """

    def __init__(self, texts: Sequence[str], vectors: Sequence[Tensor], encoder: nn.Module | None,
                 source: str | Path = "the table of texts"):  # fmt: skip
        super().__init__()
        self.texts, self.vectors, self.source = tuple(texts), tuple(vectors), source
        self.encoder = encoder
        self._row = {_key(text): i for i, text in reversed(list(enumerate(texts)))}
        self.requires_grad_(False).eval()

    def __contains__(self, text: str) -> bool:
        return _key(text) in self._row

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """(L, width) unit features, on the encoder's device.

        Raises ``SemttaError`` naming a text that the table does not have."""
        if isinstance(texts, str):
            raise SemttaError("texts must be a list of texts, not one text.")
        for text in texts:
            if text not in self:
                raise SemttaError(f"the label '{text[:60]}' has no vector in '{self.source}'; add "
                                  "it (docs/priors.md says how).")  # fmt: skip
        rows = [self.vectors[self._row[_key(text)]] for text in texts]
        if not rows:
            return self.vectors[0][:0]
        if self.encoder is None:
            return F.normalize(torch.cat(rows))
        device = next(self.encoder.parameters()).device
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        present = torch.arange(padded.shape[1], device=device) < lengths[:, None]
        return F.normalize(self.encoder(padded, present))


def read_text_vectors(path: str | Path) -> tuple[list[str], list[Tensor]]:
    """Texts and their (n, D) states from a table; raises ``SemttaError`` for anything else."""
    found = read_npz(path, _WHAT, ("texts", "vectors", "lengths"))
    with reading(path, _WHAT):
        texts, vectors = found["texts"], found["vectors"]
        if texts.ndim != 1 or texts.dtype.kind != "U" or not len(texts):
            raise ValueError("'texts' must be a list of strings")
        if vectors.ndim != 2 or vectors.dtype.kind != "f":
            raise ValueError("'vectors' must be rows of numbers")
        lengths = found.get("lengths", np.ones(len(texts), np.int64))
        fits = lengths.shape == texts.shape and lengths.dtype.kind in "iu"
        fits = fits and lengths.min() > 0 and lengths.max() <= _LONGEST
        if not fits or int(lengths.sum()) != len(vectors):
            raise ValueError(f"'lengths' does not share out {len(vectors)} rows of 'vectors' "
                             f"among {len(texts)} texts")  # fmt: skip
        if not np.isfinite(vectors).all():
            raise ValueError("'vectors' has numbers that are not finite")
        rows = torch.from_numpy(vectors.astype(np.float32)).split(lengths.tolist())
        return [str(text) for text in texts], list(rows)
