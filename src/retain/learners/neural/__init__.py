"""Neural learners: `Neural`, what it makes small, and ready modules, which need torch; `OnlineMLP`, which does not.

Names are resolved on first use (PEP 562), so that torch is imported when something is used that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from retain.errors import MissingExtraError

_HOME = {
    "ACE": "criteria",
    "Criterion": "criteria",
    "CrossEntropy": "criteria",
    "Huber": "criteria",
    "Squared": "criteria",
    "FirstSession": "first_session",
    "GDumb": "gdumb",
    "GRU": "modules",
    "MLP": "modules",
    "ConvNet": "modules",
    "ResNet18": "modules",
    "Neural": "neural",
    "Net": "online",
    "OnlineMLP": "online",
}

if not TYPE_CHECKING:  # type checkers read the imports at the end of this file instead
    __all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_HOME)}")
    try:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(f"{name} needs torch: pip install 'retain[torch]'") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])


if TYPE_CHECKING:
    from retain.learners.neural.criteria import ACE as ACE
    from retain.learners.neural.criteria import Criterion as Criterion
    from retain.learners.neural.criteria import CrossEntropy as CrossEntropy
    from retain.learners.neural.criteria import Huber as Huber
    from retain.learners.neural.criteria import Squared as Squared
    from retain.learners.neural.first_session import FirstSession as FirstSession
    from retain.learners.neural.gdumb import GDumb as GDumb
    from retain.learners.neural.modules import GRU as GRU
    from retain.learners.neural.modules import MLP as MLP
    from retain.learners.neural.modules import ConvNet as ConvNet
    from retain.learners.neural.modules import ResNet18 as ResNet18
    from retain.learners.neural.neural import Neural as Neural
    from retain.learners.neural.online import Net as Net
    from retain.learners.neural.online import OnlineMLP as OnlineMLP
