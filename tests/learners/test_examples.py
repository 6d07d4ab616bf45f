"""A class taught on the spot: known at once, from five examples, through chains and open sets; old ones stay."""

import numpy as np
import pyarrow as pa
import pytest

import retain as rt
from retain import state
from retain.errors import PoisonError, RetainError, SettingError

WORDS = {
    "lost card": ["i", "lost", "my", "card", "please", "block", "it", "now"],
    "top up": ["how", "can", "i", "add", "money", "to", "my", "account"],
    "exchange rate": ["what", "is", "the", "rate", "of", "dollars", "in", "euros", "today"],
}
SCHEMA = rt.Schema(columns=(rt.Column("text", rt.Kind.TEXT),), target="intent", classes=("lost card", "top up"))


def texts(intent, n, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[intent], size=6)) for _ in range(n)]


def of(name, n, seed):
    return pa.record_batch({"text": texts(name, n, seed)})


MAKE = {
    "slda": lambda: rt.Hash(bits=7) | rt.SLDA(shrinkage=0.1),
    "nearest mean": lambda: rt.Hash(bits=7) | rt.NearestMean(),
    "ridge": lambda: rt.Hash(bits=7) | rt.Ridge(balanced=True),
    "ridge, random features": lambda: rt.Hash(bits=7) | rt.RandomFeatures(300) | rt.Ridge(balanced=True),
    "open set": lambda: rt.Hash(bits=7) | rt.OpenSet(rt.NearestMean()),
    "open set around": lambda: rt.OpenSet(rt.Hash(bits=7) | rt.NearestMean()),
}


def taught(name):
    learner = MAKE[name]()
    for i in range(10):
        for code, intent in enumerate(SCHEMA.classes):
            learner.learn(rt.Batch(of(intent, 100, 2 * i + code), y=np.full(100, code), schema=SCHEMA))
    return learner


@pytest.mark.parametrize("name", MAKE)
def test_five_examples_teach_a_class_that_was_never_heard_of(name):
    learner = taught(name)
    schema = rt.add_examples(learner, {"text": texts("exchange rate", 5, 1)}, label="exchange rate", schema=SCHEMA)
    assert schema.classes == ("lost card", "top up", "exchange rate")
    for code, intent in enumerate(schema.classes):
        said = learner.predict(of(intent, 200, 99))
        unknown = ~said.any(axis=1)
        assert unknown.mean() < 0.5  # five examples do not show all words: some rows are still strange
        assert (said[~unknown].argmax(axis=1) == code).mean() > 0.9


@pytest.mark.parametrize("name", ["slda", "open set"])
def test_a_class_that_is_known_learns_more_under_its_code(name):
    learner = taught(name)
    assert rt.add_examples(learner, of("top up", 5, 1), label="top up", schema=SCHEMA) is SCHEMA
    assert learner.predict(of("top up", 5, 3)).shape == (5, 2)
    assert rt.add_examples(learner, of("top up", 5, 1), label=1) is None


def test_examples_are_no_false_alarms():
    learner = taught("open set")
    before = learner.learner.state_dict()
    rt.add_examples(learner, of("exchange rate", 50, 1), label=2)
    after = learner.learner.state_dict()
    assert after["level"] == before["level"]
    assert np.array_equal(after["recent"], before["recent"])
    learner.learn(rt.Batch(of("exchange rate", 1, 7), y=np.array([2]), schema=SCHEMA))
    assert learner.learner.state_dict()["level"] != before["level"]  # the class counts as known from the first row on


@pytest.mark.parametrize(
    ("examples", "more", "says"),
    [
        ({"text": ["a"]}, {"label": "new"}, "no schema"),
        ({"text": ["a"]}, {"label": 2, "schema": SCHEMA}, "expected a code from 0 below 2"),
        ({"text": ["a"]}, {"label": -1}, "expected a code from 0"),
        ({"text": ["a"]}, {"label": "new", "schema": rt.Schema(target="size")}, "holds numbers"),
        ({"text": []}, {"label": "new", "schema": SCHEMA}, "at least one row"),
        ({"text": ["a"], "more": []}, {"label": 1}, "one length"),
        (["a", "b"], {"label": 1}, "columns by name"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_all_as_it_was(examples, more, says):
    learner = taught("open set")
    before = state.encode(learner.state_dict())
    with pytest.raises(RetainError, match=says) as caught:
        rt.add_examples(learner, examples, **more)
    assert isinstance(caught.value, (PoisonError, SettingError))
    assert state.encode(learner.state_dict()) == before


@pytest.mark.parametrize("learner", [rt.Linear(), rt.Scale() | rt.Linear(), rt.RLS()])
def test_a_learner_of_numbers_is_taught_no_class(learner):
    x = np.random.default_rng(0).normal(size=(40, 3))
    learner.learn(rt.Batch(x, y=x.sum(1)))
    before = state.encode(learner.state_dict())
    with pytest.raises(RetainError):
        rt.add_examples(learner, x[:3], label=1)
    assert state.encode(learner.state_dict()) == before
