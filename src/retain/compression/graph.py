"""A neural learner as an ONNX graph, whose initialisers bear the names of the module's state: they can be patched.

Shapes: n rows, k classes or outputs.
"""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Mapping
from copy import deepcopy
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from retain import graphs
from retain.core import Array
from retain.errors import SettingError
from retain.strategies.addend import Layered

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

    from retain.learners.neural import Neural

__all__ = ["ROWS", "drawn", "exported", "filled", "folded", "hollow", "initialisers", "library"]

ROWS = "rows"
_ANSWERS, _OUTPUTS, _CLASSES = "answers", "retain.outputs", "retain.classes"
_SMALL = 1 << 16  # elements of a constant that is worth computing beforehand


def exported(learner: Neural, /) -> onnx.ModelProto:
    """The graph by which the learner answers: rows (n, ...) to probabilities (n, k), or numbers (n, k).

    Of a learner with a head, what that answers by is part of it. Raises SettingError for what has learnt nothing yet,
    answers by a head that is no layer, or cannot be exported.
    """
    onnx = library("onnxscript")
    import torch

    example = learner.example(2).cpu()
    module = deepcopy(learner.module).cpu().float()
    head = _head(learner, _served(learner))
    if head is not None:
        from retain.compression.shape import put

        module = put(module, *head)
    module.eval().load_state_dict({name: torch.from_numpy(one) for name, one in drawn(learner).items()}, strict=False)
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
    if head is not None and not isinstance(head[1], torch.nn.Linear):
        _spare(model, head[0])
    _bare(model)
    return _settled(model, onnx)


def drawn(learner: Neural, /) -> dict[str, Array]:
    """The weights and buffers that the learner answers with, in float32, by the names of the module's state.

    What a head answers by is below the path of the layer whose place it takes. Raises SettingError as `exported`.
    """
    served = _served(learner)
    head = _head(learner, served)
    if head is not None:
        path, layer = head
        below = f"{path}." if path else ""
        served = {name: tensor for name, tensor in served.items() if not name.startswith(below)}
        served |= {below + name: tensor.detach() for name, tensor in layer.state_dict().items()}
    return {name: tensor.numpy() for name, tensor in served.items()}


def _served(learner: Neural) -> dict[str, Tensor]:
    """The module's state as it answers, numbers in float32."""
    served = {name: tensor.detach().cpu() for name, tensor in learner.serving().items()}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in served.items()}


def _head(learner: Neural, served: Mapping[str, Tensor]) -> tuple[str, nn.Module] | None:
    """Where the last linear layer is, and what a head puts there; None for a learner without a head.

    Raises SettingError for a head that is no layer, and for a module that has no place for one.
    """
    head, last = learner.head, learner.model.head
    if head is None:
        return None
    if not isinstance(head, Layered):
        raise SettingError(
            f"the learner answers by {type(head).__name__}, which does not say by what layer; let it descend from "
            "retain.strategies.addend.Layered, or give a learner without head="
        )
    path = next((path for path, part in learner.module.named_modules() if part is last), None)
    if last is None or path is None:
        raise SettingError(
            f"{type(head).__name__} takes the place of the last linear layer, and the module has none; end it with "
            "nn.Linear"
        )
    given = deepcopy(last).cpu().float()
    below = f"{path}." if path else ""
    given.load_state_dict({name: served[below + name] for name in given.state_dict()})
    return path, head.layer(given)


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
    """The graph with these weights, and so many classes. Raises SettingError where they are not those."""
    onnx = library()
    model = type(skeleton)()
    model.CopyFrom(skeleton)
    for one in model.graph.initializer:
        value = weights.get(one.name)
        if one.name == _CLASSES:
            value = np.array([classes], dtype=np.int64)
        if value is None:
            _refuse_hollow(one)
            continue
        if tuple(one.dims) != value.shape:
            raise SettingError(
                f"{one.name} is of shape {value.shape} now; expected {tuple(one.dims)}, as when the graph was made: "
                "compress anew"
            )
        one.CopyFrom(onnx.numpy_helper.from_array(np.asarray(value, order="C"), one.name))
    return model


def _refuse_hollow(one: onnx.TensorProto) -> None:
    """Raises SettingError for a weight without values: what answers now has none of its name."""
    if one.data_type == one.FLOAT and np.prod(one.dims) and not (one.raw_data or one.float_data):
        raise SettingError(f"the learner answers without {one.name} by now, so that it is another graph: compress anew")


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


def _spare(model: onnx.ModelProto, path: str) -> None:
    """Nodes of what a head answers by keep out of eight bits: distances and bounds at infinity have no range."""
    for node in model.graph.node:
        scopes = {one.key: one.value for one in node.metadata_props}.get("pkg.torch.onnx.name_scopes", "[]")
        if path in literal_eval(scopes):
            node.name = graphs.WHOLE + node.name


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
