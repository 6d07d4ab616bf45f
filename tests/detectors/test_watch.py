"""What detectors refuse, and what they tell."""

import numpy as np
import pytest

from retain import detectors as rd
from retain.errors import PoisonError, SettingError


@pytest.mark.parametrize(
    "make",
    [
        lambda: rd.ADWIN(0.0),
        lambda: rd.ADWIN(clock=0),
        lambda: rd.ADWIN(grace=-1),
        lambda: rd.PageHinkley(-1.0),
        lambda: rd.PageHinkley(alpha=1.5),
        lambda: rd.DDM(warning=3.0, drift=2.0),
        lambda: rd.EDDM(warning=0.8, drift=0.9),
        lambda: rd.HDDMA(drift=0.1, warning=0.01),
        lambda: rd.HDDMW(share=1.0),
        lambda: rd.KSWIN(2.0),
        lambda: rd.KSWIN(window=50, latest=30),
    ],
)
def test_settings_that_make_no_sense_are_refused(make):
    with pytest.raises(SettingError, match="expected"):
        make()


@pytest.mark.parametrize("make", [rd.DDM, rd.EDDM, rd.HDDMA, rd.HDDMW])
def test_detectors_of_errors_refuse_other_numbers(make):
    with pytest.raises(PoisonError, match=r"2\.0 in row 1; expected an error.*ADWIN"):
        make().update(np.array([0.0, 2.0]))


def test_booleans_and_codes_are_errors_too():
    values = np.random.default_rng(0).random(500) < np.repeat([0.1, 0.6], 250)
    expected = rd.DDM().update(values.astype(np.float64)).levels
    assert (expected == 2).any()
    for given in (values, values.astype(np.int8), values.astype(np.float32)[::1]):
        assert (rd.DDM().update(given).levels == expected).all()


def test_no_values_are_values_like_others():
    adwin = rd.ADWIN()
    assert adwin.update(np.empty(0)).levels.shape == (0,)
    assert adwin.width == 0
    assert np.isnan(adwin.mean)
    assert np.isnan(adwin.variance)


def test_adwin_knows_the_mean_and_spread_of_what_is_left():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 3000), rng.normal(2, 3, 3000)])
    adwin = rd.ADWIN()
    adwin.update(values)
    assert 2800 <= adwin.width <= 3100
    assert adwin.mean == pytest.approx(values[-adwin.width :].mean(), rel=1e-9)
    assert adwin.variance == pytest.approx(values[-adwin.width :].var(), rel=1e-6)


def test_false_alarms_of_adwin_are_as_rare_as_it_says():
    """Over 200 streams of 2,000 values without a change, at delta .05: far fewer than 5 % alarm at any time."""
    rng = np.random.default_rng(1)
    alarms = sum((rd.ADWIN(0.05).update(rng.normal(size=2000)).levels == 2).any() for _ in range(200))
    assert alarms <= 10
