"""Slopes and importance-invariant steps against numerical differentiation and integration."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import log_softmax

from retain.learners.linear import kernels
from retain.learners.linear.losses import HINGE, HUBER, LOGISTIC, POISSON, QUANTILE, SQUARED

# loss, setting, L(m, y), margins, targets
LOSSES = {
    "squared": (SQUARED, 0.0, lambda m, y: (m - y) ** 2 / 2, [-3.0, 0.2, 40.0], [-1.0, 2.5]),
    "logistic": (LOGISTIC, 0.0, lambda m, y: np.logaddexp(0, -m if y else m), [-30.0, -2.0, 0.1, 6.0], [0.0, 1.0]),
    "hinge": (HINGE, 0.0, lambda m, y: max(0.0, 1 - (2 * y - 1) * m), [-3.0, 0.2, 0.9], [0.0, 1.0]),
    "quantile": (QUANTILE, 0.3, lambda m, y: max(0.3 * (y - m), -0.7 * (y - m)), [-3.0, 0.2, 4.0], [-1.0, 2.5]),
    "huber": (
        HUBER,
        0.7,
        lambda m, y: (m - y) ** 2 / 2 if abs(m - y) < 0.7 else 0.7 * (abs(m - y) - 0.35),
        [-3.0, 0.2, 2.2, 9.0],
        [-1.0, 2.5],
    ),
    "poisson": (POISSON, 0.0, lambda m, y: math.exp(m) - y * m, [-3.0, 0.2, 2.0], [0.0, 1.0, 7.0]),
}


def tail(m):
    return math.exp(-abs(m))


@pytest.mark.parametrize("name", LOSSES)
def test_slope_is_the_derivative_of_the_loss(name):
    loss, a, value, margins, targets = LOSSES[name]
    for m in margins:
        for y in targets:
            numeric = (value(m + 1e-6, y) - value(m - 1e-6, y)) / 2e-6
            assert kernels.slope(loss, a, m, y, tail(m)) == pytest.approx(numeric, rel=1e-4, abs=1e-6)


def flow(loss, a, m, y, h, time):
    """Where dm/dt = -h L'(m, y) ends, by an ODE solver; by many small steps where the slope jumps."""
    if loss in (SQUARED, LOGISTIC, POISSON):

        def slope(_, v):
            return np.array([-h * kernels.slope(loss, a, float(v[0]), y, tail(float(v[0])))])

        stiff = solve_ivp(slope, (0, time), [m], method="Radau", rtol=1e-8, atol=1e-10, vectorized=False)
        return stiff.y[0, -1]
    for _ in range(STEPS):
        m -= h * time / STEPS * kernels.slope(loss, a, m, y, tail(m))
    return m


STEPS = 5000


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("time", "h"), [(1e-3, 1.0), (0.3, 0.01), (0.3, 20.0), (5.0, 1.0)])
def test_a_step_ends_where_the_flow_of_the_margin_ends(name, time, h):
    loss, a, _, margins, targets = LOSSES[name]
    smooth = loss in (SQUARED, LOGISTIC, POISSON)
    for m in margins:
        for y in targets:
            got = m + h * kernels.advance(loss, a, m, y, tail(m), h, time)
            tolerance = 1e-6 if smooth else 2 * h * time / STEPS
            assert got == pytest.approx(flow(loss, a, m, y, h, time), rel=1e-6, abs=tolerance), (m, y)


@pytest.mark.parametrize("name", LOSSES)
def test_two_steps_are_one_of_twice_the_weight(name):
    loss, a, _, margins, targets = LOSSES[name]
    for m in margins:
        for y in targets:
            half = m + 3.0 * kernels.advance(loss, a, m, y, tail(m), 3.0, 0.2)
            twice = half + 3.0 * kernels.advance(loss, a, half, y, tail(half), 3.0, 0.2)
            once = m + 3.0 * kernels.advance(loss, a, m, y, tail(m), 3.0, 0.4)
            assert twice == pytest.approx(once, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_no_step_is_infinite_or_goes_beyond_the_label(name):
    loss, a, _, _, targets = LOSSES[name]
    for y in targets:
        for m in (-700.0, -50.0, 0.3, 50.0, 80.0):
            for h in (1e-300, 1e-9, 1.0, 1e80):
                for time in (1e-12, 1.0, 1e38):
                    u = kernels.advance(loss, a, m, y, tail(m), h, time)
                    assert np.isfinite(u)
                    if loss in (SQUARED, QUANTILE, HUBER):
                        assert min(m, y) - 1e-9 <= m + h * u <= max(m, y) + 1e-9


@pytest.mark.parametrize("end", [0.01, 0.25])
def test_the_logistic_series_meet_the_exact_root(end):
    for m in (-5.0, 0.0, 3.0):
        at = end / kernels.sigmoid(-m, tail(m))  # where a series ends
        below, above = (kernels.advance(LOGISTIC, 0.0, m, 1.0, tail(m), 1.0, at * f) for f in (1 - 1e-9, 1 + 1e-9))
        assert below == pytest.approx(above, rel=3e-9)


def test_multinomial_slopes_are_those_of_the_softmax():
    margins = np.array([1.0, -2.0, 0.5])
    for r in range(3):
        rest = np.log(np.exp(np.delete(margins, r)).sum())
        z = margins[r] - rest
        p = np.exp(log_softmax(margins))[r]
        assert kernels.slope(LOGISTIC, 0.0, z, 0.0, tail(z)) == pytest.approx(p)
        assert kernels.slope(LOGISTIC, 0.0, z, 1.0, tail(z)) == pytest.approx(p - 1)
