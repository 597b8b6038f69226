"""Losses on heat maps, under the names by which the papers call them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.pose2d.heatmaps import encode

_KERNEL_FLOOR = 0.01  # RegDA's fast generator drops the corners of its Gaussian


def squared_error(maps: Tensor, target: Tensor, weight: Tensor, reduction: str = "sum") -> Tensor:
    """L_sup = ||H_gt - H||^2 (Eq. 8).

    Args:
        maps, target: (B, K, H, W).
        weight: (B, K), 0 = not labelled.
        reduction: ``sum`` over joints and cells, mean over images, as Eq. 8 is printed: it starts
            near 4 pi a joint whatever the map's size, so that the weights 1, 1, 0.3 of Eq. 1 and
            a learning rate of 1e-4 mean something. ``mean`` = half the mean over everything, as
            RegDA and UniFrame compute it: some thousand times smaller.
    """
    error = (maps.float() - target).square() * weight[..., None, None]
    return error.flatten(1).sum(1).mean() if reduction == "sum" else 0.5 * error.mean()


def kl_divergence(maps: Tensor, target: Tensor, weight: Tensor, epsilon: float = 1e-7) -> Tensor:
    """KL between heat maps as distributions over cells (RegDA), mean over images and joints."""
    log_found = F.log_softmax(maps.float().flatten(2), -1)
    wanted = target.flatten(2) + epsilon
    wanted = wanted / wanted.sum(-1, keepdim=True)
    each = F.kl_div(log_found, wanted, reduction="none").sum(-1)
    return (each * weight).mean()


def pseudo_maps(maps: Tensor, sigma: float = 2.0) -> tuple[Tensor, Tensor]:
    """RegDA's true and false maps: a Gaussian where each map is highest, and where others are.

    Args:
        maps: (B, K, H, W) predictions.

    Returns:
        true (B, K, H, W) and false (B, K, H, W), the other joints' true maps together, cut at 1.
    """
    size = (maps.shape[-1], maps.shape[-2])
    index = maps.detach().flatten(2).argmax(-1)  # also of a map that is nowhere positive
    cells = torch.stack((index % size[0], index // size[0]), -1).float()
    true, _ = encode(cells, cells.new_ones(cells.shape[:-1]), size, size, sigma)
    true = torch.where(true < _KERNEL_FLOOR, 0.0, true)
    false = (true.sum(1, keepdim=True) - true).clamp(0, 1)
    return true, false
