"""Running standardisation: the mean and variance of what came before, by Welford's recurrence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from retain.compose import Composable
from retain.core import CSR, Array, Batch, Features, State
from retain.errors import PoisonError, SchemaError
from retain.features.columns import NULL, NUMBER, check_array, kind_of, number_arrays, numbers, places, refuse_kind

__all__ = ["Scale"]

_READER = "Scale"
_MOST = np.float64(np.finfo(np.float32).max)


@njit(cache=True, nogil=True, inline="always")
def _standard(x: Any, mean: Any, square: Any, count: Any) -> Any:  # pragma: no cover - compiled
    """(x - mean) / deviation, 0 where nothing varies yet, and never beyond float32; a missing x stays missing."""
    z = (x - mean) / np.sqrt(square / count) if square > 0.0 else 0.0
    return min(max(z, -_MOST), _MOST) if x == x else np.nan


# Columns are told apart by choices between values, not by branches, and nothing looks for a division by zero: so the
# loops over columns become vector instructions, three times as fast.
@njit(cache=True, nogil=True, error_model="numpy")
def _learn(
    x_ND: Array, count_D: Array, mean_D: Array, square_D: Array, out_ND: Array
) -> None:  # pragma: no cover - compiled
    """Standardise row after row, taking each in after it: Welford 1962. NaN marks a missing value and stays."""
    for i in range(x_ND.shape[0]):
        x_D, out_D = x_ND[i], out_ND[i]
        for j in range(len(x_D)):
            x = x_D[j]
            here = x == x
            out_D[j] = _standard(x, mean_D[j], square_D[j], count_D[j])
            count = count_D[j] + 1.0
            delta = x - mean_D[j]
            mean = mean_D[j] + delta / count
            square = square_D[j] + delta * (x - mean)
            count_D[j] = count if here else count_D[j]
            mean_D[j] = mean if here else mean_D[j]
            square_D[j] = square if here else square_D[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _apply(
    x_ND: Array, count_D: Array, mean_D: Array, square_D: Array, out_ND: Array
) -> None:  # pragma: no cover - compiled
    for i in range(x_ND.shape[0]):
        x_D, out_D = x_ND[i], out_ND[i]
        for j in range(len(x_D)):
            out_D[j] = _standard(x_D[j], mean_D[j], square_D[j], count_D[j])


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a table of one Arrow schema is read."""

    schema: pa.Schema
    where: list[int]  # the columns that are scaled
    slot: npt.NDArray[np.int64]  # where their statistics are
    result: pa.Schema


