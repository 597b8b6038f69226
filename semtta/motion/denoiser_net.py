"""The network of the masked motion model: a small transformer over time on 6D rotations.

Its result is equivariant to the camera: rotating every global orientation of the input, and the
root's path with them, rotates the output alike, whatever the tilt, because the network only sees
orientations and movement relative to the mean orientation of the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import roma
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.geometry import columns_to_rotmat, rotmat_to_columns
from semtta.motion.denoiser_input import ROOT_FEATURES, fill_unseen, root_movement, unseen_time

WINDOW = 60  # frames at 30 fps, 2 s
JOINTS = 24
_LARGEST = (4096, 64, 256, WINDOW, 8192)  # width, layers, heads, patch, text_dim
_SIGMAS = (1.0, 2.0, 4.0)  # frames; Gaussians that the network mixes per joint and frame
_GUESS_SIGMA = 4.0  # frames; filter of the input as it is, guesses about the unseen included
_GUESSES = 2
_CANDIDATES = 1 + len(_SIGMAS) + _GUESSES
_ROOT_SIGMAS = (1.0, 4.0)  # frames; the time scales of the root's movement
_DEVIATION = 0.15  # radians per axis, where training of the certainty starts
_LEAST, _MOST = 0.01, 1.5  # radians per axis


@dataclass(frozen=True)
class DenoiserConfig:
    """Shape of the network.

    Args:
        width: size of a token.
        layers: transformer blocks.
        heads: attention heads.
        patch: frames per token.
        text_dim: D of the text embeddings.
    """

    width: int = 192
    layers: int = 4
    heads: int = 6
    patch: int = 3
    text_dim: int = 128

    def __post_init__(self):
        sizes = (self.width, self.layers, self.heads, self.patch, self.text_dim)
        if any(type(n) is not int or not 1 <= n <= most for n, most in zip(sizes, _LARGEST)):
            raise ValueError(f"a denoiser's sizes are whole numbers from 1 to {_LARGEST}, "
                             f"not {sizes}")  # fmt: skip
        if self.width % self.heads or WINDOW % self.patch:
            raise ValueError(f"a width of {self.width} cannot have {self.heads} heads, "
                             f"nor {WINDOW} frames be cut into tokens of {self.patch}")  # fmt: skip


class _Block(nn.Module):
    """Pre-norm block over time: attention (far: rhythm), depthwise convolution (near), MLP."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_conv = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, 5, padding=2, groups=width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(S, N, width) -> (S, N, width)."""
        q, k, v = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        attended = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)))
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        x = x + self.conv(self.norm_conv(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp(self.norm_mlp(x))


class MotionDenoiser(nn.Module):
    """Denoises and completes windows of SMPL rotations, and says how sure it is.

    Per joint and frame the output is a mixture of six candidates plus a correction: the input,
    filled linearly over what was not seen; three filters of that; and the regressor's own
    guesses, filtered and averaged over the window. The mixture makes a good smoother of an
    untrained network; the correction is what it learns about motion. What is seen is not slowed:
    its filters keep the swing of a limb (a Gaussian twice: what the first pass took away is
    filtered and given back), and averages over guesses are closed to it.
    """

    kernels: Tensor
    guess_kernels: Tensor
    root_kernels: Tensor
    calibration: Tensor

    def __init__(self, config: DenoiserConfig = DenoiserConfig()):
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch
        tokens = WINDOW // patch
        self.embed = nn.Linear(patch * (JOINTS * 22 + ROOT_FEATURES), width)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.text = nn.Linear(config.text_dim, width)
        self.no_text = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(_Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.correction = nn.Linear(width, patch * JOINTS * 6)
        self.mixture = nn.Linear(width, patch * JOINTS * _CANDIDATES)
        self.deviation = nn.Linear(width, patch * JOINTS)
        for head in (self.correction, self.mixture, self.deviation):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.deviation.bias, math.log(_DEVIATION))
        # deviations are multiplied by it: set on performers that training has not seen
        self.register_buffer("calibration", torch.ones(()))
        kernels = torch.stack([_gaussian(s) for s in _SIGMAS])
        self.register_buffer("kernels", kernels, persistent=False)
        guess = torch.stack((_gaussian(_GUESS_SIGMA), torch.ones(WINDOW, WINDOW)))
        roots = torch.stack([_gaussian(s) for s in _ROOT_SIGMAS])
        for name, rows in (("guess_kernels", guess), ("root_kernels", roots)):
            rows = rows / rows.sum(2, keepdim=True)
            self.register_buffer(name, rows, persistent=False)

    def forward(
        self, rotmats: Tensor, seen: Tensor, text: Tensor | None = None, trans: Tensor | None = None
    ) -> Tensor:
        """The rotations of :meth:`complete`."""
        return self.complete(rotmats, seen, text, trans)[0]

    def complete(
        self, rotmats: Tensor, seen: Tensor, text: Tensor | None = None, trans: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Denoise and complete windows.

        Args:
            rotmats: (S, 60, 24, 3, 3) at 30 fps, global orientation first, camera frame.
            seen: (S, 60, 24) in [0, 1]; 0 = no evidence of what this rotation moves: there the
                input counts as a guess.
            text: (S, D) label embeddings or None; rows of zeros mean "no label".
            trans: (S, 60, 3) pelvis in the camera frame, metres, or None; windows of zeros mean
                that nothing is known of the root's movement.
        Returns: (S, 60, 24, 3, 3) rotations in the camera frame, and (S, 60, 24) the standard
            deviation of their errors, radians per axis."""
        if rotmats.shape[1:] != (WINDOW, JOINTS, 3, 3) or seen.shape != rotmats.shape[:3]:
            raise SemttaError(
                f"the denoiser wants rotations (S, {WINDOW}, {JOINTS}, 3, 3) and seen (S, "
                f"{WINDOW}, {JOINTS}), not {tuple(rotmats.shape)} and {tuple(seen.shape)}."
            )
        seen = seen.to(rotmats).clamp(0, 1)
        columns = rotmat_to_columns(rotmats)
        x = fill_unseen(columns, seen)
        frame = roma.special_procrustes(columns_to_rotmat(x[:, :, 0]).mean(1))
        x, columns = _relative(x, frame), _relative(columns, frame)
        guesses = torch.matmul(self.guess_kernels.to(x), columns.flatten(2)[:, None])
        guesses = guesses.unflatten(-1, (JOINTS, 6))
        candidates = torch.cat((x[:, None], self._smooth(x, seen), guesses), dim=1)
        hidden = self._encode(self._features(candidates, seen, trans, frame), text)
        out, deviation = self._decode(hidden, candidates, seen)
        root = frame[:, None, None] @ out[:, :, :1]
        return torch.cat((root, out[:, :, 1:]), dim=2), deviation

    def _smooth(self, x: Tensor, seen: Tensor) -> Tensor:
        """Filters of x (S, 60, 24, 6), trusting what was seen: (S, 3, 60, 24, 6)."""
        trust = (0.1 + seen)[..., None]
        sums = torch.matmul(self.kernels.to(x), trust.flatten(2)[:, None])[..., None]

        def filtered(y: Tensor) -> Tensor:
            total = torch.matmul(self.kernels.to(x), (y * trust[:, None]).flatten(3))
            return total.unflatten(-1, (JOINTS, 6)) / sums

        once = filtered(x[:, None])
        return once + filtered(x[:, None] - once)

    def _features(
        self, candidates: Tensor, seen: Tensor, trans: Tensor | None, frame: Tensor
    ) -> Tensor:
        """What each frame of a window is told of, (S, 60, 24 * 22 + 10)."""
        x, smoothed, guess = candidates[:, 0], candidates[:, 2], candidates[:, -_GUESSES]
        unseen = (1 - seen)[..., None]
        joints = (x, x - smoothed, (guess - x) * unseen, seen[..., None], unseen_time(seen))
        if trans is None:
            trans = x.new_zeros(*x.shape[:2], 3)
        if trans.shape != (*x.shape[:2], 3):
            raise SemttaError(f"the denoiser wants the root's path (S, {WINDOW}, 3), "
                              f"not {tuple(trans.shape)}.")  # fmt: skip
        root = root_movement(trans.to(x), frame, self.root_kernels.to(x))
        return torch.cat((torch.cat(joints, dim=-1).flatten(2), root), dim=-1)

    def _decode(self, hidden: Tensor, candidates: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens -> rotations relative to the window's frame, and their deviations."""
        shape = (len(seen), WINDOW, JOINTS, -1)
        logits = self.mixture(hidden).reshape(shape)
        closed = (1 - seen).clamp_min(1e-6).log()[..., None].expand(*seen.shape, _GUESSES)
        logits = logits + F.pad(closed, (_CANDIDATES - _GUESSES, 0))
        weights = logits.softmax(-1).permute(0, 3, 1, 2)[..., None]
        x = (weights * candidates).sum(1) + self.correction(hidden).reshape(shape)
        deviation = self.deviation(hidden).reshape(shape)[..., 0].exp() * self.calibration
        return columns_to_rotmat(x), deviation.clamp(_LEAST, _MOST)

    def _encode(self, features: Tensor, text: Tensor | None) -> Tensor:
        """(S, 60, features), (S, D) | None -> tokens (S, 60 / patch, width)."""
        tokens = self._tokens(features)
        label = self.no_text.expand(len(features), -1)
        if text is not None:
            if text.shape != (len(features), self.config.text_dim):
                raise SemttaError(
                    f"the denoiser wants label embeddings ({len(features)}, "
                    f"{self.config.text_dim}), not {tuple(text.shape)}; use TextEncoder's."
                )
            given = text.abs().sum(1, keepdim=True) > 0
            label = torch.where(given, self.text(text.to(features)), label)
        tokens = tokens + label[:, None]
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def _tokens(self, features: Tensor) -> Tensor:
        patches = features.reshape(len(features), WINDOW // self.config.patch, -1)
        return self.embed(patches) + self.position


def _gaussian(sigma: float) -> Tensor:
    """(60, 60) unnormalised Gaussians over the frames of a window."""
    frame = torch.arange(float(WINDOW))
    return torch.exp(-0.5 * ((frame[:, None] - frame) / sigma) ** 2)


def _relative(x: Tensor, frame: Tensor) -> Tensor:
    """Columns (S, T, J, 6) with the global rotation (joint 0) relative to frame (S, 3, 3)."""
    columns = x[:, :, 0].unflatten(-1, (2, 3)) @ frame[:, None]  # row vectors: c^T F = (F^T c)^T
    return torch.cat((columns.flatten(-2)[:, :, None], x[:, :, 1:]), dim=2)
