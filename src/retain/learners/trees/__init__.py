"""Learners that split the space of features, again and again."""

from retain.learners.trees.mondrian import MondrianTree

__all__ = ["MondrianTree"]
