"""What `Intake` refuses that no column of its own shows."""

import numpy as np
import pytest

import retain as rt
from retain import state
from retain.errors import PoisonError


@pytest.mark.parametrize(
    ("make", "beside"),
    [(rt.HoeffdingTree, 1.0), (rt.HoeffdingTree, np.nan), (rt.GaussianNB, 1.0), (rt.OnlineMLP, np.nan), (rt.KNN, 1.0)],
)
def test_entries_of_one_column_that_add_up_to_infinity_are_refused(make, beside):
    rng = np.random.default_rng(0)
    learner = make()
    learner.learn(
        rt.Batch(
            rt.CSR(np.arange(51) * 2, np.tile([0, 1], 50).astype(np.int32), rng.normal(size=100).astype(np.float32), 2),
            y=np.arange(50) % 2,
        )
    )
    before = state.encode(learner.state_dict())
    twice = rt.CSR(
        np.array([0, 1, 3]), np.array([0, 1, 1], dtype=np.int32), np.array([beside, 3e38, 3e38], dtype=np.float32), 2
    )
    for call in (lambda: learner.learn(rt.Batch(twice, y=np.array([1, 0]))), lambda: learner.predict(twice)):
        with pytest.raises(PoisonError, match=r"row 1, column 1 that add up to inf; expected a finite number"):
            call()
    assert state.encode(learner.state_dict()) == before
    small = rt.CSR(np.array([0, 2]), np.array([1, 1], dtype=np.int32), np.array([1, 2], dtype=np.float32), 2)
    assert np.array_equal(learner.predict(small), learner.predict(np.array([[0, 3]], dtype=np.float32)))
