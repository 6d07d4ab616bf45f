"""`Calibrated`: probabilities that come true as often as they say, from those that any learner says.

Shapes: n rows that arrive, P rows in all (those due, then those that arrive), k classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import final

import numpy as np

from retain import blocks
from retain.compose import Kept, LateLearner, Wrapper, late
from retain.core import Array, Batch, Features, Ints, Learner, State
from retain.errors import SettingError

__all__ = ["Calibrated", "Isotonic", "Platt", "Temperature"]

_PRIOR = 5.0  # precision of the identity that fits begin at, in rows or so


def _check_memory(name: str, memory: float) -> None:
    if not memory > 1 or math.isnan(memory):
        raise SettingError(f"{name} got memory={memory}; expected more than 1 row, or inf")


@final
@dataclass(frozen=True, slots=True)
class Platt:
    """A line for the log-odds of each class against the rest, q_c = sigmoid(a_c logit(p_c) + b_c); then q / sum q.

    Fitted by one of Newton's steps after every label, under squares that fade.

    Args:
        memory: rows that a fit goes back, > 1; `inf` for all of them.

    >>> Platt().memory
    5000.0

    References: Platt 1999, Probabilistic outputs for support vector machines (there of margins, here of log-odds, so
    that a learner that is calibrated stays as it is); Zadrozny & Elkan 2002 (classes against the rest).
    """

    memory: float = 5000.0

    def __post_init__(self) -> None:
        _check_memory("Platt", self.memory)


@final
@dataclass(frozen=True, slots=True)
class Temperature:
    """p^(1/T) made to add up to 1: one number, which never changes which class is the likeliest.

    Args:
        memory: as of `Platt`.

    >>> Temperature(memory=1000).memory
    1000

    Reference: Guo, Pleiss, Sun & Weinberger 2017, On calibration of modern neural networks.
    """

    memory: float = 5000.0

    def __post_init__(self) -> None:
        _check_memory("Temperature", self.memory)


@final
@dataclass(frozen=True, slots=True)
class Isotonic:
    """For each class the rising function of what was said that fits the last rows best; then q / sum q.

    Fitted anew after every so many labels, by pooling adjacent violators; linear between the points it was fitted at,
    and no nearer to 0 and 1 than 1 / (points + 2).

    Args:
        window: rows that are fitted, >= 2.
        every: labels from one fit to the next.

    >>> Isotonic(every=50)
    Isotonic(window=2000, every=50)

    Reference: Zadrozny & Elkan 2002, Transforming classifier scores into accurate multiclass probability estimates.
    """

    window: int = 2000
    every: int = 100

    def __post_init__(self) -> None:
        if not (self.window >= 2 and self.every >= 1):
            raise SettingError(
                f"Isotonic got window={self.window}, every={self.every}; expected a window of 2 rows or more, refitted "
                "after 1 label or more"
            )


@final
class Calibrated(LateLearner, Wrapper):
    """A learner whose probabilities are corrected by how often what it said has come true.

    After every label, what the learner inside had said of the row when it arrived, and the label, move the fit of
    `method`; rows that arrive later are answered through it. Nothing else changes: the learner inside learns as it did.

    A row of zeros (before any class is known, or unknown to `OpenSet`) stays one. A row of weight v counts v times.
    Late labels count by what was said when the row arrived. Granularity: that of the learner inside.

    Args:
        learner: of classes, with probabilities; a chain is fine.
        method: `Platt()`, `Temperature()` or `Isotonic()`.

    Raises:
        SettingError: when learning, a learner inside that says numbers.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(4000, 30)).astype(np.float32)
    >>> y = (x[:, 0] + 2 * rng.logistic(size=4000) > 0).astype(np.int64)
    >>> make = lambda: rt.Linear(loss=rt.Logistic(), update=rt.SGD(0.3))  # too steep a rate: it is too sure of itself
    >>> for learner in (make(), rt.Calibrated(make())):
    ...     error = rt.metrics.CalibrationError()
    ...     error.update(y, learner.learn(rt.Batch(x, y=y)))
    ...     print(round(error.value(), 2))
    0.39
    0.02
    """

    def __init__(self, learner: Learner, /, *, method: Platt | Temperature | Isotonic = Platt()) -> None:
        self.learner = learner
        self._method = method
        self._known = np.zeros(1, dtype=np.int64)
        self._room = 0
        self._fit: dict[str, Array] = {}
        self._grow(0)

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        n = len(batch)
        self._check(batch, batch.y, n)
        said = self.learner.learn(batch)
        order = np.empty(2 * n, dtype=np.int64)  # every row lands right after it has arrived, if it has a label
        order[0::2] = np.arange(n)
        order[1::2] = ~order[0::2]
        return self._corrected(said, None, batch.y, batch.weight, order)

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, k). Changes nothing."""
        said = self.learner.predict(x)
        _refuse_numbers(said, self.learner)
        return self._corrected(said, None, None, None, np.arange(len(said)))

    def flow(self, arrivals: Batch, due: Kept | None, due_y: Array, order: Ints, /) -> tuple[Array, Kept]:
        """As `retain.compose.LateLearner.flow`: what was said of a row on arrival is what counts."""
        self._check(arrivals, due_y, len(due_y))
        said, part = late(self.learner).flow(arrivals, None if due is None else due.parts[0], due_y, order)
        out = self._corrected(said, None if due is None else due.views[0], due_y, arrivals.weight, order)
        return out, Kept((Batch(said, weight=arrivals.weight),), (part,))

    def meet(self, arrivals: Batch, /) -> tuple[Array, Kept]:
        said, part = late(self.learner).meet(arrivals)
        out = self._corrected(said, None, None, None, np.arange(len(said)))
        return out, Kept((Batch(said, weight=arrivals.weight),), (part,))

    def state_dict(self) -> State:
        fit = {name: part.copy() for name, part in self._fit.items()}
        return {"learner": self.learner.state_dict(), "known": int(self._known[0]), "room": self._room, "fit": fit}

    def load_state_dict(self, state: State, /) -> None:
        self.learner.load_state_dict(state["learner"])
        self._known, self._room = np.full(1, state["known"], dtype=np.int64), state["room"]
        self._fit = {name: part.copy() for name, part in state["fit"].items()}

    def _check(self, batch: Batch, y: Array | None, n: int) -> None:
        """Before anything is learnt: refuse a learner of numbers inside, by what it says of a row."""
        if y is not None and y.dtype.kind == "f" and not np.isnan(y).all():
            raise SettingError("Calibrated got numbers as targets; expected class codes: numbers have no probability")
        blocks.codes(None if y is None or y.dtype.kind == "f" else y, n, reader="Calibrated")
        blocks.weights(batch.weight, len(batch), reader="Calibrated")
        if not self._known[0] and len(batch):
            _refuse_numbers(self.learner.predict(blocks.take(batch.x, slice(0, 1))), self.learner)

    def _corrected(self, said: Array, due: Batch | None, y: Array | None, weight: Array | None, order: Ints) -> Array:
        """Answer the arrivals through the fit, and move it where labels land."""
        n, start = len(said), 0 if due is None else len(due)
        code = blocks.codes(None if y is None or y.dtype.kind == "f" else y, start + n, reader="Calibrated")
        w = np.ones(start + n)
        w[start:] = blocks.weights(weight, n, reader="Calibrated")
        if due is not None:
            w[:start] = blocks.weights(due.weight, start, reader="Calibrated")
        self._grow(max(said.shape[1], int(np.where(w > 0, code, -1).max(initial=-1)) + 1))
        told = np.zeros((start + n, self._room))
        told[start:, : said.shape[1]] = said
        if due is not None:
            before = np.asarray(due.x)
            told[:start, : before.shape[1]] = before
        out = np.zeros((n, self._room))
        kernels, fit = import_module("retain.learners.ensemble.calibrated_kernels"), self._fit
        events = (told, np.require(code, np.int64, ["C", "W"]), w, order, self._known, out)
        match self._method:
            case Platt(memory):
                kernels.platt(*events, fit["line"], fit["precision"], 1 - 1 / memory, _PRIOR)
            case Temperature(memory):
                kernels.temperature(*events, fit["inverse"], fit["precision"], 1 - 1 / memory, _PRIOR)
            case Isotonic(_, every):
                kernels.isotonic(*events, *(fit[name] for name in _PAST), every)
        return out[:, : said.shape[1]]

    def _grow(self, classes: int) -> None:
        """Make room for so many classes."""
        room = max(2, self._room)
        while room < classes:
            room *= 2
        if room == self._room:
            return
        before, self._fit = self._fit, _begin(self._method, room)
        for name, part in before.items():
            self._fit[name][tuple(slice(0, size) for size in part.shape)] = part
        self._room = room


_PAST = ("past", "past_code", "past_weight", "counts", "knots", "values", "sizes")


def _begin(method: Platt | Temperature | Isotonic, room: int) -> dict[str, Array]:
    """A fit that changes nothing, by the names in `calibrated_kernels`."""
    match method:
        case Platt():
            return {"line": np.tile([1.0, 0.0], (room, 1)), "precision": np.tile([_PRIOR, 0.0, _PRIOR], (room, 1))}
        case Temperature():
            return {"inverse": np.ones(1), "precision": np.full(1, _PRIOR)}
        case Isotonic(window, _):
            return {
                "past": np.zeros((window, room)),
                "past_code": np.full(window, -1),
                "past_weight": np.zeros(window),
                "counts": np.zeros(3, dtype=np.int64),
                "knots": np.zeros((room, window)),
                "values": np.zeros((room, window)),
                "sizes": np.zeros(room, dtype=np.int64),
            }


def _refuse_numbers(said: Array, learner: Learner) -> None:
    if said.ndim != 2:
        raise SettingError(
            f"{type(learner).__name__} in Calibrated says numbers of shape {said.shape}; expected a learner of "
            "classes, whose answers are probabilities (n, k)"
        )
