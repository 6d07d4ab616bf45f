"""Arrays in memory as a stream: views of the caller's rows, never copies of the input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from retain.blocks import schema_to_state, take_batch, width
from retain.core import CSR, Array, Batch, Column, Kind, Schema, State
from retain.errors import PoisonError, SettingError, SourceError
from retain.streams.table import table
from retain.streams.tabular import BLOCK, Tabular

__all__ = ["Arrays", "arrays", "bunch"]


def arrays(
    x: Any,
    y: Any = None,
    /,
    *,
    weight: Any = None,
    time: Any = None,
    label_time: Any = None,
    key: Any = None,
    id: Any = None,  # noqa: A002 - the field's name
    experience: Any = None,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    task: str | None = None,
    block: int = BLOCK,
) -> Arrays:
    """A stream over the rows of arrays.

    >>> import numpy as np
    >>> stream = arrays(np.arange(6.0).reshape(3, 2), np.array(["no", "yes", "no"]), block=2)
    >>> for batch, position in stream.read():
    ...     print(batch.x.tolist(), batch.y, batch.schema.classes, position["rows"])
    [[0.0, 1.0], [2.0, 3.0]] [0 1] ('no', 'yes') 2
    [[4.0, 5.0]] [0] ('no', 'yes') 3

    Args:
        x: (n, d) numbers, (n, c, h, w) images, `CSR`, or a SciPy sparse matrix. Dense rows come out as views.
        y: (n,) labels. Whole numbers >= 0 are class codes and -1 is no label; strings and booleans are classes, sorted;
            floats are quantities, NaN no label. (n, k) floats are several quantities. None: no labels.
        weight: (n,) numbers >= 0.
        time: (n,) seconds since the epoch or any other clock, or datetime64.
        label_time: (n,) the same clock: when the label becomes known; NaN: never.
        key: (n,) entity the row belongs to: whole numbers or strings.
        id: (n,) by which a late label finds its row.
        experience: (n,) number of the experience (task) the row belongs to, where known; `Batch.task`.
        names: d names of the columns.
        classes: names of the classes, where y holds codes.
        task: 'classification' or 'regression', where the type of y does not tell.
        block: rows in a block.

    Raises SettingError for arrays of different lengths, and PoisonError for types that are neither numbers nor labels.
    """
    rows = _features(x)
    n = len(rows)
    if n == 0:
        raise SourceError("the arrays have no rows; expected at least one")
    labels, known = _labels(y, classes, task)
    columns = _columns(names, rows)
    batch = Batch(
        rows,
        y=labels,
        weight=_floats(weight, "weight"),
        time=_clock(time, "time"),
        label_time=_clock(label_time, "label_time"),
        key=_names(key, "key"),
        id=_names(id, "id"),
        task=None if experience is None else np.asarray(experience).astype(np.int64),
    )
    for name in ("y", "weight", "time", "label_time", "key", "id", "task"):
        column = getattr(batch, name)
        if column is not None and len(column) != n:
            raise SettingError(f"x has {n} rows and {name} has {len(column)}; expected one for each row")
    if batch.weight is not None and not (np.isfinite(batch.weight) & (batch.weight >= 0)).all():
        row = int(np.flatnonzero(~(np.isfinite(batch.weight) & (batch.weight >= 0)))[0])
        raise PoisonError(f"the weight of row {row} is {batch.weight[row]}; expected a finite number >= 0")
    schema = Schema(columns, target=None if labels is None else "y", classes=known)
    return Arrays(replace(batch, schema=schema), block=block)


def bunch(data: Mapping[str, Any], /, *, block: int = BLOCK) -> Arrays | Tabular:
    """A stream over a data set as scikit-learn's `load_...` and `fetch_...` functions return it (a `Bunch`).

    >>> from sklearn.datasets import load_iris
    >>> stream = bunch(load_iris(), block=150)
    >>> stream.schema().classes
    ('setosa', 'versicolor', 'virginica')
    """
    if "data" not in data or "target" not in data:
        raise SettingError("this is no Bunch; expected a mapping with 'data' and 'target', such as load_iris() returns")
    x, y = data["data"], data["target"]
    targets, names = _strings(data.get("target_names")), _strings(data.get("feature_names"))
    codes = np.asarray(y)
    is_class = targets is not None and codes.dtype.kind in "iu" and len(targets) > int(codes.max())
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(x, pandas.DataFrame):
        name = str(getattr(y, "name", None) or "target")
        return table(x.assign(**{name: np.asarray(targets)[codes] if is_class else y}), target=name, block=block)
    return arrays(x, codes, names=names, classes=targets if is_class else None, block=block)


def _strings(names: Any) -> list[str] | None:
    return None if names is None or isinstance(names, str) else [str(name) for name in names]


@final
class Arrays:
    """A stream over one batch in memory. Made by `arrays` and `bunch`."""

    def __init__(self, batch: Batch, /, *, block: int = BLOCK) -> None:
        if block < 1:
            raise SettingError(f"block={block}; expected at least one row in a block")
        self._batch = batch
        self._block = block

    def __len__(self) -> int:
        return len(self._batch)

    def __iter__(self) -> Iterator[Batch]:
        for batch, _ in self.read():
            yield batch

    def schema(self) -> Schema:
        """Names of the columns, and the classes."""
        return self._batch.schema or Schema()

    def read(self, position: State | None = None, /) -> Iterator[tuple[Batch, State]]:
        """Blocks of `block` rows, the last maybe shorter. A position holds `rows`, `quarantined` (0) and `schema`."""
        n = len(self._batch)
        start = 0 if position is None else int(position["rows"])
        if start > n:
            raise SourceError(f"the position is at row {start} of arrays with {n} rows; give the same arrays")
        schema = schema_to_state(self.schema())
        for at in range(start, n, self._block):
            batch = take_batch(self._batch, slice(at, at + self._block))
            yield batch, {"rows": at + len(batch), "quarantined": 0, "schema": schema}


def _features(x: Any) -> Array | CSR:
    if isinstance(x, CSR):
        return x
    sparse = sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(x):
        m = x.tocsr()
        m.sum_duplicates()
        values = np.asarray(m.data, dtype=np.float32)
        return CSR(m.indptr.astype(np.int64), m.indices.astype(np.int32), values, int(m.shape[1]))
    rows = np.asarray(x)
    if rows.dtype.kind not in "fiub":
        raise PoisonError(f"x has the type {rows.dtype}; expected numbers: for columns of strings see streams.table")
    if rows.ndim < 2:
        raise PoisonError(f"x has the shape {rows.shape}; expected (rows, features): reshape it, e.g. x[:, None]")
    return rows


def _columns(names: Sequence[str] | None, rows: Array | CSR) -> tuple[Column, ...]:
    d = width(rows)
    if names is None:
        # Sparse rows may have a million columns, images have pixels: neither has names.
        dense = isinstance(rows, np.ndarray) and rows.ndim == 2
        return tuple(Column(f"x{j}", Kind.NUMERIC) for j in range(d)) if dense else ()
    if len(names) != d:
        raise SettingError(f"there are {len(names)} names for {d} columns; expected one for each")
    return tuple(Column(name, Kind.NUMERIC) for name in names)


def _labels(y: Any, classes: Sequence[str] | None, task: str | None) -> tuple[Array | None, tuple[str, ...] | None]:
    """y as codes or numbers, and the names of the classes."""
    if task not in (None, "classification", "regression"):
        raise SettingError(f"task={task!r}; expected 'classification', 'regression' or None (told by the type of y)")
    if y is None:
        return None, None
    labels = np.asarray(y)
    kind = labels.dtype.kind
    if kind not in "fiubUO":
        raise PoisonError(f"y has the type {labels.dtype}; expected numbers, strings or booleans")
    if task == "regression" or (kind == "f" and task is None):
        if kind not in "fiub":
            raise PoisonError(f"y has the type {labels.dtype}; task='regression' needs numbers")
        return labels.astype(np.float64), None
    if labels.ndim != 1:
        raise PoisonError(f"y has the shape {labels.shape}; expected (rows,): one class code for each row")
    if kind in "iu":
        present = np.unique(labels)
        if present.size and present[0] >= -1 and not (classes is None and present.tolist() == [-1, 1]):
            known = max(int(present[-1]) + 1, 0)
            if classes is None:
                return labels.astype(np.int64), tuple(map(str, range(known)))
            if len(classes) < known:
                raise SettingError(f"y holds the code {known - 1} and there are {len(classes)} classes; name them all")
            return labels.astype(np.int64), tuple(classes)
        if task is None:
            raise SettingError(
                f"y holds {present[0]}; expected codes 0, 1, ..., and -1 for no label: "
                "say task='classification' if it names a class, or task='regression'"
            )
    return _coded(labels)


def _coded(labels: Array) -> tuple[Array, tuple[str, ...]]:
    """Codes of arbitrary labels in sorted order; None and NaN are no label."""
    missing = np.array([v is None or v != v for v in labels.tolist()], dtype=bool)  # v != v: NaN
    present = labels[~missing]
    names, code = np.unique(present.astype(np.str_) if labels.dtype.kind == "O" else present, return_inverse=True)
    codes = np.full(len(labels), -1, dtype=np.int64)
    codes[~missing] = code
    spelt = [str(v).lower() if labels.dtype.kind == "b" else str(v) for v in names.tolist()]
    return codes, tuple(spelt)


def _floats(values: Any, name: str) -> npt.NDArray[np.float64] | None:
    if values is None:
        return None
    column = np.asarray(values)
    if column.dtype.kind not in "fiub" or column.ndim != 1:
        raise PoisonError(
            f"{name} has the type {column.dtype} and shape {column.shape}; expected one number for each row"
        )
    return column.astype(np.float64)


def _clock(values: Any, name: str) -> npt.NDArray[np.float64] | None:
    """Seconds since the epoch, NaN where missing."""
    if values is None or np.asarray(values).dtype.kind != "M":
        return _floats(values, name)
    times = np.asarray(values).astype("datetime64[us]")
    return np.where(np.isnat(times), np.nan, times.astype(np.int64) / 1e6)


def _names(values: Any, name: str) -> Array | None:
    if values is None:
        return None
    column = np.asarray(values)
    if column.dtype.kind in "iu":
        return column.astype(np.int64)
    if column.dtype.kind in "UO":
        return column.astype(np.str_)
    raise PoisonError(f"{name} has the type {column.dtype}; expected whole numbers or strings")
