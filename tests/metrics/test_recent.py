"""Fading and windowed metrics against their definitions."""

import numpy as np
import pytest

from retain import metrics as rm
from retain import state as states
from retain.errors import PoisonError

MAKERS = [
    *(rm.Accuracy, rm.BalancedAccuracy, rm.F1, rm.MacroF1, rm.Kappa, rm.KappaTemporal),
    *(rm.ROCAUC, rm.LogLoss, rm.Brier, rm.CalibrationError, rm.MAE, rm.RMSE, rm.R2),
]


def rows(n=400, *, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    p = rng.dirichlet([1, 1, 1], n)
    return y, p, rng.uniform(0.5, 2, n)


def measured(metric, *given):
    metric.update(*given)
    return metric.value()


@pytest.mark.parametrize("make", [rm.Accuracy, rm.Kappa, rm.LogLoss, rm.ROCAUC, rm.CalibrationError, rm.MacroF1])
@pytest.mark.parametrize("decay", [1.0, 0.99, 0.5, 0.001])
def test_fading_is_the_metric_with_fading_weights(make, decay):
    y, p, w = rows()
    fading = w * decay ** np.arange(len(y) - 1, -1, -1.0)
    assert measured(rm.Fading(make(), decay=decay), y, p, w) == pytest.approx(measured(make(), y, p, fading), rel=1e-9)


def test_fading_numbers():
    rng = np.random.default_rng(1)
    y, p = rng.normal(size=(2, 3000))
    fading = 0.9 ** np.arange(len(y) - 1, -1, -1.0)  # grows past 2^256 and is scaled back on the way
    for make in (rm.MAE, rm.RMSE, rm.R2):
        assert measured(rm.Fading(make(), decay=0.9), y, p) == pytest.approx(measured(make(), y, p, fading), rel=1e-9)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("m", [1, 7, 1000])
def test_windowed_is_a_new_metric_of_the_last_rows(make, m):
    y, p, w = rows()
    if make in (rm.MAE, rm.RMSE, rm.R2):
        y, p = p[:, 0], p[:, 1]
    metric = rm.Windowed(make(), rows=m)
    for start, stop in ((0, 3), (3, 250), (250, 251), (251, 400)):
        metric.update(y[start:stop], p[start:stop], w[start:stop])
        last = slice(max(stop - m, 0), stop)
        np.testing.assert_equal(metric.value(), measured(make(), y[last], p[last], w[last]))


def test_windows_hold_classes_that_come_and_go():
    metric = rm.Windowed(rm.LogLoss(), rows=2)
    metric.update(np.array([0]), np.empty((1, 0)))
    metric.update(np.array([0, 2]), np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]]))
    metric.update(np.array([1]), np.array([[0.1, 0.9]]))
    assert metric.value() == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2)


def test_a_window_keeps_what_it_was_given_and_not_the_array():
    y, p, _ = rows(5)
    metric = rm.Windowed(rm.Accuracy(), rows=3)
    before = measured(metric, y, p)
    y[:], p[:] = 0, 0.0
    metric.scale(1.0)  # adds up again
    assert metric.value() == before


def test_wrappers_wrap_each_other():
    y, p, w = rows()
    metric = rm.Windowed(rm.Fading(rm.Accuracy(), decay=0.9), rows=50)
    assert metric.name == "accuracy_fading_0.9_last_50"
    expected = measured(rm.Accuracy(), y[-50:], p[-50:], w[-50:] * 0.9 ** np.arange(49, -1, -1.0))
    assert measured(metric, y, p, w) == pytest.approx(expected, rel=1e-12)
    other = rm.Fading(rm.Windowed(rm.Accuracy(), rows=50), decay=0.9)
    assert measured(other, y, p, w) == pytest.approx(expected, rel=1e-12)


def test_refused_rows_leave_a_window_as_it_was():
    _, p, _ = rows(5)
    metric = rm.Windowed(rm.MAE(), rows=3)
    metric.update(p[:, :2], p[:, 1:])
    before = states.encode(metric.state_dict())
    with pytest.raises(PoisonError):
        metric.update(p, p * np.nan)
    with pytest.raises(PoisonError, match="as before"):
        metric.update(p, p)
    assert states.encode(metric.state_dict()) == before


def test_the_window_of_a_loaded_metric_goes_on_where_it_was():
    y, p, w = rows()
    metric = rm.Windowed(rm.Accuracy(), rows=64)
    metric.update(y[:100], p[:100], w[:100])
    other = rm.Windowed(rm.Accuracy(), rows=64)
    other.load_state_dict(states.decode(states.encode(metric.state_dict())))
    for m in (metric, other):
        m.update(y[100:130], p[100:130], w[100:130])
    assert states.encode(metric.state_dict()) == states.encode(other.state_dict())
