"""The network of the motion denoiser: a small transformer over time on 6D rotations.

Its result is equivariant to the camera: rotating every global orientation of the input rotates
the output alike, whatever the tilt, because the network only sees orientations relative to
their mean over the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.geometry import columns_to_rotmat, rotmat_to_columns

WINDOW = 60  # frames at 30 fps, 2 s
JOINTS = 24
_LARGEST = (4096, 64, 256, WINDOW, 8192)  # width, layers, heads, patch, text_dim
_SIGMAS = (1.0, 2.0, 4.0)  # frames; Gaussians that the network mixes per joint and frame
_GUESS_SIGMA = 4.0  # frames; filter of the input as it is, guesses about the unseen included
_CANDIDATES = 1 + len(_SIGMAS) + 2


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
    """Denoises and completes windows of SMPL rotations.

    Per joint and frame the output is a mixture of six candidates plus a correction: the input,
    filled linearly over what was not seen; three Gaussians of that; and the regressor's own
    guesses, filtered and averaged over the window. The mixture makes a good smoother of an
    untrained network; the correction is what it learns about motion.
    """

    kernels: Tensor
    guess_kernels: Tensor

    def __init__(self, config: DenoiserConfig = DenoiserConfig()):
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch
        tokens = WINDOW // patch
        self.embed = nn.Linear(patch * JOINTS * 19, width)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.text = nn.Linear(config.text_dim, width)
        self.no_text = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(_Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.correction = nn.Linear(width, patch * JOINTS * 6)
        self.mixture = nn.Linear(width, patch * JOINTS * _CANDIDATES)
        for head in (self.correction, self.mixture):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        frame = torch.arange(float(WINDOW))
        kernels = [torch.exp(-0.5 * ((frame[:, None] - frame) / s) ** 2) for s in _SIGMAS]
        self.register_buffer("kernels", torch.stack(kernels), persistent=False)
        guess = torch.exp(-0.5 * ((frame[:, None] - frame) / _GUESS_SIGMA) ** 2)
        guess = torch.stack((guess / guess.sum(1, keepdim=True), torch.ones_like(guess) / WINDOW))
        self.register_buffer("guess_kernels", guess, persistent=False)

    def forward(self, rotmats: Tensor, seen: Tensor, text: Tensor | None = None) -> Tensor:
        """Denoise windows.

        Args:
            rotmats: (S, 60, 24, 3, 3) at 30 fps, global orientation first, camera frame.
            seen: (S, 60, 24) in [0, 1]; 0 = no evidence of what this rotation moves: there the
                input counts as a guess.
            text: (S, D) label embeddings or None; rows of zeros mean "no label".
        Returns: (S, 60, 24, 3, 3) rotations in the camera frame."""
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
        smoothed = self._smooth(x, seen)
        guesses = torch.matmul(self.guess_kernels.to(x), columns.flatten(2)[:, None])
        guesses = guesses.unflatten(-1, (JOINTS, 6))
        unseen = (1 - seen)[..., None]
        features = torch.cat(
            (x, x - smoothed[:, 1], (guesses[:, 0] - x) * unseen, seen[..., None]), dim=-1
        )
        hidden = self._encode(features, text)
        shape = (len(x), WINDOW, JOINTS, -1)
        weights = self.mixture(hidden).reshape(shape).softmax(-1).permute(3, 0, 1, 2)[..., None]
        candidates = (x, *smoothed.unbind(1), *guesses.unbind(1))
        x = sum(weight * candidate for weight, candidate in zip(weights, candidates))
        x = x + self.correction(hidden).reshape(shape)
        out = columns_to_rotmat(x)
        root = frame[:, None, None] @ out[:, :, :1]
        return torch.cat((root, out[:, :, 1:]), dim=2)

    def _smooth(self, x: Tensor, seen: Tensor) -> Tensor:
        """The Gaussians of x (S, 60, 24, 6), trusting what was seen: (S, 3, 60, 24, 6)."""
        trust = (0.1 + seen)[..., None]
        weighted = torch.cat((x * trust, trust), dim=-1).flatten(2)
        sums = torch.matmul(self.kernels.to(x), weighted[:, None]).unflatten(-1, (JOINTS, 7))
        return sums[..., :6] / sums[..., 6:]

    def _encode(self, features: Tensor, text: Tensor | None) -> Tensor:
        """(S, 60, 24, 19), (S, D) | None -> tokens (S, 60 / patch, width)."""
        tokens = self.embed(features.reshape(len(features), WINDOW // self.config.patch, -1))
        label = self.no_text.expand(len(features), -1)
        if text is not None:
            if text.shape != (len(features), self.config.text_dim):
                raise SemttaError(
                    f"the denoiser wants label embeddings ({len(features)}, "
                    f"{self.config.text_dim}), not {tuple(text.shape)}; use TextEncoder's."
                )
            given = text.abs().sum(1, keepdim=True) > 0
            label = torch.where(given, self.text(text.to(features)), label)
        tokens = tokens + self.position + label[:, None]
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


def _relative(x: Tensor, frame: Tensor) -> Tensor:
    """Columns (S, T, J, 6) with the global rotation (joint 0) relative to frame (S, 3, 3)."""
    columns = x[:, :, 0].unflatten(-1, (2, 3)) @ frame[:, None]  # row vectors: c^T F = (F^T c)^T
    return torch.cat((columns.flatten(-2)[:, :, None], x[:, :, 1:]), dim=2)


def fill_unseen(x: Tensor, seen: Tensor) -> Tensor:
    """Interpolate linearly over frames that were not seen; joints never seen stay as they are.

    Args:
        x: (S, T, J, C) values.
        seen: (S, T, J) in [0, 1]; frames of at least 0.5 are the support, others are blended
            between their own value (seen 0.5) and the interpolation (seen 0).
    Returns: (S, T, J, C)."""
    length = x.shape[1]
    support = seen >= 0.5
    frame = torch.arange(length, device=x.device)[None, :, None].expand_as(support)
    before = torch.where(support, frame, -1).cummax(1).values
    after = torch.where(support, frame, length).flip(1).cummin(1).values.flip(1)
    before, after = (
        torch.where(before < 0, after, before),
        torch.where(after >= length, before, after),
    )
    never = before >= length  # no support on either side
    before, after = (torch.where(never, frame, side) for side in (before, after))

    def take(index: Tensor) -> Tensor:
        return x.gather(1, index[..., None].expand_as(x))

    ratio = (frame - before) / (after - before).clamp_min(1)
    filled = torch.lerp(take(before), take(after), ratio[..., None].to(x))
    return torch.lerp(filled, x, (2 * seen).clamp(max=1)[..., None])
