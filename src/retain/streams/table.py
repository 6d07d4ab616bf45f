"""Tables in memory: pandas, polars, Arrow, or a mapping of columns, without copying where their form allows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast, final

import pyarrow as pa

from retain.core import Kind, State
from retain.errors import SchemaError, SettingError, SourceError
from retain.streams.bad_rows import BadRows, Stop
from retain.streams.infer import HEAD_ROWS, Head, Layout, Roles, check_columns
from retain.streams.tabular import BLOCK, Piece, Tabular
from retain.streams.typed import PIECE, check_names, typed_piece

__all__ = ["table"]


def table(
    data: Any,
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
    """A stream over the rows of a pandas or polars DataFrame, an Arrow table or record batch, or a mapping of columns.

    >>> stream = table({"size": [1.0, 2.0, 3.0], "colour": ["red", "blue", None], "y": [0, 1, 0]}, target="y", block=2)
    >>> for batch in stream:
    ...     print(batch.x.to_pydict(), batch.y)
    {'size': [1.0, 2.0], 'colour': ['red', 'blue']} [0 1]
    {'size': [3.0], 'colour': [None]} [0]

    The index of a pandas DataFrame is left out: reset it to have it as a column. Arguments and errors are those of
    `csv`, types as for `parquet`.
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
    return Tabular(_Reader(_arrow_table(data), roles), roles, block=block, on_bad_rows=on_bad_rows)


def _arrow_table(data: Any) -> pa.Table:
    """Any table as an Arrow table. Libraries that were not imported cannot have made it, so none is imported here."""
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if isinstance(data, pa.Table):
        found = data
    elif isinstance(data, pa.RecordBatch):
        found = pa.Table.from_batches([data])
    elif pandas is not None and isinstance(data, pandas.DataFrame):
        names = [str(name) for name in data.columns]
        check_names(names, "the table")
        try:
            found = pa.Table.from_pandas(data, preserve_index=False).rename_columns(names)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"the table has a column of mixed types ({error}); make it numbers or strings") from error
    elif polars is not None and isinstance(data, polars.DataFrame):
        found = data.to_arrow()
    elif isinstance(data, Mapping):
        try:
            found = pa.table(dict(cast("Mapping[str, Any]", data)))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise SchemaError(
                f"the columns do not make a table ({error}); give them one type and one length"
            ) from error
    else:
        kind = f"{type(data).__module__}.{type(data).__qualname__}"
        raise SettingError(
            f"a {kind} is no table; expected a pandas or polars DataFrame, an Arrow table or a mapping of columns "
            "(for arrays see streams.arrays)"
        )
    check_names(found.column_names, "the table")
    return found


@final
class _Reader:
    def __init__(self, data: pa.Table, roles: Roles) -> None:
        self._data, self._ignore = data, roles.ignore

    def head(self) -> Head:
        if not self._data.num_rows:
            raise SourceError("the table has no rows; expected at least one")
        return Head(self._data.slice(0, HEAD_ROWS), "the table", text=False)

    def columns(self) -> Sequence[str]:
        return self._data.column_names

    def pieces(self, layout: Layout, place: State | None, /) -> Iterator[Piece]:
        check_columns("the table", self._data.column_names, layout, self._ignore)
        row = 0 if place is None else int(place["row"])
        if row > self._data.num_rows:
            raise SourceError(
                f"the position is at row {row} of a table with {self._data.num_rows}; give the same table"
            )
        for rows in self._data.slice(row).select(list(layout.types)).to_batches(max_chunksize=PIECE):
            yield typed_piece(
                rows, layout, file="the table", row=row, place=lambda number, row=row: {"row": row + number}
            )
            row += rows.num_rows
