"""The arrays of a body file, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semtta.body.unpickle import read_pickle
from semtta.errors import SemttaError
from semtta.reading import read_npz, reading
from semtta.shipped import file_sha256
from semtta.skeletons import SMPL_PARENTS

SMPL_VERTICES = 6890
BETAS = 10
_MOST_VERTICES = 50_000
_HEIGHT = (0.5, 3.0)  # metres
_KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_COMPACT = ("w_idx", "w_val", "J_row", "J_col", "J_val")  # of the shipped body
_READ = (*_KEYS, *_COMPACT, "vertex_ids", "vertex_names")
# Where SMPL's mesh carries nose, eyes, ears, toes, heels and finger tips (mesh indices; the
# same points as the vertex joints of the smplx package, in the order it appends them).
SMPL_VERTEX_IDS = {
    "nose": 332, "reye": 6260, "leye": 2800, "rear": 4071, "lear": 583, "LBigToe": 3216,
    "LSmallToe": 3226, "LHeel": 3387, "RBigToe": 6617, "RSmallToe": 6624, "RHeel": 6787,
    "lthumb": 2746, "lindex": 2319, "lmiddle": 2445, "lring": 2556, "lpinky": 2673,
    "rthumb": 6191, "rindex": 5782, "rmiddle": 5905, "rring": 6016, "rpinky": 6133,
}  # fmt: skip


@dataclass(frozen=True)
class BodyData:
    """One body file. V vertices, F faces; metres, y up, T-pose facing +z, +x = its left.

    Args:
        name: 'cc0', 'smpl' or the file's stem.
        sha256: of the file.
        v_template: (V, 3) mean shape.
        shapedirs: (V, 3, 10) metres per unit of beta.
        posedirs: (V, 3, 207) pose blend shapes, None if the body has none.
        joint_regressor: (24, V).
        weights: (V, 24) skinning weights, rows sum to one.
        faces: (F, 3).
        vertex_ids: name of a landmark vertex -> vertex, in the order smplx appends them; empty
            if unknown.
    """

    name: str
    sha256: str
    v_template: np.ndarray
    shapedirs: np.ndarray
    posedirs: np.ndarray | None
    joint_regressor: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    vertex_ids: dict[str, int]


def read_body(path: str | Path, name: str | None = None) -> BodyData:
    """Read a body file: .npz (SMPL's keys, or the compact form of the shipped body) or .pkl.

    Raises:
        SemttaError: naming the file and the first missing key or wrong shape.
    """
    path = Path(path)
    arrays = _read_arrays(path)
    with reading(path, "body file"):
        shape = np.shape(arrays.get("v_template", np.empty((0, 3))))
        if len(shape) != 2:
            raise SemttaError(f"'{path}' is not an SMPL body: 'v_template' has shape {shape}, "
                              "expected (any, 3).")  # fmt: skip
        if "w_idx" in arrays:
            arrays = _expand(path, arrays)
        for key in _KEYS:
            if key not in arrays:
                raise SemttaError(f"'{path}' is not an SMPL body: it has no '{key}'.")
        arrays = _unflattened(arrays)
        _check(path, arrays)
        posedirs = np.asarray(arrays["posedirs"], np.float64)
        return BodyData(
            name=name or path.stem,
            sha256=file_sha256(path),
            v_template=np.asarray(arrays["v_template"], np.float64),
            shapedirs=np.asarray(arrays["shapedirs"][..., :BETAS], np.float64),
            posedirs=posedirs if posedirs.any() else None,
            joint_regressor=np.asarray(arrays["J_regressor"], np.float64),
            weights=np.asarray(arrays["weights"], np.float64),
            faces=np.asarray(arrays["f"]).astype(np.int64),
            vertex_ids=_vertex_ids(path, arrays),
        )


def _read_arrays(path: Path) -> dict:
    """The entries that a body needs; whatever lies beside them is not even decoded."""
    if not path.is_file():
        raise SemttaError(f"there is no body file '{path}'.")
    if path.suffix.lower() == ".pkl":
        return read_pickle(path, _READ)
    if path.suffix.lower() != ".npz":
        raise SemttaError(f"'{path}' is not a body file; a .pkl or .npz is expected.")
    return read_npz(path, "body file", _READ)


def _unflattened(arrays: dict) -> dict:
    """With blend shapes (V, 3, K), which some files hold as (3V, K), and smplx as (K, 3V)."""
    rows = 3 * len(np.asarray(arrays["v_template"]))
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    for key in ("shapedirs", "posedirs"):
        value = arrays[key]
        if value.ndim == 2 and rows in value.shape:
            value = value if len(value) == rows else value.T
            arrays[key] = value.reshape(-1, 3, value.shape[1])
    return arrays


def _expand(path: Path, packed: dict) -> dict:
    """Compact form (sparse weights and regressor, no posedirs) to SMPL's keys."""
    count = len(packed["v_template"])
    if count > _MOST_VERTICES:
        raise SemttaError(f"'{path}' has {count} vertices; {_MOST_VERTICES} at most are read.")
    weights = np.zeros((count, 24))
    np.add.at(weights, (np.arange(count)[:, None], packed["w_idx"]), packed["w_val"])
    regressor = np.zeros((24, count))
    np.add.at(regressor, (packed["J_row"], packed["J_col"]), packed["J_val"])
    return {
        **packed,
        "weights": weights / np.maximum(weights.sum(1, keepdims=True), 1e-9),  # fp16 rounding
        "J_regressor": regressor / np.maximum(regressor.sum(1, keepdims=True), 1e-9),
        "posedirs": np.zeros((count, 3, 0)),
    }


def _check(path: Path, arrays: dict) -> None:
    """Shapes, finite numbers, the kinematic tree and the faces' range."""

    def fail(message):
        raise SemttaError(f"'{path}' is not an SMPL body: {message}.")

    shapes = {}
    for key in _KEYS:
        value = np.asarray(arrays[key])
        if value.dtype.kind not in "fiu":
            fail(f"'{key}' does not hold numbers")
        if not np.isfinite(value).all():
            fail(f"'{key}' holds NaN or infinite numbers")
        shapes[key] = value.shape
    count = shapes["v_template"][0] if shapes["v_template"] else 0
    if count > _MOST_VERTICES:
        fail(f"it has {count} vertices, more than {_MOST_VERTICES}")
    expected = {
        "v_template": (count, 3), "shapedirs": (count, 3, None), "posedirs": (count, 3, None),
        "J_regressor": (24, count), "weights": (count, 24), "kintree_table": (2, 24),
        "f": (None, 3),
    }  # fmt: skip
    for key, wanted in expected.items():
        fits = len(shapes[key]) == len(wanted) and all(
            b is None or a == b for a, b in zip(shapes[key], wanted)
        )
        if not fits:
            words = ", ".join("any" if n is None else str(n) for n in wanted)
            fail(f"'{key}' has shape {shapes[key]}, expected ({words})")
    if shapes["shapedirs"][2] < BETAS:
        fail(f"'shapedirs' has {shapes['shapedirs'][2]} components, expected at least {BETAS}")
    if shapes["posedirs"][2] not in (0, 207):
        fail(f"'posedirs' has {shapes['posedirs'][2]} components, expected 207")
    if np.asarray(arrays["kintree_table"])[0, 1:].astype(np.int64).tolist() != list(
        SMPL_PARENTS[1:]
    ):
        fail("'kintree_table' is not SMPL's tree of 24 joints")
    faces = np.asarray(arrays["f"]).astype(np.int64)
    if not count or not len(faces) or faces.min() < 0 or faces.max() >= count:
        fail(f"'f' does not index its {count} vertices, counted from 0")
    if np.abs(np.asarray(arrays["weights"], float).sum(1) - 1).max() > 0.01:
        fail("the rows of 'weights' do not sum to one")
    if np.abs(np.asarray(arrays["J_regressor"], float).sum(1) - 1).max() > 0.01:
        fail("the rows of 'J_regressor' do not sum to one")
    if wrong := _misplaced(np.asarray(arrays["v_template"], float), arrays):
        fail(wrong)


def _misplaced(vertices: np.ndarray, arrays: dict) -> str:
    """What is wrong with the mean shape as a person in metres with y up; empty if nothing is."""
    height = float(np.ptp(vertices[:, 1]))
    if not _HEIGHT[0] <= height <= _HEIGHT[1]:
        return (f"'v_template' is {height:.3g} high along y; a person in metres with y up, "
                f"{_HEIGHT[0]} to {_HEIGHT[1]} high, is expected")  # fmt: skip
    joints = np.asarray(arrays["J_regressor"], float) @ vertices
    ankles, hips = joints[[7, 8], 1].mean(), joints[[1, 2], 0]
    if ankles - joints[15, 1] > 0.2 * height:
        return "'v_template' stands on its head; y up is expected"
    if hips[1] - hips[0] > 0.05 * height:
        return "'v_template' has its left side at -x; facing +z, +x on its left is expected"
    return ""


def _vertex_ids(path: Path, arrays: dict) -> dict[str, int]:
    count = len(arrays["v_template"])
    if "vertex_ids" in arrays and "vertex_names" in arrays:
        names = [str(name) for name in np.ravel(arrays["vertex_names"])]
        ids = [int(i) for i in np.ravel(arrays["vertex_ids"])]
        if len(names) != len(ids) or any(not 0 <= i < count for i in ids):
            raise SemttaError(f"'{path}': 'vertex_ids' do not index its {count} vertices.")
        return dict(zip(names, ids))
    return dict(SMPL_VERTEX_IDS) if count == SMPL_VERTICES else {}
