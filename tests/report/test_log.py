"""The log of a run: bounded, resumable, and true to the reports it folds."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain import metrics as rm
from retain import state as states
from retain.core import Report
from retain.errors import SettingError, StateError
from retain.report import Log


def reports(blocks=100, rows=10, *, classes=2, seed=0, regression=False):
    """A run of a model that gets better, beside a baseline that does not."""
    rng = np.random.default_rng(seed)
    makers = [rm.MAE, rm.RMSE, rm.R2] if regression else [rm.Accuracy, rm.ROCAUC, rm.LogLoss]
    model, baseline = [make() for make in makers], [make() for make in makers]
    for b in range(blocks):
        if regression:
            y = rng.normal(size=rows)
            said = y + rng.normal(size=rows) / (1 + b)
            other = rng.normal(size=rows)
        else:
            y = rng.integers(0, classes, rows)
            said = rng.dirichlet(np.ones(classes), rows) + b / blocks * np.eye(classes)[y]
            said /= said.sum(axis=1, keepdims=True)
            other = np.full((rows, classes), 1 / classes)
        rm.update(model, y, said)
        rm.update(baseline, y, other)
        n = (b + 1) * rows
        yield Report(
            *(n, n, 0, 0, 0),
            seconds=0.01 * n,
            cpu_seconds=0.01 * n,
            time=1.4e9 + 60.0 * n,
            metrics={m.name: m.value() for m in model},
            baselines={"prior": {m.name: m.value() for m in baseline}},
            y=y,
            prediction=said,
            events=("drift",) if b == 50 else (),
        )


def logged(given, **settings):
    log = Log(**settings)
    for report in given:
        log.add(report)
    return log


def test_confusion_counts_every_row():
    given = list(reports(classes=4))
    y = np.concatenate([r.y for r in given])
    decided = np.concatenate([r.prediction for r in given]).argmax(axis=1)
    expected = np.zeros((4, 4), dtype=int)
    np.add.at(expected, (y, decided), 1)
    log = logged(given, classes=["a", "b", "c"])
    np.testing.assert_array_equal(log.confusion(), expected)
    assert log.confusion_names() == (["a", "b", "c", "3"],) * 2
    assert log.classes_seen == (0, 1, 2, 3)


def test_many_classes_are_counted_together():
    given = list(reports(classes=9))
    log = logged(given, shown=3)
    assert log.confusion().shape == (4, 4)
    assert log.confusion().sum() == 1000
    assert log.confusion_names()[0] == ["0", "1", "2", "others"]
    assert log.classes_seen == tuple(range(9))


def test_rows_decided_before_any_class_was_known_have_a_column():
    log = Log()
    log.add(Report(2, 2, 0, 0, 0, 0.1, 0.1, metrics={"accuracy": 0.0}, y=np.array([0, 1]), prediction=np.empty((2, 0))))
    np.testing.assert_array_equal(log.confusion(), [[0, 0, 1], [0, 0, 1]])
    assert log.confusion_names()[1] == ["0", "1", "none yet"]


def test_the_sample_holds_the_latest_rows():
    given = list(reports())
    log = logged(given, sample=64)
    y = np.concatenate([r.y for r in given])[-64:]
    said = np.concatenate([r.prediction for r in given])[-64:]
    expected = np.column_stack([y, said.argmax(axis=1), said.max(axis=1), said[:, 1]])
    np.testing.assert_array_equal(log.sample(), expected)
    numbers = list(reports(regression=True))
    log = logged(numbers, sample=64)
    pairs = [np.concatenate([r.y for r in numbers])[-64:], np.concatenate([r.prediction for r in numbers])[-64:]]
    np.testing.assert_array_equal(log.sample(), np.column_stack(pairs))


@pytest.mark.parametrize("blocks", [1, 7, 8, 9, 16, 100, 1000])
def test_a_curve_is_thinned_evenly_and_ends_where_the_run_stands(blocks):
    given = list(reports(blocks, rows=2))
    curve = logged(given, points=8).curve()
    assert len(curve.rows) <= 9
    assert curve.rows[-1] == 2 * blocks
    steps = np.diff(curve.rows[:-1])
    assert (steps == steps[:1]).all()
    by_rows = {r.rows: r for r in given}
    for rows, value, prior in zip(
        curve.rows, curve.values["model", "accuracy"], curve.values["prior", "accuracy"], strict=True
    ):
        assert value == by_rows[rows].metrics["accuracy"]
        assert prior == by_rows[rows].baselines["prior"]["accuracy"]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "mae", "rmse"])
def test_recent_values_are_those_of_the_rows_between_two_points(metric):
    given = list(reports(100, regression=metric in ("mae", "rmse")))
    curve = logged(given).curve()
    recent = curve.recent("model", metric)
    make = {"accuracy": rm.Accuracy, "log_loss": rm.LogLoss, "mae": rm.MAE, "rmse": rm.RMSE}[metric]
    for i in (1, 30, 99):  # a fiftieth of 1000 rows are 20: two blocks
        alone = make()
        for report in given[i - 1 : i + 1]:
            alone.update(report.y, report.prediction)
        assert recent[i] == pytest.approx(alone.value(), rel=1e-9)
    assert curve.recent("model", "auc") is None


def test_a_measure_that_comes_later_is_undefined_before():
    first, second, third = list(reports(3))
    log = Log()
    log.add(Report(*(first.rows,) * 2, 0, 0, 0, 0.1, 0.1))
    log.add(second)
    log.add(third)
    values = log.curve().values["model", "accuracy"]
    assert np.isnan(values[0])
    assert np.isfinite(values[1:]).all()
    assert log.scored == 20  # the first was not scored


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 59), max_size=3), regression=st.booleans())
def test_a_log_that_was_saved_and_loaded_is_the_log_that_never_was(cuts, regression):
    given = list(reports(60, regression=regression))
    whole = logged(given, points=8, sample=100, events=3)
    log = Log(points=8, sample=100, events=3)
    for i, report in enumerate(given):
        if i in cuts:
            saved = states.encode(log.state_dict())
            log = Log(points=8, sample=100, events=3)
            log.load_state_dict(states.decode(saved))
        log.add(report)
    assert states.encode(log.state_dict()) == states.encode(whole.state_dict())


def test_a_saved_state_does_not_change_with_the_log():
    given = list(reports(20))
    log = logged(given[:10])
    state = log.state_dict()
    before = states.encode(state)
    for report in given[10:]:
        log.add(report)
    assert states.encode(state) == before


def test_memory_does_not_grow_with_the_stream():
    given = list(reports(400))
    log = logged(given[:200] * 3, points=64, sample=500, events=5)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            for report in given:
                log.add(report)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000
    assert len(states.encode(log.state_dict())) < 60_000
    assert len(log.events) == 5
    assert log.event_count == 8


def test_what_makes_no_sense_is_refused():
    with pytest.raises(SettingError, match="even number of points"):
        Log(points=7)
    with pytest.raises(StateError, match="not the state of a log"):
        Log().load_state_dict({"weights": np.zeros(3)})
    with pytest.raises(StateError, match="sample=10"):
        Log().load_state_dict(logged(reports(2), sample=10).state_dict())
