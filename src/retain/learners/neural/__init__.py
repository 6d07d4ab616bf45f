"""Neural learners: `Neural`, what it makes small, and ready modules."""

from retain.errors import MissingExtraError

try:
    import torch as torch
except ModuleNotFoundError as error:
    raise MissingExtraError("neural learners need torch: pip install 'retain[torch]'") from error

from retain.learners.neural.criteria import ACE, Criterion, CrossEntropy, Huber, Squared
from retain.learners.neural.first_session import FirstSession
from retain.learners.neural.gdumb import GDumb
from retain.learners.neural.modules import GRU, MLP, ConvNet, ResNet18
from retain.learners.neural.neural import Neural

__all__ = [
    "ACE",
    "GRU",
    "MLP",
    "ConvNet",
    "Criterion",
    "CrossEntropy",
    "FirstSession",
    "GDumb",
    "Huber",
    "Neural",
    "ResNet18",
    "Squared",
]
