"""Rules tried out on the past: the same loop as in production, on rows that have long been there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from retain.core import Report
from retain.errors import SettingError
from retain.registry import FileRegistry
from retain.report.backtest import Backtest, Trace
from retain.run.pipeline import Pipeline

__all__ = ["backtest"]


def backtest(
    pipelines: Mapping[str, Pipeline],
    /,
    *,
    window: int = 2_000,
    told: Callable[[str, Report], None] | None = None,
) -> Backtest:
    """Run pipelines over their streams, one after the other, and compare what came of each.

    Replay is production: this is the loop that serves, so that the decisions are those that would have been taken, at
    the rows at which they would have been taken. Versions go to a registry of its own, which is gone afterwards. Before
    that each takes its first step once, so that no time that is told is one of compiling.

    Args:
        pipelines: by name; usually one stream and one learner under several sets of rules.
        window: rows over which recent and worst accuracy are taken.
        told: called with every report and whose it is, for a bar of progress.

    Raises:
        SettingError: no pipelines.

    >>> import retain as rt
    >>> stream = rt.streams.Abrupt(*(rt.streams.STAGGER(seed=c, concept=c) for c in (1, 3)), at=10_000, n=14_000)
    >>> learner = rt.OneHot() | rt.Linear(loss=rt.Logistic(), update=rt.FTRL())
    >>> drift = rt.Rule(when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Retrain(last=1_000), gate=rt.Better())
    >>> plain = rt.Pipeline(stream=stream, learner=learner)
    >>> ruled = rt.Pipeline(stream=stream, learner=learner, rules=[drift])
    >>> result = rt.backtest({"online only": plain, "on drift": ruled})
    >>> traces = result.traces
    >>> traces["on drift"].accuracy > traces["online only"].accuracy, traces["on drift"].count("promoted")
    (True, 1)
    """
    if not pipelines:
        raise SettingError("backtest got no pipelines; expected at least one, by name")
    for pipeline in pipelines.values():  # what has to be compiled or loaded is by the first step, which is not counted
        until = pipeline.step if pipeline.limit is None else min(pipeline.step, pipeline.limit)
        for _ in _reports(replace(pipeline, limit=until)):
            pass
    traces: dict[str, Trace] = {}
    for name, pipeline in pipelines.items():
        trace = traces[name] = Trace(window=window)
        for report in _reports(pipeline):
            trace.add(report)
            if told is not None:
                told(name, report)
    return Backtest(traces)


def _reports(pipeline: Pipeline) -> Iterator[Report]:
    with tempfile.TemporaryDirectory() as folder:
        yield from replace(pipeline, registry=FileRegistry(Path(folder), who="backtest")).run()
