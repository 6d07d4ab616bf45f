"""What is kept of a run to show it: a fold over reports, in bounded memory.

Shapes: m rows scored in a report, k classes, s rows sampled, c classes shown, p points of a curve.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, final

import numpy as np
from numba import njit

from retain.core import Array, Deed, Report, State
from retain.errors import SettingError, StateError
from retain.metrics.running import likeliest

__all__ = ["MODEL", "Curve", "Event", "Log"]

MODEL = "model"
_FIXED = ("rows", "scored", "time")  # columns of a curve that are no measures
_Y, _DECIDED, _CONFIDENCE, _POSITIVE = range(4)  # columns of a sample of classes
_SAID = 1  # column of a sample of numbers


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, and after how many rows."""

    rows: int
    text: str
    what: str = ""  # of a deed: "promoted", "refused", ...


@dataclass(frozen=True, slots=True)
class Curve:
    """How measures went: p points in order, thinned evenly, of which the last is where the run stands."""

    rows: Array  # (p,) rows that had arrived
    scored: Array  # (p,) rows that had been scored
    time: Array  # (p,) event time, NaN where there is none
    values: Mapping[tuple[str, str], Array]  # (who, metric) -> (p,), who being "model" or a baseline; NaN: not defined

    def metrics(self) -> list[str]:
        """Names of the metrics, in the order of the reports."""
        return list(dict.fromkeys(metric for _, metric in self.values))

    def who(self) -> list[str]:
        """The model and the baselines, in the order of the reports."""
        return list(dict.fromkeys(who for who, _ in self.values))

    def recent(self, who: str, metric: str, /) -> Array | None:
        """The metric over the latest rows, a fiftieth of all those that are scored by now, instead of over all so far.

        A mean over rows is a sum divided by a count, so the mean between two points follows from those up to each.
        None for a metric that is no mean (or root of one), such as an area under a curve.
        """
        power = _power(metric)
        running = self.values.get((who, metric))
        if power is None or running is None:
            return None
        sums = np.where(self.scored > 0, running**power * self.scored, 0.0)
        earlier = np.searchsorted(self.scored, self.scored - self.scored[-1] / 50, side="right") - 1
        before = np.where(earlier < 0, 0.0, np.nan_to_num(sums)[earlier])
        count = self.scored - np.where(earlier < 0, 0, self.scored[earlier])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (sums - before) / count
        return np.maximum(mean, 0.0) ** (1 / power) if power != 1 else mean


