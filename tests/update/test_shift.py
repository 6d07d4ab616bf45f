"""Two-sample tests beside SciPy's, and how often they see what is not there."""

import numpy as np
import pytest
from scipy import stats

import retain as rt
from retain.errors import SettingError
from retain.update import KS, MMD, PSI, ClassifierTest, Quality
from retain.update.shift import chi_squared, kolmogorov

RNG = np.random.default_rng(2)


@pytest.mark.parametrize(("n", "m", "shift"), [(300, 500, 0.0), (500, 500, 0.1), (1_000, 400, 0.3), (50, 60, 0.8)])
def test_kolmogorov_is_scipys(n, m, shift):
    """To 15 %, and 3 % of the logarithm where p is small; at less than 1e-12 both are next to nothing."""
    a, b = RNG.normal(size=n), RNG.normal(shift, 1, m)
    exact = stats.ks_2samp(a, b, method="exact" if n * m < 1e5 else "asymp").pvalue
    p = max(kolmogorov(a, b), 1e-12)
    assert np.log(p) == pytest.approx(np.log(max(exact, 1e-12)), rel=0.03, abs=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_chi_squared_is_scipys(seed):
    rng = np.random.default_rng(seed)
    words = np.array(["a", "b", "c", "d", "e"])
    a, b = rng.choice(words, 800, p=[0.3, 0.3, 0.2, 0.1, 0.1]), rng.choice(words, 600, p=[0.3, 0.25, 0.25, 0.1, 0.1])
    table = [[(part == w).sum() for w in words] for part in (a, b)]
    assert chi_squared(a, b) == pytest.approx(stats.chi2_contingency(table).pvalue, rel=0.03, abs=1e-4)


@pytest.mark.parametrize(
    ("test", "most"),
    [(KS(alpha=0.05), 22), (MMD(alpha=0.05, rows=60, permutations=99), 22), (ClassifierTest(alpha=0.05), 22)],
)
def test_a_shift_that_is_not_there_is_seldom_seen(test, most):
    """In at most 22 of 200 windows at a nominal 5 %: exceeded by chance once in a thousand times."""
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(200):
        older, newer = ({str(j): rng.normal(size=120) for j in range(3)} for _ in range(2))
        found += bool(test(older, newer))
    assert found <= most


@pytest.mark.parametrize("test", [KS(), PSI(), MMD(rows=200), ClassifierTest()])
def test_a_shift_that_is_there_is_seen_and_its_column_named(test):
    older = {"a": RNG.normal(size=400), "b": RNG.normal(size=400)}
    newer = {"a": RNG.normal(size=400), "b": RNG.normal(1.5, 1, 400)}
    told = test(older, newer)
    assert len(told) == 1
    assert told[0].startswith(("b ", "all columns"))


def test_spread_alone_is_seen_by_what_compares_rows():
    older, newer = {"a": RNG.normal(size=500)}, {"a": RNG.normal(0, 3, 500)}
    assert MMD()(older, newer)
    assert ClassifierTest()(older, newer)


def test_missing_values_are_a_bin_of_their_own():
    older = {"a": RNG.normal(size=500)}
    newer = {"a": np.where(RNG.random(500) < 0.3, np.nan, RNG.normal(size=500))}
    assert PSI()(older, newer)


def test_words_cannot_be_compared_by_distance():
    words = {"a": np.array(["x", "y"] * 50)}
    for test in (MMD(), ClassifierTest()):
        with pytest.raises(SettingError, match="KS or PSI"):
            test(words, words)


def test_quality_names_what_is_wrong_once():
    import pyarrow as pa

    trigger = Quality(reference=200, window=100)
    counts = {"learnt": 0, "pending": 0, "lost": 0, "quarantined": 0, "seconds": 0.0, "cpu_seconds": 0.0}

    def report(amount, city):
        table = pa.RecordBatch.from_pydict({"amount": amount, "city": city})
        return rt.Report(0, **counts, arrived=rt.Batch(table))

    good = [float(v) for v in range(100)], ["rome", "oslo"] * 50
    assert not any(trigger(report(*good)) for _ in range(4))
    bad = [*good[0][:80], *[1e6] * 20], [*good[1][:70], *["xxx"] * 20, *[None] * 10]
    assert trigger(report(*bad))
    assert trigger.why == "amount: 20 % out of range; city: 10 % more missing, 20 % never met"
    assert not trigger(report(*bad))  # it is known by now
    assert not trigger(report(*good))
    assert trigger(report(*bad))


def test_settings_that_make_no_sense_are_refused():
    for make in (
        lambda: KS(alpha=0.0),
        lambda: PSI(above=0.0),
        lambda: MMD(alpha=0.001, permutations=50),
        lambda: ClassifierTest(alpha=1.0),
        lambda: rt.OnShift(KS(), window=3),
        lambda: Quality(missing=1.0),
        rt.Every,
        lambda: rt.Every(cron="nonsense"),
        lambda: rt.Every(cron="0 3 * * *", zone="Nowhere/Land"),
        lambda: rt.AtLeast(3, rt.Every(rows=1)),
        lambda: rt.WhenWorse(rt.metrics.Accuracy()),
        lambda: rt.update.Regret(mistakes=0),
        rt.update.Hindsight,
        lambda: rt.Retrain(warm=True),
        lambda: rt.Retrain(last=0),
        lambda: rt.Rule(when=rt.Every(rows=1), do=rt.Alert(), warmup=-1),
    ):
        with pytest.raises(SettingError, match=r"expected|say"):
            make()
