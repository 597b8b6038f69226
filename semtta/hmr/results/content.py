"""A result file before anybody knows whose it is: what kind of container, and what is in it.

The kind is told by the first bytes. Pickles are read by machines that show them stand-ins only:
nothing in a file is ever run.
"""

from __future__ import annotations

import collections
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semtta.errors import SemttaError, printable, shortened
from semtta.joblib_pickles import load_joblib, load_pickle
from semtta.reading import check_file, read_npz, reading
from semtta.tensor_files import read_tensors
from semtta.tensor_pickles import Inert

WHAT = "result"
_LEGACY_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the mark of ``torch.save`` until 2020
_OBJECT_LIMIT = 1 << 30  # bytes of a pickled object in an .npz or .npy
_SHOWN = 16


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Args:
        path: of the file.
        kind: ``npz``, ``npy``, ``torch`` or ``pickle``.
        data: dictionaries, lists, arrays, tensors. Never changed in place.
        foreign: classes in a pickle that were not read.
        compression: see :class:`semtta.joblib_pickles.Pickled`; of an .npz, "zip" or "".
    """

    path: Path
    kind: str
    data: Any
    foreign: frozenset[str] = field(default_factory=frozenset)
    compression: str = ""

    def has(self, *keys: str) -> bool:
        """Whether the content is a dictionary with all these keys."""
        return has(self.data, *keys)

    def people(self, *keys: str) -> bool:
        """Whether it is a dictionary of people, each a dictionary with all these keys."""
        return (
            isinstance(self.data, Mapping) and bool(self.data)
            and all(has(person, *keys) for person in self.data.values())
        )  # fmt: skip


def has(value, *keys: str) -> bool:
    return isinstance(value, Mapping) and all(key in value for key in keys)


def open_content(path: str | Path) -> Content:
    """Read a file of any kind; raises ``SemttaError`` if it is none or damaged."""
    path = check_file(path, WHAT)
    with reading(path, WHAT):
        with open(path, "rb") as file:
            head = file.read(64)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                zipped = any(info.compress_type != zipfile.ZIP_STORED
                             for info in archive.infolist())  # fmt: skip
            if any(name.endswith("data.pkl") for name in names):
                return _torch(path)
            return _npz(path, "zip" if zipped else "")
        if head[:6] == b"\x93NUMPY":
            return _npy(path)
        if _LEGACY_TORCH in head:
            return _torch(path)
        found = load_joblib(path, WHAT)
        return Content(path, "pickle", found.content, frozenset(found.foreign), found.compression)


def _torch(path: Path) -> Content:
    foreign: set[str] = set()
    data = _settled(read_tensors(path, "a result of PyTorch"), foreign)
    return Content(path, "torch", data, frozenset(foreign))


def _settled(value, foreign: set[str], depth: int = 0):
    """Plain dictionaries for PyTorch's stand-ins of ordered ones, so that they can be written.

    Args:
        foreign: notes whether there are objects of other classes."""
    if depth > 20:
        raise ValueError("it is nested too deeply")
    if isinstance(value, Inert):
        foreign.add("objects of other classes")
    if isinstance(value, dict):
        return {key: _settled(item, foreign, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_settled(item, foreign, depth + 1) for item in value)
    return value


def _npz(path: Path, compression: str) -> Content:
    """All arrays; pickled objects through the machine for pickles."""
    data: dict[str, Any] = dict(read_npz(path, WHAT))
    foreign: set[str] = set()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in data or not info.filename.endswith(".npy"):
                continue
            if info.file_size > _OBJECT_LIMIT:
                raise ValueError(f"'{name}' has more than {_OBJECT_LIMIT >> 20} MiB")
            with archive.open(info) as file:
                data[name] = _object(file.read(), foreign)
    return Content(path, "npz", data, frozenset(foreign), compression)


def _npy(path: Path) -> Content:
    foreign: set[str] = set()
    check_file(path, WHAT, _OBJECT_LIMIT)
    data = _object(path.read_bytes(), foreign)
    return Content(path, "npy", data, frozenset(foreign))


def _object(data: bytes, foreign: set[str]):
    """What an array in numpy's format holds that is a pickled object: alone, or an array of them.

    Any other array becomes what it is."""
    start = 10 + int.from_bytes(data[8:10], "little")
    if data[6] > 1:
        start = 12 + int.from_bytes(data[8:12], "little")
    if b"'|O'" not in data[:start]:
        raise SemttaError("a result as one array of numbers is of no program that is known; a "
                          "dictionary of named arrays is expected.")  # fmt: skip
    found = load_pickle(data[start:])
    foreign |= found.foreign
    content = found.content
    if isinstance(content, np.ndarray) and content.size == 1:
        return content.reshape(-1)[0]
    return list(content) if isinstance(content, np.ndarray) else content


def described(data) -> str:
    """What a content holds, for messages: its keys, and those of its first entry."""
    if isinstance(data, Mapping):
        keys = ", ".join(shortened(printable(str(key)), 30) for key in list(data)[:_SHOWN])
        more = f" and {len(data) - _SHOWN} more" if len(data) > _SHOWN else ""
        first = next((value for value in data.values() if isinstance(value, Mapping)), None)
        inner = "" if first is None else " (the first of them with " + ", ".join(
            shortened(printable(str(key)), 30) for key in list(first)[:_SHOWN]) + ")"  # fmt: skip
        return f"the keys {keys}{more}{inner}" if data else "nothing"
    if isinstance(data, (list, tuple)):
        first = data[0] if data and isinstance(data[0], Mapping) else None
        each = "" if first is None else f", the first with {described(first)}"
        return f"a list of {len(data)}{each}"
    if isinstance(data, (np.ndarray, torch.Tensor)):
        return f"an array of shape {tuple(data.shape)}"
    return f"a {type(data).__name__}"


def replaced(data, *path_and_value):
    """A copy of nested dictionaries and lists with one value exchanged; the rest is shared.

    Args:
        path_and_value: keys from the outside to the inside, then the value."""
    *keys, value = path_and_value
    if not keys:
        return value
    if isinstance(data, Mapping):
        copy: Any = collections.defaultdict(dict) if (
            isinstance(data, collections.defaultdict)) else {}  # fmt: skip
        copy.update(data)
    else:
        copy = list(data)
    copy[keys[0]] = replaced(data[keys[0]], *keys[1:], value)
    return type(data)(copy) if isinstance(data, tuple) else copy
