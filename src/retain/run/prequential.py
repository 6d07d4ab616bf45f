"""Test, then train: every row is predicted when it arrives and learnt when its label lands.

The loop is a generator of reports; printing, plotting and stopping belong to whoever iterates over it. All that it
remembers is one `State`, so that a run can be saved between any two reports and go on as if it had never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple, final

import numpy as np

from retain import state as states
from retain.blocks import from_state, labelled, take_batch, to_state
from retain.compose import Kept, LateLearner, late
from retain.core import Array, Batch, Ints, Learner, Metric, Report, Schema, State, Stream
from retain.errors import PoisonError, SettingError
from retain.learners.baselines import NoChange, Prior
from retain.metrics import MAE, R2, RMSE, ROCAUC, Accuracy, LogLoss, update
from retain.metrics.decisions import mistakes
from retain.run.landing import Delay, Pending, Waiting, clocks, events, pad

__all__ = ["Prequential"]

_MODEL = "model"


@final
class Prequential:
    """Run a learner over a stream, scoring each prediction when its label lands, beside honest baselines.

    Iterating yields a `Report` after every block. What is learnt and scored depends only on the rows and on when their
    labels land, never on how the stream is cut into blocks. At the end of the stream the labels still on their way
    land, in order.

    Args:
        stream: where rows come from.
        learner: what learns; usually transforms composed with `|` in front of a learner.
        metrics: what to measure; by default accuracy, AUC and log-loss, or MAE, RMSE and R2.
        delay: when labels land; by default at once, or at the stream's own `label_time` where it has one.
        expire: seconds (or rows, with `Delay(rows=...)`) after which a label that has not landed counts as lost.
        warm: so many first rows are learnt without being scored.
        limit: stop after so many rows.

    >>> import numpy as np, retain as rt
    >>> x = np.arange(8.0).reshape(-1, 1)
    >>> run = rt.Prequential(rt.streams.arrays(x, 2 * x[:, 0]), rt.RLS())
    >>> report = list(run)[-1]
    >>> report.rows, report.learnt, report.metrics["mae"] < report.baselines["prior"]["mae"]
    (8, 8, True)

    The idea is prequential evaluation (Dawid 1984; Gama, Sebastiao and Rodrigues 2013).
    """

    def __init__(
        self,
        stream: Stream,
        learner: Learner,
        /,
        *,
        metrics: Sequence[Metric] | None = None,
        delay: Delay | None = None,
        expire: float | None = None,
        warm: int = 0,
        limit: int | None = None,
    ) -> None:
        if warm < 0 or (limit is not None and limit < 0) or (expire is not None and not expire >= 0):
            raise SettingError(f"warm={warm}, limit={limit}, expire={expire}: expected numbers >= 0")
        self.stream = stream
        self.learner = learner
        self._model: LateLearner = late(learner)
        self._delay = delay
        self._expire = expire
        self._warm = warm
        self._limit = limit
        self._baselines: dict[str, Learner] = {"no_change": NoChange(), "prior": Prior()}
        self._given = metrics
        self._metrics: dict[str, list[Metric]] = {}
        self._pending = Pending()
        self._blank: Batch | None = None  # no rows, in the form of those that arrive
        self._position: State | None = None  # where the block in hand begins
        self._skip = 0  # rows of that block that were already done
        self._rows = self._learnt = self._lost = self._quarantined = 0
        self._clock = -np.inf
        self._seconds = self._cpu = 0.0
        self._task: str | None = None

    def __iter__(self) -> Iterator[Report]:
        yield from self.steps()
        yield from self.finish()

    @property
    def schema(self) -> Schema | None:
        """The schema as known so far, with the classes seen on the way; None before the first row."""
        return None if self._blank is None else self._blank.schema

    def steps(self) -> Generator[Report]:
        """One report for each block, from where the run stands to the end of the stream or the limit."""
        if self._limit is not None and self._rows >= self._limit:
            return
        skip = self._skip
        clock = _Clock()
        for whole, after in self.stream.read(self._position):
            batch = take_batch(whole, slice(skip, None)) if skip else whole
            if self._limit is not None and self._rows + len(batch) > self._limit:
                batch = take_batch(batch, slice(0, self._limit - self._rows))
            report = self._step(batch)
            if skip + len(batch) < len(whole):
                self._skip = skip + len(batch)
            else:
                self._position, self._skip = after, 0
            skip = 0
            self._quarantined = int(after.get("quarantined", 0))
            yield self._timed(replace(report, quarantined=self._quarantined), clock)
            if self._limit is not None and self._rows >= self._limit:
                return

    def finish(self) -> Iterator[Report]:
        """Land the labels still on their way; a report where there were any."""
        clock = _Clock()
        due = self._pending.due(np.inf)
        if due is None or self._blank is None:
            return
        due = due.take(np.lexsort((due.row, due.landing)))
        m = len(due)
        self._flow(self._blank, due, due.y, ~np.arange(m))
        landed = _Landed(due.id, due.row, due.y, due.prediction)
        self._pending.drop(np.inf)
        self._score(landed)
        yield self._timed(self._report(landed), clock)

    def state_dict(self) -> State:
        """Everything: learner, baselines, metrics, the rows that wait, the clocks and the position in the stream."""
        return {
            "learner": self._model.state_dict(),
            "baselines": {name: part.state_dict() for name, part in self._baselines.items()},
            "metrics": {who: {m.name: m.state_dict() for m in group} for who, group in self._metrics.items()},
            "pending": self._pending.state_dict(),
            "blank": None if self._blank is None else to_state(self._blank),
            "position": None if self._position is None else states.copy(self._position),
            "skip": self._skip,
            "counts": [self._rows, self._learnt, self._lost, self._quarantined],
            "clock": float(self._clock),
            "clocks": [self._seconds, self._cpu],
            "task": self._task,
        }

    def load_state_dict(self, state: State, /) -> None:
        """Stand where `state` was saved. The stream and the learner must be built as they were."""
        self._model.load_state_dict(state["learner"])
        for name, part in self._baselines.items():
            part.load_state_dict(state["baselines"][name])
        if state["task"] is not None:
            self._begin(state["task"])
        for who, group in self._metrics.items():
            for metric in group:
                metric.load_state_dict(state["metrics"][who][metric.name])
        self._pending.load_state_dict(state["pending"])
        self._blank = None if state["blank"] is None else from_state(state["blank"])
        self._position = None if state["position"] is None else states.copy(state["position"])
        self._skip = state["skip"]
        self._rows, self._learnt, self._lost, self._quarantined = state["counts"]
        self._clock = state["clock"]
        self._seconds, self._cpu = state["clocks"]

    def _begin(self, task: str) -> None:
        """Set up the measures, once the first block has told what kind of target it is."""
        self._task = task
        if self._given is None:
            defaults = {"classification": (Accuracy, ROCAUC, LogLoss), "regression": (MAE, RMSE, R2)}[task]
            groups: list[list[Metric]] = [[make() for make in defaults] for _ in range(1 + len(self._baselines))]
        else:
            groups = [list(self._given), *(deepcopy(list(self._given)) for _ in self._baselines)]
        self._metrics = dict(zip((_MODEL, *self._baselines), groups, strict=True))

    def _step(self, batch: Batch) -> Report:
        if self._task is None and batch.y is not None:
            self._begin("classification" if batch.y.dtype.kind in "iub" else "regression")
        self._blank = take_batch(batch, slice(0, 0))
        lag = self._delay is not None or batch.label_time is not None
        try:
            landed = self._learn_late(batch) if lag else self._learn_now(batch)
        except PoisonError as error:
            last = self._rows + len(batch) - 1
            raise PoisonError(f"{error} (in the block of rows {self._rows} to {last} of the stream)") from error
        self._rows += len(batch)
        self._score(landed)
        if batch.time is not None and len(batch):
            self._clock = max(self._clock, float(np.nanmax(batch.time)))
        return self._report(landed)

    def _learn_now(self, batch: Batch) -> _Landed:
        """Every label comes with its row."""
        n = len(batch)
        y = batch.y if batch.y is not None else np.full(n, np.nan)
        said = {_MODEL: self._model.learn(batch)}
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
        n, first = len(batch), self._rows
        arrival, landing = clocks(batch, first, self._clock, self._delay)
        if self._expire is not None:
            landing = np.where(landing - arrival > self._expire, np.inf, landing)
        until = arrival[-1] if n else -np.inf
        due = self._pending.due(until)
        due_landing, due_row = (np.empty(0), np.empty(0, dtype=np.int64)) if due is None else (due.landing, due.row)
        when = events(arrival, landing, due_landing, due_row, first)
        y = batch.y if batch.y is not None else np.full(n, np.nan)
        said, kept = self._flow(batch, due, y if due is None else np.concatenate([due.y, y]), when.order)
        rows = np.arange(first, first + n)
        arrived = Waiting(kept, landing, rows, rows if batch.id is None else batch.id, y, said)
        self._lost += int(np.isinf(landing).sum())
        self._pending.drop(until)
        self._pending.add(arrived.take(when.waits))
        return _landed(due, arrived, when.landed)

    def _flow(self, batch: Batch, due: Waiting | None, pool_y: Array, order: Ints) -> tuple[dict[str, Array], Kept]:
        """Pass the events of a block through the learner and, without their features, through the baselines."""
        said, kept = self._model.flow(batch, None if due is None else due.kept, pool_y, order)
        bare = None if due is None else Kept((Batch(_no_features(len(due))),))
        arrivals = Batch(_no_features(len(batch)))
        others = {name: late(part).flow(arrivals, bare, pool_y, order)[0] for name, part in self._baselines.items()}
        return {_MODEL: said, **others}, kept

    def _score(self, landed: _Landed) -> None:
        y, said = landed.y, landed.prediction
        self._learnt += len(y)
        counts = landed.row >= self._warm
        if not counts.all():
            y, said = y[counts], {name: value[counts] for name, value in said.items()}
        if len(y):
            for who, group in self._metrics.items():
                update(group, y, said[who])

    def _report(self, landed: _Landed) -> Report:
        values = {who: {m.name: m.value() for m in group} for who, group in self._metrics.items()}
        prediction = landed.prediction[_MODEL]
        return Report(
            rows=self._rows,
            learnt=self._learnt,
            pending=len(self._pending),
            lost=self._lost,
            quarantined=self._quarantined,
            seconds=self._seconds,
            cpu_seconds=self._cpu,
            metrics=values.pop(_MODEL, {}),
            baselines=values,
            time=self._clock if np.isfinite(self._clock) else float("nan"),
            id=landed.id,
            y=landed.y,
            prediction=prediction,
            loss=_losses(landed.y, prediction),
        )

    def _timed(self, report: Report, clock: _Clock) -> Report:
        seconds, cpu = clock.lap()
        self._seconds += seconds
        self._cpu += cpu
        return replace(report, seconds=self._seconds, cpu_seconds=self._cpu)


class _Landed(NamedTuple):
    """Labels that landed during a block, whose they were and what had been said of them."""

    id: Array
    row: Ints
    y: Array
    prediction: dict[str, Array]


@final
class _Clock:
    """Wall and CPU seconds since the last lap; what the consumer does between two reports counts too."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        passed = wall - self._wall, cpu - self._cpu
        self._wall, self._cpu = wall, cpu
        return passed


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


def _losses(y: Array, prediction: Array) -> Array:
    """Per-row losses: 0 or 1 for classes (an empty opinion is wrong), absolute errors for numbers."""
    if y.dtype.kind in "iub":
        return mistakes(y, prediction)
    error = np.abs(y - prediction)
    return error if error.ndim == 1 else error.mean(axis=1)
