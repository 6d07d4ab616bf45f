"""What all memories have from their slots: widening, budgets in bytes, files, cost, and what a state is good for."""

import os
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from retain import memory as rm
from retain import state
from retain.core import Rows
from retain.errors import PoisonError, SettingError, StateError
from retain.memory.slots import Slots
from retain.memory.stores import PLAIN

torch.set_num_threads(1)


def rows(n, *, start=0, logits=None, shape=(3,), dtype=torch.float32) -> Rows:
    x = torch.arange(start, start + n).reshape(n, *[1] * len(shape)).expand(n, *shape).to(dtype)
    extra = {} if logits is None else {"logits": torch.ones(n, logits)}
    return Rows(x, torch.arange(n) % 3, torch.ones(n), extra)


def test_the_last_write_to_a_slot_wins():
    slots = Slots(5, store=PLAIN, at=None)
    given = rows(9)
    slots.admit(given, room=slots.check(given))
    slots.write(np.array([0, 1, 2, 1, -1, 3, 2, 4, 1]), given)
    assert slots.read(np.arange(5)).x[:, 0].tolist() == [0, 8, 6, 5, 7]


@pytest.mark.parametrize("at", [False, True])
def test_extra_columns_grow_to_the_right(at, tmp_path):
    memory = rm.Ring(6, at=tmp_path if at else None)
    memory.add(rows(2, logits=2))
    memory.add(rows(2, logits=4))
    assert memory.rows().extra["logits"].tolist() == [[1, 1, 0, 0]] * 2 + [[1, 1, 1, 1]] * 2
    before = memory.rows().extra["logits"].tolist()
    with pytest.raises(PoisonError, match=r"extra\.logits has rows of shape \(3,\); expected \(4,\)"):
        memory.add(rows(1, logits=3))
    assert memory.rows().extra["logits"].tolist() == before


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((), torch.int64), ((7,), torch.int32), ((1, 4, 4), torch.uint8), ((2, 3), torch.bfloat16), ((5,), torch.float64)],
)
@pytest.mark.parametrize("at", [False, True])
def test_inputs_of_any_shape_and_type(shape, dtype, at, tmp_path):
    def make():
        return rm.Reservoir(8, at=tmp_path if at else None)

    memory, again = make(), make()
    memory.add(rows(20, shape=shape, dtype=dtype))
    again.load_state_dict(state.decode(state.encode(memory.state_dict())))
    for got in (memory.rows(), again.rows()):
        assert got.x.shape == (8, *shape)
        assert got.x.dtype == dtype
    assert torch.equal(memory.rows().x, again.rows().x)


def test_targets_may_be_many_numbers():
    memory = rm.Reservoir(4)
    memory.add(Rows(torch.ones(9, 2), torch.ones(9, 3), torch.ones(9)))
    assert memory.rows().y.shape == (4, 3)


def test_errors_name_value_expectation_and_cure():
    memory = rm.Reservoir(4)
    memory.add(rows(9))
    for bad, says in [
        (rows(3, shape=(4,)), r"x has rows of shape \(4,\); expected \(3,\) as before .* reshape it"),
        (rows(3, dtype=torch.float64), r"x is of torch.float64; expected torch.float32 as before: convert it"),
        (rows(3, logits=2), r"columns \['extra.logits', .* expected \['weight', 'x', 'y'\] as before: give the same"),
        (Rows(torch.ones(2, 3), torch.zeros(3).long(), torch.ones(3)), "x has 2 rows beside 3 labels"),
        (Rows(torch.ones(2, 3), torch.tensor([1, -1]), torch.ones(2)), "y of row 1 holds -1; .* leave such rows out"),
    ]:
        with pytest.raises(PoisonError, match=says):
            memory.add(bad)
    x = torch.tensor([[0.0, 0, 0], [3e38, 3e38, 3e38], [0, torch.nan, 0]])
    with pytest.raises(PoisonError, match=r"x of row 2 holds nan"):
        memory.add(Rows(x, torch.zeros(3).long(), torch.ones(3)))
    memory.add(Rows(torch.full((3, 3), 3e38), torch.zeros(3).long(), torch.ones(3)))  # finite, though its sum is not
    with pytest.raises(SettingError, match="empty"):
        rm.Reservoir(4).sample(1)
    with pytest.raises(SettingError, match="at least 1"):
        memory.sample(0)
    with pytest.raises(SettingError, match="at least 1 row"):
        rm.Reservoir(0)


