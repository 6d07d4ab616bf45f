"""Weights kept in sixteen bits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np

from retain.compression.draft import Draft, Lessons
from retain.core import Array

if TYPE_CHECKING:
    import onnx

__all__ = ["Half", "HalfFormat"]

_LEAST = 256  # weights of a layer that are worth a conversion
_MOST = 65504.0  # the largest number of sixteen bits


@final
@dataclass(frozen=True, slots=True)
class Half:
    """Weights are kept in float16, and widened once, when the graph is loaded: half the bytes at the same speed.

    A processor computes in float32 all the same, so that answers change by the rounding of weights alone (2^-11). What
    is beyond 65,504 becomes that.
    """

    @property
    def name(self) -> str:
        return "float16"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        return replace(draft, format=HalfFormat())


@final
@dataclass(frozen=True, slots=True)
class HalfFormat:
    """What `Half` does to a graph."""

    @property
    def name(self) -> str:
        return "float16"

    def made(self, graph: onnx.ModelProto, rows: Array, /) -> onnx.ModelProto:
        import onnx

        names: list[str] = []
        for one in graph.graph.initializer:
            if one.data_type == onnx.TensorProto.FLOAT and np.prod(one.dims) >= _LEAST:
                value = _narrow(onnx.numpy_helper.to_array(one))
                names.append(one.name)
                one.CopyFrom(onnx.numpy_helper.from_array(value, f"{one.name}_half"))
        for name in reversed(names):
            cast = onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
            graph.graph.node.insert(0, cast)
        return graph


def _narrow(weight: Array) -> Array:
    return np.clip(weight, -_MOST, _MOST).astype(np.float16)
