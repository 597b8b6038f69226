"""The embedded motion priors: does this motion show what the text says?

A prior maps texts and motions to unit vectors whose cosine is their similarity. ``sigma``, the
similarity above which a motion counts as showing its label, was calibrated on held-out motion
and belongs to the checkpoint: it says nothing about another prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, tensors
from semtta.errors import SemttaError
from semtta.motion.dictionary import Dictionary
from semtta.motion.encoder import LENGTH, AlignEncoder, GateEncoder
from semtta.motion.phrase_reader import Reading
from semtta.reading import reading
from semtta.tensor_files import read_tensors

_WHAT = "a motion prior of tools/train_prior.py"
_LARGEST = 8192  # any size of an encoder
_DEEPEST = 64  # layers
ENCODERS = {"align": AlignEncoder, "gate": GateEncoder}


class MotionPrior(Protocol):
    """What the adaptation asks of a motion-text model, which is an ``nn.Module`` besides.

    Attributes:
        fps, length: frame rate and number of frames of the motions that it reads.
        sigma: threshold of its gate; NaN = not known, and no similarity is above it.
        moving: whether it reads how the body moves about, see ``motion.movement``; may be absent,
            which means no.

    Optional: ``spoken(label)``, the label in words that the motion model was trained with, "" for
    one that it does not know: such a label pulls nothing. Without it every label is known.
    ``reading(label)``, what it takes the label for.
    """

    fps: float
    length: int
    sigma: float

    def embed_text(self, labels: Sequence[str]) -> Tensor:
        """(L, D) unit features; raises ``SemttaError`` for a text that it cannot read."""
        ...

    def embed_motion(self, rotmats: Tensor) -> Tensor:
        """(S, length, 24, 3, 3) local rotations, the root's as :meth:`exemplar_root` has it
        -> (S, D) unit features; differentiable. A ``moving`` prior takes the movement, too."""
        ...

    def exemplar_root(self, label: str) -> Tensor:
        """(length, 3, 3) global rotation of a motion that the label names, in the prior's axes."""
        ...

    def matched(self, label: str) -> float:
        """Similarity that true motions of the label reach: the alignment loss stops there."""
        ...


