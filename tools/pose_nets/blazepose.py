"""BlazePose landmark net: .tflite flatbuffer -> ONNX.

Needs a module with the generated flatbuffer schema of TensorFlow Lite; the one inside
``ai-edge-litert`` serves, and so does the runtime there for the comparison.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from pose_nets.onnx_graph import OnnxGraph, conv_pads

# Output tensors of the file and what they are; the segmentation mask (Identity_2) is left out.
OUTPUTS = {
    "Identity": ("landmarks", [195]),
    "Identity_1": ("flag", [1]),
    "Identity_3": ("heatmaps", [39, 64, 64]),
    "Identity_4": ("world", [117]),
}
_ACTIVATIONS = {0: "none", 1: "relu", 3: "relu6"}


class TfliteGraph:
    """Tensors, constants (as float32 / int) and operators of a float .tflite file."""

    def __init__(self, data: bytes):
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.model = schema.Model.GetRootAsModel(bytearray(data), 0)
        self.graph = self.model.Subgraphs(0)
        self.tensors = [self.graph.Tensors(i) for i in range(self.graph.TensorsLength())]
        self.names = [tensor.Name().decode() for tensor in self.tensors]
        self.operators = [self.graph.Operators(i) for i in range(self.graph.OperatorsLength())]
        self.constants = self._constants()

    def shape(self, index: int) -> list[int]:
        tensor = self.tensors[index]
        return tensor.ShapeAsNumpy().tolist() if tensor.ShapeLength() else []

    def kind(self, operator) -> str:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        names = {v: k for k, v in vars(self.schema.BuiltinOperator).items() if isinstance(v, int)}
        return names[number]

    def options(self, operator, name: str):
        options = getattr(self.schema, name)()
        table = operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        return options

    def _constants(self) -> dict[int, np.ndarray]:
        types = self.schema.TensorType
        dtypes = {types.FLOAT32: np.float32, types.FLOAT16: np.float16, types.INT32: np.int32}
        found = {}
        for i, tensor in enumerate(self.tensors):
            buffer = self.model.Buffers(tensor.Buffer())
            if buffer.DataLength():
                raw = buffer.DataAsNumpy().tobytes()
                found[i] = np.frombuffer(raw, dtypes[tensor.Type()]).reshape(self.shape(i))
        for operator in self.operators:
            if self.kind(operator) == "DEQUANTIZE" and operator.Inputs(0) in found:
                found[operator.Outputs(0)] = found[operator.Inputs(0)].astype(np.float32)
        return found

    def needed(self, wanted: list[int]) -> list:
        """Operators that the wanted tensors depend on, in the file's order."""
        alive, kept = set(wanted), []
        for operator in reversed(self.operators):
            if operator.Outputs(0) in alive and self.kind(operator) != "DEQUANTIZE":
                kept.append(operator)
                alive.update(operator.InputsAsNumpy().tolist())
        return kept[::-1]


def convert(data: bytes, origin: str) -> onnx.ModelProto:
    """Input ``image`` (N, 256, 256, 3) uint8 RGB; outputs as in ``OUTPUTS``, N first."""
    source, graph = TfliteGraph(data), OnnxGraph()
    image = graph.add("Cast", ["image"], to=TensorProto.FLOAT)
    image = graph.add("Mul", [image, graph.constant(1 / 255, np.float32)])
    graph.set_nhwc(str(source.graph.Inputs(0)), image)

    by_name = {source.names[i]: i for i in source.graph.OutputsAsNumpy().tolist()}
    for operator in source.needed([by_name[name] for name in OUTPUTS]):
        _emit(graph, source, operator)
    for name, (label, shape) in OUTPUTS.items():
        key = str(by_name[name])
        value = graph.nchw(key) if len(shape) == 3 else graph.nhwc(key)
        graph.add("Identity", [value], [label])
    return graph.model(
        "blazepose_full",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 256, 256, 3])],
        [
            helper.make_tensor_value_info(label, TensorProto.FLOAT, ["N", *shape])
            for label, shape in OUTPUTS.values()
        ],
        origin,
    )


