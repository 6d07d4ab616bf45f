"""Every detector through the laws; and in a new process."""

import numpy as np
import pytest

from retain import detectors as rd
from retain import testing
from retain.core import Drift
from retain.errors import PoisonError

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=600) + np.repeat([0.0, 6.0, 0.0], 200)
ERRORS = (RNG.random(1200) < np.repeat([0.05, 0.9, 0.1], 400)).astype(np.float64)

DETECTORS = {
    "adwin": (rd.ADWIN, NUMBERS),
    "adwin, anew": (lambda: rd.ADWIN(restart=True, clock=1), NUMBERS),
    "page-hinkley": (lambda: rd.PageHinkley(20.0), NUMBERS),
    "page-hinkley, down": (lambda: rd.PageHinkley(20.0, direction=rd.Direction.DOWN), NUMBERS),
    "ddm": (rd.DDM, ERRORS),
    "eddm": (rd.EDDM, ERRORS),
    "hddm-a": (lambda: rd.HDDMA(falls=True), ERRORS),
    "hddm-w": (lambda: rd.HDDMW(falls=True), ERRORS),
    "kswin": (rd.KSWIN, NUMBERS),
    "kswin, anew": (lambda: rd.KSWIN(window=50, latest=10, restart=True), NUMBERS),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors(name):
    testing.check_detector(*DETECTORS[name])


def stepping(values):
    return lambda part, start, stop: part.update(values[start:stop])


PARTS = {name: (make, stepping(values)) for name, (make, values) in DETECTORS.items()}


def test_resume_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=600)


class Broken:
    """Tells of every value larger than all before it, and can break each law."""

    def __init__(self, breaks=""):
        self.breaks, self.most, self.seen = breaks, -np.inf, []

    def update(self, values):
        if values.dtype.kind not in "fiub" or values.ndim != 1 or not np.isfinite(values).all():
            if self.breaks == "poison":
                self.most = 0.0
            raise PoisonError("values that are not finite numbers; expected numbers: drop the row")
        before = np.maximum.accumulate(np.concatenate([[self.most], values]))[:-1]
        if self.breaks == "blocks":
            before[:] = self.most
        levels = np.where(values > before, 2, 0).astype(np.int8)
        self.most = max(self.most, values.max(initial=-np.inf))
        if self.breaks == "bounded":
            self.seen += list(values)
        return Drift(levels)

    def state_dict(self):
        return {"most": self.most, "seen": list(self.seen)}

    def load_state_dict(self, state):
        self.most = -np.inf if self.breaks == "resume" else state["most"]
        self.seen = list(state["seen"])


def test_a_detector_that_keeps_the_laws_passes():
    testing.check_detector(Broken, NUMBERS, tries=3)


@pytest.mark.parametrize(
    ("breaks", "says"),
    [("blocks", "split at"), ("resume", "after resuming"), ("bounded", "grew to"), ("poison", "after a refused")],
)
def test_the_law_says_what_is_broken(breaks, says):
    with pytest.raises(AssertionError, match=says):
        testing.check_detector(lambda: Broken(breaks), NUMBERS, tries=3)


def test_values_in_which_nothing_happens_show_nothing():
    with pytest.raises(AssertionError, match="sees no drift"):
        testing.check_detector(rd.ADWIN, np.zeros(100))
