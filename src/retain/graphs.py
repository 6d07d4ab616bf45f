"""Nets as ONNX graphs, and what runs them on this machine's processor: shared by encoders and compression."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retain.errors import MissingExtraError, SettingError, StateError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["WHOLE", "exported", "needed", "opened", "quiet", "rounded", "simplified", "spared"]

WHOLE = "whole."  # what the names of nodes begin with that stay in float32
_ROUNDED = ["MatMul", "Gemm", "LSTM"]  # convolutions become slower so


def needed(*packages: str, reader: str) -> None:
    """Raise MissingExtraError where one of the packages is absent."""
    for name in packages:
        try:
            import_module(name)
        except ImportError as error:
            raise MissingExtraError(
                f"{reader} needs {error.name}, which is absent; install it with: pip install 'retain[deploy]'"
            ) from error


def exported(
    net: nn.Module,
    example: tuple[Tensor, ...],
    /,
    *,
    free: int,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Any:
    """The net as an `onnx` program of torch, whose weights keep the names that they have in the net's state.

    Args:
        net: as it is to answer, in `eval()`.
        example: its inputs.
        free: how many of their first dimensions may be of any size.
        inputs: what the graph calls its inputs.
        outputs: and its outputs.

    Raises whatever the net's code makes torch raise, which may be anything.
    """
    import torch

    shapes = tuple(dict.fromkeys(range(free), torch.export.Dim.DYNAMIC) for _ in example)
    with quiet("torch.onnx"), torch.no_grad():
        program = torch.onnx.export(
            net,
            example,
            dynamo=True,
            optimize=False,  # or else weights lose their names
            dynamic_shapes=shapes,
            input_names=inputs,
            output_names=outputs,
            verbose=False,
        )
    if program is None:
        raise SettingError("torch exported nothing; update torch and onnxscript")
    return program


def opened(model: bytes | Path, /, *, threads: int) -> Any:
    """A session of ONNX Runtime. Raises StateError for what it cannot run."""
    import onnxruntime as ort

    options: Any = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Threads that wait by spinning take the processor from whoever learns beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has an error of its own for each way in which bytes can be wrong
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StateError(f"the graph cannot be run ({first}); make it anew") from error


def simplified(path: Path, /) -> Path:
    """The graph with all that depends on weights alone worked out: quantisers look for weights, not for transposes."""
    import onnxruntime as ort

    options: Any = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(plain := path.with_name("plain.onnx"))
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return plain


def spared(path: Path, /) -> list[str]:
    """The nodes of a graph that a quantiser is to leave in float32, also by the names that it gives them first."""
    import onnx

    names = [node.name for node in onnx.load(path, load_external_data=False).graph.node if node.name.startswith(WHOLE)]
    return [*names, *(f"{name}_MatMul" for name in names)]


def rounded(path: Path, /) -> Path:
    """The graph with weights in eight bits, and the activations that meet them rounded as they come.

    Each output of a layer, and each row of a table, has a scale of its own. Nodes whose names begin with `WHOLE` stay
    as they are.
    """
    from onnxruntime import quantization

    after = path.with_name("rounded.onnx")
    with quiet(""):
        quantization.quantize_dynamic(
            plain := _tabled(simplified(path)),
            after,
            nodes_to_exclude=spared(plain),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_ROUNDED,
        )
    return after


def _tabled(path: Path) -> Path:
    """The graph with tables (rows, ...) in eight bits: rows that are looked up are multiplied with their scales.

    ONNX Runtime would give a table one scale, and one long row would take the digits of all others.
    """
    onnx = import_module("onnx")
    model = onnx.load(path)
    graph, make, tensor = model.graph, onnx.helper.make_node, onnx.numpy_helper
    floats = {one.name: one for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT}
    nodes: list[Any] = []
    for node in graph.node:
        table = floats.get(node.input[0]) if node.op_type == "Gather" else None
        across = any(one.name == "axis" and one.i for one in node.attribute)
        if table is None or across or len(table.dims) < 2 or table.dims[0] < 2 or node.name.startswith(WHOLE):
            nodes.append(node)
            continue
        (name, ids), found = node.input, node.output[0]
        short, scales = f"{name}_short", f"{name}_scales"
        if short not in {one.name for one in graph.initializer}:
            values = tensor.to_array(table)
            most = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
            scale = np.where(most > 0, most / 127, 1).astype(np.float32)
            graph.initializer.append(tensor.from_array(np.rint(values / scale).astype(np.int8), short))
            graph.initializer.append(tensor.from_array(scale, scales))
        nodes += [
            make("Gather", [short, ids], [f"{found}_short"], name=f"{node.name}_short"),
            make("Cast", [f"{found}_short"], [f"{found}_long"], name=f"{node.name}_long", to=onnx.TensorProto.FLOAT),
            make("Gather", [scales, ids], [f"{found}_scales"], name=f"{node.name}_scales"),
            make("Mul", [f"{found}_long", f"{found}_scales"], [found], name=f"{node.name}_scaled"),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    names = {one.name for one in graph.initializer}
    kept = [one for one in graph.initializer if one.name in used or f"{one.name}_short" not in names]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.save(model, after := path.with_name("tabled.onnx"))
    return after


@contextmanager
def quiet(name: str, /) -> Generator[None]:
    """What exporters and quantisers say of themselves, by a logger or as warnings, is for those who write them."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
