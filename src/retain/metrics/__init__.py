"""Running measures of predictions, and of what they cost.

Every metric is a fold over rows: `update(y, prediction, weight)` takes in a block, `value()` says the measure so far,
and how the rows were split into blocks changes nothing, bit for bit. `Windowed` and `Fading` make any of them recent.
"""

from __future__ import annotations

from retain.metrics.auc import ROCAUC, roc_area
from retain.metrics.cost import Latency, Memory, resident_bytes, state_bytes
from retain.metrics.decisions import F1, Accuracy, BalancedAccuracy, Kappa, KappaTemporal, MacroF1, Unknown
from retain.metrics.numbers import MAE, R2, RMSE, Coverage, QuantileLoss
from retain.metrics.probabilities import Brier, CalibrationError, LogLoss
from retain.metrics.recent import Fading, Windowed
from retain.metrics.running import Running, update

__all__ = [
    "F1",
    "MAE",
    "R2",
    "RMSE",
    "ROCAUC",
    "Accuracy",
    "BalancedAccuracy",
    "Brier",
    "CalibrationError",
    "Coverage",
    "Fading",
    "Kappa",
    "KappaTemporal",
    "Latency",
    "LogLoss",
    "MacroF1",
    "Memory",
    "QuantileLoss",
    "Running",
    "Unknown",
    "Windowed",
    "resident_bytes",
    "roc_area",
    "state_bytes",
    "update",
]
