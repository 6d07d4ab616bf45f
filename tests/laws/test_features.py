"""Every transform through the laws, on bare arrays and on tables with missing values, newcomers and times."""

import functools
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from tests.features.tiny import tiny

import retain as rt
from retain import testing
from retain.core import Column, Kind, Schema
from retain.features.impute import Constant, LastValue

torch = pytest.importorskip("torch", reason="needs the extra `torch`")

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
HOLES = replace(ARRAY, x=np.where(np.random.default_rng(1).random(ARRAY.x.shape) < 0.2, np.nan, ARRAY.x))
IMAGES = replace(ARRAY, x=np.random.default_rng(2).random((len(ARRAY), 1, 5, 4), dtype=np.float32))
FROZEN = torch.nn.Sequential(torch.nn.Linear(ARRAY.x.shape[1], 5), torch.nn.Tanh())
TARGETS = testing.examples("regression")
SCHEMA = Schema(columns=(*(Column(n, Kind.CATEGORICAL) for n in ("colour", "shop")), Column("text", Kind.TEXT)))


@functools.cache
def exported():
    """Exports take seconds, and of texts such a part keeps nothing: one will do."""
    return rt.Embed(tiny(), runtime=rt.OnnxRuntime())


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
    "Rolling of a column": (
        lambda: rt.Rolling("price", rows=3, stats=("mean", "sum", "count", "min", "max"), by="shop", keys=4),
        TABLE,
        {"poison": False},
    ),
    "Rolling of a column by time": (
        lambda: rt.Rolling("size", rows=20, seconds=7200, time="at", stats=("max", "count")),
        TABLE,
        {"poison": False},
    ),
    "Rolling of the label": (lambda: rt.Rolling(rows=5, by="shop", keys=3), TABLE, {"poison": False}),
    "Rolling of the target, array": (lambda: rt.Rolling(rows=4, stats=("sum",)), TARGETS, {"poison": False}),
    "Ordinal": (rt.Ordinal, PLAIN, {"poison": False}),
    "Ordinal, bounded": (lambda: rt.Ordinal("count", "shop", max_categories=2), PLAIN, {"poison": False}),
    "TargetEncode": (rt.TargetEncode, TABLE, {"poison": False}),
    "TargetEncode, forgetful": (
        lambda: rt.TargetEncode("shop", "count", classes=3, smoothing=2, keys=5, drop=False),
        TABLE,
        {"poison": False},
    ),
    "TargetEncode, numbers": (
        lambda: rt.TargetEncode("colour", smoothing=0),
        replace(TABLE, y=TARGETS.y, weight=None),
        {"poison": False},
    ),
    "Impute, table": (lambda: rt.Impute(indicator=True), TABLE, {}),
    "Impute, array": (rt.Impute, HOLES, {"accepts_missing": True}),
    "Impute the last, array": (
        lambda: rt.Impute(strategy=LastValue(), indicator=True),
        HOLES,
        {"accepts_missing": True},
    ),
    "Impute a constant": (lambda: rt.Impute("price", strategy=Constant(-1)), PLAIN, {"poison": False}),
    "Select": (lambda: rt.Select("colour", "price"), TABLE, {"poison": False}),
    "Select, array": (lambda: rt.Select(drop=1), ARRAY, {"poison": False}),
    "RandomFeatures, array": (lambda: rt.RandomFeatures(40), ARRAY, {}),
    "RandomFeatures, table": (lambda: rt.RandomFeatures(7, kind="fourier", seed=3), NUMBERS, {}),
    "RandomFeatures, fewer": (lambda: rt.RandomFeatures(40).narrowed(np.arange(0, 40, 3)), ARRAY, {}),
    "Hash, fewer bits": (
        lambda: rt.Hash(bits=12, text=("text",)).folded(6),
        replace(TABLE, x=TABLE.x.drop_columns(["at"])),
        {"poison": False},
    ),
    "Hash": (
        lambda: rt.Hash(bits=7, text=("text",)),
        replace(TABLE, x=TABLE.x.drop_columns(["at"])),
        {"poison": False},
    ),
    "Hash, by schema": (
        rt.Hash,
        replace(TABLE, x=TABLE.x.drop_columns(["at", "text"]), schema=SCHEMA),
        {"poison": False},
    ),
    "Hash, grams": (
        lambda: rt.Hash(bits=9, text=("text",), grams=(2, 4), normalised=True),
        replace(TABLE, x=TABLE.x.drop_columns(["at"])),
        {"poison": False},
    ),
    "Embed, array": (lambda: rt.Embed(FROZEN), ARRAY, {"tolerance": 1e-5}),
    "Embed, images": (
        lambda: rt.Embed(torch.nn.Sequential(rt.Pixels(3), torch.nn.Flatten())),
        IMAGES,
        {"poison": False, "tolerance": 1e-5},
    ),
    "Embed, texts": (
        lambda: rt.Embed(tiny()),
        replace(TABLE, x=np.array(TABLE.x.column("text").to_pylist(), dtype=object)),
        {"poison": False, "tolerance": 1e-5},
    ),
    "Embed, texts by ONNX Runtime": (
        exported,
        replace(TABLE, x=np.array(TABLE.x.column("text").to_pylist(), dtype=object)),
        {"poison": False, "tolerance": 1e-5},
    ),
    "Embed, table": (lambda: rt.Embed(tiny(), "text", pooling="cls"), TABLE, {"poison": False, "tolerance": 1e-5}),
    "Chain of all": (
        lambda: (
            rt.DateParts()
            | rt.TargetEncode(drop=False)
            | rt.Lag(by="shop")
            | rt.Rolling(by="colour")
            | rt.Scale()
            | rt.OneHot()
        ),
        replace(TABLE, x=TABLE.x.drop_columns(["text"])),
        {},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_laws(name):
    make, batch, options = CASES[name]
    testing.check_transform(make, batch, **options)
