"""When to act: triggers that look at clocks, at how good the model is, and at other triggers."""

from __future__ import annotations

import math
from collections import deque
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from typing import final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from retain.core import Array, Detector, Metric, Report, State, Trigger
from retain.errors import SettingError
from retain.update.watched import Losses, Telling, Watched, clocked

__all__ = ["All", "Any", "AtLeast", "Every", "Hindsight", "OnDrift", "Regret", "WhenWorse"]


@final
class Every:
    """Fires at regular distances: of rows, of event time, or at the times of a cron expression in event time.

    Args:
        rows: whenever so many more rows have arrived.
        seconds: whenever so much event time has passed.
        cron: five fields, minute to day of the week, e.g. "0 3 * * *" for 3 o'clock every night. What fell due several
            times between two reports fires once.
        zone: of the cron expression, as in the IANA database.

    Raises:
        SettingError: none or several of rows, seconds and cron; an expression or a zone that makes no sense; rows
            without a time, where time is asked for.

    >>> import retain as rt
    >>> every = rt.Every(rows=1000)
    >>> [every(rt.Report(rows, 0, 0, 0, 0, 0.0, 0.0)) for rows in (600, 1200, 1800, 2400)]
    [False, True, False, True]
    """

    def __init__(
        self, *, rows: int | None = None, seconds: float | None = None, cron: str | None = None, zone: str = "UTC"
    ) -> None:
        if sum(part is not None for part in (rows, seconds, cron)) != 1:
            raise SettingError(f"Every got rows={rows}, seconds={seconds}, cron={cron!r}; expected one of them")
        length = rows if rows is not None else seconds
        if length is not None and not 0 < length < math.inf:
            raise SettingError(f"Every got {length}; expected a finite number > 0")
        self._rows, self._seconds = rows, seconds
        self._cron = None if cron is None else _Cron(cron, zone)
        self._last = 0.0 if rows is not None else math.nan  # periods gone by, or the time before which all is done

    def __call__(self, report: Report, /) -> bool:
        if self._rows is not None:
            return self._period(report.rows // self._rows)
        if math.isnan(report.time):
            raise SettingError("Every looks at event time, but the rows have none; name their time column")
        if self._seconds is not None:
            return self._period(report.time // self._seconds)
        first, before = math.isnan(self._last), self._last
        self._last = report.time
        return not first and self._cron is not None and self._cron.after(before) <= report.time

    def _period(self, number: float) -> bool:
        fires = number > self._last
        self._last = float(number)
        return fires

    def state_dict(self) -> State:
        return {"last": self._last}

    def load_state_dict(self, state: State, /) -> None:
        self._last = state["last"]


@final
class _Cron:
    def __init__(self, text: str, zone: str) -> None:
        from cronsim import CronSim, CronSimError

        try:
            self._zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise SettingError(f"zone={zone!r} is not known; expected a name such as 'Europe/Paris'") from error
        try:
            CronSim(text, datetime(2000, 1, 1, tzinfo=self._zone))
        except CronSimError as error:
            raise SettingError(f"cron={text!r} makes no sense; expected five fields such as '0 3 * * *'") from error
        self._text = text

    def after(self, time: float) -> float:
        """When it next falls due, in seconds since the epoch; infinity for never."""
        from cronsim import CronSim

        start = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=time)
        return next((due.timestamp() for due in CronSim(self._text, start.astimezone(self._zone))), math.inf)


@final
class OnDrift:
    """Fires when a detector sees drift.

    Args:
        detector: a part of `retain.detectors`.
        of: what it watches; by default the losses. Of several columns each gets a detector of its own.
        both: fire where values fell, too. By default losses that fall are no reason to act.
        warning: fire at warnings already.

    >>> import numpy as np, retain as rt
    >>> trigger = rt.OnDrift(rt.detectors.ADWIN())
    >>> counts = dict(learnt=0, pending=0, lost=0, quarantined=0, seconds=0.0, cpu_seconds=0.0)
    >>> errors = np.random.default_rng(0).random(6000) < np.repeat([0.1, 0.4], 3000)
    >>> blocks = errors.astype(float).reshape(6, 1000)
    >>> [i for i, loss in enumerate(blocks) if trigger(rt.Report(1000 * i, **counts, loss=loss))]
    [3]
    """

    def __init__(
        self, detector: Detector, /, *, of: Watched | None = None, both: bool | None = None, warning: bool = False
    ) -> None:
        self._new = detector
        self._of = Losses() if of is None else of
        self._both = of is not None if both is None else both
        self._level = 1 if warning else 2
        self._detectors: dict[str, Detector] = {}
        self._sums: dict[str, tuple[float, int]] = {}  # of the values since the last drift, and how many

    def __call__(self, report: Report, /) -> bool:
        fires = False
        for name, values in self._of(report).items():
            if values.dtype.kind != "f":
                raise SettingError(
                    f"OnDrift watches numbers, and the column {name!r} holds words; watch it with rt.OnShift"
                )
            new = float(values.sum())
            if math.isnan(new):  # rarely: to look for missing values takes as long as to add them up
                values = values[~np.isnan(values)]  # noqa: PLW2901 - the same values
                new = float(values.sum())
            if len(values):
                fires |= self._watch(name, values, new)
        return fires

    def _watch(self, name: str, values: Array, new: float) -> bool:
        if name not in self._detectors:
            self._detectors[name] = deepcopy(self._new)
        drift = bool(self._detectors[name].update(values).levels.max() >= self._level)
        total, count = self._sums.get(name, (0.0, 0))
        rose = count > 0 and new / len(values) > total / count
        if drift:
            total, count = 0.0, 0
        self._sums[name] = total + new, count + len(values)
        return drift and (rose or self._both)

    def state_dict(self) -> State:
        names = list(self._detectors)
        return {
            "names": names,
            "detectors": {str(i): self._detectors[name].state_dict() for i, name in enumerate(names)},
            "sums": [list(self._sums[name]) for name in names],
        }

    def load_state_dict(self, state: State, /) -> None:
        self._detectors, self._sums = {}, {}
        for i, name in enumerate(state["names"]):
            self._detectors[name] = deepcopy(self._new)
            self._detectors[name].load_state_dict(state["detectors"][str(i)])
            total, count = state["sums"][i]
            self._sums[name] = total, count


@final
class WhenWorse:
    """Fires when a metric is worse than a threshold: a fixed one, a quantile of its past, or so far from its mean.

    Having fired, it fires again only after the metric was better than the threshold by `rearm` (hysteresis), or, with
    thresholds that move, after it was better than the threshold.

    Args:
        metric: what is measured, e.g. `rt.metrics.Windowed(rt.metrics.Accuracy(), rows=2000)`.
        than: a fixed threshold.
        quantile: of the past values, the worst so large a share of which lies beyond the threshold.
        deviations: so many standard deviations beyond the mean of the past values.
        past: how many values, one for each report, the past has.
        rearm: how much better than the threshold it must become before it may fire again.

    Raises:
        SettingError: none or several of than, quantile and deviations; one out of range.

    >>> import numpy as np, retain as rt
    >>> trigger = rt.WhenWorse(rt.metrics.Windowed(rt.metrics.MAE(), rows=10), than=1.0)
    >>> counts = dict(learnt=0, pending=0, lost=0, quarantined=0, seconds=0.0, cpu_seconds=0.0)
    >>> def fires(error):
    ...     return trigger(rt.Report(0, **counts, y=np.zeros(10), prediction=np.full(10, error)))
    >>> [fires(error) for error in (0.5, 1.5, 1.6, 0.9, 1.2)]
    [False, True, False, False, True]
    """

    def __init__(
        self,
        metric: Metric,
        /,
        *,
        than: float | None = None,
        quantile: float | None = None,
        deviations: float | None = None,
        past: int = 100,
        rearm: float = 0.0,
    ) -> None:
        if sum(part is not None for part in (than, quantile, deviations)) != 1:
            raise SettingError(
                f"WhenWorse got than={than}, quantile={quantile}, deviations={deviations}; expected one of them"
            )
        if (quantile is not None and not 0 < quantile < 1) or (deviations is not None and not deviations > 0):
            raise SettingError(
                f"WhenWorse got quantile={quantile}, deviations={deviations}; expected a share between 0 and 1, or a "
                "number > 0"
            )
        if past < 10 or not rearm >= 0:
            raise SettingError(f"WhenWorse got past={past}, rearm={rearm}; expected past >= 10 and rearm >= 0")
        self._metric, self._than, self._quantile, self._deviations = metric, than, quantile, deviations
        self._rearm = rearm
        self._past: deque[float] = deque(maxlen=past)
        self._armed = True

    def __call__(self, report: Report, /) -> bool:
        if report.y is None or report.prediction is None or not len(report.y):
            return False
        self._metric.update(report.y, report.prediction)
        sign = 1.0 if self._metric.higher_is_better else -1.0
        value = sign * self._metric.value()  # more is better from here on
        threshold = self._threshold(sign)
        if math.isnan(value):
            return False
        self._past.append(value)
        if math.isnan(threshold):
            return False
        fires = self._armed and value < threshold
        if fires:
            self._armed = False
        elif value >= threshold + self._rearm:
            self._armed = True
        return fires

    def _threshold(self, sign: float) -> float:
        if self._than is not None:
            return sign * self._than
        if len(self._past) < 10:
            return math.nan
        past = np.array(self._past)
        if self._quantile is not None:
            return float(np.quantile(past, self._quantile))
        return float(past.mean() - (self._deviations or 0.0) * past.std())

    def state_dict(self) -> State:
        return {"metric": self._metric.state_dict(), "past": np.array(self._past), "armed": self._armed}

    def load_state_dict(self, state: State, /) -> None:
        self._metric.load_state_dict(state["metric"])
        self._past.clear()
        self._past.extend(float(value) for value in state["past"])
        self._armed = state["armed"]


@final
class Hindsight:
    """Fires when the model knows by heart what it has learnt, or cannot learn it: the train-versus-prequential gap.

    Now and then the champion is asked again about the last rows that it has learnt. How much less it loses on them than
    it lost when they were new is the gap: large where small steps follow the noise (overfitting). What it still loses
    is what it cannot hold (underfitting).

    Args:
        gap: fires when the loss falls by more than this in hindsight.
        loss: fires when the loss is still above this in hindsight.
        rows: how many are asked about; they are read again from the source.
        every: so many rows.

    Raises:
        SettingError: neither gap nor loss.

    >>> import numpy as np, retain as rt
    >>> trigger = rt.update.Hindsight(gap=0.2, rows=100, every=1000)
    >>> counts = dict(learnt=0, pending=0, lost=0, quarantined=0, seconds=0.0, cpu_seconds=0.0)
    >>> by_heart = lambda rows: (np.full(rows, 0.4), np.full(rows, 0.1))  # losses then, and of the same rows now
    >>> [trigger(rt.Report(rows, **counts, hindsight=by_heart)) for rows in (500, 1000, 1500)]
    [False, True, False]
    """

    def __init__(
        self, *, gap: float | None = None, loss: float | None = None, rows: int = 1_000, every: int = 10_000
    ) -> None:
        if gap is None and loss is None:
            raise SettingError("Hindsight got neither gap nor loss; say what is too much")
        if rows < 1 or every < rows:
            raise SettingError(f"Hindsight got rows={rows}, every={every}; expected 1 <= rows <= every")
        self._gap, self._loss, self._rows, self._every = gap, loss, rows, every
        self._last = 0

    def __call__(self, report: Report, /) -> bool:
        if report.rows // self._every <= self._last or report.hindsight is None:
            return False
        self._last = report.rows // self._every
        then, now = report.hindsight(self._rows)
        if not len(now):
            return False
        gap, loss = float(then.mean() - now.mean()), float(now.mean())
        return (self._gap is not None and gap > self._gap) or (self._loss is not None and loss > self._loss)

    def state_dict(self) -> State:
        return {"last": self._last}

    def load_state_dict(self, state: State, /) -> None:
        self._last = state["last"]


@final
class Regret:
    """Fires when the mistakes that could have been avoided outweigh what a new model costs.

    Avoidable is what the model loses beyond the best mean loss that it held over a stretch since the last time:
    regret <- max(0, regret + sum of (loss - best)). With `per_second` the bar is what the actions so far took on
    average, in CPU-seconds, times how many mistakes a second is worth: the clock then decides, and not the rows alone.

    Args:
        mistakes: how much regret outweighs a new model.
        per_second: how much regret a CPU-second of training is worth; `mistakes` holds until the first was measured.
        stretch: rows over which the best mean loss is taken.

    >>> import numpy as np, retain as rt
    >>> trigger = rt.update.Regret(mistakes=50, stretch=100)
    >>> counts = dict(learnt=0, pending=0, lost=0, quarantined=0, seconds=0.0, cpu_seconds=0.0)
    >>> errors = np.concatenate([np.tile([0.0] * 9 + [1.0], 30), np.tile([0.0, 1.0], 150)]).reshape(6, 100)
    >>> [trigger(rt.Report(0, **counts, loss=loss)) for loss in errors]
    [False, False, False, False, True, False]

    The idea: Böther et al. 2025, Modyn: Data-Centric Machine Learning Pipeline Orchestration, SIGMOD.
    """

    def __init__(self, *, mistakes: float, per_second: float | None = None, stretch: int = 2_000) -> None:
        if not mistakes > 0 or stretch < 1 or (per_second is not None and not per_second > 0):
            raise SettingError(
                f"Regret got mistakes={mistakes}, per_second={per_second}, stretch={stretch}; expected numbers > 0"
            )
        self._mistakes, self._per_second, self._stretch = mistakes, per_second, stretch
        self._sums = np.array([0.0, 0.0, np.inf, 0.0])  # loss and rows of the stretch, best mean, regret

    @property
    def clocked(self) -> bool:
        """Whether it weighs what the clock said."""
        return self._per_second is not None

    def __call__(self, report: Report, /) -> bool:
        if report.loss is None or not len(report.loss):
            return False
        total, rows, best, regret = (float(value) for value in self._sums)
        loss = float(report.loss.sum())
        if math.isfinite(best):
            regret = max(0.0, regret + loss - best * len(report.loss))
        total, rows = total + loss, rows + len(report.loss)
        if rows >= self._stretch:
            best, total, rows = min(best, total / rows), 0.0, 0.0
        bar = self._mistakes
        if self._per_second is not None and report.actions:
            bar = self._per_second * report.action_seconds / report.actions
        fires = regret >= bar
        self._sums[:] = (0.0, 0.0, np.inf, 0.0) if fires else (total, rows, best, regret)
        return fires

    def state_dict(self) -> State:
        return {"sums": self._sums.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self._sums = state["sums"].copy()


@final
class AtLeast(Telling):
    """Fires when so many of its triggers have fired within a number of rows; then all of them begin anew.

    Args:
        count: how many.
        triggers: of which.
        within: rows.

    >>> import retain as rt
    >>> both = rt.AtLeast(2, rt.Every(rows=300), rt.Every(rows=500), within=100)
    >>> [rows for rows in range(100, 1600, 100) if both(rt.Report(rows, 0, 0, 0, 0, 0.0, 0.0))]
    [600, 1000, 1500]
    """

    def __init__(self, count: int, /, *triggers: Trigger, within: int = 1_000) -> None:
        if not 1 <= count <= len(triggers) or within < 0:
            raise SettingError(
                f"AtLeast got count={count} of {len(triggers)} triggers, within={within}; expected at least 1, at most "
                "as many as there are, and rows >= 0"
            )
        self._count, self._triggers, self._within = count, triggers, within
        self._fired = [-math.inf] * len(triggers)
        self._why = ""

    @property
    def clocked(self) -> bool:
        """Whether any of its triggers looks at a clock."""
        return clocked(*self._triggers)

    @property
    def why(self) -> str:
        return self._why

    def __call__(self, report: Report, /) -> bool:
        for i, trigger in enumerate(self._triggers):
            if trigger(report):
                self._fired[i] = report.rows
        fires = sum(report.rows - fired <= self._within for fired in self._fired) >= self._count
        if fires:
            close = [
                t for t, fired in zip(self._triggers, self._fired, strict=True) if report.rows - fired <= self._within
            ]
            self._why = "; ".join(t.why for t in close if isinstance(t, Telling) and t.why)
            self._fired = [-math.inf] * len(self._triggers)
        return fires

    def state_dict(self) -> State:
        triggers = {str(i): trigger.state_dict() for i, trigger in enumerate(self._triggers)}
        return {"triggers": triggers, "fired": list(self._fired), "why": self._why}

    def load_state_dict(self, state: State, /) -> None:
        for i, trigger in enumerate(self._triggers):
            trigger.load_state_dict(state["triggers"][str(i)])
        self._fired, self._why = list(state["fired"]), state["why"]


def Any(*triggers: Trigger) -> AtLeast:  # noqa: N802 - reads as a part
    """Fires when one of the triggers does.

    >>> import retain as rt
    >>> either = rt.Any(rt.Every(rows=300), rt.Every(rows=500))
    >>> [rows for rows in range(100, 1100, 100) if either(rt.Report(rows, 0, 0, 0, 0, 0.0, 0.0))]
    [300, 500, 600, 900, 1000]
    """
    return AtLeast(1, *triggers, within=0)


def All(*triggers: Trigger, within: int = 1_000) -> AtLeast:  # noqa: N802 - reads as a part
    """Fires when all of the triggers have fired within a number of rows.

    >>> import retain as rt
    >>> both = rt.All(rt.Every(rows=300), rt.Every(rows=500), within=0)
    >>> [rows for rows in range(100, 1600, 100) if both(rt.Report(rows, 0, 0, 0, 0, 0.0, 0.0))]
    [1500]
    """
    return AtLeast(len(triggers), *triggers, within=within)
