"""`retain continual`: experiences one after the other, a strategy against forgetting, the measures of the field."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np

from retain.cli import collect, texts
from retain.cli.catalogue import find, show
from retain.cli.outputs import check_report
from retain.cli.recipes import DATA, MODELS, RECIPES, SCENARIOS, Columns, Settings, build, load, recipe
from retain.cli.signals import INTERRUPTED, interruptible
from retain.core import Report
from retain.errors import SettingError, StateError
from retain.report import Continual, Progress, write_continual
from retain.run import continual, scenarios
from retain.run.experiences import Experiences, Step
from retain.run.scenarios import Scenario

__all__ = ["Asked", "list_names", "run_continual", "widths"]


@final
@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be learnt and how, as typed on the command line."""

    dataset: str
    columns: Columns
    encoder: str | None
    scenario: str
    experiences: int | None
    strategy: str
    model: str
    hidden: tuple[int, ...]
    memory: int
    epochs: int
    batch_size: int
    rate: float
    seeds: int
    workers: int
    threads: int
    device: str
    bounds: bool
    state: Path | None
    resume: bool


def run_continual(asked: Asked, /, *, report: Path | None, as_json: bool) -> int:
    """Learn the experiences once for each seed and show what came of it; return the exit code."""
    _check(asked)
    check_report(report)
    find(MODELS, asked.model, "model")
    recipe(asked.strategy)
    made = find(SCENARIOS, asked.scenario, "scenario")(
        load(asked.dataset, asked.columns, asked.encoder), asked.experiences
    )
    try:
        result = _all(asked, made)
    except KeyboardInterrupt:
        kept = "nothing is kept: give --state DIR to go on another time"
        if asked.state is not None:
            kept = f"go on with the same command and --resume (state in {asked.state})"
        sys.stderr.write(f"stopped; {kept}\n")
        return INTERRUPTED
    _tell(result, asked, as_json=as_json)
    if report is not None:
        write_continual(result, report, title=f"retain continual {asked.dataset}")
        (sys.stderr if as_json else sys.stdout).write(f"report: {report}\n")
    return 0


def list_names() -> None:
    """Print every name that the command knows."""
    show("Data sets", {name: entry.about for name, entry in DATA.items()})
    show("Scenarios (--scenario)", {name: entry.about for name, entry in SCENARIOS.items()})
    show("Strategies (--strategy)", {name: entry.about for name, entry in RECIPES.items()})
    show("Models (--model)", {name: entry.about for name, entry in MODELS.items()})


def widths(text: str, /) -> tuple[int, ...]:
    """`400,400` as numbers."""
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise SettingError(f"--hidden {text} makes no sense; expected units of each layer, e.g. 400,400")
    return tuple(int(part) for part in parts)


def _check(asked: Asked) -> None:
    counts = {"memory": asked.memory, "epochs": asked.epochs, "batch-size": asked.batch_size}
    counts |= {"seeds": asked.seeds, "workers": asked.workers, "threads": asked.threads, "hidden": min(asked.hidden)}
    wrong = [f"--{name} {value}" for name, value in counts.items() if value < 1]
    if wrong or not 0 < asked.rate < float("inf"):
        raise SettingError(f"{wrong[0] if wrong else f'--rate {asked.rate}'} makes no sense; expected a number above 0")
    if asked.resume and asked.state is None:
        raise SettingError("--resume needs --state DIR, the folder to resume from")
    if asked.resume and asked.state is not None and not any(asked.state.glob("*/seed-*")):
        raise StateError(f"{asked.state} holds no state to resume from; run without --resume first")


