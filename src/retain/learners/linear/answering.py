"""Answers by `Scores`, sparse rows too, through the kernels of `Linear`.

Shapes: n rows, D features, k scores.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any, final

import numpy as np

from retain.core import Array, Features
from retain.learners.linear.losses import LOGISTIC, MULTINOMIAL, POISSON, SQUARED
from retain.learners.linear.rows import Rows, on_lines, ones, plain, rows_of
from retain.scores import Link, Scores, linked

__all__ = ["Answering"]

_LOSS: dict[Link, int] = {
    "numbers": SQUARED,
    "exp": POISSON,
    "odds": LOGISTIC,
    "rest": LOGISTIC,
    "softmax": MULTINOMIAL,
    "shares": SQUARED,  # no loss has this link: it is taken of the numbers
}


@final
class Answering:
    """Weights that answer and do not learn: (D, k) float64, and nothing else of what a learner remembers.

    Rows may be wider, what is beyond the weights is not looked at.
    """

    def __init__(self, scores: Scores, /) -> None:
        self._scores = scores
        self._cells = on_lines(scores.weights.T)
        k = len(scores.bias)
        loss = _LOSS[scores.link]
        self._state = self._cells, np.array(scores.bias), np.zeros(4), np.zeros((k, 5))
        self._rest = scores.classes or k, 0.0, np.zeros(8)
        self._kernel: Any = import_module("retain.learners.linear.kernels").plain(loss, k == 1)

    @property
    def memory(self) -> int:
        """Bytes of the weights."""
        return self._cells.nbytes

    def predict(self, x: Features, /) -> Array:
        """As `retain.core.Predictor.predict`."""
        scores = self._scores
        rows = rows_of(x, None).within(len(self._cells))
        if scores.reach is not None:
            rows = _held(rows, scores.reach)
        columns, *setting = self._rest
        out = np.zeros((rows.n, columns))
        labels = np.full((rows.n, 1), np.nan), ones(rows.n)
        self._kernel(rows.values, rows.indptr, rows.indices, rows.d, *labels, *self._state, out, columns, *setting)
        if scores.link == "shares":
            out = linked("shares", out)
        elif scores.link == "numbers":
            out = scores.held(out)
        elif scores.link == "exp" and scores.high is not None:
            out = np.minimum(out, np.exp(scores.high))
        return out[:, 0] if scores.flat else out


def _held(rows: Rows, reach: Array) -> Rows:
    """Values between -reach and reach of their features."""
    bound = np.tile(reach[: rows.d], rows.n) if rows.d >= 0 else reach[rows.indices]
    return replace(rows, values=plain(np.clip(rows.values, -bound, bound), np.float32))
