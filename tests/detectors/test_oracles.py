"""Every detector against River's on the same values: the same level at every row."""

import numpy as np
import pytest

from retain import detectors as rd

drift = pytest.importorskip("river.drift")
binary = pytest.importorskip("river.drift.binary")

N = 6_000


def theirs(detector, values):
    levels = []
    for value in values:
        detector.update(value)
        warned = getattr(detector, "warning_detected", False)
        levels.append(2 if detector.drift_detected else int(warned))
    return np.array(levels)


def errors(seed):
    """0 and 1: rates that jump, that wander, and that climb."""
    rng = np.random.default_rng(seed)
    wander = np.clip(np.cumsum(rng.normal(size=N)) * 0.01 + 0.5, 0, 1)
    rate = [np.repeat(rng.random(6), N // 6), wander, np.linspace(0.05, 0.6, N)][seed % 3]
    return (rng.random(N) < rate).astype(int)


def numbers(seed):
    """Means that jump, means that climb, spreads that jump, and steps with many ties."""
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=N) + np.repeat(3 * rng.normal(size=6), N // 6),
        rng.random(N) + np.linspace(0, 3, N),
        rng.exponential(size=N) * np.repeat(10 * rng.random(6), N // 6),
        np.round(rng.normal(size=N) * np.repeat(1 + 4 * rng.random(6), N // 6)),
    ][seed % 4]


ERRORS = {
    "ddm": (rd.DDM, binary.DDM),
    "ddm, other limits": (
        lambda: rd.DDM(warning=1.0, drift=2.0, least=5),
        lambda: binary.DDM(warm_start=5, warning_threshold=1.0, drift_threshold=2.0),
    ),
    "eddm": (rd.EDDM, binary.EDDM),
    "eddm, other limits": (
        lambda: rd.EDDM(warning=0.8, drift=0.75, least=10),
        lambda: binary.EDDM(warm_start=10, alpha=0.8, beta=0.75),
    ),
    "hddm-a": (rd.HDDMA, binary.HDDMA),
    "hddm-a, both ways": (
        lambda: rd.HDDMA(drift=0.01, warning=0.05, falls=True),
        lambda: binary.HDDMA(0.01, 0.05, two_sided_test=True),
    ),
    "hddm-w": (rd.HDDMW, binary.HDDMW),
    "hddm-w, both ways": (
        lambda: rd.HDDMW(drift=0.01, warning=0.05, share=0.01, falls=True),
        lambda: binary.HDDMW(0.01, 0.05, lambda_val=0.01, two_sided_test=True),
    ),
    "page-hinkley": (lambda: rd.PageHinkley(20.0), lambda: drift.PageHinkley(threshold=20.0)),
}
NUMBERS = {
    "adwin": (lambda: rd.ADWIN(restart=True), drift.ADWIN),
    "adwin, every row": (lambda: rd.ADWIN(0.05, clock=1, restart=True), lambda: drift.ADWIN(0.05, clock=1)),
    "adwin, other windows": (
        lambda: rd.ADWIN(0.1, buckets=3, least=2, grace=50, restart=True),
        lambda: drift.ADWIN(0.1, max_buckets=3, min_window_length=2, grace_period=50),
    ),
    "page-hinkley, up": (
        lambda: rd.PageHinkley(30.0, alpha=0.99, delta=0.1, direction=rd.Direction.UP),
        lambda: drift.PageHinkley(threshold=30.0, alpha=0.99, delta=0.1, mode="up"),
    ),
    "page-hinkley, down": (
        lambda: rd.PageHinkley(30.0, least=5, direction=rd.Direction.DOWN),
        lambda: drift.PageHinkley(5, threshold=30.0, mode="down"),
    ),
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ERRORS)
def test_errors(name, seed):
    ours, river = ERRORS[name]
    values = errors(seed)
    expected = theirs(river(), values)
    assert (ours().update(values).levels == expected).all()


def test_there_were_drifts_and_warnings_to_agree_on():
    for name, (_, river) in ERRORS.items():
        levels = np.concatenate([theirs(river(), errors(seed)) for seed in range(3)])
        assert (levels == 2).sum() >= 3, name
        assert (levels == 1).any() or name == "page-hinkley"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name, seed):
    ours, river = NUMBERS[name]
    values = numbers(seed)
    expected = theirs(river(), values)
    assert (expected == 2).any() or seed
    assert (ours().update(values).levels == expected).all()


@pytest.mark.parametrize("seed", range(4))
def test_adwin_that_keeps_what_has_not_changed(seed):
    """River's `ADWIN` forgets the whole window at a drift; the window inside it, given the values itself, does not."""
    windowing = pytest.importorskip("river._river_rust.drift").AdaptiveWindowing
    values = numbers(seed)
    window = windowing(delta=0.002, clock=32, max_buckets=5, min_window_length=5, grace_period=10)
    expected = np.array([2 * window.update(value) for value in values])
    adwin = rd.ADWIN()
    assert (adwin.update(values).levels == expected).all()
    assert adwin.width == window.get_width()
    assert adwin.mean == pytest.approx(window.get_total() / window.get_width(), rel=1e-12)
    assert adwin.variance * adwin.width == pytest.approx(window.get_variance(), rel=1e-9)  # theirs is the sum


KSWIN = {
    "usual": ({}, {}),
    "often": ({"alpha": 0.05}, {"alpha": 0.05}),
    "drawn one by one": (
        {"alpha": 0.01, "window": 400, "latest": 20},
        {"alpha": 0.01, "window_size": 400, "stat_size": 20},
    ),
    "few": ({"alpha": 0.1, "window": 12, "latest": 4}, {"alpha": 0.1, "window_size": 12, "stat_size": 4}),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", KSWIN)
def test_kswin_with_the_same_draws(name, seed):
    ours, river = KSWIN[name]
    values = numbers(seed)[::4]
    expected = theirs(drift.KSWIN(seed=seed, **river), values)
    assert (rd.KSWIN(seed=seed, restart=True, **ours).update(values).levels == expected).all()


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.005, 1e-4])
@pytest.mark.parametrize("r", [2, 5, 10, 30, 50, 200])
def test_the_exact_distribution_is_that_of_scipy(r, alpha):
    stats = pytest.importorskip("scipy.stats")
    from retain.detectors.kswin import _critical

    critical = _critical(r, alpha)
    for h in range(2, r + 1):  # at 1 every distance is as large, and SciPy says that it cannot tell
        a, b = np.arange(r, dtype=float), np.arange(r, dtype=float)
        a[:h] -= 10 * r  # h values below all others: the distance is h / r
        p = stats.ks_2samp(a, b + 0.5, method="exact")
        if round(p.statistic * r) == h and h > 0.1 * r:
            assert (p.pvalue <= alpha) == (h >= critical)
