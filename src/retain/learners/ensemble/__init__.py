"""Learners made of learners."""

from retain.learners.ensemble.calibrated import Calibrated, Isotonic, Platt, Temperature
from retain.learners.ensemble.conformal import ACI, Conformal, DtACI
from retain.learners.ensemble.hedge import Hedge
from retain.learners.ensemble.open_set import OpenSet

__all__ = ["ACI", "Calibrated", "Conformal", "DtACI", "Hedge", "Isotonic", "OpenSet", "Platt", "Temperature"]
