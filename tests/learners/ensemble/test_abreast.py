"""Calls side by side."""

import threading

import pytest

from retain.learners.ensemble.abreast import abreast


@pytest.mark.parametrize("threads", [1, 3])
def test_every_call_is_made_once(threads):
    made = []
    abreast([lambda i=i: made.append(i) for i in range(7)], threads)
    assert sorted(made) == list(range(7))


def test_calls_run_at_the_same_time():
    """Each waits for the other."""
    meet = threading.Barrier(2, timeout=10)
    abreast([meet.wait, meet.wait], 2)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_is_raised_once_all_are_done(threads):
    made = []

    def fail(name):
        raise ValueError(name)

    with pytest.raises(ValueError, match="a"):
        abreast([lambda: fail("a"), lambda: fail("b"), lambda: made.append(1)], threads)
    assert made == [1]
