"""TMR (Petrovich et al. 2023) and its family: motion-text priors from released checkpoints.

TMR, MotionFix-TMR and NVIDIA's TMR-SOMA share this encoder for motion and for text; only the
numbers of a frame differ (``tmr_features``). How many numbers a checkpoint reads tells which it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, read_weights
from semtta.errors import SemttaError
from semtta.motion.dictionary import Dictionary
from semtta.motion.encoder import sinusoids
from semtta.motion.exemplars import ExemplarRoots
from semtta.motion.resample import resample_positions
from semtta.motion.text import TextEncoder
from semtta.motion.tmr_features import LAYOUTS, SECONDS, Layout, TMRFeatures
from semtta.motion.tmr_files import TMRFiles
from semtta.motion.tmr_texts import TMRTexts, read_text_vectors

_EXEMPLAR_FPS = 30.0
_MOST_LAYERS = 64


class ACTOREncoder(nn.Module):
    """A sequence to the mean of a Gaussian: a post-norm transformer read at its first token.

    Two learned tokens stand before the sequence; the outputs at their places are the mean and the
    logarithm of the variance, which nobody reads here.

    Args:
        inputs: numbers at each place of the sequence.
        width: channels, and D of the feature.
        layers, heads, feedforward: of the transformer.
    """

    def __init__(self, inputs: int, width: int = 256, layers: int = 6, heads: int = 4,
                 feedforward: int = 1024):  # fmt: skip
        super().__init__()
        self.projection = nn.Linear(inputs, width)
        self.tokens = nn.Parameter(torch.zeros(2, width))
        layer = nn.TransformerEncoderLayer(width, heads, feedforward, 0.1, "gelu",
                                           batch_first=True)  # fmt: skip
        self.seqTransEncoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Features, not unit.

        Args:
            x: (S, T, inputs).
            present: (S, T) bool, False where a sequence has ended; None = nowhere.
        Returns: (S, width)."""
        tokens = torch.cat((self.tokens.expand(len(x), -1, -1), self.projection(x)), 1)
        tokens = tokens + sinusoids(*tokens.shape[1:]).to(tokens)
        hidden = None if present is None else F.pad(~present, (2, 0))
        return self.seqTransEncoder(tokens, src_key_padding_mask=hidden)[:, 0]


def load_tmr_encoder(
    path: str | Path, part: str = "motion_encoder", heads: int = 4
) -> ACTOREncoder:
    """One encoder of a checkpoint, frozen, in eval mode on the CPU.

    Args:
        path: a file of this encoder alone, or Lightning's with all of the model.
        part: ``motion_encoder`` or ``text_encoder``, by which Lightning's file calls it.
        heads: of its attention, which no tensor tells.

    It must fit to the last tensor; other parts of the model are not read. Raises ``SemttaError``
    if the file is missing, damaged or something else."""
    what = f"a {part.replace('_', ' ')} of TMR's family"
    name = "projection.weight"
    weights = read_weights(path, what, known=f"{part}.{name}")
    inner = {key[len(part) + 1 :]: v for key, v in weights.items() if key.startswith(f"{part}.")}
    state = inner or weights
    prefix = "seqTransEncoder.layers."
    layers = {key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)}
    try:
        width, inputs = state[name].shape
        feedforward = len(state[f"{prefix}0.linear1.bias"])
    except (KeyError, ValueError, TypeError) as error:
        raise SemttaError(f"'{path}' is not {what}: it has no projection and transformer; give "
                          f"{part}.pt or Lightning's checkpoint.") from error  # fmt: skip
    if not 1 <= len(layers) <= _MOST_LAYERS or heads < 1 or width % heads:
        raise SemttaError(f"'{path}' is not {what}: it has {len(layers)} layers of width {width} "
                          f"and {heads} heads.")  # fmt: skip
    with torch.device("meta"):
        encoder = ACTOREncoder(inputs, width, len(layers), heads, feedforward)
    return load_strictly(encoder, state, path, what).requires_grad_(False)


