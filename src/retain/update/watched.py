"""What triggers look at in a report: losses, labels, answers, inputs; each as columns of numbers or of words.

Shapes: n rows of a column.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Protocol, cast, final

import numpy as np

from retain.core import CSR, Array, Batch, Report
from retain.errors import SettingError

__all__ = ["Answers", "Inputs", "Labels", "Losses", "Telling", "Watched", "clocked", "columns_of"]


class Watched(Protocol):
    """Columns of a report. Numbers are float64, NaN where there is none; everything else is words, "" for none."""

    def __call__(self, report: Report, /) -> dict[str, Array]: ...


class Telling(ABC):
    """A trigger that can say why it fired."""

    @property
    @abstractmethod
    def why(self) -> str:
        """What it found when it fired last."""


def clocked(*parts: object) -> bool:
    """Whether any of some triggers and gates looks at a clock, and not at the rows alone."""
    return any(bool(getattr(part, "clocked", False)) for part in parts)


@final
class Losses:
    """The losses of the rows whose labels landed."""

    def __call__(self, report: Report, /) -> dict[str, Array]:
        return {} if report.loss is None else {"loss": np.asarray(report.loss, dtype=np.float64)}


@final
class Labels:
    """The labels that landed: numbers, or the codes of classes as words."""

    def __call__(self, report: Report, /) -> dict[str, Array]:
        if report.y is None:
            return {}
        return {"label": _plain(report.y.astype(np.str_) if report.y.dtype.kind in "iub" else report.y)}


@final
class Answers:
    """What was said of the rows whose labels landed: numbers, or the probability of each class."""

    def __call__(self, report: Report, /) -> dict[str, Array]:
        said = report.prediction
        if said is None:
            return {}
        return {"answer": said.astype(np.float64)} if said.ndim == 1 else _matrix("answer ", said)


@final
class Inputs:
    """The columns of the rows that arrived: all that hold numbers or words, or those that are named.

    Args:
        names: of columns; of a bare array, their numbers as words.
    """

    def __init__(self, *names: str) -> None:
        self._names = names

    def __call__(self, report: Report, /) -> dict[str, Array]:
        if report.arrived is None:
            return {}
        return columns_of(report.arrived, self._names or None)


def columns_of(batch: Batch, names: tuple[str, ...] | None, /) -> dict[str, Array]:
    """Columns of a batch by name, its key and task among them where they are named; None: all of its input.

    Raises SettingError for a name that is not there, and for sparse rows, whose columns have no names.
    """
    x = batch.x
    beside = {name: _plain(column) for name in ("key", "task", "id") if (column := getattr(batch, name)) is not None}
    if isinstance(x, CSR):
        found: dict[str, Array] = {}
    elif isinstance(x, np.ndarray):
        found = _matrix("", x.reshape(len(x), math.prod(x.shape[1:])))
    else:
        wanted = set(x.schema.names if names is None else names)
        found = {
            name: values
            for name, column in zip(x.schema.names, x.columns, strict=True)
            if name in wanted and (values := _arrow(column)) is not None
        }
    if names is None:
        if isinstance(x, CSR):
            raise SettingError("sparse rows have no named columns to watch; watch the losses or the answers")
        return found
    found = {**beside, **found}
    missing = [name for name in names if name not in found]
    if missing:
        raise SettingError(f"there is no column {missing[0]!r} to watch; expected one of {', '.join(found) or 'none'}")
    return {name: found[name] for name in names}


def _matrix(prefix: str, values_nd: Array) -> dict[str, Array]:
    return {f"{prefix}{j}": values_nd[:, j].astype(np.float64) for j in range(values_nd.shape[1])}


def _plain(column: Array) -> Array:
    return column.astype(np.float64 if column.dtype.kind in "fiub" else np.str_)


def _arrow(column: object) -> Array | None:
    """An Arrow column as numbers or words; None for times and what else is neither."""
    import pyarrow as pa

    from retain.buffers import values

    arrow = cast("pa.Array", column)
    kind = arrow.type
    if pa.types.is_dictionary(kind):
        arrow = cast("pa.DictionaryArray", arrow).dictionary_decode()
        kind = arrow.type
    if pa.types.is_boolean(kind):
        arrow = arrow.cast(pa.uint8())
        kind = arrow.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return values(arrow).astype(np.float64)  # nulls become NaN
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(arrow.fill_null("").to_pylist(), dtype=np.str_)
    return None
