"""Parquet files, read row group by row group; a position is a row of a row group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, final

import pyarrow as pa

from retain.core import Kind, State
from retain.errors import SettingError, SourceError
from retain.streams import files
from retain.streams.bad_rows import BadRows, Stop
from retain.streams.files import STDIN, Fingerprint, Paths
from retain.streams.infer import HEAD_ROWS, Head, Layout, Roles, check_columns
from retain.streams.tabular import BLOCK, Piece, Tabular
from retain.streams.typed import PIECE, check_names, typed_piece

__all__ = ["parquet"]

_BUFFER = 1 << 20  # bytes of a column read at a time: without it, Arrow holds a whole row group (measured: 140 MB more)


def parquet(
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
    """A stream over Parquet files, in the order of their rows; columns that have no part in it are not read.

    >>> import tempfile, pathlib, pyarrow as pa, pyarrow.parquet as pq
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "house.parquet"
    >>> pq.write_table(pa.table({"rooms": [3, 4, None], "price": [210.5, 305.0, None]}), file)
    >>> for batch in parquet(file, target="price"):
    ...     print(batch.x.to_pydict(), batch.y)
    {'rooms': [3.0, 4.0, None]} [210.5 305.  nan]

    Numbers come out as float64 (float32 where stored so), booleans as 0 and 1, times as microseconds. A number that is
    infinite or beyond float32 makes its row a bad one. Arguments and errors are those of `csv`.
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
        raise SettingError("Parquet cannot be read from standard input, as it is read from its end; give a file")
    return Tabular(_Reader(names, roles), roles, block=block, on_bad_rows=on_bad_rows)


@final
class _Reader:
    def __init__(self, names: Sequence[str], roles: Roles) -> None:
        self._names, self._ignore = names, roles.ignore
        self._head: Head | None = None

    def head(self) -> Head:
        if self._head is None:
            for name in self._names:
                with _open(name) as file:
                    rows = next(_batches(file, name, range(file.num_row_groups), HEAD_ROWS, None), None)
                if rows is not None and rows.num_rows:
                    self._head = Head(pa.Table.from_batches([rows]), name, text=False)
                    return self._head
            raise SourceError(f"{self._names[0]} has no rows; expected at least one")
        return self._head

    def columns(self) -> Sequence[str]:
        found = dict.fromkeys(self.head().table.column_names)
        for name in self._names:
            with _open(name) as file:
                found |= dict.fromkeys(file.schema_arrow.names)
        return list(found)

    def pieces(self, layout: Layout, place: State | None, /) -> Iterator[Piece]:
        for number in range(files.resume_at(self._names, place), len(self._names)):
            name = self._names[number]
            with _open(name) as file:
                check_columns(name, file.schema_arrow.names, layout, self._ignore)
                start = {"file": number, "fingerprint": Fingerprint.of(name).to_state(), "group": 0, "row": 0}
                yield from _pieces(file, name, layout, start if place is None else place)
            place = None


def _pieces(file: Any, name: str, layout: Layout, place: State) -> Iterator[Piece]:
    """The rows of one file, from a place in it on."""
    first, skip = int(place["group"]), int(place["row"])
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    for group in range(first, len(sizes)):
        before, at = sum(sizes[:group]), 0
        for rows in _batches(file, name, [group], PIECE, list(layout.types)):
            if at + rows.num_rows >= skip:
                here = partial(_place, place, group, at)
                yield typed_piece(rows, layout, file=name, row=before + at, place=here, start=max(skip - at, 0))
            at += rows.num_rows
        skip = 0


def _place(start: State, group: int, at: int, number: int) -> State:
    return {**start, "group": group, "row": at + number}


def _open(name: str) -> Any:
    from pyarrow import parquet as pq

    try:
        file = pq.ParquetFile(name, pre_buffer=False, buffer_size=_BUFFER)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"cannot read {name} as Parquet: {_line(error)}; expected a whole Parquet file") from error
    check_names(file.schema_arrow.names, name)
    return file


def _batches(
    file: Any, name: str, groups: Sequence[int], rows: int, columns: list[str] | None
) -> Iterator[pa.RecordBatch]:
    batches = file.iter_batches(batch_size=rows, row_groups=list(groups), columns=columns, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"{name} is damaged: {_line(error)}; copy the file again") from error
        if batch is None:
            return
        yield batch


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
