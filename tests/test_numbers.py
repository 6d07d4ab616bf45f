"""The default learner on streams of numbers: a target of hundreds and of thousands, nothing scaled, nothing tuned."""

from __future__ import annotations

from pathlib import Path

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
        learner = rt.auto(stream.schema())
        if update is not None:
            learner = rt.Chain(learner.transforms, rt.Linear(update=update))
        last = list(rt.Prequential(stream, learner))[-1]
        return last.metrics["mae"], last.baselines["prior"]["mae"]

    got, prior = error(None)
    assert got < 0.7 * prior
    assert got < min(error(rt.Adaptive())[0], error(rt.Coin())[0])
