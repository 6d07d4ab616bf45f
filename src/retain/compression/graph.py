"""A neural learner as an ONNX graph, whose initialisers bear the names of the module's state: they can be patched.

Shapes: n rows, k classes or outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from retain import graphs
from retain.core import Array
from retain.errors import SettingError

if TYPE_CHECKING:
    import onnx

    from retain.learners.neural import Neural

__all__ = ["ROWS", "drawn", "exported", "filled", "folded", "hollow", "initialisers", "library"]

ROWS = "rows"
_ANSWERS, _OUTPUTS, _CLASSES = "answers", "retain.outputs", "retain.classes"
_SMALL = 1 << 16  # elements of a constant that is worth computing beforehand


def exported(learner: Neural, /) -> onnx.ModelProto:
    """The graph by which the learner answers: rows (n, ...) to probabilities (n, k), or numbers (n, k).

    Raises SettingError for what has learnt nothing yet, answers by a head of its own, or cannot be exported.
    """
    onnx = library("onnxscript")
    import torch

    if learner.head is not None:
        raise SettingError(
            f"the learner answers by {type(learner.head).__name__}, which no graph is made of; give a learner without "
            "head=, or compress the features and keep the head"
        )
    example = learner.example(2).cpu()
    module = deepcopy(learner.module).cpu().float().eval()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in drawn(learner).items()}, strict=False)
    if example.is_floating_point():
        example = example.float()
    try:
        program = graphs.exported(module, (example,), free=1, inputs=[ROWS], outputs=[_OUTPUTS])
    except Exception as error:  # whatever a module of the user's makes torch raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SettingError(
            f"the module cannot be exported to ONNX ({first}); write its forward without branches on values, and with "
            "layers of torch"
        ) from error
    model = program.model_proto
    sizes = {one.name: tuple(one.dims) for one in model.graph.initializer}
    for name, value in drawn(learner).items():
        if sizes.get(name, value.shape) != value.shape:
            raise SettingError(f"the exporter changed the shape of {name!r}; report the module to retain")
    _answer(model, onnx, classes=learner.model.classes)
    _bare(model)
    return _settled(model, onnx)


def drawn(learner: Neural, /) -> dict[str, Array]:
    """The weights and buffers that the learner answers with, in float32, by the names of the module's state."""
    served = {name: tensor.detach().cpu() for name, tensor in learner.serving().items()}
    return {name: (tensor.float() if tensor.is_floating_point() else tensor).numpy() for name, tensor in served.items()}


def initialisers(model: onnx.ModelProto, /) -> dict[str, Array]:
    """The constants of a graph by their names."""
    to_array = library().numpy_helper.to_array
    return {one.name: to_array(one) for one in model.graph.initializer}


def hollow(model: onnx.ModelProto, weights: Mapping[str, Array], /) -> onnx.ModelProto:
    """The graph without the values of these weights, whose shapes stay: a few kilobytes that `filled` makes whole."""
    skeleton = type(model)()
    skeleton.CopyFrom(model)
    for one in skeleton.graph.initializer:
        if one.name in weights:
            one.ClearField("raw_data")
            one.ClearField("float_data")
    return skeleton


def filled(skeleton: onnx.ModelProto, weights: Mapping[str, Array], /, *, classes: int) -> onnx.ModelProto:
    """The graph with these weights, and so many classes. Raises SettingError where their shapes are others."""
    onnx = library()
    model = type(skeleton)()
    model.CopyFrom(skeleton)
    for one in model.graph.initializer:
        value = weights.get(one.name)
        if one.name == _CLASSES:
            value = np.array([classes], dtype=np.int64)
        if value is None:
            continue
        if tuple(one.dims) != value.shape:
            raise SettingError(
                f"{one.name} is of shape {value.shape} now; expected {tuple(one.dims)}, as when the graph was made: "
                "compress anew"
            )
        one.CopyFrom(onnx.numpy_helper.from_array(np.asarray(value, order="C"), one.name))
    return model