def _all(asked: Asked, made: Scenario) -> Continual:
    """The strategy and, where they are wanted, the bounds of the same model."""
    names = [asked.strategy]
    if asked.bounds:
        lower = ["naive"] if RECIPES[asked.strategy].neural else []
        names += [name for name in (*lower, "joint") if name != asked.strategy]
    plans = {name: _plan(name, asked, made) for name in names}
    total = sum(asked.seeds * Experiences(plan[0], plan[1], epochs=asked.epochs).total for plan in plans.values())
    found: dict[str, Continual] = {}
    collect()
    # Several processes are stopped as they are, and go on from their last snapshots.
    polite: AbstractContextManager[Sequence[int]] = interruptible() if asked.workers == 1 else nullcontext(())
    with polite as stopped, Progress(total_rows=total) as progress:
        before = 0
        for name, (scenario, make) in plans.items():
            found[name] = continual(
                scenario,
                make,
                epochs=asked.epochs,
                seeds=asked.seeds,
                workers=asked.workers,
                settings=_settings(asked, name),
                watch=_watch(progress, before, stopped),
                state=None if asked.state is None else asked.state / name,
                resume=None if asked.resume else False,
            )
            before += sum(run.samples for run in found[name].runs)
    bounds = {name: found[name] for name in names[1:]}
    return replace(found[asked.strategy], bounds=bounds)


def _plan(name: str, asked: Asked, made: Scenario) -> tuple[Scenario, Callable[[int], Any]]:
    """What a strategy sees of the scenario, and its recipe. A bound of a learner that is not neural is its own."""
    own = RECIPES[asked.strategy]
    if own.tasks and not made.tasks:
        raise SettingError(f"--strategy {asked.strategy} is for rows that tell their task; add --scenario task")
    maker = name if own.neural else asked.strategy
    scenario = RECIPES[name].arrange(made)
    if not own.neural or asked.model == "mlp":
        scenario = scenarios.flat(scenario)
    settings = Settings(
        shape=_shape(scenario),
        classes=scenario.classes,
        experiences=len(scenario.experiences),
        tasks=scenario.tasks,
        boundaries=scenario.boundaries,
        model=asked.model,
        hidden=asked.hidden,
        memory=asked.memory,
        batch_size=asked.batch_size,
        rate=asked.rate,
        threads=asked.threads,
        device=asked.device,
    )
    return scenario, partial(build, maker, settings)


def _shape(scenario: Scenario) -> tuple[int, ...]:
    """Of a row as the learner is given it."""
    x = scenario.stage(0).block(np.arange(1)).x
    if not isinstance(x, np.ndarray):
        raise SettingError(f"rows are a {type(x).__name__}; expected an array of numbers")
    return x.shape[1:]


def _settings(asked: Asked, strategy: str) -> dict[str, Any]:
    """What is told of a run beside its measures."""
    told: dict[str, Any] = {"dataset": asked.dataset, "strategy": strategy, "epochs": asked.epochs}
    columns = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(asked.columns).items() if v}
    encoded = asked.columns.text or asked.encoder or asked.dataset.startswith("clinc150")
    told |= columns | ({"encoder": texts.chosen(asked.encoder) or "none"} if encoded else {})
    if RECIPES[asked.strategy].neural:
        told |= {"model": asked.model, "hidden": list(asked.hidden), "batch_size": asked.batch_size}
        told |= {"rate": asked.rate, "memory": asked.memory}
    return told


def _watch(progress: Progress, before: int, stopped: Sequence[int]) -> Callable[[int, Step], None]:
    """Shows rows learnt by all seeds together, and the mean accuracy at the last test; ends the run when told to."""
    samples: dict[int, int] = {}
    last = [float("nan")]

    def watch(seed: int, step: Step) -> None:
        for event in step.events:
            sys.stderr.write(f"{event}\n")
        samples[seed] = step.samples
        if step.accuracy is not None:
            last[0] = float(step.accuracy.mean())
        rows = before + sum(samples.values())
        progress.update(Report(rows, rows, 0, 0, 0, 0.0, 0.0, metrics={"mean_accuracy": last[0]}))
        if stopped:
            raise KeyboardInterrupt

    return watch


def _tell(result: Continual, asked: Asked, *, as_json: bool) -> None:
    if as_json:
        told = {"dataset": asked.dataset, "strategy": asked.strategy, **result.to_json()}
        sys.stdout.write(json.dumps(told, allow_nan=False) + "\n")
        return
    from rich.console import Console

    Console().print(result.table())
