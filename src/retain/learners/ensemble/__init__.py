"""Learners made of learners."""

from retain.learners.ensemble.arf import ARF
from retain.learners.ensemble.bagging import OnlineBagging
from retain.learners.ensemble.boosting import OnlineBoosting
from retain.learners.ensemble.hedge import Hedge
from retain.learners.ensemble.leveraging import LeveragingBagging
from retain.learners.ensemble.open_set import OpenSet
from retain.learners.ensemble.sgbt import SGBT
from retain.learners.ensemble.srp import SRP
from retain.learners.ensemble.stacking import Stacking

__all__ = ["ARF", "SGBT", "SRP", "Hedge", "LeveragingBagging", "OnlineBagging", "OnlineBoosting", "OpenSet", "Stacking"]
