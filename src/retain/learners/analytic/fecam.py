"""`FeCAM`: every class is a Gaussian with a covariance of its own.

Shapes: n rows, d features, k classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from retain.core import Floats
from retain.errors import SettingError
from retain.learners.analytic.moments import Moments, solve
from retain.learners.analytic.summed import Summed
from retain.learners.intake import Given

__all__ = ["FeCAM"]

_ROUNDING = 1e-12  # below this share of its squares, the variance of a column is rounding error


@final
class FeCAM(Summed):
    """The class whose mean is nearest by the class's own covariance: for classes of many rows that differ in shape.

    Features are bent, t = sign(x) |x|^power, which makes skewed ones more like a Gaussian. With m_c the mean and S_c
    the covariance of the bent rows of class c, its mean variance v and mean covariance u, and everything of unit
    length, the distance is

        D_c = (t/|t| - m_c/|m_c|)' R_c^-1 (t/|t| - m_c/|m_c|),    R_c the correlations of S_c + s v I + s u (11' - I),

    correlations, so that the distances of classes of another spread compare. Probabilities are a softmax of -d D / 2:
    their order is good, their size a convention. Novelty is the least of the d D_c.

    Sums of squares are kept for each class: k d^2 numbers, and so many for the solution, and a row is answered in as
    many operations. Where that is too much, there is `SLDA`.
    `merge`, `unlearn` and granularity are those of `Ridge`. A newcomer leaves all others exactly as they were.

    Args:
        shrinkage: s >= 0, how much of the mean variance and covariance is added; 10 where classes have fewer rows than
            there are features.
        power: the exponent of Tukey's transform, 0 < power <= 1; 1 leaves features as they are.
        batch_size: rows of a block.

    Raises:
        SettingError: a setting out of its range; more than 32,768 features.
        PoisonError: NaN, Inf, a wrong width or type, labels that are no class codes.

    >>> import numpy as np
    >>> from retain import Batch
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(4000) % 2  # means and variances are the same; in each class other columns agree
    >>> which = np.where(y[:, None], (1, -1, 1, -1), (1, 1, -1, -1))
    >>> x = 10 + rng.normal(size=(4000, 1)) * which + rng.normal(size=(4000, 4)) / 4
    >>> learner = FeCAM(shrinkage=0.01)
    >>> before = learner.learn(Batch(x, y=y))
    >>> float((learner.predict(x).argmax(axis=1) == y).mean()) > 0.8
    True

    References:
        Goswami et al. 2023, FeCAM: exploiting the heterogeneity of class distributions in exemplar-free continual
        learning. There the shrinkage of variances and covariances are two settings, both 1 where classes have many
        rows. Bent features are from Yang et al. 2021, Free lunch for few-shot learning; negative ones keep their sign.
    """

    def __init__(self, *, shrinkage: float = 1.0, power: float = 0.5, batch_size: int = 256) -> None:
        super().__init__(batch_size=batch_size, regresses=False, folds=0)
        if not 0 <= shrinkage < np.inf:
            raise SettingError(f"FeCAM got shrinkage={shrinkage}; expected a number >= 0")
        if not 0 < power <= 1:
            raise SettingError(f"FeCAM got power={power}; expected 0 < power <= 1")
        self._shrinkage, self.power = shrinkage, power

    def merge(self, other: Summed, /) -> None:
        """See `Ridge.merge`; learners that bend features otherwise are refused too."""
        if isinstance(other, FeCAM) and other.power != self.power:
            raise SettingError(f"FeCAM with power={self.power} cannot merge one with power={other.power}")
        super().merge(other)

    def _take(self, folds: list[Moments], rows: Given) -> None:
        """Every class has sums of its own."""
        folds.extend(self._nothing() for _ in range(int(rows.y.max(initial=-1)) + 1 - len(folds)))
        for code in np.unique(rows.y):
            own = rows.take(np.flatnonzero(rows.y == code))
            folds[code].take(replace(own, x=self._bent(own.x), y=np.zeros_like(own.y)))

    def _solve(self) -> list[tuple[Floats, Floats] | None]:
        return [_gaussian(fold, self._shrinkage) if fold.power.any() else None for fold in self._folds]

    @property
    def _ready(self) -> bool:
        return any(
            fold.power.any() for fold in self._folds
        )  # of a class that was taken out it is 0, but for no rounding

    def _answer(self, solution: list[tuple[Floats, Floats] | None], x: Floats) -> Floats:
        distance = self._distances(solution, x)
        return np.exp((distance.min(axis=1, keepdims=True) - distance) / 2)

    def _newness(self, solution: list[tuple[Floats, Floats] | None], x: Floats) -> Floats:
        return self._distances(solution, x).min(axis=1)

    def _distances(self, solution: list[tuple[Floats, Floats] | None], x: Floats) -> Floats:
        """d D_c, infinite for a class without rows: (n, k)."""
        width = max(
            len(known[0]) for known in solution if known is not None
        )  # what no full block has had tells nothing
        unit = _unit(self._bent(x[:, :width]).astype(np.float64))
        out = np.full((len(x), len(solution)), np.inf)
        for code, known in enumerate(solution):
            if known is not None:
                mean_d, inverse = known
                away = unit[:, : len(mean_d)] - mean_d
                out[:, code] = np.einsum("nd,nd->n", away @ inverse, away)
                out[:, code] += (unit[:, len(mean_d) :] ** 2).sum(axis=1)  # columns that came later: one unit each
        return out * width

    def _bent(self, x: Floats) -> Floats:
        return x if self.power == 1 else np.sign(x) * np.abs(x) ** np.float32(self.power)


def _gaussian(sums: Moments, shrinkage: float) -> tuple[Floats, Floats]:
    """The mean (d,) of unit length, and the inverse (d, d) of the shrunk correlations."""
    mean_d = sums.cross[1:, 0] / sums.weight
    covariance = sums.gram[1:, 1:] / sums.weight - np.outer(mean_d, mean_d)
    constant = covariance.diagonal() <= _ROUNDING * sums.squares[1:] / sums.weight
    covariance[constant], covariance[:, constant] = 0.0, 0.0
    d = len(mean_d)
    trace = float(covariance.trace())
    common = (float(covariance.sum()) - trace) / max(d * (d - 1), 1)
    covariance += shrinkage * common
    covariance[np.diag_indices(d)] += shrinkage * (trace / max(d, 1) - common)
    size = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    correlation = covariance * scale[:, None] * scale
    np.fill_diagonal(correlation, 1.0)  # of what does not vary too: it counts as it is
    return _unit(mean_d[None])[0], solve(correlation, np.eye(d))


def _unit(rows: Floats) -> Floats:
    """Rows of length 1; those of zeros stay."""
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
