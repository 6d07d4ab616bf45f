"""One learner, the rows it has answered and whose labels are to come, and how well it did: test, then train.

A lane takes blocks in arrival order and gives a `Report` of each. Where the blocks come from is for a loop to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple, final

import numpy as np

from retain.blocks import concat_arrays, from_state, labelled, take_batch, to_state
from retain.compose import Kept, LateLearner, late
from retain.core import Answers, Array, Batch, Features, Ints, Learner, Metric, Predictor, Report, Schema, State
from retain.errors import PoisonError, RetainError, SettingError
from retain.metrics import MAE, R2, RMSE, ROCAUC, Accuracy, LogLoss, update
from retain.metrics.decisions import mistakes
from retain.run.hearing import Ears
from retain.run.landing import Terms, apart, events
from retain.run.waiting import MODEL, Waiting, nothing

__all__ = ["Lane", "Still", "losses"]


@final
class Lane:
    """A learner beside baselines on rows in arrival order, each predicted on arrival, learnt and scored on landing.

    Args:
        learner: what learns.
        terms: when labels land.
        metrics: what to measure; None: what suits the target.
        baselines: learners that need no features, by name.
        row, clock: the number of the first row to come, and the event time before it.
    """

    def __init__(
        self,
        learner: Learner,
        terms: Terms,
        /,
        *,
        metrics: Sequence[Metric] | None,
        baselines: Mapping[str, Learner],
        row: int = 0,
        clock: float = -np.inf,
    ) -> None:
        self.learner = learner
        self._model: LateLearner = late(learner)
        self._terms = terms
        self._baselines = dict(baselines)
        self._given = metrics
        self._metrics: dict[str, list[Metric]] = {}
        self._ears = Ears(terms)
        self._blank: Batch | None = None  # no rows, in the form of those that arrive
        self._rows, self._learnt, self._lost, self._strays = row, 0, 0, 0
        self._clock = clock
        self._task: str | None = None
        self.said: Array = np.empty(0)
        """What was said of the rows of the last block when they arrived; not part of the state."""
        self.torn = False
        """Whether an error came when rows had been learnt and not been scored: the state is that of no moment."""

    @property
    def rows(self) -> int:
        """How many rows have arrived; the number of the next one."""
        return self._rows

    @property
    def clock(self) -> float:
        """Event time of the last row, as far as it has gone; minus infinity before the first."""
        return self._clock

    @property
    def schema(self) -> Schema | None:
        """The schema as known so far, with the classes seen on the way; None before the first row."""
        return None if self._blank is None else self._blank.schema

    @property
    def waiting(self) -> Ints:
        """Numbers of the rows whose labels are still to come."""
        return self._ears.pending.rows()

    @property
    def listening(self) -> Ints:
        """Numbers of the rows of which silence has spoken, and that listen on."""
        return self._ears.listening

    def step(self, batch: Batch, /) -> Report:
        """Rows arrive, and labels land whose time has come. Its clocks are for the loop to fill in."""
        apart_in_time = self._terms.late(batch)
        if not apart_in_time and self._terms.expire is not None:
            raise SettingError(
                f"labels are given up after {self._terms.expire}, and come with their rows; say when they land (a "
                "delay, a label_time, labels from a source of their own), or leave it out"
            )
        try:
            landed = self._learn_late(batch) if apart_in_time else self._learn_now(batch)
        except PoisonError as error:
            last = self._rows + len(batch) - 1
            raise PoisonError(f"{error} (in the block of rows {self._rows} to {last} of the stream)") from error
        self.torn = True
        if self._task is None and batch.y is not None:
            self._begin("classification" if batch.y.dtype.kind in "iub" else "regression")
        self._score(landed)
        self._arrived(batch)
        report = self._report(landed, batch)
        self.torn = False
        return report

    def meet(self, batch: Batch, which: Array, listens: Array, /) -> None:
        """Rows arrive and are answered, and nothing is learnt.

        Those of `which` (n,) booleans wait for their labels; of those that listen silence has spoken.
        """
        said, kept = self._model.meet(self._plain(batch))
        first, n = self._rows, len(batch)
        rows = np.arange(first, first + n)
        came = self._terms.arrive(batch, first, self._clock)
        arrived = Waiting(kept, came.landing, rows, rows if batch.id is None else batch.id, came.y, {MODEL: said})
        self._ears.pending.add(arrived.take(np.flatnonzero(which)))
        known = np.isfinite(came.late)
        until = np.where(known, came.late, np.nextafter(came.time + self._terms.until, np.inf))
        y = arrived.y if batch.y is None else np.where(known, batch.y, arrived.y)
        self._ears.listen(replace(arrived, landing=until, y=y).take(np.flatnonzero(listens)))
        self._arrived(batch)

    def inherit(self, other: Lane, /, *, before: int) -> None:
        """Listen on to what another has learnt of rows with numbers below this one: the learner is a copy of its."""
        self._ears.inherit(other._ears, before)

    def finish(self, rest: Answers | None = None, /, *, limited: bool = False, more: bool = False) -> Report | None:
        """Land the labels still on their way, `rest` among them; None where there is no more to tell than before.

        Where rows are `limited`, labels that are of none may be of rows that have not been read.
        """
        due, unheard, strays = self._ears.last(rest)
        self._strays += 0 if limited else strays
        if self._blank is None:
            return None
        if due is None:
            return self._report(self._nothing(), self._blank) if more or (strays and not limited) else None
        due = due.sorted()
        self._flow(self._blank, due, due.y, ~np.arange(len(due)))
        landed = _Landed(due.id, due.row, due.y, due.prediction)
        self._ears.pending.drop(np.inf)
        self._score(landed)
        return replace(self._report(landed, self._blank), pending=unheard)

    def values(self) -> dict[str, float]:
        """What the metrics say of the learner by now."""
        return {metric.name: metric.value() for metric in self._metrics.get(MODEL, ())}

    def freeze(self) -> None:
        """Answer from now on as the learner is, and learn nothing more."""
        self._model = Still(late(self.learner))
        self._ears.bare()

    def state_dict(self) -> State:
        return {
            "learner": self._model.state_dict(),
            "baselines": {name: part.state_dict() for name, part in self._baselines.items()},
            "metrics": {who: {m.name: m.state_dict() for m in group} for who, group in self._metrics.items()},
            "ears": self._ears.state_dict(),
            "blank": None if self._blank is None else to_state(self._blank),
            "counts": [self._rows, self._learnt, self._lost, self._strays],
            "clock": float(self._clock),
            "task": self._task,
        }

    def load_state_dict(self, state: State, /) -> None:
        self._model.load_state_dict(state["learner"])
        for name, part in self._baselines.items():
            part.load_state_dict(state["baselines"][name])
        if state["task"] is not None:
            self._begin(state["task"])
        for who, group in self._metrics.items():
            for metric in group:
                metric.load_state_dict(state["metrics"][who][metric.name])
        self._ears.load_state_dict(state["ears"])
        self._blank = None if state["blank"] is None else from_state(state["blank"])
        self._rows, self._learnt, self._lost, self._strays = state["counts"]
        self._clock = state["clock"]

    def _arrived(self, batch: Batch) -> None:
        self._blank = take_batch(batch, slice(0, 0))
        self._rows += len(batch)
        self._clock = _later(batch, self._clock)

    def _begin(self, task: str) -> None:
        """Set up the measures, once the first block has told what kind of target it is."""
        self._task = task
        if self._given is None:
            defaults = {"classification": (Accuracy, ROCAUC, LogLoss), "regression": (MAE, RMSE, R2)}[task]
            groups: list[list[Metric]] = [[make() for make in defaults] for _ in range(1 + len(self._baselines))]
        else:
            groups = [list(self._given), *(deepcopy(list(self._given)) for _ in self._baselines)]
        self._metrics = dict(zip((MODEL, *self._baselines), groups, strict=True))

    def _learn_now(self, batch: Batch) -> _Landed:
        """Every label comes with its row."""
        n = len(batch)
        y = batch.y if batch.y is not None else np.full(n, np.nan)
        said = {MODEL: self._model.learn(batch)}
        self.said = said[MODEL]
        bare = Batch(_no_features(n), y=y)
        said |= {name: part.learn(bare) for name, part in self._baselines.items()}
        rows = np.arange(self._rows, self._rows + n)
        landed = _Landed(rows if batch.id is None else batch.id, rows, y, said)
        known = labelled(y, n)
        if known.all():
            return landed
        self._lost += int((~known).sum())
        return _Landed(landed.id[known], rows[known], y[known], {name: value[known] for name, value in said.items()})

    def _nothing(self) -> _Landed:
        """No labels."""
        rows, classes = np.empty(0, dtype=np.int64), self._task == "classification"
        said = np.empty((0, 0) if classes else 0)
        return _Landed(rows, rows, rows if classes else np.empty(0), {MODEL: said})

    def _learn_late(self, batch: Batch) -> _Landed:
        """Labels land when their time has come: rows and labels are learnt in the order of their events."""
        parts = [batch] if self._terms.silence is None else apart(batch, self._terms.silence.after, self._clock)
        if len(parts) == 1:
            return self._events(batch, self._rows, self._clock)
        before, first, clock = self.state_dict(), self._rows, self._clock
        landed: list[_Landed] = []
        said: list[Array] = []
        try:
            for part in parts:
                landed.append(self._events(part, first, clock))
                said.append(self.said)
                first, clock = first + len(part), _later(part, clock)
        except RetainError:  # all of the block or nothing
            self.load_state_dict(before)
            raise
        self.said = concat_arrays(said)
        return _Landed.join(landed)

    def _events(self, batch: Batch, first: int, clock: float) -> _Landed:
        """Rows arrive, the first of which has that number, after the clock; labels land."""
        n = len(batch)
        came = self._terms.arrive(batch, first, clock)
        until = came.time[-1] if n else -np.inf
        rows = np.arange(first, first + n)
        arrived = Waiting(nothing(n), came.landing, rows, rows if batch.id is None else batch.id, came.y, {})
        heard = self._ears.hear(batch, arrived, came.time)
        arrived, due = heard.arrived, heard.due
        landing, row = (np.empty(0), np.empty(0, dtype=np.int64)) if due is None else (due.landing, due.row)
        when = events(came.time, arrived.landing, landing, row, first)
        pool_y = arrived.y if due is None else np.concatenate([due.y, arrived.y])
        said, kept = self._flow(batch, due, pool_y, when.order)
        self.said = said[MODEL]
        arrived = replace(arrived, kept=kept, prediction=said)
        self._lost += int(np.isinf(arrived.landing).sum()) + heard.lost
        self._strays += heard.strays
        self._ears.take(heard, until, arrived.take(when.waits), late=_corrected(arrived, batch, came.late))
        return _landed(due, arrived, when.landed[~np.isin(when.landed, heard.fixes)])

    def _flow(self, batch: Batch, due: Waiting | None, pool_y: Array, order: Ints) -> tuple[dict[str, Array], Kept]:
        """Pass the events of a block through the learner and, without their features, through the baselines."""
        said, kept = self._model.flow(self._plain(batch), None if due is None else due.kept, pool_y, order)
        bare = None if due is None else Kept((Batch(_no_features(len(due))),))
        arrivals = Batch(_no_features(len(batch)))
        others = {name: late(part).flow(arrivals, bare, pool_y, order)[0] for name, part in self._baselines.items()}
        return {MODEL: said, **others}, kept

    def _plain(self, batch: Batch) -> Batch:
        """The rows as a learner may see and keep them: when their labels become known is not for it."""
        weight = batch.weight
        if self._terms.silence is not None and weight is None:
            weight = np.ones(len(batch))  # what corrects silence has another
        return replace(batch, label_time=None, answers=None, weight=weight)

    def _score(self, landed: _Landed) -> None:
        y, said = landed.y, landed.prediction
        self._learnt += len(y)
        counts = landed.row >= self._terms.warm
        if not counts.all():
            y, said = y[counts], {name: value[counts] for name, value in said.items()}
        if len(y):
            for who, group in self._metrics.items():
                update(group, y, said[who])

    def _report(self, landed: _Landed, arrived: Batch) -> Report:
        values = {who: {m.name: m.value() for m in group} for who, group in self._metrics.items()}
        prediction = landed.prediction[MODEL]
        return Report(
            rows=self._rows,
            learnt=self._learnt,
            pending=len(self._ears.pending),
            lost=self._lost,
            strays=self._strays,
            quarantined=0,
            seconds=0.0,
            cpu_seconds=0.0,
            metrics=values.pop(MODEL, {}),
            baselines=values,
            time=self._clock if np.isfinite(self._clock) else float("nan"),
            arrived=arrived,
            row=landed.row,
            id=landed.id,
            y=landed.y,
            prediction=prediction,
            loss=losses(landed.y, prediction),
        )


class _Landed(NamedTuple):
    """Labels that landed during a block, whose they were and what had been said of them."""

    id: Array
    row: Ints
    y: Array
    prediction: dict[str, Array]

    @staticmethod
    def join(many: Sequence[_Landed], /) -> _Landed:
        """Labels of all, one after the other."""
        said = {name: concat_arrays([one.prediction[name] for one in many]) for name in many[0].prediction}
        ids, y = np.concatenate([one.id for one in many]), np.concatenate([one.y for one in many])
        return _Landed(ids, np.concatenate([one.row for one in many]), y, said)


@final
class Still(LateLearner):
    """Answers as a predictor does, and learns nothing."""

    def __init__(self, predictor: Predictor, /) -> None:
        self._predictor = predictor

    def learn(self, batch: Batch, /) -> Array:
        return self.predict(batch.x)

    def predict(self, x: Features, /) -> Array:
        return self._predictor.predict(x)

    def flow(
        self,
        arrivals: Batch,
        due: Kept | None,  # noqa: ARG002 - what was kept, and all labels, are for those that learn
        due_y: Array,  # noqa: ARG002
        order: Ints,  # noqa: ARG002
        /,
    ) -> tuple[Array, Kept]:
        return self.meet(arrivals)

    def meet(self, arrivals: Batch, /) -> tuple[Array, Kept]:
        return self.predict(arrivals.x), nothing(len(arrivals))

    def state_dict(self) -> State:
        return self._predictor.state_dict()

    def load_state_dict(self, state: State, /) -> None:
        self._predictor.load_state_dict(state)


def _corrected(arrived: Waiting, batch: Batch, late: Array) -> Waiting | None:
    """Rows whose labels are known to come after silence has spoken."""
    known = np.flatnonzero(np.isfinite(late))
    if not len(known) or batch.y is None:
        return None
    return replace(arrived.take(known), landing=late[known], y=batch.y[known].astype(np.int64))


def _later(batch: Batch, clock: float) -> float:
    """The clock after some rows."""
    return clock if batch.time is None else float(np.nanmax(batch.time, initial=clock))


def _no_features(n: int) -> Array:
    return np.empty((n, 0), dtype=np.float32)


def _landed(due: Waiting | None, arrived: Waiting, rows: Ints) -> _Landed:
    """The rows whose labels landed, out of those that waited and those that arrived in the same block."""
    parts = [arrived] if due is None else [due, arrived]
    return _Landed(
        np.concatenate([part.id for part in parts])[rows],
        np.concatenate([part.row for part in parts])[rows],
        np.concatenate([part.y for part in parts])[rows],
        {name: concat_arrays([part.prediction[name] for part in parts])[rows] for name in arrived.prediction},
    )


def losses(y: Array, prediction: Array, /) -> Array:
    """Per-row losses: 0 or 1 for classes (an empty opinion is wrong), absolute errors for numbers."""
    if y.dtype.kind in "iub":
        return mistakes(y, prediction)
    error = np.abs(y - prediction)
    return error if error.ndim == 1 else error.mean(axis=1)
