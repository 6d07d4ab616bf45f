"""Dense linear and analytic learners as ONNX graphs: every link, in all numbers, patched."""

import io
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.compression.light import numbers

import retain as rt
from retain.cli.compression import _of_learner
from retain.compression import Half, Int8
from retain.compression.forms import Graph, shipped
from retain.compression.weighted import graph
from retain.errors import SettingError
from retain.scores import LINKS, Scores

LEARNERS = {
    "linear": lambda: rt.Linear(loss=rt.Logistic()),
    "linear, softmax": lambda: rt.Linear(loss=rt.Multinomial(), update=rt.SGD()),
    "linear, hinge": lambda: rt.Linear(loss=rt.Hinge(), update=rt.FTRL()),
    "ridge": lambda: rt.Ridge(batch_size=50),
    "rls": rt.RLS,
    "slda": lambda: rt.SLDA(batch_size=50),
    "nearest mean": lambda: rt.NearestMean(batch_size=50),
}


def learnt(name, classes=3):
    learner = LEARNERS[name]()
    learner.learn(numbers(600, classes=classes))
    return learner


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("name", LEARNERS)
def test_a_graph_answers_as_its_learner(name, classes):
    learner = learnt(name, classes)
    x = 3 * numbers(200, seed=2).x
    whole = Graph.of(learner, x, threads=1)
    np.testing.assert_allclose(whole.predict(x), learner.predict(x), atol=1e-5)
    for numbers_of, bound in ((Half(), 0.01), (Int8(), 0.1)):
        short = whole.formatted(learner, numbers_of, x)
        assert np.abs(short.predict(x) - learner.predict(x)).max() < bound
        again = Graph.from_state(short.state_dict())
        np.testing.assert_array_equal(again.predict(x), short.predict(x))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("name", ["linear", "poisson", "rls", "ridge"])
def test_numbers(name, k):
    batch = numbers(600)
    y = np.abs(batch.x[:, :k] * [5.0, 2.0][:k]).astype(float)
    make = {"linear": rt.Linear, "poisson": lambda: rt.Linear(loss=rt.Poisson()), "rls": rt.RLS, "ridge": rt.Ridge}
    learner = make[name]()
    learner.learn(rt.Batch(batch.x, y=y[:, 0] if k == 1 else y))
    x = 10 * batch.x  # so far that bounds hold them
    said = Graph.of(learner, x, threads=1).predict(x)
    assert said.ndim == (1 if k == 1 else 2)
    np.testing.assert_allclose(said, learner.predict(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("link", LINKS)
def test_links_in_float32_are_those_in_float64(link):
    """Far out too, where sigmoids and exponentials vanish in float32."""
    k = 1 if link == "odds" else 3
    scores = Scores(np.random.default_rng(0).normal(size=(k, 4)), np.linspace(-0.5, 0, k), link)
    session = onnxruntime.InferenceSession(graph(scores).SerializeToString())
    x = np.float32(np.random.default_rng(1).normal(size=(50, 4)))
    for size in (1.0, 10.0) if link == "exp" else (1.0, 100.0):
        said = session.run(None, {"rows": size * x})[0]
        np.testing.assert_allclose(said, scores.answers(size * x), rtol=1e-4, atol=1e-4)
    if link == "rest":
        far = Scores(np.zeros((3, 4)), np.array([-200.0, -201.0, -202.0]), link)
        session = onnxruntime.InferenceSession(graph(far).SerializeToString())
        np.testing.assert_allclose(session.run(None, {"rows": x})[0], far.answers(x), atol=1e-5)


@pytest.mark.parametrize("name", LEARNERS)
def test_what_has_learnt_is_patched_in(name):
    learner = learnt(name)
    x = numbers(200, seed=2).x
    artifact = rt.compress(learner, Half(), data=numbers(3_000, seed=3), budget=rt.Within(accuracy=0.02), seconds=0.01)
    more = artifact.resume()
    more.learn(numbers(600, seed=4))
    assert np.abs(artifact.predict(x) - more.predict(x)).max() > 1e-3
    artifact.patch(more)
    np.testing.assert_allclose(artifact.predict(x), more.predict(x), atol=5e-3)
    more.learn(rt.Batch(x, y=np.full(200, 3)))
    with pytest.raises(SettingError, match="compress anew"):
        artifact.patch(more)


def test_a_chain_keeps_its_transforms_outside():
    learner = rt.Scale() | rt.Linear(loss=rt.Logistic())
    learner.learn(numbers(2_000))
    artifact = rt.compress(learner, data=numbers(5_000, seed=1), budget=rt.Within(accuracy=0.05), seconds=0.01)
    x = 100 * numbers(50, seed=2).x + 7
    np.testing.assert_allclose(artifact.predict(x), learner.predict(x), atol=0.1)


def test_features_for_which_float32_is_too_short_are_refused():
    rng = np.random.default_rng(0)
    x = (1e4 + rng.normal(size=(600, 3))).astype(np.float32)
    learner = rt.SLDA(batch_size=50)
    learner.learn(rt.Batch(x, y=(x[:, 0] > 1e4).astype(int)))
    with pytest.raises(SettingError, match=r"answers otherwise than the learner.*put rt.Scale\(\) in front"):
        Graph.of(learner, x, threads=1)


@pytest.mark.parametrize("classes", [True, False])
def test_a_table_that_rounds_all_away_is_not_shipped(classes):
    x = 1e9 * numbers(2_000).x
    learner = rt.Linear(loss=rt.Logistic()) if classes else rt.Linear()
    learner.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(int if classes else float)))
    assert len(shipped(learner, None, table=True)) > 100
    with pytest.raises(SettingError, match="in float16 it answers otherwise"):
        shipped(learner, Half(), table=True)


