"""What the transforms that look back share: the values looked back on, the labels that landed, the columns added."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from retain import blocks
from retain.compose import LabelTransform
from retain.core import CSR, Array, Batch, Features, Floats
from retain.errors import PoisonError, SchemaError
from retain.features.columns import append, check_finite, number_arrays, number_column, only_table
from retain.features.keyed import Before, Keyed, array_column

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CLASSES",
    "NUMBERS",
    "UNTOLD",
    "Remembering",
    "check_room",
    "landed_labels",
    "names_of",
    "values_of",
    "widen",
]

UNTOLD, CLASSES, NUMBERS = range(3)  # what the labels are, as far as has been seen
_LABELS = ("", "class codes", "numbers")


class Remembering(LabelTransform, ABC):
    """A transform that remembers something of each key: an error takes back what it wrote, and no more is copied."""

    _slotted: ClassVar[tuple[str, ...]]  # its arrays with a row for each slot of `_keyed`
    _plain: ClassVar[tuple[str, ...]]  # what else it knows: numbers, tuples and short arrays
    _keyed: Keyed
    _undone: list[tuple[Before, tuple[Array, ...], tuple[Any, ...]]] | None = None  # since the last mark

    def mark(self) -> Callable[[], None]:
        since = self._undone = []
        return partial(self._undo, since)

    def _remember(self, write: Array) -> None:
        """Call before keys are written."""
        if self._undone is not None:
            before = self._keyed.before(write)
            rows = tuple(getattr(self, name)[before.slots] for name in self._slotted)
            self._undone.append((before, rows, tuple(copy(getattr(self, name)) for name in self._plain)))

    def _undo(self, since: list[tuple[Before, tuple[Array, ...], tuple[Any, ...]]]) -> None:
        for before, rows, plain in reversed(since):
            self._keyed.undo(before)
            for name, values in zip(self._slotted, rows, strict=True):
                getattr(self, name)[before.slots] = values
            for name, value in zip(self._plain, plain, strict=True):
                setattr(self, name, value)


def names_of(columns: str | int | Sequence[str | int], /) -> tuple[str | int, ...]:
    """One name or number, or several, as a tuple."""
    return (columns,) if isinstance(columns, (str, int)) else tuple(columns)


def landed_labels(landed: Batch, before: int, /, *, reader: str) -> tuple[npt.NDArray[np.float64], int]:
    """The m labels as float64 numbers or codes, and what they are: CLASSES or NUMBERS, as `before` if that is known."""
    y = landed.y
    if y is None:
        return np.empty(0), before
    if y.ndim != 1:
        raise PoisonError(f"{reader} got labels of shape {y.shape}; expected one for each row, of shape (n,)")
    labels = NUMBERS if y.dtype.kind == "f" else CLASSES
    if before not in (UNTOLD, labels):
        raise PoisonError(
            f"{reader} got {_LABELS[labels]} as labels; expected {_LABELS[before]} as before: start a new {reader}"
        )
    checked = blocks.numbers if labels == NUMBERS else blocks.codes
    return checked(y, len(landed), reader=reader).astype(np.float64), labels


def values_of(x: Features, column: str | int, /, *, reader: str) -> npt.NDArray[np.float64]:
    """A column of a table, by name, or of an array, by number, as (n,) float64; missing values are NaN."""
    if isinstance(column, int):
        values = array_column(x, column, reader=reader)
        check_finite(values, str(column), reader=reader)
        return values
    return number_column(only_table(x, reader=reader, what=f"the column {column!r}"), column, reader=reader).copy()


def check_room(x: Features, added: Sequence[str], /, *, reader: str) -> None:
    """Refuse rows to which no column can be added; called before anything is learnt."""
    if isinstance(x, CSR):
        raise SchemaError(
            f"{reader} got sparse rows; expected a table or an array: put it before the encoder, "
            f"rt.{reader}(...) | rt.OneHot()"
        )
    if isinstance(x, np.ndarray):
        if x.ndim != 2 or x.dtype.kind not in "fiub":
            raise PoisonError(
                f"{reader} got input of type {x.dtype} and shape {x.shape}; expected numbers of shape (rows, features)"
            )
        return
    for name in added:
        if name in x.schema.names:
            raise SchemaError(
                f"{reader} would add the column {name!r}, which the rows already have: rename one of them"
            )


def widen(x: Array | pa.RecordBatch, names: Sequence[str], out: Floats, /, *, missing: float, reader: str) -> Features:
    """x with the columns of out (n, c) at its right; NaN becomes a null in a table and `missing` in an array."""
    if isinstance(x, np.ndarray):
        kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
        return np.concatenate([x, np.where(np.isnan(out), missing, out)], axis=1, dtype=kind)
    return append(x, names, number_arrays(out), reader=reader)
