"""Rows that wait, against a plain list of them: whatever lands, is heard or is looked up by id, nothing goes astray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.core import Answers
from retain.run.waiting import MODEL, Pending, Waiting, nothing


@dataclass
class Row:
    """One that waits, as the oracle keeps it."""

    number: int
    id: int
    landing: float
    y: int


def waiting(rows: list[Row]) -> Waiting:
    number, ids, y = (np.array([getattr(row, name) for row in rows], np.int64) for name in ("number", "id", "y"))
    landing = np.array([row.landing for row in rows], np.float64)
    return Waiting(nothing(len(rows)), landing, number, ids, y, {MODEL: number.astype(np.float64)})


@settings(max_examples=80, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 12), st.integers(1, 40))
def test_rows_that_wait_are_those_of_a_plain_list(random, blocks, size):
    pending, oracle, clock = Pending(), list[Row](), 0.0
    for _ in range(blocks):
        rows = [
            # Ids are given more than once; some labels are known beforehand, some have to be heard.
            Row(
                number=random.randrange(10**9),
                id=random.randrange(60),
                landing=clock + random.choice([1.0, 3.0, 8.0, 1e300]) * random.random(),
                y=random.choice([-1, -1, 0, 1]),
            )
            for _ in range(random.randrange(size))
        ]
        pending.add(waiting(rows))
        oracle += rows
        clock += random.random() * 3
        times = np.sort([clock * random.random() for _ in range(random.randrange(30))])
        answers = Answers(
            np.array([random.randrange(70) for _ in times], np.int64),
            np.array([random.randrange(2, 5) for _ in times], np.int64),
            np.asarray(times, np.float64),
        )
        found = pending.find(answers)
        expected, left, places = [], [], set()
        for row in oracle:
            first = next((i for i, name in enumerate(answers.id) if name == row.id), None)
            if first is not None and row.y < 0 and answers.time[first] <= row.landing:
                expected.append((row.number, int(answers.y[first]), np.nextafter(answers.time[first], np.inf)))
                places.add(first)
            elif row.landing <= clock:
                expected.append((row.number, row.y, row.landing))
            else:
                left.append(row)
        before = sorted(pending.rows())
        due = pending.due(clock, found)
        seen = [] if due is None else sorted(zip(due.row.tolist(), due.y.tolist(), due.landing.tolist(), strict=True))
        assert seen == sorted(expected)
        assert due is None or due.prediction[MODEL].tolist() == due.row.tolist()
        assert set(found.all) == places
        assert sorted(pending.rows()) == before  # nothing changes by looking
        pending.drop(clock, found)
        oracle = left
        assert sorted(pending.rows()) == sorted(row.number for row in oracle)
        assert len(pending) == len(oracle)
        again = Pending()
        again.load_state_dict(pending.state_dict())
        assert again.rows().tolist() == pending.rows().tolist()


def test_few_chunks_and_no_more_rows_than_twice_those_that_wait():
    """Each block brings 100 rows, of which one in ten waits for ever: work per block is not to grow with blocks."""
    pending = Pending()
    for block in range(500):
        rows = [Row(100 * block + i, 100 * block + i, 1e300 if i % 10 == 0 else block + i / 10, 0) for i in range(100)]
        pending.add(waiting(rows))
        pending.drop(float(block))
    chunks = pending._chunks
    assert len(chunks) <= 16
    assert sum(len(chunk.rows) for chunk in chunks) <= 2 * len(pending) + 100
