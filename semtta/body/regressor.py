"""Joint regressors: joints of other conventions (H36M) as mixtures of mesh vertices.

Such files are derived from SMPL and not shipped; users bring them.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semtta.body.model import Body
from semtta.errors import SemttaError
from semtta.reading import MEBI, check_file, read_npy, read_npz, reading
from semtta.skeletons import Skeleton

_WHAT = "joint regressor"
_LIMIT = 64 * MEBI

_H36M_LEFT_FIRST = (
    "pelvis", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle",
    "spine", "neck", "jaw", "head_top", "left_shoulder", "left_elbow", "left_wrist",
    "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
# Two 17-row H36M files are in use, `J_regressor_h36m.npy` (SPIN) and `J_regressor_h36m_smpl.npy`
# (CycleAdapt); the code that reads the second one names the right leg first. Nothing in a file
# says which it is, so the mesh decides: see `load_regressor`.
H36M17 = Skeleton("h36m17", _H36M_LEFT_FIRST)
H36M17_RIGHT_LEG_FIRST = Skeleton(
    "h36m17_right_leg_first",
    _H36M_LEFT_FIRST[:1] + _H36M_LEFT_FIRST[4:7] + _H36M_LEFT_FIRST[1:4] + _H36M_LEFT_FIRST[7:],
)


@dataclass(frozen=True)
class JointRegressor:
    """Joints as fixed mixtures of vertices.

    Args:
        matrix: (J, V).
        skeleton: names of the J joints.
    """

    matrix: Tensor
    skeleton: Skeleton

    def __post_init__(self):
        if self.matrix.dim() != 2 or len(self.matrix) != len(self.skeleton):
            raise SemttaError(
                f"a joint regressor of shape {tuple(self.matrix.shape)} does not fit skeleton "
                f"'{self.skeleton.name}' ({len(self.skeleton)} joints)."
            )

    def __call__(self, vertices: Tensor) -> Tensor:
        """(..., V, 3) -> (..., J, 3)."""
        return regress(vertices, self.matrix.to(vertices))


def regress(vertices: Tensor, matrix: Tensor) -> Tensor:
    """Joints from a mesh: (..., V, 3), (J, V) -> (..., J, 3)."""
    if vertices.shape[-2] != matrix.shape[-1]:
        raise SemttaError(
            f"the joint regressor is made for {matrix.shape[-1]} vertices, the body has "
            f"{vertices.shape[-2]}; use the body it belongs to."
        )
    return matrix @ vertices


def load_regressor(
    path: str | Path, body: Body, skeletons: tuple[Skeleton, ...] = (H36M17, H36M17_RIGHT_LEG_FIRST)
) -> JointRegressor:
    """Read a (J, V) regressor from .npy, or from the only array of an .npz.

    Left and right are checked on the body's own template: every ``left_*`` joint must lie at
    greater x than its ``right_*`` partner. The first skeleton of J joints that passes is taken.

    Raises:
        SemttaError: unreadable file, wrong shape, or no skeleton whose sides agree.
    """
    path = Path(path)
    matrix = _matrix(path)
    if matrix.ndim != 2 or matrix.shape[1] != body.num_vertices or not np.isfinite(matrix).all():
        raise SemttaError(
            f"the joint regressor '{path}' has shape {matrix.shape}; finite numbers for "
            f"{body.num_vertices} vertices (body '{body.name}') are needed."
        )
    fitting = [s for s in skeletons if len(s) == len(matrix)]
    if not fitting:
        raise SemttaError(
            f"the joint regressor '{path}' has {len(matrix)} rows; known are "
            f"{sorted({len(s) for s in skeletons})}."
        )
    x = torch.as_tensor(matrix) @ body.v_template[:, 0].double().cpu()
    for skeleton in fitting:
        pairs = [(i, j) for i, j in enumerate(skeleton.flip) if skeleton.joints[i][:5] == "left_"]
        if all(x[left] > x[right] for left, right in pairs):
            return JointRegressor(torch.as_tensor(matrix, dtype=body.v_template.dtype), skeleton)
    raise SemttaError(
        f"the joint regressor '{path}' puts a left joint on the right side of body '{body.name}' "
        f"under every known row order; its rows are not what they are taken for."
    )


def _matrix(path: Path) -> np.ndarray:
    """The only array of a file, as float64."""
    check_file(path, _WHAT)
    with reading(path, _WHAT):
        if zipfile.is_zipfile(path):
            arrays = list(read_npz(path, _WHAT, limit=_LIMIT).values())
            if len(arrays) != 1:
                raise ValueError(f"it holds {len(arrays)} arrays, expected one")
            return np.asarray(arrays[0], np.float64)
        return np.asarray(read_npy(path, _WHAT, _LIMIT), np.float64)