@final
class Scale(Composable):
    """Brings every numeric column to mean 0 and variance 1, as far as the rows before each row can tell.

    With n values x_1 .. x_n of a column seen, a value x becomes (x - m_n) / sqrt(S_n / n), where

        m_n = m_{n-1} + (x_n - m_{n-1}) / n,    S_n = S_{n-1} + (x_n - m_{n-1}) (x_n - m_n).

    A column that has not varied yet, and so every first row, becomes 0.

    Args:
        columns: names of the columns of a table to scale; none means every column of integers and floats (booleans are
            left as they are). Of a bare array every column is scaled.

    Missing values (nulls) of a table stay missing and are not counted; NaN and infinities are refused. Results are
    float32. Memory is three numbers per column.

    Raises:
        PoisonError: a value that is not finite, a width that changed, text where numbers were.
        SchemaError: sparse rows (their zeros would be lost), or a named column that is not there.

    >>> import numpy as np, retain as rt
    >>> scale = rt.Scale()
    >>> scale.learn(rt.Batch(np.array([[1.0], [3.0], [3.0], [9.0]]))).x.ravel().tolist()
    [0.0, 0.0, 1.0, 7.071067810058594]
    >>> scale.apply(np.array([[4.0]])).ravel().tolist()  # mean 4 of the four rows
    [0.0]

    Reference: B. P. Welford, Note on a method for calculating corrected sums of squares and products, 1962.
    Differs from scikit-learn's StandardScaler, which leaves a constant column at x - mean: the same 0.
    """

    def __init__(self, *columns: str) -> None:
        self.columns = columns
        self._names: list[str] | None = None  # of the scaled columns of tables, in order of appearance; None: arrays
        self._count: npt.NDArray[np.float64] | None = None  # (d,)
        self._mean = np.zeros(0)
        self._square = np.zeros(0)
        self._plan: _Plan | None = None

    def learn(self, batch: Batch, /) -> Batch:
        return replace(batch, x=self._scale(batch.x, learning=True))

    def apply(self, x: Features, /) -> Features:
        return self._scale(x, learning=False)

    def state_dict(self) -> State:
        return {
            "names": None if self._names is None else list(self._names),
            "count": None if self._count is None else self._count.copy(),
            "mean": self._mean.copy(),
            "square": self._square.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._names = None if state["names"] is None else list(state["names"])
        self._count = None if state["count"] is None else np.array(state["count"])
        self._mean, self._square = np.array(state["mean"]), np.array(state["square"])
        self._plan = None

    def _scale(self, x: Features, *, learning: bool) -> Features:
        if isinstance(x, np.ndarray):
            return self._scale_array(x, learning=learning)
        if isinstance(x, CSR):
            raise SchemaError(
                "Scale got sparse rows; expected dense ones or a table, since shifting zeros would fill them: scale "
                "before encoding, rt.Scale() | rt.OneHot() | ..."
            )
        return self._scale_table(x, learning=learning)

    def _scale_array(self, x: Array, *, learning: bool) -> Array:
        if self.columns or self._names is not None:
            raise SchemaError(f"Scale got an array of shape {x.shape}; expected a table with named columns, as before")
        count = self._count
        rows = check_array(x, reader=_READER, width=None if count is None else len(count))
        if count is None:
            count, mean, square = np.zeros((3, rows.shape[1]))
            if learning:
                self._count, self._mean, self._square = count, mean, square
        else:
            mean, square = self._mean, self._square
        out = np.empty(rows.shape, dtype=np.float32)
        (_learn if learning else _apply)(rows, count, mean, square, out)
        return out

    def _scale_table(self, x: pa.RecordBatch, *, learning: bool) -> pa.RecordBatch:
        if self._names is None and self._count is not None:
            raise PoisonError(
                "Scale got a table after bare arrays; expected arrays of the same width: start a new Scale"
            )
        plan, names = self._look(x)
        where, slot = plan.where, plan.slot
        rows, _ = numbers(x, where, reader=_READER)
        rows.flags.writeable = False
        out = np.empty(rows.shape, dtype=np.float32)
        known = self._statistics(len(names))
        mine = [column[slot] for column in known]
        (_learn if learning else _apply)(rows, mine[0], mine[1], mine[2], out)
        if learning:
            for column, part in zip(known, mine, strict=True):
                column[slot] = part
            self._names = names
            self._count, self._mean, self._square = known  # pyright: ignore[reportAssignmentType] - three of them
            self._plan = plan
        scaled = dict(zip(where, number_arrays(out), strict=True))
        columns = [scaled[i] if i in scaled else x.column(i) for i in range(x.num_columns)]
        return pa.RecordBatch.from_arrays(columns, schema=plan.result)

    def _look(self, x: pa.RecordBatch) -> tuple[_Plan, list[str]]:
        """Which columns of x are scaled, and the names of all whose statistics are known then."""
        names = list(self._names or ())
        if self._plan is not None and self._plan.schema.equals(x.schema):
            return self._plan, names
        known = {name: i for i, name in enumerate(names)}
        if self.columns:
            where = places(x, self.columns, reader=_READER)
            for i in where:
                if kind_of(x.schema.field(i).type) not in (NUMBER, NULL):
                    refuse_kind(x, i, reader=_READER, expected="numbers")
        else:
            where: list[int] = []
            for i, field in enumerate(x.schema):
                kind = kind_of(field.type)
                if kind == NUMBER and not pa.types.is_boolean(field.type):
                    where.append(i)
                elif field.name in known and kind != NULL:
                    refuse_kind(x, i, reader=_READER, expected="numbers as before")
        slot = np.array([known.setdefault(x.schema.names[i], len(known)) for i in where], dtype=np.int64)
        fields = [pa.field(field.name, pa.float32()) if i in where else field for i, field in enumerate(x.schema)]
        return _Plan(x.schema, where, slot, pa.schema(fields)), list(known)

    def _statistics(self, columns: int) -> tuple[npt.NDArray[np.float64], ...]:
        """Copies of count, mean and square, with zeros for columns that are new."""
        old = (np.zeros(0) if self._count is None else self._count, self._mean, self._square)
        return tuple(np.concatenate([column, np.zeros(columns - len(column))]) for column in old)
