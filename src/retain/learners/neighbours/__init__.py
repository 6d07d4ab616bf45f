"""Learners that remember rows and ask the nearest: in a sliding window, and in a memory that adjusts itself."""

from retain.learners.neighbours.sam import SAMKNN
from retain.learners.neighbours.window import KNN

__all__ = ["KNN", "SAMKNN"]
