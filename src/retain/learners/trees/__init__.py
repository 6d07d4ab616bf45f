"""Trees that grow as rows arrive."""

from retain.learners.trees.hoeffding import HoeffdingTree as HoeffdingTree
from retain.learners.trees.regression import RegressionTree as RegressionTree

__all__ = ["HoeffdingTree", "RegressionTree"]
