"""Every transform through the laws, on bare arrays and on tables with missing values, newcomers and times."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import retain as rt
from retain import testing
from retain.core import Column, Kind, Schema

ROWS = 48


def table() -> rt.Batch:
    rng = np.random.default_rng(3)
    numbers = rng.normal(50, 10, size=(3, ROWS))
    colours = rng.choice(["red", "green", "blue", "grey"], size=ROWS, p=[0.5, 0.3, 0.15, 0.05])
    shops = np.array([f"shop {int(s)}" for s in rng.integers(0, 9, size=ROWS)])
    hours = np.cumsum(rng.integers(0, 7200, size=ROWS)) + 1_357_000_000
    x = pa.record_batch(
        {
            "size": pa.array(numbers[0]),
            "price": pa.array(numbers[1], mask=rng.random(ROWS) < 0.2),
            "count": pa.array(rng.integers(0, 5, size=ROWS)),
            "new": pa.array(rng.random(ROWS) < 0.5),
            "colour": pa.array(colours, mask=rng.random(ROWS) < 0.1),
            "shop": pa.array(shops).dictionary_encode(),
            "text": pa.array([f"{c} or {s}, 7 {c}" for c, s in zip(colours, shops, strict=True)]),
            "at": pa.array(hours.astype("datetime64[s]"), mask=rng.random(ROWS) < 0.1).cast(pa.timestamp("us")),
        }
    )
    y = np.where(rng.random(ROWS) < 0.1, -1, (numbers[0] > 50).astype(np.int64))
    return rt.Batch(x, y=y, weight=rng.uniform(0.5, 2, size=ROWS))


TABLE = table()
PLAIN = replace(TABLE, x=TABLE.x.select(["size", "price", "count", "new", "colour", "shop"]))
NUMBERS = replace(TABLE, x=TABLE.x.select(["size", "count", "new"]))
ARRAY = testing.examples("classification", classes=2)
TARGETS = testing.examples("regression")
SCHEMA = Schema(columns=(*(Column(n, Kind.CATEGORICAL) for n in ("colour", "shop")), Column("text", Kind.TEXT)))

CASES = {
    "Scale, array": (rt.Scale, ARRAY, {}),
    "Scale, table": (rt.Scale, TABLE, {}),
    "Scale, columns": (lambda: rt.Scale("price", "size"), PLAIN, {}),
    "OneHot, array": (rt.OneHot, ARRAY, {}),
    "OneHot, numbers": (rt.OneHot, NUMBERS, {}),
    "OneHot, table": (rt.OneHot, PLAIN, {}),
    "OneHot, bounded": (lambda: rt.OneHot("count", max_categories=3), PLAIN, {}),
    "DateParts": (
        lambda: rt.DateParts(
            categories=("hour", "weekday", "day", "month"), waves=("day", "week", "year"), elapsed=True
        ),
        TABLE,
        {"poison": False},
    ),
    "Lag of the label, array": (lambda: rt.Lag(steps=(1, 3)), ARRAY, {"poison": False}),
    "Lag of the target, array": (lambda: rt.Lag(steps=(1, 3)), TARGETS, {"poison": False}),
    "Lag of the label by shop": (lambda: rt.Lag(steps=(2, 1), by="shop", keys=4), TABLE, {"poison": False}),
    "Lag of a column by shop": (lambda: rt.Lag("price", by=("shop", "colour"), keys=5), TABLE, {"poison": False}),
    "Lag of a column, array": (lambda: rt.Lag(2, by=1), ARRAY, {"poison": False}),
    "Chain of all": (
        lambda: rt.DateParts() | rt.Lag(by="shop") | rt.Scale() | rt.OneHot(),
        replace(TABLE, x=TABLE.x.drop_columns(["text"])),
        {},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_laws(name):
    make, batch, options = CASES[name]
    testing.check_transform(make, batch, **options)
