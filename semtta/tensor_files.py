"""Tensors in other people's files: ``.safetensors``, what ``torch.save`` wrote, TorchScript.

Nothing in a file is ever run. A pickle is read by an unpickler that knows how tensors and plain
containers are rebuilt and puts an inert stand-in wherever it names anything else; of a TorchScript
archive only the attributes that hold tensors are read, never its code. Tensors are views of the
mapped file: what a file claims is held against what it has before anything takes memory.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.reading import MEBI, Metered, check_file, reading

_PICKLE_LIMIT = 8 * MEBI  # of the part that names tensors; a billion weights have 0.2 MiB of names
_HEADER_LIMIT = 64 * MEBI  # of JSON
_UNPACKED_LIMIT = 384 * MEBI  # of all compressed tensors of an archive
_MODULES = 10_000  # of a TorchScript archive
_DIMENSIONS = 16
_LEGACY = (0x1950A86A20F9469CFC6C, 1001)  # what ``torch.save`` began a file with until 2020
_SAFETENSORS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16,
                "BF16": torch.bfloat16}  # fmt: skip
_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}  # fmt: skip
_Storage = Callable[[torch.dtype, str, int], Tensor]  # dtype, key, numbers -> 1-D


def read_tensors(path: str | Path, what: str, scripted: bool = False):
    """The content of a file with tensors: a dictionary as a rule, in it tensors on the CPU.

    Args:
        path: the file.
        what: how an error calls it, with an article: "a MotionCLIP checkpoint".
        scripted: whether it may be a TorchScript archive, which is read as the state dict that
            its module would have.

    Raises ``SemttaError`` if the file is missing, damaged or something else."""
    path = Path(path)
    if not path.is_file():
        raise SemttaError(f"there is no file '{path}' to read {what} from.")
    check_file(path, what)
    try:
        with reading(path, what):
            if path.suffix == ".safetensors":
                return _read_safetensors(path)
            return _read_archive(path, what, scripted) if zipfile.is_zipfile(path) else (
                _read_legacy(path)
            )  # fmt: skip
    except SemttaError as error:
        if error.__cause__ is None:  # a sentence of its own
            raise
        why = str(error).partition("cannot be read: ")[2].rstrip(".")
        raise SemttaError(
            f"'{path}' is damaged or not {what} ({why}); copy or download it again."
        ) from error.__cause__


# Files -------------------------------------------------------------------------------------------


def _mapped(path: Path) -> mmap.mmap:
    """The bytes of a file, read when they are looked at; writing changes the copy in memory."""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _view(data, dtype: torch.dtype, start: int, count: int) -> Tensor:
    """(count,) numbers of a buffer from a byte on; raises ``ValueError`` if it has fewer."""
    size = count * dtype.itemsize
    if not 0 <= start <= start + size <= len(data):
        raise ValueError("a tensor claims more numbers than there are")
    if count == 0:
        return torch.empty(0, dtype=dtype)
    if start % dtype.itemsize:
        return torch.frombuffer(bytearray(data[start : start + size]), dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=count, offset=start)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The floating-point tensors of a ``.safetensors`` file.

    The format: 8 bytes little-endian length, that many bytes of JSON, then the data; the JSON
    gives each tensor's dtype, shape and range of bytes."""
    data = _mapped(path)
    length = int.from_bytes(data[:8], "little")
    if length > min(len(data) - 8, _HEADER_LIMIT):
        raise ValueError("the header is longer than the file")
    tensors = {}
    for key, entry in json.loads(data[8 : 8 + length]).items():
        if key == "__metadata__" or entry["dtype"] not in _SAFETENSORS:
            continue
        dtype, shape = _SAFETENSORS[entry["dtype"]], _whole(entry["shape"])
        begin, end = _whole(entry["data_offsets"])
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"tensor {key} lies outside the file")
        tensors[key] = _view(data, dtype, 8 + length + begin, math.prod(shape)).reshape(shape)
    return tensors


def _read_archive(path: Path, what: str, scripted: bool):
    """A zip: ``torch.save`` of today, or TorchScript."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        roots = [n[: -len("data.pkl")] for n in entries if n.endswith("/data.pkl")]
        if len(roots) != 1 or roots[0].count("/") != 1:
            raise ValueError("it is a zip without tensors")
        root = roots[0]
        script = f"{root}constants.pkl" in entries
        if script and not scripted:
            raise SemttaError(f"'{path}' is a TorchScript program, not {what}.")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("its numbers have their bytes in another order")
        names = archive.getinfo(f"{root}data.pkl")
        if names.file_size > _PICKLE_LIMIT:
            raise ValueError(f"it names its tensors in more than {_PICKLE_LIMIT // MEBI} MiB")
        storage = _archive_storage(archive, entries, f"{root}data/", _mapped(path))
        content = _Unpickler(io.BytesIO(archive.read(names)), storage).load()
    if not script:
        return content
    if not isinstance(content, _Inert):
        raise ValueError("it holds no module")
    return _attributes(content)


def _archive_storage(archive, entries: dict, folder: str, data) -> _Storage:
    """Finds an archive's storages; compressed ones are unpacked, up to a limit together."""
    unpacked: dict[str, bytearray] = {}

    def storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
        info = entries[f"{folder}{key}"]
        if info.flag_bits & 1:
            raise ValueError("it is encrypted")
        if info.compress_type == zipfile.ZIP_STORED:
            head = data[info.header_offset : info.header_offset + 30]
            start = info.header_offset + 30 + int.from_bytes(head[26:28], "little")
            start += int.from_bytes(head[28:30], "little")
            if head[:4] != b"PK\x03\x04" or count * dtype.itemsize > info.file_size:
                raise ValueError("a tensor claims more numbers than there are")
            return _view(data, dtype, start, count)
        if key not in unpacked:
            if sum(map(len, unpacked.values())) + info.file_size > _UNPACKED_LIMIT:
                raise ValueError(
                    "its compressed tensors have more than "
                    f"{_UNPACKED_LIMIT // MEBI} MiB; save it without compression"
                )
            unpacked[key] = bytearray(archive.read(info))
        return _view(unpacked[key], dtype, 0, count)

    return storage


