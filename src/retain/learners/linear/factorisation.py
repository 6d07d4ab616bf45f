"""`FactorisationMachine`: a weight for every feature and for every pair of them, the pairs' from a few factors.

Shapes: n rows, D features, F factors, R outputs, k classes (or outputs).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, final

import numpy as np

from retain import blocks
from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.errors import PoisonError, SettingError
from retain.learners.draws import seeded
from retain.learners.linear.losses import LOGISTIC, SQUARED, Logistic, Loss, Squared
from retain.learners.linear.rows import Rows, arrivals, plain, rows_of

__all__ = ["FactorisationMachine"]

_READER = "FactorisationMachine"
_SPREAD = 0.1  # deviation of the first factors
_UNSEEN = (np.inf, -np.inf, 0.0, 0.0, 0.0)


@final
class FactorisationMachine:
    """A linear model with a weight for every pair of features, which rows that never had the pair teach as well.

        m = b + w'x + sum_{i < j} <v_i, v_j> x_i x_j

    The weight of a pair is the product of two vectors of `rank` factors, one for each feature: what a user is to one
    thing says what it is to others like it. That is what sparse rows of categories and identifiers need, `OneHot` or
    `Hash` in front; a row costs (its entries) x rank, not their square. Numbers should be of one size: `Scale()`.

    The loss says what labels are. `Logistic()`: classes; one output for two, from the third on one for each, against
    the rest, their probabilities divided by their sum. `Squared()`: numbers (n,) or (n, k), in units of their running
    deviation around their running mean, held within the range of those learnt.

    Steps are gradient steps at an adaptive rate for every weight and factor, rate / sqrt(1 + sum of g^2). Factors begin
    small and random when their feature first comes, by the number of the feature alone; before, it tells nothing.
    Granularity 1. Rows without a label, or of weight 0, are predicted and not learnt. The width is that of `Linear`:
    fixed for bare dense arrays, growing for sparse rows, record batches and rows with a schema.

    Args:
        rank: factors of a feature.
        loss: `Logistic()` or `Squared()`.
        learning_rate: of weights and factors.
        l2: penalty l2 w^2 / 2 of the weights and factors of the features that occur in a row.
        seed: of the first factors.

    Raises:
        SettingError: a setting out of its range.
        PoisonError: from `learn` and `predict`: NaN, Inf, a wrong width or type, labels that the loss does not fit.

    Whether a pair agrees, which no weight of one feature can say:

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.choice([-1.0, 1.0], size=(3000, 4))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> for learner in (rt.Linear(loss=rt.Logistic()), rt.FactorisationMachine(4)):
    ...     print(bool(np.mean(learner.learn(rt.Batch(x, y=y)).argmax(axis=1)[1000:] == y[1000:]) > 0.95))
    False
    True

    References:
        Rendle 2010, Factorization machines, ICDM; the steps are those of Duchi, Hazan, Singer 2011, JMLR 12, as Juan et
        al. 2016 (field-aware factorization machines) take them.
    """

    def __init__(
        self,
        rank: int = 8,
        *,
        loss: Loss = Logistic(),  # noqa: B008 - frozen, hence safely shared
        learning_rate: float = 0.2,
        l2: float = 0.0,
        seed: int = 0,
    ) -> None:
        if rank < 1:
            raise SettingError(f"{_READER} got rank={rank}; expected a whole number >= 1")
        if not isinstance(loss, (Logistic, Squared)):
            raise SettingError(f"{_READER} got {loss}; expected Logistic() or Squared()")
        if not 0 < learning_rate < float("inf") or not 0 <= l2 < float("inf"):
            raise SettingError(
                f"{_READER} got learning_rate={learning_rate}, l2={l2}; expected a rate > 0 and a penalty >= 0"
            )
        self._loss = SQUARED if isinstance(loss, Squared) else LOGISTIC
        self._settings = np.array([rank, learning_rate, l2, _SPREAD])
        self._own = 2 + 2 * rank
        self._seed = seeded(seed)
        self._classes = 0
        self._flat: bool | None = None  # whether targets are (n,); None before the first
        self._width: int | None = None
        self._growing = False
        self._cells = np.zeros((0, self._own))
        self._bias, self._sign, self._span = np.zeros((1, 2)), np.ones(1), np.array([_UNSEEN])

    @property
    def classes(self) -> int:
        """How many classes are known: the highest code learnt, plus 1."""
        return self._classes

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        n = len(batch)
        named = batch.schema is not None or not isinstance(batch.x, np.ndarray)
        rows = rows_of(batch.x, None if named or self._growing else self._width, reader=_READER)
        weight = blocks.bounded(blocks.weights(batch.weight, n, reader=_READER), "weight", reader=_READER)
        if self._loss == SQUARED:
            y = self._targets(batch.y, n)
            self._admit(rows, growing=named)
            weight = np.where(blocks.labelled(batch.y, n), weight, 0.0)
            return self._learn_numbers(rows, y, weight, known=batch.y is not None)
        codes = blocks.codes(batch.y, n, reader=_READER)
        self._admit(rows, growing=named)
        return self._learn_classes(rows, codes, np.where(codes >= 0, weight, 0.0))

    def predict(self, x: Features, /) -> Array:
        """Numbers (n,) or (n, k), or probabilities (n, classes). Changes nothing."""
        rows = rows_of(x, None if self._growing else self._width, reader=_READER).within(self._width or 0)
        columns = len(self._sign) if self._loss == SQUARED else self._classes
        out = np.zeros((rows.n, columns))
        self._run(rows, np.zeros((rows.n, columns)), np.zeros(rows.n), out)
        return out[:, 0] if self._loss == SQUARED and self._flat is not False else out

    def state_dict(self) -> State:
        return {
            "classes": self._classes,
            "flat": self._flat,
            "width": self._width,
            "growing": self._growing,
            "seed": self._seed.copy(),
            "cells": self._cells[: self._width or 0].copy(),
            "bias": self._bias.copy(),
            "sign": self._sign.copy(),
            "span": self._span.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._classes, self._flat = state["classes"], state["flat"]
        self._width, self._growing = state["width"], state["growing"]
        self._seed, self._cells, self._bias, self._sign, self._span = (
            state[name].copy() for name in ("seed", "cells", "bias", "sign", "span")
        )

    # --- learning ---

    def _learn_numbers(self, rows: Rows, y: Floats, weight: Floats, *, known: bool) -> Array:
        if known and self._flat is None:
            self._flat = y.ndim == 1
            self._extend(1 if y.ndim == 1 else y.shape[1])
        out = np.zeros((rows.n, len(self._sign)))
        self._run(rows, y if y.ndim == 2 else y[:, None], weight, out)
        return out[:, 0] if self._flat is not False else out

    def _learn_classes(self, rows: Rows, codes: Ints, weight: Floats) -> Array:
        known = np.where(weight > 0, codes, -1)
        classes = max(self._classes, int(known.max(initial=-1)) + 1)
        out, y = np.zeros((rows.n, classes)), codes.astype(np.float64)[:, None]
        start = 0
        for i in arrivals(known, self._classes) if classes > self._classes else ():
            self._run(rows.part(start, i), y[start:i], weight[start:i], out[start:i])
            answer = np.zeros_like(out[i : i + 1])
            self._run(rows.part(i, i + 1), y[i : i + 1], np.zeros(1), answer)  # predicted before its class is known
            self._arrive(int(known[i]) + 1)
            self._run(rows.part(i, i + 1), y[i : i + 1], weight[i : i + 1], out[i : i + 1])
            out[i] = answer
            start = i + 1
        self._run(rows.part(start, rows.n), y[start:], weight[start:], out[start:])
        return out

    def _arrive(self, classes: int) -> None:
        before, self._classes = self._classes, classes
        if classes > 2:
            self._extend(classes)
            if before in (1, 2):  # class 0 was what class 1 was not, or had not been so far
                own = self._own
                self._cells[:, own : 2 * own] = self._cells[:, :own]
                self._bias[1], self._sign[0] = self._bias[0], -1.0

    def _extend(self, outputs: int) -> None:
        more = outputs - len(self._sign)
        self._cells = np.pad(self._cells, ((0, 0), (0, more * self._own)))
        self._bias = np.pad(self._bias, ((0, more), (0, 0)))
        self._sign = np.concatenate([self._sign, np.ones(more)])
        self._span = np.concatenate([self._span, np.tile(_UNSEEN, (more, 1))])

    def _admit(self, rows: Rows, *, growing: bool) -> None:
        """Make room for rows that have passed all checks."""
        self._growing |= growing
        self._width = max(self._width or 0, rows.width)
        room = len(self._cells)
        if self._width > room:
            # Doubling keeps the total cost of growth proportional to the final width.
            self._cells = np.pad(self._cells, ((0, max(self._width, 2 * room) - room), (0, 0)))

    def _targets(self, y: Array | None, n: int) -> Floats:
        if y is None:
            return np.zeros(n) if self._flat is not False else np.zeros((n, len(self._sign)))
        targets = blocks.bounded(blocks.numbers(y, n, reader=_READER), "target", reader=_READER)
        expected = targets.shape[1:] if self._flat is None else () if self._flat else (len(self._sign),)
        if targets.ndim > 2 or targets.shape[1:] != expected:
            raise PoisonError(
                f"{_READER} got targets of shape {targets.shape}; expected {(n, *expected)}: keep the number of outputs"
            )
        return targets

    def _run(self, rows: Rows, y: Floats, weight: Floats, out: Array) -> None:
        """One compiled pass over rows that have passed all checks; out (n, K) takes the predictions."""
        columns = len(self._sign) if self._loss == SQUARED else self._classes
        if not rows.n or not columns:
            return
        entries = rows.sparse()
        labels = plain(y, np.float64), plain(weight, np.float64)
        state = (self._cells, self._bias, self._sign, self._span, self._seed[0])
        lists = (entries.values, entries.indptr, entries.indices)
        _kernel()(*lists, *labels, *state, out, columns, self._loss, self._settings)


def _kernel() -> Any:
    """The compiled row loop; numba is loaded when the first row arrives."""
    return import_module("retain.learners.linear.factorisation_kernels").factorised
