"""The order of events, against a plain loop over a priority queue that looks at one row at a time."""

from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.core import Batch
from retain.errors import PoisonError, SettingError
from retain.run.landing import Delay, clocks, events


def one_by_one(arrival: list[float], landing: list[float]) -> list[tuple[str, int]]:
    """What happens, row by row: due labels land (by time, then row), then the row arrives."""
    log: list[tuple[str, int]] = []
    waiting: list[tuple[float, int]] = []
    for i, now in enumerate(arrival):
        while waiting and waiting[0][0] <= now:
            log.append(("land", heapq.heappop(waiting)[1]))
        log.append(("arrive", i))
        if np.isfinite(landing[i]):
            heapq.heappush(waiting, (landing[i], i))
    return log


def by_blocks(arrival: np.ndarray, landing: np.ndarray, cuts: list[int]) -> list[tuple[str, int]]:
    """The same through `events`, block by block."""
    log: list[tuple[str, int]] = []
    waiting: list[int] = []
    edges = [0, *cuts, len(arrival)]
    for a, b in pairwise(edges):
        if a == b:
            continue
        due = np.array([row for row in waiting if landing[row] <= arrival[b - 1]], dtype=np.int64)
        when = events(arrival[a:b], landing[a:b], landing[due], due, a)
        pool = [*due.tolist(), *range(a, b)]
        log += [("arrive", a + e) if e >= 0 else ("land", pool[~e]) for e in when.order.tolist()]
        assert [pool[j] for j in when.landed] == [row for kind, row in log[-len(when.order) :] if kind == "land"]
        waiting = [row for row in waiting if row not in set(due.tolist())] + [a + int(i) for i in when.waits]
    return log


@given(
    gaps=st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 5.0]), min_size=1, max_size=25),
    delays=st.lists(st.sampled_from([-2.0, 0.0, 0.0, 1.0, 3.0, 10.0, np.inf]), min_size=25, max_size=25),
    cuts=st.lists(st.integers(0, 25), max_size=4),
)
def test_events_equal_a_priority_queue_for_any_cut(gaps: list[float], delays: list[float], cuts: list[int]) -> None:
    arrival = np.cumsum(gaps)
    landing = arrival + np.array(delays[: len(gaps)])
    cuts = sorted(min(cut, len(gaps)) for cut in cuts)
    assert by_blocks(arrival, landing, cuts) == one_by_one(arrival.tolist(), landing.tolist())


def test_a_delay_of_k_rows_lands_after_k_more_rows() -> None:
    batch = Batch(np.zeros((4, 1)), y=np.zeros(4))
    arrival, landing = clocks(batch, 10, -np.inf, Delay(rows=1))
    order = events(arrival, landing, np.empty(0), np.empty(0, dtype=np.int64), 10).order
    assert order.tolist() == [0, 1, ~0, 2, ~1, 3]


def test_time_never_runs_backwards_and_missing_labels_never_land() -> None:
    batch = Batch(
        np.zeros((3, 1)), y=np.array([0, -1, 1]), time=np.array([5.0, 3.0, 6.0]), label_time=np.array([7.0, 4, np.nan])
    )
    arrival, landing = clocks(batch, 0, 4.0, None)
    assert arrival.tolist() == [5.0, 5.0, 6.0]
    assert landing.tolist() == [7.0, np.inf, np.inf]


@pytest.mark.parametrize("wrong", [{}, {"rows": 1, "seconds": 1.0}, {"rows": -1}, {"seconds": np.nan}])
def test_delays_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match="expected"):
        Delay(**wrong)  # type: ignore[arg-type]


def test_time_delays_need_times() -> None:
    batch = Batch(np.zeros((2, 1)), y=np.zeros(2))
    with pytest.raises(SettingError, match="time column"):
        clocks(batch, 0, 0.0, Delay(seconds=1.0))
    with pytest.raises(PoisonError, match="row 8"):
        clocks(Batch(np.zeros((2, 1)), y=np.zeros(2), time=np.array([1.0, np.nan])), 7, 0.0, Delay(seconds=1.0))
