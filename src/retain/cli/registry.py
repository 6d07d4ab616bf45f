"""`retain versions`, `log`, `promote`, `rollback`, `diff`, `verify`: what was kept and decided, and the way back."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from retain.errors import StateError
from retain.registry import Entry, FileRegistry
from retain.registry.compare import changes, moved

__all__ = ["check", "compare", "list_versions", "opened", "promote", "roll_back", "tell_log"]

_SHORT = 12  # letters of a version's name that are shown


def list_versions(folder: Path, /, *, as_json: bool) -> None:
    """Print all versions, newest first."""
    listed = opened(folder).versions()
    if as_json:
        _dump([one._asdict() for one in reversed(listed)])
        return
    names = sorted({name for one in listed for name, value in one.report.items() if isinstance(value, float)})[:4]
    rows = [
        [
            one.name[:_SHORT],
            ", ".join(one.aliases) if one.kept else "(retired)",
            _when(one.time),
            one.who,
            *(_number(one.report.get(name)) for name in names),
            f"{one.size / 1e6:,.1f} MB",
            one.why,
        ]
        for one in reversed(listed)
    ]
    _show(["version", "alias", "since", "by", *names, "size", "why"], rows)


def tell_log(folder: Path, /, *, as_json: bool) -> None:
    """Print all that was done, oldest first."""
    entries = opened(folder).log()
    if as_json:
        _dump([entry._asdict() for entry in entries])
        return
    header = ["", "at row", "what", "version", "pairs", "gain", "why", "who", "when"]
    _show(header, [_line(entry) for entry in entries], right=("", "at row", "pairs"))


def promote(folder: Path, ref: str, /, *, alias: str, why: str) -> None:
    """Point an alias to a version."""
    registry = opened(folder)
    name = registry.name(ref)
    registry.point(alias, name, why=why)
    sys.stdout.write(f"{alias} is {name[:_SHORT]} now; back again: retain rollback {folder}\n")


def roll_back(folder: Path, /, *, alias: str, why: str) -> None:
    """Point an alias to the version before."""
    version = opened(folder).rollback(alias, why=why)
    sys.stdout.write(f"{alias} is {version.name[:_SHORT]} again\n")


def compare(folder: Path, first: str, second: str, /, *, as_json: bool) -> None:
    """Print how two versions differ: their reports, and the entries of their states."""
    registry = opened(folder)
    reports = moved(registry.version(first).report, registry.version(second).report)
    states = changes(registry.pull(first), registry.pull(second))
    if as_json:
        _dump(
            {"report": {name: list(pair) for name, pair in reports.items()}, "state": [asdict(one) for one in states]}
        )
        return
    if not reports and not states:
        sys.stdout.write("they are the same\n")
        return
    rows = [[f"report: {name}", _number(a), _number(b), _share(a, b)] for name, (a, b) in reports.items()]
    rows += [[one.where, one.before, one.after, _percent(one.distance)] for one in states]
    _show(["", first, second, "moved by"], rows)


def check(folder: Path, /) -> int:
    """Read every file and print what is wrong; return the exit code."""
    registry = opened(folder)
    problems = registry.verify()
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if problems:
        return 2
    kept = sum(one.kept for one in registry.versions())
    sys.stdout.write(
        f"all is well: {len(registry.log())} entries of the log and {kept} versions are as they were written\n"
    )
    return 0


def opened(folder: Path, /) -> FileRegistry:
    """The registry in a folder. Raises StateError where there is none."""
    if not (folder / "log.jsonl").exists():
        raise StateError(f"{folder} is no registry; expected the folder that a FileRegistry, or --registry, was given")
    return FileRegistry(folder)


def _line(entry: Entry) -> list[str]:
    """What was done as the cells of a table: on what evidence, where a gate decided."""
    about = entry.about
    decision: Mapping[str, Any] = about.get("decision") or {}
    row = decision.get("rows", about.get("report", {}).get("rows"))
    said = str(decision.get("why", ""))
    by = said.startswith("by ")  # one gate of several
    what = {
        "own": "a run begins",  # and nobody who ran before may write any more
        "push": "kept",
        "point": "promoted" if "decision" in decision else f"{about.get('alias')} is",
        "refused": f"refused {said}" if by else "refused",
        "retire": "deleted",
    }
    names = about.get("versions", [about["version"]] if "version" in about else [])
    return [
        str(entry.number),
        "" if row is None else f"{row:,}",
        what.get(entry.what, entry.what),
        ", ".join(name[:_SHORT] for name in names),
        f"{decision['pairs']:,}" if "pairs" in decision else "",
        _gain(decision.get("evidence", {}), said.removeprefix("by ").partition(":")[0] if by else ""),
        str(decision["rule"] if by else about.get("why", "")),
        entry.who,
        _when(entry.time),
    ]


def _gain(evidence: Mapping[str, float], gate: str) -> str:
    """By how much the candidate lost less in the mean, and the standard error; of several gates, what the first saw."""
    gains = (name for name in evidence if name.startswith(gate) and name.rpartition(".")[2] == "gain")
    name = next(gains, None)
    return "" if name is None else f"{evidence[name]:+.4f} ± {evidence[f'{name}_standard_error']:.4f}"


def _show(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> None:
    """Columns as wide as they need to be, in a terminal and through a pipe alike: names are there to be copied."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = zip(header, row, widths, strict=True)
        line = "  ".join(cell.rjust(width) if name in right else cell.ljust(width) for name, cell, width in cells)
        sys.stdout.write(line.rstrip() + "\n")


def _dump(value: Any) -> None:
    sys.stdout.write(json.dumps(value, default=str) + "\n")


def _when(time: float) -> str:
    return datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M")


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _share(a: Any, b: Any) -> str:
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (a, b)):
        return ""
    return f"{b - a:+,}" if isinstance(b - a, int) else f"{b - a:+.4f}"


def _percent(distance: float) -> str:
    return f"{100 * distance:.3g} %" if math.isfinite(distance) else ""
