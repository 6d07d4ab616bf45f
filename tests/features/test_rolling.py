import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retain as rt
from retain.errors import SettingError

STATS = ("mean", "sum", "count", "min", "max")
SEEDS = st.integers(0, 10_000)


def stream(seed, *, rows=60):
    rng = np.random.default_rng(seed)
    seconds = np.cumsum(rng.integers(0, 50, size=rows))
    x = pa.record_batch(
        {
            "value": pa.array(rng.integers(-9, 9, size=rows).astype(float), mask=rng.random(rows) < 0.2),
            "who": rng.choice(["a", "b", "c"], size=rows),
            "at": pa.array(seconds * 1_000_000, pa.timestamp("us")),
            "seconds": seconds.astype(float),
        }
    )
    delay = rng.choice([0.0, 1.0, np.nan], size=rows) * rng.integers(1, 20, size=rows)
    return rt.Batch(x, y=rng.integers(0, 2, size=rows)), delay, sorted(rng.integers(0, 60, size=2).tolist())


def measured(window):
    """The five statistics of a window in plain Python."""
    if not window:
        return [None, None, 0.0, None, None]
    return [sum(window) / len(window), sum(window), float(len(window)), min(window), max(window)]


@given(SEEDS, st.sampled_from([1, 4, 100]))
@settings(max_examples=15, deadline=None)
def test_windows_of_rows_are_pandas_rolling_shifted_by_one(seed, rows):
    batch, _, cuts = stream(seed)
    rolling = rt.Rolling("value", rows=rows, stats=STATS, by="who")
    out = [rolling.learn(rt.Batch(batch.x.slice(a, b - a))).x for a, b in zip([0, *cuts], [*cuts, 60], strict=True)]
    got = pa.Table.from_batches(out).to_pandas()
    groups = batch.x.to_pandas().groupby("who")["value"]
    for stat in STATS:
        expected = groups.transform(lambda s, stat=stat: getattr(s.shift(1).rolling(rows, min_periods=1), stat)())
        expected = expected.fillna(0) if stat == "count" else expected
        np.testing.assert_allclose(got[f"value_{stat}{rows}_by_who"], expected, rtol=1e-12, atol=1e-12)


@given(SEEDS, st.sampled_from([10, 100, 1000]), st.sampled_from(["at", "seconds"]), st.sampled_from([3, 100]))
@settings(max_examples=15, deadline=None)
def test_windows_of_seconds_hold_the_rows_that_are_young_enough(seed, length, clock, rows):
    batch, _, _ = stream(seed)
    rolling = rt.Rolling("value", rows=rows, seconds=length, time=clock, stats=STATS)
    got = rolling.learn(batch).x.to_pylist()
    table = batch.x.to_pylist()
    for i, row in enumerate(got):
        before = table[max(i - rows, 0) : i]
        window = [r["value"] for r in before if r["seconds"] >= row["seconds"] - length and r["value"] is not None]
        assert [row[f"value_{stat}{length}s"] for stat in STATS] == pytest.approx(measured(window), nan_ok=True)


@given(SEEDS, st.sampled_from([None, 200]))
@settings(max_examples=15, deadline=None)
def test_labels_enter_the_window_as_they_land(events, play, seed, seconds):
    batch, delay, cuts = stream(seed)
    happened = events(delay)
    clock = {} if seconds is None else {"seconds": seconds, "time": "at"}
    rolling = rt.Rolling(rows=5, stats=STATS, by="who", **clock)
    got = play(rolling, batch, happened, cuts).to_pylist()
    table, landed, expected = batch.x.to_pylist(), {}, []
    for what, i in happened:
        row = table[i]
        mine = landed.setdefault(row["who"], [])
        if what == "l":
            mine.append((row["seconds"], float(batch.y[i])))
        else:
            since = -np.inf if seconds is None else row["seconds"] - seconds
            expected.append(measured([value for at, value in mine[-5:] if at >= since]))
    window = "5" if seconds is None else "200s"
    for row, numbers in zip(got, expected, strict=True):
        assert [row[f"y_{stat}{window}_by_who"] for stat in STATS] == pytest.approx(numbers)


def test_in_a_bare_array():
    x = np.array([[1.0], [2.0], [4.0]])
    assert rt.Rolling(0, rows=2, stats=("sum",), missing=-1).learn(rt.Batch(x)).x.tolist() == [[1, -1], [2, 1], [4, 3]]


@pytest.mark.parametrize(
    "wrong",
    [{"rows": 0}, {"stats": ()}, {"stats": ("median",)}, {"seconds": 5}, {"time": "at"}, {"seconds": -1, "time": "at"}],
)
def test_settings(wrong):
    with pytest.raises(SettingError):
        rt.Rolling("value", **wrong)