def test_a_budget_in_bytes():
    # x 12, y 8, weight 4: 24 bytes a row; as bytes x takes 3
    for store, fits in [(rm.Plain(), 1000 // 24), (rm.Half(), 1000 // 18), (rm.UInt8(0.0, 9.0), 1000 // 15)]:
        memory = rm.Reservoir(rm.Bytes(1000), store=store)
        memory.add(rows(200))
        assert len(memory) == fits
        columns = memory.state_dict()["slots"]["columns"]
        assert sum(column.nbytes for column in columns.values()) <= 1000
    with pytest.raises(SettingError, match="one row takes 24 bytes and the budget is 23; give more bytes"):
        rm.Reservoir(rm.Bytes(23)).add(rows(1))


@pytest.mark.parametrize(
    "make",
    [rm.Reservoir, rm.Ring, rm.ClassBalanced, rm.ExperienceBalanced, rm.LossAware],
    ids=lambda make: make.__name__,
)
def test_a_budget_in_bytes_holds_when_rows_grow_wider(make):
    memory = make(rm.Bytes(2000))
    for k in (1, 2, 5, 9):
        given = rows(100, logits=k)
        memory.add(Rows(given.x, given.y, given.weight, {**given.extra, "loss": torch.rand(100)}))
        assert len(memory) == 2000 // (28 + 4 * k)
        columns = memory.state_dict()["slots"]["columns"]
        assert sum(column.nbytes for column in columns.values()) <= 2000


def test_codebooks_count_too():
    memory = rm.Reservoir(rm.Bytes(40_000), store=rm.ProductQuantised(4, codewords=16, rows=32))
    given = Rows(torch.randn(5000, 64), torch.zeros(5000).long(), torch.ones(5000))
    memory.add(given)
    slots = memory.state_dict()["slots"]
    spent = sum(column.nbytes for column in [*slots["columns"].values(), *slots["book"].values()])
    assert 40_000 - 16 < spent <= 40_000
    with pytest.raises(SettingError, match="fit it on fewer"):
        rm.Reservoir(rm.Bytes(8_000), store=rm.ProductQuantised(4, codewords=16, rows=32)).add(given)
    with pytest.raises(SettingError, match="fit it on fewer"):
        rm.Reservoir(20, store=rm.UInt8(rows=21))


def test_a_state_goes_only_where_it_fits():
    memory = rm.Reservoir(9)
    memory.add(rows(20))
    saved = state.copy(memory.state_dict())
    with pytest.raises(StateError, match="holds 9 rows, this memory has room for 5"):
        rm.Reservoir(5).load_state_dict(saved)
    with pytest.raises(StateError, match="with the store that it was saved with"):
        rm.Reservoir(9, store=rm.Half()).load_state_dict(saved)
    empty = rm.Reservoir(9).state_dict()
    memory.load_state_dict(state.decode(state.encode(empty)))
    assert len(memory) == 0


def test_a_state_does_not_follow_the_memory():
    memory = rm.Ring(5)
    memory.add(rows(5))
    saved = memory.state_dict()
    memory.add(rows(5, start=50))
    assert saved["slots"]["columns"]["x"][:, 0].tolist() == [0, 1, 2, 3, 4]


def test_what_it_gives_is_no_window_into_it():
    memory = rm.Ring(5)
    given = rows(5)
    memory.add(given)
    memory.rows().x.fill_(9)
    memory.sample(3).x.fill_(9)
    assert memory.rows().x[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_no_graph_is_kept():
    memory = rm.Ring(5)
    memory.add(
        Rows(torch.ones(3, 2), torch.zeros(3).long(), torch.ones(3), {"f": torch.ones(3, 2, requires_grad=True)})
    )
    assert not memory.rows().extra["f"].requires_grad


def test_rows_in_files_are_the_same_rows_and_leave_nothing_behind(tmp_path):
    inside, outside = rm.Reservoir(50), rm.Reservoir(50, at=tmp_path / "deep" / "down")
    for start in range(0, 400, 7):
        for memory in (inside, outside):
            memory.add(rows(7, start=start))
    assert state.equal(inside.state_dict(), outside.state_dict())
    assert torch.equal(inside.sample(9).x, outside.sample(9).x)
    assert not list((tmp_path / "deep" / "down").iterdir())


def test_a_disk_without_room_is_told_before_anything_changes(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    memory = rm.Ring(10, at=tmp_path)
    memory.add(rows(5, logits=1))
    before = state.copy(memory.state_dict())
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SettingError, match=r"cannot reserve 80 bytes .* No space left on device; free some space"):
        memory.add(rows(5, logits=2))
    assert state.equal(memory.state_dict(), before)


@pytest.mark.parametrize("name", ["Reservoir", "Ring", "ClassBalanced", "ExperienceBalanced", "LossAware", "Herding"])
def test_a_row_costs_the_same_however_long_the_stream_is(name):
    """Calls of functions, Python's and C's, are counted instead of seconds: no other process changes them.

    Arrays do not grow either: the bounded law says so.
    """
    memory = getattr(rm, name)(100)
    given = rows(10)
    given = Rows(given.x, given.y, given.weight, {"loss": torch.rand(10)})
    counts = Counter()

    def work(at):
        def count(frame, event, arg):
            counts[at] += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            for _ in range(200):
                memory.add(given)
                memory.sample(8) if len(memory) else None
        finally:
            sys.setprofile(None)

    for at in (5_000, 50_000):
        while counts["rows"] < at:
            memory.add(given)
            counts["rows"] += len(given)
        work(at)
        counts["rows"] += 2_000
    assert counts[50_000] <= 1.01 * counts[5_000]


def test_sampling_costs_the_same_however_much_is_held():
    for m in (1_000, 64_000):
        memory = rm.Ring(m)
        memory.add(rows(m))
        bits = memory._rng.bit_generator
        before = bits.state["state"]
        memory.sample(16)
        drawn = 0
        while bits.state["state"] != before:  # back to where it was, number by number
            bits.advance(-1)
            drawn += 1
            assert drawn <= 40  # a permutation would draw as many as are held
