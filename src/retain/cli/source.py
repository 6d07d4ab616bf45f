"""Where rows come from, as typed: the options that `retain run` and `retain replay` share, and the stream they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import retain as rt
from retain.cli.catalogue import BLOCK, DATASETS, find
from retain.core import Kind
from retain.errors import SettingError
from retain.run import Delay, Silence

__all__ = ["Source", "delay_of", "expire_of", "format_of", "open_rows", "open_source", "seconds_of"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}


_OF_ANY_STREAM = ("--name", "--delay", "--expire", "--silence", "--until")


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


def open_source(source: Source, /) -> Any:
    """The stream that is meant. Raises SettingError for options that make no sense, and where there is no target."""
    stream = open_rows(source)
    if source.labels is not None:
        return rt.streams.join(stream, _labels(source), classes=() if source.silence is None else (source.silence,))
    return stream


def open_rows(source: Source, /) -> Any:
    """The rows alone, without what may come apart from them."""
    if source.name in DATASETS and not Path(source.name).exists():
        given = [_option(part.name) for part in fields(source) if getattr(source, part.name) != part.default]
        if others := [option for option in given if option not in _OF_ANY_STREAM]:
            raise SettingError(f"{source.name} brings its own columns; leave out {', '.join(others)}")
        if source.delay is not None and delay_of(source.delay) is None:
            raise SettingError(
                f"--delay {source.delay} makes no sense; expected rows (500) or a time (90s, 15m, 2h, 3d)"
            )
        return find(DATASETS, source.name, "dataset")()
    _check_name(source.name)
    kind = source.format or format_of(source.name)
    delay_column = source.delay if delay_of(source.delay) is None else None
    common: dict[str, Any] = {
        "target": source.target if source.labels is None else None,
        "time": source.time,
        "label_time": delay_column,
        "key": source.key,
        "id": source.id,
        "weight": source.weight,
        "ignore": source.ignore,
        "kinds": {
            name: said for name, said in map(_kind, source.kinds) if source.labels is None or name != source.target
        },
        "task": source.task,
        "on_bad_rows": _policy(source.on_bad_rows, source.bad_at_most),
        "block": BLOCK,
    }
    if kind == "csv":
        common |= {"delimiter": source.delimiter, "missing": source.missing, "names": source.names or None}
    elif source.delimiter or source.missing or source.names:
        raise SettingError(f"--delimiter, --missing and --names are about CSV files; {source.name} is {kind}")
    stream = _reader(kind)(source.name, **common)
    if source.target is None:
        columns = ", ".join(f"{column.name} ({column.kind.value})" for column in stream.schema().columns)
        raise SettingError(f"which column is to be predicted? {source.name} has {columns}; name one with --target")
    return stream


def _check_name(name: str) -> None:
    """Whether it may be a file, before its format is told by it."""
    if Path(name).is_dir():
        raise SettingError(f"{name} is a folder; name its files, in quotes: '{name.rstrip('/')}/*.csv'")
    near = get_close_matches(name, DATASETS, n=1)
    if near and not Path(name).suffix and not Path(name).exists():
        raise SettingError(f"there is no file {name}; did you mean {near[0]!r}, which comes with retain?")


def _option(field: str) -> str:
    return "--kind" if field == "kinds" else f"--{field.replace('_', '-')}"


def expire_of(source: Source, /) -> float | Silence | None:
    """After how long a label is given up, and what that means."""
    if source.expire is None:
        if source.silence is not None or source.until is not None:
            raise SettingError("--silence and --until need --expire: after how long a row that nobody reports is one")
        return None
    after = _span("--expire", source.expire)
    delay = delay_of(source.delay)
    if source.expire.isdigit() != (delay is not None and delay.rows is not None):
        raise SettingError(f"--expire {source.expire}: expected rows where --delay is in rows, else a time such as 3d")
    if source.silence is not None:
        until = None if source.until is None else _span("--until", source.until)
        return Silence(after=after, means=source.silence, until=until)
    if source.until is not None:
        raise SettingError("--until says how long labels correct --silence; give that too")
    return after


def _span(option: str, text: str) -> float:
    """Seconds, or rows."""
    delay = delay_of(text)
    if delay is None:
        raise SettingError(f"{option} {text} makes no sense; expected a time (90s, 15m, 2h, 3d) or a number of rows")
    return float(delay.seconds if delay.seconds is not None else delay.rows or 0)


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
    kind = source.format or format_of(source.labels)
    more = {"delimiter": source.delimiter, "missing": source.missing} if kind == "csv" else {}
    policy = source.on_bad_rows
    bad = _policy(f"{policy}.labels" if policy.startswith("quarantine ") else policy, source.bad_at_most)
    kinds = {name: said for name, said in map(_kind, source.kinds) if name in roles.values()}
    return _reader(kind)(source.labels, **roles, **more, kinds=kinds, task=source.task, on_bad_rows=bad, block=BLOCK)


def format_of(name: str, /) -> str:
    """The format that a file's name tells of."""
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


def delay_of(text: str | None, /) -> Delay | None:
    """A number of rows, a time span, or None for the name of a column (and for no delay at all)."""
    if text is None:
        return None
    if text.isdigit():
        return Delay(rows=int(text))
    seconds = seconds_of(text)
    return None if seconds is None else Delay(seconds=seconds)


def seconds_of(text: str, /) -> float | None:
    """A time span in seconds (90s, 15m, 2h, 3d); None where the text is none."""
    span = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    return float(span[1]) * _UNITS[span[2]] if span else None
