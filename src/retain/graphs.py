"""Nets as ONNX graphs, and what runs them on this machine's processor: shared by encoders and compression."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retain.errors import MissingExtraError, SettingError, StateError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["WHOLE", "exported", "needed", "opened", "quiet", "rounded", "simplified", "spared"]

WHOLE = "whole."  # what the names of nodes begin with that stay in float32
_ROUNDED = ["MatMul", "Gemm", "Gather", "LSTM"]  # convolutions become slower so


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

    Nodes whose names begin with `WHOLE` stay as they are.
    """
    from onnxruntime import quantization

    after = path.with_name("rounded.onnx")
    with quiet(""):
        quantization.quantize_dynamic(
            plain := simplified(path),
            after,
            nodes_to_exclude=spared(plain),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_ROUNDED,
        )
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