def folded(model: onnx.ModelProto, /) -> onnx.ModelProto:
    """Batch norm behind a convolution becomes part of it: w <- w g / sqrt(v + eps), b <- (b - m) g / sqrt(v + eps) + s.

    The convolution's weight keeps its name; its bias takes the one of the norm's shift.
    """
    onnx = library()
    values = initialisers(model)
    makers = {node.output[0]: node for node in model.graph.node}
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    gone: list[Any] = []
    renewed: dict[str, Array] = {}
    for norm in model.graph.node:
        conv = makers.get(norm.input[0]) if norm.op_type == "BatchNormalization" else None
        if conv is None or conv.op_type != "Conv" or not {*conv.input[1:], *norm.input[1:5]} <= set(values):
            continue
        if any(uses[name] > 1 for name in (conv.output[0], conv.input[1], norm.input[2])):
            continue
        gain, shift, mean, variance = (values[name].astype(np.float64) for name in norm.input[1:5])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        times = gain / np.sqrt(variance + epsilon)
        weight = values[conv.input[1]]
        bias = values[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else 0.0
        shape = (-1, *[1] * (weight.ndim - 1))
        renewed[conv.input[1]] = (weight * times.reshape(shape)).astype(np.float32)
        renewed[norm.input[2]] = ((bias - mean) * times + shift).astype(np.float32)
        del conv.input[2:]
        conv.input.append(norm.input[2])
        conv.output[0] = norm.output[0]
        gone.append(norm)
    for norm in gone:
        model.graph.node.remove(norm)
    used = {name for node in model.graph.node for name in node.input}
    kept = [one for one in model.graph.initializer if one.name in used]
    del model.graph.initializer[:]
    for one in kept:
        value = renewed.get(one.name)
        model.graph.initializer.append(one if value is None else onnx.numpy_helper.from_array(value, one.name))
    return model


def _answer(model: onnx.ModelProto, onnx: Any, *, classes: int) -> None:
    """Outputs become answers: of the classes that are known, by a softmax; numbers as they are."""
    graph, make = model.graph, onnx.helper.make_node
    n, k = graph.output[0].type.tensor_type.shape.dim[0].dim_param or "n", "k"
    del graph.output[:]
    if classes:
        numbers = {_CLASSES: [classes], "retain.start": [0], "retain.axis": [1]}
        for name, value in numbers.items():
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, dtype=np.int64), name))
        sliced = [_OUTPUTS, "retain.start", _CLASSES, "retain.axis"]
        graph.node.append(make("Slice", sliced, ["retain.scores"], name="retain.known"))
        graph.node.append(make("Softmax", ["retain.scores"], [_ANSWERS], name="retain.softmax", axis=1))
    else:
        graph.node.append(make("Identity", [_OUTPUTS], [_ANSWERS], name="retain.numbers"))
    graph.output.append(onnx.helper.make_tensor_value_info(_ANSWERS, onnx.TensorProto.FLOAT, [n, k]))


def _settled(model: onnx.ModelProto, onnx: Any) -> onnx.ModelProto:
    """What is computed from shapes and small constants alone becomes constant; no weight's value is looked at."""
    from onnx.reference import ReferenceEvaluator

    graph = onnx.shape_inference.infer_shapes(model).graph
    told = [*graph.input, *graph.value_info, *graph.output]
    types = {one.name: one.type.tensor_type.elem_type for one in told}
    types |= {one.name: one.data_type for one in graph.initializer}
    sizes = {one.name: tuple(one.dims) for one in graph.initializer}
    known: dict[str, Array] = {}
    left: list[Any] = []
    for node in model.graph.node:
        given = [known.get(name) for name in node.input]
        if node.op_type == "Shape" and node.input[0] in sizes:
            given = [np.empty(sizes[node.input[0]], dtype=np.bool_)]
        elif node.op_type == "CastLike" and given[0] is not None and types.get(node.input[1]):
            given[1] = np.empty(0, dtype=onnx.helper.tensor_dtype_to_np_dtype(types[node.input[1]]))
        if any(value is None for value in given) or len(node.output) > 1:
            left.append(node)
            continue
        alone: Any = ReferenceEvaluator(node, opsets={"": model.opset_import[0].version})
        value = np.asarray(alone.run(None, dict(zip(node.input, given, strict=True)))[0])
        if value.size > _SMALL:
            left.append(node)
            continue
        known[node.output[0]] = value
    del model.graph.node[:]
    model.graph.node.extend(left)
    used = {name for node in left for name in node.input}
    for name, value in known.items():
        if name in used:
            model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return model


def _bare(model: onnx.ModelProto) -> None:
    """Without what the exporter tells of where each node comes from, which may be longer than the weights."""
    del model.graph.value_info[:]  # types would have to be kept true through passes
    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:]


def library(*others: str) -> Any:
    """ONNX. Raises MissingExtraError where it, or another that is needed with it, is not there."""
    graphs.needed("onnx", *others, reader="compression")
    return import_module("onnx")
