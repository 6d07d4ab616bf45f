"""Gates that look at more than the mean loss, beside the same worked out by hand or by SciPy."""

import numpy as np
import pytest
from scipy import stats

import retain as rt
from retain.core import Decision, Evidence
from retain.errors import SettingError
from retain.metrics import CalibrationError
from retain.update import Bootstrap, Calibrated, Near, NoLarger, NoSlower, NotForgotten, PerSlice, Unanimous
from retain.update.once import _rise

RNG = np.random.default_rng(5)
STREAMS = 400
MOST = 30  # of 400 at 5 %: exceeded with a probability of 2 % by a gate that is wrong in exactly 5 % of them


def errors(rate, n=2_000, rng=RNG):
    return (rng.random(n) < rate).astype(np.float64)


def test_the_bootstrap_promotes_few_that_are_no_better_and_most_that_are():
    rng = np.random.default_rng(0)
    same = [Bootstrap(least=500, draws=200, seed=i)(Evidence(*rng.exponential(1, (2, 500)))) for i in range(STREAMS)]
    assert sum(v.decision is Decision.PROMOTE for v in same) <= MOST
    gain = [
        Bootstrap(least=500, draws=200)(Evidence(rng.exponential(1.0, 500), rng.exponential(0.7, 500)))
        for _ in range(100)
    ]
    assert sum(v.decision is Decision.PROMOTE for v in gain) >= 95


def test_the_bootstraps_bound_is_that_of_scipy():
    own, other = RNG.exponential(1.0, 800), RNG.exponential(0.9, 800)
    verdict = Bootstrap(least=800, draws=4_000)(Evidence(own, other))
    low = stats.bootstrap((own - other,), np.mean, confidence_level=0.9, method="percentile", n_resamples=4_000, rng=1)
    assert verdict.evidence["gain_at_least"] == pytest.approx(low.confidence_interval.low, abs=0.01)


def test_the_calibration_error_is_that_of_the_metric():
    y = RNG.integers(0, 3, 3_000)
    said = [RNG.dirichlet(np.ones(3) * a, 3_000) for a in (1.0, 0.3)]
    table = np.column_stack([c for p in said for c in (p.max(axis=1), p.argmax(axis=1) == y)])
    metrics = [CalibrationError(bins=10), CalibrationError(bins=10)]
    for metric, p in zip(metrics, said, strict=True):
        metric.update(y, p)
    assert _rise(table) == pytest.approx(metrics[1].value() - metrics[0].value(), abs=1e-9)


def test_a_calibrated_candidate_passes_and_a_vain_one_does_not():
    y = (RNG.random(4_000) < 0.7).astype(np.int64)
    honest, vain = np.tile([0.3, 0.7], (4_000, 1)), np.tile([0.05, 0.95], (4_000, 1))
    loss = (y != 1).astype(float)
    assert Calibrated()(Evidence(loss, loss, y, vain, honest)).decision is Decision.PROMOTE
    assert Calibrated()(Evidence(loss, loss, y, honest, honest)).decision is Decision.PROMOTE
    refused = Calibrated()(Evidence(loss, loss, y, honest, vain))
    assert refused.decision is Decision.REFUSE
    assert "calibration error" in refused.why
    with pytest.raises(SettingError, match="numbers"):
        Calibrated()(Evidence(loss, loss, loss, loss, loss))


def test_near_is_the_divergence_of_scipy():
    p, q = RNG.dirichlet(np.ones(4), 500), RNG.dirichlet(np.ones(4), 500)
    loss = errors(0.1, 500)
    verdict = Near(within=10.0)(Evidence(loss, loss, np.zeros(500, int), p, q))
    assert verdict.evidence["distance"] == pytest.approx(stats.entropy(p, q, axis=1).mean(), rel=1e-9)
    assert Near(within=0.01)(Evidence(loss, loss, np.zeros(500, int), p, q)).decision is Decision.REFUSE
    own = RNG.normal(size=500)
    verdict = Near(within=0.1)(Evidence(loss, loss, own, own, own + 0.1))
    assert verdict.evidence["distance"] == pytest.approx(0.01 / own.var(), rel=1e-9)