class EmbeddedPrior(nn.Module):
    """A shipped encoder with the dictionary that it was trained on.

    The text space holds one unit vector per dictionary name: the static text feature, centred
    and whitened over the names, so that unrelated actions have a cosine of about zero. A free
    text is read as a mixture of the names that it resembles (:meth:`Dictionary.read`); one that is
    not known keeps its own feature, to which no motion comes close, and the gate stays shut.

    Args:
        encoder: (S, 60, 24, 3, 3) -> (S, D) unit.
        dictionary: names, phrases, exemplar roots.
        features: (L, D) unit vectors of the dictionary's names.
        mean, whiten: (D,), (D, D) that made them of the text features.
        sigma: calibrated threshold.
        matched: (L,) similarity that true motions of each name reach.
    """

    fps: float = 30.0
    length: int = LENGTH
    _temperature: float = 0.05  # of the softmax over the names' nearness to a free text

    features: Tensor
    mean: Tensor
    whiten: Tensor
    _matched: Tensor

    def __init__(self, encoder: nn.Module, dictionary: Dictionary, features: Tensor, mean: Tensor,
                 whiten: Tensor, sigma: float, matched: Tensor):  # fmt: skip
        super().__init__()
        self.encoder = encoder
        self.dictionary = dictionary
        self.sigma = float(sigma)
        features = F.normalize(features.float())  # stored in half precision
        for name, value in (("features", features), ("mean", mean), ("whiten", whiten),
                            ("_matched", matched)):  # fmt: skip
            self.register_buffer(name, value.float())
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: str | Path, dictionary: Dictionary | None = None) -> EmbeddedPrior:
        """A checkpoint made by ``tools/train_prior.py``; plain tensors, no pickled code."""
        saved = read_tensors(path, _WHAT)
        dictionary = dictionary or Dictionary.load()
        if not isinstance(saved, dict) or "labels" not in saved:
            raise SemttaError(f"'{path}' is not {_WHAT}.")
        with reading(path, "motion prior"):
            if tuple(saved["labels"]) != dictionary.labels:
                raise SemttaError(f"the motion prior '{path}' was trained on another dictionary; "
                                  "train it anew or pass its dictionary.")  # fmt: skip
            _check_sizes(saved["settings"])
            with torch.device("meta"):
                encoder = ENCODERS[saved["kind"]](**saved["settings"])
            encoder = load_strictly(encoder, tensors(saved["state"]), path, _WHAT)
            space = _space(saved, len(dictionary.labels), dictionary.text.dim)
            return cls(encoder, dictionary, **space)

    @property
    def moving(self) -> bool:
        """Whether it reads how the body moves about."""
        return bool(getattr(self.encoder, "moving", False))

    def train(self, mode: bool = True) -> EmbeddedPrior:
        """Always in eval mode: a frozen judge must not depend on the caller's training flag."""
        return super().train(False)

    def embed_text(self, labels: Sequence[str]) -> Tensor:
        """(L, D) unit features; raises ``SemttaError`` for a text without a known word."""
        if isinstance(labels, str):
            raise SemttaError("labels must be a list of texts, not one text.")
        known = [self.dictionary.find(label) for label in labels]
        rows = [self._free_text(label) if i is None else self.features[i]
                for label, i in zip(labels, known)]  # fmt: skip
        return torch.stack(rows) if rows else self.features[:0]

    def _free_text(self, text: str) -> Tensor:
        """Unit feature (D,) of a text that is no phrase of the dictionary.

        Of a compound text it lies between the features of its parts; one that is not known, or
        that names actions in turn, keeps its own."""
        reading = self.dictionary.read(text)
        if reading.kind == "parts":
            rows = [self.dictionary.labels.index(part) for part in reading.names]
            return F.normalize(self.features[rows].sum(0), dim=0)
        if not reading.is_known:
            raw = self.dictionary.feature(text).to(self.mean)
            return F.normalize((raw - self.mean) @ self.whiten, dim=0)
        nearness, _ = self.dictionary.nearness(text)
        weight = (nearness.to(self.features) / self._temperature).softmax(0)
        return F.normalize(weight @ self.features, dim=0)

    def reading(self, label: str) -> Reading:
        """What a label is taken for; raises ``SemttaError`` for a text without a known word."""
        return self.dictionary.read(label)

    def spoken(self, label: str) -> str:
        """The label in the dictionary's names; "" if it is not known."""
        reading = self.reading(label)
        return " and ".join(reading.names) if reading.is_known else ""

    def remark(self, label: str) -> str:
        """How a label is understood, as a sentence; "" where there is nothing to guess.

        Raises ``SemttaError`` for a text without a known word."""
        return self.reading(label).remark(self.dictionary.reader.by)

    def embed_motion(self, rotmats: Tensor, movement: Tensor | None = None) -> Tensor:
        """Unit features (S, D); differentiable.

        Args:
            rotmats: (S, 60, 24, 3, 3) local rotations at 30 fps; the root (joint 0) is the
                exemplar's, or in body axes: y up, facing +z at first.
            movement: (S, 60, 13) of ``motion.movement``, for a prior that ``moves``; None = not
                known."""
        if tuple(rotmats.shape[1:]) != (LENGTH, 24, 3, 3):
            raise SemttaError(f"motion must have shape (S, {LENGTH}, 24, 3, 3), "
                              f"got {tuple(rotmats.shape)}.")  # fmt: skip
        return self.encoder(rotmats, movement)

    def exemplar_root(self, label: str) -> Tensor:
        """(60, 3, 3) global rotation of the nearest name's exemplar."""
        return self.dictionary.exemplar_root(label).to(self.features)

    def matched(self, label: str) -> float:
        """Similarity that true motions of the nearest name reach."""
        return float(self._matched[self.dictionary.labels.index(self.dictionary.nearest(label))])


def _check_sizes(settings: dict) -> None:
    """Raise ``ValueError`` for an encoder that no memory or time would hold."""
    for name, value in settings.items():
        most = _DEEPEST if name == "layers" else _LARGEST
        values = value if isinstance(value, (tuple, list)) else (value,)
        if len(values) > _DEEPEST or not all(0 <= v <= most for v in values):
            raise ValueError(f"'{name}' of its encoder is {value!r}"[:80])


def _space(saved: dict, labels: int, dim: int) -> dict:
    """The text space of a checkpoint; raises ``ValueError`` for wrong shapes."""
    width = saved["features"].shape[1]
    shapes = {"features": (labels, width), "mean": (dim,), "whiten": (dim, width),
              "matched": (labels,)}  # fmt: skip
    for name, shape in shapes.items():
        if tuple(saved[name].shape) != shape or not torch.isfinite(saved[name]).all():
            raise ValueError(f"'{name}' is not {shape} finite numbers")
    return {**{name: saved[name].clone() for name in shapes}, "sigma": float(saved["sigma"])}
