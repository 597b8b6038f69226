"""Weights of a shipped ONNX file, read without the ``onnx`` package.

An ONNX file is a Protocol Buffers message: fields of (number, kind) and content, nested. Only what
a convolution's weights need is read; field numbers are those of ``onnx.proto3``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semtta.errors import SemttaError

_GRAPH = 7  # of a model
_NODE, _INITIALIZER = 1, 5  # of a graph
_INPUT, _OUTPUT, _OPERATOR = 1, 2, 4  # of a node
_DIMS, _TYPE, _NAME, _RAW = 1, 2, 8, 9  # of a tensor
_FIXED = {1: 8, 5: 4}  # bytes of the kinds whose size is fixed
_DTYPES = {1: "<f4", 6: "<i4", 7: "<i8", 10: "<f2"}


def convolutions(path: str | Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight (O, I, H, W) and bias (O,) of every convolution, float32, in the graph's order.

    Raises ``SemttaError`` for a file that is no such network."""
    try:
        return _convolutions(memoryview(Path(path).read_bytes()))
    except (OSError, KeyError, IndexError, ValueError, TypeError) as error:
        raise SemttaError(f"'{path}' cannot be read as an ONNX network: {error}.") from None


def _convolutions(content: memoryview) -> list[tuple[np.ndarray, np.ndarray]]:
    graph = dict(_fields(content))[_GRAPH]
    if isinstance(graph, int):
        raise ValueError("it has no graph")
    arrays: dict[str, np.ndarray] = {}
    found = []
    for field, value in _fields(graph):
        if field == _INITIALIZER:
            name, array = _tensor(value)
            arrays[name] = array
    for field, value in _fields(graph):
        if field != _NODE:
            continue
        operator, inputs, outputs = _node(value)
        if operator == "Cast" and inputs[0] in arrays:  # weights are stored in half precision
            arrays[outputs[0]] = arrays[inputs[0]].astype(np.float32)
        elif operator == "Conv":
            found.append((arrays[inputs[1]], arrays[inputs[2]]))
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, content) of a message's fields: whole numbers, or bytes."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        if key & 7 == 0:
            value, at = _number(message, at)
            yield key >> 3, value
            continue
        size, at = _number(message, at) if key & 7 == 2 else (_FIXED[key & 7], at)
        yield key >> 3, message[at : at + size]
        at += size


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """A whole number, seven bits in each byte, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _node(message: memoryview) -> tuple[str, list[str], list[str]]:
    """Operator, names of inputs and of outputs."""
    texts: dict[int, list[str]] = {_INPUT: [], _OUTPUT: [], _OPERATOR: []}
    for field, value in _fields(message):
        if field in texts and isinstance(value, memoryview):
            texts[field].append(bytes(value).decode())
    return texts[_OPERATOR][0], texts[_INPUT], texts[_OUTPUT]


def _tensor(message: memoryview) -> tuple[str, np.ndarray]:
    """Name and numbers of a tensor."""
    shape: list[int] = []
    found: dict[int, int | memoryview] = {}
    for field, value in _fields(message):
        if field != _DIMS:
            found[field] = value
        elif isinstance(value, int):
            shape.append(value)
        else:  # dimensions packed into one field
            at = 0
            while at < len(value):
                size, at = _number(value, at)
                shape.append(size)
    numbers = np.frombuffer(found[_RAW], _DTYPES[found[_TYPE]])
    return bytes(found[_NAME]).decode(), numbers.reshape(shape)
