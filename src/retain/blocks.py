"""What is done to blocks of rows in every room: take, join, check, turn into a matrix, keep in a state.

Rows of input come in three forms (see `retain.core.Features`): dense arrays, `CSR` and Arrow record batches. Each
function here treats all three, so that no other room has to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from retain.core import CSR, Answers, Array, Batch, Column, Features, Floats, Ints, Kind, Schema, State
from retain.errors import PoisonError, SettingError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "array",
    "bounded",
    "check_labels",
    "codes",
    "concat",
    "concat_answers",
    "concat_arrays",
    "concat_batches",
    "cut",
    "dense",
    "from_state",
    "labelled",
    "matrix",
    "numbers",
    "schema_from_state",
    "schema_to_state",
    "take",
    "take_answers",
    "take_batch",
    "to_state",
    "weights",
    "width",
]

_LARGEST = float(np.finfo(np.float32).max)
_MOST_CLASSES = 1_000_000  # codes are below it: a few numbers for each of them still fit into memory
_PER_ROW = tuple(f.name for f in fields(Batch) if f.name not in ("x", "schema", "answers"))


def width(x: Features, /) -> int:
    """How many columns (features) x has."""
    if isinstance(x, CSR):
        return x.width
    return x.shape[1] if isinstance(x, np.ndarray) else x.num_columns


def take(x: Features, rows: slice | Ints, /) -> Features:
    """The given rows of x, in the given order; a slice of a dense array or record batch is a view."""
    if isinstance(x, np.ndarray):
        return x[rows]
    if isinstance(x, CSR):
        return _take_csr(x, rows)
    if isinstance(rows, slice):
        start, stop, step = rows.indices(x.num_rows)
        if step == 1:
            return x.slice(start, max(stop - start, 0))
        rows = np.arange(start, stop, step)
    return x.take(_buffers().column(rows))


def concat(parts: Sequence[Features], /) -> Features:
    """Rows of all parts, one after the other. Narrower parts are padded with zeros: encoders grow to the right."""
    if not parts:
        raise SettingError("nothing to join: expected at least one block of rows")
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return concat_arrays(cast("Sequence[Array]", parts))
    if any(isinstance(part, (np.ndarray, CSR)) for part in parts):
        return _concat_csr([part if isinstance(part, CSR) else _sparse(cast("Array", part)) for part in parts])
    pa = _arrow()
    table = pa.Table.from_batches(cast("list[pa.RecordBatch]", list(parts))).combine_chunks()
    return table.to_batches()[0] if table.num_rows else cast("pa.RecordBatch", parts[0])


def concat_arrays(parts: Sequence[Array], /) -> Array:
    """Rows of all arrays, one after the other; narrower ones are padded with zeros (say, for classes yet to come)."""
    widest = max(part.shape[1:] for part in parts)
    if all(part.shape[1:] == widest for part in parts):
        return np.concatenate(parts)
    joined = np.zeros((sum(map(len, parts)), *widest), dtype=np.result_type(*parts))
    start = 0
    for part in parts:
        joined[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return joined


def take_batch(batch: Batch, rows: slice | Ints, /) -> Batch:
    """The given rows of a batch, in the given order; labels that came apart from them stay behind."""
    columns = {name: column[rows] for name in _PER_ROW if (column := getattr(batch, name)) is not None}
    answers = None if batch.answers is None else take_answers(batch.answers, slice(0, 0))
    return replace(batch, x=take(batch.x, rows), answers=answers, **columns)


def cut(batch: Batch, start: int, stop: int, given: int, /) -> tuple[Batch, int]:
    """Neighbouring rows of a batch, with the labels that came apart by the end of them but the first `given`.

    Returns also how many labels have been given away by then.
    """
    part, answers = take_batch(batch, slice(start, stop)), batch.answers
    if answers is None or batch.time is None:
        return part, 0
    end = len(answers)
    if stop < len(batch):
        end = max(int(np.searchsorted(answers.time, np.max(batch.time[:stop], initial=-np.inf))), given)
    return replace(part, answers=take_answers(answers, slice(given, end))), end


def take_answers(answers: Answers, rows: slice | npt.NDArray[np.bool_] | Ints, /) -> Answers:
    """The given labels, in the given order."""
    return Answers(answers.id[rows], answers.y[rows], answers.time[rows])


def concat_answers(parts: Sequence[Answers], /) -> Answers:
    """Labels of all parts, one after the other."""
    return Answers(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("id", "y", "time")))


def concat_batches(batches: Sequence[Batch], /) -> Batch:
    """Rows of all batches, one after the other, under the schema of the last; every batch has the same columns."""
    if len(batches) == 1:
        return batches[0]
    columns: dict[str, Array] = {}
    for name in _PER_ROW:
        parts = [getattr(batch, name) for batch in batches]
        if all(part is not None for part in parts):
            columns[name] = np.concatenate(parts)
        elif any(part is not None for part in parts):
            raise SettingError(f"some batches have {name!r} and some have not; give it to all or to none")
    heard = [batch.answers for batch in batches if batch.answers is not None]
    answers = concat_answers(heard) if heard else None
    return Batch(concat([batch.x for batch in batches]), schema=batches[-1].schema, answers=answers, **columns)


def matrix(x: Features, /, *, reader: str, columns: int | None = None, missing: bool = False) -> Floats | CSR:
    """x as finite float32 rows: C-contiguous (n, d), or CSR. A record batch must hold numbers only.

    `reader` names the part that wants them, for the error; `columns`, where given, is the width they must have;
    `missing` lets NaN pass, which nulls of a record batch become.
    Raises PoisonError naming row, column, value and cure; also for a CSR that contradicts itself, since compiled loops
    follow its pointers without looking.
    """
    if isinstance(x, CSR):
        _check_pointers(x, reader)
        bad = np.isinf(x.values) if missing else ~np.isfinite(x.values)
        if bad.any():
            entry = int(np.flatnonzero(bad)[0])
            row = int(np.searchsorted(x.indptr, entry, side="right")) - 1
            raise _not_finite(row, str(x.indices[entry]), x.values[entry], reader)
        return x
    names: Sequence[str] | None = None
    if isinstance(x, np.ndarray):
        if x.ndim != 2:
            raise PoisonError(f"{reader} got input of shape {x.shape}; expected (rows, features): reshape it")
        if x.dtype.kind not in "fiub":
            raise PoisonError(
                f"{reader} got input of type {x.dtype}; expected numbers: encode it first, e.g. rt.OneHot()"
            )
        with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is told below
            rows = np.ascontiguousarray(x, dtype=np.float32)
    else:
        names = x.schema.names
        rows = _table_matrix(x, reader)
    if columns is not None and rows.shape[1] != columns:
        raise PoisonError(
            f"{reader} got rows of {rows.shape[1]} features; expected {columns} as learnt before: "
            "give the same columns, or start a new learner"
        )
    if not np.isfinite(rows).all() and (bad := np.isinf(rows) if missing else ~np.isfinite(rows)).any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        value = x[row, column] if isinstance(x, np.ndarray) else x.column(column)[row].as_py()
        raise _not_finite(row, names[column] if names is not None else str(column), value, reader)
    return rows


def array(x: Features, /, *, shape: tuple[int, ...] | None, whole: bool, reader: str) -> Array:
    """Rows (n, ...) in float32; where `whole` numbers are taken, as codes are, those stay so, in int64.

    Raises PoisonError for what is not finite, not numbers, or not of the shape that rows are known to have.
    """
    if isinstance(x, CSR):
        raise SettingError(f"{reader} got sparse rows; expected an array: make them dense or embed them first")
    rows = x if isinstance(x, np.ndarray) else np.asarray(matrix(x, reader=reader))
    if rows.ndim < 2 or rows.dtype.kind not in "fiub":
        raise PoisonError(
            f"{reader} got input of shape {rows.shape} and type {rows.dtype}; expected numbers of shape (rows, "
            "...): reshape or encode it first"
        )
    if shape is not None and rows.shape[1:] != shape:
        raise PoisonError(
            f"{reader} got rows of shape {rows.shape[1:]}; expected {shape} as learnt before: give the same columns, "
            "or start a new learner"
        )
    if rows.dtype.kind == "f":
        return _single(rows, reader)
    return np.ascontiguousarray(rows, dtype=np.int64 if whole and rows.dtype.kind in "iu" else np.float32)


def dense(x: Floats | CSR, columns: int, /) -> Floats:
    """x as a dense (n, columns) float32 array; sparse and narrower rows are padded with zeros."""
    if isinstance(x, np.ndarray):
        if x.shape[1] == columns:
            return x
        rows = np.zeros((len(x), columns), dtype=np.float32)
        rows[:, : x.shape[1]] = x
        return rows
    rows = np.zeros((len(x), columns), dtype=np.float32)
    row = np.repeat(np.arange(len(x)), np.diff(x.indptr))
    np.add.at(rows, (row, x.indices), x.values)
    return rows


def codes(y: Array | None, n: int, /, *, reader: str, below: int = _MOST_CLASSES) -> npt.NDArray[np.int64]:
    """y as (n,) int64 class codes, -1 where the label is missing. Raises PoisonError for anything else.

    Learners keep something for every code up to the highest: one of a trillion is an identifier, or a mistake.
    """
    if y is None:
        return np.full(n, -1, dtype=np.int64)
    _check_length(y, n, reader)
    if y.ndim != 1 or y.dtype.kind not in "iub":
        raise PoisonError(
            f"{reader} got labels of type {y.dtype} and shape {y.shape}; expected whole class codes 0, 1, ... of shape "
            "(n,): use a regression loss for numbers, or turn labels into codes"
        )
    if n and int(y.max()) >= below:  # before the cast, in which the largest of uint64 become negative
        row = int(y.argmax())
        raise PoisonError(
            f"{reader} got the class code {y[row]} in row {row}; expected codes below {below:,}: turn labels into "
            "codes 0, 1, ..., e.g. by np.unique(labels, return_inverse=True)"
        )
    labels = y.astype(np.int64, copy=False)
    if n and int(labels.min()) < -1:
        row = int(np.flatnonzero(labels < -1)[0])
        raise PoisonError(
            f"{reader} got the class code {labels[row]} in row {row}; expected 0, 1, ... or -1 for no label"
        )
    return labels


def numbers(y: Array | None, n: int, /, *, reader: str) -> Floats:
    """y as (n,) or (n, k) float64 targets, NaN where missing. Raises PoisonError for infinite or non-numeric ones."""
    if y is None:
        return np.full(n, np.nan)
    _check_length(y, n, reader)
    if y.dtype.kind not in "fiub":
        raise PoisonError(f"{reader} got targets of type {y.dtype}; expected numbers")
    targets = y.astype(np.float64, copy=False)
    if np.isinf(targets).any():
        row = int(np.argwhere(np.isinf(targets))[0][0])
        raise PoisonError(
            f"{reader} got the target {targets[row]} in row {row}; expected a finite number: drop the row"
        )
    return targets


def check_labels(y: Array | None, n: int, /, *, reader: str) -> None:
    """Refuse labels that are neither codes nor numbers, before anyone has learnt from them."""
    if y is not None and y.dtype.kind in "iub":
        codes(y, n, reader=reader)
    else:
        numbers(y, n, reader=reader)


def weights(weight: Array | None, n: int, /, *, reader: str) -> Floats:
    """Sample weights as (n,) float64, ones where there are none. Raises PoisonError for negative or non-finite ones."""
    if weight is None:
        return np.ones(n)
    _check_length(weight, n, reader)
    values = weight.astype(np.float64, copy=False)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise PoisonError(f"{reader} got the weight {values[row]} in row {row}; expected a finite number >= 0")
    return values


def bounded(values: Floats, what: str, /, *, reader: str) -> Floats:
    """Values that float32 could hold too, so that no product in float64 overflows; NaN passes. Raises PoisonError."""
    if not values.size or np.abs(values).max() <= _LARGEST:
        return values
    far = np.abs(values) > _LARGEST
    if far.any():
        row = int(np.argwhere(far)[0][0])
        raise PoisonError(
            f"{reader} got the {what} {values[row]} in row {row}; expected at most {_LARGEST:.3g}: drop the row, or "
            "choose another unit"
        )
    return values


def labelled(y: Array | None, n: int, /) -> Array:
    """Which of n rows have a label: (n,) booleans."""
    if y is None:
        return np.zeros(n, dtype=bool)
    if y.dtype.kind == "f":
        missing = np.isnan(y)
        return ~(missing if missing.ndim == 1 else np.any(missing, axis=1))
    return y >= 0 if y.dtype.kind == "i" else np.ones(n, dtype=bool)


def to_state(batch: Batch, /) -> dict[str, Any]:
    """A batch as a `State`; record batches travel as Arrow IPC bytes."""
    state: dict[str, Any] = {n: c.copy() for n in _PER_ROW if (c := getattr(batch, n)) is not None}
    if isinstance(batch.x, np.ndarray):
        state["x"] = batch.x.copy()
    elif isinstance(batch.x, CSR):
        x = batch.x
        state["csr"] = {
            "indptr": x.indptr.copy(),
            "indices": x.indices.copy(),
            "values": x.values.copy(),
            "width": x.width,
        }
    else:
        pa = _arrow()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.x.schema) as writer:
            writer.write_batch(batch.x)
        state["arrow"] = np.frombuffer(sink.getvalue(), dtype=np.uint8).copy()
    state["schema"] = None if batch.schema is None else schema_to_state(batch.schema)
    return state


def from_state(state: State, /) -> Batch:
    """The batch that `to_state` kept."""
    if "x" in state:
        x: Features = state["x"]
    elif "csr" in state:
        x = CSR(**state["csr"])
    else:
        pa = _arrow()
        x = pa.ipc.open_stream(state["arrow"].tobytes()).read_next_batch()
    schema = None if state["schema"] is None else schema_from_state(state["schema"])
    return Batch(x, schema=schema, **{name: state[name] for name in _PER_ROW if name in state})


def schema_to_state(schema: Schema, /) -> dict[str, Any]:
    """A schema as a `State`."""
    state: dict[str, Any] = {f.name: getattr(schema, f.name) for f in fields(Schema)}
    state["columns"] = [[column.name, column.kind.value] for column in schema.columns]
    state["classes"] = None if schema.classes is None else list(schema.classes)
    return state


def schema_from_state(state: State, /) -> Schema:
    """The schema that `schema_to_state` kept."""
    columns = tuple(Column(name, Kind(kind)) for name, kind in state["columns"])
    classes = None if state["classes"] is None else tuple(state["classes"])
    kept: dict[str, Any] = {**state, "columns": columns, "classes": classes}
    return Schema(**kept)


def _check_length(column: Array, n: int, reader: str) -> None:
    if len(column) != n:
        raise PoisonError(
            f"{reader} got {n} rows of input and {len(column)} labels or weights; expected one for each row"
        )


def _check_pointers(x: CSR, reader: str) -> None:
    entries = len(x.values)
    rising = (
        len(x) >= 0 and x.indptr[0] >= 0 and x.indptr[-1] <= entries and bool((x.indptr[1:] >= x.indptr[:-1]).all())
    )
    if not rising or len(x.indices) != entries:
        raise PoisonError(
            f"{reader} got sparse rows with {entries} values, {len(x.indices)} indices and pointers {x.indptr[:1]} to "
            f"{x.indptr[-1:]}; expected pointers that rise from 0 to the number of values"
        )
    # A negative index, read as an unsigned number, is a large one: one pass finds both.
    if entries and x.indices.astype(np.int32, copy=False).view(np.uint32).max() >= x.width:
        entry = int(np.flatnonzero((x.indices < 0) | (x.indices >= x.width))[0])
        row = int(np.searchsorted(x.indptr, entry, side="right")) - 1
        raise PoisonError(
            f"{reader} got column {x.indices[entry]} in row {row}; expected columns 0 to {x.width - 1}, by the width "
            "of these sparse rows"
        )


def _not_finite(row: int, column: str, value: object, reader: str) -> PoisonError:
    return PoisonError(
        f"{reader} got {value} in row {row}, column {column}; expected a finite number within float32: "
        "put rt.Impute() in front for missing values, or drop the row"
    )


def _table_matrix(x: pa.RecordBatch, reader: str) -> Floats:
    pa = _arrow()
    rows = np.empty((x.num_rows, x.num_columns), dtype=np.float32)
    for j, (name, column) in enumerate(zip(x.schema.names, x.columns, strict=True)):
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise PoisonError(
                f"{reader} got the column {name!r} of type {kind}; expected numbers: put an encoder in front, e.g. "
                "rt.OneHot() | ..."
            )
        plain = column.cast(pa.uint8()) if pa.types.is_boolean(kind) else column
        with np.errstate(over="ignore"):
            rows[:, j] = _buffers().values(plain)  # nulls become NaN
    return rows


def _take_csr(x: CSR, rows: slice | Ints) -> CSR:
    if isinstance(rows, slice):
        start, stop, step = rows.indices(len(x))
        if step == 1:
            stop = max(start, stop)
            first, last = x.indptr[start], x.indptr[stop]
            return CSR(x.indptr[start : stop + 1] - first, x.indices[first:last], x.values[first:last], x.width)
        rows = np.arange(start, stop, step)
    lengths = np.diff(x.indptr)[rows]
    indptr = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=indptr[1:])
    entries = np.repeat(x.indptr[:-1][rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
    return CSR(indptr, x.indices[entries], x.values[entries], x.width)


def _sparse(x: Array) -> CSR:
    row, column = np.nonzero(x)
    indptr = np.zeros(len(x) + 1, dtype=np.int64)
    np.cumsum(np.bincount(row, minlength=len(x)), out=indptr[1:])
    return CSR(indptr, column.astype(np.int32), x[row, column].astype(np.float32), x.shape[1])


def _concat_csr(parts: Sequence[CSR]) -> CSR:
    offsets = np.cumsum([0, *(part.indptr[-1] for part in parts[:-1])])
    starts = [part.indptr[:-1] + offset for part, offset in zip(parts, offsets, strict=True)]
    indptr = np.concatenate([*starts, [offsets[-1] + parts[-1].indptr[-1]]]).astype(np.int64)
    indices = np.concatenate([part.indices for part in parts])
    values = np.concatenate([part.values for part in parts])
    return CSR(indptr, indices, values, max(part.width for part in parts))


def _arrow() -> Any:
    import pyarrow as pa

    return pa


def _buffers() -> Any:
    from retain import buffers

    return buffers


def _single(array: Array, reader: str) -> Array:
    """Rows in float32; a row that holds NaN, infinity or what float32 has no number for is refused."""
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(array, dtype=np.float32)
        flat = single.reshape(-1)
        total = flat.dot(flat)
    # Squares of finite numbers have a finite sum, but for an overflow: only then they are looked at one by one.
    if math.isfinite(total) or np.isfinite(single).all():
        return single
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(single))[0])
    raise PoisonError(
        f"{reader} got {array[place]} in row {place[0]}, column {', '.join(map(str, place[1:]))}; expected finite "
        "numbers: fill what is missing first, e.g. rt.Impute() |"
    )
