"""The users' joint regressors by the name a protocol gives them.

They are derived from SMPL, their terms are unclear, and so they are not shipped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from semtta.bench.datasets.files import read_pickle_file
from semtta.bench.protocols import J19
from semtta.body import Body, JointRegressor, load_regressor
from semtta.body.search import search_folders
from semtta.errors import SemttaError
from semtta.reading import reading
from semtta.user_files import USER_FILES, find_user_file

USER_KEYS = {"h36m": "h36m_regressor", "j19": "j19_regressor"}


def find_regressor(kind: str, body_models: Path | None = None) -> Path | None:
    """File of a regressor beside the body files or among the checkpoints, or None."""
    names = USER_FILES[USER_KEYS[kind]].names
    paths = (folder / name for folder in search_folders(body_models) for name in names)
    return next((path for path in paths if path.is_file()), None) or find_user_file(USER_KEYS[kind])


def require_regressor(kind: str, protocol: str, body_models: Path | None = None) -> Path:
    """Like :func:`find_regressor`; raises ``SemttaError`` that says what to put where."""
    found = find_regressor(kind, body_models)
    if found is None:
        file = USER_FILES[USER_KEYS[kind]]
        raise SemttaError(
            f"protocol {protocol} needs {' or '.join(file.names)} in body_models/ or checkpoints/; "
            f"where to get it: {file.page}."
        )
    return found


def open_regressor(kind: str, path: Path, body: Body) -> JointRegressor:
    """Read a regressor and make sure, on the body's own mesh, that left is left.

    The H36M file exists with either leg first; names follow whichever order the mesh shows.
    Raises ``SemttaError`` for a file that fits neither."""
    if kind == "h36m":
        return load_regressor(path, body)
    if path.suffix != ".pkl":
        return load_regressor(path, body, (J19,))
    with reading(path, "joint regressor"):
        matrix = np.asarray(read_pickle_file(path, "joint regressor"))
    fits = matrix.dtype.kind == "f" and matrix.shape == (len(J19), body.num_vertices)
    if not fits or not np.isfinite(matrix).all():
        raise SemttaError(
            f"the joint regressor '{path}' has shape {matrix.shape}; {len(J19)} rows of finite "
            f"numbers for {body.num_vertices} vertices (body '{body.name}') are needed."
        )
    rows = torch.as_tensor(matrix, dtype=body.v_template.dtype)
    x = rows @ body.v_template[:, 0]
    for left, right in enumerate(J19.flip):
        if J19.joints[left].startswith("left_") and not x[left] > x[right]:
            raise SemttaError(
                f"the joint regressor '{path}' puts {J19.joints[left]} on the right side of body "
                f"'{body.name}'; its rows are not in the order of 4D-Humans."
            )
    return JointRegressor(rows, J19)
