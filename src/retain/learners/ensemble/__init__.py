"""Learners made of learners."""

from retain.learners.ensemble.hedge import Hedge
from retain.learners.ensemble.one_vs_all import OneVsAll
from retain.learners.ensemble.open_set import OpenSet

__all__ = ["Hedge", "OneVsAll", "OpenSet"]
