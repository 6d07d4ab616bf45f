"""retain: models that keep learning after deployment. *Retain, don't retrain.*

Every name here is resolved on first use (PEP 562), so that `import retain` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Batch": "core",
    "CSR": "core",
    "Column": "core",
    "Kind": "core",
    "Report": "core",
    "Schema": "core",
    "Chain": "compose",
    "DateParts": "features.dates",
    "Hash": "features.hash",
    "Impute": "features.impute",
    "Lag": "features.lag",
    "OneHot": "features.onehot",
    "Ordinal": "features.ordinal",
    "Rolling": "features.rolling",
    "Scale": "features.scale",
    "Select": "features.select",
    "TargetEncode": "features.target",
    "Linear": "learners.linear",
    "Adaptive": "learners.linear",
    "Coin": "learners.linear",
    "FTRL": "learners.linear",
    "PassiveAggressive": "learners.linear",
    "SGD": "learners.linear",
    "Hinge": "learners.linear",
    "Huber": "learners.linear",
    "Logistic": "learners.linear",
    "Multinomial": "learners.linear",
    "Poisson": "learners.linear",
    "Quantile": "learners.linear",
    "Squared": "learners.linear",
    "RLS": "learners.analytic",
    "Mean": "learners.baselines",
    "NoChange": "learners.baselines",
    "Prior": "learners.baselines",
    "Delay": "run",
    "Prequential": "run",
}
_ROOMS = ("errors", "metrics", "streams", "testing")

__all__ = [*_HOME, *_ROOMS]  # pyright: ignore[reportUnsupportedDunderAll] - resolved in __getattr__


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"retain.{_HOME[name]}"), name)
    if name in _ROOMS:
        return import_module(f"retain.{name}")
    raise AttributeError(f"module 'retain' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


if TYPE_CHECKING:
    from retain import errors, metrics, streams, testing
    from retain.compose import Chain
    from retain.core import CSR, Batch, Column, Kind, Report, Schema
    from retain.features.dates import DateParts
    from retain.features.hash import Hash
    from retain.features.impute import Impute
    from retain.features.lag import Lag
    from retain.features.onehot import OneHot
    from retain.features.ordinal import Ordinal
    from retain.features.rolling import Rolling
    from retain.features.scale import Scale
    from retain.features.select import Select
    from retain.features.target import TargetEncode
    from retain.learners.analytic import RLS
    from retain.learners.baselines import Mean, NoChange, Prior
    from retain.learners.linear import (
        FTRL,
        SGD,
        Adaptive,
        Coin,
        Hinge,
        Huber,
        Linear,
        Logistic,
        Multinomial,
        PassiveAggressive,
        Poisson,
        Quantile,
        Squared,
    )
    from retain.run import Delay, Prequential
