"""Detectors of drift: each watches one sequence of numbers, errors of a model first of all, for a change."""

from retain.detectors.adwin import ADWIN
from retain.detectors.ddm import DDM
from retain.detectors.eddm import EDDM
from retain.detectors.hddm import HDDMA, HDDMW
from retain.detectors.kswin import KSWIN
from retain.detectors.page_hinkley import Direction, PageHinkley
from retain.detectors.watch import Watch

__all__ = ["ADWIN", "DDM", "EDDM", "HDDMA", "HDDMW", "KSWIN", "Direction", "PageHinkley", "Watch"]
