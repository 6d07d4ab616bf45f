"""Times of a table as what a learner can use: the hour, the day of the week, the season."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from retain import buffers
from retain.compose import Composable
from retain.core import CSR, Array, Batch, Features, State
from retain.errors import SchemaError, SettingError
from retain.features.columns import TIME, append, kind_of, only_table, places, refuse_kind

__all__ = ["DateParts"]

_READER = "DateParts"
_DAY = 86_400_000_000  # microseconds
_WORDS = {
    "hour": [f"{h:02d}" for h in range(24)],
    "weekday": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
    "day": [f"{d:02d}" for d in range(1, 32)],
    "month": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
}
_WAVES = ("day", "week", "year")
_ELAPSED = 10957.0  # days from 1970-01-01 to 2000-01-01


@njit(cache=True, nogil=True)
def _parts(us: Array, codes_4N: Array, phase_3N: Array) -> None:  # pragma: no cover - compiled
    """Hour, weekday, day and month (all from 0), and how far the day, the week and the year have run (0 to 1).

    Civil dates from day numbers in the proleptic Gregorian calendar: eras of 400 years = 146,097 days that begin on
    1 March, so that the leap day comes last.
    """
    for i in range(len(us)):
        days = us[i] // _DAY
        within = us[i] - days * _DAY
        z = days + 719_468
        era = z // 146_097
        doe = z - era * 146_097
        yoe = (doe - doe // 1_460 + doe // 36_524 - doe // 146_096) // 365
        doy = doe - (365 * yoe + yoe // 4 - yoe // 100)  # from 1 March
        mp = (5 * doy + 2) // 153
        month = mp + 2 if mp < 10 else mp - 10  # from 0 = January
        year = yoe + era * 400 + (1 if month < 2 else 0)
        leap = 1 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 0
        january = doy + 59 + leap if month >= 2 else doy - 306  # days since 1 January
        weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
        codes_4N[0, i] = within // 3_600_000_000
        codes_4N[1, i] = weekday
        codes_4N[2, i] = doy - (153 * mp + 2) // 5
        codes_4N[3, i] = month
        part = within / _DAY
        phase_3N[0, i] = part
        phase_3N[1, i] = (weekday + part) / 7
        phase_3N[2, i] = (january + part) / (365 + leap)


@final
class DateParts(Composable):
    """Replaces each column of times by its parts, as categories and as waves.

    By default the hour, the weekday and the month become categories, which `OneHot` turns into 24 + 7 + 12 slots: a
    linear learner then fits any daily, weekly and yearly shape, where one sine and cosine can only fit one bump. Waves
    join the edges (23:59 is near 0:00) and take two columns each: choose them where rows are few, or for trees.

    Args:
        columns: names of the columns to replace; none means every column of Arrow timestamps and dates.
        categories: parts as text: "hour" (00 to 23), "weekday" (Mon to Sun), "day" (01 to 31), "month" (Jan to Dec).
            The column `at` becomes `at_hour` and so on.
        waves: "day", "week", "year": sine and cosine of 2 pi times the part of the period that has passed. The column
            `at` becomes `at_day_sin`, `at_day_cos` and so on, float32.
        elapsed: also give the years (of 365.25 days) since 2000-01-01 as `at_elapsed`, for a trend.

    Times with a zone are taken in that zone. A missing time gives missing parts. It remembers nothing, and passes rows
    without times, arrays too, unchanged.

    Raises:
        SchemaError: a named column that is not there, or rows without names when columns are named.
        PoisonError: a named column that holds no times.

    >>> import datetime as dt, pyarrow as pa, retain as rt
    >>> at = pa.record_batch({"at": [dt.datetime(2013, 7, 4, 18, 30), None]})
    >>> rt.DateParts().apply(at).to_pylist()
    [{'at_hour': '18', 'at_weekday': 'Thu', 'at_month': 'Jul'}, {'at_hour': None, 'at_weekday': None, 'at_month': None}]
    """

    def __init__(
        self,
        *columns: str,
        categories: Sequence[str] = ("hour", "weekday", "month"),
        waves: Sequence[str] = (),
        elapsed: bool = False,
    ) -> None:
        for name, given, known in (("categories", categories, tuple(_WORDS)), ("waves", waves, _WAVES)):
            if isinstance(given, str) or not set(given) <= set(known):
                raise SettingError(f"{name} is {given!r}; expected some of {', '.join(known)}")
        self.columns = columns
        self.categories = tuple(categories)
        self.waves = tuple(waves)
        self.elapsed = elapsed
        self._words = {name: buffers.text(_WORDS[name]) for name in self.categories}

    def learn(self, batch: Batch, /) -> Batch:
        return replace(batch, x=self.apply(batch.x))

    def apply(self, x: Features, /) -> Features:
        if not self.columns and isinstance(x, (np.ndarray, CSR)):
            return x
        table = only_table(x, reader=_READER, what=f"the columns {', '.join(self.columns)}")
        if self.columns:
            where = places(table, self.columns, reader=_READER)
            for i in where:
                if kind_of(table.schema.field(i).type) != TIME:
                    refuse_kind(table, i, reader=_READER, expected="times")
        else:
            where = [i for i, field in enumerate(table.schema) if kind_of(field.type) == TIME]
        if not where:
            return table
        rest = table.select([i for i in range(table.num_columns) if i not in where])
        for i in where:
            names, columns = self._split(table.schema.names[i], table.column(i))
            if not names:
                continue
            if not rest.num_columns:  # a batch without columns has forgotten how many rows it has
                rest, names, columns = pa.RecordBatch.from_arrays(columns[:1], names[:1]), names[1:], columns[1:]
            rest = append(rest, names, columns, reader=_READER)
        if not rest.num_columns:
            raise SchemaError("DateParts would leave no column at all; expected some categories, waves or elapsed")
        return rest

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State, /) -> None:
        """There is nothing to load."""

    def _split(self, name: str, column: pa.Array) -> tuple[list[str], list[pa.Array]]:
        us, absent = _microseconds(column)
        codes = np.empty((4, len(us)), dtype=np.int32)
        phase = np.empty((3, len(us)))
        _parts(us, codes, phase)
        order = tuple(_WORDS)
        names = [f"{name}_{part}" for part in self.categories]
        columns: list[Any] = [
            pa.DictionaryArray.from_arrays(buffers.column(codes[order.index(part)], absent), self._words[part])
            for part in self.categories
        ]
        for wave in self.waves:
            angle = 2 * np.pi * phase[_WAVES.index(wave)]
            for suffix, values in (("sin", np.sin(angle)), ("cos", np.cos(angle))):
                names.append(f"{name}_{wave}_{suffix}")
                columns.append(buffers.column(values.astype(np.float32), absent))
        if self.elapsed:
            names.append(f"{name}_elapsed")
            columns.append(buffers.column(((us / _DAY - _ELAPSED) / 365.25).astype(np.float32), absent))
        return names, columns


def _microseconds(column: pa.Array) -> tuple[Array, Array | None]:
    """Local microseconds since 1970 (0 where missing), and which rows are missing, if any."""
    type_ = column.type
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        column = pc.call_function("local_timestamp", [column])
    if column.type != pa.timestamp("us"):
        column = column.cast(pa.timestamp("us"), safe=False)
    us = buffers.stored(column.cast(pa.int64()))
    if not column.null_count:
        return us, None
    absent = ~buffers.valid(column)
    us = np.where(absent, 0, us)
    us.flags.writeable = False
    return us, absent