def test_cost_guards_compare_what_they_are_told():
    cost = {"seconds": (1e-6, 1.3e-6), "bytes": (1000.0, 900.0)}
    evidence = Evidence(errors(0.1), errors(0.1), costs=lambda: cost)
    assert NoSlower(1.2)(evidence).decision is Decision.REFUSE
    assert NoSlower(1.4)(evidence).decision is Decision.PROMOTE
    assert NoLarger(1.0)(evidence).decision is Decision.PROMOTE
    with pytest.raises(SettingError, match="costs"):
        NoLarger()(Evidence(errors(0.1), errors(0.1)))
    with pytest.raises(SettingError, match="times"):
        NoSlower(0.0)


def test_one_that_is_worse_nowhere_is_seldom_refused_for_forgetting_and_one_that_is_always():
    rng = np.random.default_rng(1)
    loss = errors(0.1, 5)

    def verdict(rise):
        past = {str(e): (errors(0.2, 200, rng), errors(0.2 + rise * (e == 3), 200, rng)) for e in range(10)}
        return NotForgotten(margin=0.02)(Evidence(loss, loss, past=lambda: past))

    assert sum(verdict(0.0).decision is Decision.REFUSE for _ in range(STREAMS)) <= MOST
    forgotten = [verdict(0.25) for _ in range(100)]
    assert sum(v.decision is Decision.REFUSE for v in forgotten) >= 99
    assert all("experience 3" in v.why for v in forgotten if v.decision is Decision.REFUSE)


def test_slices_are_judged_each_for_itself():
    n = 30_000
    city = RNG.choice(["a", "b", "c"], n, p=[0.6, 0.39, 0.01])
    champion = errors(0.2, n)

    def verdict(rates):
        candidate = (RNG.random(n) < np.select([city == k for k in rates], list(rates.values()))).astype(float)
        return PerSlice(rt.NotWorse(0.03), by="city")(Evidence(champion, candidate, columns={"city": city}))

    assert verdict({"a": 0.2, "b": 0.2, "c": 0.2}).decision is Decision.PROMOTE
    refused = verdict({"a": 0.1, "b": 0.3, "c": 0.2})
    assert (refused.decision, refused.why) == (Decision.REFUSE, "city = b")
    with pytest.raises(SettingError, match="'city'"):
        PerSlice(rt.NotWorse(0.03), by="city")(Evidence(champion, champion))


def test_values_beyond_the_most_are_one_slice():
    n = 4_000
    zone = np.arange(n) % 1_000
    gate = PerSlice(rt.NotWorse(0.2), by="zone", most=10, share=0.001)
    assert gate(Evidence(errors(0.1, n), errors(0.1, n), columns={"zone": zone})).pairs == n
    assert len(gate.state_dict()["names"]) == 11


def test_all_of_several_gates_must_agree_and_the_later_are_asked_only_then():
    asked = []

    def past():
        asked.append(1)
        return {"old": (np.zeros(100), np.ones(100))}

    gate = Unanimous(rt.Better(), NotForgotten())
    worse = gate(Evidence(errors(0.1), errors(0.3), past=past))
    assert (worse.decision, worse.why, asked) == (Decision.REFUSE, "by Better", [])
    gate = Unanimous(rt.Better(), NotForgotten())
    better = gate(Evidence(errors(0.3), errors(0.1), past=past))
    assert (better.decision, asked) == (Decision.REFUSE, [1])
    assert better.why.startswith("by NotForgotten: experience old")
    with pytest.raises(SettingError, match="two or more"):
        Unanimous(rt.Better())


def test_settings_that_make_no_sense_are_refused():
    for make in (
        lambda: Bootstrap(alpha=0.0),
        lambda: Bootstrap(least=0),
        lambda: Calibrated(margin=-1),
        lambda: Near(within=0),
        lambda: NotForgotten(alpha=1.0),
        lambda: PerSlice(rt.Better(), by="a", share=0.0),
        lambda: rt.Canary(rt.Better(), share=1.0),
    ):
        with pytest.raises(SettingError, match="expected"):
            make()
