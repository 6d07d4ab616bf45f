"""The bundled stream: every flight that was to leave New York in 2013, with labels that arrive when the plane lands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retain import buffers
from retain.blocks import concat_batches, schema_to_state, take_batch
from retain.core import Batch, Column, Kind, Schema, State
from retain.errors import SettingError, SourceError, StateError

__all__ = ["Flights", "flights"]

_FILE = Path(__file__).parent / "data" / "flights.parquet"  # built by tools/build_flights.py
_ROWS = 336_776
_PIECE = 8192  # rows decoded at a time: the first come soon, and all in .15 s
_CATEGORICAL = ("carrier", "flight", "tailnum", "origin", "dest", "weekday")
_NUMERIC = ("distance", "sched_dep_hour", "sched_arr_hour", "sched_minutes")
_WEATHER = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
_SCHEMA = Schema(
    columns=(
        *(Column(name, Kind.CATEGORICAL) for name in _CATEGORICAL),
        *(Column(name, Kind.NUMERIC) for name in _NUMERIC + _WEATHER),
    ),
    target="late",
    classes=("on time", "late"),
    time="scheduled",
    label_time="landed",
)


def flights(*, block: int = 1000) -> Flights:
    """All 336,776 flights of 2013 from New York's airports: does this one land more than 15 minutes late?

    A row arrives at the scheduled departure (`time`) and holds what is known then; its label lands with the plane
    (`label_time`), hours later, so that the rows in between must be predicted without it. Both are in seconds since
    1970, UTC. The 9,430 flights that were cancelled or diverted never get a label (code -1, `label_time` NaN). Of
    the others 23.7% are late. `id` is the number of the row.

    Columns: `carrier`, `flight` (carrier and number), `tailnum` (4,043 planes; missing for some cancelled flights),
    `origin`, `dest` and `weekday` are categories; `distance` is in miles, `sched_dep_hour` and `sched_arr_hour` are
    local clocks in hours (5.25 = 05:15), `sched_minutes` is the scheduled travel time. Weather at the origin is the
    last report from before the scheduled hour of departure: `temp` (Fahrenheit), `humid` (%), `wind_speed` (mph),
    `precip` (inches), `pressure` (millibars) and `visib` (miles), each sometimes missing.

    Args:
        block: rows per block.

    Raises:
        SettingError: `block` is not a positive whole number.

    >>> stream = flights(block=100)
    >>> batch = next(iter(stream))
    >>> batch.x.slice(0, 3).select(["flight", "tailnum", "origin", "dest", "sched_dep_hour"]).to_pylist()[0]
    {'flight': 'UA1545', 'tailnum': 'N14228', 'origin': 'EWR', 'dest': 'IAH', 'sched_dep_hour': 5.25}
    >>> (batch.label_time - batch.time)[:3] / 3600  # hours until we know
    array([4.25 , 4.35 , 3.71666667])
    >>> [batch.schema.classes[code] for code in batch.y[:3]]
    ['on time', 'late', 'late']

    Source: Hadley Wickham's nycflights13 (CC0), from the Bureau of Transportation Statistics, the FAA and ASOS.
    """
    if block < 1:
        raise SettingError(f"block={block}; expected at least one row")
    return Flights(block=block)


@final
@dataclass(frozen=True, kw_only=True)
class Flights:
    """What `flights()` returns: a stream of a known length."""

    block: int

    def __len__(self) -> int:
        """How many rows there are."""
        return _ROWS

    def __iter__(self) -> Iterator[Batch]:
        for batch, _ in self.read():
            yield batch

    def schema(self) -> Schema:
        """Names, kinds and classes of the columns."""
        return _SCHEMA

    def read(self, position: State | None = None, /) -> Iterator[tuple[Batch, State]]:
        row = _start(position)
        waiting: Batch | None = None
        for piece in _pieces(row, max(self.block, _PIECE)):
            waiting = piece if waiting is None else concat_batches([waiting, piece])
            while len(waiting) >= self.block:
                row += self.block
                yield take_batch(waiting, slice(0, self.block)), _position(row)
                waiting = take_batch(waiting, slice(self.block, None))
        if waiting is not None and len(waiting):
            yield waiting, _position(row + len(waiting))


def _position(row: int) -> State:
    return {"rows": row, "quarantined": 0, "schema": schema_to_state(_SCHEMA)}


def _start(position: State | None) -> int:
    if position is None:
        return 0
    rows = position.get("rows")
    if not isinstance(rows, int) or not 0 <= rows <= _ROWS or position.get("schema") != schema_to_state(_SCHEMA):
        raise StateError(f"a position at row {rows!r} is not one of flights(); expected one that flights().read gave")
    return rows


def _pieces(row: int, size: int) -> Iterator[Batch]:
    """The rows from `row` on, in pieces as they come out of the file."""
    from pyarrow import parquet as pq

    try:
        with pq.ParquetFile(_FILE) as file:
            first, groups = 0, file.num_row_groups
            for group in range(groups):
                end = first + file.metadata.row_group(group).num_rows
                if end > row:
                    # One thread: more of them decode further ahead than anyone asked for.
                    for rows in file.iter_batches(batch_size=size, row_groups=[group], use_threads=False):
                        skip = min(max(row - first, 0), rows.num_rows)
                        first += rows.num_rows
                        if skip < rows.num_rows:
                            yield _batch(rows.slice(skip), first - rows.num_rows + skip)
                first = end
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"cannot read {_FILE.name} of this installation ({error}); install retain again") from error


def _batch(rows: pa.RecordBatch, first: int) -> Batch:
    return Batch(
        rows.select(_SCHEMA.names),
        y=_codes(rows["late"]),
        time=_seconds(rows["scheduled"]),
        label_time=_seconds(rows["landed"]),
        id=np.arange(first, first + rows.num_rows),
        schema=_SCHEMA,
    )


def _codes(late: pa.Array) -> npt.NDArray[np.int64]:
    return np.where(buffers.valid(late), buffers.stored(late.cast(pa.int64())), -1)


def _seconds(instants: pa.Array) -> npt.NDArray[np.float64]:
    seconds = instants.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    return buffers.values(seconds).astype(np.float64)
