"""Naive Bayes on counts: `MultinomialNB`, `ComplementNB`, and `BernoulliNB`, which asks only whether there are any.

Shapes: n rows, D features, k classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, final

import numpy as np

from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.errors import SettingError
from retain.learners.bayes.entries import Entries, Reader
from retain.learners.bayes.room import roomy

__all__ = ["BernoulliNB", "ComplementNB", "MultinomialNB"]


class _Counting(ABC):
    """Rows in order through a compiled loop over their entries."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._reader.read(batch)
        self._reader.keep(given)
        self._admit(given.classes, given.rows)
        return self._through(given.rows, given.y, given.weight)

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, k); (n, 0) before the first labels. Changes nothing."""
        rows = self._reader.rows(x)
        return self._through(rows, np.full(len(rows), -1), np.zeros(len(rows)))

    def _through(self, rows: Entries, y: Ints, weight: Floats) -> Array:
        out = np.zeros((len(rows), self._reader.classes))
        if out.size:
            labels = np.require(y, np.int64, ["C", "W"]), np.require(weight, np.float64, ["C", "W"])
            self._run(rows.indptr, rows.indices, rows.values, *labels, out)
        return out

    @abstractmethod
    def _admit(self, classes: int, rows: Entries) -> None:
        """Make room for rows that are to be learnt."""

    @abstractmethod
    def _run(self, indptr: Ints, indices: Ints, values: Floats, y: Ints, weight: Floats, out: Array) -> None:
        """One compiled pass over rows that have passed all checks."""


class _Sums(_Counting, ABC):
    """Keeps how often every feature came in every class."""

    def __init__(self, name: str, *, complement: bool, alpha: float, forgetting: float, balanced: bool) -> None:
        _check(name, alpha, forgetting)
        super().__init__(Reader(name, counts=True))
        self._settings = np.array([float(complement), alpha, forgetting, float(balanced)])
        self._cached = not complement and forgetting == 1
        self._cells, self._logs = np.zeros((0, 1)), np.zeros((0, 0))
        self._power, self._sums = np.zeros(0), np.zeros(0)
        self._clock = np.array([1.0, 0.0, 0.0])

    def state_dict(self) -> State:
        k, width = self._reader.classes, self._reader.width or 0
        return {
            "reader": self._reader.state_dict(),
            "cells": self._cells[:width, : 1 + k].copy(),
            "power": self._power[:k].copy(),
            "sums": self._sums[:k].copy(),
            "clock": self._clock.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._reader.load_state_dict(state["reader"])
        self._cells, self._power, self._sums, self._clock = (
            state[name].copy() for name in ("cells", "power", "sums", "clock")
        )
        self._logs = np.zeros((0, 0))
        self._grow(self._reader.classes, self._reader.width or 0)

    def _admit(self, classes: int, rows: Entries) -> None:
        self._grow(classes, rows.width)

    def _grow(self, classes: int, width: int) -> None:
        self._cells = roomy(self._cells, width, 1 + classes)
        self._power, self._sums = roomy(self._power, classes), roomy(self._sums, classes)
        room = (len(self._cells), self._cells.shape[1] - 1)
        if self._cached and self._logs.shape != room:
            self._logs = np.empty(room)
            _kernel("logged")(self._cells, self._logs, self._settings[1])

    def _run(self, indptr: Ints, indices: Ints, values: Floats, y: Ints, weight: Floats, out: Array) -> None:
        state = (self._cells, self._logs, self._power, self._sums, self._clock)
        _kernel("counted")(indptr, indices, values, y, weight, *state, out.shape[1], out, self._settings)


@final
class MultinomialNB(_Sums):
    """Naive Bayes on counts: a row is so many draws of features, each class draws them at its own rates.

        p(c | x) ~ n_c prod_j p_cj^x_j,    p_cj = (N_cj + alpha) / (sum_j N_cj + alpha D)

    with n_c the weight of the rows of class c, N_cj how often feature j came in them, and D the number of features that
    ever came. For texts as counts of words, as `Hash(signed=False)` puts them out: one pass, no tuning, and a cost of
    (entries of the row) x (classes).

    A feature that never came before tells nothing. Sparse rows (`CSR`), which may become wider, are read as they are.
    Granularity 1. Rows without a label, or of weight 0, are predicted and not learnt.

    Args:
        alpha: how often every feature is taken to have come in every class before the first row, > 0.
        forgetting: factor 0 < f <= 1 by which all past rows are multiplied at every row of weight 1 (f^v at weight v);
            the effective memory is 1 / (1 - f) rows. Below 1 a row takes longer: logarithms are no longer kept.
        balanced: whether all classes are taken to be equally frequent.

    Raises:
        SettingError: a setting out of its range.
        PoisonError: from `learn` and `predict`: NaN, Inf, a negative count, a wrong width or type, labels that are no
            class codes.

    >>> import numpy as np, retain as rt
    >>> words = rt.Hash(bits=10, text=("text",), signed=False) | rt.MultinomialNB()
    >>> import pyarrow as pa
    >>> texts = pa.record_batch({"text": ["cheap pills", "lunch today", "cheap offer", "today at noon"]})
    >>> before = words.learn(rt.Batch(texts, y=np.array([1, 0, 1, 0])))
    >>> words.predict(pa.record_batch({"text": ["cheap lunch offer", "noon"]})).argmax(axis=1)
    array([1, 0])

    Reference: McCallum & Nigam 1998, A comparison of event models for naive Bayes text classification. In scikit-learn
    D is the width of the rows; here it does not depend on which block a wider row comes in.
    """

    def __init__(self, *, alpha: float = 1.0, forgetting: float = 1.0, balanced: bool = False) -> None:
        super().__init__("MultinomialNB", complement=False, alpha=alpha, forgetting=forgetting, balanced=balanced)


@final
class ComplementNB(_Sums):
    """Naive Bayes on counts, by what the *other* classes draw: steadier than `MultinomialNB` where classes are uneven.

        p(c | x) ~ prod_j q_cj^-x_j,    q_cj = (N_j - N_cj + alpha) / (sum_j (N_j - N_cj) + alpha D)

    with N_cj how often feature j came in rows of class c, N_j how often in all, and D the number of features that ever
    came. A class of few rows is judged by the many rows of the others. How frequent classes are is left out, as in the
    paper. The values say which class is the most likely; they are no measured probabilities.

    Otherwise as `MultinomialNB`, of which see the arguments and errors.

    Args:
        alpha: how often every feature is taken to have come in every class before the first row, > 0.
        forgetting: factor 0 < f <= 1 by which all past rows are multiplied at every row of weight 1.

    >>> import numpy as np, retain as rt
    >>> x = np.array([[3, 0, 1], [0, 2, 1], [2, 0, 0]], dtype=np.float32)
    >>> learner = rt.ComplementNB()
    >>> before = learner.learn(rt.Batch(x, y=np.array([0, 1, 0])))
    >>> learner.predict(np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)).round(2)
    array([[0.8 , 0.2 ],
           [0.18, 0.82]])

    Reference: Rennie et al. 2003, Tackling the poor assumptions of naive Bayes text classifiers. Weights are not
    normalised (their step 8): that would cost D numbers at each row.
    """

    def __init__(self, *, alpha: float = 1.0, forgetting: float = 1.0) -> None:
        super().__init__("ComplementNB", complement=True, alpha=alpha, forgetting=forgetting, balanced=False)


@final
class BernoulliNB(_Counting):
    """Naive Bayes on what occurs: in every class each feature is there or not, with a probability of its own.

        p(c | x) ~ n_c prod_{j there} p_cj prod_{j not there} (1 - p_cj),    p_cj = (n_cj + alpha) / (n_c + 2 alpha)

    with n_c the weight of the rows of class c and n_cj of those in which feature j was there. Unlike the other two, it
    counts what is *missing* from a row as evidence, which suits short texts and flags. For that a row costs, beside its
    entries times the classes, a pass over all features that ever came in one class (about a nanosecond each), with
    forgetting in all.

    Otherwise as `MultinomialNB`: a feature that never came before tells nothing; sparse rows may become wider.

    Args:
        alpha: as how many rows each of "there" and "not there" counts before the first row, > 0.
        threshold: a feature is there where its value is above, >= 0.
        forgetting: factor 0 < f <= 1 by which all past rows are multiplied at every row of weight 1 (f^v at weight v).
        balanced: whether all classes are taken to be equally frequent.

    Raises:
        SettingError: a setting out of its range.
        PoisonError: from `learn` and `predict`: NaN, Inf, a wrong width or type, labels that are no class codes.

    >>> import numpy as np, retain as rt
    >>> x = np.array([[1, 0, 1], [0, 1, 1], [1, 0, 0]], dtype=np.float32)
    >>> learner = rt.BernoulliNB()
    >>> before = learner.learn(rt.Batch(x, y=np.array([0, 1, 0])))
    >>> learner.predict(np.zeros((1, 3), dtype=np.float32)).round(2)  # that the third is missing speaks against 1
    array([[0.72, 0.28]])

    Reference: McCallum & Nigam 1998, as above.
    """

    def __init__(
        self, *, alpha: float = 1.0, threshold: float = 0.0, forgetting: float = 1.0, balanced: bool = False
    ) -> None:
        _check("BernoulliNB", alpha, forgetting)
        if not 0 <= threshold < float("inf"):
            raise SettingError(
                f"BernoulliNB got threshold={threshold}; expected a number >= 0: what a sparse row leaves out is 0"
            )
        super().__init__(Reader("BernoulliNB", counts=False))
        self._settings = np.array([threshold, alpha, forgetting, float(balanced)])
        self._count, self._place = np.zeros((0, 0)), np.zeros(0, dtype=np.int32)
        self._rest, self._stale = np.zeros(0), np.zeros(0, dtype=bool)  # follow from the counts
        self._power, self._clock = np.zeros(0), np.array([1.0, 0.0])

    def state_dict(self) -> State:
        k = self._reader.classes
        return {
            "reader": self._reader.state_dict(),
            "count": self._count[:k, : int(self._clock[1])].copy(),
            "place": self._place[: self._reader.width or 0].copy(),
            "power": self._power[:k].copy(),
            "clock": self._clock.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._reader.load_state_dict(state["reader"])
        self._count, self._place, self._power, self._clock = (
            state[name].copy() for name in ("count", "place", "power", "clock")
        )
        self._grow(self._reader.classes, self._count.shape[1])
        self._stale[:] = True

    def _admit(self, classes: int, rows: Entries) -> None:
        if len(self._place) < rows.width:
            more = max(rows.width, 2 * len(self._place)) - len(self._place)
            self._place = np.pad(self._place, (0, more), constant_values=-1)
        new = np.unique(rows.indices[self._place[rows.indices] < 0])
        self._grow(classes, int(self._clock[1]) + len(new))

    def _grow(self, classes: int, features: int) -> None:
        self._count = roomy(self._count, classes, -(-features // 8) * 8, step=8)
        self._power, self._rest = roomy(self._power, classes), roomy(self._rest, classes)
        if len(self._stale) < len(self._rest):
            self._stale = np.ones(len(self._rest), dtype=bool)

    def _run(self, indptr: Ints, indices: Ints, values: Floats, y: Ints, weight: Floats, out: Array) -> None:
        state = (self._count, self._place, self._rest, self._stale, self._power, self._clock)
        _kernel("bernoulli")(indptr, indices, values, y, weight, *state, out.shape[1], out, self._settings)


def _check(name: str, alpha: float, forgetting: float) -> None:
    if not 0 < alpha < float("inf"):
        raise SettingError(f"{name} got alpha={alpha}; expected a positive number, e.g. 1")
    if not 0 < forgetting <= 1:
        raise SettingError(f"{name} got forgetting={forgetting}; expected 0 < forgetting <= 1, e.g. .999")


def _kernel(name: str) -> Any:
    """A compiled row loop; numba is loaded when the first row arrives."""
    return getattr(import_module("retain.learners.bayes.kernels"), name)
