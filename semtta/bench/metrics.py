"""Errors of 3D joints, in millimetres."""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.geometry import procrustes_align, root_align


def joint_errors(predicted: Tensor, truth: Tensor, roots: list[int]) -> Tensor:
    """MPJPE before the mean: distances after subtracting each side's own root.

    Args:
        predicted, truth: (T, J, 3) metres.
        roots: joints whose mean is the root.
    Returns: (T, J) mm."""
    difference = root_align(predicted, roots) - root_align(truth, roots)
    return 1000 * difference.norm(dim=-1)


def aligned_joint_errors(predicted: Tensor, truth: Tensor) -> Tensor:
    """PA-MPJPE before the mean: distances after a similarity transform per frame, (T, J) mm."""
    return 1000 * (procrustes_align(predicted, truth) - truth).norm(dim=-1)


def acceleration_errors(predicted: Tensor, truth: Tensor, roots: list[int]) -> Tensor:
    """Norm of the difference of second differences of root-aligned joints.

    Args:
        predicted, truth: (T, J, 3) metres, consecutive frames.
        roots: joints whose mean is the root.
    Returns: (T - 2, J) mm per frame squared, at the frame rate given."""
    a, b = root_align(predicted, roots), root_align(truth, roots)
    return 1000 * (a.diff(n=2, dim=0) - b.diff(n=2, dim=0)).norm(dim=-1)


def summarise(
    predicted: Tensor, truth: Tensor, roots: list[int], occluded: Tensor | None = None
) -> dict[str, float | None]:
    """The numbers of one track: (T, J, 3) metres each, occluded (T, J) bool.

    Returns: ``mpjpe_mm``, ``pa_mpjpe_mm``, ``pa_mpjpe_occluded_mm`` (None if nothing is
        occluded; the alignment uses all joints), ``accel_mm``."""
    aligned = aligned_joint_errors(predicted, truth)
    hidden = aligned[occluded] if occluded is not None and bool(occluded.any()) else None
    enough = len(predicted) >= 3
    accel = acceleration_errors(predicted, truth, roots) if enough else torch.full((1,), torch.nan)
    return {
        "pa_mpjpe_mm": float(aligned.mean()),
        "mpjpe_mm": float(joint_errors(predicted, truth, roots).mean()),
        "pa_mpjpe_occluded_mm": None if hidden is None else float(hidden.mean()),
        "accel_mm": float(accel.mean()) if enough else None,
    }
