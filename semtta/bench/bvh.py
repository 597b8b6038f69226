"""Motion from BVH files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semtta.errors import SemttaError


def bvh_length(path: Path) -> tuple[int, float]:
    """Number of frames and frame rate."""
    raise SemttaError(f"'{path}': BVH files cannot be read yet.")


def read_bvh(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotations (N, 24, 3, 3), pelvis (N, 3) in metres, frame rate."""
    raise SemttaError(f"'{path}': BVH files cannot be read yet.")
