"""Whole pipelines are learners and obey the laws of learners: transforms, encoders that grow, hedges of learners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import retain as rt
from retain import blocks, testing
from retain.core import Batch, Column, Kind, Schema

RNG = np.random.default_rng(4)
N = 60
SCHEMA = Schema(
    columns=(Column("at", Kind.TIME), Column("size", Kind.NUMERIC), Column("shop", Kind.CATEGORICAL)),
    target="y",
    classes=("a", "b", "c"),
)


def table(*, nulls: bool = True, text: bool = True) -> pa.RecordBatch:
    """Times, numbers whose first null comes half way, and shops of which new ones keep opening."""
    size = RNG.normal(size=N)
    gone = (np.arange(N) > N // 2) & (RNG.random(N) < 0.3) if nulls else np.zeros(N, dtype=bool)
    columns: dict[str, Any] = {"size": pa.array(size, mask=gone)}
    if text:
        columns["at"] = pa.array(np.arange(N) * 3_600_000_000 * 7, pa.timestamp("us"))
        columns["shop"] = pa.array([f"s{RNG.integers(0, 1 + i // 10)}" for i in range(N)])
    return pa.record_batch(columns)


def labels(task: str) -> np.ndarray:
    batch = testing.examples(task, rows=N)
    assert batch.y is not None
    return batch.y


def auto(task: str) -> rt.Learner:
    classes = ("a", "b", "c") if task == "classification" else None
    return rt.auto(Schema(columns=SCHEMA.columns, target="y", classes=classes))


MIXED, NUMBERS = table(), table(text=False)
DENSE = testing.examples("classification", rows=N)

CHAINS: dict[str, tuple[Callable[[], Any], Batch, dict[str, Any]]] = {
    "auto, classes": (
        lambda: auto("classification"),
        Batch(MIXED, y=labels("classification")),
        {"mixes": True},
    ),
    "auto, numbers": (
        lambda: auto("regression"),
        Batch(MIXED, y=labels("regression")),
        {"mixes": True},
    ),
    "quick": (lambda: rt.quick(SCHEMA), Batch(MIXED, y=labels("classification")), {"mixes": True}),
    # The first null turns the encoder's rows from dense to sparse; nothing may show it.
    "one-hot of numbers": (
        lambda: rt.OneHot() | rt.Linear(loss=rt.Multinomial()),
        Batch(NUMBERS, y=labels("classification")),
        {},
    ),
    "target encoding": (
        lambda: rt.Select("size", "shop") | rt.Impute() | rt.TargetEncode("shop") | rt.OneHot() | rt.Linear(),
        Batch(MIXED, y=labels("regression")),
        {},
    ),
    "hashed": (
        lambda: rt.Select("size", "shop") | rt.Hash(bits=6) | rt.Linear(loss=rt.Logistic(), update=rt.FTRL()),
        Batch(MIXED, y=labels("classification")),
        {"uses_x": False},  # any value of any type has a hash
    ),
    # The lag of a newcomer's label is another input, so answers move.
    "lags": (lambda: rt.Scale() | rt.Lag(steps=(1, 2)) | rt.RLS(), DENSE, {"mixes": True}),
    "hedge of chains": (
        lambda: rt.Hedge(rt.Scale() | rt.Linear(loss=rt.Logistic(), update=rt.SGD()), rt.Prior()),
        DENSE,
        {"mixes": True},
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chain_obeys_the_laws(name: str) -> None:
    make, batch, settings = CHAINS[name]
    testing.check_learner(make, batch, grows=True, **settings)


def _feed(batch: Batch) -> Callable[[Any, int, int], None]:
    return lambda part, start, stop: part.learn(blocks.take_batch(batch, slice(start, stop)))


AGAIN = {name: (make, _feed(batch)) for name, (make, batch, _) in CHAINS.items()}


def test_chains_go_on_in_a_new_process() -> None:
    testing.resume_in_new_process(__file__, "AGAIN", rows=N)
