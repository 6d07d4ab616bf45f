"""Every metric through the laws: splits change nothing bit for bit, saving and loading neither."""

import numpy as np
import pytest

from retain import metrics as rm
from retain import testing

CLASSES = {
    "accuracy": rm.Accuracy,
    "balanced_accuracy": rm.BalancedAccuracy,
    "f1": rm.F1,
    "macro_f1": rm.MacroF1,
    "kappa": rm.Kappa,
    "kappa_temporal": rm.KappaTemporal,
    "unknown": rm.Unknown,
    "auc": rm.ROCAUC,
    "log_loss": rm.LogLoss,
    "brier": rm.Brier,
    "calibration_error": rm.CalibrationError,
    "windowed": lambda: rm.Windowed(rm.LogLoss(), rows=13),
    "fading": lambda: rm.Fading(rm.ROCAUC(), decay=0.9),
    "fading fast": lambda: rm.Fading(rm.Kappa(), decay=0.001),
    "windowed fading": lambda: rm.Windowed(rm.Fading(rm.KappaTemporal(), decay=0.5), rows=20),
}
NUMBERS = {
    "mae": rm.MAE,
    "rmse": rm.RMSE,
    "r2": rm.R2,
    "quantile_loss": lambda: rm.QuantileLoss(0.9),
    "windowed": lambda: rm.Windowed(rm.R2(), rows=13),
    "fading": lambda: rm.Fading(rm.R2(), decay=0.9),
}


@pytest.mark.parametrize("name", CLASSES)
def test_metrics_of_classes(name):
    batch = testing.examples("classification", rows=300)
    prediction = np.random.default_rng(0).dirichlet([1, 1, 1], len(batch))
    prediction[:2] = 0.0  # nothing was known yet
    testing.check_metric(CLASSES[name], batch.y, prediction, batch.weight)
    testing.check_metric(CLASSES[name], batch.y, prediction)


@pytest.mark.parametrize("name", NUMBERS)
def test_metrics_of_numbers(name):
    batch = testing.examples("regression", rows=300)
    prediction = np.random.default_rng(0).normal(size=len(batch))
    testing.check_metric(NUMBERS[name], batch.y, prediction, batch.weight)
    testing.check_metric(
        NUMBERS[name], np.column_stack([batch.y, prediction]), np.column_stack([prediction, prediction])
    )


def test_coverage():
    batch = testing.examples("regression", rows=300)
    bounds = np.random.default_rng(0).normal(size=(len(batch), 2))
    testing.check_metric(rm.Coverage, batch.y, np.sort(bounds, axis=1), batch.weight)
