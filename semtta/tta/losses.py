"""The losses of the method, Eq. 4, 5 and 9, each a pure function."""

from __future__ import annotations

import torch
from torch import Tensor


def reprojection_loss(
    projected: Tensor,
    target: Tensor,
    weight: Tensor,
    scale: Tensor,
    count: Tensor,
    reduction: str = "all",
) -> Tensor:
    """2D loss (Eq. 5): L1 in pixels of the model's own crop.

    Args:
        projected, target: (B, J, 2) image pixels.
        weight: (B, J), 0 = missing.
        scale: (B, 1, 1) crop pixels per image pixel.
        count: (B,) how often each frame stands in the batch.
        reduction: "all" divides by all B J 2 entries, the invisible as zero (CycleAdapt's
            divisor, to which lambda 1 = 0.1 belongs: fewer visible joints pull less);
            "visible" divides by the visible ones.
    Returns: scalar."""
    error = (projected - target).abs() * scale * weight[..., None] * count[:, None, None]
    if reduction == "visible":
        return error.sum() / (2 * (weight * count[:, None]).sum()).clamp_min(1.0)
    return error.sum() / (count.sum() * target.shape[1] * 2)


def alignment_loss(similarity: Tensor, ceiling: Tensor | None = None) -> Tensor:
    """Alignment loss (Eq. 4): 1 - similarity, mean over segments.

    Args:
        similarity: (S,) cosine between motion and text.
        ceiling: (S,) no pull above this similarity (that of the label's true motions); None = 1.
    Returns: scalar."""
    if ceiling is None:
        return (1 - similarity).mean()
    return (ceiling - similarity).clamp_min(0).mean()


def pose_smoothing_loss(rotmats: Tensor, target: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """Pose part of the smoothing loss (Eq. 9): L1 mean over rotation matrices.

    Args:
        rotmats, target: (B, 24, 3, 3).
        weight: (B, 24).
        count: (B,) how often each frame stands in the batch.
    Returns: scalar."""
    error = (rotmats - target).abs().mean((2, 3)) * weight
    return (error.mean(1) * count).sum() / count.sum()


def shape_smoothing_loss(betas: Tensor, target: Tensor, count: Tensor) -> Tensor:
    """Shape part of Eq. 9: L1 mean between betas (B, 10) and their window mean (B, 10)."""
    return ((betas - target).abs().mean(1) * count).sum() / count.sum()


def landmark3d_loss(
    landmarks: Tensor, target: Tensor, weight: Tensor, hips: list[int], count: Tensor
) -> Tensor:
    """L1 to the detector's own 3D landmarks, hip-centred, on joints it saw.

    Not in the paper, and off by default: it helps ``lifter-narrow`` on the beam clips by 1 %, but
    costs ``lifter`` 3 mm there.

    Args:
        landmarks: (B, J, 3) metres, camera axes.
        target: (B, J, 3) metres, hip-centred.
        weight: (B, J).
        hips: the two hip joints.
        count: (B,) how often each frame stands in the batch.
    Returns: scalar, metres."""
    centred = landmarks - landmarks[:, hips].mean(1, keepdim=True)
    error = (centred - target).abs() * (weight * count[:, None])[..., None]
    return error.sum() / (count.sum() * target.shape[1] * 3)


def total(terms: dict[str, Tensor]) -> Tensor:
    """Eq. 10: the sum of the named, already weighted terms."""
    return torch.stack(list(terms.values())).sum()
