"""Linear learners: `Linear` and the losses and updates it is made of, and `FactorisationMachine`, of pairs too."""

from retain.learners.linear.factorisation import FactorisationMachine
from retain.learners.linear.linear import Linear
from retain.learners.linear.losses import Hinge, Huber, Logistic, Multinomial, Poisson, Quantile, Squared
from retain.learners.linear.updates import (
    ALMA,
    AROW,
    FTRL,
    SCW,
    SGD,
    Adaptive,
    Coin,
    Constant,
    InverseRoot,
    InverseScaling,
    NewtonStep,
    PassiveAggressive,
)

__all__ = [
    "ALMA",
    "AROW",
    "FTRL",
    "SCW",
    "SGD",
    "Adaptive",
    "Coin",
    "Constant",
    "FactorisationMachine",
    "Hinge",
    "Huber",
    "InverseRoot",
    "InverseScaling",
    "Linear",
    "Logistic",
    "Multinomial",
    "NewtonStep",
    "PassiveAggressive",
    "Poisson",
    "Quantile",
    "Squared",
]
