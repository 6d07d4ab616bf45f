"""Learners made of learners."""

from retain.learners.ensemble.conformal import ACI, Conformal, DtACI
from retain.learners.ensemble.hedge import Hedge
from retain.learners.ensemble.open_set import OpenSet

__all__ = ["ACI", "Conformal", "DtACI", "Hedge", "OpenSet"]
