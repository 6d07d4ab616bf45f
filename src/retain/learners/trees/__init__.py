"""Trees that grow as rows arrive."""

from retain.learners.trees.hoeffding import HoeffdingTree as HoeffdingTree

__all__ = ["HoeffdingTree"]
