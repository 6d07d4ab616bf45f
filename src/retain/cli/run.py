"""`retain run`: open a source, choose a learner, show progress, keep state, tell the result."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import retain as rt
from retain.blocks import schema_to_state
from retain.cli import collect
from retain.cli.catalogue import BLOCK, DATASETS, LEARNERS, METRICS, RULES, find
from retain.cli.pipelines import load
from retain.cli.signals import INTERRUPTED, interruptible
from retain.core import Kind, Report, Schema
from retain.errors import SchemaError, SettingError
from retain.registry import CANDIDATE, CHAMPION, FileRegistry
from retain.report import Log, Progress, table, write_html
from retain.run import Delay, Pipeline, Prequential, Silence, durable
from retain.run.service import Service

__all__ = ["Source", "run_file", "run_source"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from, as typed on the command line."""

    name: str
    format: str | None = None
    target: str | None = None
    time: str | None = None
    key: str | None = None
    id: str | None = None
    weight: str | None = None
    ignore: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    task: str | None = None
    labels: str | None = None
    expire: str | None = None
    silence: str | None = None
    until: str | None = None
    delay: str | None = None
    on_bad_rows: str = "stop"
    bad_at_most: float | None = None
    delimiter: str | None = None
    missing: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def run_source(
    source: Source,
    /,
    *,
    learner: str,
    metrics: Sequence[str],
    limit: int | None,
    state: Path | None,
    resume: bool,
    rules: str,
    registry: Path | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Run a learner over a source and show what came of it; return the exit code."""
    if resume and state is None:
        raise SettingError("--resume needs --state DIR, the folder to resume from")
    stream = _open(source)
    schema = stream.schema()
    model = find(LEARNERS, learner, "learner")(schema)
    measures = [find(METRICS, name, "metric")() for name in metrics] or None
    chosen = find(RULES, rules, "set of rules")(model, schema)
    run: Prequential | Service
    if chosen:
        run = Pipeline(
            stream=stream,
            learner=model,
            rules=chosen,
            registry=None if registry is None else FileRegistry(registry),
            metrics=measures,
            delay=_delay(source.delay),
            expire=_expire(source),
            limit=limit,
        ).service()
    else:
        run = Prequential(
            stream, model, metrics=measures, delay=_delay(source.delay), expire=_expire(source), limit=limit
        )
    log = Log()
    settings = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(source).items()}
    settings |= {"learner": learner, "metrics": list(metrics), "rules": rules}
    steps = durable(run, state, resume=resume, beside={"log": log}, settings=settings) if state else iter(run)
    last, interrupted = _follow(steps, log, rows=limit)
    if last is None:
        raise SchemaError(f"{source.name} has no rows to learn from; give a file with rows below its header")
    schema = run.schema or schema
    log.classes = schema.classes
    if not interrupted and limit is None:
        _check_classes(schema, log, source)
    if report is not None:
        write_html(log, report, title=f"retain run {source.name}")
    _tell(last, log, source, learner, as_json=as_json)
    if registry is not None and isinstance(run, Service):
        _say(f"versions and decisions: retain versions {registry}, retain log {registry}")
    elif registry is not None and isinstance(run, Prequential):
        _say(_kept(run, last, schema, registry, recipe=learner, source=source.name))
    if state is not None and interrupted:
        _say(f"stopped; go on with the same command and --resume (state in {state})")
    if report is not None:
        (_say if as_json else print)(f"report: {report}")
    return INTERRUPTED if interrupted else 0


def run_file(
    path: Path, /, *, limit: int | None, state: Path | None, resume: bool, report: Path | None, as_json: bool
) -> int:
    """Run the pipeline of a Python file and show what came of it; return the exit code."""
    if resume and state is None:
        raise SettingError("--resume needs --state DIR, the folder to resume from")
    pipeline, _ = load(path)
    service = (pipeline if limit is None else replace(pipeline, limit=limit)).service()
    log = Log()
    steps = durable(service, state, resume=resume, beside={"log": log}) if state else iter(service)
    last, interrupted = _follow(steps, log, rows=limit if limit is not None else pipeline.limit)
    if last is None:
        raise SchemaError(f"the stream of {path} has no rows to learn from")
    log.classes = None if service.schema is None else service.schema.classes
    if report is not None:
        write_html(log, report, title=f"retain run {path.name}")
    _tell(last, log, Source(str(path)), type(pipeline.learner).__name__, as_json=as_json)
    if pipeline.registry is not None:
        folder = pipeline.registry.folder
        _say(f"versions and decisions: retain versions {folder}, retain log {folder}")
    if state is not None and interrupted:
        _say(f"stopped; go on with the same command and --resume (state in {state})")
    if report is not None:
        (_say if as_json else print)(f"report: {report}")
    return INTERRUPTED if interrupted else 0


def _follow(steps: Iterator[Report], log: Log, *, rows: int | None) -> tuple[Report | None, bool]:
    """Fold the reports into the log until the end or Ctrl-C; return the last report and whether it was Ctrl-C."""
    last: Report | None = None
    collect()
    with interruptible() as stopped, Progress(total_rows=rows) as progress:
        for last in steps:
            log.add(last)
            progress.update(last)
            if stopped:
                break
        steps.close()  # pyright: ignore[reportAttributeAccessIssue] - both kinds of steps are generators
    return last, bool(stopped)


def _kept(run: Prequential, last: Report, schema: Schema, folder: Path, *, recipe: str, source: str) -> str:
    """Keep the model as a version: the champion where there is none yet, else a candidate. Return what to tell."""
    registry = FileRegistry(folder)
    champion = registry.aliases().get(CHAMPION)
    # A state says what was learnt; who pulls it must know what to load it into.
    state = {"learner": run.learner.state_dict(), "recipe": recipe, "schema": schema_to_state(schema)}
    report = {**last.metrics, "rows": last.rows, "learnt": last.learnt}
    version = registry.push(state, parent=champion, report=report, why=f"retain run {source}")
    alias = CHAMPION if champion is None else CANDIDATE
    registry.point(alias, version.name, why=f"retain run {source}")
    way = "" if champion is None else f"; retain promote {folder} {CANDIDATE}"
    return f"{alias} in {folder}: {version.name[:12]}{way}"


def _open(source: Source) -> Any:
    if source.name in DATASETS and not Path(source.name).exists():
        given = [
            name for name in ("target", "time", "key", "id", "weight", "format") if getattr(source, name) is not None
        ]
        if given:
            raise SettingError(f"{source.name} brings its own columns; leave out --{given[0]}")
        return find(DATASETS, source.name, "dataset")()
    kind = source.format or _format(source.name)
    delay_column = source.delay if _delay(source.delay) is None else None
    common: dict[str, Any] = {
        "target": source.target if source.labels is None else None,
        "time": source.time,
        "label_time": delay_column,
        "key": source.key,
        "id": source.id,
        "weight": source.weight,
        "ignore": source.ignore,
        "kinds": dict(_kind(text) for text in source.kinds),
        "task": source.task,
        "on_bad_rows": _policy(source.on_bad_rows, source.bad_at_most),
        "block": BLOCK,
    }
    if kind == "csv":
        common |= {"delimiter": source.delimiter, "missing": source.missing, "names": source.names or None}
    elif source.delimiter or source.missing or source.names:
        raise SettingError(f"--delimiter, --missing and --names are about CSV files; {source.name} is {kind}")
    stream = _reader(kind)(source.name, **common)
    if source.labels is not None:
        classes = () if source.silence is None else (source.silence,)
        stream = rt.streams.join(stream, _labels(source), classes=classes)
    if source.target is None:
        columns = ", ".join(f"{column.name} ({column.kind.value})" for column in stream.schema().columns)
        raise SettingError(f"which column is to be predicted? {source.name} has {columns}; name one with --target")
    return stream


def _reader(kind: str) -> Any:
    readers = {
        "csv": rt.streams.csv,
        "parquet": rt.streams.parquet,
        "jsonl": rt.streams.jsonl,
        "arrow": rt.streams.arrow,
    }
    if kind not in readers:
        raise SettingError(f"--format {kind} is not known; expected {', '.join(readers)}")
    return readers[kind]


def _labels(source: Source) -> Any:
    """Labels from a source of their own, whose columns are called as those of the rows."""
    roles = {name: getattr(source, name) for name in ("target", "time", "id")}
    missing = [name for name, column in roles.items() if column is None]
    if source.labels is None or missing:
        raise SettingError(f"--labels needs --{missing[0]}: labels find their rows by --id, each at its --time")
    if source.delay is not None:
        raise SettingError("labels from --labels come at their own times; leave out --delay")
    return _reader(_format(source.labels))(source.labels, **roles, task=source.task, block=BLOCK)


def _format(name: str) -> str:
    if name == "-":
        return "csv"
    suffixes = [s.lower() for s in Path(name).suffixes]
    for suffix in reversed(suffixes):
        if suffix in _SUFFIXES:
            return _SUFFIXES[suffix]
    raise SettingError(f"cannot tell the format of {name} from its name; say --format csv, parquet, jsonl or arrow")


def _kind(text: str) -> tuple[str, Kind]:
    name, equals, kind = text.rpartition("=")
    if not equals or kind not in {k.value for k in Kind}:
        raise SettingError(
            f"--kind {text} makes no sense; expected COL=KIND with KIND one of {', '.join(k.value for k in Kind)}"
        )
    return name, Kind(kind)


def _policy(text: str, most: float | None) -> Any:
    word, _, file = text.partition(" ")
    if word == "quarantine" and file:
        return rt.streams.Quarantine(file, most)
    if text == "stop":
        if most is not None:
            raise SettingError("--bad-at-most is for rows that are left out: say --on-bad-rows skip or quarantine FILE")
        return rt.streams.Stop()
    if text == "skip":
        return rt.streams.Skip(most)
    raise SettingError(f"--on-bad-rows {text} makes no sense; expected stop, skip, or quarantine FILE")


def _delay(text: str | None) -> Delay | None:
    """A number of rows, a time span, or None for the name of a column (and for no delay at all)."""
    if text is None:
        return None
    if text.isdigit():
        return Delay(rows=int(text))
    span = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    return Delay(seconds=float(span[1]) * _UNITS[span[2]]) if span else None


def _span(option: str, text: str) -> float:
    """Seconds, or rows."""
    delay = _delay(text)
    if delay is None:
        raise SettingError(f"{option} {text} makes no sense; expected a time (90s, 15m, 2h, 3d) or a number of rows")
    return float(delay.seconds if delay.seconds is not None else delay.rows or 0)


def _expire(source: Source) -> float | Silence | None:
    """After how long a label is given up, and what that means."""
    if source.expire is None:
        if source.silence is not None or source.until is not None:
            raise SettingError("--silence and --until need --expire: after how long a row that nobody reports is one")
        return None
    after = _span("--expire", source.expire)
    if source.silence is None:
        if source.until is not None:
            raise SettingError("--until says how long labels correct --silence; give that too")
        return after
    return Silence(
        after=after, means=source.silence, until=None if source.until is None else _span("--until", source.until)
    )


def _check_classes(schema: Schema, log: Log, source: Source) -> None:
    if schema.classes is not None and len(log.classes_seen) == 1:
        only = schema.classes[log.classes_seen[0]]
        raise SchemaError(
            f"the target {schema.target!r} of {source.name} holds the one class {only!r} in all its rows; "
            "expected at least two: choose another --target"
        )


def _tell(last: Report, log: Log, source: Source, learner: str, *, as_json: bool) -> None:
    if not as_json:
        from rich.console import Console

        Console().print(table(log))
        return
    result = {
        "source": source.name,
        "learner": learner,
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
    sys.stdout.write(json.dumps(result) + "\n")


def _plain(values: Any) -> dict[str, float | None]:
    """JSON has no NaN: what is undefined is null."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _say(message: str) -> None:
    sys.stderr.write(message + "\n")
