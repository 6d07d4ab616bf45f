"""Some of the columns, by name or by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, final

import numpy as np

from retain.compose import Composable
from retain.core import CSR, Array, Batch, Features, State
from retain.errors import PoisonError, SchemaError, SettingError
from retain.features.columns import places

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Select"]

_READER = "Select"


@final
class Select(Composable):
    """Keeps the given columns, in the given order, or drops some and keeps the rest.

    Args:
        columns: names in a table, numbers in a bare array.
        drop: the columns to leave out, instead.

    Raises:
        SettingError: nothing to keep, or both columns and `drop`.
        SchemaError: a column that is not there; numbers for a table, names for an array; sparse rows.

    >>> import numpy as np, pyarrow as pa, retain as rt
    >>> table = pa.record_batch({"a": [1], "b": [2], "c": [3]})
    >>> rt.Select("c", "a").apply(table).schema.names, rt.Select(drop=("a",)).apply(table).schema.names
    (['c', 'a'], ['b', 'c'])
    >>> rt.Select(2, 0).apply(np.array([[1.0, 2.0, 3.0]]))
    array([[3., 1.]])
    """

    def __init__(self, *columns: str | int, drop: str | int | Sequence[str | int] = ()) -> None:
        self.columns = columns
        self.drop = (drop,) if isinstance(drop, (str, int)) else tuple(drop)
        if bool(columns) == bool(self.drop):
            raise SettingError("Select needs columns to keep or columns to drop; expected one of the two")

    def learn(self, batch: Batch, /) -> Batch:
        x = self.apply(batch.x)
        if batch.schema is None or isinstance(x, (np.ndarray, CSR)):
            return replace(batch, x=x)
        columns = {column.name: column for column in batch.schema.columns}
        kept = tuple(columns[name] for name in x.schema.names if name in columns)
        return replace(batch, x=x, schema=replace(batch.schema, columns=kept))

    def apply(self, x: Features, /) -> Features:
        if isinstance(x, CSR):
            raise SchemaError("Select got sparse rows; expected a table or an array: select before encoding")
        if isinstance(x, np.ndarray) and x.ndim != 2:
            raise PoisonError(f"Select got input of shape {x.shape}; expected (rows, features): reshape it")
        named = self._places(x, self.columns or self.drop)
        if self.drop:
            width = x.shape[1] if isinstance(x, np.ndarray) else x.num_columns
            named = [i for i in range(width) if i not in named]
            if not named:
                raise SchemaError(f"Select would drop all {width} columns; expected at least one to stay")
        return np.ascontiguousarray(x[:, named]) if isinstance(x, np.ndarray) else x.select(named)

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State, /) -> None:
        """There is nothing to load."""

    def _places(self, x: Array | pa.RecordBatch, columns: Sequence[str | int]) -> list[int]:
        """Where the columns are."""
        names = [column for column in columns if isinstance(column, str)]
        numbers = [column for column in columns if isinstance(column, int)]
        if not isinstance(x, np.ndarray):
            if numbers:
                raise SchemaError(
                    f"Select of the columns {columns!r} got a table; expected names: {', '.join(x.schema.names)}"
                )
            return places(x, names, reader=_READER)
        if names or not all(0 <= number < x.shape[1] for number in numbers):
            raise SchemaError(
                f"Select of the columns {columns!r} got an array; expected numbers, 0 to {x.shape[1] - 1}"
            )
        return numbers
