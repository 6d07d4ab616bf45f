"""Gates: how often they are wrong, how soon they are right, and against the bets written out."""

import math

import numpy as np
import pytest

from retain.core import Decision, Evidence, Gate
from retain.errors import PoisonError, SettingError
from retain.update import Better, NotWorse

STREAMS, PAIRS = 1_000, 4_000
MOST = 61  # of 1,000 at 5 %: exceeded with a probability of 5 % by a gate that is wrong in exactly 5 % of them


def promoted(make, champion_error, candidate_error, *, drifting=False):
    """How many of 1,000 candidates are promoted; both models share most of their errors, as two versions do."""
    rng = np.random.default_rng(7)
    count = 0
    for _ in range(STREAMS):
        u = rng.random(PAIRS)
        own = np.where(rng.random(PAIRS) < 0.7, u, rng.random(PAIRS))
        # Errors that come and go for both leave what is asked, the mean of the difference, as it was.
        rate = 0.5 + np.sin(np.arange(PAIRS) / 300) / 2 if drifting else np.ones(PAIRS)
        champion, candidate = u < champion_error * rate, own < candidate_error * rate
        verdict = make()(Evidence(champion.astype(np.float64), candidate.astype(np.float64)))
        count += verdict.decision is Decision.PROMOTE
    return count


@pytest.mark.parametrize("drifting", [False, True], ids=["steady", "drifting"])
def test_of_a_thousand_that_are_no_better_few_are_promoted(drifting):
    assert promoted(Better, 0.2, 0.2, drifting=drifting) <= MOST


def test_of_a_thousand_that_are_worse_by_the_margin_few_are_promoted():
    assert promoted(lambda: NotWorse(0.02), 0.2, 0.22) <= MOST


def test_what_is_better_is_promoted():
    assert promoted(Better, 0.2, 0.15) >= 0.95 * STREAMS
    assert promoted(lambda: NotWorse(0.05), 0.2, 0.2) >= 0.95 * STREAMS


def test_heavy_tails_do_not_promote_what_is_no_better():
    rng = np.random.default_rng(3)
    count = sum(
        Better(largest=None)(Evidence(*rng.lognormal(0.0, 1.0, (2, 2_000)))).decision is Decision.PROMOTE
        for _ in range(STREAMS)
    )
    assert count <= MOST


def test_the_bets_written_out():
    rng = np.random.default_rng(1)
    champion, candidate = (rng.random((2, 3_000)) < [[0.3], [0.26]]).astype(np.float64)
    gate = NotWorse(0.01, alpha=0.01, beta=0.01)
    verdict = gate(Evidence(champion, candidate))
    bets = [0.5**j for j in range(1, 11)]
    w, v = [1.0] * 10, [1.0] * 10
    for i, (a, b) in enumerate(zip(champion, candidate, strict=True), start=1):
        x = (a - b + 0.01) / 1.01
        w = [old * (1 + bet * x) for old, bet in zip(w, bets, strict=True)]
        v = [old * (1 - bet * x) for old, bet in zip(v, bets, strict=True)]
        if i >= 100 and (sum(w) / 10 >= 100 or sum(v) / 10 >= 100):
            break
    assert (verdict.decision, verdict.pairs) == (Decision.PROMOTE, i)
    assert verdict.evidence["log_e_for"] == pytest.approx(math.log(sum(w) / 10), rel=1e-9)
    assert verdict.evidence["log_e_against"] == pytest.approx(math.log(sum(v) / 10), rel=1e-9)
    assert verdict.evidence["gain"] == pytest.approx(((champion - candidate)[:i].mean() + 0.01) / 1.01, rel=1e-9)


def test_nobody_is_promoted_on_too_few_pairs_and_who_never_shows_it_is_refused():
    sure = Better(least=50, most=500)
    assert sure(Evidence(np.ones(49), np.zeros(49))).decision is Decision.UNDECIDED
    assert sure(Evidence(np.ones(1), np.zeros(1))).pairs == 50
    same = np.random.default_rng(0).integers(0, 2, 600).astype(np.float64)
    verdict = Better(most=500)(Evidence(same, same))
    assert (verdict.decision, verdict.pairs) == (Decision.REFUSE, 500)


def test_it_is_the_gate_that_core_speaks_of():
    gate: Gate = Better()
    assert gate(Evidence(np.empty(0), np.empty(0))).decision is Decision.UNDECIDED


@pytest.mark.parametrize(
    "make",
    [
        lambda: Better(alpha=0.0),
        lambda: Better(least=0),
        lambda: Better(least=10, most=5),
        lambda: Better(largest=-1.0),
        lambda: NotWorse(0.0),
        lambda: NotWorse(math.inf),
    ],
)
def test_settings_that_make_no_sense_are_refused(make):
    with pytest.raises(SettingError, match="expected"):
        make()


def test_losses_beyond_the_largest_and_below_zero_are_refused():
    with pytest.raises(PoisonError, match="largest=None"):
        Better()(Evidence(np.array([0.0, 3.0]), np.zeros(2)))
    with pytest.raises(PoisonError, match="row 1"):
        Better()(Evidence(np.array([0.0, -1.0]), np.zeros(2)))
