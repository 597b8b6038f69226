"""Numpy's arrays in strangers' pickles, without numpy's own machinery.

A pickle may call and change whatever it can name, and numpy believes what it is told: a dtype whose
state lies makes an array of pointers of any bytes. So a file is shown stand-ins only. They note
what it says; numbers are made of it afterwards, of types of plain numbers and text, and only if the
bytes are there.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import numpy as np

from semtta.reading import MEBI

_CODE = re.compile(r"[<>|=]?(\?|b1|[iufc]\d{1,2}|[SU][1-9]\d{0,8})")
_MOST_BYTES = 512 * MEBI  # of all arrays of a file; one piece of bytes may be in many of them


class Inert(dict):
    """Stand-in for an object that nobody needs; it can do nothing."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # may have been a key

    def __init__(self, *args, **kwargs):
        super().__init__()

    def __setstate__(self, state):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass


class SafeCall:
    """A function that a file may call, and cannot change."""

    __slots__ = ("_function",)

    def __init__(self, function):
        self._function = function

    def __call__(self, *args):
        return self._function(*args)

    def __setstate__(self, state):
        raise ValueError("it changes a function")


class SafeType:
    """Stand-in for ``numpy.dtype``: a code and a byte order, whatever else its state claims."""

    __slots__ = ("_code", "_order")

    def __init__(self, code="", *args):
        self._code = code
        self._order: Literal["=", "<", ">"] = "="

    def __setstate__(self, state):
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self._order = state[1]

    @property
    def of_objects(self) -> bool:
        return self._code in ("O", "|O", "O4", "O8")

    def dtype(self) -> np.dtype:
        """Numbers, booleans or text; raises ``ValueError`` for anything else."""
        if not isinstance(self._code, str) or not _CODE.fullmatch(self._code):
            raise ValueError(f"an array is of the type {str(self._code)[:20]!r}, not of numbers")
        found = np.dtype(self._code)
        return found if self._order == "=" else found.newbyteorder(self._order)


class SafeArray:
    """Stand-in for ``numpy.ndarray``: what a file says of one; :meth:`array` makes it."""

    __slots__ = ("_state",)

    def __init__(self, *args):
        self._state = None

    def __setstate__(self, state):
        self._state = state

    @property
    def objects(self) -> list | None:
        """What an array of Python's objects holds, as a list; None for numbers."""
        kind, held = self._said()[1], self._said()[3]
        return held if kind.of_objects and isinstance(held, list) else None

    @property
    def nbytes(self) -> int:
        held = self._said()[3]
        return len(held) * (8 if isinstance(held, list) else 1)

    def array(self) -> np.ndarray:
        """A copy of the bytes that are there, in the machine's byte order; writable.

        Raises ``ValueError`` unless they are exactly what type and shape need."""
        shape, kind, fortran, held = self._said()
        order: Literal["F", "C"] = "F" if fortran else "C"
        if self.objects is not None:
            found = np.empty(len(held), object)
            for i, value in enumerate(held):
                found[i] = value
            return found.reshape(shape, order=order)
        dtype = kind.dtype()
        if isinstance(held, str):  # bytes of Python 2
            held = held.encode("latin1")
        if not isinstance(held, bytes) or math.prod(shape) * dtype.itemsize != len(held):
            raise ValueError(f"an array claims the shape {str(shape)[:60]} but is not there")
        native = dtype.newbyteorder("=")
        found = np.frombuffer(held, dtype).astype(native) if held else np.empty(0, native)
        return found.reshape(shape, order=order)

    def _said(self) -> tuple:
        """Shape, type, whether columns come first, and the content."""
        state = self._state
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError("an array claims a size but is not there")
        shape, kind, fortran, held = state[-4:]
        whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not whole or not isinstance(kind, SafeType) or not isinstance(held, (bytes, str, list)):
            raise ValueError("an array is not described as numpy does")
        return shape, kind, bool(fortran), held


def unpacked(content, most: int = _MOST_BYTES):
    """The content of a pickle with arrays for their stand-ins, in lists, tuples and dictionaries.

    Args:
        content: what the unpickler gave; lists and dictionaries are changed in place.
        most: bytes of all arrays together.
    Raises ``ValueError`` for an array that is none, or for too many bytes."""
    done: dict[int, tuple] = {}  # id -> itself, so that the id is not used again, and the result
    left = most

    def walk(value: Any) -> Any:
        nonlocal left
        if not isinstance(value, (SafeArray, dict, list, tuple)):
            return value
        if id(value) in done:
            return done[id(value)][1]
        done[id(value)] = value, value
        if isinstance(value, SafeArray):
            left -= value.nbytes
            if left < 0:
                raise ValueError(f"its arrays have more than {most // MEBI} MiB")
            walk(value.objects)
            found: Any = value.array()
        elif isinstance(value, tuple):
            found = tuple(walk(item) for item in value)
        else:
            found = value
            for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
                value[key] = walk(item)
        done[id(value)] = value, found
        return found

    return walk(content)


def bounded(content, most: int = 2_000_000):
    """The content unchanged, unless its lists would unfold to more pieces: a few lists that hold
    each other many times are small in a file and endless for numpy.

    Raises ``ValueError``."""
    todo, left = [content], most
    while todo:
        value = todo.pop()
        value = value.objects if isinstance(value, SafeArray) else value
        if isinstance(value, (list, tuple, dict)):
            left -= len(value)
            if left < 0:
                raise ValueError("lists are nested to more numbers than a file holds")
            todo += value.values() if isinstance(value, dict) else value
    return content


def _reconstruct(kind=None, shape=None, code=None) -> SafeArray:
    """An array whose state follows; never one of a claimed size."""
    return SafeArray()


def _scalar(kind, held=b""):
    if not isinstance(kind, SafeType):
        raise ValueError("a number is not described as numpy does")
    made = SafeArray()
    made.__setstate__(((), kind, False, held))
    return made.array()[()]


def _frombuffer(held, kind, shape, order="C", *_) -> SafeArray:
    made = SafeArray()
    made.__setstate__((shape, kind, order == "F", bytes(held) if isinstance(held, bytearray) else
                       held))  # fmt: skip
    return made


def _encode(text, encoding="latin1") -> bytes:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str):
        raise ValueError("it encodes what is no text")
    return text.encode("latin1")


_HELPERS = {
    "_reconstruct": SafeCall(_reconstruct),
    "scalar": SafeCall(_scalar),
    "_frombuffer": SafeCall(_frombuffer),
}
_NAMES = {
    ("numpy", "ndarray"): SafeArray,
    ("numpy", "dtype"): SafeType,
    ("_codecs", "encode"): SafeCall(_encode),
}


def numpy_stand_in(module: str, name: str):
    """What an unpickler's ``find_class`` gives for a name of numpy; None = not one of arrays."""
    if module.startswith(("numpy.core", "numpy._core")) and name in _HELPERS:
        return _HELPERS[name]
    return _NAMES.get((module, name))
