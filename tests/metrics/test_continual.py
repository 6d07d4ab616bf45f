"""The measures of a matrix of accuracies against their definitions, written out, and where they are not defined."""

import numpy as np
import pytest

from retain.errors import SettingError
from retain.metrics import continual as mc

RNG = np.random.default_rng(0)


def by_definition(R):
    """The formulas of the glossary, with indices from 1 as they are written there; b[j] is row 0."""
    T = R.shape[1]

    def a(i, j):
        return R[i, j - 1]

    return {
        "final": sum(a(T, j) for j in range(1, T + 1)) / T,
        "learning": sum(a(j, j) for j in range(1, T + 1)) / T,
        "bwt": sum(a(T, j) - a(j, j) for j in range(1, T)) / (T - 1),
        "fwt": sum(a(j - 1, j) - a(0, j) for j in range(2, T + 1)) / (T - 1),
        "forgetting": sum(max(a(i, j) for i in range(j, T)) - a(T, j) for j in range(1, T)) / (T - 1),
    }


@pytest.mark.parametrize("experiences", [2, 3, 7])
def test_measures_are_those_of_the_glossary(experiences):
    R = RNG.random((experiences + 1, experiences))
    wanted = by_definition(R)
    assert mc.final_accuracy(R) == pytest.approx(wanted["final"])
    assert mc.learning_accuracy(R) == pytest.approx(wanted["learning"])
    assert mc.backward_transfer(R) == pytest.approx(wanted["bwt"])
    assert mc.forward_transfer(R) == pytest.approx(wanted["fwt"])
    assert mc.forgetting(R) == pytest.approx(wanted["forgetting"])
    assert mc.seen_accuracy(R)[-1] == pytest.approx(wanted["final"])
    assert mc.seen_accuracy(R)[1] == pytest.approx((R[2, 0] + R[2, 1]) / 2)


def test_forgetting_is_no_minus_backward_transfer_where_an_experience_was_best_later():
    R = np.array([[0.1, 0.1, 0.1], [0.5, 0.1, 0.1], [0.9, 0.8, 0.1], [0.6, 0.8, 0.9]])
    assert mc.backward_transfer(R) == pytest.approx(0.05)
    assert mc.forgetting(R) == pytest.approx(0.15)


def test_forgetting_of_what_was_best_before_it_was_learnt_does_not_count_that():
    R = np.array([[0.1, 0.9, 0.1], [0.5, 0.9, 0.1], [0.5, 0.6, 0.1], [0.5, 0.6, 0.9]])
    assert mc.forgetting(R) == 0


def test_of_all_at_once_only_the_final_accuracy_is_defined():
    R = np.array([[0.1, 0.1, 0.1], [0.8, 0.9, 1.0]])
    assert mc.final_accuracy(R) == pytest.approx(0.9)
    for measure in (mc.learning_accuracy, mc.backward_transfer, mc.forward_transfer, mc.forgetting):
        assert np.isnan(measure(R))
    assert np.isnan(mc.seen_accuracy(R)).all()


def test_a_single_experience_transfers_nothing():
    R = np.array([[0.1], [0.9]])
    assert mc.final_accuracy(R) == mc.learning_accuracy(R) == 0.9
    assert np.isnan([mc.backward_transfer(R), mc.forward_transfer(R), mc.forgetting(R)]).all()


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 0)])
def test_what_is_no_matrix_is_refused(shape):
    with pytest.raises(SettingError, match=r"expected \(T \+ 1, T\)"):
        mc.final_accuracy(np.zeros(shape))
