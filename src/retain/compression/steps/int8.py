"""Weights, and what they are multiplied with, in eight bits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from retain.compression.draft import Draft, Lessons, encoders, swapped
from retain.compression.graph import ROWS
from retain.core import Array
from retain.errors import SettingError
from retain.graphs import quiet, rounded, simplified, spared

if TYPE_CHECKING:
    import onnx

__all__ = ["Int8"]

_CALIBRATED = 512  # rows
_AT_ONCE = 64


@final
@dataclass(frozen=True, slots=True)
class Int8:
    """Integers of eight bits for weights and activations; the learner stays in float32.

    A weight w of output channel c is kept as round(w / s_c), s_c = max |w_c| / 127. Convolutions are static: the range
    of activations is found beforehand, on rows that the ladder is given. Other nets are dynamic: each block of rows has
    a range of its own, found in a pass over it, so that a row's answer depends by a rounding on what it comes with.
    Convolutions would be slower than in float32 so. It is a step, and the format of the graphs that come of it. Frozen
    encoders in front (`rt.Embed`) are rounded along, dynamically; they go on without convolutions in eight bits.

    Args:
        static: None: where the graph has convolutions.
        rows: to calibrate by, at most.

    >>> import retain as rt
    >>> draft = rt.compression.Draft(rt.Neural(rt.neural.MLP(4, 8, 2)))
    >>> Int8(rows=64)(draft, rt.compression.Lessons([], teacher=draft.learner)).format
    Int8(static=None, rows=64)

    Raises:
        SettingError: rows < 1.

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
        learner = draft.learner
        for one in encoders(learner):
            if one.model is None:
                learner = swapped(learner, one, one.rounded())
        return Draft(learner, self)

    def made(self, graph: onnx.ModelProto, rows: Array, /) -> onnx.ModelProto:
        """As `retain.compression.Format.made`."""
        import onnx
        from onnxruntime import quantization as q

        static = self.static
        if static is None:
            static = any(node.op_type == "Conv" for node in graph.graph.node)
        if static and not len(rows):
            raise SettingError(
                "int8 has no rows to calibrate by; give some: patch(learner, rows=x), or compress with static=False"
            )
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
            onnx.save(graph, before)
            if not static:
                return onnx.load(rounded(before))
            with quiet(""):
                reader: Any = _Rows(rows[np.linspace(0, len(rows) - 1, min(self.rows, len(rows))).astype(np.int64)])
                softmax = [node.name for node in graph.graph.node if node.op_type == "Softmax"]
                q.quantize_static(
                    plain := simplified(before),
                    after,
                    reader,
                    quant_format=q.QuantFormat.QDQ,
                    per_channel=True,
                    weight_type=q.QuantType.QInt8,
                    activation_type=q.QuantType.QUInt8,
                    nodes_to_exclude=[*softmax, *spared(plain)],
                )
            return onnx.load(after)


@final
class _Rows:
    """Rows to calibrate by, as ONNX Runtime asks for them."""

    def __init__(self, rows: Array) -> None:
        self._blocks: Iterator[Array] = (rows[i : i + _AT_ONCE] for i in range(0, len(rows), _AT_ONCE))

    def get_next(self) -> dict[str, Array] | None:
        block = next(self._blocks, None)
        return None if block is None else {ROWS: block}
