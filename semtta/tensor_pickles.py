"""Pickles that PyTorch wrote, of tensors and plain containers; nothing in them is ever run.

The unpickler knows how tensors are rebuilt and puts an inert stand-in wherever a file names
anything else. What a tensor claims is held against the numbers that are there.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable

import torch
from torch import Tensor

from semtta.reading import Metered

_MODULES = 10_000  # of a TorchScript archive
_DIMENSIONS = 16
_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}  # fmt: skip
Storage = Callable[[torch.dtype, str, int], Tensor]  # dtype, key, numbers -> 1-D


class Inert(dict):
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


class TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers; whatever else a file names becomes inert.

    Args:
        storage: finds the numbers of a tensor; None = there are none."""

    def __init__(self, file, storage: Storage | None):
        super().__init__(Metered(file), encoding="latin1")
        self._storage = storage

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return _Ordered
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        return _REBUILD.get((module, name), Inert)

    def persistent_load(self, pid):
        if pid[0] == "module":  # of the old format, beside its source text
            return pid[1]
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or self._storage is None:
            return None
        (count,) = whole((count,))
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
        offset, *sizes = whole((offset, *size))
        strides = whole(stride)
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


def rebuilder(module: str, name: str):
    """What rebuilds a tensor for an unpickler's ``find_class``; None = it does no such thing."""
    return _REBUILD.get((module, name))


def whole(numbers) -> list[int]:
    """Sizes and places as a file gives them; raises ``ValueError`` for what can be none."""
    numbers = list(numbers)
    if any(type(n) is not int or not 0 <= n < 1 << 48 for n in numbers):
        raise ValueError("a size is no whole number")
    return numbers


def attributes(module) -> dict[str, Tensor]:
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
            elif isinstance(value, Inert):
                todo.append((f"{prefix}{name}.", value))
    raise ValueError("its modules have no end")
