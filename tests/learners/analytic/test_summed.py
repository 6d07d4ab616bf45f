"""What all learners that solve from sums have in common: columns that come late, merging what does not go together."""

import numpy as np
import pyarrow as pa
import pytest

import retain as rt
from retain import state
from retain.errors import SettingError

CLASSES = {"ridge": rt.Ridge, "slda": rt.SLDA, "nearest mean": rt.NearestMean, "fecam": rt.FeCAM}


def shops(names: str) -> pa.RecordBatch:
    return pa.record_batch({"shop": list(names)})


@pytest.mark.parametrize("name", CLASSES)
def test_a_category_that_comes_before_the_next_full_block_tells_nothing_yet(name: str) -> None:
    learner = rt.OneHot() | CLASSES[name](batch_size=16)
    learner.learn(rt.Batch(shops("ab" * 32), y=np.arange(64) % 2))
    before = learner.predict(shops("ab"))
    said = learner.learn(rt.Batch(shops("abc"), y=np.array([0, 1, 0])))  # c waits for its block
    np.testing.assert_allclose(said[:2], before, rtol=1e-9)
    np.testing.assert_allclose(learner.predict(shops("ab")), before, rtol=1e-9)
    assert np.isfinite(learner.predict(shops("c"))).all()
    assert np.isfinite(rt.novelty(learner, shops("abc"))).all()
    learner.learn(rt.Batch(shops("c" * 13), y=np.zeros(13, dtype=int)))  # and now it counts
    assert learner.predict(shops("c")).argmax() == 0


@pytest.mark.parametrize("name", ["ridge", "rls"])
def test_intervals_do_not_mind_a_category_that_has_just_come(name: str) -> None:
    inside = rt.Ridge(batch_size=16) if name == "ridge" else rt.RLS()
    learner = rt.OneHot() | inside
    assert rt.interval(learner, shops("ab")).shape[0] == 2  # before anything was learnt
    learner.learn(rt.Batch(shops("ab" * 32), y=np.arange(64) % 2 + 0.25 * np.arange(64)))
    learner.learn(rt.Batch(shops("c"), y=np.array([3.0])))
    low, high = rt.interval(learner, shops("abc")).T
    assert (low < high).all()
    with pytest.raises(SettingError, match="coverage=2"):
        rt.interval(rt.OneHot() | type(inside)(), shops("a"), coverage=2.0)


def test_a_class_that_was_unlearnt_leaves_no_ghost() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(300, 4)) + 5).astype(np.float32), np.repeat([0, 1, 2], 100)
    weight, order = rng.uniform(0.1, 2, 300), rng.permutation(300)
    learner = rt.FeCAM(batch_size=32)
    learner.learn(rt.Batch(x[order], y=y[order], weight=weight[order]))
    learner.settle()
    gone = rng.permutation(np.flatnonzero(y == 1))
    learner.unlearn(rt.Batch(x[gone], y=y[gone], weight=weight[gone]))
    assert (learner.predict(x)[:, 1] == 0).all()
    assert rt.novelty(learner, 0 * x[:1])[0] > 1


def test_learners_that_bend_otherwise_do_not_merge() -> None:
    rng = np.random.default_rng(0)
    batch = rt.Batch(rng.normal(size=(64, 3)), y=np.arange(64) % 2)
    one, other = rt.FeCAM(power=0.5, batch_size=8), rt.FeCAM(power=1.0, batch_size=8)
    for learner in (one, other):
        learner.learn(batch)
    before = state.encode(one.state_dict())
    with pytest.raises(SettingError, match=r"power=0\.5 cannot merge one with power=1\.0"):
        one.merge(other)
    assert state.encode(one.state_dict()) == before
