"""Arrow IPC files and streams, plain, gzip or zstd; a position is a row of a record batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import final

import pyarrow as pa

from retain.core import Kind, State
from retain.errors import SettingError, SourceError
from retain.streams import files
from retain.streams.bad_rows import BadRows, Stop
from retain.streams.files import STDIN, Bytes, Fingerprint, Paths
from retain.streams.infer import HEAD_ROWS, Head, Layout, Roles, check_columns
from retain.streams.tabular import BLOCK, Piece, Tabular
from retain.streams.typed import PIECE, check_names, typed_piece

__all__ = ["arrow"]

_MAGIC = b"ARROW1"


def arrow(
    paths: Paths,
    /,
    *,
    target: str | None = None,
    time: str | None = None,
    label_time: str | None = None,
    key: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    weight: str | None = None,
    kinds: Mapping[str, Kind] | None = None,
    ignore: Sequence[str] = (),
    task: str | None = None,
    block: int = BLOCK,
    on_bad_rows: BadRows = Stop(),  # noqa: B008 - immutable
) -> Tabular:
    """A stream over Arrow IPC files, of either form (`.arrow`/`.feather` version 2, or the streaming format).

    >>> import tempfile, pathlib, pyarrow as pa
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "x.arrow"
    >>> rows = pa.record_batch({"x": [0.5, 1.5], "y": ["a", "b"]})
    >>> with pa.ipc.new_file(str(file), rows.schema) as writer:
    ...     writer.write_batch(rows)
    >>> for batch in arrow(file, target="y"):
    ...     print(batch.x.to_pydict(), batch.y)
    {'x': [0.5, 1.5]} [0 1]

    Arguments and errors are those of `csv`, types as for `parquet`.
    """
    roles = Roles.of(
        target=target,
        time=time,
        label_time=label_time,
        key=key,
        id=id,
        weight=weight,
        kinds=kinds,
        ignore=ignore,
        task=task,
    )
    names = files.resolve(paths)
    if STDIN in names:
        raise SettingError("Arrow data cannot be read from standard input yet; give a file")
    return Tabular(_Reader(names, roles), roles, block=block, on_bad_rows=on_bad_rows)


@final
class _Reader:
    def __init__(self, names: Sequence[str], roles: Roles) -> None:
        self._names, self._ignore = names, roles.ignore
        self._head: Head | None = None

    def head(self) -> Head:
        if self._head is None:
            for name in self._names:
                parts: list[pa.RecordBatch] = []
                for rows in _batches(name, 0):
                    parts.append(rows)
                    if sum(part.num_rows for part in parts) >= HEAD_ROWS:
                        break
                if any(part.num_rows for part in parts):
                    table = pa.Table.from_batches(parts).slice(0, HEAD_ROWS)
                    self._head = Head(table, name, text=False)
                    return self._head
            raise SourceError(f"{self._names[0]} has no rows; expected at least one")
        return self._head

    def columns(self) -> Sequence[str]:
        head = self.head()
        found = dict.fromkeys(head.table.column_names)
        for name in self._names:
            first = next(_batches(name, 0), None) if name != head.source else None
            found |= dict.fromkeys([] if first is None else first.schema.names)
        return list(found)

    def pieces(self, layout: Layout, place: State | None, /) -> Iterator[Piece]:
        for number in range(files.resume_at(self._names, place), len(self._names)):
            name = self._names[number]
            known = Fingerprint.of(name).to_state()
            first = 0 if place is None else int(place["batch"])
            skip = 0 if place is None else int(place["row"])
            row = 0 if place is None else int(place["before"])
            for i, rows in enumerate(_batches(name, first), start=first):
                if i == first:
                    check_columns(name, rows.schema.names, layout, self._ignore)
                for at in range(0, rows.num_rows, PIECE):
                    if at + PIECE >= skip:
                        base = {"file": number, "fingerprint": known, "batch": i, "before": row}
                        here = partial(_place, base, at)
                        part = rows.slice(at, PIECE)
                        yield typed_piece(part, layout, file=name, row=row + at, place=here, start=max(skip - at, 0))
                skip = 0
                row += rows.num_rows
            place = None


def _place(base: State, at: int, number: int) -> State:
    return {**base, "row": at + number}


def _batches(name: str, first: int) -> Iterator[pa.RecordBatch]:
    """The record batches of a file from number `first` on."""
    stream = files.open_bytes(name)
    try:
        # The file format is the streaming format behind eight bytes, with an index at its end that we do not need.
        start = stream.read(8)
        if not start:
            raise SourceError(f"{name} is empty; expected Arrow data")
        ahead = b"" if start.startswith(_MAGIC) else start
        source = pa.PythonFile(_Source(stream, ahead), mode="r")
        yield from _read(source, name, first)
    finally:
        stream.close()


def _read(source: pa.PythonFile, name: str, first: int) -> Iterator[pa.RecordBatch]:
    try:
        reader = pa.ipc.open_stream(source)
        check_names(reader.schema.names, name)
        i = 0
        while True:
            try:
                rows = reader.read_next_batch()
            except StopIteration:
                return
            if i >= first:
                yield rows
            i += 1
    except (pa.ArrowInvalid, OSError) as error:
        message = str(error).partition("\n")[0]
        raise SourceError(
            f"cannot read {name} as Arrow data: {message}; expected a whole file, copy it again"
        ) from error


@final
class _Source:
    """Decompressed bytes as the file object that Arrow reads."""

    def __init__(self, stream: Bytes, ahead: bytes) -> None:
        self._stream, self._ahead = stream, ahead
        self.closed = False

    def read(self, size: int = -1, /) -> bytes:
        ahead, self._ahead = self._ahead[:size], self._ahead[size:]
        return ahead + self._stream.read(size - len(ahead)) if len(ahead) < size else ahead

    def close(self) -> None:
        self.closed = True