def _read_legacy(path: Path):
    """``torch.save`` until 2020: pickles (mark, version, system, content, keys), then the data.

    Where a storage lies is known only after the keys, so the content is read twice."""
    data = _mapped(path)
    head = io.BytesIO(data[:_PICKLE_LIMIT])
    mark = tuple(_Unpickler(head, None).load() for _ in range(2))
    if mark != _LEGACY:
        raise ValueError("it is not what PyTorch saves")
    _Unpickler(head, None).load()
    start = head.tell()
    sizes: dict = {}
    _Unpickler(head, lambda dtype, key, count: sizes.setdefault(key, (dtype, count))).load()
    keys = _Unpickler(head, None).load()
    place, at = head.tell(), {}
    for key in keys:
        dtype, count = sizes[key]
        if int.from_bytes(data[place : place + 8], "little") != count:
            raise ValueError("it is cut off or damaged")
        at[key] = place + 8
        place += 8 + count * dtype.itemsize
    head.seek(start)
    return _Unpickler(head, lambda dtype, key, count: _view(data, dtype, at[key], count)).load()


# Pickles -----------------------------------------------------------------------------------------


class _Inert(dict):
    """What stands in a file for a foreign object: it can do nothing.

    ``state``: the attributes that the object would have had."""

    state: object = None
    __hash__ = object.__hash__  # type: ignore[assignment]  # may have been a key

    def __init__(self, *args, **kwargs):
        super().__init__()

    def __setstate__(self, state):
        self.state = state

    def append(self, item):
        pass

    def extend(self, items):
        pass


class _Unpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers; whatever else a file names becomes inert.

    Args:
        storage: finds the numbers of a tensor; None = there are none."""

    def __init__(self, file, storage: _Storage | None):
        super().__init__(Metered(file), encoding="latin1")
        self._storage = storage

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return _Ordered
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        return _REBUILD.get((module, name), _Inert)

    def persistent_load(self, pid):
        if pid[0] == "module":  # of the old format, beside its source text
            return pid[1]
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or self._storage is None:
            return None
        (count,) = _whole((count,))
        numbers = self._storage(dtype, str(key), count)
        if view and view[0] is not None and isinstance(numbers, Tensor):
            _, first, size = view[0]  # a part of a storage, in the old format
            return numbers[first : first + size]
        return numbers


class _Ordered(dict):
    """An ordered dictionary; attributes of its own are dropped."""

    def __setstate__(self, state):
        pass


class _Rebuild:
    """A function that a file may call, and cannot change."""

    __slots__ = ()

    def __call__(self, storage, offset=0, size=(), stride=(), *_) -> Tensor | None:
        if not isinstance(storage, Tensor):  # of numbers that are not known
            return None
        offset, *sizes = _whole((offset, *size))
        strides = _whole(stride)
        if len(sizes) != len(strides) or len(sizes) > _DIMENSIONS:
            raise ValueError(f"a tensor of {len(sizes)} dimensions")
        if 0 in sizes:
            return torch.empty(sizes, dtype=storage.dtype)
        if offset + sum((n - 1) * s for n, s in zip(sizes, strides)) >= len(storage):
            raise ValueError("a tensor claims more numbers than there are")
        return storage.as_strided(sizes, strides, offset)

    def __setstate__(self, state):
        raise ValueError("it changes a function")


class _Parameter(_Rebuild):
    __slots__ = ()

    def __call__(self, data, *_):
        return data


_REBUILD = {
    ("torch._utils", "_rebuild_tensor"): _Rebuild(),
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
    ("torch._utils", "_rebuild_parameter"): _Parameter(),
}


def _whole(numbers) -> list[int]:
    numbers = list(numbers)
    if any(type(n) is not int or not 0 <= n < 1 << 48 for n in numbers):
        raise ValueError("a size is no whole number")
    return numbers


def _attributes(module) -> dict[str, Tensor]:
    """Tensors of a TorchScript module by the names of its state dict."""
    found: dict[str, Tensor] = {}
    todo = [("", module)]
    for _ in range(_MODULES):
        if not todo:
            return found
        prefix, module = todo.pop()
        for name, value in module.state.items() if isinstance(module.state, dict) else ():
            if isinstance(value, Tensor):
                found[f"{prefix}{name}"] = value
            elif isinstance(value, _Inert):
                todo.append((f"{prefix}{name}.", value))
    raise ValueError("its modules have no end")
