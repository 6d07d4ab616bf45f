"""`OneVsAll` against River's, and what it promises beyond the laws."""

from dataclasses import replace

import numpy as np
import pytest
from river import linear_model, multiclass, optim

import retain as rt
from retain import state
from retain.errors import PoisonError


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = np.argmax(x @ rng.normal(size=(4, 3)), axis=1)
    y[:40] = np.minimum(y[:40], 1)  # the third class comes later
    return x, y


def test_it_is_rivers_after_every_row(rows):
    x, y = rows
    model = multiclass.OneVsRestClassifier(linear_model.LogisticRegression(optimizer=optim.SGD(0.1), intercept_lr=0.0))
    ours = rt.OneVsAll(lambda: rt.Linear(loss=rt.Logistic(), update=rt.SGD(0.1), bias=False))
    said = ours.learn(rt.Batch(x, y=y))
    assert said.shape == (300, 3)
    for i, row in enumerate(x.astype(float).tolist()):
        named = dict(enumerate(row))
        expected = np.zeros(3)
        for c, p in model.predict_proba_one(named).items():
            expected[c] = p
        np.testing.assert_allclose(said[i], expected, atol=1e-9)
        model.learn_one(named, int(y[i]))


def test_a_newcomer_gets_a_fresh_learner_and_leaves_the_others_alone(rows):
    x, y = rows
    learner = rt.OneVsAll(lambda: rt.Linear(loss=rt.Logistic()))
    learner.learn(rt.Batch(x[:40], y=y[:40]))
    assert sorted(learner.members) == [0, 1]
    before = {c: state.copy(member.state_dict()) for c, member in learner.members.items()}
    learner.learn(rt.Batch(x[40:41], y=np.array([5]), weight=np.full(1, 1e-12)))
    assert sorted(learner.members) == [0, 1, 5]
    for c, kept in before.items():
        np.testing.assert_allclose(learner.members[c].state_dict()["slots"], kept["slots"], atol=1e-5)
    assert learner.predict(x[:3]).shape == (3, 6)
    assert (learner.predict(x[:3])[:, 2:5] == 0).all()


def test_where_a_row_is_refused_after_a_newcomer_nothing_is_learnt(rows):
    x, y = rows
    learner = rt.OneVsAll(lambda: rt.Linear(loss=rt.Logistic()))
    learner.learn(rt.Batch(x[:40], y=y[:40]))
    before = state.encode(learner.state_dict())
    bad = rt.Batch(x[40:].copy(), y=y[40:])
    bad.x[-1, 0] = np.nan
    with pytest.raises(PoisonError, match="nan"):
        learner.learn(bad)
    assert state.encode(learner.state_dict()) == before
    fresh = rt.OneVsAll(lambda: rt.Linear(loss=rt.Logistic()))
    with pytest.raises(PoisonError, match="nan"):
        fresh.learn(replace(bad, y=None))
    with pytest.raises(PoisonError, match="nan"):
        fresh.learn(bad)
    assert fresh.members == {}


def test_labels_that_are_numbers_are_refused(rows):
    with pytest.raises(PoisonError, match="class codes"):
        rt.OneVsAll(rt.Linear).learn(rt.Batch(rows[0], y=rows[0][:, 0]))
