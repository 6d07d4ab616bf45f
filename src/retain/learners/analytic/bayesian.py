"""`BayesianLinear`: linear regression that knows how sure it is, and finds its own penalty.

Shapes: n rows, d features, k outputs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, final

import numpy as np

from retain.compose import Bounding, Scoring
from retain.core import Array, Batch, Features, Floats, State
from retain.errors import SettingError
from retain.learners.analytic.intervals import around, share
from retain.learners.intake import Intake
from retain.scores import Scores

__all__ = ["BayesianLinear"]

_WIDEST = 2048  # two squares of so many features take 64 MiB
_PRIORS = 10.0 ** (np.arange(-24, 33) / 4)  # precisions to choose from, in rows
_SPREAD = 2 * np.log(10)  # how far, in logarithms, the choice is expected to lie from 1 row
_LEAST = 1e-100  # sums of squares below are none: what is left of a row that was all but forgotten
_ROUNDING = 1e-13  # below this share of the targets' squares, what is left of them is rounding error


@final
class BayesianLinear(Bounding, Scoring):
    """Bayesian linear regression: exact posterior row by row, with noise and prior learnt from the rows themselves.

    With noise of variance s^2, a flat prior on the bias and p(s^2) ~ 1 / s^2, the weights of standardised features
    (variance v_j) are N(0, s^2 / l) before the first row, l the prior precision, in rows. Given rows, with C, c and r
    the sums x x', x y and y^2 around the means, the weights are Student's around

        w = P c,    P = (C + l diag(v))^-1,    S = r - w'c,

    and so is the next label, with n - 1 degrees of freedom, n the weight of all rows: `retain.interval`. A row changes
    P, w and S by Sherman and Morrison's formula, O(d^2).

    What it adds to `RLS`: the penalty l needs no tuning and features no scaling, since l is where the probability of
    the labels is greatest (the evidence, integrated over weights and noise; log l is N(0, (2 log 10)^2) beforehand,
    which decides where few rows cannot). And intervals: from the second row on, where those of RLS are infinite until
    there are more rows than weights. What RLS adds: rotations, for columns that nearly depend on each other.

    The prior is chosen anew whenever the rows are a quarter more (with forgetting, a quarter of its memory at most),
    all sums then being solved afresh, O(d^3), which also takes rounding out. Between, under forgetting, the prior fades
    along with the rows.

    Numbers (n,) or (n, k), whose noises differ and whose prior is shared. Granularity 1. Rows without a label, or of
    weight 0, are predicted and not learnt. The width of bare dense arrays is fixed by the first block learnt; that of
    sparse rows, record batches and rows with a schema may grow to the right.

    Args:
        forgetting: factor 0 < f <= 1 by which all past rows are multiplied at every row of weight 1 (f^v at weight v);
            the effective memory is 1 / (1 - f) rows.
        prior: the precision l, in rows, > 0; None: chosen by evidence.

    Raises:
        SettingError: a setting out of its range; more than 2048 features.
        PoisonError: from `learn` and `predict`: NaN, Inf, a wrong width or type, class codes as labels.

    Ten rows and six features, of which one matters:

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(1)
    >>> x = rng.normal(size=(11, 6))
    >>> y = 3 * x[:, 0] + rng.normal(size=11)
    >>> learner = rt.BayesianLinear()
    >>> before = learner.learn(rt.Batch(x[:10], y=y[:10]))
    >>> low, high = rt.interval(learner, x[10:], coverage=0.9)[0]
    >>> bool(low < y[10] < high), round(float(high - low), 1)
    (True, 7.8)

    References:
        MacKay 1992, Bayesian interpolation, Neural Computation 4; Bishop 2006, Pattern recognition and machine
        learning, 3.3 to 3.5. There the prior is one for all features, whatever their units.
    """

    def __init__(self, *, forgetting: float = 1.0, prior: float | None = None) -> None:
        if not 0 < forgetting <= 1:
            raise SettingError(f"BayesianLinear got forgetting={forgetting}; expected 0 < forgetting <= 1, e.g. .999")
        if prior is not None and not 0 < prior < float("inf"):
            raise SettingError(f"BayesianLinear got prior={prior}; expected a positive number of rows, or None")
        self._chooses = prior is None
        self._settings = np.array([forgetting, 1.0 if prior is None else prior])
        self._intake = Intake("BayesianLinear", widest=_WIDEST, classifies=False)
        self._next = 1  # so many rows learnt, and the prior is chosen again
        self._rows = np.zeros(2)
        self._sums = _sums(0, 0)

    @property
    def weights(self) -> Floats:
        """The mean of the weights: (d,) for numbers (n,), else (d, k)."""
        weights = self._sums["weight"]
        return weights[:, 0].copy() if self._intake.flat else weights.copy()

    @property
    def intercept(self) -> Floats:
        """The bias of every output: (k,)."""
        return self._sums["mean_y"] - self._sums["mean"] @ self._sums["weight"]

    @property
    def prior(self) -> float:
        """The precision l of the prior, in rows."""
        return float(self._settings[1])

    @property
    def noise(self) -> Floats:
        """The standard deviation of the labels around the line: (k,); NaN before the second row."""
        left = self._rows[0] - 1
        return np.sqrt(self._sums["left"] / left) if left > 0 else np.full(self._intake.outputs, np.nan)

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._intake.read(batch)
        self._intake.keep(given)
        self._widen(given.x.shape[1], self._intake.outputs)
        n = len(given.x)
        out = np.zeros((n, self._intake.outputs))
        y = np.asarray(given.y, dtype=np.float64)
        learnt = int(self._rows[1]) + np.cumsum(given.weight > 0)
        start = 0
        while start < n and self._intake.outputs:
            stop = min(int(np.searchsorted(learnt, self._next)) + 1, n)
            self._run(given.x[start:stop], y[start:stop], given.weight[start:stop], out[start:stop])
            if int(self._rows[1]) == self._next:
                self._choose()
            start = stop
        return out[:, 0] if self._intake.flat else out

    def predict(self, x: Features, /) -> Array:
        """Numbers (n,) or (n, k); (n, 0) before the first labels. Changes nothing."""
        rows = self._intake.rows(x)
        out = np.zeros((len(rows), self._intake.outputs))
        self._run(rows, np.zeros(out.shape), np.zeros(len(rows)), out)
        return out[:, 0] if self._intake.flat else out

    def interval(self, x: Features, /, *, coverage: float = 0.9) -> Array:
        """See `retain.interval`. Changes nothing."""
        share(coverage)
        rows, k = self._intake.rows(x), self._intake.outputs
        mean = self.predict(x).reshape(len(rows), k)
        away = rows - self._sums["mean"][: rows.shape[1]]
        inverse = self._sums["inverse"][: rows.shape[1], : rows.shape[1]]
        weight = float(self._rows[0])
        leverage = np.einsum("nd,nd->n", away @ inverse, away) + (1 / weight if weight else np.inf)
        bounds = around(mean, leverage, self._sums["left"], rows=weight, freedom=1.0, coverage=coverage)
        return bounds[:, 0] if self._intake.flat else bounds

    def scores(self) -> Scores:
        """What it answers with now; see `retain.scores`."""
        if not self._intake.outputs:
            raise SettingError("BayesianLinear has learnt nothing yet; learn some rows first")
        return Scores(self._sums["weight"].T.copy(), self.intercept, "numbers", bool(self._intake.flat))

    def state_dict(self) -> State:
        return {
            "intake": self._intake.state_dict(),
            "rows": self._rows.copy(),
            "next": self._next,
            "prior": float(self._settings[1]),
            "sums": {name: values.copy() for name, values in self._sums.items()},
        }

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        self._rows, self._next = state["rows"].copy(), state["next"]
        self._settings[1] = state["prior"]
        self._sums = {name: state["sums"][name].copy() for name in self._sums}

    def _widen(self, width: int, outputs: int) -> None:
        old = len(self._sums["mean"])
        if width > old or outputs > len(self._sums["mean_y"]):
            new = _sums(width, outputs)
            for name, values in self._sums.items():
                new[name][tuple(slice(length) for length in values.shape)] = values
            self._sums = new

    def _run(self, x: Floats, y: Floats, weight: Floats, out: Array) -> None:
        if out.size:
            x, y = np.require(x, np.float32, ["C", "W"]), np.require(y, np.float64, ["C", "W"])
            weight = np.require(weight, np.float64, ["C", "W"])
            _kernel()(x, y, weight, self._rows, *self._sums.values(), out, self._settings)

    def _choose(self) -> None:
        """Choose the prior by evidence, and solve all sums afresh."""
        count, forgetting = int(self._rows[1]), float(self._settings[0])
        self._next = count + max(1, int(min(count / 4, 0.25 / (1 - forgetting) if forgetting < 1 else count)))
        sums, weight = self._sums, float(self._rows[0])
        # Only what has varied: features that are to come cannot change a bit.
        there = np.flatnonzero(sums["square"].diagonal() > _LEAST)
        deviation = np.sqrt(sums["square"].diagonal()[there] / weight)
        square, product = sums["square"][np.ix_(there, there)], sums["product"][there]
        level, turn = np.linalg.eigh(square / np.outer(deviation, deviation))
        level = np.maximum(level, 0.0)
        along = turn.T @ (product / deviation[:, None])
        if self._chooses and len(there):
            self._settings[1] = _evident(level, along, sums["square_y"], freedom=weight - 1)
        precision = level + self._settings[1]
        scaled = turn / deviation[:, None]
        sums["inverse"][...] = np.eye(len(sums["mean"]))
        sums["inverse"][np.ix_(there, there)] = (scaled / precision) @ scaled.T
        sums["weight"][there] = (scaled / precision) @ along
        left = sums["square_y"] - (along**2 / precision[:, None]).sum(axis=0)
        sums["left"][...] = np.maximum(left, _ROUNDING * sums["square_y"])


def _evident(level_d: Floats, along_dk: Floats, square_k: Floats, *, freedom: float) -> float:
    """The precision under which the labels are the most likely, weights and noise integrated out.

    Args:
        level_d: eigenvalues of the sums x x' of standardised features.
        along_dk: the sums x y along its eigenvectors.
        square_k: the sums y^2.
        freedom: degrees of freedom of the noise.
    """
    varied = square_k > 0
    k = int(varied.sum())
    fits_Pk = (along_dk[None, :, varied] ** 2 / (level_d[:, None] + _PRIORS[:, None, None])).sum(axis=1)
    left_Pk = np.maximum(square_k[varied] - fits_Pk, _ROUNDING * square_k[varied])
    volume_P = np.log1p(level_d / _PRIORS[:, None]).sum(axis=1)
    evidence_P = -k * volume_P / 2 - freedom * np.log(left_Pk).sum(axis=1) / 2
    return float(_PRIORS[int(np.argmax(evidence_P - (np.log(_PRIORS) / _SPREAD) ** 2 / 2))])


def _sums(width: int, outputs: int) -> dict[str, Floats]:
    """What is kept, in the order in which the kernel takes it, of no rows."""
    return {
        "mean": np.zeros(width),
        "mean_y": np.zeros(outputs),
        "square": np.zeros((width, width)),
        "product": np.zeros((width, outputs)),
        "square_y": np.zeros(outputs),
        "inverse": np.eye(width),
        "weight": np.zeros((width, outputs)),
        "left": np.zeros(outputs),
    }


def _kernel() -> Any:
    """The compiled row loop; numba is loaded when the first row arrives."""
    return import_module("retain.learners.analytic.bayesian_kernels").posterior
