"""The default learner on streams of numbers: a target of hundreds and of thousands, nothing scaled, nothing tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import retain as rt

SOURCES = {
    "bike_sharing/hour.csv.gz": {"target": "cnt", "ignore": ("casual", "registered", "instant", "dteday")},
    "metro_traffic/Metro_Interstate_Traffic_Volume.csv.gz": {"target": "traffic_volume"},
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_default_is_better_than_each_of_its_kind_alone(data: Path, name: str) -> None:
    def error(update: rt.Adaptive | rt.Coin | None) -> tuple[float, float]:
        stream = rt.streams.csv(data / name, block=4096, **SOURCES[name])
        learner: Any = rt.quick(stream.schema())
        if update is not None:
            learner = rt.Chain(learner.transforms, rt.Linear(update=update))
        last = list(rt.Prequential(stream, learner))[-1]
        return last.metrics["mae"], last.baselines["prior"]["mae"]

    got, prior = error(None)  # four linear learners
    assert got < 0.7 * prior
    assert got < min(error(rt.Adaptive())[0], error(rt.Coin())[0])


@pytest.mark.parametrize(
    ("name", "most"),
    [("bike_sharing/hour.csv.gz", 60.0), ("metro_traffic/Metro_Interstate_Traffic_Volume.csv.gz", 300.0)],
)
def test_the_default_is_far_better_than_lines(data: Path, name: str, most: float) -> None:
    stream = rt.streams.csv(data / name, block=4096, **SOURCES[name])
    last = list(rt.Prequential(stream, rt.auto(stream.schema())))[-1]
    assert last.metrics["mae"] < most  # seen: 39 and 221; lines alone 86 and 456