@final
class Log:
    """Folds the reports of a run into what tables, figures and pages show of it.

    Memory does not grow with the stream: curves are thinned by dropping every second point whenever they reach
    `points`, and of single predictions only the last `sample` are kept. The log shows itself in a notebook.

    Args:
        classes: names of the classes, by code; may be set later too, as the schema learns new ones.
        points: how many points a curve has at most.
        sample: how many recent predictions are kept for calibration and residuals.
        shown: how many classes the confusion matrix tells apart; those with higher codes are counted together.
        events: how many of the latest events are kept.

    >>> import numpy as np
    >>> log = Log()
    >>> counts = dict(rows=2, learnt=2, pending=0, lost=0, quarantined=0, seconds=0.1, cpu_seconds=0.1)
    >>> said = np.array([[0.9, 0.1], [0.4, 0.6]])
    >>> log.add(Report(**counts, metrics={"accuracy": 0.5}, y=np.array([0, 0]), prediction=said))
    >>> log.confusion()
    array([[1, 1],
           [0, 0]])
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] | None = None,
        points: int = 512,
        sample: int = 10_000,
        shown: int = 20,
        events: int = 200,
    ) -> None:
        if points < 4 or points % 2 or sample < 1 or shown < 2 or events < 1:
            raise SettingError(
                f"points={points}, sample={sample}, shown={shown}, events={events}; expected an even number of points, "
                "at least 4, two classes, and at least one of the others"
            )
        self.classes = None if classes is None else tuple(classes)
        self.last: Report | None = None  # the latest report, without its rows
        self.events: list[Event] = []
        self.deeds: dict[str, int] = {}  # how often rules did what
        self.fired: dict[str, tuple[int, int]] = {}  # rules that only told: how often, and after which row last
        self.event_count = 0
        self.scored = 0
        self._points, self._size, self._shown, self._most = points, sample, shown, events
        self._reports, self._stride = 0, 1
        self._names: list[str] = list(_FIXED)
        self._curve: list[list[float]] = []
        self._confusion: Array | None = None  # (c + 1, c + 2): others last, and those decided for none
        self._labels = np.zeros(0, dtype=np.int64)
        self._ring: Array | None = None  # (s, 4) of classes or (s, 2) of numbers
        self._sampled = 0

    def add(self, report: Report, /) -> None:
        """Take in the next report of the run."""
        before = 0 if self.last is None else self.last.learnt
        self.last = replace(
            report,
            arrived=None,
            row=None,
            id=None,
            y=None,
            prediction=None,
            loss=None,
            evidence=None,
            hindsight=None,
            deeds=(),
            events=(),
        )
        self._reports += 1
        if any(np.isfinite(value) for value in report.metrics.values()):  # not while warming up
            self.scored += report.learnt - before if report.y is None else len(report.y)
        happened = [Event(report.rows, text) for text in report.events]
        told = [deed for deed in report.deeds if _worth_telling(deed, report)]
        happened += [Event(deed.rows, str(deed), deed.what) for deed in told]
        self.events += happened
        self.event_count += len(happened)
        for deed in report.deeds:
            self.deeds[deed.what] = self.deeds.get(deed.what, 0) + 1
        for deed in told:
            if deed.what == "fired":
                self.fired[deed.rule] = self.fired.get(deed.rule, (0, 0))[0] + 1, deed.rows
        del self.events[: -self._most]
        if self._reports % self._stride == 0:
            self._curve.append(self._point(report))
            if len(self._curve) == self._points:
                del self._curve[::2]  # leaves those at multiples of the doubled stride
                self._stride *= 2
        if report.y is not None and report.prediction is not None and len(report.y):
            if report.y.dtype.kind in "iub":
                self._add_classes(report.y, report.prediction)
            else:
                self._add_numbers(report.y, report.prediction)

    @property
    def task(self) -> str | None:
        """What was predicted, "classification" or "regression"; None while no label has been seen."""
        if self._ring is None:
            return None
        return "classification" if self._ring.shape[1] == 4 else "regression"

    @property
    def classes_seen(self) -> tuple[int, ...]:
        """Codes of the classes that have occurred as labels, in order."""
        return tuple(int(code) for code in np.flatnonzero(self._labels))

    def name_of(self, code: int, /) -> str:
        """What the class of that code is called."""
        return self.classes[code] if self.classes is not None and code < len(self.classes) else str(code)

    def curve(self) -> Curve:
        """How all measures of the model and the baselines went."""
        points = [*self._curve]
        if self.last is not None and self._reports % self._stride:
            points.append(self._point(self.last))
        table = self._table(points)
        names = self._names[len(_FIXED) :]
        values = {_pair(name): table[:, len(_FIXED) + j] for j, name in enumerate(names)}
        return Curve(table[:, 0], table[:, 1], table[:, 2], values)

    def confusion(self) -> Array:
        """How often each class (row) was said to be each class (column), since the beginning.

        (c, c) for c classes met. Where there are more than are told apart, the last row and column are all others
        together; where rows were decided before any class was known, there is one more column for those.
        """
        if self._confusion is None:
            return np.zeros((0, 0), dtype=np.int64)
        counts, c = self._confusion, self._shown
        met = np.flatnonzero(counts[:c].sum(axis=1) + counts[:, :c].sum(axis=0))
        rest = [c] if counts[c].sum() + counts[:, c].sum() else []
        rows = [*range(int(met.max(initial=-1)) + 1), *rest]
        columns = [*rows, c + 1] if counts[:, c + 1].any() else rows
        return counts[np.ix_(rows, columns)]

    def confusion_names(self) -> tuple[list[str], list[str]]:
        """What the rows and columns of `confusion` are called."""
        rows, columns = self.confusion().shape
        others = self._confusion is not None and bool(self._confusion[self._shown].sum())
        others = others or (self._confusion is not None and bool(self._confusion[:, self._shown].sum()))
        names = [self.name_of(code) for code in range(rows - others)] + ["others"] * others
        return names, names + ["none yet"] * (columns - rows)

    def sample(self) -> Array:
        """The latest predictions, oldest first.

        Of classes (s, 4): label, class decided for (-1: none), its probability, the probability of class 1.
        Of numbers (s, 2): label, prediction.
        """
        if self._ring is None:
            return np.zeros((0, 0))
        held = min(self._sampled, self._size)
        return self._ring[(self._sampled - held + np.arange(held)) % self._size]

    def state_dict(self) -> State:
        return {
            "classes": None if self.classes is None else list(self.classes),
            "last": None if self.last is None else _report_state(self.last),
            "events": [[event.rows, event.text, event.what] for event in self.events],
            "deeds": dict(self.deeds),
            "fired": {rule: list(told) for rule, told in self.fired.items()},
            "event_count": self.event_count,
            "scored": self.scored,
            "reports": self._reports,
            "stride": self._stride,
            "names": list(self._names),
            "curve": self._table(self._curve),
            "confusion": None if self._confusion is None else self._confusion.copy(),
            "labels": self._labels.copy(),
            "ring": None if self._ring is None else self._ring.copy(),
            "sampled": self._sampled,
        }

    def load_state_dict(self, state: State, /) -> None:
        if "curve" not in state or "ring" not in state:
            raise StateError(f"this is not the state of a log: it holds {sorted(state)}; load what a log saved")
        if state["ring"] is not None and len(state["ring"]) != self._size:
            raise StateError(
                f"this log was saved with sample={len(state['ring'])} and is loaded with sample={self._size}; "
                "build it as it was"
            )
        self.classes = None if state["classes"] is None else tuple(state["classes"])
        self.last = None if state["last"] is None else Report(**state["last"])
        self.events = [Event(int(rows), text, what) for rows, text, what in state["events"]]
        self.deeds = dict(state["deeds"])
        self.fired = {rule: (int(count), int(last)) for rule, (count, last) in state["fired"].items()}
        self.event_count, self.scored = int(state["event_count"]), int(state["scored"])
        self._reports, self._stride = int(state["reports"]), int(state["stride"])
        self._names = list(state["names"])
        self._curve = cast("list[list[float]]", state["curve"].tolist())
        self._confusion = None if state["confusion"] is None else np.array(state["confusion"])
        self._labels = np.array(state["labels"])
        self._ring = None if state["ring"] is None else np.array(state["ring"])
        self._sampled = int(state["sampled"])

    def _repr_html_(self) -> str:
        from retain.report.html import fragment

        return fragment(self)

    def _point(self, report: Report) -> list[float]:
        """A row of the curve; measures met for the first time become new columns."""
        point = dict.fromkeys(self._names, float("nan"))
        point |= {"rows": float(report.rows), "scored": float(self.scored), "time": report.time}
        for who, measures in {MODEL: report.metrics, **report.baselines}.items():
            point |= {f"{who}/{name}": float(value) for name, value in measures.items()}
        self._names = list(point)
        return list(point.values())

    def _table(self, points: Sequence[list[float]]) -> Array:
        """Points as rows of one width: earlier ones lack the measures that came later."""
        table = np.full((len(points), len(self._names)), np.nan)
        for row, point in zip(table, points, strict=True):
            row[: len(point)] = point
        return table

    def _add_classes(self, y: Array, prediction: Array) -> None:
        if self._ring is None or self._confusion is None:
            self._ring = np.full((self._size, 4), np.nan)
            self._confusion = np.zeros((self._shown + 1, self._shown + 2), dtype=np.int64)
        labels = np.ascontiguousarray(y, dtype=np.int64)
        said = prediction
        if said.ndim == 1:  # decisions, held for certain
            said = said[:, None] == np.arange(int(said.max(initial=0)) + 1)
        count = np.bincount(labels[labels >= 0], minlength=len(self._labels))
        count[: len(self._labels)] += self._labels
        self._labels = count.astype(np.int64)
        said = np.require(said, dtype=np.float64, requirements=["C", "W"])
        _note_classes(self._confusion, self._ring, self._sampled, labels, said)
        self._sampled += len(labels)

    def _add_numbers(self, y: Array, prediction: Array) -> None:
        if y.ndim != 1 or prediction.size != len(y):
            return  # of several outputs, or intervals, no single residual is to be drawn
        if self._ring is None:
            self._ring = np.full((self._size, 2), np.nan)
        rows = np.column_stack([y, prediction.reshape(-1)])[-self._size :]
        at = (self._sampled + len(y) - len(rows) + np.arange(len(rows))) % self._size
        self._ring[at] = rows
        self._sampled += len(y)


def _worth_telling(deed: Deed, report: Report) -> bool:
    """That a rule fired is told only where nothing else came of it."""
    if deed.what in ("opened", "held"):
        return False
    return deed.what != "fired" or not any(o.rule == deed.rule and o.what != "fired" for o in report.deeds)


def _pair(name: str) -> tuple[str, str]:
    who, _, metric = name.partition("/")
    return who, metric


def _power(metric: str) -> float | None:
    """r, where the metric is the r-th root of a mean over rows of equal weight; None where it is something else."""
    if metric in ("accuracy", "log_loss", "brier", "mae", "coverage") or metric.startswith("quantile_loss"):
        return None if "_last_" in metric or "_fading_" in metric else 1.0
    return 2.0 if metric == "rmse" else None


def _report_state(report: Report) -> dict[str, Any]:
    """A report without rows, as a `State`."""
    kept = ("rows", "learnt", "pending", "lost", "strays", "quarantined", "seconds", "cpu_seconds", "time")
    state: dict[str, Any] = {name: getattr(report, name) for name in kept}
    state["metrics"] = {name: float(value) for name, value in report.metrics.items()}
    baselines = cast("Iterable[tuple[str, Mapping[str, float]]]", report.baselines.items())
    state["baselines"] = {who: {name: float(value) for name, value in values.items()} for who, values in baselines}
    return state


@njit(cache=True, nogil=True)
def _note_classes(confusion: Array, ring: Array, at: int, y: Array, said: Array) -> None:
    c = confusion.shape[0] - 1
    for i in range(len(y)):
        decided = likeliest(said, i)
        if y[i] >= 0:
            confusion[min(y[i], c), min(decided, c) if decided >= 0 else c + 1] += 1
        row = (at + i) % len(ring)
        ring[row, _Y] = y[i]
        ring[row, _DECIDED] = decided
        ring[row, _CONFIDENCE] = said[i, decided] if decided >= 0 else 0.0
        ring[row, _POSITIVE] = said[i, 1] if said.shape[1] > 1 else 0.0
