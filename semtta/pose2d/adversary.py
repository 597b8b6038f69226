"""The adversary that several methods share: gradient reversal and a judge of pooled features."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return -ctx.strength * gradient, None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """x itself; its gradient is multiplied by -strength (Ganin & Lempitsky 2015)."""
    return _Reversal.apply(x, strength)


def warm_up(step: float, steps: float, alpha: float = 1.0) -> float:
    """2 / (1 + exp(-alpha step / steps)) - 1, from 0 towards 1 (DANN: alpha 10 over a training)."""
    return 2 / (1 + math.exp(-alpha * step / steps)) - 1


class Discriminator(nn.Sequential):
    """D_f: pooled features (B, C) -> logit (B, 1) of "source" (C - hidden - hidden - 1).

    Args:
        bounded: normalise what is read (not in the paper). Batch statistics bound the features;
            where batch norms are frozen nothing does, and the adversary drove those of the target
            to ten times their size within 300 steps, PCK to 0.
    """

    def __init__(self, channels: int, hidden: int = 1024, bounded: bool = False):
        super().__init__(
            nn.LayerNorm(channels, elementwise_affine=False) if bounded else nn.Identity(),
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 1),
        )  # fmt: skip


def adversarial_loss(
    discriminator: nn.Module, source: Tensor, target: Tensor, strength: float
) -> tuple[Tensor, float]:
    """L_adv (Eq. 9, 10), with one gradient reversal for both domains.

    The equations are a two-step GAN, the text says "using a Gradient Reversal Layer": with it the
    same cross-entropy (source 1, target 0) trains D_f, and reversed the features.

    Args:
        source, target: (B, C) pooled features.
        strength: of the reversal.

    Returns:
        the loss and the share of images that the discriminator tells right.
    """
    features = torch.cat((source, target)).float()
    logits = discriminator(reverse_gradient(features, strength))[:, 0]
    is_source = torch.cat((source.new_ones(len(source)), source.new_zeros(len(target)))).float()
    right = float(((logits > 0) == (is_source > 0)).float().mean())
    return F.binary_cross_entropy_with_logits(logits, is_source), right
