"""`Ridge`: ridge regression from sums, for wide rows and many outputs.

Shapes: n rows, d features, D = d + 1 with the constant feature 1 in front, k outputs or classes.
"""

from __future__ import annotations

from typing import final

import numpy as np

from retain.compose import Bounding, Narrowing, Scoring
from retain.core import Array, Features, Floats
from retain.errors import SettingError
from retain.learners.analytic.intervals import around, share
from retain.learners.analytic.moments import Moments, solve
from retain.learners.analytic.summed import Summed
from retain.scores import Scores

__all__ = ["Ridge"]

_FOLDS = 4  # of l2=None; each keeps sums of its own
_POWERS = range(-8, 3)  # of ten, in units of the mean of the diagonal of G, that l2=None chooses from
_UNTIL_CHOSEN = 1.0  # while there are no rows to hold out


@final
class Ridge(Summed, Bounding, Scoring, Narrowing):
    """The solution that `RLS` has, from sums that are added by the block: for wide rows and many outputs.

    With sample weights v, the weights W (D, k) minimise, exactly and whatever the order and the blocks of the rows,

        sum_rows v |y - x W|^2 + l2 |W|^2        (the bias is not penalised),

    W = (G + l2 I)^-1 Q, where G = X'VX and Q = X'VY are sums over rows. So learners taught apart `merge` into the
    learner of all their rows, and `unlearn` takes rows out. The price is that G has the square of the condition of X:
    weights are right to 1e-6 up to a condition of 1e8 of G + l2 I; beyond that, and for rows one by one, there is
    `RLS`.

    Numbers (n,) or (n, k) are regressed. Class codes are regressed as one-hot rows; scores, negative ones cut to 0, are
    divided by their sum to make probabilities. A class that arrives later had the target 0 on every row before, which
    leaves the others as they were and is still the solution on all rows.

    Granularity `batch_size`: a row is answered by the solution on all full blocks before it, and rows that do not fill
    a block wait in the state until they do, or until `settle` or the end of an experience. Answers by the row would
    take the inverse of G along, at four times the work of summing G, which for thousands of features is what there is
    to spend. A block costs n D^2 + 2 n D k operations to sum and D^3 / 3 to solve, when answers are asked for: with
    wide rows, make blocks about as long as rows are wide.

    Rows without a label, or of weight 0, are predicted and not learnt. The width of bare dense arrays is fixed by the
    first block learnt; that of sparse rows, record batches and rows with a schema may grow to the right.

    Args:
        l2: ridge penalty, >= 0. With 0, features that depend on one another share their weight. None has it chosen, at
            every solution, among 1e-8, 1e-7, ..., 100 times the mean of the diagonal of G, by the squared error on four
            folds. A row's fold is a hash of its input and label, and a fold is sums, so that the choice depends on
            the rows alone, not on their order or blocks, and survives merging and unlearning. It takes four times
            the memory, and a solution about twenty times as long: make blocks large.
        forgetting: factor 0 < f <= 1 by which all past rows are multiplied at every row of weight 1 (f^v at weight v);
            the effective memory is 1 / (1 - f) rows. The penalty does not fade.
        window: how many of the last rows of full blocks count; those before are taken out of the sums, as if they had
            never been seen. These rows are kept, at four bytes a number.
        bias: whether there is a constant feature.
        balanced: whether all classes count alike, as if there were equally many rows of each, spread around their own
            mean as rows are around theirs on average: G is the spread within classes and n / k times the products of
            the k means. It needs no sums of its own. A class of one row then moves all others: the newcomer law is off.
        batch_size: rows of a block.

    Raises:
        SettingError: a setting out of its range; more than 32,768 features.
        PoisonError: from `learn` and `predict`: NaN, Inf, a wrong width or type, a label of another kind than before.

    >>> import numpy as np
    >>> from retain import Batch
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 2)).astype(np.float32)
    >>> here, there = Ridge(l2=1e-9), Ridge(l2=1e-9)  # two sites, no rows exchanged
    >>> before = here.learn(Batch(x[:50], y=x[:50] @ [2.0, -1.0] + 3))
    >>> before = there.learn(Batch(x[50:], y=x[50:] @ [2.0, -1.0] + 3))
    >>> here.merge(there)
    >>> here.weights.round(6), here.intercept.round(6)
    (array([ 2., -1.]), array([3.]))

    References:
        Hoerl & Kennard 1970, Ridge regression; McDonnell et al. 2023, RanPAC (behind `RandomFeatures`); Zhuang et al.
        2022, ACIL: the same solution, by the recursion on the inverse.
    """

    def __init__(
        self,
        *,
        l2: float | None = 1.0,
        forgetting: float = 1.0,
        window: int | None = None,
        bias: bool = True,
        balanced: bool = False,
        batch_size: int = 256,
    ) -> None:
        folds = _FOLDS if l2 is None else 1
        super().__init__(batch_size=batch_size, regresses=True, forgetting=forgetting, window=window, folds=folds)
        if l2 is not None and not 0 <= l2 < float("inf"):
            raise SettingError(f"Ridge got l2={l2}; expected a number >= 0, or None to choose it")
        if l2 is None and forgetting < 1:
            raise SettingError(f"Ridge got l2=None with forgetting={forgetting}; expected l2 >= 0 beside forgetting")
        self._l2, self._bias, self._balanced = l2, bias, balanced
        self._penalty = _UNTIL_CHOSEN if l2 is None else l2  # of the solution
        self._inverse: tuple[Floats, Floats] | None = None  # of the solution it belongs to

    @property
    def l2(self) -> float:
        """The penalty; with l2=None the one that all full blocks choose, which is worked out here."""
        if self._l2 is None and self._ready:
            self._solved()
        return self._penalty

    @property
    def weights(self) -> Floats:
        """The solution on all full blocks, without the bias: (d,) for numbers (n,), else (d, k)."""
        weights = self._solved()[1:]
        return weights[:, 0] if self.intake.flat else weights

    @property
    def intercept(self) -> Floats:
        """The bias of every output: (k,)."""
        return self._solved()[0]

    def interval(self, x: Features, /, *, coverage: float = 0.9) -> Array:
        """See `retain.interval`. Changes nothing."""
        share(coverage)
        if self.intake.classes is not None:
            raise SettingError("Ridge of classes was asked for intervals; expected numbers as labels")
        rows, sums = self.intake.rows(x), self._whole()
        n, k = len(rows), self.intake.outputs
        solution = self._solved() if self._ready else np.zeros((1 + rows.shape[1], k))
        rows = rows[:, : len(solution) - 1]
        z_nD = np.column_stack([np.full(n, float(self._bias)), rows])
        leverage, freedom, squares = np.zeros(n), 0.0, np.zeros(k)
        if self._ready:
            inverse = self._inverted(sums, solution)
            leverage = np.einsum("nD,nD->n", z_nD @ inverse, z_nD)
            freedom = float(np.einsum("DE,ED->", sums.gram, inverse))
            squares = _errors(solution, sums)
        bounds = around(z_nD @ solution, leverage, squares, rows=sums.weight, freedom=freedom, coverage=coverage)
        return bounds[:, 0] if self.intake.flat else bounds

    def scores(self) -> Scores:
        """What it answers with now; see `retain.scores`."""
        solution = self._solution_of_rows()
        return self._scored(solution[1:], solution[0], "numbers" if self.intake.classes is None else "shares")

    def worth(self) -> Floats:
        """(d,) by how much what is minimised grows where a feature goes: |w|^2 / A^-1 at its place, A = G + l2 I."""
        solution = self._solution_of_rows()
        inverse = self._inverted(self._whole(), solution).diagonal()[1:]
        worth, own = np.zeros(self.intake.width or 0), (solution[1:] ** 2).sum(axis=1)
        np.divide(own, inverse, out=worth[: len(own)], where=inverse > 0)
        return worth

    def _inverted(self, sums: Moments, solution: Floats) -> Floats:
        """(G + l2 I)^-1, kept for as long as the solution is."""
        if self._inverse is None or self._inverse[0] is not solution:
            gram, _ = self._system(sums)
            first, D = 0 if self._bias else 1, len(gram)
            penalty = np.r_[0.0, np.full(D - 1, self.l2)][first:]
            inverse = solve(gram[first:, first:], np.eye(D - first), penalty)
            self._inverse = solution, np.pad(inverse, (first, 0))
        return self._inverse[1]

    def _solve(self) -> Floats:
        """W (D, k)."""
        if self._l2 is None:
            self._penalty = self._chosen()
        return self._weights(self._whole(), self._penalty)

    def _weights(self, sums: Moments, l2: float) -> Floats:
        """W (D, k) from these sums."""
        gram, right = self._system(sums)
        penalty = np.r_[0.0, np.full(len(gram) - 1, l2)]
        first = 0 if self._bias else 1
        return np.pad(solve(gram[first:, first:], right[first:], penalty[first:]), ((first, 0), (0, 0)))

    def _system(self, sums: Moments) -> tuple[Floats, Floats]:
        """G (D, D) and Q (D, k), in which all classes count alike if they are to."""
        gram, right = sums.gram, sums.cross
        if self._balanced and self.intake.classes is not None:
            there = sums.power > 0
            alike = sums.weight / there.sum()
            mean_Dk = np.divide(right, sums.power, out=np.zeros_like(right), where=there)
            gram = gram + (mean_Dk * (alike - sums.power)) @ mean_Dk.T
            right = alike * mean_Dk
        return gram, right

    def _chosen(self) -> float:
        """The penalty with the least squared error on folds held out, found by going downhill.

        On a grid of powers of ten, and between them where the parabola through the least and its neighbours is least.
        """
        parts = [fold for fold in self._folds if fold.weight > 0]
        whole = self._whole()
        size = float(whole.squares[1:].mean()) if self.intake.width else 0.0
        if len(parts) < 2 or size == 0.0:
            return _UNTIL_CHOSEN
        errors: dict[int, float] = {}

        def error(power: int) -> float:
            if power not in errors:
                penalty = size * 10.0**power
                errors[power] = sum(_error(self._weights(whole.without(part), penalty), part) for part in parts)
            return errors[power]

        best = _POWERS[len(_POWERS) // 2]
        while True:
            near = [power for power in (best - 1, best, best + 1) if power in _POWERS]
            better = min(near, key=error)
            if better == best:
                break
            best = better
        bend = sum(map(error, near)) - 3 * error(best) if len(near) == 3 else 0.0
        return size * 10.0 ** (best + ((error(best - 1) - error(best + 1)) / (2 * bend) if bend > 0 else 0.0))

    def _answer(self, solution: Floats, x: Floats) -> Floats:
        score = x[:, : len(solution) - 1] @ solution[1:] + solution[0]  # columns that no full block has had count as 0
        return score if self.intake.classes is None else np.maximum(score, 0.0)

    def _newness(self, solution: Floats, x: Floats) -> Floats:
        votes = self._answer(solution, x)
        most = votes.max(axis=1)
        return 1.0 - np.divide(most, votes.sum(axis=1), out=np.zeros_like(most), where=most > 0)


def _error(weights: Floats, sums: Moments) -> float:
    """The squared error |Y - X W|^2 on the rows of these sums."""
    return float(_errors(weights, sums).sum())


def _errors(weights: Floats, sums: Moments) -> Floats:
    """The same of every output: (k,)."""
    return sums.power + np.einsum("Dk,Dk->k", weights, sums.gram @ weights - 2 * sums.cross)