class TMRPrior(nn.Module):
    """A :class:`~semtta.motion.prior.MotionPrior` of one of the family's checkpoints.

    A cosine of one encoder says nothing about another's, and the releases have no threshold for a
    gate: ``sigma`` is NaN, which opens no gate, until ``tools/calibrate_prior.py`` has found one.

    Args:
        encoder: of :func:`load_tmr_encoder`.
        features: rotations to what it reads.
        texts: labels to features of the same width.
        exemplars: global rotations by label, z up, 30 fps.
        sigma: threshold of the gate.
        matched: similarity that true motions usually reach.
    """

    def __init__(self, encoder: ACTOREncoder, features: TMRFeatures, texts: TMRTexts,
                 exemplars: ExemplarRoots, *, sigma: float = math.nan,
                 matched: float = 1.0):  # fmt: skip
        super().__init__()
        self.encoder, self.features, self.texts = encoder, features, texts
        self.exemplars, self.sigma, self._matched = exemplars, float(sigma), float(matched)
        self.fps = features.fps
        self.length = round(SECONDS * self.fps)
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, checkpoint: str | Path, texts: str | Path | None = None,
             exemplars: str | Path | None = None, *, calibrated: bool = True
             ) -> TMRPrior:  # fmt: skip
        """From the user's files.

        Args:
            checkpoint: a folder as ``tmr_files`` describes it, or its file of motion weights.
            texts: a table as ``tmr_texts`` describes it; None = ``texts.npz`` in the folder.
            exemplars: as in :meth:`ExemplarRoots.load`; None = the shipped dictionary's.
            calibrated: whether to read the threshold that lies beside it.

        Raises ``SemttaError`` for what is missing or does not fit."""
        files = TMRFiles.find(checkpoint)
        encoder = load_tmr_encoder(files.motion, heads=files.heads)
        features = files.features(layout_of(encoder, files))
        table = texts or files.table
        roots = ExemplarRoots.load(exemplars) if exemplars else ExemplarRoots.of(Dictionary.load())
        found = files.calibration() if calibrated else None
        known = {"sigma": found.sigma, "matched": found.matched} if found else {}
        return cls(encoder, features, _texts(table, encoder, features.layout, files), roots,
                   **known)  # fmt: skip

    def train(self, mode: bool = True) -> TMRPrior:
        """Always in eval mode: a frozen judge must not depend on the caller's training flag."""
        return super().train(False)

    def embed_text(self, labels: Sequence[str]) -> Tensor:
        """(L, D) unit features; raises ``SemttaError`` for a text that the table does not have."""
        return self.texts.encode(labels)

    def embed_motion(self, rotmats: Tensor) -> Tensor:
        """(S, length, 24, 3, 3) local rotations at ``fps`` -> (S, D) unit; differentiable.

        The root (joint 0) is the exemplar's, z up: never a camera's. Its heading is not read."""
        if tuple(rotmats.shape[1:]) != (self.length, 24, 3, 3):
            raise SemttaError(f"motion must have shape (S, {self.length}, 24, 3, 3), "
                              f"got {tuple(rotmats.shape)}.")  # fmt: skip
        return F.normalize(self.encoder(self.features(rotmats)))

    def exemplar_root(self, label: str) -> Tensor:
        """(length, 3, 3) global rotation, z up, of the exemplar of this or the nearest label.

        Nearness is that of the shipped text encoder: the table need not have the exemplars'."""
        index = self.exemplars.find(label)
        if index is None:
            text = TextEncoder.load()
            index = int((text.encode(self.exemplars.labels) @ text.encode([label])[0]).argmax())
        root = self.exemplars.roots[index]
        times = torch.arange(self.length) * (_EXEMPLAR_FPS / self.fps)
        return resample_positions(root, times.clamp_max(len(root) - 1)).to(self.encoder.tokens)

    def matched(self, label: str) -> float:
        """Similarity that true motions usually reach; the same for every label."""
        return self._matched


def layout_of(encoder: ACTOREncoder, files: TMRFiles) -> Layout:
    """Which of the family reads so many numbers; raises ``SemttaError`` if none does."""
    inputs = encoder.projection.in_features
    if inputs not in LAYOUTS:
        known = ", ".join(f"{size} ({layout.title})" for size, layout in LAYOUTS.items())
        raise SemttaError(f"the motion encoder of '{files.motion}' reads {inputs} numbers a frame; "
                          f"known are {known}.")  # fmt: skip
    return LAYOUTS[inputs]


def _texts(table: str | Path, encoder: ACTOREncoder, layout: Layout, files: TMRFiles) -> TMRTexts:
    """The table with the encoder that its vectors need."""
    texts, vectors = read_text_vectors(table)
    size, width = vectors[0].shape[1], encoder.tokens.shape[1]
    if size == width:
        if any(len(rows) != 1 for rows in vectors):
            raise SemttaError(f"the finished features in '{table}' must be one row for each text.")
        return TMRTexts(texts, vectors, None, table)
    if size != layout.text_size:
        raise SemttaError(f"the vectors in '{table}' have {size} numbers; {layout.title} reads "
                          f"{layout.text_size} ({layout.texts}), or {width} of finished "
                          "features.")  # fmt: skip
    if files.text is None:
        raise SemttaError(f"'{files.folder}' has no text_encoder.pt, which reads '{table}'.")
    reader = load_tmr_encoder(files.text, "text_encoder", files.heads)
    if (reader.projection.in_features, reader.tokens.shape[1]) != (size, width):
        raise SemttaError(f"the text encoder of '{files.text}' does not belong to the motion "
                          f"encoder of '{files.motion}': it reads {reader.projection.in_features} "
                          f"numbers and gives {reader.tokens.shape[1]}.")  # fmt: skip
    return TMRTexts(texts, vectors, reader, table)
