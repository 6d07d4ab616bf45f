"""`Scores` as an ONNX graph: a product, a sum, and a link.

Shapes: n rows, d features, k scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retain.compression.graph import library
from retain.core import Array
from retain.errors import SettingError
from retain.scores import Link, Scores

if TYPE_CHECKING:
    import onnx

__all__ = ["constants", "graph"]

_WIDEST = 1 << 16  # features of a dense row
_LINKS: dict[Link, str] = {
    "numbers": "answers = Identity(scores)",
    "exp": "answers = Exp(scores)",
    "odds": """
        minus = Neg(scores)
        first = Sigmoid(minus)
        second = Sigmoid(scores)
        answers = Concat<axis = 1>(first, second)""",
    "rest": """
        minus = Neg(scores)
        soft = Softplus(minus)
        logs = Neg(soft)
        answers = Softmax<axis = 1>(logs)""",  # logarithms do not vanish where every class is denied
    "softmax": "answers = Softmax<axis = 1>(scores)",
    "shares": """
        votes = Relu(scores)
        axis = Constant<value = int64[1] {1}>()
        total = ReduceSum<keepdims = 1>(votes, axis)
        nothing = Constant<value = float {0.0}>()
        some = Greater(total, nothing)
        share = Div(votes, total)
        answers = Where(some, share, alike)""",
}


def constants(scores: Scores, /) -> dict[str, Array]:
    """In float32, by the names that they have in the graph: weights (d, k), bias (k,), and bounds where there are."""
    given = {
        "weights": np.ascontiguousarray(scores.weights.T),
        "bias": scores.bias,
        "reach": scores.reach,
        "low": scores.low,
        "high": scores.high,
        "alike": np.array(1 / len(scores.bias)) if scores.link == "shares" else None,
    }
    return {name: value.astype(np.float32) for name, value in given.items() if value is not None}


def graph(scores: Scores, /) -> onnx.ModelProto:
    """From rows (n, d) to answers (n, k). Raises SettingError for rows that are too wide to be dense."""
    onnx = library()
    d = scores.weights.shape[1]
    if d > _WIDEST:
        raise SettingError(
            f"an ONNX graph takes whole rows, and these have {d:,} features; expected at most {_WIDEST:,}: ship a "
            "table, which takes sparse rows: rt.compress of rows as they come, or retain export --to table"
        )
    values = constants(scores)
    held = ["short = Neg(reach)", "near = Min(rows, reach)", "given = Max(near, short)"]
    nodes = [
        *(held if scores.reach is not None else ["given = Identity(rows)"]),
        "product = MatMul(given, weights)",
        "sums = Add(product, bias)",
        "below = Min(sums, high)" if scores.high is not None else "below = Identity(sums)",
        "scores = Max(below, low)" if scores.low is not None else "scores = Identity(below)",
        _LINKS[scores.link],
    ]
    told = "\n".join(nodes)
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 18]>
        retain (float[n, {d}] rows) => (float[n, k] answers) {{ {told} }}"""
    )
    for node in model.graph.node:
        node.name = node.output[0]
    for name, value in values.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return model
