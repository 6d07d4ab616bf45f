"""A stream, a learner and the rules by which it is updated: what a user writes down, to be run or tried out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, final

from retain.core import Learner, Metric, Report, Stream
from retain.errors import SettingError
from retain.registry import FileRegistry
from retain.run.durable import durable
from retain.run.exam import Exam
from retain.run.landing import Delay, Silence
from retain.run.service import Service
from retain.update import Rule

if TYPE_CHECKING:
    from retain.report.backtest import Backtest

__all__ = ["Pipeline"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A model in service, and the rules that update it.

    Every `step` rows are answered, scored and learnt, as by `retain.Prequential`; then the rules look at the report.
    When one fires, its action makes a candidate of a copy, which answers and learns the following rows beside the
    champion until the gate of the rule knows which of them is better on these. Everything depends on the rows alone:
    run again, resumed after `kill -9` or tried out on past data, a pipeline takes the same decisions at the same rows.

    Args:
        stream: where rows come from. Actions that go back in history read it again.
        learner: has learnt nothing; it is copied, and what learns is the copy.
        rules: of `retain.Rule`; with none the model just goes on learning.
        registry: where versions are kept when they are promoted, and why; None: nowhere.
        versions: so many are kept there, the newest, and those that an alias points to; None: all.
        metrics: what to measure; by default what suits the target.
        delay, expire: when labels land, and after how long they are lost; as for `Prequential`.
        warm: so many first rows are learnt without being scored.
        limit: stop after so many rows.
        step: rows between two looks of the rules.
        exam: rows that nobody learns, for `retain.NotForgotten`.
        frozen: the champion does not learn what it answers; only what is promoted is ever different.

    Raises:
        SettingError: settings that make no sense together.

    >>> import retain as rt
    >>> before, after = (rt.streams.STAGGER(seed=c, concept=c) for c in (1, 3))
    >>> rule = rt.Rule(
    ...     when=rt.OnDrift(rt.detectors.ADWIN()),
    ...     do=rt.Retrain(last=1_000),
    ...     gate=rt.Better(most=5_000),
    ...     name="drift",
    ... )
    >>> pipeline = rt.Pipeline(
    ...     stream=rt.streams.Abrupt(before, after, at=20_000, n=30_000),
    ...     learner=rt.OneHot() | rt.Linear(loss=rt.Logistic(), update=rt.FTRL()),
    ...     rules=[rule],
    ... )
    >>> for report in pipeline.run():
    ...     for deed in report.deeds:
    ...         print(f"{deed.rows:,} {deed}")
    21,000 drift: fired
    21,000 drift: opened
    22,000 drift: promoted (after 100 pairs)
    """

    stream: Stream
    learner: Learner
    rules: Sequence[Rule] = ()
    registry: FileRegistry | None = None
    metrics: Sequence[Metric] | None = None
    delay: Delay | None = None
    versions: int | None = None
    expire: float | Silence | None = None
    warm: int = 0
    limit: int | None = None
    step: int = 1_000
    exam: Exam | None = None
    frozen: bool = False

    def __post_init__(self) -> None:
        if self.step < 1 or (self.limit is not None and self.limit < 0):
            raise SettingError(f"step={self.step}, limit={self.limit}; expected step >= 1 and limit >= 0")

    def service(self) -> Service:
        """The loop, at its beginning; it can be saved between two reports, and iterated over."""
        return Service(
            stream=self.stream,
            template=self.learner,
            rules=self.rules,
            registry=self.registry,
            metrics=None if self.metrics is None else [deepcopy(metric) for metric in self.metrics],
            delay=self.delay,
            expire=self.expire,
            versions=self.versions,
            warm=self.warm,
            limit=self.limit,
            step=self.step,
            exam=deepcopy(self.exam),
            frozen=self.frozen,
        )

    def backtest(
        self,
        history: Stream | None = None,
        /,
        *,
        beside: Mapping[str, Sequence[Rule] | Pipeline] | None = None,
        window: int = 2_000,
    ) -> Backtest:
        """What these rules would have done on past rows, beside others; see `retain.backtest`.

        Args:
            history: the past rows; by default the pipeline's own stream.
            beside: other rules, or other pipelines, by name; by default none at all ("no rules").
            window: rows over which recent and worst accuracy are taken.
        """
        from retain.run.past import backtest

        own = self if history is None else replace(self, stream=history)
        others = {"no rules": ()} if beside is None else beside
        named = {
            name: replace(other, stream=own.stream) if isinstance(other, Pipeline) else replace(own, rules=other)
            for name, other in others.items()
        }
        return backtest({"rules": own, **named}, window=window)

    def run(self, state: str | Path | None = None, /, *, resume: bool | None = None) -> Iterator[Report]:
        """Reports of the run; with a folder for its state it survives `kill -9` (see `retain.durable`)."""
        service = self.service()
        return iter(service) if state is None else durable(service, state, resume=resume)
