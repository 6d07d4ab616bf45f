"""A stream over named columns: pieces of a source cut into blocks of rows, bad rows refused, positions kept.

A reader (one for each format) yields pieces as large as suit it; blocks are cut here, so that their bounds depend on
nothing but the rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, final

import numpy as np
import numpy.typing as npt

from retain import buffers
from retain.blocks import concat_batches, take_batch
from retain.core import Batch, Kind, Schema, State
from retain.errors import DataError, SchemaError, SettingError, SourceError
from retain.streams.bad_rows import BadRows, Quarantine, Refused, Skip, Stop, breaks
from retain.streams.columns import Coder, Fault, screen
from retain.streams.files import STDIN
from retain.streams.infer import Head, Layout, Roles, check_ignored, infer
from retain.streams.quarantine import Ledger, open_ledger

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BLOCK", "Origin", "Piece", "Reader", "Tabular", "Texts", "picked"]

BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row stands in its source, for messages."""

    file: str
    line: int
    text: str
    unit: str = "line"


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that follow one another in a source, stored as the layout says.

    Rows of a piece are numbered from 0, refused ones too; `numbers` holds the numbers of the m rows in `rows`.
    """

    rows: pa.RecordBatch  # (m, columns)
    numbers: npt.NDArray[np.int64]  # (m,)
    refused: Sequence[Refused]  # rows that did not parse, by number
    total: int  # rows in all: m + refused
    place: Callable[[int], State]  # where row `number` is, from which `pieces` goes on; total: just after the piece
    origin: Callable[[int], Origin]
    start: int = 0  # rows below this number were read before


class Reader(Protocol):
    """Reads one format."""

    def head(self) -> Head:
        """The first rows; the same at every call."""
        ...

    def columns(self) -> Sequence[str] | None:
        """Names of the columns of all files; None where any row may bring a new one."""
        ...

    def pieces(self, layout: Layout, place: State | None, /) -> Iterator[Piece]:
        """All rows from a place on. Raises SourceError and SchemaError after the rows before the trouble."""
        ...


class Texts(Protocol):
    """Reads rows of a text format that stand alone, as in a quarantine file."""

    def header(self) -> bytes:
        """What a file of such rows begins with."""
        ...

    def retry(self, texts: Sequence[str], file: str, layout: Layout, /) -> tuple[Piece, list[bytes]]:
        """The rows in `texts`, which come from `file`, numbered as they are given; and each as a line of a new file."""
        ...


@final
class Tabular:
    """A stream over the named columns of files or tables. Made by `csv`, `parquet`, `jsonl`, `arrow` and `table`."""

    def __init__(
        self, reader: Reader, roles: Roles, /, *, block: int, on_bad_rows: BadRows, texts: Texts | None = None
    ) -> None:
        if block < 1:
            raise SettingError(f"block={block}; expected at least one row in a block")
        self._reader = reader
        self._roles = roles
        self._block = block
        self._policy = on_bad_rows
        self._texts = texts
        self._layout: Layout | None = None

    def __iter__(self) -> Iterator[Batch]:
        for batch, _ in self.read():
            yield batch

    def schema(self) -> Schema:
        """Columns and their kinds, and the classes of the target, as the head of the source shows them.

        Raises SchemaError where a column that was named is not there; it lists those that are.
        """
        if self._layout is None:
            head = self._reader.head()
            check_ignored(self._roles.ignore, head, self._reader.columns)
            self._layout = infer(head, self._roles)
        return self._layout.schema

    def read(self, position: State | None = None, /) -> Iterator[tuple[Batch, State]]:
        """Blocks of exactly `block` rows (the last may be shorter), each with the position after it.

        A position holds `rows` and `quarantined` (accepted and refused so far), `schema`, and where to go on. Refused
        rows that follow a block's last row belong to that block.
        """
        layout = self._begin() if position is None else self._resumed(position)
        ledger = open_ledger(self._policy, noted=None if position is None else int(position["noted"]))
        try:
            yield from _Cutter(layout, ledger, position, self._block, self._policy).cut(self._reader)
        finally:
            ledger.close()

    def again(self) -> Tabular:
        """The same rows, for a second reader beside the first: refused rows are noted by the first alone.

        Raises SettingError for standard input, which can be read once.
        """
        if self._reader.head().source == STDIN:
            raise SettingError("standard input cannot be read a second time; give a file where history is needed")
        policy = Skip(self._policy.most) if isinstance(self._policy, Quarantine) else self._policy
        return Tabular(self._reader, self._roles, block=self._block, on_bad_rows=policy, texts=self._texts)

    def header(self) -> bytes:
        """What a file of rows of this source begins with. Raises SettingError where rows are no text."""
        return self._text().header()

    def retry(self, texts: Sequence[str], /, *, file: str) -> list[bytes | str]:
        """Read rows again that were refused: of each, the line for a file of its own, or why it is refused still.

        Args:
            texts: the rows, as a quarantine file holds them, mended or not.
            file: the one of the source's files that they come from.

        Raises SettingError where rows are no text.
        """
        layout = self._begin()
        piece, lines = self._text().retry(texts, file, layout)
        _, _, refused = _screened(piece, layout)
        why = {row.number: row.reason for row in refused}
        return [why.get(number, line) for number, line in enumerate(lines)]

    def _text(self) -> Texts:
        if self._texts is None:
            raise SettingError(
                f"{self._reader.head().source} holds no rows of text; only those of CSV and JSON Lines can be mended "
                "one by one: correct the source, and read it anew"
            )
        return self._texts

    def _begin(self) -> Layout:
        self.schema()
        layout = self._layout
        if layout is None:  # for the type checker: schema() has just set it
            raise AssertionError
        source = self._reader.head().source if layout.empty or not _features(layout.schema) else ""
        if layout.empty:
            name = layout.empty[0]
            raise SchemaError(
                f"column {name!r} of {source} has no value in the first rows; expected some: say what it holds with "
                f"kinds={{{name!r}: 'numeric'}}, or leave it out with ignore=[{name!r}]"
            )
        if not _features(layout.schema):
            raise SchemaError(
                f"{source} has no column left to learn from; expected some besides those that have a role"
            )
        return layout

    def _resumed(self, position: State) -> Layout:
        if not {"schema", "types", "place", "noted"} <= position.keys():
            raise SettingError(f"this is no position of files or tables (it holds {', '.join(position)}); start anew")
        layout = Layout.from_state(position)
        for role in ("target", "time", "label_time", "key", "id", "weight"):
            was, now = getattr(layout.schema, role), getattr(self._roles, role)
            if was != now:
                raise SettingError(
                    f"the position was taken with {role}={was!r}, this stream has {now!r}; give the same"
                )
        return layout


def _features(schema: Schema) -> tuple[str, ...]:
    return tuple(column.name for column in schema.columns if column.kind is not Kind.IGNORED)


@final
class _Cutter:
    """One reading: what is counted, and the rows that wait for their block to be full."""

    def __init__(self, layout: Layout, ledger: Ledger, position: State | None, block: int, policy: BadRows) -> None:
        self._layout, self._ledger, self._block = layout, ledger, block
        self._stops = isinstance(policy, Stop)
        self._policy, self._most = policy, None if isinstance(policy, Stop) else policy.most
        self._coder = Coder(layout)
        self._schema = layout.schema
        self._place: State | None = None if position is None else position["place"]
        self._rows = 0 if position is None else int(position["rows"])
        self._refused = 0 if position is None else int(position["quarantined"])
        self._first: Refused | None = None
        self._parts: list[Batch] = []
        self._waiting = 0  # rows in _parts
        self._states: dict[int, dict[str, Any]] = {}

    def cut(self, reader: Reader) -> Iterator[tuple[Batch, State]]:
        pieces = reader.pieces(self._layout, self._place)
        while True:
            try:
                piece = next(pieces, None)
            except DataError:
                # What was whole before the trouble is handed out first, so that nothing of it is lost.
                if self._waiting == self._block:
                    yield self._emit()
                raise
            if piece is None:
                break
            yield from self._piece(piece)
        if self._waiting:
            yield self._emit()
        elif not self._rows:
            raise self._nothing()

    def _piece(self, piece: Piece) -> Iterator[tuple[Batch, State]]:
        rows, numbers, refused = _screened(piece, self._layout)
        start = int(np.searchsorted(numbers, piece.start))
        refused = [row for row in refused if row.number >= piece.start]
        end = len(numbers)
        stop = refused[0] if refused and self._stops else None
        if stop is not None:
            end = int(np.searchsorted(numbers, stop.number))
        batch = self._coder.batch(rows.slice(start, end - start))
        refused_at = [row.number for row in refused]
        at = noted = 0  # of the rows in batch, and of those refused
        while at < len(batch):
            number = int(numbers[start + at])
            if self._waiting == self._block:
                # Only now is it known which refused rows belong to the block: all before the next good row.
                until = bisect_left(refused_at, number)
                self._note(refused[noted:until])
                noted = until
                self._place = piece.place(number)
                yield self._emit()
            taken = min(self._block - self._waiting, len(batch) - at)
            self._parts.append(take_batch(batch, slice(at, at + taken)))
            self._waiting += taken
            at += taken
        if stop is not None:
            if self._waiting == self._block:
                self._place = piece.place(stop.number)
                yield self._emit()
            raise stop.error()
        self._note(refused[noted:])
        self._place = piece.place(piece.total)

    def _note(self, refused: Sequence[Refused]) -> None:
        if refused:
            self._ledger.note(refused)
            self._refused += len(refused)
            self._first = self._first or refused[0]
            read = self._rows + self._waiting + self._refused
            if breaks(self._policy, self._refused, read):
                share = f"{100 * (self._most or 0.0):g} %"
                raise SourceError(
                    f"{self._refused:,} of the first {read:,} rows were bad, more than the {share} that are borne; the "
                    f"last, {refused[-1].file}, {refused[-1].unit} {refused[-1].line}: "
                    f"{refused[-1].reason}; correct the source, or bear more with most="
                )

    def _emit(self) -> tuple[Batch, State]:
        batch = concat_batches(self._parts)
        self._parts, self._waiting = [], 0
        self._schema = self._coder.schema(batch.y, self._schema)
        self._rows += len(batch)
        return replace(batch, schema=self._schema), self._position()

    def _position(self) -> dict[str, Any]:
        classes = len(self._schema.classes or ())
        if classes not in self._states:
            self._states = {classes: replace(self._layout, schema=self._schema).to_state()}
        return {
            **self._states[classes],
            "rows": self._rows,
            "quarantined": self._refused,
            "noted": self._ledger.noted(),
            "place": self._place,
        }

    def _nothing(self) -> DataError:
        if self._first is not None:
            return SourceError(
                f"none of the {self._refused} rows can be used; the first, {self._first.file}, {self._first.unit} "
                f"{self._first.line}: {self._first.reason}; correct the source"
            )
        return SourceError("the source has no rows; expected at least one")


def picked(piece: Piece, numbers: Sequence[int], refused: Sequence[Refused], texts: Sequence[str], /) -> Piece:
    """A piece of some of the rows in `texts`, numbered as these are, with those that did not get so far."""

    def origin(number: int) -> Origin:
        return Origin("", 0, texts[number])

    rows = [replace(row, number=numbers[row.number]) for row in piece.refused]
    return replace(
        piece,
        numbers=np.asarray(numbers, dtype=np.int64)[piece.numbers],
        refused=sorted([*refused, *rows], key=lambda row: row.number),
        total=len(texts),
        origin=origin,
    )


def _screened(piece: Piece, layout: Layout) -> tuple[pa.RecordBatch, npt.NDArray[np.int64], list[Refused]]:
    """The rows of a piece that can be used, their numbers, and all that are refused, by number."""
    faults = screen(piece.rows, layout)
    if not faults:
        return piece.rows, piece.numbers, list(piece.refused)
    refused = [*piece.refused, *(refuse(int(piece.numbers[f.row]), f, piece.origin) for f in faults)]
    keep = np.ones(len(piece.numbers), dtype=bool)
    keep[[f.row for f in faults]] = False
    return piece.rows.filter(buffers.column(keep)), piece.numbers[keep], sorted(refused, key=lambda row: row.number)


def refuse(number: int, fault: Fault, origin: Callable[[int], Origin], /) -> Refused:
    """A row with a faulty value."""
    where = origin(number)
    return Refused(
        number, where.file, where.line, fault.reason, where.text, poison=True, cure=fault.cure, unit=where.unit
    )