def test_rows_that_are_too_wide_to_be_dense():
    learner = rt.Linear(loss=rt.Logistic())
    x = rt.CSR(np.arange(3), np.array([0, 70_000], dtype=np.int32), np.ones(2, dtype=np.float32), 2**17)
    learner.learn(rt.Batch(x, y=np.array([0, 1])))
    with pytest.raises(SettingError, match="131,072 features; expected at most 65,536: ship a table"):
        shipped(learner, None)


def test_export_compares_short_numbers_too():
    learner = learnt("ridge")
    assert len(shipped(learner, Int8())) > 0
    spread = rt.Linear()
    x = numbers(600).x * np.logspace(-4, 4, 8, dtype=np.float32)
    spread.learn(rt.Batch(x, y=x @ np.logspace(4, -4, 8)))
    with pytest.raises(SettingError, match=r"in int8 it answers otherwise, by .* in the mean; export float32"):
        shipped(spread, Int8())


def test_the_predictor_of_the_documentation_answers_as_every_learner_does():
    """Its code is taken from the page, and given what `retain export --to numpy` writes."""
    page = (Path(__file__).parents[2] / "docs" / "compression.md").read_text(encoding="utf-8")
    space = {"np": np}
    exec(re.search(r"```python\n(def predict\(model, x\):\n.*?)```", page, re.DOTALL)[1], space)  # noqa: S102 - what the page shows
    linear = {
        "squared": rt.Linear,
        "poisson": lambda: rt.Linear(loss=rt.Poisson()),
        "sgd": lambda: rt.Linear(loss=rt.Poisson(), update=rt.SGD()),
        "rls": rt.RLS,
    }
    batch = numbers(600)
    x = 3 * numbers(100, seed=1).x
    learners = [learnt(name, classes) for name in LEARNERS for classes in (2, 3)]
    for make in linear.values():
        learners.append(make())
        learners[-1].learn(rt.Batch(batch.x, y=np.abs(batch.x[:, 0])))
    for learner in learners:
        model = np.load(io.BytesIO(_of_learner(learner, "numpy")))
        said, wanted = space["predict"](model, x), learner.predict(x)
        assert said.shape == wanted.shape
        np.testing.assert_allclose(said, wanted, atol=1e-9)
