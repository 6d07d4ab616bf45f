"""Categories as what the target was on average where they occurred."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np
import numpy.typing as npt
from numba import njit

from retain import blocks
from retain.core import Array, Batch, Features, Ints, State
from retain.errors import PoisonError, SettingError
from retain.features.columns import TEXT, kind_of, only_table
from retain.features.keyed import Keyed, find, keys_of, touch
from retain.features.lookback import CLASSES, NUMBERS, UNTOLD, Remembering, check_room, landed_labels, widen

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TargetEncode"]

_READER = "TargetEncode"


@njit(cache=True, nogil=True)
def _encode(
    sum_T: Array, total_T: Array, known: Any, smoothing: float, out_T: Array
) -> None:  # pragma: no cover - compiled
    """Mean of the target, drawn to the mean of all with the weight of `smoothing` labels; entry 0 counts labels."""
    count = sum_T[0] if known else 0.0
    for t in range(len(out_T)):
        prior = total_T[t + 1] / total_T[0] if total_T[0] > 0.0 else 0.0
        weight = count + smoothing
        out_T[t] = ((sum_T[t + 1] if known else 0.0) + smoothing * prior) / weight if weight > 0.0 else prior


@njit(cache=True, nogil=True)
def _walk(
    order: Array,  # (n + m,) i >= 0: row i is read; ~j: label j is written
    read_NC: Array,  # keys
    write_MC: Array,
    target_MT: Array,
    weight_M: Array,
    smoothing: float,
    total_T: Array,  # (1 + T,) weight of all labels, then sums of the targets
    keys: Array,
    table: Array,
    links: Array,
    ends: Array,
    limit: int,
    sum_KT: Array,  # (room, 1 + T) the same by slot
    out_NCT: Array,
    event: int,
) -> Any:  # pragma: no cover - compiled
    """Go through the events from `event` on; returns the one at which more room for keys is needed, or their number."""
    columns = read_NC.shape[1]
    for e in range(event, len(order)):
        i = order[e]
        if i >= 0:
            for c in range(columns):
                slot = find(read_NC[i, c], keys, table)
                _encode(sum_KT[max(slot, 0)], total_T, slot >= 0, smoothing, out_NCT[i, c])
            continue
        if ends[0] + columns > len(keys) and len(keys) < limit:
            return e
        i = ~i
        total_T[0] += weight_M[i]
        for t in range(target_MT.shape[1]):
            total_T[t + 1] += weight_M[i] * target_MT[i, t]
        for c in range(columns):
            slot, new = touch(write_MC[i, c], keys, table, links, ends, limit)
            if new:
                sum_KT[slot, :] = 0.0
            sum_KT[slot, 0] += weight_M[i]
            for t in range(target_MT.shape[1]):
                sum_KT[slot, t + 1] += weight_M[i] * target_MT[i, t]
    return len(order)


@final
class TargetEncode(Remembering):
    """Replaces each category by the mean of the target in the rows with that category whose labels have landed.

    With n labels of the category so far (weighted, if they are), sum s, and m the mean of all labels so far,

        code = (s + smoothing * m) / (n + smoothing),

    so a category never seen gets m, and before the first label everything is 0. Of two classes the target is 1 for
    class 1; of more there is one column for each class. A missing category is a category like others.

    Args:
        columns: names of the columns to replace, of any type; none means every column of text.
        smoothing: how many labels the mean of all weighs.
        classes: how many classes have a column; 2 means a single column, for class 1 (and is right for numbers too).
            Labels of later classes count as none of these.
        drop: whether the columns give way to their encoding.
        keys: how many categories are remembered, of all columns together; beyond, the one whose label landed longest
            ago is forgotten. Memory is about (classes + 6) * 8 bytes for each.

    The column `carrier` becomes `carrier_mean`, or `carrier_mean_0`, `carrier_mean_1`, ...

    Raises:
        SchemaError: a column that is not there, a name that is taken, rows without names.
        PoisonError: targets that are infinite, or of another kind than before.

    >>> import numpy as np, pyarrow as pa, retain as rt
    >>> table = pa.record_batch({"who": ["a", "a", "b", "a"]})
    >>> late = rt.TargetEncode(smoothing=1).learn(rt.Batch(table, y=np.array([1.0, 2.0, 9.0, 0.0])))
    >>> late.x["who_mean"].to_pylist()
    [0.0, 1.0, 1.5, 2.3333333333333335]

    Reference: D. Micci-Barreca, A preprocessing scheme for high-cardinality categorical attributes, SIGKDD Explorations
    2001, with the weight n / (n + smoothing). Leak-free without folds: a row's own label comes after it.
    """

    _slotted = ("_sums",)
    _plain = ("_labels", "_names", "_total")

    def __init__(
        self, *columns: str, smoothing: float = 10.0, classes: int = 2, drop: bool = True, keys: int = 100_000
    ) -> None:
        if not smoothing >= 0:
            raise SettingError(f"smoothing is {smoothing}; expected a number of labels >= 0")
        if classes < 2:
            raise SettingError(f"classes is {classes}; expected 2 or more (2 for a numeric target, too)")
        self.columns = columns
        self.smoothing = float(smoothing)
        self.classes = classes
        self.drop = drop
        self._targets = 1 if classes == 2 else classes
        self._labels = UNTOLD
        self._names: tuple[str, ...] = columns  # of the encoded columns
        self._total = np.zeros(1 + self._targets)
        self._keyed = Keyed(limit=keys)
        self._sums = self._empty(self._keyed.room)

    def keep(self, x: Features, /) -> Features:
        """The keys of the categories."""
        return self._keys(x, self._look(x))

    def interleave(self, arrivals: Batch, landed: Batch, order: Ints, /) -> Batch:
        x = arrivals.x
        names = self._look(x)
        check_room(x, self._added(names), reader=_READER)
        read = self._keys(x, names)
        label, labels = landed_labels(landed, self._labels, reader=_READER)
        weight = np.ascontiguousarray(blocks.weights(landed.weight, len(landed), reader=_READER))
        if labels == NUMBERS and self._targets > 1:
            raise PoisonError(
                f"TargetEncode(classes={self.classes}) got numbers as targets; expected class codes: leave out classes"
            )
        write = np.ascontiguousarray(cast("Array", landed.x), dtype=np.uint64)
        if write.shape[1] != read.shape[1]:
            raise PoisonError(
                f"TargetEncode got labels of rows with {write.shape[1]} columns to encode; expected {read.shape[1]}"
            )
        if labels == CLASSES:
            target = label[:, None] == (np.arange(self.classes) if self._targets > 1 else np.ones(1))
        else:
            target = label[:, None]
        out = np.empty((len(arrivals), len(names), self._targets))
        self._remember(write.reshape(-1))
        events = read, write, target.astype(np.float64), weight, self.smoothing, self._total
        event = 0
        while True:
            event = _walk(order, *events, *self._keyed.arrays, self._keyed.limit, self._sums, out, event)
            if event >= len(order):
                break
            self._keyed.grow()
            self._sums = np.concatenate([self._sums, self._empty(self._keyed.room - len(self._sums))])
        self._labels, self._names = labels, names
        return replace(arrivals, x=self._replace(x, names, out))

    def apply(self, x: Features, /) -> Features:
        names = self._look(x)
        check_room(x, self._added(names), reader=_READER)
        read = self._keys(x, names)
        out = np.empty((*read.shape, self._targets))
        nothing = np.empty((0, read.shape[1]), np.uint64), np.empty((0, self._targets)), np.empty(0)
        store = *self._keyed.arrays, self._keyed.limit, self._sums
        _walk(np.arange(len(read)), read, *nothing, self.smoothing, self._total, *store, out, 0)
        return self._replace(x, names, out)

    def state_dict(self) -> State:
        order = self._keyed.order()
        state: dict[str, Any] = {
            "keys": self._keyed.keys[order],
            "sums": self._sums[order],
            "total": self._total.copy(),
        }
        return {**state, "labels": self._labels, "names": list(self._names)}

    def load_state_dict(self, state: State, /) -> None:
        self._keyed.load(state["keys"])
        self._sums = self._empty(self._keyed.room)
        self._sums[: len(state["sums"])] = state["sums"]
        self._total, self._labels, self._names = np.array(state["total"]), int(state["labels"]), tuple(state["names"])

    def _empty(self, room: int) -> npt.NDArray[np.float64]:
        return np.zeros((room, 1 + self._targets))

    def _look(self, x: Features) -> tuple[str, ...]:
        """The names of the columns to encode: those told, or those of text when the first rows came."""
        table = only_table(x, reader=_READER, what="categories in named columns")
        return self._names or tuple(field.name for field in table.schema if kind_of(field.type) == TEXT)

    def _keys(self, x: Features, names: tuple[str, ...]) -> npt.NDArray[np.uint64]:
        """(n, c) keys; the name is in them, so that columns do not mix."""
        keys = [keys_of(x, (name,), reader=_READER, seed=c) for c, name in enumerate(names)]
        return np.column_stack(keys) if keys else np.empty((cast("pa.RecordBatch", x).num_rows, 0), dtype=np.uint64)

    def _added(self, names: tuple[str, ...]) -> list[str]:
        if self._targets == 1:
            return [f"{name}_mean" for name in names]
        return [f"{name}_mean_{t}" for name in names for t in range(self._targets)]

    def _replace(self, x: Features, names: tuple[str, ...], out: Array) -> Features:
        table = cast("pa.RecordBatch", x)
        if not names:
            return table
        wide = cast(
            "Any",
            widen(
                table,
                self._added(names),
                out.reshape(len(out), -1 if out.size else len(names) * self._targets),
                missing=0.0,
                reader=_READER,
            ),
        )
        return wide.drop_columns(list(names)) if self.drop else wide
