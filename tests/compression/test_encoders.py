"""A frozen encoder in front is made smaller along with what learns behind it."""

import numpy as np
import pytest
from tests.features.tiny import tiny

import retain as rt
from retain.compression import Artifact, Int8
from retain.errors import StateError

WORDS = ("red", "green", "blue", "yellow")


def chain():
    return rt.Embed(tiny()) | rt.SLDA(batch_size=1)


def sentences(n: int, *, seed: int) -> rt.Batch:
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=n)
    x = np.array([f"{WORDS[i]} {''.join(rng.choice(list('klmn'), 3))}" for i in y], dtype=object)
    return rt.Batch(x, y=y)


@pytest.fixture(scope="module")
def made():
    learner = chain()
    learner.learn(sentences(200, seed=0))
    before = learner.predict(sentences(20, seed=2).x)
    budget = rt.Within(accuracy=0.05, per_class=None)
    artifact = rt.compress(
        learner, Int8(), data=sentences(400, seed=1), lessons=sentences(50, seed=3), budget=budget, seconds=0.001
    )
    np.testing.assert_array_equal(learner.predict(sentences(20, seed=2).x), before)
    return learner, artifact


def test_it_is_what_is_measured_and_what_answers(made):
    learner, artifact = made
    parent, _, int8 = artifact.report.rungs
    embed, small = learner.transforms[0], artifact.master.transforms[0]
    assert embed.model is None
    assert parent.cost.bytes > embed.size > 0.5 * parent.cost.bytes
    assert int8.cost.bytes == len(artifact.data) + len(small.model)
    x = sentences(30, seed=4).x
    features = small.apply(x)
    assert 0 < np.abs(features - embed.apply(x)).max() < 0.1
    np.testing.assert_array_equal(artifact.predict(x), artifact.form.predict(features))


def test_it_is_loaded_without_the_encoder_being_rounded_anew(made):
    _, artifact = made
    x = sentences(30, seed=4).x
    again = Artifact(chain())
    again.load_state_dict(artifact.state_dict())
    np.testing.assert_array_equal(again.predict(x), artifact.predict(x))
    assert again.master.transforms[0].model == artifact.master.transforms[0].model
    other = Artifact(rt.Embed(tiny(seed=1)) | rt.SLDA(batch_size=1))
    with pytest.raises(StateError, match="other weights or settings"):
        other.load_state_dict(artifact.state_dict())


def test_learning_goes_on_behind_it_and_is_taken_over(made):
    _, artifact = made
    small = artifact.resume()
    small.learn(sentences(300, seed=5))
    x = sentences(30, seed=4).x
    assert np.abs(small.predict(x) - artifact.predict(x)).max() > 1e-3
    artifact.patch(small, rows=x)
    assert np.abs(small.predict(x) - artifact.predict(x)).max() < 0.05
