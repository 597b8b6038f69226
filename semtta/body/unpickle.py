"""Read official SMPL pickles without chumpy, and without running code from the file.

The official files were written by Python 2 and hold chumpy objects and scipy sparse matrices.
Only the handful of names below may appear in a file; anything else is refused.
"""

from __future__ import annotations

import copyreg
import pickle
from pathlib import Path

import numpy as np

from semtta.errors import SemttaError


class _Chumpy:
    """Stand-in for any chumpy object; keeps the state and computes the array it stood for."""

    def __init__(self, *args):
        self.state = {}

    def __setstate__(self, state):
        self.state = state if isinstance(state, dict) else {}

    def array(self, depth: int = 0) -> np.ndarray:
        if depth > 8:
            raise pickle.UnpicklingError("chumpy objects are nested too deeply")
        if "x" in self.state:
            return plain(self.state["x"], depth + 1)
        if {"a", "idxs"} <= set(self.state):  # chumpy's Select: some entries of another array
            chosen = np.ravel(plain(self.state["a"], depth + 1))[np.asarray(self.state["idxs"])]
            return chosen.reshape(self.state.get("preferred_shape", (-1,)))
        raise pickle.UnpicklingError(f"a chumpy object with unknown state {sorted(self.state)}")


class _Sparse:
    """Stand-in for a scipy sparse matrix of any version; keeps the state only."""

    rows_first = True

    def __init__(self, *args):
        self.state = {}

    def __setstate__(self, state):
        self.state = state

    def array(self) -> np.ndarray:
        state = self.state
        shape = tuple(int(n) for n in state.get("_shape", state.get("shape", ())))
        data = np.asarray(state["data"])
        if len(shape) != 2 or max(shape) > 10_000_000 or shape[0] * shape[1] > 10_000_000:
            raise pickle.UnpicklingError(f"a sparse matrix of shape {shape}")
        if "indptr" in state:
            counts = np.diff(np.asarray(state["indptr"]))
            outer, inner = np.repeat(np.arange(len(counts)), counts), np.asarray(state["indices"])
            row, column = (outer, inner) if self.rows_first else (inner, outer)
        else:
            row, column = state.get("coords") or (state["row"], state["col"])
        dense = np.zeros(shape)
        np.add.at(dense, (row, column), data)
        return dense


class _SparseColumns(_Sparse):
    rows_first = False


def _ascii_encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _ascii_encode,  # how bytes travel in old pickle protocols
    ("copyreg", "_reconstructor"): copyreg._reconstructor,
    ("copy_reg", "_reconstructor"): copyreg._reconstructor,
    ("builtins", "object"): object,
    ("__builtin__", "object"): object,
}
_NUMPY_HELPERS = {
    "_reconstruct": np.empty(0).__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
    "_frombuffer": np.empty(1).__reduce_ex__(5)[0],
}
_SPARSE = {"csc_matrix": _SparseColumns, "csr_matrix": _Sparse, "coo_matrix": _Sparse}


class BodyUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        package = module.split(".")[0]
        if package == "chumpy":
            return _Chumpy
        if module.startswith("scipy.sparse") and name in _SPARSE:
            return _SPARSE[name]
        if module.startswith(("numpy.core", "numpy._core")) and name in _NUMPY_HELPERS:
            return _NUMPY_HELPERS[name]
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no body file needs")


def plain(value, depth: int = 0):
    if isinstance(value, _Chumpy):
        return value.array(depth)
    return value.array() if isinstance(value, _Sparse) else value


def read_pickle(path: Path) -> dict:
    """Entries of an SMPL pickle with every chumpy object and sparse matrix as a numpy array.

    Raises:
        SemttaError: the file is damaged, is no pickle of a dictionary, or holds anything but
            arrays.
    """
    try:
        with open(path, "rb") as file:
            content = BodyUnpickler(file, encoding="latin1").load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, not a dictionary")
        return {str(key): plain(value) for key, value in content.items()}
    except Exception as error:  # a hostile pickle can raise anything
        raise SemttaError(
            f"'{path}' is not a readable SMPL pickle ({error}); download it again."
        ) from error
