"""Weights kept in sixteen bits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np

from retain.compression.draft import Draft, Lessons
from retain.core import Array

if TYPE_CHECKING:
    import onnx

__all__ = ["Half"]

_LEAST = 256  # weights of a layer that are worth a conversion
_MOST = 65504.0  # the largest number of sixteen bits


@final
@dataclass(frozen=True, slots=True)
class Half:
    """Weights are kept in float16, and widened once, when the graph is loaded: half the bytes at the same speed.

    A processor computes in float32 all the same, so that answers change by the rounding of weights alone (2^-11). What
    is beyond 65,504 becomes that. It is a step, and the format of the graphs that come of it.

    >>> import retain as rt
    >>> draft = rt.compression.Draft(rt.Neural(rt.neural.MLP(4, 8, 2)))
    >>> Half()(draft, rt.compression.Lessons([], teacher=draft.learner)).format
    Half()
    """

    @property
    def name(self) -> str:
        return "float16"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        return replace(draft, format=self)

    def made(self, graph: onnx.ModelProto, rows: Array, /) -> onnx.ModelProto:
        """As `retain.compression.Format.made`; there is nothing to calibrate."""
        import onnx

        names: list[str] = []
        for one in graph.graph.initializer:
            if one.data_type == onnx.TensorProto.FLOAT and np.prod(one.dims) >= _LEAST:
                value = np.clip(onnx.numpy_helper.to_array(one), -_MOST, _MOST).astype(np.float16)
                names.append(one.name)
                one.CopyFrom(onnx.numpy_helper.from_array(value, f"{one.name}_half"))
        for name in reversed(names):
            cast = onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
            graph.graph.node.insert(0, cast)
        return graph
