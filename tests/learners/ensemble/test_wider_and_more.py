"""Ensembles of trees where columns and classes keep coming, through saves."""

import numpy as np
import pytest

import retain as rt
from retain import blocks, state
from retain.errors import RetainError

SMALL = {"grace": 5.0, "delta": 0.5, "tie": 0.5}
NUMBERS = rt.RegressionTree(grace=5.0, delta=0.5, tie=0.5)
MAKES = {
    "arf": lambda: rt.ARF(3, tree=rt.HoeffdingTree(**SMALL)),
    "srp": lambda: rt.SRP(3, tree=rt.HoeffdingTree(**SMALL)),
    "arf of numbers": lambda: rt.ARF(3, tree=NUMBERS),
    "boosted": lambda: rt.SGBT(4),
    "boosted, patches": lambda: rt.SGBT(4, features=0.5),
}


@pytest.mark.parametrize("name", MAKES)
def test_saved_between_two_widenings_it_goes_on_as_if_never_stopped(name):
    rng = np.random.default_rng(0)
    through, resumed = MAKES[name](), MAKES[name]()
    for width in (5, 10, 12, 12):
        x = rng.normal(size=(200, width)).astype(np.float32)
        y = x[:, 0] + x[:, -1] if "numbers" in name else (x[:, 0] + x[:, -1] > 0).astype(int)
        batch = rt.Batch(x, y=y, schema=rt.Schema())
        expected = through.learn(batch)
        saved = state.encode(resumed.state_dict())
        resumed = MAKES[name]()
        resumed.load_state_dict(state.decode(saved))
        assert np.array_equal(resumed.learn(batch), expected)


@pytest.mark.parametrize("name", ["arf", "srp", "boosted"])
def test_with_many_classes_blocks_do_not_show(name):
    """NumPy adds up eight numbers and more in another order."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(240, 4)).astype(np.float32)
    y = np.minimum(rng.integers(0, 30, 240), np.arange(240) // 8)
    whole = MAKES[name]().learn(rt.Batch(x, y=y))
    parts, learner = [], MAKES[name]()
    for start in range(240):
        said = learner.learn(rt.Batch(x[start : start + 1], y=y[start : start + 1]))
        parts.append(np.pad(said[0], (0, whole.shape[1] - said.shape[1])))
    assert np.array_equal(np.array(parts), whole)


def test_forests_that_begin_anew_leave_no_trace_in_the_state():
    """Saved and loaded at every block, the state is the same bytes as that of one never stopped."""
    concepts = [rt.streams.RandomTree(seed=s, numeric=4, nominal=0, block=250) for s in (1, 2)]
    whole = blocks.concat_batches(list(rt.streams.Recurring(concepts, every=2000, n=6000)))

    def make():
        return rt.LeveragingBagging(3, tree=rt.HoeffdingTree(**SMALL), drift=0.2)

    through, resumed = make(), make()
    for start in range(0, 6000, 250):
        batch = blocks.take_batch(whole, slice(start, start + 250))
        through.learn(batch)
        again = make()
        again.load_state_dict(resumed.state_dict())
        resumed = again
        resumed.learn(batch)
        assert state.encode(resumed.state_dict()) == state.encode(through.state_dict())


@pytest.mark.parametrize("make", [rt.ARF, rt.SRP, rt.OnlineBoosting])
def test_one_miss_does_not_silence_a_member(make):
    x = np.zeros((3, 2), dtype=np.float32)
    forest = make(3)
    forest.learn(rt.Batch(x[:2], y=np.array([0, 1])))
    assert forest.predict(x).sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("over", [rt.Hedge, rt.Stacking])
def test_what_a_later_member_refuses_no_member_has_learnt(over):
    """A naive Bayes of counts refuses what a tree has learnt already: the least number so far."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, size=(50, 3)).astype(np.float32), rng.integers(0, 2, 50)
    learner = over(rt.HoeffdingTree(), rt.MultinomialNB())
    learner.learn(rt.Batch(x, y=y))
    before = state.encode(learner.state_dict())
    with pytest.raises(RetainError):
        learner.learn(rt.Batch(x - 1, y=y))
    with pytest.raises(RetainError):
        learner.learn(rt.Batch(x, y=y, weight=np.full(50, 1e200)))
    assert state.encode(learner.state_dict()) == before
