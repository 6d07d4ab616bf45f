"""Elec2, prequentially, with nothing tuned: the published figures are bars (logistic .822, no-change .853)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import retain as rt


def accuracy(batch: rt.Batch, learner: rt.Learner) -> tuple[float, float]:
    stream = rt.streams.arrays(batch.x, batch.y, block=4096)
    last = list(rt.Prequential(stream, learner))[-1]
    return last.metrics["accuracy"], last.baselines["no_change"]["accuracy"]


@pytest.fixture(scope="module")
def eight(data: Path) -> rt.Batch:
    x = np.loadtxt(data / "electricity" / "elec2_data.dat.gz")
    return rt.Batch(x, y=np.loadtxt(data / "electricity" / "elec2_label.dat.gz").astype(np.int64))


def test_the_default_beats_logistic_regression_and_no_change(eight: rt.Batch) -> None:
    schema = rt.streams.arrays(eight.x, eight.y).schema()
    got, no_change = accuracy(eight, rt.auto(schema))
    assert no_change == pytest.approx(0.853, abs=0.001)
    assert got > 0.88  # seen: .894


def test_with_the_lag_of_the_label_too(eight: rt.Batch) -> None:
    schema = rt.streams.arrays(eight.x, eight.y).schema()
    got, no_change = accuracy(eight, rt.Lag() | rt.auto(schema))
    assert got > no_change + 0.03


def test_six_columns_read_as_a_file(data: Path) -> None:
    stream = rt.streams.csv(data / "electricity" / "elec.csv.gz", target="class", block=4096)
    last = list(rt.Prequential(stream, rt.auto(stream.schema())))[-1]
    assert last.metrics["accuracy"] > last.baselines["no_change"]["accuracy"]
