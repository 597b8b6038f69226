"""What methods share that learn from labels of their own making."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from semtta.pose2d.clip2pose import Model
from semtta.pose2d.heatmaps import decode

T = TypeVar("T", bound=nn.Module)


def locate(model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
    """A model's keypoints (B, K, 2), pixels of the images, and the heights of its maps (B, K)."""
    spec = model.spec
    cells, height = decode(model(images).float(), spec.refine)
    return spec.to_pixels(cells), height


def move(points: Tensor, from_view: Tensor, to_view: Tensor) -> Tensor:
    """Pixels of one view (B, K, 2) -> pixels of another, by affines (B, 2, 3) from the crop."""
    inverse = torch.linalg.inv(from_view[..., :2])
    crop = (points - from_view[:, None, :, 2]) @ inverse.mT
    return crop @ to_view[..., :2].mT + to_view[:, None, :, 2]


def consensus(
    points: list[Tensor], heights: list[Tensor], views: list[Tensor], to_view: Tensor, reach: float
) -> tuple[Tensor, Tensor]:
    """What a model says of the same images in several views, as one (CC-SSL's consistency check).

    Args:
        points, heights: of each view, (B, K, 2) pixels of that view and (B, K).
        views: (B, 2, 3) each.
        to_view: in which the answer is to be.
        reach: pixels of ``to_view`` by which views may differ before the joint counts little.

    Returns:
        (B, K, 2) mean places and (B, K) mean height times exp(-spread^2 / 2 reach^2)."""
    moved = torch.stack([move(p, view, to_view) for p, view in zip(points, views, strict=True)])
    mean = moved.mean(0)
    spread = (moved - mean).square().sum(-1).mean(0)
    return mean, torch.stack(heights).mean(0) * torch.exp(-0.5 * spread / reach**2)


def surest(confidence: Tensor, share: float) -> Tensor:
    """(B, K) 1 for the share of all joints of a batch of which its teacher is surest, else 0."""
    return (confidence >= confidence.flatten().quantile(1 - share)).float()


def still_copy(model: T) -> T:
    """The same network as it is now: in eval mode, and no gradient reaches it."""
    return copy.deepcopy(model).requires_grad_(False).eval()


@torch.no_grad()
def follow(mean: nn.Module, model: nn.Module, keep: float) -> None:
    """Move a mean teacher's weights by ``1 - keep`` towards its student's."""
    for own, value in zip(mean.parameters(), model.parameters(), strict=True):
        own.lerp_(value, 1 - keep)
