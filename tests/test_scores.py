"""What learners say that they answer with is what they answer."""

import numpy as np
import pytest

import retain as rt
from retain.compose import Scoring
from retain.errors import SettingError
from retain.scores import LINKS, Scores, linked

UPDATES = {"adaptive": rt.Adaptive(), "sgd": rt.SGD(0.02), "ftrl": rt.FTRL()}
NUMBERS = {"squared": rt.Squared(), "quantile": rt.Quantile(0.3), "huber": rt.Huber(), "poisson": rt.Poisson()}
CLASSES = {"logistic": rt.Logistic(), "multinomial": rt.Multinomial(), "hinge": rt.Hinge()}
ANALYTIC = {
    "rls": rt.RLS,
    "rls, no bias": lambda: rt.RLS(bias=False),
    "ridge": lambda: rt.Ridge(batch_size=64),
    "ridge, no bias": lambda: rt.Ridge(batch_size=64, bias=False),
}
OF_CLASSES = {
    **ANALYTIC,
    "slda": lambda: rt.SLDA(batch_size=64),
    "slda, shares": lambda: rt.SLDA(batch_size=64, balanced=False, shrinkage=0.1),
    "nearest mean": lambda: rt.NearestMean(batch_size=64),
}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 6)).astype(np.float32), rng


def far(x):
    """Rows like those learnt, and some that go far beyond, so that bounds have something to hold."""
    return np.concatenate([x, 30 * x[:50], np.zeros((1, 6), dtype=np.float32)])


def same(learner, x):
    np.testing.assert_allclose(learner.scores().answers(x), learner.predict(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("loss", NUMBERS)
def test_linear_of_numbers(rows, loss, update, k):
    x, _ = rows
    y = np.abs(np.rint(x[:, :k] @ np.ones((k, k)) + x[:, :1]))
    learner = rt.Linear(loss=NUMBERS[loss], update=UPDATES[update])
    learner.learn(rt.Batch(x, y=y[:, 0] if k == 1 else y))
    assert learner.predict(x).ndim == (1 if k == 1 else 2)
    same(learner, far(x))


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("loss", CLASSES)
def test_linear_of_classes(rows, loss, update, k):
    x, _ = rows
    learner = rt.Linear(loss=CLASSES[loss], update=UPDATES[update])
    learner.learn(rt.Batch(x, y=(x[:, :k].argmax(1))))
    assert learner.predict(x).shape == (300, k)
    same(learner, far(x))
    assert learner.scores().classes == k


def test_passive_aggressive(rows):
    x, _ = rows
    learner = rt.Linear(loss=rt.Hinge(), update=rt.PassiveAggressive(), bias=False)
    learner.learn(rt.Batch(x, y=x[:, :3].argmax(1)))
    same(learner, x)


def test_where_every_class_is_denied_one_has_it_all_the_same():
    """Sigmoids vanish below -745; the kernels take the exponentials from the top, and so do scores."""
    x = np.float32([[1.0, 0.5, 0.25]])
    learner = rt.Linear(loss=rt.Logistic(), update=rt.SGD(1.0))
    learner.learn(rt.Batch(np.eye(3, dtype=np.float32), y=np.arange(3)))
    state = learner.state_dict()
    state["slots"][:] = -2000 * np.array([[1, 0, 0], [0, 2.001, 0], [0, 0, 4.01]])
    learner.load_state_dict(state)
    same(learner, x)
    assert learner.predict(x)[0, 0] > 0.5


@pytest.mark.parametrize("name", OF_CLASSES)
def test_analytic_of_classes(rows, name):
    x, _ = rows
    learner = OF_CLASSES[name]()
    y = x[:, :3].argmax(1)
    y[::40] = 5  # three and four are known of, and never came
    y[-1] = 7  # waits in no full block
    learner.learn(rt.Batch(x, y=y))
    same(learner, far(x))


@pytest.mark.parametrize("name", ANALYTIC)
@pytest.mark.parametrize("k", [1, 2])
def test_analytic_of_numbers(rows, name, k):
    x, _ = rows
    y = x[:, :k] @ np.full((k, k), 2.0) + 5
    learner = ANALYTIC[name]()
    learner.learn(rt.Batch(x, y=y[:, 0] if k == 1 else y))
    assert learner.predict(x).ndim == (1 if k == 1 else 2)
    same(learner, far(x))


def test_who_has_no_weights_says_so(rows):
    x, _ = rows
    coin = rt.Linear(update=rt.Coin())
    coin.learn(rt.Batch(x, y=x[:, 0]))
    with pytest.raises(SettingError, match=r"Coin\(\) divides what it answers.*expected Adaptive, SGD"):
        coin.scores()
    for learner in (rt.Linear(), rt.Linear(loss=rt.Logistic()), rt.RLS()):
        with pytest.raises(SettingError, match="has learnt nothing yet"):
            learner.scores()
    ridge = rt.Ridge()
    ridge.learn(rt.Batch(x[:10], y=x[:10, 0]))
    with pytest.raises(SettingError, match=r"Ridge has learnt no full block yet; learn more rows, or settle\(\)"):
        ridge.scores()
    assert not isinstance(rt.FeCAM(), Scoring)


@pytest.mark.parametrize("link", LINKS)
def test_links_are_those_of_their_docstring(link):
    s = np.array([[1.0], [-3.0]]) if link == "odds" else np.array([[0.5, -1.0, 2.0], [-1.0, -2.0, -0.5]])
    tail = 1 / (1 + np.exp(-s))
    vote = np.maximum(s, 0)
    with np.errstate(invalid="ignore"):
        expected = {
            "numbers": s,
            "exp": np.exp(s),
            "odds": np.hstack([1 - tail, tail]),
            "rest": tail / tail.sum(1, keepdims=True),
            "softmax": np.exp(s) / np.exp(s).sum(1, keepdims=True),
            "shares": np.where(vote.sum(1, keepdims=True) > 0, vote / vote.sum(1, keepdims=True), 1 / 3),
        }[link]
    np.testing.assert_allclose(linked(link, s), expected, rtol=1e-12)


def test_an_unknown_link_is_refused():
    with pytest.raises(SettingError, match="no link 'probit'; expected one of numbers, exp"):
        linked("probit", np.zeros((1, 1)))
    assert Scores(np.ones((1, 2)), np.zeros(1), "numbers", flat=True).answers(np.ones((3, 2))).tolist() == [2, 2, 2]
