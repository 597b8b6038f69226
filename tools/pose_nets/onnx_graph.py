"""A small ONNX graph writer that keeps track of tensor layouts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8  # what onnxruntime 1.18 and older readers accept


@dataclass
class OnnxGraph:
    """Nodes and constants in the order in which they were added.

    Both source formats are channels-last. A 4D tensor may exist here as channels-last under its
    own name, as channels-first under a second name, or as both; ``nhwc`` and ``nchw`` return
    the wanted form and transpose only if it does not exist yet, so that a chain of
    convolutions stays channels-first from end to end.
    """

    nodes: list = field(default_factory=list)
    initializers: list = field(default_factory=list)
    channels_first: dict[str, str] = field(default_factory=dict)
    channels_last: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def fresh(self, stem: str = "t") -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def add(self, op: str, inputs: list[str], outputs: int | list[str] = 1, **attributes):
        """Append a node; returns its output name (or the list, if several were asked for)."""
        names = outputs if isinstance(outputs, list) else [self.fresh() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0] if len(names) == 1 else names

    def constant(self, value, dtype=None) -> str:
        name = self.fresh("c")
        array = np.ascontiguousarray(np.asarray(value, dtype))
        if np.ndim(value) == 0:
            array = array.reshape(())
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, value: np.ndarray) -> str:
        """Store as float16 and cast to float32 when the session is built (constant folding)."""
        half = value.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), value.astype(np.float32)):
            return self.constant(value, np.float32)
        return self.add("Cast", [self.constant(half)], to=TensorProto.FLOAT)

    def set_nchw(self, name: str, value: str) -> None:
        self.channels_first[name] = value

    def set_nhwc(self, name: str, value: str) -> None:
        self.channels_last[name] = value

    def nchw(self, name: str) -> str:
        if name not in self.channels_first:
            value = self.add("Transpose", [self.channels_last[name]], perm=[0, 3, 1, 2])
            self.channels_first[name] = value
        return self.channels_first[name]

    def nhwc(self, name: str) -> str:
        if name not in self.channels_last:
            value = self.add("Transpose", [self.channels_first[name]], perm=[0, 2, 3, 1])
            self.channels_last[name] = value
        return self.channels_last[name]

    def activation(self, value: str, kind: str) -> str:
        if kind == "none":
            return value
        if kind == "relu":
            return self.add("Relu", [value])
        if kind == "relu6":
            bounds = [self.constant(0.0, np.float32), self.constant(6.0, np.float32)]
            return self.add("Clip", [value, *bounds])
        raise NotImplementedError(f"activation {kind}")

    def model(self, name: str, inputs: list, outputs: list, origin: str) -> onnx.ModelProto:
        nodes, used = [], {output.name for output in outputs}
        for node in reversed(self.nodes):
            if used.intersection(node.output):
                nodes.insert(0, node)
                used.update(node.input)
        constants = [c for c in self.initializers if c.name in used]
        graph = helper.make_graph(nodes, name, inputs, outputs, constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="semtta",
            doc_string=origin,
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def same_padding(size: int | None, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TensorFlow's SAME padding (before, after) of one axis.

    An unknown ``size`` means: divisible by the stride.
    """
    size = stride * kernel if size is None else size
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def conv_pads(sizes, kernels, strides, dilations=(1, 1), same: bool = True) -> list[int]:
    """ONNX's ``pads`` (top, left, bottom, right) of a TensorFlow convolution or pooling."""
    if not same:
        return [0, 0, 0, 0]
    pairs = [same_padding(*axis) for axis in zip(sizes, kernels, strides, dilations)]
    return [pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]]
