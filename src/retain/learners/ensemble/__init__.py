"""Learners made of learners."""

from retain.learners.ensemble.amf import AMF
from retain.learners.ensemble.arf import ARF
from retain.learners.ensemble.bagging import OnlineBagging
from retain.learners.ensemble.boosting import OnlineBoosting
from retain.learners.ensemble.calibrated import Calibrated, Isotonic, Platt, Temperature
from retain.learners.ensemble.conformal import ACI, Conformal, DtACI
from retain.learners.ensemble.hedge import Hedge
from retain.learners.ensemble.leveraging import LeveragingBagging
from retain.learners.ensemble.one_vs_all import OneVsAll
from retain.learners.ensemble.open_set import OpenSet
from retain.learners.ensemble.sgbt import SGBT
from retain.learners.ensemble.srp import SRP
from retain.learners.ensemble.stacking import Stacking

__all__ = [
    "ACI",
    "AMF",
    "ARF",
    "SGBT",
    "SRP",
    "Calibrated",
    "Conformal",
    "DtACI",
    "Hedge",
    "Isotonic",
    "LeveragingBagging",
    "OneVsAll",
    "OnlineBagging",
    "OnlineBoosting",
    "OpenSet",
    "Platt",
    "Stacking",
    "Temperature",
]
