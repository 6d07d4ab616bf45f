"""Sums over rows from which analytic learners solve, and the solver.

Shapes: n rows, d features, D = d + 1 with the constant feature 1 in front, k outputs or classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from retain.core import Floats, Ints, State
from retain.learners.intake import Given

__all__ = ["Moments", "hash_rows", "solve", "total"]

_ROWS = 2048  # rows whose squares are summed at a time: enough for BLAS, little as float64
_NO_PIVOT = 1e-13  # of a matrix with ones on its diagonal: below this Cholesky's factor is rounding error
_NO_VALUE = 1e-14  # below this share of the largest, an eigenvalue is rounding error: there is nothing to solve for
_ROUNDING = 1e-9  # by this share of itself a sum may fall below 0 when rows are taken out again
_TRACE = 1e-12  # what is left of a class's weight when all its rows were taken out: nothing
_BLOCK = 64  # columns of a matrix that are factored at a time


@final
class Moments:
    """X'VX (D, D), X'VY (D, k) and the diagonal of Y'VY (k,) of all rows so far, in float64.

    Codes of classes count as one-hot rows, so that X'VY are the sums of each class and the diagonal is its weight.
    Rows are float32, so that each product is exact, and a sum of n rows is wrong by a share of n 2^-53 at the most.
    Sums of parts add up to the sums of the whole; nothing depends on the order but rounding.

    Args:
        products: whether X'VX is kept; otherwise only its diagonal is.
    """

    def __init__(self, *, products: bool = True) -> None:
        self.gram = np.zeros((1, 1) if products else 1)
        self.cross = np.zeros((1, 0))
        self.power = np.zeros(0)

    @property
    def weight(self) -> float:
        """The weight of all rows."""
        return float(self.squares[0])

    @property
    def squares(self) -> Floats:
        """The diagonal of X'VX (D,)."""
        return self.gram.diagonal() if self.gram.ndim == 2 else self.gram

    def widen(self, width: int, outputs: int) -> None:
        """Room for so many features and outputs, all 0 so far."""
        more, new = max(1 + width - len(self.cross), 0), max(outputs - len(self.power), 0)
        if more:
            self.gram = np.pad(self.gram, (0, more))
        if more or new:
            self.cross = np.pad(self.cross, ((0, more), (0, new)))
            self.power = np.pad(self.power, (0, new))

    def fit(self, rows: Given, /) -> None:
        """Room for what these rows bring."""
        outputs = rows.y.shape[1] if rows.y.ndim == 2 else int(rows.y.max(initial=-1)) + 1
        self.widen(rows.x.shape[1], outputs)

    def take(self, rows: Given, /, *, forgetting: float = 1.0) -> None:
        """Add rows; a row of weight v multiplies all before it by `forgetting` to the power of v."""
        self.fit(rows)
        for start in range(0, len(rows.x), _ROWS):
            self._take(rows.take(slice(start, start + _ROWS)), forgetting)

    def merge(self, other: Moments, /, *, sign: int = 1) -> None:
        """Add the sums of other rows, or with sign -1 take them out."""
        D, k = other.cross.shape
        self.widen(D - 1, k)
        before = self.power[:k].copy()
        pairs = [(self.cross[:D, :k], other.cross), (self.power[:k], other.power)]
        for own, theirs in [(self.gram[(slice(D),) * self.gram.ndim], other.gram), *pairs]:
            (np.add if sign > 0 else np.subtract)(own, theirs, out=own)
        if sign < 0:
            gone = np.flatnonzero(self.power[:k] <= _TRACE * before)
            self.power[gone], self.cross[:, gone] = 0.0, 0.0

    def without(self, part: Moments, /) -> Moments:
        """New sums, of all rows but those of the part, which are among them."""
        rest = self.copy()
        rest.merge(part, sign=-1)
        return rest

    def part(self, kept: Ints, /) -> Moments:
        """New sums of the same rows, of these features alone."""
        own = np.r_[0, 1 + kept[1 + kept < len(self.cross)]]  # all rows of others are 0
        other = Moments(products=self.gram.ndim == 2)
        other.gram = self.gram[np.ix_(own, own)] if self.gram.ndim == 2 else self.gram[own]
        other.cross, other.power = self.cross[own], self.power.copy()
        other.widen(len(kept), 0)
        return other

    def copy(self) -> Moments:
        """The same sums, to be changed."""
        other = Moments(products=self.gram.ndim == 2)
        other.gram, other.cross, other.power = self.gram.copy(), self.cross.copy(), self.power.copy()
        return other

    def holds(self, other: Moments, /) -> bool:
        """Whether the rows of the other may be among those of this one, as far as squares can tell."""
        D, k = other.cross.shape
        if len(self.cross) < D or len(self.power) < k:
            return False
        squares, power = self.squares[:D] * (1 + _ROUNDING), self.power[:k] * (1 + _ROUNDING)
        return bool((other.squares <= squares).all() and (other.power <= power).all())

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
        if self.gram.ndim == 2:
            self.gram[:D, :D] += z_nD.T @ z_nD  # a matrix and its own transpose: NumPy calls dsyrk, half of the work
        else:
            self.gram[:D] += np.einsum("nd,nd->d", z_nD, z_nD)
        self.cross[:D] += z_nD.T @ y_nk
        self.power += np.einsum("nk,nk->k", y_nk, y_nk)