def _emit(graph: OnnxGraph, source: TfliteGraph, operator) -> None:
    kind = source.kind(operator)
    inputs = operator.InputsAsNumpy().tolist()
    output = str(operator.Outputs(0))
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        graph.set_nchw(output, _convolution(graph, source, operator, kind, inputs))
    elif kind == "ADD":
        options = source.options(operator, "AddOptions")
        value = graph.add("Add", [graph.nchw(str(i)) for i in inputs])
        value = graph.activation(value, _ACTIVATIONS[options.FusedActivationFunction()])
        graph.set_nchw(output, value)
    elif kind == "MAX_POOL_2D":
        options = source.options(operator, "Pool2DOptions")
        kernel = (options.FilterHeight(), options.FilterWidth())
        strides = (options.StrideH(), options.StrideW())
        pads = conv_pads(source.shape(inputs[0])[1:3], kernel, strides, same=options.Padding() == 0)
        x = graph.nchw(str(inputs[0]))
        value = graph.add("MaxPool", [x], kernel_shape=kernel, strides=strides, pads=pads)
        graph.set_nchw(output, value)
    elif kind == "PAD":  # the file pads channels as well as borders
        before, after = source.constants[inputs[1]][[0, 3, 1, 2]].T.tolist()
        pads = graph.constant(before + after, np.int64)
        graph.set_nchw(output, graph.add("Pad", [graph.nchw(str(inputs[0])), pads]))
    elif kind == "RESIZE_BILINEAR":
        graph.set_nchw(output, _resize(graph, source, operator, inputs))
    elif kind == "RESHAPE":
        x = str(inputs[0])
        x = graph.nhwc(x)
        shape = graph.constant([-1, *source.shape(operator.Outputs(0))[1:]], np.int64)
        graph.set_nhwc(output, graph.add("Reshape", [x, shape]))
    elif kind == "LOGISTIC":
        x = str(inputs[0])
        graph.set_nhwc(output, graph.add("Sigmoid", [graph.nhwc(x)]))
    else:
        raise NotImplementedError(f"tflite operator {kind}")


def _convolution(graph: OnnxGraph, source: TfliteGraph, operator, kind: str, inputs) -> str:
    depthwise = kind != "CONV_2D"
    options = source.options(operator, "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions")
    weight = source.constants[inputs[1]]  # OHWI, depth-wise 1HWC
    weight = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
    strides = (options.StrideH(), options.StrideW())
    dilations = (options.DilationHFactor(), options.DilationWFactor())
    kernel = weight.shape[2:]
    sizes = source.shape(inputs[0])[1:3]
    value = graph.add(
        "Conv",
        [
            graph.nchw(str(inputs[0])),
            graph.weight(weight),
            graph.weight(source.constants[inputs[2]]),
        ],
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        pads=conv_pads(sizes, kernel, strides, dilations, options.Padding() == 0),
        group=weight.shape[0] if depthwise else 1,
    )
    return graph.activation(value, _ACTIVATIONS[options.FusedActivationFunction()])


def _resize(graph: OnnxGraph, source: TfliteGraph, operator, inputs) -> str:
    options = source.options(operator, "ResizeBilinearOptions")
    if not (options.AlignCorners() or options.HalfPixelCenters()):
        raise NotImplementedError("resize without half pixel centres or aligned corners")
    old = source.shape(inputs[0])[1:3]
    new = source.constants[inputs[1]].tolist()
    scales = graph.constant([1, 1, new[0] / old[0], new[1] / old[1]], np.float32)
    mode = "align_corners" if options.AlignCorners() else "half_pixel"
    return graph.add(
        "Resize",
        [graph.nchw(str(inputs[0])), "", scales],
        mode="linear",
        coordinate_transformation_mode=mode,
    )
