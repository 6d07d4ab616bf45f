"""Every gate through the laws; and in a new process."""

import numpy as np
import pytest

import retain as rt
from retain import testing
from retain.core import Decision, Evidence, Verdict
from retain.errors import PoisonError
from retain.update import (
    Better,
    Bootstrap,
    Calibrated,
    Near,
    NoLarger,
    NoSlower,
    NotForgotten,
    NotWorse,
    Unanimous,
)

RNG = np.random.default_rng(0)
WORSE, GOOD = (RNG.random(1500) < 0.4).astype(np.float64), (RNG.random(1500) < 0.2).astype(np.float64)
FAR, NEAR = RNG.exponential(2.0, 1500), RNG.exponential(1.0, 1500)

GATES = {
    "better": (Better, WORSE, GOOD),
    "better, refused": (Better, GOOD, WORSE),
    "better, at the end": (lambda: Better(most=200), GOOD, GOOD),
    "better, no bound": (lambda: Better(largest=None), FAR, NEAR),
    "not worse": (lambda: NotWorse(0.1), GOOD, GOOD[::-1].copy()),
    "not worse, refused": (lambda: NotWorse(0.05), GOOD, WORSE),
    "not worse, no bound": (lambda: NotWorse(0.1, largest=None), FAR, NEAR),
}
CITY = RNG.choice(["a", "b"], 1500)
Y = RNG.integers(0, 2, 1500)
SAID = [RNG.dirichlet([2, 2], 1500) for _ in range(2)]
PAST = {"old": (np.zeros(50), np.full(50, 0.5))}
RICH = Evidence(
    WORSE,
    GOOD,
    Y,
    *SAID,
    columns={"city": CITY},
    past=lambda: PAST,
    costs=lambda: {"bytes": (1.0, 2.0), "seconds": (1.0, 2.0)},
)
GUARDS = {
    "unanimous": lambda: Unanimous(rt.Better(), NotWorse(0.1)),
    "unanimous, refused": lambda: Unanimous(rt.Better(), NotForgotten()),
    "canary": lambda: rt.Canary(rt.Better()),
    "slices": lambda: rt.PerSlice(NotWorse(0.05), by="city"),
    "bootstrap": lambda: Bootstrap(least=700, draws=200),
    "calibrated": lambda: Calibrated(least=600),
    "near": lambda: Near(within=5.0, least=300),
    "not forgotten": lambda: NotForgotten(least=20),
    "no slower": lambda: NoSlower(least=20),
    "no larger": lambda: NoLarger(3.0, least=20),
}


@pytest.mark.parametrize("name", GATES)
def test_gates(name):
    make, champion, candidate = GATES[name]
    testing.check_gate(make, Evidence(champion, candidate))


@pytest.mark.parametrize("name", GUARDS)
def test_guards(name):
    testing.check_gate(GUARDS[name], RICH, tries=5)


def stepping(champion, candidate):
    return lambda part, start, stop: part(Evidence(champion[start:stop], candidate[start:stop]))


PARTS = {name: (make, stepping(*losses)) for name, (make, *losses) in GATES.items()}


def test_resume_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=100)


class Broken:
    """Promotes at the hundredth pair, and can break each law."""

    def __init__(self, breaks=""):
        self.breaks, self.pairs, self.calls = breaks, 0, 0

    wants = frozenset()

    def __call__(self, evidence):
        champion, candidate = evidence.champion, evidence.candidate
        if champion.shape != candidate.shape or champion.dtype.kind not in "fiub" or candidate.dtype.kind not in "fiub":
            raise PoisonError("losses that do not fit; expected one number for each row of both: give both")
        if np.isinf(champion).any() or np.isinf(candidate).any():
            self.calls += self.breaks == "poison"
            raise PoisonError("a loss is infinite; expected finite numbers: drop the row")
        self.calls += self.breaks == "blocks" and len(champion) > 5
        self.pairs += int((~np.isnan(champion + candidate)).sum())
        pairs = self.pairs if self.breaks == "stands" else min(self.pairs, 100)
        return Verdict(Decision.PROMOTE if pairs >= 100 else Decision.UNDECIDED, pairs)

    def state_dict(self):
        pairs = 0 if self.breaks == "resume" else min(self.pairs, 100)
        return {"pairs": pairs, "calls": self.calls}

    def load_state_dict(self, state):
        self.pairs, self.calls = state["pairs"], state["calls"]


def test_a_gate_that_keeps_the_laws_passes():
    testing.check_gate(Broken, Evidence(WORSE, GOOD), tries=3)


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        ("blocks", "split at"),
        ("resume", "after resuming"),
        ("stands", "after more pairs"),
        ("poison", "after a refused"),
    ],
)
def test_the_law_says_what_is_broken(breaks, says):
    with pytest.raises(AssertionError, match=says):
        testing.check_gate(lambda: Broken(breaks), Evidence(WORSE[:250], GOOD[:250]), tries=3)


def test_losses_on_which_nothing_is_decided_show_nothing():
    with pytest.raises(AssertionError, match="undecided"):
        testing.check_gate(Better, Evidence(GOOD[:200], GOOD[:200]))
