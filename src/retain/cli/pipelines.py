"""`retain run pipeline.py` and `retain backtest pipeline.py`: pipelines written in Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from retain.cli import collect
from retain.cli.catalogue import DATASETS, RULES, find
from retain.cli.outputs import check_report
from retain.cli.programs import ran
from retain.core import Report
from retain.errors import SettingError
from retain.learners.auto import auto
from retain.report import Backtest, Progress, write_backtest
from retain.run import Pipeline, backtest

__all__ = ["held", "load", "run_backtest"]


def load(path: Path, /) -> tuple[Pipeline, dict[str, Pipeline]]:
    """The `pipeline` of a Python file, and what it names as `beside`: other rules or pipelines, by name.

    Raises SettingError as `held`, and for another `beside`.
    """
    pipeline, found = _run(path)
    beside: Any = found.get("beside", {})
    if not isinstance(beside, Mapping):
        raise SettingError(f"`beside` in {path} is {beside!r}; expected a mapping from names to rules or pipelines")
    others = cast("Mapping[str, Any]", beside)
    return pipeline, {
        name: other if isinstance(other, Pipeline) else replace(pipeline, rules=other) for name, other in others.items()
    }


def held(path: Path, /) -> tuple[Pipeline, Any]:
    """The `pipeline` of a Python file, and the rows that it names as `held_out`; None where it names none.

    The file is run: it is the user's own program. Raises SettingError where it cannot be read, ends with an error of
    its own, or holds no pipeline.
    """
    pipeline, found = _run(path)
    return pipeline, found.get("held_out")


def _run(path: Path) -> tuple[Pipeline, Mapping[str, Any]]:
    """The pipeline of a Python file, and all of its names."""
    if not path.is_file():
        raise SettingError(f"there is no file {path}; write one that works with: retain init {path}")
    found = ran(path)
    pipeline = found.get("pipeline")
    if not isinstance(pipeline, Pipeline):
        raise SettingError(
            f"{path} has no `pipeline = rt.Pipeline(...)`; compare it with one that works: retain init other.py"
        )
    return pipeline, found


def run_backtest(source: str, /, *, rules: list[str], limit: int | None, report: Path | None, as_json: bool) -> int:
    """Compare rules on past rows and show what came of each; return the exit code."""
    check_report(report)
    named = _named(source, rules)
    if limit is not None:
        named = {name: replace(pipeline, limit=limit) for name, pipeline in named.items()}
    collect()
    done = 0
    with Progress(total_rows=None) as progress:

        def told(name: str, latest: Report) -> None:
            nonlocal done
            metrics = {f"{name}: {metric}": value for metric, value in list(latest.metrics.items())[:1]}
            progress.update(replace(latest, rows=done + latest.rows, metrics=metrics))
            if latest.pending == 0 and latest.arrived is not None and not len(latest.arrived):
                done += latest.rows

        result = backtest(named, told=told)
    _tell(result, as_json=as_json)
    if report is not None:
        write_backtest(result, report, title=f"retain backtest {source}")
        (sys.stderr if as_json else sys.stdout).write(f"report: {report}\n")
    return 0


def _named(source: str, rules: list[str]) -> dict[str, Pipeline]:
    if source.endswith(".py"):
        if rules:
            raise SettingError(f"{source} brings its own rules; leave out --rules {rules[0]}")
        pipeline, beside = load(Path(source))
        return {"pipeline": pipeline, **(beside or {"no rules": replace(pipeline, rules=())})}
    if source not in DATASETS:
        raise SettingError(
            f"{source} is neither a Python file nor a bundled stream; for your own data write a pipeline.py, which "
            "`retain init` begins"
        )
    stream: Any = find(DATASETS, source, "dataset")()
    schema = stream.schema()
    learner = auto(schema)
    return {
        name: Pipeline(stream=stream, learner=learner, rules=find(RULES, name, "set of rules")(learner, schema))
        for name in rules or RULES
    }


def _tell(result: Backtest, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result.numbers()) + "\n")
        return
    from rich.console import Console

    from retain.report.backtest import table

    Console().print(table(result))
