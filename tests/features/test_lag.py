import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retain as rt
from retain import state
from retain.blocks import dense
from retain.errors import PoisonError, SchemaError, SettingError

SEEDS = st.integers(0, 10_000)


def stream(seed, *, rows=60, numbers=False):
    rng = np.random.default_rng(seed)
    value = rng.normal(size=rows)
    who = rng.choice(["a", "b", "c", "é"], size=rows)
    x = pa.record_batch(
        {
            "value": pa.array(value, mask=rng.random(rows) < 0.2),
            "who": pa.array(who, mask=rng.random(rows) < 0.1),
            "shop": rng.integers(0, 3, size=rows),
        }
    )
    y = rng.normal(size=rows) if numbers else rng.integers(0, 3, size=rows)
    # A third of the labels come at once, a third late and out of order, a third never.
    delay = rng.choice([0.0, 1.0, np.nan], size=rows) * rng.integers(1, 20, size=rows)
    return rt.Batch(x, y=y), delay, sorted(rng.integers(0, 2 * rows, size=3).tolist())


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_lags_of_a_column_are_pandas_shifts_within_groups(seed):
    batch, _, cuts = stream(seed)
    frame = batch.x.to_pandas()
    lag = rt.Lag("value", steps=(1, 3), by="who")
    out = []
    for a, b in zip([0, *cuts], [*cuts, 200], strict=True):
        out += lag.learn(rt.Batch(batch.x.slice(a, max(b - a, 0)))).x.to_pylist() if a < 60 else []
    for step in (1, 3):
        expected = frame.groupby("who", dropna=False)["value"].shift(step).to_numpy(dtype=float)
        got = np.array([row[f"value_lag{step}_by_who"] for row in out], dtype=float)
        np.testing.assert_array_equal(got, expected)


@given(SEEDS, st.booleans(), st.sampled_from([2, 1000]))
@settings(max_examples=30, deadline=None)
def test_lags_of_the_label_look_back_in_order_of_landing(events, play, seed, numbers, keys):
    batch, delay, cuts = stream(seed, numbers=numbers)
    happened = events(delay)
    rows = play(
        rt.Lag(steps=(2, 1), by=("who", "shop"), keys=keys), batch, happened, [c for c in cuts if c < len(happened)]
    )
    names = [f"y_lag{step}_by_who_by_shop" for step in (2, 1)]
    who, last, expected = batch.x.to_pylist(), {}, []
    for what, i in happened:
        key = who[i]["who"], who[i]["shop"]
        if what == "a":
            seen = last.get(key, [])
            expected.append([seen[-step] if len(seen) >= step else None for step in (2, 1)])
        else:
            seen = last.pop(key, [])
            last[key] = [*seen, batch.y[i] if numbers else str(batch.y[i])]
            if len(last) > keys:
                del last[next(iter(last))]  # written longest ago: writing moves a key to the end
    got = [[row[name] for name in names] for row in rows.to_pylist()]
    assert got == expected


def test_in_a_bare_array_lags_are_columns_on_the_right():
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    out = rt.Lag(1, steps=(1, 2), missing=-1).learn(rt.Batch(x)).x
    assert out.dtype == np.float32
    assert out.tolist() == [[0, 1, -1, -1], [2, 3, 1, -1], [4, 5, 3, 1], [6, 7, 5, 3]]
    out = rt.Lag(by=0).learn(rt.Batch(np.array([[1], [2], [1]]), y=np.array([1, 1, 0]))).x
    assert out.tolist() == [[1, 0], [2, 0], [1, 1]]


def test_the_lag_of_a_class_becomes_a_slot_for_each_class():
    x = pa.record_batch({"n": [1.0, 2.0, 3.0]})
    steps = rt.Lag() | rt.OneHot()
    rows = steps.learn(rt.Batch(x, y=np.array([2, 0, 1]))).x
    assert steps.transforms[1].names == ("n", "y_lag1=?", "y_lag1=2", "y_lag1=0")
    assert dense(rows, 4).tolist() == [[1, 1, 0, 0], [2, 0, 1, 0], [3, 0, 0, 1]]


def test_rows_without_a_label_are_not_looked_back_on():
    lag = rt.Lag()
    y = np.array([1.0, np.nan, 3.0, np.nan])
    assert lag.learn(rt.Batch(np.zeros((4, 1)), y=y)).x[:, 1].tolist() == [0, 1, 1, 3]
    assert lag.apply(np.zeros((1, 1)))[0, 1] == 3


