"""Latency against exact quantiles; bytes against what arrays weigh."""

import numpy as np
import pytest

from retain import state as states
from retain.errors import PoisonError, SettingError
from retain.metrics import Latency, Memory, resident_bytes, state_bytes


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 5.0])
def test_quantiles_are_within_their_bound_of_the_exact_ones(scale):
    seconds = scale * np.random.default_rng(0).lognormal(size=10_000)
    latency = Latency()
    for part in np.array_split(seconds, 7):
        latency.update(part)
    for q in (0.0, 0.01, 0.5, 0.9, 0.99, 1.0):
        exact = np.quantile(seconds, q, method="inverted_cdf")
        assert latency.quantile(q) == pytest.approx(exact, rel=0.016)
    assert latency.count == 10_000


def test_latency_of_one_of_none_and_of_extremes():
    latency = Latency()
    assert np.isnan(latency.p50)
    latency.update(0.25)
    assert (latency.p50, latency.p99, latency.value()) == (0.25, 0.25, 0.25)
    latency.update(np.array([0.0, 1e-300, 1e9]))
    assert 0 <= latency.quantile(0.0) <= 1e-9
    assert latency.quantile(1.0) <= 1e9
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(PoisonError, match="expected a finite number"):
            latency.update(np.array([0.1, bad]))
    with pytest.raises(SettingError, match="share"):
        latency.quantile(99)
    assert latency.count == 4


def test_latency_and_memory_resume():
    latency, memory = Latency(), Memory()
    latency.update(np.array([0.1, 0.2]))
    memory.update({"a": np.zeros(10)})
    for part, new in ((latency, Latency()), (memory, Memory())):
        new.load_state_dict(states.decode(states.encode(part.state_dict())))
        assert states.encode(new.state_dict()) == states.encode(part.state_dict())
        assert repr(new) == repr(part)


def test_bytes_of_a_state_are_about_those_of_its_file():
    state = {"w": np.zeros((100, 10), np.float32), "names": ["a", "bc"], "inner": {"n": 3, "none": None}}
    assert state_bytes(state) == 4000 + 1 + 5 + 3 + 5 + 1 + 8 + 4 + 8
    assert abs(len(states.encode({"w": np.zeros(10_000)})) - state_bytes({"w": np.zeros(10_000)})) < 1000


def test_the_process_grows_by_what_it_takes():
    before = resident_bytes()
    block = np.ones(8_000_000)  # 64 MB
    assert 50e6 < resident_bytes() - before < 90e6
    del block
