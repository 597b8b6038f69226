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
    (graph,) = _inner(content, _GRAPH)
    arrays = dict(_tensor(value) for value in _inner(graph, _INITIALIZER))
    found = []
    for value in _inner(graph, _NODE):
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


def _inner(message: memoryview, number: int) -> list[memoryview]:
    """Contents of the fields of one number, in order."""
    return [value for field, value in _fields(message)
            if field == number and isinstance(value, memoryview)]  # fmt: skip


def _node(message: memoryview) -> tuple[str, list[str], list[str]]:
    """Operator, names of inputs and of outputs."""
    operator, inputs, outputs = (
        [bytes(text).decode() for text in _inner(message, number)]
        for number in (_OPERATOR, _INPUT, _OUTPUT)
    )
    return operator[0], inputs, outputs


def _tensor(message: memoryview) -> tuple[str, np.ndarray]:
    """Name and numbers of a tensor."""
    numbers = [(field, value) for field, value in _fields(message) if isinstance(value, int)]
    shape = [value for field, value in numbers if field == _DIMS]
    for packed in _inner(message, _DIMS):  # all sizes in one field
        at = 0
        while at < len(packed):
            size, at = _number(packed, at)
            shape.append(size)
    (name,), (raw,) = _inner(message, _NAME), _inner(message, _RAW)
    array = np.frombuffer(raw, _DTYPES[dict(numbers)[_TYPE]])
    return bytes(name).decode(), array.reshape(shape)
