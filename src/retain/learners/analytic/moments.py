"""Sums over rows from which analytic learners solve, and the solver.

Shapes: n rows, d features, D = d + 1 with the constant feature 1 in front, k outputs or classes.
"""

from __future__ import annotations

from typing import final

import numpy as np

from retain.core import Floats, State
from retain.learners.analytic.intake import Given

__all__ = ["Moments", "solve"]

_ROWS = 2048  # rows whose squares are summed at a time: enough for BLAS, little as float64
_NO_PIVOT = 1e-13  # of a matrix with ones on its diagonal: below this Cholesky's factor is rounding error
_NO_VALUE = 1e-14  # below this share of the largest, an eigenvalue is rounding error: there is nothing to solve for
_ROUNDING = 1e-9  # by this share of itself a sum may fall below 0 when rows are taken out again
_TRACE = 1e-12  # what is left of a class's weight when all its rows were taken out: nothing
_BLOCK = 64  # rows of a triangle that are solved at a time


@final
class Moments:
    """X'VX (D, D), X'VY (D, k) and the diagonal of Y'VY (k,) of all rows so far, in float64.

    Codes of classes count as one-hot rows, so that X'VY are the sums of each class and the diagonal is its weight.
    Rows are float32, so that each product is exact, and a sum of n rows is wrong by a share of n 2^-53 at the most.
    Sums of parts add up to the sums of the whole; nothing depends on the order but rounding.
    """

    def __init__(self) -> None:
        self.gram = np.zeros((1, 1))
        self.cross = np.zeros((1, 0))
        self.power = np.zeros(0)

    @property
    def weight(self) -> float:
        """The weight of all rows."""
        return float(self.gram[0, 0])

    def widen(self, width: int, outputs: int) -> None:
        """Room for so many features and outputs, all 0 so far."""
        more, new = max(1 + width - len(self.gram), 0), max(outputs - len(self.power), 0)
        if more:
            self.gram = np.pad(self.gram, (0, more))
        if more or new:
            self.cross = np.pad(self.cross, ((0, more), (0, new)))
            self.power = np.pad(self.power, (0, new))

    def take(self, rows: Given, /, *, forgetting: float = 1.0) -> None:
        """Add rows; a row of weight v multiplies all before it by `forgetting` to the power of v."""
        outputs = rows.y.shape[1] if rows.y.ndim == 2 else int(rows.y.max(initial=-1)) + 1
        self.widen(rows.x.shape[1], outputs)
        for start in range(0, len(rows.x), _ROWS):
            self._take(rows.take(slice(start, start + _ROWS)), forgetting)

    def merge(self, other: Moments, /, *, sign: int = 1) -> None:
        """Add the sums of other rows, or with sign -1 take them out."""
        self.widen(len(other.gram) - 1, len(other.power))
        D, k = other.cross.shape
        self.gram[:D, :D] += sign * other.gram
        self.cross[:D, :k] += sign * other.cross
        before = self.power[:k].copy()
        self.power[:k] += sign * other.power
        if sign < 0:
            gone = np.flatnonzero(self.power[:k] <= _TRACE * before)
            self.power[gone], self.cross[:, gone] = 0.0, 0.0

    def holds(self, other: Moments, /) -> bool:
        """Whether the rows of the other may be among those of this one, as far as squares can tell."""
        D, k = other.cross.shape
        if len(self.gram) < D or len(self.power) < k:
            return False
        squares, power = self.gram.diagonal()[:D] * (1 + _ROUNDING), self.power[:k] * (1 + _ROUNDING)
        return bool((other.gram.diagonal() <= squares).all() and (other.power <= power).all())

    def state_dict(self) -> State:
        return {"gram": self.gram.copy(), "cross": self.cross.copy(), "power": self.power.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self.gram, self.cross, self.power = (state[name].copy() for name in ("gram", "cross", "power"))

    def _take(self, rows: Given, forgetting: float) -> None:
        root = np.sqrt(rows.weight)
        if forgetting < 1.0:
            age = np.cumsum(rows.weight[::-1])[::-1]  # a row's own weight and that of those after it
            root *= forgetting ** ((age - rows.weight) / 2)
            kept = forgetting ** age[0]
            self.gram *= kept
            self.cross *= kept
            self.power *= kept
        z_nD = np.empty((len(root), 1 + rows.x.shape[1]))
        z_nD[:, 0] = root
        np.multiply(rows.x, root[:, None], out=z_nD[:, 1:])
        if rows.y.ndim == 1:
            y_nk = (rows.y[:, None] == np.arange(len(self.power))) * root[:, None]
        else:
            y_nk = rows.y * root[:, None]
        D = z_nD.shape[1]
        self.gram[:D, :D] += z_nD.T @ z_nD  # a matrix and its own transpose: NumPy calls dsyrk, half of the work
        self.cross[:D] += z_nD.T @ y_nk
        self.power += np.einsum("nk,nk->k", y_nk, y_nk)


def solve(gram_DD: Floats, right_Dk: Floats) -> Floats:
    """W (D, k) of A W = B for a symmetric A without negative eigenvalues, by Cholesky; by eigenvalues where it is bad.

    Features are first brought to one size, A to ones on its diagonal, which makes the condition about the least that
    scaling can. Directions of which A knows nothing get no weight.
    """
    size = np.sqrt(gram_DD.diagonal())
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    a_DD = gram_DD * scale[:, None] * scale
    np.fill_diagonal(a_DD, 1.0)
    b_Dk = right_Dk * scale[:, None]
    try:
        lower = np.linalg.cholesky(a_DD)
    except np.linalg.LinAlgError:
        lower = np.zeros((1, 1))
    if lower.diagonal().min(initial=1.0) ** 2 > _NO_PIVOT:
        return _backward(lower, _forward(lower, b_Dk)) * scale[:, None]
    value, vector = np.linalg.eigh(a_DD)
    inverse = np.divide(1.0, value, out=np.zeros_like(value), where=value > _NO_VALUE * len(value) * value.max())
    return vector @ (inverse[:, None] * (vector.T @ b_Dk)) * scale[:, None]


def _forward(lower_DD: Floats, b_Dk: Floats) -> Floats:
    """L^-1 B. NumPy has no triangular solve: blocks on the diagonal are solved, what is below is a product."""
    x = b_Dk.copy()
    for i in range(0, len(x), _BLOCK):
        j = i + _BLOCK
        x[i:j] = np.linalg.solve(lower_DD[i:j, i:j], x[i:j] - lower_DD[i:j, :i] @ x[:i])
    return x


def _backward(lower_DD: Floats, b_Dk: Floats) -> Floats:
    """L'^-1 B."""
    x = b_Dk.copy()
    for i in range(0, len(x), _BLOCK)[::-1]:
        j = i + _BLOCK
        x[i:j] = np.linalg.solve(lower_DD[i:j, i:j].T, x[i:j] - lower_DD[j:, i:j].T @ x[j:])
    return x
