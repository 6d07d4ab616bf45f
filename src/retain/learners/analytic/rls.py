"""`RLS`: recursive least squares, the exact normal-equation step, one row at a time.

Shapes: n rows, d features, D = d + 1 with the constant feature 1 in front, k outputs or classes.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any, final

import numpy as np

from retain.compose import Bounding, Narrowing, Scoring
from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.errors import SettingError
from retain.learners.analytic.intervals import around, share
from retain.learners.intake import Intake, check_kept
from retain.scores import Scores

__all__ = ["RLS"]

_WIDEST = 8192  # the triangle of so many features takes half a gigabyte


@final
class RLS(Bounding, Scoring, Narrowing):
    """The least-squares solution on all rows so far, after every row: no learning rate, no epochs, no forgetting.

    With sample weights v, the weights W (D, k) minimise, exactly and whatever the order and the blocks of the rows,

        sum_rows v |y - x W|^2 + l2 |W|^2        (the bias is not penalised),

    the ridge solution in closed form, W = (X'VX + l2 I)^-1 X'VY. One row changes it by the normal-equation step
    W += A^-1 x' v (y - x W). Here the inverse is never formed: the upper triangle R of the Cholesky factor R'R = X'VX +
    l2 I and Z = R W take in a row by Givens rotations, which never square the condition of X and cannot lose symmetry
    or sign as the textbook's update of A^-1 does. A row costs O(D^2 + D k).

    Numbers (n,) or (n, k) are regressed. Class codes are regressed as one-hot rows; scores, negative ones cut to 0, are
    divided by their sum to make probabilities. A class that arrives later had the target 0 on every row before, which
    leaves the others as they were and is still the solution on all rows.

    Rows without a label, or of weight 0, are predicted and not learnt. Granularity 1. The width of bare dense arrays is
    fixed by the first block learnt; that of sparse rows, record batches and rows with a schema may grow to the right.

    Args:
        l2: ridge penalty, >= 0. With 0, a feature that depends on those before it gets no weight.
        forgetting: factor 0 < f <= 1 by which all past rows are multiplied at every row of weight 1 (f^v at weight v);
            the effective memory is 1 / (1 - f) rows. The penalty fades too, and is put back in turn, one feature for
            each row: A <- f^v A + v x'x + (1 - f^v) d l2 e_j'e_j,  j = 1, 2, ..., d, 1, ...: no direction winds up.
        bias: whether there is a constant feature.

    Raises:
        SettingError: a setting out of its range; more than 8192 features.
        PoisonError: from `learn` and `predict`: NaN, Inf, a wrong width or type, a label of another kind than before.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 2)).astype(np.float32)
    >>> learner = RLS(l2=1e-9)
    >>> before = learner.learn(Batch(x, y=x @ [2.0, -1.0] + 3))
    >>> learner.weights.round(6), learner.intercept.round(6)
    (array([ 2., -1.]), array([3.]))

    References:
        Plackett 1950, Some theorems in least squares, Biometrika 37; Golub & Van Loan, Matrix computations, 6.5.
    """

    def __init__(self, *, l2: float = 1.0, forgetting: float = 1.0, bias: bool = True) -> None:
        if not 0 <= l2 < float("inf"):
            raise SettingError(f"RLS got l2={l2}; expected a number >= 0")
        if not 0 < forgetting <= 1:
            raise SettingError(f"RLS got forgetting={forgetting}; expected 0 < forgetting <= 1, e.g. .999")
        self._settings = np.array([l2, forgetting, float(bias)])
        self._intake = Intake("RLS", widest=_WIDEST)
        self._factor = np.zeros((1, 1))  # R (D, D), upper triangle
        self._right = np.zeros((1, 1))  # Z (D, k)
        self._norms = np.zeros(1)  # (D,) diagonal of X'VX + l2 I: tells a small pivot from none
        self._rows = np.zeros(1, dtype=np.int64)  # rows learnt
        self._spare = np.zeros(2)  # (1 + k,) weight of the rows, and what is left of the targets' squares: |VY - X W|^2

    @property
    def weights(self) -> Floats:
        """The solution without the bias: (d,) for numbers (n,), else (d, k)."""
        weights = self._solution()[1:]
        return weights[:, 0] if self._intake.flat else weights

    @property
    def intercept(self) -> Floats:
        """The bias of every output: (k,)."""
        return self._solution()[0]

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._intake.read(batch)
        self._intake.keep(given)
        self._widen(given.x.shape[1], self._intake.outputs)
        y = given.y[:, None] if given.y.ndim == 1 else given.y
        return self._run(given.x, y, given.weight, given.known)

    def predict(self, x: Features, /) -> Array:
        """Numbers (n,) or (n, k), or probabilities (n, classes); (n, 0) before the first labels. Changes nothing."""
        matrix = self._intake.rows(x)
        n = len(matrix)
        return self._run(matrix, np.full((n, 1), np.nan), np.zeros(n), self._intake.outputs)

    def interval(self, x: Features, /, *, coverage: float = 0.9) -> Array:
        """See `retain.interval`. Changes nothing."""
        share(coverage)
        if self._intake.classes is not None:
            raise SettingError("RLS of classes was asked for intervals; expected numbers as labels")
        rows, k = self._intake.rows(x), self._intake.outputs
        l2, bias = self._settings[0], self._settings[2]
        solution = self._solution()[:, :k]
        z_nD = np.column_stack([np.full(len(rows), bias), rows])[:, : len(solution)]
        inverse = self._inverse_factor()[: z_nD.shape[1], : z_nD.shape[1]]
        leverage = ((z_nD @ inverse) ** 2).sum(axis=1)
        freedom = float((inverse.any(axis=1)).sum()) - l2 * float((inverse[1:] ** 2).sum())
        squares = self._spare[1 : 1 + k] - l2 * (solution[1:] ** 2).sum(axis=0)
        bounds = around(
            z_nD @ solution[: z_nD.shape[1]],
            leverage,
            squares,
            rows=float(self._spare[0]),
            freedom=freedom,
            coverage=coverage,
        )
        return bounds[:, 0] if self._intake.flat else bounds

    def scores(self) -> Scores:
        """What it answers with now; see `retain.scores`."""
        intake = self._intake
        if not intake.outputs:
            raise SettingError("RLS has learnt nothing yet; learn some rows first")
        solution = self._solution()
        link = "numbers" if intake.classes is None else "shares"
        return Scores(solution[1:].T.copy(), self._settings[2] * solution[0], link, bool(intake.flat))

    def worth(self) -> Floats:
        """(d,) by how much what is minimised grows where a feature goes: see `Ridge.worth`."""
        inverse = (self._inverse_factor()[1:] ** 2).sum(axis=1)
        own = (self._solution()[1:] ** 2).sum(axis=1)
        return np.divide(own, inverse, out=np.zeros_like(own), where=inverse > 0)

    def narrowed(self, kept: Ints, /) -> RLS:
        """A copy of these features (q,): the triangle of the columns that stay, R = Q R', and Z' = Q'Z."""
        check_kept(kept, len(self._factor) - 1, reader="RLS")
        if self._settings[0] > 0 and self._settings[1] < 1:
            raise SettingError(
                f"RLS(l2={self._settings[0]:g}, forgetting={self._settings[1]:g}) cannot be narrowed exactly: what "
                "fades of its penalty is put back feature by feature; expected either without the other, or "
                "Ridge(forgetting=)"
            )
        own, state = np.r_[0, 1 + kept], self.state_dict()
        q_Dq, factor = np.linalg.qr(self._factor[:, own])
        sign = np.where(factor.diagonal() < 0, -1.0, 1.0)
        right = sign[:, None] * (q_Dq.T @ self._right)
        spare = self._spare.copy()
        spare[1:] += (self._right**2).sum(axis=0) - (right**2).sum(axis=0)
        sums = {"factor": sign[:, None] * factor, "right": right, "norms": self._norms[own], "spare": spare}
        other = RLS(l2=self._settings[0], forgetting=self._settings[1], bias=bool(self._settings[2]))
        other.load_state_dict({**state, **sums, "intake": {**state["intake"], "width": len(kept)}})
        return other

    def _inverse_factor(self) -> Floats:
        """R^-1 (D, D), so that A^-1 = R^-1 R^-T; zeros for features that depend on those before them."""
        factor = self._factor
        inverse = np.zeros_like(factor)
        for i in range(len(factor))[::-1]:
            if factor[i, i] ** 2 > _NO_PIVOT * self._norms[i]:
                inverse[i] = -factor[i, i + 1 :] @ inverse[i + 1 :]
                inverse[i, i] = 1.0
                inverse[i] /= factor[i, i]
        return inverse

    def state_dict(self) -> State:
        return {
            "intake": self._intake.state_dict(),
            "factor": self._factor.copy(),
            "right": self._right.copy(),
            "norms": self._norms.copy(),
            "rows": self._rows.copy(),
            "spare": self._spare.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        self._factor, self._right = state["factor"].copy(), state["right"].copy()
        self._norms, self._rows = state["norms"].copy(), state["rows"].copy()
        self._spare = state["spare"].copy()

    def _widen(self, width: int, outputs: int) -> None:
        new, old = 1 + width, len(self._factor)
        if new > old:
            self._factor = np.pad(self._factor, (0, new - old))
            np.fill_diagonal(self._factor[old:, old:], math.sqrt(self._settings[0]))
            self._norms = np.concatenate([self._norms, np.full(new - old, self._settings[0])])
        more = max(outputs - self._right.shape[1], 0)
        if new > old or more:
            self._right = np.pad(self._right, ((0, new - old), (0, more)))
            self._spare = np.pad(self._spare, (0, more))

    def _run(self, x: Floats, y: Floats | Ints, weight: Floats, known: int) -> Array:
        n, intake = len(x), self._intake
        out = np.zeros((n, intake.outputs))
        if intake.outputs:
            state = (self._factor, self._right, self._norms, self._rows, self._spare)
            x, y = np.require(x, np.float32, ["C", "W"]), np.require(y, np.float64, ["C", "W"])
            _kernel()(x, y, weight, *state, out, -1 if intake.classes is None else known, self._settings)
        return out[:, 0] if intake.flat else out

    def _solution(self) -> Floats:
        """W = R^-1 Z, by back substitution: (D, k)."""
        factor, right = self._factor, self._right
        w = np.zeros(right.shape)
        for i in range(len(factor))[::-1]:
            if factor[i, i] ** 2 > _NO_PIVOT * self._norms[i]:
                w[i] = (right[i] - factor[i, i + 1 :] @ w[i + 1 :]) / factor[i, i]
        return w


_NO_PIVOT = (
    1e-24  # below this share of a column's squared norm, a pivot is rounding error: the column depends on others
)


def _kernel() -> Any:
    """The compiled row loop; numba is loaded when the first row arrives."""
    return import_module("retain.learners.analytic.kernels").least_squares
