"""MotionCLIP (Tevet et al. 2022), the paper's motion-text prior, from its released checkpoint.

Only the motion encoder is built; its names are the checkpoint's. The text side is CLIP's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.body import load_body
from semtta.checkpoints import load_strictly, read_weights
from semtta.errors import SemttaError
from semtta.motion.clip_text import ClipText, load_clip_text
from semtta.motion.dictionary import Dictionary
from semtta.motion.encoder import joint_positions, sinusoids
from semtta.motion.exemplars import LENGTH, ExemplarRoots
from semtta.skeletons import SMPL24

SIGMA = 0.75  # of the paper; means something for the released checkpoint only
TRANSLATIONS = ("zeros", "root", "ankle")
_ANKLE = SMPL24.index("right_ankle")
_WHAT = "a MotionCLIP checkpoint"


class _Positions(nn.Module):
    pe: Tensor

    def __init__(self, width: int, longest: int = 5000):
        super().__init__()
        self.register_buffer("pe", sinusoids(longest, width)[:, None])  # (longest, 1, width)


class MotionCLIPEncoder(nn.Module):
    """Motion to an (unnormalised) CLIP feature: a post-norm transformer read at a query token.

    Args:
        joints: 25 (24 rotations and a translation), or 24 without the translation.
        width: channels, and D of the feature.
        layers, heads, feedforward: of the transformer.
    """

    def __init__(self, joints: int = 25, width: int = 512, layers: int = 8, heads: int = 4,
                 feedforward: int = 1024):  # fmt: skip
        super().__init__()
        self.joints = joints
        self.muQuery = nn.Parameter(torch.zeros(1, width))
        self.sigmaQuery = nn.Parameter(torch.zeros(1, width))  # its output is not read
        self.skelEmbedding = nn.Linear(joints * 6, width)
        self.sequence_pos_encoder = _Positions(width)
        layer = nn.TransformerEncoderLayer(width, heads, feedforward, 0.1, "gelu")
        self.seqTransEncoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features of motions.

        Args:
            x: (S, joints, 6, T), first two *rows* of each rotation, then the translation.
            mask: (S, T) bool, True where a frame is present; None = everywhere.
        Returns: (S, width)."""
        tokens = self.skelEmbedding(x.permute(3, 0, 1, 2).flatten(2))  # (T, S, width)
        queries = torch.stack((self.muQuery, self.sigmaQuery)).expand(-1, len(x), -1)
        tokens = torch.cat((queries, tokens))
        tokens = tokens + self.sequence_pos_encoder.pe[: len(tokens)]
        hidden = None if mask is None else F.pad(~mask, (2, 0))
        return self.seqTransEncoder(tokens, src_key_padding_mask=hidden)[0]


_MOST_LAYERS = 64


