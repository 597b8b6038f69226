"""Pickles that joblib or Python wrote, of plain containers and numpy arrays; nothing is ever run.

joblib compresses the whole stream and writes an array as a small description followed by its bytes
in the middle of the pickle. The reader is Python's own pickle machine with three changes: no class
can be named but a few, arrays are taken from the stream, and sizes are checked before memory is.
"""

from __future__ import annotations

import bz2
import collections
import gzip
import io
import lzma
import math
import pickle
import zlib
from pathlib import Path

import numpy as np

from semtta.reading import MEBI, check_file, reading

_LIMIT = 384 * MEBI  # of the file, and of what it unpacks to
_HELPERS = {
    "_reconstruct": np.empty(0).__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
    "_frombuffer": np.empty(1).__reduce_ex__(5)[0],
}


class _Array:
    """joblib's description of an array whose bytes follow in the stream."""

    def __init__(self, *args):
        self.__dict__.update(shape=(), order="C", dtype=np.dtype("f8"))

    def __setstate__(self, state):
        if isinstance(state, dict):
            self.__dict__.update(state)


class _Inert(dict):
    """What stands for any other object; it keeps nothing and can do nothing."""

    __hash__ = object.__hash__

    def __init__(self, *args, **kwargs):
        super().__init__()

    def __setstate__(self, state):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass


class _Unpickler(pickle._Unpickler):  # the one in Python: the one in C has no steps to change
    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str):
        if module.startswith("joblib") and name in ("NumpyArrayWrapper", "NDArrayWrapper"):
            return _Array
        if module.startswith(("numpy.core", "numpy._core")) and name in _HELPERS:
            return _HELPERS[name]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("_codecs", "encode"):
            return lambda text, encoding="latin1": text.encode("latin1")
        return _Inert

    def load_build(self):
        super().load_build()
        if isinstance(self.stack[-1], _Array):
            self.stack[-1] = self._array(self.stack[-1])

    dispatch[pickle.BUILD[0]] = load_build

    def _array(self, about: _Array) -> np.ndarray:
        stream: io.BytesIO = self.stream
        dtype = np.dtype(about.dtype)
        shape = tuple(int(n) for n in about.shape)
        if dtype.hasobject:
            return type(self)(stream, encoding="latin1").attached(stream).load()
        if getattr(about, "numpy_array_alignment_bytes", None) is not None:
            padding = self.read(1)[0]  # newer files align arrays; the first byte says by how much
            self.read(padding)
        size = math.prod(shape) * dtype.itemsize
        if size > stream.getbuffer().nbytes - stream.tell():
            raise ValueError(f"an array claims the shape {str(shape)[:60]} but is not there")
        array = np.frombuffer(self.read(size), dtype).copy()
        return array.reshape(shape, order="F" if about.order == "F" else "C")

    def attached(self, stream: io.BytesIO) -> _Unpickler:
        self.stream = stream
        return self


def read_joblib(path: str | Path, what: str):
    """The content of a pickle, compressed or not; foreign objects are empty dictionaries.

    Raises ``SemttaError`` for a file that is damaged, or larger than 384 MiB when unpacked."""
    path = check_file(path, what, _LIMIT)
    with reading(path, what):
        stream = io.BytesIO(_unpacked(path.read_bytes()))
        return _Unpickler(stream, encoding="latin1").attached(stream).load()


def _unpacked(data: bytes) -> bytes:
    opened = {b"\x1f\x8b": gzip.GzipFile, b"BZ": bz2.BZ2File, b"\xfd7": lzma.LZMAFile}
    if data[:2] in opened:
        with opened[data[:2]](io.BytesIO(data)) as file:
            plain = file.read(_LIMIT + 1)
    elif data[:1] == b"\x78":  # zlib, joblib's usual
        plain = zlib.decompressobj().decompress(data, _LIMIT + 1)
    else:
        return data
    if len(plain) > _LIMIT:
        raise ValueError(f"unpacked it has more than {_LIMIT // MEBI} MiB")
    return plain
