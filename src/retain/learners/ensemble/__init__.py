"""Learners made of learners."""

from retain.learners.ensemble.hedge import Hedge

__all__ = ["Hedge"]
