"""MoveNet MultiPose: TensorFlow.js graph model (json + bin) -> ONNX."""

from __future__ import annotations

import base64
import json

import numpy as np
import onnx
from onnx import TensorProto, helper

from pose_nets.onnx_graph import OnnxGraph, conv_pads

_CONVOLUTIONS = ("_FusedConv2D", "FusedDepthwiseConv2dNative", "DepthwiseConv2dNative")
# Operators of the same meaning and argument order in ONNX.
_SAME = {
    "Sub": "Sub", "AddV2": "Add", "Mul": "Mul", "RealDiv": "Div", "FloorDiv": "Div",
    "Maximum": "Max", "Minimum": "Min", "AddN": "Sum", "Less": "Less", "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual", "Equal": "Equal", "LogicalAnd": "And", "Abs": "Abs",
    "Exp": "Exp", "Sigmoid": "Sigmoid", "Reciprocal": "Reciprocal", "Select": "Where",
    "Identity": "Identity", "Reshape": "Reshape", "Shape": "Shape", "Size": "Size",
    "Range": "Range", "Tile": "Tile", "GatherNd": "GatherND",
}  # fmt: skip
_ELEMENTWISE_4D = ("AddV2",)  # stay channels-first inside the trunk
_TYPES = {
    "DT_FLOAT": TensorProto.FLOAT,
    "DT_INT32": TensorProto.INT64,  # every integer is 64 bit in the ONNX graph
    "DT_BOOL": TensorProto.BOOL,
}


def attribute(node: dict, key: str, default=None):
    """Value of a node attribute in the json's spelling."""
    value = node.get("attr", {}).get(key)
    if value is None:
        return default
    if "list" in value:
        items = value["list"]
        if "s" in items:
            return [base64.b64decode(item).decode() for item in items["s"]]
        return [int(item) for item in items.get("i", [])]
    if "s" in value:
        return base64.b64decode(value["s"]).decode()
    if "i" in value:
        return int(value["i"])
    if "type" in value:
        return value["type"]
    return value.get("b", default)


