"""Vision transformer (Dosovitskiy et al. 2021) as ViTPose and HMR2.0 use it: tokens only.

It has no class token, although its position embedding still has a place for one. The stochastic
depth of its training is left out: adaptation wants the network that was evaluated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

_PATCH = 16
_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention, (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, D / heads)
        x = scaled_dot_product_attention(query, key, value)
        return self.proj(x.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """(..., D) -> (..., D) through four times the width."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """(B, 3, H, W) -> (B, D, H / 16, W / 16); patches are cut with a margin of 2 pixels."""

    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, _PATCH, _PATCH, padding=2)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images)


class ViT(nn.Module):
    """The backbone.

    Args:
        width: of a token.
        depth: number of blocks.
        heads: per attention.
        grid: rows and columns of patches.
    """

    def __init__(self, width: int, depth: int, heads: int, grid: tuple[int, int]):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, grid[0] * grid[1] + 1, width))
        self.patch_embed = PatchEmbed(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.last_norm = nn.LayerNorm(width, eps=_EPS)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> tokens (B, H / 16 * W / 16, D), row by row."""
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = x + self.pos_embed[:, 1:] + self.pos_embed[:, :1]  # the class token's place counts too
        for block in self.blocks:
            x = block(x)
        return self.last_norm(x)