def test_memory_is_bounded_by_keys():
    lag = rt.Lag("n", by="id", keys=1000)
    sizes = []
    for start in range(0, 20_000, 5000):
        ids = np.arange(start, start + 5000)
        lag.learn(rt.Batch(pa.record_batch({"id": ids, "n": ids})))
        sizes.append(len(state.encode(lag.state_dict())))
    assert len(set(sizes)) == 1
    ids = np.array([18_999, 19_000, 19_999])
    assert lag.apply(pa.record_batch({"id": ids, "n": ids}))["n_lag1_by_id"].to_pylist() == [None, 19_000.0, 19_999.0]


def test_keys_are_the_same_whatever_arrow_type_carries_them():
    plain = pa.record_batch({"who": ["a", "b"], "n": [1.0, 2.0]})
    lag = rt.Lag("n", by="who")
    lag.learn(rt.Batch(plain))
    for type_ in (pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        other = plain.set_column(0, "who", plain["who"].cast(type_))
        assert lag.apply(other)["n_lag1_by_who"].to_pylist() == [1.0, 2.0]
    numbers = rt.Lag("n", by="who")
    numbers.learn(rt.Batch(pa.record_batch({"who": [7, 8], "n": [1.0, 2.0]})))
    assert numbers.apply(pa.record_batch({"who": [7.0, 8.0], "n": [0.0, 0.0]}))["n_lag1_by_who"].to_pylist() == [1, 2]


@pytest.mark.parametrize(
    ("make", "batch", "error", "says"),
    [
        (lambda: rt.Lag("gone"), rt.Batch(pa.record_batch({"n": [1]})), SchemaError, "no column 'gone'"),
        (lambda: rt.Lag("n"), rt.Batch(pa.record_batch({"n": ["x"]})), PoisonError, "expected numbers"),
        (lambda: rt.Lag("n"), rt.Batch(pa.record_batch({"n": [np.inf]})), PoisonError, "inf in row 0, column n"),
        (lambda: rt.Lag("n"), rt.Batch(pa.record_batch({"n": [1], "n_lag1": [1]})), SchemaError, "rename"),
        (lambda: rt.Lag(3), rt.Batch(np.zeros((2, 2))), PoisonError, "2 features; expected more than 3"),
        (lambda: rt.Lag(0), rt.Batch(np.array([[np.inf]])), PoisonError, "inf in row 0, column 0"),
        (lambda: rt.Lag(0), rt.Batch(pa.record_batch({"n": [1]})), SchemaError, "name the column"),
        (rt.Lag, rt.Batch(np.zeros((2, 1)), y=np.array(["a", "b"])), PoisonError, "type <U1"),
        (rt.Lag, rt.Batch(np.zeros((2, 1)), y=np.array([1.0, np.inf])), PoisonError, "inf in row 1"),
        (rt.Lag, rt.Batch(np.zeros((2, 1)), y=np.zeros((2, 2))), PoisonError, "shape (2, 2)"),
        (rt.Lag, rt.Batch(rt.CSR(np.array([0, 0]), np.empty(0, np.int32), np.empty(0), 3)), SchemaError, "sparse"),
    ],
)
def test_what_cannot_be_looked_back_on_is_refused(make, batch, error, says):
    lag = make()
    before = state.copy(lag.state_dict())
    with pytest.raises(error) as met:
        lag.learn(batch)
    assert says in str(met.value)
    assert state.equal(lag.state_dict(), before)


def test_labels_do_not_change_their_kind():
    lag = rt.Lag()
    lag.learn(rt.Batch(np.zeros((1, 1)), y=np.array([1])))
    with pytest.raises(PoisonError, match="numbers as labels; expected class codes"):
        lag.learn(rt.Batch(np.zeros((1, 1)), y=np.array([1.0])))


@pytest.mark.parametrize("steps", [(), (0,), (-1,), (1.5,)])
def test_steps_are_whole_and_positive(steps):
    with pytest.raises(SettingError):
        rt.Lag(steps=steps)
    with pytest.raises(SettingError):
        rt.Lag(keys=0)


def test_by_is_the_same_as_pandas_on_times():
    at = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-01"])
    x = pa.record_batch({"at": pa.array(at), "n": [1.0, 2.0, 3.0]})
    assert rt.Lag("n", by="at").learn(rt.Batch(x)).x["n_lag1_by_at"].to_pylist() == [None, None, 1.0]
