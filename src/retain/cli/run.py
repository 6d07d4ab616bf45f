"""`retain run`: open a source, choose a learner, show progress, keep state, tell the result."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import retain as rt
from retain.blocks import schema_to_state
from retain.cli import collect, texts
from retain.cli.catalogue import DATASETS, LEARNERS, RULES, find, measures
from retain.cli.outputs import check_folder
from retain.cli.pipelines import load
from retain.cli.signals import INTERRUPTED, interruptible
from retain.cli.source import Source, delay_of, expire_of, open_source
from retain.cli.watch import How, Watch, watched
from retain.core import Learner, Metric, Report, Schema
from retain.errors import SchemaError, SettingError, StateError
from retain.registry import CANDIDATE, CHAMPION, FileRegistry
from retain.report import Log, Progress, table, write_html
from retain.run import Pipeline, Prequential, durable
from retain.run.service import Service
from retain.state import snapshots
from retain.streams.infer import is_number

if TYPE_CHECKING:
    from retain.learners.ensemble import Conformal

__all__ = ["Recipe", "run_file", "run_source"]

_OF_TEXTS = "intents"


@final
@dataclass(frozen=True, slots=True)
class Recipe:
    """What learns, by name, and what becomes of it."""

    learner: str
    metrics: Sequence[str]
    rules: str
    unknown: float | None
    encoder: str | None
    coverage: float | None = None

    def __post_init__(self) -> None:
        if self.encoder is not None and self.learner != _OF_TEXTS:
            raise SettingError(
                f"--encoder is for texts; name their column with --text COL, or say --learner {_OF_TEXTS}"
            )

        if self.coverage is not None and self.unknown is not None:
            raise SettingError("--coverage and --unknown are two ways of saying what is not sure; choose one of them")

    @property
    def by(self) -> str | None:
        """What encodes texts; None where the learner is not one of texts."""
        return (texts.chosen(self.encoder) or "none") if self.learner == _OF_TEXTS else None

    def told(self) -> dict[str, Any]:
        """As it is kept beside a state: what is not used is not mentioned."""
        told = {"learner": self.learner, "metrics": list(self.metrics), "rules": self.rules}
        more = {
            "unknown": self.unknown,
            "encoder": self.by,
            "coverage": self.coverage,
        }  # which one was found belongs to what is resumed
        return told | {name: value for name, value in more.items() if value is not None}

    def make(self, schema: Schema) -> tuple[Learner, list[Metric] | None]:
        """The learner, and what to measure: None for what suits the target."""
        known, by = find(LEARNERS, self.learner, "learner"), self.by
        model, metrics = known(schema) if by is None else texts.learner(schema, by), measures(self.metrics, schema)
        if self.unknown is None:
            return model if self.coverage is None else rt.Conformal(model, coverage=self.coverage), metrics or None
        if schema.classes is None:
            raise SettingError(
                f"--unknown is for classes, and the target {schema.target!r} holds numbers; leave it out, or say "
                "--task classification"
            )
        usual = metrics or measures(["accuracy", "auc", "log_loss"], schema)
        share = [] if any(metric.name == "unknown" for metric in usual) else measures(["unknown"], schema)
        return rt.OpenSet(model, false_alarms=self.unknown), [*usual, *share]


def run_source(source: Source, how: How, recipe: Recipe, /, *, registry: Path | None) -> int:
    """Run a learner over a source and show what came of it; return the exit code."""
    check_folder("--registry", registry)
    with watched(how, {**asdict(source), **recipe.told(), "registry": registry}) as watch:
        return _run_source(source, how, watch, recipe, registry)


def _run_source(source: Source, how: How, watch: Watch, recipe: Recipe, registry: Path | None) -> int:
    stream = open_source(source)
    schema = stream.schema()
    model, metrics = recipe.make(schema)
    if source.name not in DATASETS and source.task is None:
        _say(_task(schema))
    told = None if recipe.by is None else texts.words(schema, recipe.by)
    if told is not None:
        _say(f"texts: {told}")
    chosen = find(RULES, recipe.rules, "set of rules")(model, schema)
    run: Prequential | Service
    if chosen:
        run = Pipeline(
            stream=stream,
            learner=model,
            rules=chosen,
            registry=None if registry is None else FileRegistry(registry),
            metrics=metrics,
            delay=delay_of(source.delay),
            expire=expire_of(source),
            limit=how.limit,
        ).service()
    else:
        delay, expire = delay_of(source.delay), expire_of(source)
        run = Prequential(stream, model, metrics=metrics, delay=delay, expire=expire, limit=how.limit)
    log = Log()
    settings = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(source).items()}
    # Which files were read stands in the state itself, and more of them may come.
    settings |= {**recipe.told(), "name": source.name if source.name in DATASETS else "files"}
    settings["labels"] = None if source.labels is None else "files"
    last, interrupted = _follow(_steps(run, how, log, settings), log, watch, rows=how.limit)
    if last is None:
        raise SchemaError(f"{source.name} has no rows to learn from; give a file with rows below its header")
    schema = run.schema or schema
    log.classes = schema.classes
    if not interrupted and how.limit is None:
        _check_classes(schema, log, source)
    ends = run.champion if isinstance(run, Service) else run.learner
    _tell(
        last, log, source, recipe.told(), as_json=how.as_json, around=ends if isinstance(ends, rt.Conformal) else None
    )
    if how.report is not None:
        title = f"retain run {source.name}" + ("" if told is None else f": {told}")
        write_html(log, how.report, title=title)
    if registry is not None and isinstance(run, Service):
        _say(f"versions and decisions: retain versions {registry}, retain log {registry}")
    elif registry is not None and isinstance(run, Prequential):
        _say(_kept(run, last, schema, registry, recipe=recipe, source=source.name))
    return _ended(how, interrupted=interrupted)


def _task(schema: Schema) -> str:
    """Which task the target has told, and how to choose the other one, where that is possible."""
    if schema.classes is None:
        return "task: regression (classification: --task classification)"
    other = " (regression: --task regression)" if all(map(is_number, schema.classes)) else ""
    return f"task: classification, {len(schema.classes)} classes{other}"


def run_file(path: Path, how: How, /, *, besides: Sequence[str]) -> int:
    """Run the pipeline of a Python file and show what came of it; return the exit code.

    Raises SettingError where options are given `besides`: they would be about what the pipeline brings.
    """
    if besides:
        raise SettingError(f"{path} brings its own stream and learner; leave out {', '.join(besides)}")
    with watched(how, {"name": str(path)}) as watch:
        return _run_file(path, how, watch)


def _run_file(path: Path, how: How, watch: Watch) -> int:
    pipeline, _ = load(path)
    pipeline = pipeline if how.limit is None else replace(pipeline, limit=how.limit)
    service, log = pipeline.service(), Log()
    last, interrupted = _follow(_steps(service, how, log, None), log, watch, rows=pipeline.limit)
    if last is None:
        raise SchemaError(f"the stream of {path} has no rows to learn from")
    log.classes = None if service.schema is None else service.schema.classes
    _tell(last, log, Source(str(path)), {"learner": type(pipeline.learner).__name__}, as_json=how.as_json)
    if how.report is not None:
        write_html(log, how.report, title=f"retain run {path.name}")
    if pipeline.registry is not None:
        folder = pipeline.registry.folder
        _say(f"versions and decisions: retain versions {folder}, retain log {folder}")
    return _ended(how, interrupted=interrupted)


def _steps(run: Prequential | Service, how: How, log: Log, settings: Mapping[str, Any] | None) -> Iterator[Report]:
    """The reports of a run, its state kept where there is a folder for it."""
    if how.state is None:
        return iter(run)
    if how.resume and not how.state.is_dir():
        raise StateError(f"there is no folder {how.state} to resume from; check its name, or make it to begin there")
    begun = any(snapshots(how.state))
    if how.resume and not begun:  # a supervisor gives the same command at the first start, and after an early kill
        _say(f"there is no state in {how.state} yet; the run begins")
    return durable(run, how.state, resume=how.resume and begun, beside={"log": log}, settings=settings)


def _ended(how: How, *, interrupted: bool) -> int:
    """Tell what there is to do next; return the exit code."""
    if how.state is not None and interrupted:
        _say(f"stopped; go on with the same command and --resume (state in {how.state})")
    if how.report is not None:
        (_say if how.as_json else print)(f"report: {how.report}")
    return INTERRUPTED if interrupted else 0


def _follow(steps: Iterator[Report], log: Log, watch: Watch, *, rows: int | None) -> tuple[Report | None, bool]:
    """Fold the reports into the log until the end or Ctrl-C; return the last report and whether it was Ctrl-C."""
    last: Report | None = None
    collect()
    with interruptible() as stopped, Progress(total_rows=rows) as progress:
        for last in steps:
            log.add(last)
            watch.add(last)
            progress.update(last)
            if stopped:
                break
        if stopped:
            watch.stop(stopped[0])
        steps.close()  # pyright: ignore[reportAttributeAccessIssue] - both kinds of steps are generators
    return last or log.last, bool(stopped)  # resumed with nothing new, it stands where it stood


def _kept(run: Prequential, last: Report, schema: Schema, folder: Path, *, recipe: Recipe, source: str) -> str:
    """Keep the model as a version: the champion where there is none yet, else a candidate. Return what to tell."""
    registry = FileRegistry(folder)
    champion = registry.aliases().get(CHAMPION)
    # A state says what was learnt; who pulls it must know what to load it into.
    state = {"learner": run.learner.state_dict(), "recipe": recipe.told(), "schema": schema_to_state(schema)}
    report = {**last.metrics, "rows": last.rows, "learnt": last.learnt}
    version = registry.push(state, parent=champion, report=report, why=f"retain run {source}")
    alias = CHAMPION if champion is None else CANDIDATE
    registry.point(alias, version.name, why=f"retain run {source}")
    way = "" if champion is None else f"; retain promote {folder} {CANDIDATE}"
    return f"{alias} in {folder}: {version.name[:12]}{way}"


def _check_classes(schema: Schema, log: Log, source: Source) -> None:
    if schema.classes is not None and len(log.classes_seen) == 1:
        only = schema.classes[log.classes_seen[0]]
        place, cure = source.name, "choose another --target"
        if source.labels is not None:
            place, cure = source.labels, "choose another --silence, or a shorter --expire"
            if source.silence is None:
                cure = "if only these are reported, say what the others are and when, e.g. --expire 7d --silence no"
        raise SchemaError(
            f"the target {schema.target!r} of {place} holds the one class {only!r} in all its rows; "
            f"expected at least two: {cure}"
        )


def _tell(
    last: Report,
    log: Log,
    source: Source,
    told: Mapping[str, Any],
    *,
    as_json: bool,
    around: Conformal | None = None,
) -> None:
    if not as_json:
        from rich.console import Console

        Console().print(table(log))
        if around is not None:
            kind = "classes in a set" if log.classes is not None else "wide"
            size = f"{around.size:,.4g} {kind}" if math.isfinite(around.size) else "unbounded"
            Console().print(
                f"within bounds: {around.coverage:.1%} of labels ({told['coverage']:.4g} asked), on average {size}"
            )
        return
    result = {
        "source": source.name,
        **{name: told[name] for name in ("learner", "encoder") if name in told},
        "rows": last.rows,
        "learnt": last.learnt,
        "pending": last.pending,
        "lost": last.lost,
        "strays": last.strays,
        "quarantined": last.quarantined,
        "seconds": round(last.seconds, 3),
        "cpu_seconds": round(last.cpu_seconds, 3),
        "rows_per_second": round(last.rows / last.seconds, 1) if last.seconds else None,
        "metrics": _plain(last.metrics),
        "baselines": {name: _plain(values) for name, values in last.baselines.items()},
        "deeds": dict(log.deeds),
    }
    if around is not None:
        result["bounds"] = {"asked": told["coverage"], **_plain({"coverage": around.coverage, "size": around.size})}
    sys.stdout.write(json.dumps(result) + "\n")


def _plain(values: Any) -> dict[str, float | None]:
    """JSON has no NaN: what is undefined is null."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _say(message: str) -> None:
    sys.stderr.write(message + "\n")
