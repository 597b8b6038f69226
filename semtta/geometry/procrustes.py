"""Alignments under which 3D joints are compared."""

from __future__ import annotations

import roma
import torch
from torch import Tensor


def root_align(joints: Tensor, roots: list[int]) -> Tensor:
    """Subtract the mean of the root joints: (..., J, 3) -> (..., J, 3)."""
    return joints - joints[..., roots, :].mean(-2, keepdim=True)


def procrustes_align(source: Tensor, target: Tensor) -> Tensor:
    """Similarity transform (scale, proper rotation, translation) of source onto target.

    Args:
        source, target: (..., J, 3).
    Returns: (..., J, 3) aligned source, the least-squares optimum with det(R) = +1 also where a
        reflection would fit better (PA-MPJPE of SPIN and CycleAdapt). Computed in float64."""
    x, y = source.double(), target.double()
    rotation, translation, scale = roma.rigid_points_registration(x, y, compute_scaling=True)
    aligned = scale[..., None, None] * torch.einsum("...ab,...jb->...ja", rotation, x)
    return (aligned + translation[..., None, :]).to(source.dtype)
