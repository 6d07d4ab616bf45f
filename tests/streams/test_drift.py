"""One stream after another: which rows come from where, when the concept changes, and exact resume."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain import state
from retain.blocks import concat_batches
from retain.core import Batch, Column, Kind, Schema
from retain.errors import SchemaError, SettingError, StateError
from retain.streams.drift import Abrupt, Gradual, Incremental, Recurring
from retain.streams.synthetic import SEA, STAGGER, Agrawal, Friedman, Hyperplane, RandomRBF, RandomTree, Sine


class Numbered:
    """Rows (source, number), in uneven blocks: any stream will do, and every row is known by sight."""

    def __init__(self, source, n=None, sizes=(3, 1, 4), classes=("0", "1")):
        self.source, self.n, self.sizes = source, n, sizes
        self._schema = Schema(columns=(Column("source", Kind.NUMERIC), Column("row", Kind.NUMERIC)), classes=classes)

    def schema(self):
        return self._schema

    def read(self, position=None, /):
        row, block = (0, 0) if position is None else (position["rows"], position["block"])
        while self.n is None or row < self.n:
            size = self.sizes[block % len(self.sizes)]
            size = size if self.n is None else min(size, self.n - row)
            numbers = np.arange(row, row + size)
            x = np.stack([np.full(size, self.source), numbers], axis=1).astype(np.float32)
            row, block = row + size, block + 1
            yield (
                Batch(x, y=numbers % 2, id=numbers, schema=self._schema),
                {"rows": row, "block": block, "quarantined": block},
            )


def taken(stream, n=None):
    """(source, number) of the first n rows."""
    batches, rows = [], 0
    for batch in stream:
        batches.append(batch)
        rows += len(batch)
        if n is not None and rows >= n:
            break
    if not batches:
        return []
    whole = concat_batches(batches)
    assert (whole.x[:, 1] % 2 == whole.y).all()
    assert (whole.x[:, 1] == whole.id).all()
    return [(int(source), int(row)) for source, row in whole.x[:n]]


# --- which rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 4, 7, 100])
def test_abrupt_takes_a_then_b_from_its_start(block):
    stream = Abrupt(Numbered(0), Numbered(1), at=10, block=block)
    assert taken(stream, 25) == [(0, row) for row in range(10)] + [(1, row) for row in range(15)]
    assert stream.drifts == (10,)


def test_recurring_goes_on_where_it_stopped():
    stream = Recurring([Numbered(0), Numbered(1), Numbered(2)], every=2, n=9, block=4)
    assert taken(stream) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (0, 2), (0, 3), (1, 2)]
    assert stream.drifts == (2, 4, 6, 8)


def test_gradual_takes_every_row_of_both_in_order_with_the_chance_of_moa():
    stream = Gradual(Numbered(0), Numbered(1), at=10_000, width=4000, seed=1)
    rows = np.array(taken(stream, 20_000))
    for source in (0, 1):
        numbers = rows[rows[:, 0] == source][:, 1]
        assert numbers.tolist() == list(range(len(numbers)))
    for row, chance in ((4000, 0.0025), (8000, 0.1192), (10_000, 0.5), (12_000, 0.8808), (16_000, 0.9975)):
        near = rows[row - 250 : row + 250, 0]
        assert near.mean() == pytest.approx(chance, abs=0.08)
    assert (rows[:1000, 0] == 0).all()
    assert (rows[-1000:, 0] == 1).all()


@pytest.mark.parametrize("block", [1, 3, 50])
def test_ends_with_the_stream_whose_turn_it_is(block):
    assert taken(Abrupt(Numbered(0, 5), Numbered(1), at=10, block=block)) == [(0, row) for row in range(5)]
    assert taken(Abrupt(Numbered(0), Numbered(1, 3), at=2, block=block)) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    short = Recurring([Numbered(0), Numbered(1, 3)], every=2, block=block)
    assert taken(short) == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2)]
    assert taken(Abrupt(Numbered(0), Numbered(1), at=3, n=5, block=block)) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert taken(Abrupt(Numbered(0), Numbered(1), at=3, n=0, block=block)) == []
    mixed = Gradual(Numbered(0, 30), Numbered(1, 40), at=30, width=20, seed=2, block=block)
    whole = Gradual(Numbered(0), Numbered(1), at=30, width=20, seed=2)
    rows = taken(mixed)
    assert rows == taken(whole, len(rows))
    assert taken(whole, len(rows) + 1)[-1] in {(0, 30), (1, 40)}


def nested():
    inner = Gradual(Numbered(0), Abrupt(Numbered(1), Numbered(2), at=40), at=30, width=20, seed=1)
    return Recurring([inner, Numbered(3)], every=25, n=300)


def test_resumes_anywhere_nested_too():
    whole = taken(nested())
    assert len(whole) == 300

    @settings(max_examples=20, deadline=None)
    @given(block=st.integers(1, 60), at=st.integers(0, 300), then=st.integers(1, 60))
    def body(block, at, then):
        stream, other = nested(), nested()
        stream.block, other.block = block, then
        positions = [after for _, after in islice(stream.read(), 1 + at // block)]
        kept = state.decode(state.encode(positions[-1]))
        for again in (other, stream):
            rest = [batch for batch, _ in again.read(kept)]
            got = [tuple(row) for batch in rest for row in batch.x.astype(int).tolist()]
            assert got == whole[kept["rows"] :]

    body()


@settings(max_examples=15, deadline=None)
@given(start=st.integers(0, 20_000), rows=st.integers(1, 9000))
def test_the_coins_of_a_row_depend_on_nothing_else(start, rows):
    stream = Gradual(Numbered(0), Numbered(1), at=10_000, width=3000, seed=1)
    assert np.array_equal(stream._which(start, start + rows), stream._which(0, start + rows)[start:])


def test_counts_what_its_streams_refused():
    *_, (_, last) = Abrupt(Numbered(0), Numbered(1), at=8, n=20).read()
    # Blocks of 3, 1 and 4 rows, one refusal for each: three up to row 8, five up to row 12.
    assert last["quarantined"] == 3 + 5


# --- drifts -----------------------------------------------------------------------------------------------------------


def test_drifts_of_nested_streams_are_where_their_rows_come_up():
    inner = Abrupt(Numbered(1), Numbered(2), at=40)
    assert Abrupt(inner, inner, at=100).drifts == (40, 100, 140)
    assert Abrupt(inner, inner, at=30).drifts == (30, 70)
    assert Abrupt(inner, inner, at=100, n=120).drifts == (40, 100)
    recurring = Recurring([inner, Numbered(0)], every=25, n=200)
    first = taken(recurring).index((2, 0))
    assert recurring.drifts == tuple(sorted({*range(25, 200, 25), first}))
    for seed in range(5):
        gradual = Gradual(
            Abrupt(Numbered(0), Numbered(1), at=20), Abrupt(Numbered(2), Numbered(3), at=50), at=60, width=30, seed=seed
        )
        rows = taken(gradual, 300)
        assert gradual.drifts == tuple(sorted({60, rows.index((1, 0)), rows.index((3, 0))}))
    never = Gradual(Abrupt(Numbered(0), Numbered(1), at=5000), Numbered(2), at=60, width=30, seed=1)
    assert never.drifts == (60,)


def test_an_endless_recurrence_says_that_its_drifts_do_not_end():
    with pytest.raises(SettingError, match="every 10; give it n="):
        _ = Recurring([Numbered(0), Numbered(1)], every=10).drifts


def error_of(concept, stream, start, stop):
    """How often a concept that does not change is wrong in rows [start, stop)."""
    whole = concat_batches(list(islice(stream, -(-stop // 1000))))
    return (concept.labels(whole.x[start:stop]) != whole.y[start:stop]).mean()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SEA(seed=1, theta=8.0, noise=0.1), SEA(seed=2, theta=9.5, noise=0.1)),
        (STAGGER(seed=1, concept=1), STAGGER(seed=2, concept=2)),
        (Agrawal(seed=1, function=1), Agrawal(seed=2, function=2)),
        (Hyperplane(seed=1), Hyperplane(seed=2)),
        (RandomTree(seed=1), RandomTree(seed=2)),
        (Sine(seed=1, function=1), Sine(seed=2, function=2)),
    ],
    ids=lambda stream: type(stream).__name__,
)
def test_a_fixed_concept_goes_wrong_at_the_drift_and_not_before(before, after):
    noise = getattr(before, "noise", 0.0)
    stream = Abrupt(before, after, at=5000)
    assert error_of(before, stream, 0, 5000) == pytest.approx(noise, abs=0.02)
    gap = error_of(before, stream, 5000, 10_000) - noise
    assert gap > 0.05
    assert error_of(before, stream, 5000, 5200) > noise + gap / 2
    assert error_of(after, stream, 5000, 10_000) == pytest.approx(noise, abs=0.02)
    gradual = Gradual(before, after, at=5000, width=4000, seed=3)
    wrong = [error_of(before, gradual, start, start + 2000) for start in (0, 4000, 8000)]
    assert wrong[0] < noise + 0.1 * gap + 0.01
    assert wrong[1] == pytest.approx(noise + gap / 2, abs=gap / 5)
    assert wrong[2] > noise + 0.85 * gap


def test_rtg_with_two_abrupt_drifts_as_in_the_benchmarks():
    """100,000 rows of 30 columns and five classes: the tree is another one after each third."""
    trees = [RandomTree(seed=seed, classes=5) for seed in (1, 2, 3)]
    stream = Abrupt(Abrupt(trees[0], trees[1], at=33_333), trees[2], at=66_666, n=100_000)
    assert stream.drifts == (33_333, 66_666)
    whole = concat_batches(list(stream))
    assert whole.x.shape == (100_000, 30)
    for tree, rows in zip(trees, (slice(33_333), slice(33_333, 66_666), slice(66_666, None)), strict=True):
        assert np.array_equal(tree.labels(whole.x[rows]), whole.y[rows])


def test_a_fixed_concept_recovers_when_it_recurs():
    concept = SEA(seed=1, theta=7.0)
    stream = Recurring([concept, SEA(seed=2, theta=9.5)], every=2000, n=8000)
    wrong = [error_of(concept, stream, start, start + 2000) for start in range(0, 8000, 2000)]
    assert (wrong[0], wrong[2]) == (0, 0)
    assert min(wrong[1], wrong[3]) > 0.15


# --- incremental ------------------------------------------------------------------------------------------------------


def test_incremental_moves_a_threshold_along_a_line():
    stream = Incremental(SEA(seed=1, theta=4.0), SEA(seed=1, theta=12.0), at=6000, width=8000)
    assert stream.drifts == (6000,)
    whole = concat_batches(list(islice(stream, 14)))
    total = whole.x[:, 0].astype(float) + whole.x[:, 1]
    for row in (0, 1999, 4000, 6000, 8000, 10_000, 13_999):
        theta = 4 + 8 * np.clip((row - 2000) / 8000, 0, 1)
        near = slice(max(row - 50, 0), row + 50)
        sure = np.abs(total[near] - theta) > 0.06
        assert np.array_equal((total[near] > theta)[sure], whole.y[near][sure] == 1)


def test_incremental_ends_in_the_other_concept():
    pairs = [
        (Hyperplane(seed=1), Hyperplane(seed=2)),
        (Sine(seed=1, function=1), Sine(seed=1, function=3)),
        (Friedman(seed=1, noise=0.0), Friedman(seed=1, roles=(4, 6, 2, 1, 3), noise=0.0)),
    ]
    for a, b in pairs:
        whole = concat_batches(list(islice(Incremental(a, b, at=3000, width=2000), 6)))
        assert np.array_equal(a.labels(whole.x[:2000]), whole.y[:2000])
        assert np.array_equal(b.labels(whole.x[4000:]), whole.y[4000:])
        halfway = np.abs(0.5 * a.score(whole.x[2990:3010]) + 0.5 * b.score(whole.x[2990:3010]))
        assert not np.array_equal(a.labels(whole.x[2000:4000]), whole.y[2000:4000])
        assert np.isfinite(halfway).all()


def test_incremental_resumes_and_ends():
    stream = Incremental(SEA(seed=1, n=5000, block=700), SEA(seed=1, theta=9.0), at=2500, width=2000)
    whole = list(stream.read())
    assert sum(len(batch) for batch, _ in whole) == 5000
    position = state.decode(state.encode(whole[2][1]))
    for (got, _), (expected, _) in zip(stream.read(position), whole[3:], strict=True):
        assert np.array_equal(got.x, expected.x)
        assert np.array_equal(got.y, expected.y)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (STAGGER(seed=1), STAGGER(seed=1, concept=2)),
        (RandomTree(seed=1), RandomTree(seed=2)),
        (SEA(seed=1), Sine(seed=1)),
        (Hyperplane(seed=1, magnitude=0.1), Hyperplane(seed=2)),
        (RandomRBF(seed=1), RandomRBF(seed=2)),
    ],
    ids=["rules", "trees", "kinds", "wandering", "rbf"],
)
def test_incremental_needs_concepts_with_a_half_way(a, b):
    with pytest.raises(SettingError, match="use Gradual"):
        Incremental(a, b, at=100, width=10)


# --- nonsense ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: Abrupt(SEA(seed=1), Sine(seed=1), at=5),
        lambda: Gradual(Numbered(0), Numbered(1, classes=("0", "1", "2")), at=5, width=5, seed=1),
        lambda: Recurring([RandomTree(seed=1), RandomTree(seed=1, nominal=4)], every=5),
        lambda: Incremental(Hyperplane(seed=1, features=3), Hyperplane(seed=1, features=4), at=5, width=3),
    ],
    ids=["names", "classes", "columns", "width"],
)
def test_streams_with_other_columns_or_classes_do_not_follow(make):
    with pytest.raises(SchemaError, match="cannot follow"):
        make()


@pytest.mark.parametrize(
    ("make", "met"),
    [
        (lambda a: Abrupt(a, a, at=-1), "at=-1"),
        (lambda a: Abrupt(a, a, at=1, block=0), "block=0"),
        (lambda a: Abrupt(a, a, at=1, n=-2), "n=-2"),
        (lambda a: Gradual(a, a, at=1, width=0, seed=1), "width=0"),
        (lambda a: Gradual(a, a, at=1, width=1, seed=-1), "seed=-1"),
        (lambda a: Recurring([a], every=1), "1 streams"),
        (lambda a: Recurring([a, a], every=0), "every=0"),
        (lambda a: Incremental(a, a, at=1, width=0), "width=0"),
    ],
)
def test_refuses_nonsense(make, met):
    with pytest.raises(SettingError, match="expected") as error:
        make(SEA(seed=1))
    assert met in str(error.value)


def test_refuses_a_position_of_another_stream():
    _, position = next(SEA(seed=1).read())
    with pytest.raises(StateError, match="mixture of 2 streams"):
        next(Abrupt(SEA(seed=1), SEA(seed=2), at=5).read(position))
