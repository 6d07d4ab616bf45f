"""`GaussianNB`: naive Bayes on numbers, a Gaussian for every feature in every class.

Shapes: n rows, d features, k classes; K and D are what there is room for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, final

import numpy as np

from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.errors import SettingError
from retain.learners.bayes.room import roomy
from retain.learners.intake import Intake

__all__ = ["GaussianNB"]


@final
class GaussianNB:
    """Naive Bayes on numbers: in every class every feature is a Gaussian of its own, independent of the others.

        p(c | x) ~ n_c prod_j N(x_j; m_cj, s_cj),    s_cj = (S_cj + smoothing s_j) / (n_cj + smoothing)

    with n_c the weight of the rows of class c, m_cj and S_cj the mean of feature j in them and the sum of squares
    around it, and s_j the variance of the feature in all rows. One pass, no tuning, k d numbers: the learner to begin
    with, and a strong one where little data has come. Its order of the classes is better than its probabilities, which
    are too sure where features repeat each other.

    Categories as columns of zeros and ones are no Gaussians: one that never came in a class would be all but proof
    against it. They are what `BernoulliNB` is for.

    NaN tells nothing: the feature is left out of the product, and not learnt from that row. So is a feature that has
    been constant so far. The unit of a feature makes no difference.

    Granularity 1. Rows without a label, or of weight 0, are predicted and not learnt.

    Args:
        smoothing: as how many rows of a class the spread of all rows counts, >= 0; without any, a class of few rows is
            far too sure of where the next must lie. No variance goes below 1e-9 of that of all rows.
        forgetting: factor 0 < f <= 1 by which all past rows are multiplied at every row of weight 1 (f^v at weight v);
            the effective memory is 1 / (1 - f) rows.
        balanced: whether all classes are taken to be equally frequent.

    Raises:
        SettingError: a setting out of its range.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type, labels that are no class codes.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, size=400)
    >>> x = rng.normal(size=(400, 2)) * np.where(y == 1, 5, 1)[:, None]  # the same mean, another spread
    >>> learner = GaussianNB()
    >>> before = learner.learn(Batch(x, y=y))
    >>> learner.predict(np.array([[0.5, 0.5], [9.0, np.nan]])).argmax(axis=1)
    array([0, 1])

    References:
        Hand & Yu 2001, Idiot's Bayes: not so stupid after all?; West 1979, Updating mean and variance estimates. Where
        scikit-learn adds 1e-9 of the largest variance of any feature to all of them, which depends on units, we add
        rows (`smoothing=0` is the same but for that floor).
    """

    def __init__(self, *, smoothing: float = 1.0, forgetting: float = 1.0, balanced: bool = False) -> None:
        if not 0 <= smoothing < float("inf"):
            raise SettingError(f"GaussianNB got smoothing={smoothing}; expected a number of rows >= 0")
        if not 0 < forgetting <= 1:
            raise SettingError(f"GaussianNB got forgetting={forgetting}; expected 0 < forgetting <= 1, e.g. .999")
        self._settings = np.array([smoothing, forgetting, float(balanced)])
        self._intake = Intake("GaussianNB", regresses=False, missing=True)
        self._power = np.zeros(0)
        self._weight, self._mean, self._square = np.zeros((0, 0)), np.zeros((0, 0)), np.zeros((0, 0))
        self._all = np.zeros((3, 0))

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._intake.read(batch)
        self._intake.keep(given)
        self._admit(self._intake.outputs, given.x.shape[1])
        return self._run(given.x, given.y, given.weight)

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, k); (n, 0) before the first labels. Changes nothing."""
        rows = self._intake.rows(x)
        return self._run(rows, np.full(len(rows), -1), np.zeros(len(rows)))

    def state_dict(self) -> State:
        k, d = self._intake.outputs, self._intake.width or 0
        return {
            "intake": self._intake.state_dict(),
            "power": self._power[:k].copy(),
            "weight": self._weight[:k, :d].copy(),
            "mean": self._mean[:k, :d].copy(),
            "square": self._square[:k, :d].copy(),
            "all": self._all[:, :d].copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        self._power = state["power"].copy()
        self._weight, self._mean, self._square = (state[name].copy() for name in ("weight", "mean", "square"))
        self._all = state["all"].copy()
        self._admit(*self._weight.shape)

    def _admit(self, classes: int, width: int) -> None:
        self._power = roomy(self._power, classes)
        self._weight, self._mean, self._square = (
            roomy(part, classes, -(-width // 8) * 8, step=8) for part in (self._weight, self._mean, self._square)
        )
        self._all = roomy(self._all, 3, self._weight.shape[1])

    def _run(self, x: Floats, y: Ints | Floats, weight: Floats) -> Array:
        k = self._intake.outputs
        out = np.zeros((len(x), k))
        if k and len(x):
            x, y = np.require(x, np.float32, ["C", "W"]), np.require(y, np.int64, ["C", "W"])
            state = (self._power, self._weight, self._mean, self._square, self._all)
            _kernel()(x, y, np.require(weight, np.float64, ["C", "W"]), *state, k, out, self._settings)
        return out


def _kernel() -> Any:
    """The compiled row loop; numba is loaded when the first row arrives."""
    return import_module("retain.learners.bayes.kernels").gaussian
