"""Spike 1: late flights through `Scale | Lag | Linear`, blocks of events against a plain loop over single ones."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import retain as rt
from retain.blocks import concat_batches, from_state, to_state
from retain.compose import Chain, Kept
from retain.core import Array, Batch
from retain.state import decode, encode

ROWS, RATE = 3000, 0.05


@pytest.fixture(scope="module")
def flights() -> Batch:
    """The first flights of the year, by four numbers that are never missing."""
    batch = next(iter(rt.streams.flights(block=ROWS)))
    names = ("distance", "sched_dep_hour", "sched_arr_hour", "sched_minutes")
    x = np.column_stack([batch.x[name].to_numpy(zero_copy_only=False) for name in names]).astype(np.float64)
    return Batch(x, y=batch.y, time=batch.time, label_time=batch.label_time)


def make() -> Chain:
    return rt.Scale() | rt.Lag(steps=(1, 2)) | rt.Linear(loss=rt.Logistic(), update=rt.SGD(learning_rate=RATE))


def row_by_row(flights: Batch, *, late: bool = True) -> tuple[list[float], list[float]]:
    """The same in Python numbers, event after event: what was said of each flight, and the last weights."""
    arrive, land = 1, 0  # what comes first at the same instant
    if late:
        events = [(t, arrive, i) for i, t in enumerate(flights.time)] + [
            (t, land, i) for i, t in enumerate(flights.label_time) if t <= flights.time[-1]
        ]
    else:
        events = [(i, arrive, i) for i in range(ROWS)] + [(i + 0.5, land, i) for i in range(ROWS) if flights.y[i] >= 0]
    count, mean, square = 0, [0.0] * 4, [0.0] * 4
    last: list[float] = [0.0, 0.0]
    w, seen, said = [0.0] * 7, set(), [0.0] * ROWS  # the seventh is the bias
    waiting: dict[int, list[float]] = {}

    def margin(row: list[float]) -> float:
        return w[6] + sum(a * b for a, b in zip(w[:6], row, strict=True))

    for _, kind, i in sorted(events):
        if kind == arrive:
            row = []
            for j, value in enumerate(flights.x[i]):
                row.append(float(np.float32((value - mean[j]) / math.sqrt(square[j] / count))) if square[j] else 0.0)
            count += 1
            for j, value in enumerate(flights.x[i]):
                step = value - mean[j]
                mean[j] += step / count
                square[j] += step * (value - mean[j])
            row += last
            said[i] = 1 / (1 + math.exp(-margin(row))) if 1 in seen else 0.0  # no class is foretold before it was met
            waiting[i] = row
        else:
            row, y = waiting.pop(i), int(flights.y[i])
            seen.add(y)
            slope = 1 / (1 + math.exp(-margin(row))) - y
            w = [a - RATE * slope * b for a, b in zip(w, [*row, 1.0], strict=True)]
            last = [float(y), last[0]]
    return said, w


def in_blocks(flights: Batch, cuts: list[int], *, pipe: Chain, reborn: bool = False) -> tuple[Chain, Array]:
    """Arrivals and landings of a block in one call, through the one verb that `Chain` has for them."""
    wait, kept = np.zeros(0, dtype=np.int64), None
    said = np.zeros((ROWS, 2))
    for start, stop in pairwise([0, *cuts, ROWS]):
        new = np.arange(start, stop)
        pool = np.concatenate([wait, new])
        lands = np.where(np.isnan(flights.label_time[pool]), np.inf, flights.label_time[pool])
        due = np.flatnonzero(lands <= flights.time[stop - 1])
        key = [(flights.time[i], 1, i, i - start) for i in new] + [(lands[j], 0, pool[j], ~j) for j in due]
        order = np.array([event for *_, event in sorted(key)])
        x = Batch(flights.x[start:stop])
        answer, more = pipe.flow(x, kept, flights.y[pool], order)
        said[start:stop, : answer.shape[1]] = answer
        views = more.views if kept is None else tuple(map(lambda a, b: concat_batches([a, b]), kept.views, more.views))
        stays = np.setdiff1d(np.arange(len(pool)), due)
        stays = stays[np.isfinite(lands[stays])]
        wait, kept = pool[stays], Kept(views).take(stays)
        if reborn:
            state = {"pipe": pipe.state_dict(), "views": [to_state(view) for view in kept.views]}
            state, pipe = decode(encode(state)), make()
            pipe.load_state_dict(state["pipe"])
            kept = Kept(tuple(map(from_state, state["views"])))
    return pipe, said


def weights(pipe: Chain) -> list[float]:
    return [*pipe.learner.weights, *pipe.learner.intercept]


def test_blocks_of_events_are_the_loop_over_single_events(flights: Batch) -> None:
    said, w = row_by_row(flights)
    pipe, ours = in_blocks(flights, [1, 2, 700, 1500, 1501], pipe=make())
    np.testing.assert_allclose(ours[:, 1], said, rtol=0, atol=1e-9)
    np.testing.assert_allclose(weights(pipe), w, rtol=0, atol=1e-9)
    early, _ = row_by_row(flights, late=False)
    assert np.abs(np.array(early) - said).max() > 0.05  # labels that came at once would have told another story


def test_neither_cuts_nor_rebirths_change_a_bit(flights: Batch) -> None:
    whole, said = in_blocks(flights, [], pipe=make())
    parts, again = in_blocks(flights, list(range(50, ROWS, 50)), pipe=make(), reborn=True)
    assert encode(whole.state_dict()) == encode(parts.state_dict())
    np.testing.assert_array_equal(again, said)