def total(parts: Sequence[Moments], /) -> Moments:
    """The sums of all rows of the parts, none of which changes."""
    whole = parts[0].copy()
    for part in parts[1:]:
        whole.merge(part)
    return whole


def hash_rows(rows: Given, /) -> npt.NDArray[np.uint64]:
    """A hash of each row's label and input (n,): equal rows hash equally, wherever and whenever they come.

    Zeros do not count, so that a row stays the same where an encoder grows to the right.
    """
    from retain.features.murmur import hash_numbers

    x = np.ascontiguousarray(rows.x + np.float32(0))  # -0 becomes 0
    y = rows.y if rows.y.ndim == 2 else rows.y[:, None]
    found = np.zeros(len(x), dtype=np.uint64)
    for place, column in enumerate((*y.T, *x.view(np.int32).T)):
        own = np.full(len(x), place, dtype=np.uint64)
        hash_numbers(column, column != 0, own)
        found += np.where(column != 0, own, np.uint64(0))
    return found


def solve(gram_DD: Floats, right_Dk: Floats, /, penalty_D: Floats | float = 0.0) -> Floats:
    """W (D, k) of A W = B, A = G + diag(penalty) symmetric and without negative eigenvalues.

    By Cholesky, or by eigenvalues where A is so ill-conditioned that a pivot is rounding error.

    Features are first brought to one size, A to ones on its diagonal, which makes the condition about the least that
    scaling can. Directions of which A knows nothing get no weight.
    """
    size = np.sqrt(gram_DD.diagonal() + penalty_D)
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    a_DD = gram_DD * scale[:, None]
    a_DD *= scale
    np.fill_diagonal(a_DD, 1.0)
    b_Dk = right_Dk * scale[:, None]
    try:
        lower_DD, inverses = _factor(a_DD)
        if lower_DD.diagonal().min(initial=1.0) ** 2 > _NO_PIVOT:
            return _backward(lower_DD, inverses, _forward(lower_DD, inverses, b_Dk)) * scale[:, None]
    except np.linalg.LinAlgError:
        pass  # a pivot is not above 0
    value, vector = np.linalg.eigh(a_DD)
    inverse = np.divide(1.0, value, out=np.zeros_like(value), where=value > _NO_VALUE * len(value) * value.max())
    return vector @ (inverse[:, None] * (vector.T @ b_Dk)) * scale[:, None]


def _factor(a_DD: Floats) -> tuple[Floats, list[Floats]]:
    """L of A = L L', and the inverses of the blocks on its diagonal. Raises LinAlgError where a pivot is not above 0.

    LAPACK's, as NumPy calls it, takes about twice the time, and NumPy has no triangular solve: with the inverses of
    small blocks all else is a product.
    """
    lower_DD, inverses = np.zeros_like(a_DD), list[Floats]()
    for i in range(0, len(a_DD), _BLOCK):
        j = i + _BLOCK
        panel = a_DD[i:, i:j] - lower_DD[i:, :i] @ lower_DD[i:j, :i].T
        lower_DD[i:j, i:j] = np.linalg.cholesky(panel[:_BLOCK])
        inverses.append(np.linalg.inv(lower_DD[i:j, i:j]))
        lower_DD[j:, i:j] = panel[_BLOCK:] @ inverses[-1].T
    return lower_DD, inverses


def _forward(lower_DD: Floats, inverses: list[Floats], b_Dk: Floats) -> Floats:
    """L^-1 B."""
    x_Dk = np.empty_like(b_Dk)
    for block, inverse in enumerate(inverses):
        i, j = block * _BLOCK, (block + 1) * _BLOCK
        x_Dk[i:j] = inverse @ (b_Dk[i:j] - lower_DD[i:j, :i] @ x_Dk[:i])
    return x_Dk


def _backward(lower_DD: Floats, inverses: list[Floats], b_Dk: Floats) -> Floats:
    """L'^-1 B."""
    x_Dk = np.empty_like(b_Dk)
    for block, inverse in reversed(list(enumerate(inverses))):
        i, j = block * _BLOCK, (block + 1) * _BLOCK
        x_Dk[i:j] = inverse.T @ (b_Dk[i:j] - lower_DD[j:, i:j].T @ x_Dk[j:])
    return x_Dk