def load_motionclip(path: str | Path) -> MotionCLIPEncoder:
    """The encoder of a MotionCLIP checkpoint, frozen, in eval mode on the CPU.

    ``encoder.*`` must fit to the last tensor; decoder, body and CLIP tensors are not read.
    Raises ``SemttaError`` if the file is missing, damaged or something else."""
    weights = read_weights(
        path, _WHAT, lambda key: key.startswith("encoder."), known="encoder.skelEmbedding.weight"
    )
    state = {key.removeprefix("encoder."): value for key, value in weights.items()}
    prefix = "seqTransEncoder.layers."
    layers = {key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)}
    try:
        width, inputs = state["skelEmbedding.weight"].shape
        feedforward = len(state[prefix + "0.linear1.bias"])
    except (KeyError, ValueError, TypeError) as error:
        raise SemttaError(f"'{path}' is not {_WHAT}: it has no motion encoder ('encoder.*'); give "
                          "the official checkpoint_0100.pth.tar.") from error  # fmt: skip
    if not 1 <= len(layers) <= _MOST_LAYERS:
        raise SemttaError(f"the encoder of '{path}' has {len(layers)} layers, MotionCLIP's has 8.")
    if inputs not in (24 * 6, 25 * 6):
        raise SemttaError(f"the encoder of '{path}' reads {inputs} numbers a frame, not 25 (or 24) "
                          "rows of 6; other pose representations are not supported.")  # fmt: skip
    with torch.device("meta"):
        encoder = MotionCLIPEncoder(inputs // 6, width, len(layers), feedforward=feedforward)
    return load_strictly(encoder, state, path, _WHAT).requires_grad_(False)


class MotionCLIPPrior(nn.Module):
    """A :class:`~semtta.motion.prior.MotionPrior` of MotionCLIP and CLIP's text tower.

    Labels go to CLIP as they are, without a template (as in MotionCLIP's training). SMPL's two
    hand rotations stand in for the index fingers that MotionCLIP saw.

    Args:
        encoder: of :func:`load_motionclip`.
        text: CLIP ViT-B/32, the original weights.
        exemplars: global rotations by label; None = one constant upside-down root, which
            MotionCLIP itself writes over the root of what it generates.
        sigma: threshold of the gate.
        translation: what the 25th row holds. ``zeros``; ``ankle`` = the right ankle's path about
            a fixed pelvis, which is what the training code computes although it speaks of the
            root; ``root`` = the person's path, to be given to :meth:`embed_motion`. The last is
            for weights trained anew on true paths and is no setting of an adaptation: the released
            ones never saw a path, the paper's motion has no such row, and one camera's depth,
            decimetres off from frame to frame, would tell the prior of motion that is not there.
        rest_joints: (24, 3) metres, of the unposed body, for ``ankle``; None = the CC0 body's.
    """

    fps: float = 30.0
    length: int = LENGTH
    rest_joints: Tensor | None

    def __init__(self, encoder: MotionCLIPEncoder, text: ClipText,
                 exemplars: ExemplarRoots | None = None, *, sigma: float = SIGMA,
                 translation: str = "zeros", rest_joints: Tensor | None = None):  # fmt: skip
        super().__init__()
        if translation not in TRANSLATIONS:
            raise SemttaError(f"the translation of MotionCLIP must be one of "
                              f"{', '.join(TRANSLATIONS)}, not '{translation}'.")  # fmt: skip
        dim, width = text.tower.text_projection.shape[1], encoder.muQuery.shape[1]
        if dim != width:
            raise SemttaError(f"CLIP's text features have {dim} numbers, MotionCLIP's {width}; "
                              "give the text tower of CLIP ViT-B/32.")  # fmt: skip
        if rest_joints is None and translation == "ankle":
            rest_joints = load_body().joint_template
        self.encoder, self.text, self.exemplars = encoder, text, exemplars
        self.sigma, self.translation = float(sigma), translation
        self.register_buffer("rest_joints", rest_joints)
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, checkpoint: str | Path, clip: str | Path, *, bpe: str | Path | None = None,
             exemplars: str | Path | None = None, sigma: float = SIGMA,
             translation: str = "zeros") -> MotionCLIPPrior:  # fmt: skip
        """From the user's files.

        Args:
            checkpoint: MotionCLIP's ``checkpoint_0100.pth.tar``.
            clip, bpe: as in :func:`~semtta.motion.clip_text.load_clip_text`.
            exemplars: as in :meth:`ExemplarRoots.load`; None = the shipped dictionary's, z up.
            sigma, translation: as above."""
        roots = ExemplarRoots.load(exemplars) if exemplars else ExemplarRoots.of(Dictionary.load())
        encoder, text = load_motionclip(checkpoint), load_clip_text(clip, bpe)
        return cls(encoder, text, roots, sigma=sigma, translation=translation)

    def train(self, mode: bool = True) -> MotionCLIPPrior:
        """Always in eval mode: a frozen judge must not depend on the caller's training flag."""
        return super().train(False)

    def embed_text(self, labels: Sequence[str]) -> Tensor:
        """(L, D) unit features; raises ``SemttaError`` for a text that CLIP cannot hold."""
        return self.text.encode(labels)

    def embed_motion(self, rotmats: Tensor, translation: Tensor | None = None) -> Tensor:
        """(S, 60, 24, 3, 3) local rotations at 30 fps -> (S, D) unit; differentiable.

        The root (joint 0) is the exemplar's, z up: never a camera's. ``translation``
        (S, 60, 3) metres, in the root's frame, belongs to the setting ``root`` only."""
        if tuple(rotmats.shape[1:]) != (LENGTH, 24, 3, 3):
            raise SemttaError(f"motion must have shape (S, {LENGTH}, 24, 3, 3), "
                              f"got {tuple(rotmats.shape)}.")  # fmt: skip
        if (translation is None) == (self.translation == "root"):
            raise SemttaError("MotionCLIP reads the person's path with the translation 'root', and "
                              f"only then; this prior has '{self.translation}'.")  # fmt: skip
        rows = rotmats[..., :2, :].flatten(-2)  # (S, 60, 24, 6)
        if self.encoder.joints == 25:
            path = self._path(rotmats, translation)
            path = path - path[:, :1]
            rows = torch.cat((rows, F.pad(path, (0, 3))[:, :, None]), 2)
        return F.normalize(self.encoder(rows.permute(0, 2, 3, 1)))

    def _path(self, rotmats: Tensor, translation: Tensor | None) -> Tensor:
        """(S, 60, 3) metres: where the point of the 25th row goes."""
        if translation is not None:
            return translation.to(rotmats)
        if self.translation == "zeros":
            return rotmats.new_zeros(*rotmats.shape[:2], 3)
        assert self.rest_joints is not None  # see __init__
        ankle = joint_positions(rotmats, self.rest_joints.to(rotmats))[..., _ANKLE, :]
        return (rotmats[:, :, 0] @ ankle[..., None])[..., 0]

    def exemplar_root(self, label: str) -> Tensor:
        """(60, 3, 3) global rotation, z up, of the exemplar of this or else the nearest label.

        The nearest is the one with the most similar CLIP feature."""
        device = self.encoder.muQuery.device
        if self.exemplars is None:
            return torch.diag(torch.tensor([1.0, -1.0, -1.0], device=device)).repeat(LENGTH, 1, 1)
        index = self.exemplars.find(label)
        if index is None:
            feature = self.text.encode([label])[0]
            index = int((self._exemplar_features.to(feature) @ feature).argmax())
        return self.exemplars.roots[index].to(device)

    @cached_property
    def _exemplar_features(self) -> Tensor:
        assert self.exemplars is not None  # exemplar_root asks
        return self.text.encode(self.exemplars.labels)

    def matched(self, label: str) -> float:
        """Similarity that true motions of a label reach: unknown for this prior, so the most."""
        return 1.0
