from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retain as rt
from retain import state
from retain.compose import LabelTransform
from retain.features.keyed import Keyed, find, touch


@given(st.lists(st.integers(0, 40), max_size=300), st.sampled_from([1, 3, 16, 1000]), st.integers(1, 5))
@settings(deadline=None)
def test_the_key_written_longest_ago_is_forgotten_as_in_an_ordered_dictionary(keys, limit, spread):
    keyed, values, oracle = Keyed(limit=limit), {}, OrderedDict()
    for step, number in enumerate(keys):
        key = np.uint64(number * 4096 + number % spread)  # keys that fall into few places of the table
        slot, new = touch(key, *keyed.arrays, limit)
        if slot < 0:
            keyed.grow()
            slot, new = touch(key, *keyed.arrays, limit)
        assert new == (int(key) not in oracle)
        values[slot] = step
        oracle[int(key)] = step
        oracle.move_to_end(int(key))
        if len(oracle) > limit:
            oracle.popitem(last=False)
        assert [int(keyed.keys[s]) for s in keyed.order()] == list(oracle)
    for number in range(41):
        key = np.uint64(number * 4096 + number % spread)
        slot = find(key, keyed.keys, keyed.table)
        assert (values[slot] if slot >= 0 else None) == oracle.get(int(key))
    again = Keyed(limit=limit)
    again.load(keyed.keys[keyed.order()])
    assert again.keys[again.order()].tolist() == list(oracle)


MADE: dict[str, Callable[[], LabelTransform]] = {
    "lag": lambda: rt.Lag("x", steps=(1, 3), by="who", keys=7),
    "lag of labels": lambda: rt.Lag(by="who", keys=7),
    "rolling": lambda: rt.Rolling("x", rows=3, by="who", stats=("mean", "max"), keys=7),
    "rolling labels": lambda: rt.Rolling(rows=2, by="who", keys=7),
    "target": lambda: rt.TargetEncode("who", keys=7),
    "targets": lambda: rt.TargetEncode("who", "where", keys=12, classes=3),
}


@pytest.mark.parametrize("name", MADE)
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(1, 25)), max_size=8), st.integers(0, 99))
def test_what_is_taken_back_was_never_written(name: str, blocks: list[tuple[bool, int, int]], seed: int) -> None:
    """Keys come anew, go because there are too many, come again: all of it can be taken back, and learning goes on."""
    rng = np.random.default_rng(seed)
    ours, never = MADE[name](), MADE[name]()
    for taken_back, keys, rows in blocks:
        who = [f"k{i}" for i in rng.integers(0, keys, rows)]
        where = [f"w{i}" for i in rng.integers(0, 3, rows)]
        table = pa.record_batch({"who": who, "where": where, "x": rng.normal(size=rows)})
        batch = rt.Batch(table, y=rng.integers(0, 3, rows))
        undo = ours.mark()
        said = ours.learn(batch).x
        if taken_back:
            undo()
        else:
            assert said == never.learn(batch).x
        assert state.equal(ours.state_dict(), never.state_dict())
        assert ours.apply(table) == never.apply(table)


def test_taking_back_costs_what_was_written_and_not_what_is_known() -> None:
    lag = rt.Lag("x", by="who", keys=50_000)
    who = [f"k{i}" for i in range(40_000)]
    lag.learn(rt.Batch(pa.record_batch({"who": who, "x": np.arange(40_000.0)})))
    lag.mark()
    lag.learn(rt.Batch(pa.record_batch({"who": who[500:510], "x": np.arange(10.0)})))
    assert lag._undone is not None
    (before, rows, _) = lag._undone[0]
    assert len(before.slots) == len(rows[0]) <= 3 * 11
