"""Learners that solve instead of stepping: exact, and the same in any order of the rows."""

from retain.learners.analytic.bayesian import BayesianLinear
from retain.learners.analytic.fecam import FeCAM
from retain.learners.analytic.gaussian import SLDA, NearestMean
from retain.learners.analytic.ridge import Ridge
from retain.learners.analytic.rls import RLS

__all__ = ["RLS", "SLDA", "BayesianLinear", "FeCAM", "NearestMean", "Ridge"]
