"""How measures, baselines and numbers are written wherever a run is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping

from retain.report.log import MODEL

__all__ = ["best", "better", "duration", "higher_is_better", "shown", "title"]

_TITLES = {
    MODEL: "model",
    "no_change": "no-change",
    "auc": "AUC",
    "f1": "F1",
    "log_loss": "log-loss",
    "macro_f1": "macro F1",
    "mae": "MAE",
    "r2": "R²",
    "rmse": "RMSE",
}
_LOWER = ("brier", "calibration_error", "log_loss", "mae", "rmse", "quantile_loss", "unknown")


def title(name: str, /) -> str:
    """What a metric or baseline is called.

    >>> title("auc"), title("kappa_temporal"), title("accuracy_last_1000")
    ('AUC', 'kappa temporal', 'accuracy last 1000')
    """
    if name in _TITLES:
        return _TITLES[name]
    for known, written in _TITLES.items():
        if name.startswith(f"{known}_"):
            return written + name[len(known) :].replace("_", " ")
    return name.replace("_", " ")


def shown(value: float, /) -> str:
    """A measure with about four digits, a dash where it is undefined.

    >>> shown(0.85314), shown(21.5), shown(123456.7), shown(float("nan"))
    ('0.8531', '21.50', '123,457', '–')
    """
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size and size < 1e-3:
        return f"{value:.3g}"
    return f"{value:.4f}" if size < 10 else f"{value:.2f}"


def duration(seconds: float, /) -> str:
    """A time span in the unit that suits it.

    >>> duration(0.0042), duration(12.34), duration(4000)
    ('4.2 ms', '12.3 s', '1 h 6 min')
    """
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {int(seconds % 60)} s"


def higher_is_better(metric: str, /) -> bool:
    """Whether more of a metric is better, as far as its name tells.

    >>> higher_is_better("accuracy"), higher_is_better("rmse_last_100")
    (True, False)
    """
    return not metric.startswith(_LOWER)


def better(metric: str, a: float, b: float, /) -> bool:
    """Whether a is better than b, by that metric."""
    return a > b if higher_is_better(metric) else a < b


def best(metric: str, values: Mapping[str, float], /) -> str | None:
    """Who has the best value; None where nobody has one, or two share it."""
    known = {who: value for who, value in values.items() if math.isfinite(value)}
    leaders = [who for who, value in known.items() if not any(better(metric, o, value) for o in known.values())]
    return leaders[0] if len(leaders) == 1 else None
