"""One learner, the rows it has answered and whose labels are to come, and how well it did: test, then train.

A lane takes blocks in arrival order and gives a `Report` of each. Where the blocks come from is for a loop to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple, final

import numpy as np

from retain.blocks import from_state, labelled, take_answers, take_batch, to_state
from retain.compose import Kept, LateLearner, late
from retain.core import Answers, Array, Batch, Features, Ints, Learner, Metric, Predictor, Report, Schema, State
from retain.errors import PoisonError
from retain.metrics import MAE, R2, RMSE, ROCAUC, Accuracy, LogLoss, update
from retain.metrics.decisions import mistakes
from retain.run.landing import Pending, Terms, Waiting, apart, events, join, nothing, pad, timely

__all__ = ["Lane", "Still", "losses"]

_MODEL = "model"
_HEAVIEST = 10.0  # how much a label counts that corrects what silence taught, at most


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
        self._pending = Pending()
        self._again = Pending()  # rows of which silence has spoken, and that listen on
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
        return self._pending.rows()

    def step(self, batch: Batch, /) -> Report:
        """Rows arrive, and labels land whose time has come. Its clocks are for the loop to fill in."""
        try:
            landed = self._learn_late(batch) if self._terms.late(batch) else self._learn_now(batch)
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

    def meet(self, batch: Batch, which: Array, /) -> None:
        """Rows arrive and are answered; those of `which` (n,) booleans wait for their labels, and nothing is learnt."""
        said, kept = self._model.meet(self._plain(batch))
        first, n = self._rows, len(batch)
        rows = np.arange(first, first + n)
        came = self._terms.arrive(batch, first, self._clock)
        arrived = Waiting(kept, came.landing, rows, rows if batch.id is None else batch.id, came.y, {_MODEL: said})
        self._pending.add(arrived.take(np.flatnonzero(which)))
        self._arrived(batch)

    def finish(self, rest: Answers | None = None, /) -> Report | None:
        """Land the labels still on their way, `rest` among them; None where there are none."""
        waiting = self._pending.due(np.inf)
        if rest is not None:
            rest = take_answers(rest, rest.time >= self._clock)  # the others have been heard
            # What comes after silence would speak is told of no row now: it will be when there are more.
            later = Pending().plus(None if waiting is None else self._listening_on(waiting)).hear(rest)[1]
            waiting = None if waiting is None else waiting.hear(rest)[0]
            self._strays += len(rest) - len(np.union1d(later, self._again.hear(rest)[1]))
        due, unheard = _settled(waiting, None)
        if due is None or self._blank is None:
            return None
        due = due.take(np.lexsort((due.row, due.landing)))
        self._flow(self._blank, due, due.y, ~np.arange(len(due)))
        landed = _Landed(due.id, due.row, due.y, due.prediction)
        self._pending.drop(np.inf)
        self._score(landed)
        return replace(self._report(landed, self._blank), pending=unheard)

    def values(self) -> dict[str, float]:
        """What the metrics say of the learner by now."""
        return {metric.name: metric.value() for metric in self._metrics.get(_MODEL, ())}

    def freeze(self) -> None:
        """Answer from now on as the learner is, and learn nothing more."""
        self._model = Still(late(self.learner))
        self._pending, self._again = self._pending.bare(), self._again.bare()

    def state_dict(self) -> State:
        return {
            "learner": self._model.state_dict(),
            "baselines": {name: part.state_dict() for name, part in self._baselines.items()},
            "metrics": {who: {m.name: m.state_dict() for m in group} for who, group in self._metrics.items()},
            "pending": self._pending.state_dict(),
            "again": self._again.state_dict(),
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
        self._pending.load_state_dict(state["pending"])
        self._again.load_state_dict(state["again"])
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
        self._metrics = dict(zip((_MODEL, *self._baselines), groups, strict=True))

    def _learn_now(self, batch: Batch) -> _Landed:
        """Every label comes with its row."""
        n = len(batch)
        y = batch.y if batch.y is not None else np.full(n, np.nan)
        said = {_MODEL: self._model.learn(batch)}
        self.said = said[_MODEL]
        bare = Batch(_no_features(n), y=y)
        said |= {name: part.learn(bare) for name, part in self._baselines.items()}
        rows = np.arange(self._rows, self._rows + n)
        landed = _Landed(rows if batch.id is None else batch.id, rows, y, said)
        known = labelled(y, n)
        if known.all():
            return landed
        self._lost += int((~known).sum())
        return _Landed(landed.id[known], rows[known], y[known], {name: value[known] for name, value in said.items()})

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
        except PoisonError:  # all of the block or nothing
            self.load_state_dict(before)
            raise
        self.said = pad(said)
        return _Landed.join(landed)

    def _events(self, batch: Batch, first: int, clock: float) -> _Landed:
        """Rows arrive, the first of which has that number, after the clock; labels land."""
        n = len(batch)
        came = self._terms.arrive(batch, first, clock)
        until = came.time[-1] if n else -np.inf
        rows = np.arange(first, first + n)
        arrived = Waiting(nothing(n), came.landing, rows, rows if batch.id is None else batch.id, came.y, {})
        heard = self._hear(batch, arrived, came.time, until)
        arrived, due, fixes = heard.arrived, heard.due, heard.fixes
        both = _both(due, fixes)
        landing, row = (np.empty(0), np.empty(0, dtype=np.int64)) if both is None else (both.landing, both.row)
        when = events(came.time, arrived.landing, landing, row, first)
        pool_y = arrived.y if both is None else np.concatenate([both.y, arrived.y])
        said, kept = self._flow(batch, both, pool_y, when.order)
        self.said = said[_MODEL]
        arrived = replace(arrived, kept=kept, prediction=said)
        self._lost += int(np.isinf(arrived.landing).sum()) + heard.lost
        self._strays += heard.strays
        self._pending, self._again = heard.pending, heard.again
        self._pending.drop(until)
        self._again.drop(until)
        self._pending.add(arrived.take(when.waits))
        known = np.flatnonzero(np.isfinite(came.late))
        if len(known) and batch.y is not None:  # what will be said after silence has spoken is known already
            self._again.add(replace(arrived.take(known), landing=came.late[known], y=batch.y[known].astype(np.int64)))
        m = 0 if due is None else len(due)
        fixed = (when.landed >= m) & (when.landed < m + (0 if fixes is None else len(fixes)))
        return _landed(both, arrived, when.landed[~fixed])

    def _hear(self, batch: Batch, arrived: Waiting, arrival: Array, until: float) -> _Heard:
        """Labels find their rows, silence speaks of those that were not heard of, and corrections are made ready."""
        silence, answers, strays = self._terms.silence, batch.answers, 0
        pending, found = self._pending, np.empty(0, dtype=np.int64)
        own = found
        if answers is not None:
            answers = timely(answers, arrived.id, arrival)
            arrived, own = arrived.hear(answers)
            pending, found = pending.hear(answers)
            given_up = ~labelled(arrived.y, len(batch)) & (arrived.landing <= until)
            arrived = replace(arrived, landing=np.where(given_up, np.inf, arrived.landing))
        code = None if silence is None else silence.code(batch)
        due, unheard = _settled(pending.due(until), code)
        again, fixes = self._again, None
        late_found = np.empty(0, dtype=np.int64)
        if code is not None:
            mute = _mute(pending.due(until))
            if answers is not None:
                again, late_found = again.plus(None if mute is None else self._listening_on(mute)).hear(answers)
            fixes = _fixes(again.due(until), code)
        if answers is not None and batch.answers is not None:
            strays = len(batch.answers) - len(np.unique(np.concatenate([own, found, late_found])))
        return _Heard(arrived, pending, again.plus(None), due, fixes, unheard, strays)

    def _listening_on(self, rows: Waiting) -> Waiting:
        """Rows whose labels silence gives, and that listen longer."""
        silence = self._terms.silence
        if silence is None:
            return rows
        more = self._terms.until - silence.after
        return replace(rows, landing=np.where(labelled(rows.y, len(rows)), rows.landing, rows.landing + more))

    def _flow(self, batch: Batch, due: Waiting | None, pool_y: Array, order: Ints) -> tuple[dict[str, Array], Kept]:
        """Pass the events of a block through the learner and, without their features, through the baselines."""
        said, kept = self._model.flow(self._plain(batch), None if due is None else due.kept, pool_y, order)
        bare = None if due is None else Kept((Batch(_no_features(len(due))),))
        arrivals = Batch(_no_features(len(batch)))
        others = {name: late(part).flow(arrivals, bare, pool_y, order)[0] for name, part in self._baselines.items()}
        return {_MODEL: said, **others}, kept

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
        prediction = landed.prediction[_MODEL]
        return Report(
            rows=self._rows,
            learnt=self._learnt,
            pending=len(self._pending),
            lost=self._lost,
            strays=self._strays,
            quarantined=0,
            seconds=0.0,
            cpu_seconds=0.0,
            metrics=values.pop(_MODEL, {}),
            baselines=values,
            time=self._clock if np.isfinite(self._clock) else float("nan"),
            arrived=arrived,
            row=landed.row,
            id=landed.id,
            y=landed.y,
            prediction=prediction,
            loss=losses(landed.y, prediction),
        )


class _Heard(NamedTuple):
    """Rows and their labels before a block is learnt."""

    arrived: Waiting
    pending: Pending
    again: Pending
    due: Waiting | None  # rows whose labels land, or of which silence speaks
    fixes: Waiting | None  # rows of which it has spoken wrongly
    lost: int
    strays: int


class _Landed(NamedTuple):
    """Labels that landed during a block, whose they were and what had been said of them."""

    id: Array
    row: Ints
    y: Array
    prediction: dict[str, Array]

    @staticmethod
    def join(many: Sequence[_Landed], /) -> _Landed:
        """Labels of all, one after the other."""
        said = {name: pad([one.prediction[name] for one in many]) for name in many[0].prediction}
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


def _settled(due: Waiting | None, code: int | None) -> tuple[Waiting | None, int]:
    """Those of the rows whose labels have been heard, or that silence speaks of; how many others there are."""
    if due is None:
        return None, 0
    known = labelled(due.y, len(due))
    if known.all():
        return due, 0
    if code is not None:
        return replace(due, y=np.where(known, due.y, code)), 0
    return (due.take(np.flatnonzero(known)) if known.any() else None), int((~known).sum())


def _mute(due: Waiting | None) -> Waiting | None:
    """Those of the rows whose labels have not been heard."""
    return None if due is None else due.take(np.flatnonzero(~labelled(due.y, len(due))))


def _fixes(due: Waiting | None, code: int) -> Waiting | None:
    """Rows that were learnt as a class and turn out to be of another, weighed so that both together are the truth."""
    if due is None:
        return None
    wrong = np.flatnonzero(labelled(due.y, len(due)) & (due.y != code))
    if not len(wrong):
        return None
    due = due.take(wrong)
    said = due.prediction[_MODEL]
    p = said[:, code] if code < said.shape[1] else np.ones(len(due))
    return replace(due, kept=due.kept.weighed(1 / np.clip(p, 1 / _HEAVIEST, 1)))


def _both(due: Waiting | None, fixes: Waiting | None) -> Waiting | None:
    if due is None or fixes is None:
        return due if fixes is None else fixes
    return join([replace(due, kept=due.kept.weighed(np.ones(len(due)))), fixes])


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
        {name: pad([part.prediction[name] for part in parts])[rows] for name in arrived.prediction},
    )


def losses(y: Array, prediction: Array, /) -> Array:
    """Per-row losses: 0 or 1 for classes (an empty opinion is wrong), absolute errors for numbers."""
    if y.dtype.kind in "iub":
        return mistakes(y, prediction)
    error = np.abs(y - prediction)
    return error if error.ndim == 1 else error.mean(axis=1)
