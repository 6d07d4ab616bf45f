"""`OnnxRuntime`: an encoder as a graph that ONNX Runtime goes through instead of torch.

Shapes: n items, t tokens.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from retain.errors import MissingExtraError, SettingError

__all__ = ["OnnxRuntime", "TokenStates"]


@final
class OnnxRuntime:
    """A part for `Embed`: the encoder is exported to ONNX once, when the first items come, and runs on the CPU.

    Of single texts it makes features more than twice as fast as torch, which spends that time between its
    operations; of many at a time about as fast. Features differ by rounding only, so that a state goes on under it and
    without it.

    Args:
        int8: matrix products in whole numbers of 8 bits, quicker for many texts at a time on processors that are made
            for it. They are another encoder, with a hash of its own; and as numbers are rounded by the largest that
            goes along, a text's features depend on its company by some per cent of their length, not by rounding only.

    Raises:
        MissingExtraError: without onnx, onnxscript and onnxruntime.
        SettingError: when the first items come, a net of which no graph can be made.

    >>> import numpy as np, torch, retain as rt
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Tanh())
    >>> x = np.eye(4, dtype=np.float32)
    >>> fast = rt.Embed(net, runtime=rt.OnnxRuntime())
    >>> bool(np.abs(fast.apply(x) - rt.Embed(net).apply(x)).max() < 1e-5)
    True
    """

    def __init__(self, *, int8: bool = False) -> None:
        missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
        if missing:
            raise MissingExtraError(f"OnnxRuntime needs {' and '.join(missing)}: pip install 'retain[deploy]'")
        self.int8 = int8

    @property
    def tag(self) -> str:
        """What it changes about features: nothing, or that they are rounded."""
        return " int8" if self.int8 else ""

    def graph(self, net: nn.Module, /, *example: Tensor, free: int) -> Callable[..., Tensor]:
        """The net as a function of inputs like the examples, the first `free` dimensions of any size."""
        import onnxruntime as ort

        options: Any = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.onnx"
            _export(net, example, path, free=free)
            if self.int8:
                path = _rounded(path)
            session: Any = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()]

        def run(*inputs: Tensor) -> Tensor:
            given = {name: one.numpy() for name, one in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(None, given)[0])

        return run


@final
class TokenStates(nn.Module):
    """A net of texts as a function of tokens (n, t) and of which of them count (n, t)."""

    def __init__(self, net: nn.Module, /) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.net(input_ids=ids, attention_mask=mask).last_hidden_state


def _export(net: nn.Module, example: tuple[Tensor, ...], path: Path, *, free: int) -> None:
    shapes = tuple(dict.fromkeys(range(free), torch.export.Dim.DYNAMIC) for _ in example)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # what exporters say about themselves
            program: Any = torch.onnx.export(
                net, example, dynamo=True, optimize=False, dynamic_shapes=shapes, verbose=False
            )
            program.save(path)
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise SettingError(
            f"no graph can be made of the encoder ({type(error).__name__}: {first:.200}); leave runtime= out"
        ) from error


def _rounded(path: Path) -> Path:
    """The graph with weights of matrix products in 8 bits."""
    import onnxruntime as ort
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Weights come as transposes; only where these are worked out beforehand does the quantiser see weights.
    options: Any = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(plain := path.with_name("plain.onnx"))
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    quantize_dynamic(
        plain,
        rounded := path.with_name("rounded.onnx"),
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
    )
    return rounded