def read(topology: bytes, weights: bytes) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Nodes in an order in which inputs come first, and the constants by name."""
    model = json.loads(topology)
    constants, offset = {}, 0
    for group in model["weightsManifest"]:
        for entry in group["weights"]:
            quantized = entry.get("quantization", {}).get("dtype") == "float16"
            dtype = np.dtype(np.float16 if quantized else entry["dtype"])
            count = int(np.prod(entry["shape"]))
            array = np.frombuffer(weights, dtype, count, offset).reshape(entry["shape"])
            offset += array.nbytes
            target = np.int64 if entry["dtype"] == "int32" else np.float32
            constants[entry["name"]] = array.astype(target)
    if offset != len(weights):
        raise ValueError(f"weights have {len(weights)} bytes, the json describes {offset}")

    nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
    order: dict[str, dict] = {}
    stack = [(name, False) for name in reversed(list(nodes))]
    while stack:
        name, done = stack.pop()
        if done:
            order[name] = nodes[name]
        elif name not in order:
            stack.append((name, True))
            stack += [(i.split(":")[0], False) for i in nodes[name].get("input", [])]
    return list(order.values()), constants


def convert(topology: bytes, weights: bytes, origin: str) -> onnx.ModelProto:
    """Input ``image`` (1, H, W, 3) uint8 RGB, H and W multiples of 32; output ``people``
    (1, 6, 56): 17 x (y, x, score), ymin, xmin, ymax, xmax, score, in units of H and W."""
    nodes, constants = read(topology, weights)
    writer = _Writer(OnnxGraph(), constants)
    for node in nodes:
        writer.emit(node)
    graph = writer.graph
    graph.add("Identity", [graph.nhwc("Identity")], ["people"])
    return graph.model(
        "movenet_multipose",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "H", "W", 3])],
        [helper.make_tensor_value_info("people", TensorProto.FLOAT, [1, 6, 56])],
        origin,
    )


class _Writer:
    def __init__(self, graph: OnnxGraph, constants: dict[str, np.ndarray]):
        self.graph = graph
        self.constants = constants

    def value(self, name: str) -> str:
        """Channels-last (or not 4D) ONNX name of a source tensor."""
        if name in self.constants and name not in self.graph.channels_last:
            array = self.constants[name]
            small = array.dtype == np.int64 or array.size < 2
            emit = self.graph.constant if small else self.graph.weight
            self.graph.set_nhwc(name, emit(array))
        return self.graph.nhwc(name)

    def emit(self, node: dict) -> None:
        op, name, graph = node["op"], node["name"], self.graph
        inputs = node.get("input", [])
        if op == "Const":
            return
        if op == "Placeholder":
            graph.set_nhwc(name, "image")
        elif op in _CONVOLUTIONS:
            graph.set_nchw(name, self._convolution(node))
        elif op in _ELEMENTWISE_4D and all(i in graph.channels_first for i in inputs):
            graph.set_nchw(name, graph.add(_SAME[op], [graph.nchw(i) for i in inputs]))
        elif op == "MaxPool":
            kernel, strides = attribute(node, "ksize")[1:3], attribute(node, "strides")[1:3]
            pads = conv_pads((None, None), kernel, strides)
            x = graph.nchw(inputs[0])
            value = graph.add("MaxPool", [x], kernel_shape=kernel, strides=strides, pads=pads)
            graph.set_nchw(name, value)
        elif op == "ResizeBilinear":
            graph.set_nchw(name, self._resize(node))
        elif op in ("Unpack", "Split", "TopKV2"):
            self._several(node)
        else:
            graph.set_nhwc(name, self._single(node))

    def _single(self, node: dict) -> str:
        op, graph = node["op"], self.graph
        inputs = [self.value(i) for i in node.get("input", [])]
        if op in _SAME:
            return graph.add(_SAME[op], inputs)
        if op == "Cast":
            return graph.add("Cast", inputs, to=_TYPES[attribute(node, "DstT")])
        if op == "SquaredDifference":
            difference = graph.add("Sub", inputs)
            return graph.add("Mul", [difference, difference])
        if op == "ExpandDims":
            return graph.add("Unsqueeze", [inputs[0], self._axes(node["input"][1])])
        if op == "Squeeze":
            axes = graph.constant(attribute(node, "squeeze_dims"), np.int64)
            return graph.add("Squeeze", [inputs[0], axes])
        if op == "Pack":
            axis = attribute(node, "axis", 0)
            axes = graph.constant([axis], np.int64)
            parts = [graph.add("Unsqueeze", [i, axes]) for i in inputs]
            return graph.add("Concat", parts, axis=axis)
        if op == "ConcatV2":
            axis = int(self.constants[node["input"][-1]])
            return graph.add("Concat", inputs[:-1], axis=axis)
        if op == "Fill":
            return graph.add("Expand", [inputs[1], inputs[0]])
        if op == "Sum":
            return graph.add("ReduceSum", [inputs[0], self._axes(node["input"][1])], keepdims=0)
        if op == "Max":
            axes = self.constants[node["input"][1]].reshape(-1).tolist()
            return graph.add("ReduceMax", inputs[:1], axes=axes, keepdims=0)
        if op == "ArgMax":
            axis = int(self.constants[node["input"][1]])
            return graph.add("ArgMax", inputs[:1], axis=axis, keepdims=0)
        if op == "StridedSlice":
            return self._strided_slice(node, inputs[0])
        raise NotImplementedError(f"TensorFlow.js operator {op}")

    def _several(self, node: dict) -> None:
        op, name, graph = node["op"], node["name"], self.graph
        inputs = node["input"]
        if op == "TopKV2":
            k = graph.constant(self.constants[inputs[1]].reshape(1), np.int64)
            outputs = graph.add("TopK", [self.value(inputs[0]), k], 2, axis=-1)
        elif op == "Split":
            axis, count = int(self.constants[inputs[0]]), attribute(node, "num_split")
            outputs = graph.add("Split", [self.value(inputs[1])], count, axis=axis)
        else:
            axis, count = attribute(node, "axis", 0), attribute(node, "num")
            parts = graph.add("Split", [self.value(inputs[0])], count, axis=axis)
            axes = graph.constant([axis], np.int64)
            outputs = [graph.add("Squeeze", [part, axes]) for part in parts]
        for i, output in enumerate(outputs):
            graph.set_nhwc(f"{name}:{i}", output)
        graph.set_nhwc(name, outputs[0])

    def _axes(self, name: str) -> str:
        return self.graph.constant(self.constants[name].reshape(-1), np.int64)

    def _convolution(self, node: dict) -> str:
        graph, inputs = self.graph, node["input"]
        depthwise = "Depthwise" in node["op"]
        weight = self.constants[inputs[1]]  # HWIO, depth-wise HWC1
        if depthwise:
            weight = weight.transpose(2, 3, 0, 1).reshape(-1, 1, *weight.shape[:2])
        else:
            weight = weight.transpose(3, 2, 0, 1)
        fused = attribute(node, "fused_ops", [])
        operands = [graph.nchw(inputs[0]), graph.weight(weight)]
        if "BiasAdd" in fused:
            operands.append(graph.weight(self.constants[inputs[2]]))
        strides = attribute(node, "strides")[1:3]
        dilations = (attribute(node, "dilations") or [1, 1, 1, 1])[1:3]
        kernel, same = weight.shape[2:], attribute(node, "padding") == "SAME"
        value = graph.add(
            "Conv",
            operands,
            kernel_shape=kernel,
            strides=strides,
            dilations=dilations,
            pads=conv_pads((None, None), kernel, strides, dilations, same),
            group=weight.shape[0] if depthwise else 1,
        )
        for kind in fused:
            if kind != "BiasAdd":
                value = graph.activation(value, kind.lower())
        return value

    def _resize(self, node: dict) -> str:
        if not attribute(node, "half_pixel_centers"):
            raise NotImplementedError("resize without half pixel centres")
        graph = self.graph
        x = graph.nchw(node["input"][0])
        first = [graph.constant(v, np.int64) for v in ([0], [2])]
        batch = graph.add("Slice", [graph.add("Shape", [x]), *first])
        sizes = graph.add("Concat", [batch, self.value(node["input"][1])], axis=0)
        return graph.add(
            "Resize",
            [x, "", "", sizes],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def _strided_slice(self, node: dict, x: str) -> str:
        """Plain slices, then dropped axes, then new axes; bit i of a mask speaks of entry i."""
        graph = self.graph
        begin, end, step = (self.constants[i].tolist() for i in node["input"][1:4])

        def masked(key: str, i: int) -> bool:
            return bool((attribute(node, key, 0) or 0) >> i & 1)

        starts, ends, steps, axes, dropped, new = [], [], [], [], [], []
        axis = 0  # of the input
        for i in range(len(begin)):
            if masked("new_axis_mask", i):
                new.append(i - len(dropped))
                continue
            if masked("shrink_axis_mask", i):
                dropped.append(axis)
                window = (begin[i], begin[i] + 1 or np.iinfo(np.int64).max)
            else:
                low = 0 if masked("begin_mask", i) else begin[i]
                window = (low, np.iinfo(np.int64).max if masked("end_mask", i) else end[i])
            if window != (0, np.iinfo(np.int64).max) or step[i] != 1:
                starts.append(window[0])
                ends.append(window[1])
                steps.append(step[i])
                axes.append(axis)
            axis += 1
        if starts:
            operands = [graph.constant(v, np.int64) for v in (starts, ends, axes, steps)]
            x = graph.add("Slice", [x, *operands])
        if dropped:
            x = graph.add("Squeeze", [x, graph.constant(dropped, np.int64)])
        if new:
            x = graph.add("Unsqueeze", [x, graph.constant(new, np.int64)])
        return x
