"""What was tried to make a model smaller, what each try cost and lost, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any, cast, final

from retain.compression.budget import Change, Judgement
from retain.compression.cost import Cost, Latency

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_CHANGES = ("change", "worst", "forgetting")

_WIDE = 120  # columns of a terminal from which all is told

__all__ = ["CompressionReport", "Rung"]


@final
@dataclass(frozen=True, slots=True)
class Rung:
    """One try: what the model would cost, what it would lose, and whether it was taken."""

    name: str
    fate: str  # parent, taken, outside, undecided, no gain, failed
    why: str = ""
    cost: Cost | None = None
    judgement: Judgement | None = None
    smaller: float = 1.0  # times, than the parent
    faster: Mapping[int, float] = field(default_factory=dict[int, float])  # times, by rows at once


@final
@dataclass(frozen=True, slots=True)
class CompressionReport:
    """The ladder, rung by rung; the first is the parent as it is. Prints as a table."""

    rungs: tuple[Rung, ...]
    rows: int  # that judged
    taught: int  # that steps could learn from
    classes: bool
    missed: Mapping[str, float] = field(default_factory=dict[str, float])  # asked for and not reached: {"faster": 2.0}

    @property
    def taken(self) -> Rung:
        """The rung that was taken last."""
        return [rung for rung in self.rungs if rung.fate in ("parent", "taken")][-1]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, as versions keep it; numbers of rows are words there, as in JSON."""
        return _worded(asdict(self))

    @staticmethod
    def from_dict(told: Mapping[str, Any], /) -> CompressionReport:
        """What `to_dict` put down."""
        rungs: Any = tuple(_rung(one) for one in told["rungs"])
        return CompressionReport(**{**told, "rungs": rungs})

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        what = "accuracy" if self.classes else "mean error"
        sizes = sorted({size for rung in self.rungs if rung.cost for size in rung.cost.latency})
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        titles = ["", "size", "smaller", *(f"{n} row{'s' * (n > 1)}" for n in sizes), what, "change"]
        titles += ["worst class", "forgotten", "answers in"] if options.max_width >= _WIDE else []
        for title in titles:
            grid.add_column(title, justify="right" if title else "left", no_wrap=True)
        for rung in self.rungs:
            style = None if rung.fate in ("parent", "taken") else "dim"
            grid.add_row(*_cells(rung, sizes)[: len(titles)], style=style)
        yield grid
        past = any(rung.judgement is not None and rung.judgement.forgetting is not None for rung in self.rungs)
        untold = "; no row tells its experience, so that forgetting is not judged" if self.classes and not past else ""
        yield Text(f"judged on {self.rows:,} rows, taught by {self.taught:,}{untold}", "dim")
        for rung in self.rungs:
            if rung.why:
                yield Text(f"{rung.name}: {rung.fate}, {rung.why}", "dim")
        for note in dict.fromkeys(note for rung in self.rungs if rung.judgement for note in rung.judgement.notes):
            yield Text(note, "dim")

    def __str__(self) -> str:
        from rich.console import Console

        out = StringIO()
        Console(file=out, width=160).print(self)
        return out.getvalue().rstrip()


def _rung(told: Any) -> Rung:
    rung: Any = dict(told)
    if rung["cost"] is not None:
        cost: Any = dict(rung["cost"])
        cost["latency"] = {int(n): Latency(**one) for n, one in cost["latency"].items()}
        rung["cost"] = Cost(**cost)
    if rung["judgement"] is not None:
        found: Any = dict(rung["judgement"])
        found |= {name: None if found[name] is None else Change(**found[name]) for name in _CHANGES}
        found |= {name: tuple(found[name]) for name in ("pooled", "notes")}
        rung["judgement"] = Judgement(**found)
    rung["faster"] = {int(n): times for n, times in rung["faster"].items()}
    return Rung(**rung)


def _cells(rung: Rung, sizes: list[int]) -> list[str]:
    mark = {"parent": " ", "taken": "✓"}.get(rung.fate, "✗")
    cost, found, first = rung.cost, rung.judgement, rung.fate == "parent"
    cells = [f"{mark} {rung.name}"]
    if cost is None or found is None:
        return cells
    cells += [
        _bytes(cost.bytes),
        f"{rung.smaller:.1f}x",
        *(f"{rung.faster[n]:.1f}x" if rung.faster else "" for n in sizes),
    ]
    cells += [f"{found.after:.4f}", "" if first else _change(found.change)]
    worst, past = (None, None) if first else (found.worst, found.forgetting)
    cells += ["" if worst is None else f"{-worst.mean:+.3f} ({_class(found.worst_class)})"]
    cells += ["" if past is None else f"{past.mean:+.4f}", ", ".join(_time(cost.latency[n].median) for n in sizes)]
    return cells


def _change(change: Change) -> str:
    return f"{-change.mean:+.4f} ±{(change.high - change.low) / 2:.4f}"


def _bytes(count: int) -> str:
    return f"{count / 1e3:,.1f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"


def _class(code: int | None) -> str:
    return "small" if code == -1 else f"{code}"


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:#.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def _worded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _worded(one) for name, one in cast("dict[Any, Any]", value).items()}
    return [_worded(one) for one in cast("list[Any]", value)] if isinstance(value, (list, tuple)) else value
