"""Weights, and what they are multiplied with, in eight bits."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from retain.compression.draft import Draft, Lessons
from retain.compression.graph import ROWS, initialisers
from retain.core import Array
from retain.errors import SettingError

if TYPE_CHECKING:
    import onnx

__all__ = ["Int8", "Int8Format"]

_CALIBRATED = 512  # rows
_AT_ONCE = 64
_LEAST = 1e-30


@final
@dataclass(frozen=True, slots=True)
class Int8:
    """Integers of eight bits for weights and activations; the learner stays in float32.

    A weight w of output channel c is kept as round(w / s_c), s_c = max |w_c| / 127. Convolutions are static: the range
    of activations is found beforehand, on rows that the ladder is given. Other nets are dynamic: each block of rows X

    Args:
        static: None: where the graph has convolutions.
        rows: to calibrate by, at most.

    References:
        Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference.
        Done by `onnxruntime.quantization`.
    """

    static: bool | None = None
    rows: int = _CALIBRATED

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise SettingError(f"Int8 got rows={self.rows}; expected a number >= 1")

    @property
    def name(self) -> str:
        return "int8"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        return replace(draft, format=Int8Format(self.static, self.rows))


@final
@dataclass(frozen=True, slots=True)
class Int8Format:
    """What `Int8` does to a graph."""

    static: bool | None = None
    rows: int = _CALIBRATED

    @property
    def name(self) -> str:
        return "int8"

    def made(self, graph: onnx.ModelProto, rows: Array, /) -> onnx.ModelProto:
        import onnx
        from onnxruntime import quantization as q

        static = self.static
        if static is None:
            static = any(node.op_type == "Conv" for node in graph.graph.node)
        if static and not len(rows):
            raise SettingError("Int8 has no rows to calibrate by; give compress() data, or static=False")
        inferred = onnx.shape_inference.infer_shapes(graph)
        with tempfile.TemporaryDirectory() as folder, _quiet():
            before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
            onnx.save(inferred, before)
            if static:
                reader: Any = _Rows(rows[: self.rows])
                q.quantize_static(
                    before,
                    after,
                    reader,
                    quant_format=q.QuantFormat.QDQ,
                    per_channel=True,
                    weight_type=q.QuantType.QInt8,
                    activation_type=q.QuantType.QUInt8,
                )
            else:
                q.quantize_dynamic(before, after, per_channel=True, weight_type=q.QuantType.QInt8)
            return onnx.load(after)

    def patched(self, made: onnx.ModelProto, graph: onnx.ModelProto, /) -> dict[str, Array]:
        """As `retain.compression.Format.patched`; ranges of activations stay as they were calibrated."""
        fresh, old = initialisers(graph), initialisers(made)
        axes = {
            node.input[0]: next((a.i for a in node.attribute if a.name == "axis"), 1)
            for node in made.graph.node
            if node.op_type == "DequantizeLinear"
        }
        renewed: dict[str, Array] = {}
        for name, value in fresh.items():
            for turned, stem in ((value, name), (value.T, f"{name}_Transposed")):
                whole = old.get(f"{stem}_quantized")
                if whole is None or whole.dtype != np.int8:
                    continue
                scale = old[f"{stem}_scale"]
                axis = None if scale.ndim == 0 else axes.get(f"{stem}_quantized", turned.ndim - 1)
                renewed[f"{stem}_quantized"], renewed[f"{stem}_scale"] = _rounded(turned, axis)
        for name, value in fresh.items():
            whole = old.get(f"{name}_quantized")
            if whole is not None and whole.dtype == np.int32:
                scale = _bias_scale(made, name, old, renewed)
                renewed[f"{name}_quantized"] = np.rint(value.astype(np.float64) / scale).astype(np.int32)
                renewed[f"{name}_quantized_scale"] = np.reshape(scale, old[f"{name}_quantized_scale"].shape).astype(
                    np.float32
                )
        return renewed


@final
class _Rows:
    """Rows to calibrate by, as ONNX Runtime asks for them."""

    def __init__(self, rows: Array) -> None:
        self._blocks: Iterator[Array] = (rows[i : i + _AT_ONCE] for i in range(0, len(rows), _AT_ONCE))

    def get_next(self) -> dict[str, Array] | None:
        block = next(self._blocks, None)
        return None if block is None else {ROWS: block}


def _rounded(weight: Array, axis: int | None) -> tuple[Array, Array]:
    """A weight in whole numbers from -127 to 127, and the scale of each channel, or of all."""
    others = tuple(i for i in range(weight.ndim) if i != axis) if axis is not None else None
    most = np.abs(weight).max(axis=others)
    scale = np.where(most > _LEAST, most / np.float32(127), np.float32(1)).astype(np.float32)
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    whole = np.clip(np.rint(weight / scale.reshape(shape if axis is not None else ())), -127, 127)
    return whole.astype(np.int8), scale


def _bias_scale(made: onnx.ModelProto, bias: str, old: dict[str, Array], renewed: dict[str, Array]) -> Array:
    """The scale of a bias is that of the input times that of the weight, whose products it is added to."""
    makers = {node.output[0]: node for node in made.graph.node}
    for node in made.graph.node:
        if len(node.input) > 2 and (maker := makers.get(node.input[2])) is not None:
            if not maker.input or maker.input[0] != f"{bias}_quantized":
                continue
            scales = [makers[name].input[1] for name in node.input[:2]]
            return np.asarray(old[scales[0]]) * renewed.get(scales[1], old[scales[1]])
    raise SettingError(f"no layer of the graph adds {bias!r}; compress anew")


@contextmanager
def _quiet() -> Generator[None]:
    """What ONNX Runtime recommends while it works is for other graphs than ours."""
    root: Any = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            root.setLevel(level)
