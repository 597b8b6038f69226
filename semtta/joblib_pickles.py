"""Pickles that joblib or Python wrote, of containers, arrays and tensors; nothing is ever run.

joblib compresses the whole stream and writes an array as a small description followed by its bytes
in the middle of the pickle. The reader is Python's own pickle machine with three changes: it shows
the file stand-ins only (``numpy_pickles``), takes arrays from the stream, and counts what it does.
Arrays of a stream that is not compressed stay in the file until they are looked at.
"""

from __future__ import annotations

import bz2
import collections
import gzip
import io
import lzma
import math
import mmap
import pickle
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from semtta.numpy_pickles import Inert, SafeCall, SafeType, bounded, numpy_stand_in, unpacked
from semtta.reading import MEBI, check_file, reading

_LIMIT = 384 * MEBI  # of what a compressed file unpacks to
_FILE_LIMIT = 4096 * MEBI  # of a plain one, which is mapped
_COPY_LIMIT = 512 * MEBI  # of what is not an array in the stream
_STEPS = 5_000_000  # of the pickle machine: an hour of PHALP has a fifth of it
_OPENED: dict[str, Any] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
_MARKS = {b"\x1f\x8b": "gzip", b"BZ": "bz2", b"\xfd7": "xz", b"\x78": "zlib"}


@dataclass
class Pickled:
    """What a pickle holds.

    Args:
        content: containers, arrays and tensors; foreign objects are empty dictionaries.
        foreign: names of the classes that were not read.
        compression: of the file: "", "zlib", "gzip", "bz2" or "xz".
    """

    content: Any
    foreign: set[str] = field(default_factory=set)
    compression: str = ""


class _Array:
    """joblib's description of an array whose bytes follow in the stream."""

    def __init__(self, *args: object):
        self.said: dict = {}

    def __setstate__(self, state):
        if isinstance(state, dict):
            self.said = state


class _Stream:
    """Bytes that are read in order; large pieces can be had without a copy, others are counted."""

    def __init__(self, data):
        self._found, self._data, self._at, self._copied = data, memoryview(data), 0, 0

    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> memoryview:
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def read(self, size: int = -1) -> bytes:
        size = min(self.left(), size if size >= 0 else self.left())
        self._copied += size
        if self._copied > _COPY_LIMIT:
            raise ValueError(f"more than {_COPY_LIMIT // MEBI} MiB of it are no arrays of joblib's")
        return bytes(self.take(size))

    def readline(self) -> bytes:
        end = self._found.find(b"\n", self._at)
        return self.read(end + 1 - self._at if end >= 0 else -1)


def _counted(step):
    def counting(self):
        self.steps += 1
        if self.steps > _STEPS:
            raise ValueError("it holds too many objects")
        step(self)

    return counting


class _Unpickler(pickle._Unpickler):  # the one in Python: the one in C has no steps to change
    def __init__(self, stream: _Stream):
        super().__init__(stream, encoding="latin1")  # type: ignore[arg-type]
        self.stream, self.steps, self.foreign = stream, 0, set[str]()

    def find_class(self, module: str, name: str):
        if module.startswith("joblib") and name in ("NumpyArrayWrapper", "NDArrayWrapper"):
            return _Array
        if module == "collections" and name in _CONTAINERS:
            return _CONTAINERS[name]
        if module.startswith("torch") and (found := _torch_stand_in(module, name)) is not None:
            return found
        found = numpy_stand_in(module, name)
        if found is None and (module, name) not in _HARMLESS and len(self.foreign) < 100:
            self.foreign.add(f"{module}.{name}"[:80])
        return found or Inert

    stack: list  # of the one in Python, which type stubs do not show
    _unframer: Any

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
            inner.steps, inner.foreign = self.steps, self.foreign
            found = inner.load()
            self.steps = inner.steps
            return found
        frame = self._unframer.current_frame
        if frame is not None and frame.tell() < len(frame.getbuffer()):
            raise ValueError("an array does not lie where joblib writes it")
        dtype = kind.dtype()
        if said.get("numpy_array_alignment_bytes") is not None:
            self.stream.read(self.stream.read(1)[0])  # arrays are aligned; a byte says by how much
        size = math.prod(int(n) for n in shape) * dtype.itemsize
        if not 0 <= size <= self.stream.left():
            raise ValueError(f"an array claims the shape {str(shape)[:60]} but is not there")
        array = np.frombuffer(self.stream.take(size), dtype)
        array = array.astype(dtype.newbyteorder("="), copy=False)
        return array.reshape(shape, order="F" if said.get("order") == "F" else "C")


def _dictionary(*args) -> dict:
    """A ``defaultdict``, whatever the file says that it makes of absent keys."""
    return collections.defaultdict(dict)


_CONTAINERS: dict[str, Any] = {
    "OrderedDict": collections.OrderedDict, "defaultdict": SafeCall(_dictionary),
}  # fmt: skip
_HARMLESS = {("builtins", "dict"), ("__builtin__", "dict")}  # what a defaultdict makes


def _torch_stand_in(module: str, name: str):
    """What rebuilds tensors that are pickled outside of ``torch.save``; None = nothing."""
    from semtta.tensor_files import storage_of_bytes
    from semtta.tensor_pickles import rebuilder

    if (module, name) == ("torch.storage", "_load_from_bytes"):
        return SafeCall(storage_of_bytes)
    return rebuilder(module, name)


def read_joblib(path: str | Path, what: str):
    """The content of a pickle, compressed or not; foreign objects are empty dictionaries.

    Raises ``SemttaError`` for a file that is damaged or too large."""
    return load_joblib(path, what).content


def load_joblib(path: str | Path, what: str) -> Pickled:
    """The same with what is known of the file. Arrays may be read-only.

    Raises ``SemttaError`` for a file that is damaged, compressed and larger than 384 MiB when
    unpacked, or larger than 4 GiB."""
    path = check_file(path, what, _FILE_LIMIT)
    with reading(path, what):
        with open(path, "rb") as file:
            head = file.read(2)
            kind = _MARKS.get(head) or _MARKS.get(head[:1], "")
            data = _unpacked(path, kind, what) if kind else (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            )  # fmt: skip
        return load_pickle(data, kind)


def load_pickle(data, compression: str = "") -> Pickled:
    """The same of bytes; raises whatever damaged ones make the pickle machine raise."""
    machine = _Unpickler(_Stream(data))
    content = unpacked(bounded(machine.load()))
    return Pickled(content, machine.foreign, compression)


def _unpacked(path: Path, kind: str, what: str) -> bytes:
    data = check_file(path, what, _LIMIT).read_bytes()
    if kind == "zlib":  # joblib's usual
        plain = zlib.decompressobj().decompress(data, _LIMIT + 1)
    else:
        with _OPENED[kind](io.BytesIO(data)) as file:
            plain = file.read(_LIMIT + 1)
    if len(plain) > _LIMIT:
        raise ValueError(f"unpacked it has more than {_LIMIT // MEBI} MiB")
    return plain
