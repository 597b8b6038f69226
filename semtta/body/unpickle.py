"""Read official SMPL pickles without chumpy, and without running code from the file.

The official files were written by Python 2 and hold chumpy objects and scipy sparse matrices.
Only the handful of names below are ever looked up; what else a body file holds beside its arrays
becomes an inert stand-in.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from semtta.numpy_pickles import Inert, SafeCall, bounded, numpy_stand_in, unpacked
from semtta.reading import MEBI, Metered, check_file, read_npz, reading

_LIMIT = 512 * MEBI  # of a pickle; the official ones with 300 shapes have 236
_SMALL = 4096  # bytes of an object in an .npz


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
            chosen = np.ravel(plain(self.state["a"], depth + 1))[plain(self.state["idxs"])]
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
        state = {key: plain(value) for key, value in self.state.items()}
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


def _rebuild(kind, base, state):
    """How Python 2 makes an object of a class, of which only the stand-ins above are made."""
    if not isinstance(kind, type) or not issubclass(kind, (_Chumpy, _Sparse, Inert)):
        raise pickle.UnpicklingError("it makes an object of no class of a body file")
    return kind()


_ALLOWED = {
    ("copyreg", "_reconstructor"): SafeCall(_rebuild),
    ("copy_reg", "_reconstructor"): SafeCall(_rebuild),
    ("builtins", "object"): Inert,
    ("__builtin__", "object"): Inert,
}
_SPARSE = {
    f"{kind}_{form}": _SparseColumns if kind == "csc" else _Sparse
    for kind in ("csc", "csr", "coo")
    for form in ("matrix", "array")
}


class BodyUnpickler(pickle.Unpickler):
    """Arrays, sparse matrices, chumpy objects and plain containers; anything else is refused.

    What it loads holds stand-ins; :func:`plain` makes arrays of them."""

    def __init__(self, file):
        super().__init__(Metered(file), encoding="latin1")

    def find_class(self, module: str, name: str):
        package = module.split(".")[0]
        if package == "chumpy":
            return _Chumpy
        if module.startswith("scipy.sparse") and name in _SPARSE:
            return _SPARSE[name]
        if (found := numpy_stand_in(module, name)) is not None:
            return found
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no body file needs")


def plain(value, depth: int = 0):
    """What a stand-in stood for; lists and dictionaries with their arrays."""
    if isinstance(value, _Chumpy):
        return value.array(depth)
    return value.array() if isinstance(value, _Sparse) else unpacked(value)


class _LenientUnpickler(BodyUnpickler):
    """Puts an inert stand-in where a file names anything that no body needs."""

    def find_class(self, module: str, name: str):
        try:
            return super().find_class(module, name)
        except pickle.UnpicklingError:
            return Inert


def read_pickle(path: Path, wanted: Iterable[str]) -> dict:
    """The wanted entries of an SMPL pickle, chumpy objects and sparse matrices as numpy arrays.

    Raises:
        SemttaError: the file is damaged, is no pickle of a dictionary, or holds something else
            under a wanted name.
    """
    check_file(path, "body file", _LIMIT)
    with reading(path, "body file"), open(path, "rb") as file:
        content = _LenientUnpickler(file).load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, not a dictionary")
        arrays = {key: plain(bounded(content[key])) for key in wanted if key in content}
        for key, value in arrays.items():
            if isinstance(value, Inert):
                raise pickle.UnpicklingError(f"'{key}' is an object that no body file needs")
        return arrays


def object_entry(path: Path, name: str, what: str):
    """A small array of an .npz, even if it was saved as a pickled object."""
    with reading(path, what), zipfile.ZipFile(path) as archive:
        with archive.open(f"{name}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else (
                np.lib.format.read_array_header_2_0
            )  # fmt: skip
            if header(stream)[2].hasobject:
                if archive.getinfo(f"{name}.npy").file_size > _SMALL:
                    raise ValueError(f"'{name}' is a pickled object")
                return np.asarray(plain(bounded(BodyUnpickler(stream).load())).item())
    return read_npz(path, what, [name])[name]
