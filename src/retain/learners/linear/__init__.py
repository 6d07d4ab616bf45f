"""Linear learners: `Linear` and the losses and updates it is made of."""

from retain.learners.linear.linear import Linear
from retain.learners.linear.losses import Hinge, Huber, Logistic, Multinomial, Poisson, Quantile, Squared
from retain.learners.linear.updates import (
    FTRL,
    SGD,
    Adaptive,
    Coin,
    Constant,
    InverseRoot,
    InverseScaling,
    PassiveAggressive,
)

__all__ = [
    "FTRL",
    "SGD",
    "Adaptive",
    "Coin",
    "Constant",
    "Hinge",
    "Huber",
    "InverseRoot",
    "InverseScaling",
    "Linear",
    "Logistic",
    "Multinomial",
    "PassiveAggressive",
    "Poisson",
    "Quantile",
    "Squared",
]
