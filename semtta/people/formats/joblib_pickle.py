"""Pickles that joblib or Python wrote, of plain containers and numpy arrays; nothing is ever run.

joblib compresses the whole stream and writes an array as a small description followed by its bytes
in the middle of the pickle. The reader is Python's own pickle machine with three changes: it shows
the file stand-ins only (``numpy_pickles``), takes arrays from the stream, and counts what it does.
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
from collections.abc import Callable
from pathlib import Path

import numpy as np

from semtta.numpy_pickles import Inert, SafeType, bounded, numpy_stand_in, unpacked
from semtta.reading import MEBI, check_file, reading

_LIMIT = 384 * MEBI  # of the file, and of what it unpacks to
_STEPS = 5_000_000  # of the pickle machine: an hour of PHALP has a fifth of it


class _Array:
    """joblib's description of an array whose bytes follow in the stream."""

    def __init__(self, *args: object):
        self.said: dict = {}

    def __setstate__(self, state):
        if isinstance(state, dict):
            self.said = state


def _counted(step):
    def counting(self):
        self.steps += 1
        if self.steps > _STEPS:
            raise ValueError("it holds too many objects")
        step(self)

    return counting


class _Unpickler(pickle._Unpickler):  # the one in Python: the one in C has no steps to change
    read: Callable[[int], bytes]  # set by load

    def __init__(self, stream: io.BytesIO):
        super().__init__(stream, encoding="latin1")
        self.stream, self.steps = stream, 0

    def find_class(self, module: str, name: str):
        if module.startswith("joblib") and name in ("NumpyArrayWrapper", "NDArrayWrapper"):
            return _Array
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        return numpy_stand_in(module, name) or Inert

    stack: list  # of the one in Python, which type stubs do not show

    def load_build(self):
        super().load_build()  # type: ignore[misc]
        if isinstance(self.stack[-1], _Array):
            self.stack[-1] = self._array(self.stack[-1].said)

    dispatch = {
        code: _counted(step)
        for code, step in (pickle._Unpickler.dispatch | {pickle.BUILD[0]: load_build}).items()
    }

    def _array(self, said: dict) -> np.ndarray | list:
        """The array that follows in the stream."""
        kind, shape = said.get("dtype"), said.get("shape")
        if not isinstance(kind, SafeType) or not isinstance(shape, tuple):
            raise ValueError("an array is not described as joblib does")
        if kind.of_objects:  # a pickle of its own follows
            inner = _Unpickler(self.stream)
            inner.steps = self.steps
            found = inner.load()
            self.steps = inner.steps
            return found
        dtype = kind.dtype()
        if said.get("numpy_array_alignment_bytes") is not None:
            self.read(self.read(1)[0])  # newer files align arrays; a byte says by how much
        size = math.prod(int(n) for n in shape) * dtype.itemsize
        if not 0 <= size <= self.stream.getbuffer().nbytes - self.stream.tell():
            raise ValueError(f"an array claims the shape {str(shape)[:60]} but is not there")
        array = np.frombuffer(self.read(size), dtype).astype(dtype.newbyteorder("="))
        return array.reshape(shape, order="F" if said.get("order") == "F" else "C")


def read_joblib(path: str | Path, what: str):
    """The content of a pickle, compressed or not; foreign objects are empty dictionaries.

    Raises ``SemttaError`` for a file that is damaged, or larger than 384 MiB when unpacked."""
    path = check_file(path, what, _LIMIT)
    with reading(path, what):
        return unpacked(bounded(_Unpickler(io.BytesIO(_unpacked(path.read_bytes()))).load()))


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
