"""Means, sums, counts, minima and maxima of what was seen last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from retain import buffers
from retain.core import CSR, Array, Batch, Features, Ints, State
from retain.errors import SettingError
from retain.features.columns import TIME, kind_of, place, refuse_kind
from retain.features.keyed import Keyed, find, keys_of, rows_of, touch
from retain.features.lookback import (
    UNTOLD,
    Remembering,
    check_room,
    landed_labels,
    names_of,
    values_of,
    widen,
)

__all__ = ["Rolling"]

_READER = "Rolling"
_STATS = ("mean", "sum", "count", "min", "max")


@njit(cache=True, nogil=True)
def _measure(
    values_W: Array, times_W: Array, filled: Any, since: Any, stats_S: Array, out_S: Array
) -> None:  # pragma: no cover - compiled
    """The statistics of the values present in a window, the oldest first: a fixed order, so splits cannot matter."""
    total, low, high = 0.0, np.inf, -np.inf
    count = 0
    width = len(values_W)
    for k in range(max(filled - width, 0), filled):
        at = k % width
        value = values_W[at]
        if value != value or not times_W[at] >= since:
            continue
        total += value
        low, high = min(low, value), max(high, value)
        count += 1
    for s in range(len(stats_S)):
        stat = stats_S[s]
        if stat == 2:
            out_S[s] = count
        elif count == 0:
            out_S[s] = np.nan
        elif stat == 0:
            out_S[s] = total / count
        else:
            out_S[s] = total if stat == 1 else low if stat == 3 else high


@njit(cache=True, nogil=True)
def _walk(
    order: Array,  # (n + m,) i >= 0: row i is read; ~j: value j is written
    read_N: Array,  # keys
    since_N: Array,  # the oldest time that counts
    write_M: Array,
    value_M: Array,
    time_M: Array,
    stats_S: Array,
    keys: Array,
    table: Array,
    links: Array,
    ends: Array,
    limit: int,
    values_KW: Array,  # by slot: a ring of the last W values, NaN where one was missing
    times_KW: Array,
    filled_K: Array,  # how many values came
    out_NS: Array,
    event: int,
) -> Any:  # pragma: no cover - compiled
    """Go through the events from `event` on; returns the one at which more room for keys is needed, or their number."""
    none = np.empty(0)
    for e in range(event, len(order)):
        i = order[e]
        if i >= 0:
            slot = find(read_N[i], keys, table)
            if slot < 0:
                _measure(none, none, 0, 0.0, stats_S, out_NS[i])
            else:
                _measure(values_KW[slot], times_KW[slot], filled_K[slot], since_N[i], stats_S, out_NS[i])
            continue
        slot, new = touch(write_M[~i], keys, table, links, ends, limit)
        if slot < 0:
            return e
        if new:  # another key may have been there
            filled_K[slot] = 0
            values_KW[slot] = 0.0
            times_KW[slot] = 0.0
        at = filled_K[slot] % values_KW.shape[1]
        values_KW[slot, at] = value_M[~i]
        times_KW[slot, at] = time_M[~i]
        filled_K[slot] += 1
    return len(order)


@final
class Rolling(Remembering):
    """Adds statistics of the last values of a column, or of the last labels that landed; the row itself is not in them.

    The window of a row holds the last `rows` rows before it (or the last `rows` labels that landed before it); with
    `seconds`, only those of them that are no older than that by the clock in the column `time`. A missing value takes
    its place in the window and counts in no statistic. An empty window has count 0, and no mean, sum, minimum or
    maximum: null in a table, `missing` in a bare array. A class counts as its code: with two of them the mean is the
    rate of class 1.

    Args:
        column: what to look back on: the name of a column in a table, its number in a bare array; None is the label.
        rows: how many rows (or landed labels) are looked back on at most, for each value of `by`.
        seconds: how old they may be; None is any age.
        time: the column with the clock, of times or of seconds; needed with `seconds`.
        stats: some of "mean", "sum", "count", "min", "max"; the columns are called `delay_mean10`, with `by`
            `delay_mean10_by_carrier`, and with seconds `delay_mean3600s`.
        by: look back among the rows with the same value in these columns only.
        keys: how many values of `by` are remembered; beyond, the one written longest ago is forgotten. Memory is about
            (2 rows + 5) * 8 bytes for each.
        missing: what stands in a bare array for an empty window.

    Raises:
        SettingError: a window, a statistic or a clock that makes no sense.
        SchemaError: a column that is not there, a name that is taken, sparse rows.
        PoisonError: values that are no finite numbers.

    >>> import pyarrow as pa, retain as rt
    >>> table = pa.record_batch({"who": ["a", "b", "a", "a"], "spent": [1.0, 2.0, 3.0, 4.0]})
    >>> rt.Rolling("spent", rows=2, by="who").learn(rt.Batch(table)).x["spent_mean2_by_who"].to_pylist()
    [None, None, 1.0, 2.0]
    """

    _slotted = ("_values", "_times", "_filled")
    _plain = ("_labels",)

    def __init__(
        self,
        column: str | int | None = None,
        *,
        rows: int = 100,
        seconds: float | None = None,
        time: str | int | None = None,
        stats: Sequence[str] = ("mean",),
        by: str | int | Sequence[str | int] = (),
        keys: int = 100_000,
        missing: float = 0.0,
    ) -> None:
        if rows < 1:
            raise SettingError(f"rows is {rows}; expected a window of at least 1 row")
        if isinstance(stats, str) or not stats or not set(stats) <= set(_STATS):
            raise SettingError(f"stats is {stats!r}; expected some of {', '.join(_STATS)}, e.g. ('mean', 'max')")
        if (seconds is None) != (time is None):
            raise SettingError(
                "seconds and time go together; expected the column with the clock beside a number of seconds"
            )
        if seconds is not None and not seconds > 0:
            raise SettingError(f"seconds is {seconds}; expected a length of time > 0")
        self.column = column
        self.rows = rows
        self.seconds = seconds
        self.time = time
        self.stats = tuple(stats)
        self.by = names_of(by)
        self.missing = missing
        window = f"{rows}" if seconds is None else f"{seconds:g}s"
        suffix = "".join(f"_by_{name}" for name in self.by)
        self._added = [f"{'y' if column is None else column}_{stat}{window}{suffix}" for stat in self.stats]
        self._stats = np.array([_STATS.index(stat) for stat in self.stats], dtype=np.int64)
        self._labels = UNTOLD
        self._keyed = Keyed(limit=keys)
        self._values, self._times, self._filled = self._empty(self._keyed.room)

    def keep(self, x: Features, /) -> Features:
        """The keys and the times, where it is labels that are looked back on."""
        if self.column is not None:
            return np.zeros((rows_of(x), 0), dtype=np.float32)
        return np.column_stack([keys_of(x, self.by, reader=_READER), self._clock(x).view(np.uint64)])

    def interleave(self, arrivals: Batch, landed: Batch, order: Ints, /) -> Batch:
        x, n = arrivals.x, len(arrivals)
        check_room(x, self._added, reader=_READER)
        read, clock = keys_of(x, self.by, reader=_READER), self._clock(x)
        labels = self._labels
        if self.column is None:
            value, labels = landed_labels(landed, labels, reader=_READER)
            kept = np.ascontiguousarray(cast("Array", landed.x).T, dtype=np.uint64)
            write, when = (kept[0], kept[1].view(np.float64)) if len(kept) else (np.empty(0, np.uint64), np.empty(0))
        else:
            value, write, when = values_of(x, self.column, reader=_READER), read, clock
            order = np.column_stack([np.arange(n), ~np.arange(n)]).reshape(-1)
        out = np.empty((n, len(self.stats)))
        self._remember(write)
        events = read, self._since(clock), write, value, when, self._stats
        event = 0
        while True:
            store = *self._keyed.arrays, self._keyed.limit, self._values, self._times, self._filled
            event = _walk(order, *events, *store, out, event)
            if event >= len(order):
                break
            self._grow()
        self._labels = labels
        return replace(arrivals, x=widen(cast("Any", x), self._added, out, missing=self.missing, reader=_READER))

    def apply(self, x: Features, /) -> Features:
        check_room(x, self._added, reader=_READER)
        read, since = keys_of(x, self.by, reader=_READER), self._since(self._clock(x))
        out = np.empty((len(read), len(self.stats)))
        order = np.arange(len(read))
        nothing = np.empty(0, np.uint64), np.empty(0), np.empty(0)
        store = *self._keyed.arrays, self._keyed.limit, self._values, self._times, self._filled
        _walk(order, read, since, *nothing, self._stats, *store, out, 0)
        return widen(cast("Any", x), self._added, out, missing=self.missing, reader=_READER)

    def state_dict(self) -> State:
        order = self._keyed.order()
        filled = self._filled[order]
        # Rings are saved turned, the oldest value first, so that equal windows are equal states.
        turn = (np.arange(self.rows) + np.where(filled > self.rows, filled, 0)[:, None]) % self.rows
        return {
            "keys": self._keyed.keys[order],
            "values": np.take_along_axis(self._values[order], turn, axis=1),
            "times": np.take_along_axis(self._times[order], turn, axis=1),
            "filled": np.minimum(filled, self.rows),
            "labels": self._labels,
        }

    def load_state_dict(self, state: State, /) -> None:
        self._keyed.load(state["keys"])
        self._values, self._times, self._filled = self._empty(self._keyed.room)
        for mine, saved in zip((self._values, self._times, self._filled), ("values", "times", "filled"), strict=True):
            mine[: len(state[saved])] = state[saved]
        self._labels = int(state["labels"])

    def _empty(self, room: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        return np.zeros((room, self.rows)), np.zeros((room, self.rows)), np.zeros(room, dtype=np.int64)

    def _grow(self) -> None:
        before = self._keyed.room
        self._keyed.grow()
        values, times, filled = self._empty(self._keyed.room - before)
        self._values = np.concatenate([self._values, values])
        self._times = np.concatenate([self._times, times])
        self._filled = np.concatenate([self._filled, filled])

    def _since(self, clock: Array) -> npt.NDArray[np.float64]:
        """The oldest time in the window of each of n rows."""
        return np.full(len(clock), -np.inf) if self.seconds is None else clock - self.seconds

    def _clock(self, x: Features) -> npt.NDArray[np.float64]:
        """The time of each of n rows in seconds; 0 without a clock, NaN where it is missing."""
        if self.time is None:
            return np.zeros(rows_of(x))
        if not isinstance(self.time, str) or isinstance(x, (np.ndarray, CSR)):
            return values_of(x, self.time, reader=_READER)
        i = place(x, self.time, reader=_READER)
        column = x.column(i)
        if kind_of(column.type) != TIME:
            if not pa.types.is_floating(column.type) and not pa.types.is_integer(column.type):
                refuse_kind(x, i, reader=_READER, expected="times, or seconds")
            return values_of(x, self.time, reader=_READER)
        us = buffers.stored(column.cast(pa.timestamp("us"), safe=False).cast(pa.int64()))
        return np.where(buffers.valid(column), us / 1e6, np.nan)
