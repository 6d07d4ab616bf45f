"""Missing values filled with what is known of their column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from retain import buffers
from retain.compose import Composable
from retain.core import CSR, Array, Batch, Features, State
from retain.errors import PoisonError, SchemaError, SettingError
from retain.features.columns import (
    NULL,
    NUMBER,
    append,
    check_array,
    kind_of,
    number_arrays,
    numbers,
    places,
    refuse_kind,
)

__all__ = ["Constant", "Impute", "LastValue", "RunningMean"]

_READER = "Impute"


@final
@dataclass(frozen=True, slots=True)
class RunningMean:
    """Fill with the mean of the values seen before; 0 while there are none."""


@final
@dataclass(frozen=True, slots=True)
class LastValue:
    """Fill with the last value seen before; 0 while there is none."""


@final
@dataclass(frozen=True, slots=True)
class Constant:
    """Always fill with the same value."""

    value: float = 0.0


_NOTHING, _MEAN, _LAST = range(3)  # what a row changes
Strategy: TypeAlias = RunningMean | LastValue | Constant


@njit(cache=True, nogil=True)
def _fill(x_ND: Array, count_D: Array, fill_D: Array, mode: int, out_ND: Array) -> None:  # pragma: no cover - compiled
    """Fill NaN with what is known; then take the row in, as the mode says."""
    for i in range(x_ND.shape[0]):
        for j in range(x_ND.shape[1]):
            x = x_ND[i, j]
            if x != x:
                out_ND[i, j] = fill_D[j]
                continue
            out_ND[i, j] = x
            if mode == _LAST:
                fill_D[j] = x
            elif mode == _MEAN:
                count_D[j] += 1.0
                fill_D[j] += (x - fill_D[j]) / count_D[j]


@final
class Impute(Composable):
    """Fills missing numbers: nulls of a table, NaN in a bare array.

    Args:
        columns: names of the columns of a table to fill; none means every column of numbers. Of a bare array every
            column is filled. Text is left alone: to `OneHot` a missing category is a category.
        strategy: what to fill with: `RunningMean()`, `LastValue()` or `Constant(value)`, from
            `retain.features.impute`. Each is what was known before the row.
        indicator: also say what was missing: a column `size_missing` of 0 and 1 for each column filled, on the right.

    Filled columns are float64. Memory is two numbers per column.

    Raises:
        PoisonError: infinite values, NaN in a table that is not a null, a width that changed, text where numbers were.
        SchemaError: sparse rows (what is absent there is 0), or a named column that is not there.

    >>> import numpy as np, retain as rt
    >>> rows = np.array([[1.0], [np.nan], [3.0], [np.nan]])
    >>> rt.Impute(indicator=True).learn(rt.Batch(rows)).x.tolist()
    [[1.0, 0.0], [1.0, 1.0], [3.0, 0.0], [2.0, 1.0]]
    """

    def __init__(self, *columns: str, strategy: Strategy | None = None, indicator: bool = False) -> None:
        self.columns = columns
        self.strategy = RunningMean() if strategy is None else strategy
        self.indicator = indicator
        if isinstance(self.strategy, Constant) and not np.isfinite(self.strategy.value):
            raise SettingError(f"Constant({self.strategy.value}) cannot be learnt from; expected a finite number")
        self._start = self.strategy.value if isinstance(self.strategy, Constant) else 0.0
        self._names: list[str] | None = None  # of the filled columns of tables; None: arrays, or nothing yet
        self._count: npt.NDArray[np.float64] | None = None  # (d,)
        self._known = np.zeros(0)  # (d,) what missing values are filled with

    def learn(self, batch: Batch, /) -> Batch:
        return replace(batch, x=self._impute(batch.x, learning=True))

    def apply(self, x: Features, /) -> Features:
        return self._impute(x, learning=False)

    def state_dict(self) -> State:
        return {
            "names": None if self._names is None else list(self._names),
            "count": None if self._count is None else self._count.copy(),
            "known": self._known.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._names = None if state["names"] is None else list(state["names"])
        self._count = None if state["count"] is None else np.array(state["count"])
        self._known = np.array(state["known"])

    def _impute(self, x: Features, *, learning: bool) -> Features:
        if isinstance(x, np.ndarray):
            return self._impute_array(x, learning=learning)
        if isinstance(x, CSR):
            raise SchemaError("Impute got sparse rows; expected dense ones or a table: fill before encoding")
        return self._impute_table(x, learning=learning)

    def _run(self, rows: Array, count: Array, known: Array, *, learning: bool) -> npt.NDArray[np.float64]:
        out = np.empty(rows.shape)
        mode = _LAST if isinstance(self.strategy, LastValue) else _MEAN
        _fill(rows, count, known, mode if learning and not isinstance(self.strategy, Constant) else _NOTHING, out)
        return out

    def _impute_array(self, x: Array, *, learning: bool) -> Array:
        if self.columns or self._names is not None:
            raise SchemaError(f"Impute got an array of shape {x.shape}; expected a table with named columns, as before")
        count, known = self._count, self._known
        rows = check_array(x, reader=_READER, width=None if count is None else len(count), missing=True)
        if count is None:
            count, known = np.zeros(rows.shape[1]), np.full(rows.shape[1], self._start)
            if learning:
                self._count, self._known = count, known
        out = self._run(rows, count, known, learning=learning)
        if self.indicator:
            out = np.column_stack([out, np.isnan(rows)])
        return out.astype(x.dtype if x.dtype.kind == "f" else np.float32, copy=False)

    def _impute_table(self, x: pa.RecordBatch, *, learning: bool) -> pa.RecordBatch:
        if self._names is None and self._count is not None:
            raise PoisonError("Impute got a table after bare arrays; expected arrays of the same width: start anew")
        where, slot, names = self._look(x)
        rows, _ = numbers(x, where, reader=_READER)
        rows.flags.writeable = False
        added = [f"{x.schema.names[i]}_missing" for i in where] if self.indicator else []
        flags = [buffers.column(np.isnan(rows[:, j]).astype(np.float32)) for j in range(len(added))]
        wide = append(x, added, flags, reader=_READER)
        grown = len(names) - len(self._known)
        count = np.concatenate([np.zeros(0) if self._count is None else self._count, np.zeros(grown)])
        known = np.concatenate([self._known, np.full(grown, self._start)])
        mine = count[slot], known[slot]
        out = self._run(rows, *mine, learning=learning)
        if learning:
            count[slot], known[slot] = mine
            self._names, self._count, self._known = names, count, known
        columns: list[Any] = list(wide.columns)
        fields: list[Any] = list(wide.schema)
        for i, filled in zip(where, number_arrays(out), strict=True):
            columns[i] = filled
            fields[i] = pa.field(fields[i].name, pa.float64())
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))

    def _look(self, x: pa.RecordBatch) -> tuple[list[int], npt.NDArray[np.int64], list[str]]:
        """Which columns are filled, where what is known of them lies, and the names of all that are known then."""
        known = {name: i for i, name in enumerate(self._names or ())}
        if self.columns:
            where = places(x, self.columns, reader=_READER)
        else:
            where = [i for i, field in enumerate(x.schema) if kind_of(field.type) == NUMBER or field.name in known]
        for i in where:
            if kind_of(x.schema.field(i).type) not in (NUMBER, NULL):
                refuse_kind(x, i, reader=_READER, expected="numbers as before" if not self.columns else "numbers")
        slot = np.array([known.setdefault(x.schema.names[i], len(known)) for i in where], dtype=np.int64)
        return where, slot, list(known)
