"""What was seen last: earlier values of a column, or the labels that landed last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from retain import buffers
from retain.core import Array, Batch, Features, Ints, State
from retain.errors import SettingError
from retain.features.columns import append
from retain.features.keyed import Keyed, find, keys_of, rows_of, touch
from retain.features.lookback import (
    CLASSES,
    NUMBERS,
    UNTOLD,
    Remembering,
    check_room,
    landed_labels,
    names_of,
    values_of,
    widen,
)

__all__ = ["Lag"]

_READER = "Lag"


@njit(cache=True, nogil=True)
def _walk(
    order: Array,  # (n + m,) i >= 0: row i is read; ~j: value j is written
    read_N: Array,  # keys
    write_M: Array,
    value_M: Array,
    steps_S: Array,
    keys: Array,
    table: Array,
    links: Array,
    ends: Array,
    limit: int,
    last_KL: Array,  # by slot: the last value, the one before, ...; NaN where there is none
    out_NS: Array,
    event: int,
) -> Any:  # pragma: no cover - compiled
    """Go through the events from `event` on; returns the one at which more room for keys is needed, or their number."""
    for e in range(event, len(order)):
        i = order[e]
        if i >= 0:
            slot = find(read_N[i], keys, table)
            for s in range(len(steps_S)):
                out_NS[i, s] = last_KL[slot, steps_S[s] - 1] if slot >= 0 else np.nan
            continue
        slot, new = touch(write_M[~i], keys, table, links, ends, limit)
        if slot < 0:
            return e
        if new:
            last_KL[slot, :] = np.nan
        for j in range(last_KL.shape[1] - 1, 0, -1):
            last_KL[slot, j] = last_KL[slot, j - 1]
        last_KL[slot, 0] = value_M[~i]
    return len(order)


@njit(cache=True, nogil=True)
def _peek(
    read_N: Array, steps_S: Array, keys: Array, table: Array, last_KL: Array, out_NS: Array
) -> None:  # pragma: no cover - compiled
    for i in range(len(read_N)):
        slot = find(read_N[i], keys, table)
        for s in range(len(steps_S)):
            out_NS[i, s] = last_KL[slot, steps_S[s] - 1] if slot >= 0 else np.nan


@final
class Lag(Remembering):
    """Adds the values that a column had in earlier rows, or the labels that landed last.

    In a table, the lag of a column is a column of numbers, missing until there is a value to look back to; the lag of a
    number as label too. The lag of a class is a category (its code as text), which `OneHot` turns into one slot for
    each class. In a bare array a lag is one more column on the right, `missing` where there is nothing yet; there a
    class is its code, which says something to a linear learner where there are two of them.

    A label counts when it lands, in the order of landing: with a delay the last label may be that of a much older row.

    Args:
        column: what to look back on: the name of a column in a table, its number in a bare array; None is the label.
        steps: how many rows (or landed labels) to look back; 1 is the last one.
        by: look back among the rows with the same value in these columns only, e.g. `by="carrier"`.
        keys: how many values of `by` are remembered; beyond, the one written longest ago is forgotten. Memory is about
            (max(steps) + 5) * 8 bytes for each.
        missing: what stands in a bare array where there is nothing to look back to.

    The columns of a table are called `delay_lag1`, and `delay_lag1_by_carrier` with `by`; those of the label `y_lag1`.

    Raises:
        SettingError: steps that are not whole numbers >= 1.
        SchemaError: a column that is not there, a name that is taken, sparse rows.
        PoisonError: values that are no finite numbers.

    >>> import numpy as np, pyarrow as pa, retain as rt
    >>> table = pa.record_batch({"who": ["a", "b", "a", "a"], "spent": [1.0, 2.0, 3.0, 4.0]})
    >>> rt.Lag("spent", by="who").learn(rt.Batch(table)).x["spent_lag1_by_who"].to_pylist()
    [None, None, 1.0, 3.0]
    >>> rt.Lag(steps=(1, 2)).learn(rt.Batch(np.zeros((3, 1)), y=np.array([5.0, 6.0, 7.0]))).x.tolist()
    [[0.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 6.0, 5.0]]
    """

    _slotted = ("_last",)
    _plain = ("_labels", "_words")

    def __init__(
        self,
        column: str | int | None = None,
        *,
        steps: Sequence[int] = (1,),
        by: str | int | Sequence[str | int] = (),
        keys: int = 100_000,
        missing: float = 0.0,
    ) -> None:
        self.column = column
        self.steps = tuple(int(step) for step in steps)
        if not self.steps or min(self.steps) < 1 or list(self.steps) != list(steps):
            raise SettingError(
                f"steps is {steps!r}; expected whole numbers of rows to look back, 1 or more, e.g. (1, 2)"
            )
        self.by = names_of(by)
        self.missing = missing
        suffix = "".join(f"_by_{name}" for name in self.by)
        self._added = [f"{'y' if column is None else column}_lag{step}{suffix}" for step in self.steps]
        self._steps = np.array(self.steps, dtype=np.int64)
        self._keyed = Keyed(limit=keys)
        self._last = self._empty(self._keyed.room)
        self._labels = UNTOLD
        self._words = 0  # classes that have landed, at most: their codes as text

    def keep(self, x: Features, /) -> Features:
        """The keys, where it is labels that are looked back on."""
        if self.column is not None:
            return np.zeros((rows_of(x), 0), dtype=np.float32)
        return keys_of(x, self.by, reader=_READER)[:, None]

    def interleave(self, arrivals: Batch, landed: Batch, order: Ints, /) -> Batch:
        x, n = arrivals.x, len(arrivals)
        read = keys_of(x, self.by, reader=_READER)
        labels = self._labels
        if self.column is None:
            value, labels = landed_labels(landed, labels, reader=_READER)
            write = np.ascontiguousarray(landed.x, dtype=np.uint64).reshape(-1)
        else:
            value, write = values_of(x, self.column, reader=_READER), read
            order = np.column_stack([np.arange(n), ~np.arange(n)]).reshape(-1)
        check_room(x, self._added, reader=_READER)
        out = np.empty((n, len(self.steps)))
        self._remember(write)
        event = 0
        while True:
            store = self._keyed.arrays
            event = _walk(order, read, write, value, self._steps, *store, self._keyed.limit, self._last, out, event)
            if event >= len(order):
                break
            self._keyed.grow()
            self._last = np.concatenate([self._last, self._empty(self._keyed.room - len(self._last))])
        self._labels = labels
        if labels == CLASSES and len(value):
            self._words = max(self._words, int(value.max()) + 1)
        return replace(arrivals, x=self._widen(x, out))

    def apply(self, x: Features, /) -> Features:
        check_room(x, self._added, reader=_READER)
        read = keys_of(x, self.by, reader=_READER)
        out = np.empty((len(read), len(self.steps)))
        _peek(read, self._steps, self._keyed.keys, self._keyed.table, self._last, out)
        return self._widen(x, out)

    def state_dict(self) -> State:
        order = self._keyed.order()
        return {
            "keys": self._keyed.keys[order],
            "last": self._last[order],
            "labels": self._labels,
            "words": self._words,
        }

    def load_state_dict(self, state: State, /) -> None:
        self._keyed.load(state["keys"])
        self._last = self._empty(self._keyed.room)
        self._last[: len(state["last"])] = state["last"]
        self._labels, self._words = int(state["labels"]), int(state["words"])

    def _empty(self, room: int) -> npt.NDArray[np.float64]:
        return np.full((room, max(self.steps)), np.nan)

    def _widen(self, x: Features, out: Array) -> Features:
        if self.column is not None or self._labels == NUMBERS or not isinstance(x, pa.RecordBatch):
            return widen(cast("Any", x), self._added, out, missing=self.missing, reader=_READER)
        columns: list[Any] = []
        for s in range(len(self.steps)):
            absent = np.isnan(out[:, s])
            if self._labels == UNTOLD:
                columns.append(pa.nulls(len(out)))
                continue
            codes = buffers.column(np.where(absent, 0, out[:, s]).astype(np.int32), absent)
            words = buffers.text([str(c) for c in range(max(self._words, 1))])
            columns.append(pa.DictionaryArray.from_arrays(codes, words))
        return append(x, self._added, columns, reader=_READER)
