"""The loop against one that lives through single events, whatever the blocks, the delays and the stops between."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retain as rt
from retain import blocks, state
from retain.core import Batch, State
from retain.errors import PoisonError, SettingError

RNG = np.random.default_rng(11)
N = 40
X = RNG.normal(size=(N, 3)).astype(np.float32)
Y = (X[:, 0] + 0.3 * RNG.normal(size=N) > 0).astype(np.int64)
Y[[5, 17]] = -1
TIME = np.cumsum(RNG.integers(0, 3, size=N)).astype(np.float64)
LABEL_TIME = TIME + RNG.choice([0.0, 1.0, 4.0, 30.0, np.nan], size=N)
BATCH = Batch(X, y=Y, time=TIME, weight=RNG.uniform(0.5, 2, size=N))


class Rows:
    """A stream over one batch."""

    def __init__(self, batch: Batch, block: int) -> None:
        self.batch, self.block = batch, block

    def read(self, position: State | None = None) -> Iterator[tuple[Batch, State]]:
        start = 0 if position is None else position["rows"]
        for a in range(start, len(self.batch), self.block):
            rows = blocks.take_batch(self.batch, slice(a, a + self.block))
            yield rows, {"rows": a + len(rows), "quarantined": 0}


def learner() -> Any:
    return rt.Scale() | rt.Linear(loss=rt.Logistic())


def event_by_event(
    batch: Batch, landing: np.ndarray, arrival: np.ndarray
) -> tuple[dict[int, np.ndarray], list[int], Any]:
    """Predictions on arrival, the order in which labels land, and the learner in the end."""
    scale, linear = rt.Scale(), rt.Linear(loss=rt.Logistic())
    said: dict[int, np.ndarray] = {}
    frozen: dict[int, Batch] = {}
    waiting: list[tuple[float, int]] = []
    landed: list[int] = []

    def land(until: float) -> None:
        while waiting and waiting[0][0] <= until:
            i = heapq.heappop(waiting)[1]
            linear.learn(replace(frozen[i], y=batch.y[i : i + 1]))  # type: ignore[index]
            landed.append(i)

    for i in range(len(batch)):
        land(arrival[i])
        row = blocks.take_batch(batch, slice(i, i + 1))
        frozen[i] = scale.learn(replace(row, y=None))
        said[i] = linear.predict(frozen[i].x)[0]
        if batch.y[i] >= 0 and np.isfinite(landing[i]):  # type: ignore[index]
            heapq.heappush(waiting, (landing[i], i))
    land(np.inf)
    return said, landed, linear


CASES: dict[str, tuple[Batch, rt.Delay | None, np.ndarray, np.ndarray]] = {
    "at once": (BATCH, None, np.arange(N) + 0.5, np.arange(N, dtype=float)),
    "after 3 rows": (BATCH, rt.Delay(rows=3), np.arange(N) + 3.5, np.arange(N, dtype=float)),
    "after 4 seconds": (BATCH, rt.Delay(seconds=4), TIME + 4, TIME),
    "when known": (replace(BATCH, label_time=LABEL_TIME), None, LABEL_TIME, TIME),
}


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=20)
@given(block=st.integers(1, N))
def test_rows_and_labels_meet_as_in_a_loop_over_events(case: str, block: int) -> None:
    batch, delay, landing, arrival = CASES[case]
    said, landed, linear = event_by_event(batch, landing, arrival)
    run = rt.Prequential(Rows(batch, block), learner(), delay=delay)
    reports = list(run)
    assert [int(i) for report in reports for i in report.id] == landed
    for report in reports:
        for i, row in zip(report.id, report.prediction, strict=True):
            assert np.array_equal(row[: len(said[i])], said[i])
            assert not row[len(said[i]) :].any()
    assert state.equal(run.learner.learner.state_dict(), linear.state_dict())  # type: ignore[attr-defined]
    last = reports[-1]
    right = [int(np.argmax(said[i]) == batch.y[i]) if len(said[i]) else 0 for i in landed]  # type: ignore[index]
    assert last.metrics["accuracy"] == pytest.approx(np.mean(right), abs=1e-12)
    assert (last.rows, last.learnt, last.pending, last.lost) == (N, len(landed), 0, N - len(landed))
    assert np.concatenate([report.loss for report in reports]).tolist() == [1 - r for r in right]


@pytest.mark.parametrize("case", CASES)
def test_blocks_change_nothing_that_is_reported(case: str) -> None:
    batch, delay, *_ = CASES[case]
    ends = [list(rt.Prequential(Rows(batch, block), learner(), delay=delay))[-1] for block in (1, 7, N)]
    for end in ends[1:]:
        assert (end.metrics, end.baselines) == (ends[0].metrics, ends[0].baselines)


@pytest.mark.parametrize("case", CASES)
def test_saved_after_any_report_a_run_goes_on_as_if_never_stopped(case: str) -> None:
    batch, delay, *_ = CASES[case]
    whole = rt.Prequential(Rows(batch, 7), learner(), delay=delay)
    expected = list(whole)
    resumed = rt.Prequential(Rows(batch, 7), learner(), delay=delay)
    for _ in whole.stream.read():
        saved = state.encode(resumed.state_dict())
        resumed = rt.Prequential(Rows(batch, 7), learner(), delay=delay)
        resumed.load_state_dict(state.decode(saved))
        next(iter(resumed.steps()))
    ends = [*resumed.steps(), *resumed.finish()]
    assert _timeless(whole.state_dict()) == _timeless(resumed.state_dict())
    if ends:
        assert ends[-1].metrics == expected[-1].metrics


def _timeless(kept: State) -> bytes:
    return state.encode({**kept, "clocks": None})


def test_a_short_run_too_is_seen_to_go_on() -> None:
    x = np.random.default_rng(0).normal(size=(2_000, 2))
    y = (x[:, 0] > 0).astype(int)
    whole, cut = (list(rt.Prequential(rt.streams.arrays(x, y, block=block), learner())) for block in (5_000, 20))
    rows = np.array([0, *(report.rows for report in whole)])
    assert (np.diff(rows) <= np.maximum(32, rows[:-1] // 5)).all()
    assert 14 < len(whole) < 25
    assert len(cut) == 100  # shorter blocks stay as they are
    assert whole[-1].metrics == cut[-1].metrics


def test_a_limit_stops_within_a_block_and_the_next_run_goes_on_there() -> None:
    whole = rt.Prequential(Rows(BATCH, 7), learner(), delay=rt.Delay(rows=3))
    list(whole.steps())
    part = rt.Prequential(Rows(BATCH, 7), learner(), delay=rt.Delay(rows=3), limit=10)
    assert [report.rows for report in part.steps()] == [7, 10]
    assert list(part.steps()) == []
    rest = rt.Prequential(Rows(BATCH, 7), learner(), delay=rt.Delay(rows=3))
    rest.load_state_dict(state.decode(state.encode(part.state_dict())))
    assert [report.rows for report in rest.steps()][:2] == [14, 21]
    assert _timeless(rest.state_dict()) == _timeless(whole.state_dict())


def test_labels_later_than_the_limit_are_lost() -> None:
    run = rt.Prequential(Rows(replace(BATCH, label_time=LABEL_TIME), 7), learner(), expire=4.0)
    last = list(run)[-1]
    on_time = (LABEL_TIME - TIME <= 4.0) & (Y >= 0)
    assert (last.learnt, last.lost) == (on_time.sum(), N - on_time.sum())


def test_warm_rows_are_learnt_and_not_scored() -> None:
    warm = list(rt.Prequential(Rows(BATCH, 7), learner(), warm=20))[-1]
    all_rows = rt.Prequential(Rows(BATCH, 1), learner())
    losses = np.concatenate([report.loss for report in all_rows])
    assert warm.learnt == N - 2
    assert warm.metrics["accuracy"] == pytest.approx(1 - losses[-(N - 20) :].mean(), abs=1e-12)


def test_baselines_see_the_same_labels_at_the_same_time() -> None:
    last = list(rt.Prequential(Rows(BATCH, 7), learner(), delay=rt.Delay(rows=3)))[-1]
    known = [i for i in range(N) if Y[i] >= 0]
    right = []
    for i in known:
        before = [Y[j] for j in known if j + 3 < i]
        right.append(bool(before) and before[-1] == Y[i])
    assert last.baselines["no_change"]["accuracy"] == pytest.approx(np.mean(right), abs=1e-12)


def test_regression_has_its_own_measures() -> None:
    x = np.tile(X, (20, 1))
    last = list(rt.Prequential(Rows(Batch(x, y=x @ [1.0, 2.0, 3.0]), 7), rt.Linear()))[-1]
    assert set(last.metrics) == {"mae", "rmse", "r2"}
    assert last.metrics["mae"] < last.baselines["prior"]["mae"]


@pytest.mark.parametrize("late", [False, True])
def test_a_poisoned_block_says_where_and_changes_nothing(late: bool) -> None:
    x = X.copy()
    x[30, 1] = np.inf
    batch = replace(BATCH, x=x, label_time=LABEL_TIME if late else None)
    run = rt.Prequential(Rows(batch, 7), learner())
    reports = run.steps()
    for _ in range(4):
        next(reports)
    before = _timeless(run.state_dict())
    with pytest.raises(PoisonError, match=r"row 2.*rows 28 to 34 of the stream"):
        next(reports)
    assert _timeless(run.state_dict()) == before


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"warm": -1}, {"limit": -1}, {"expire": np.nan}):
        with pytest.raises(SettingError, match="expected numbers >= 0"):
            rt.Prequential(Rows(BATCH, 7), learner(), **wrong)  # type: ignore[arg-type]
