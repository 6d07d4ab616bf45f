"""Test, then train: every row is predicted when it arrives and learnt when its label lands.

The loop is a generator of reports; printing, plotting and stopping belong to whoever iterates over it. All that it
remembers is one `State`, so that a run can be saved between any two reports and go on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import final

from retain.core import Learner, Metric, Report, Schema, State, Stream
from retain.errors import SettingError
from retain.learners.baselines import NoChange, Prior
from retain.run.cursor import Clock, Mark, blocks, rest
from retain.run.landing import Delay, Silence, Terms
from retain.run.lane import Lane

__all__ = ["Prequential", "honest"]


def honest() -> dict[str, Learner]:
    """The baselines that every run is measured beside."""
    return {"no_change": NoChange(), "prior": Prior()}


@final
class Prequential:
    """Run a learner over a stream, scoring each prediction when its label lands, beside honest baselines.

    Iterating yields a `Report` after every block, and in a block that is long beside all before it after each fifth of
    these: a short run too is seen to go on. What is learnt and scored depends only on the rows and on when their
    labels land, never on how the stream is cut into blocks. At the end of the stream the labels still on their way
    land, in order.

    Args:
        stream: where rows come from.
        learner: what learns; usually transforms composed with `|` in front of a learner.
        metrics: what to measure; by default accuracy, AUC and log-loss, or MAE, RMSE and R2.
        baselines: what to measure beside it, by name: learners that need no features; by default no-change and prior.
        delay: when labels land; by default at once, or at the stream's own `label_time` where it has one.
        expire: seconds (or rows, with `Delay(rows=...)`) after which a label that has not landed counts as lost; or
            what that means: `Silence`.
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
        baselines: Mapping[str, Learner] | None = None,
        delay: Delay | None = None,
        expire: float | Silence | None = None,
        warm: int = 0,
        limit: int | None = None,
    ) -> None:
        if limit is not None and limit < 0:
            raise SettingError(f"limit={limit}: expected numbers >= 0")
        self.stream = stream
        self.learner = learner
        beside = honest() if baselines is None else baselines
        self._lane = Lane(learner, Terms(delay, expire, warm), metrics=metrics, baselines=beside)
        self._limit = limit
        self._mark = Mark()
        self._clock = Clock()

    def __iter__(self) -> Iterator[Report]:
        yield from self.steps()
        yield from self.finish()

    @property
    def schema(self) -> Schema | None:
        """The schema as known so far, with the classes seen on the way; None before the first row."""
        return self._lane.schema

    @property
    def whole(self) -> bool:
        """Whether it stands between two steps; see `retain.run.durable.Resumable`."""
        return not self._lane.torn

    def steps(self) -> Generator[Report]:
        """A report for each block or piece of one, from where the run stands to the end of the stream or the limit."""
        self._clock.start()
        for batch, after in blocks(self.stream, self._mark, until=self._limit):
            report = self._lane.step(batch)
            self._mark = after
            yield replace(report, quarantined=after.quarantined, **self._clock.lap())

    def finish(self) -> Iterator[Report]:
        """Land the labels still on their way; a report where there were any."""
        self._clock.start()
        answers, quarantined = rest(self.stream, self._mark)
        more = quarantined > self._mark.quarantined
        report = self._lane.finish(answers, limited=self._mark.rows == self._limit, more=more)
        if report is not None:
            yield replace(report, quarantined=quarantined, **self._clock.lap())

    def state_dict(self) -> State:
        """Everything: learner, baselines, metrics, the rows that wait, the clocks and the position in the stream."""
        return {
            "lane": self._lane.state_dict(),
            "mark": self._mark.to_state(),
            "clocks": [self._clock.seconds, self._clock.cpu_seconds],
        }

    def load_state_dict(self, state: State, /) -> None:
        """Stand where `state` was saved. The stream and the learner must be built as they were."""
        self._lane.load_state_dict(state["lane"])
        self._mark = Mark.from_state(state["mark"])
        self._clock.seconds, self._clock.cpu_seconds = state["clocks"]
