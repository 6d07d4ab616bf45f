"""Trees that grow as rows arrive."""

from retain.learners.trees.adaptive import HoeffdingAdaptiveTree
from retain.learners.trees.efdt import EFDT
from retain.learners.trees.hoeffding import HoeffdingTree
from retain.learners.trees.mondrian import MondrianTree
from retain.learners.trees.regression import RegressionTree

__all__ = [
    "EFDT",
    "HoeffdingAdaptiveTree",
    "HoeffdingTree",
    "MondrianTree",
    "RegressionTree",
]
