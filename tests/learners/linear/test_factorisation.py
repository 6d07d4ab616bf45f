"""`FactorisationMachine` against plain Python written from its docstring, and beside River's."""

import numpy as np
import pyarrow as pa
import pytest
from river import facto, optim

import retain as rt
from retain.errors import PoisonError, SettingError


def csr(x):
    row, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(x)))]).astype(np.int64)
    return rt.CSR(indptr, column.astype(np.int32), x[row, column], x.shape[1])


FORMS = pytest.mark.parametrize("form", [np.asarray, csr], ids=["dense", "sparse"])


class Slow:
    """m = b + w'x + sum over pairs, pair by pair, and adaptive steps along its slopes, found by small differences."""

    def __init__(self, w, v, rate, l2):
        self.b, self.w, self.v, self.rate, self.l2 = 0.0, w, v, rate, l2
        self.G = [0.0, np.zeros_like(w), np.zeros_like(v)]

    def margin(self, x, v=None):
        v = self.v if v is None else v
        pairs = sum(v[i] @ v[j] * x[i] * x[j] for i in range(len(x)) for j in range(i))
        return self.b + self.w @ x + pairs

    def slopes(self, x):
        found = np.zeros_like(self.v)
        for place in np.ndindex(*self.v.shape):
            two = []
            for e in (1e-6, -1e-6):
                v = self.v.copy()
                v[place] += e
                two.append(self.margin(x, v))
            found[place] = (two[0] - two[1]) / 2e-6
        return found

    def learn(self, x, g):
        there = x != 0
        steps = [g, g * x + self.l2 * self.w * there, g * self.slopes(x) + self.l2 * self.v * there[:, None]]
        self.G = [G + s * s for G, s in zip(self.G, steps, strict=True)]
        self.b, self.w, self.v = (
            now - self.rate * s / np.sqrt(1 + G)
            for now, s, G in zip((self.b, self.w, self.v), steps, self.G, strict=True)
        )


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    x = (rng.normal(size=(150, 5)) * (rng.random((150, 5)) < 0.7)).astype(np.float32)
    return x, x[:, 0] * x[:, 1] - x[:, 2] + 0.1 * rng.normal(size=150)


def begun(learner, x, y, form):
    """A learner that has drawn the factors of all features, and those: a row of next to no weight moves nothing."""
    learner.learn(rt.Batch(form(np.ones_like(x[:2])), y=y, weight=np.full(2, 1e-15)))
    rank = int(learner._settings[0])
    return learner._cells[: x.shape[1], 2 : 2 + rank].copy()


@FORMS
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_classes_are_the_docstring(rows, l2, form):
    x, number = rows
    y = (number > 0).astype(np.int64)
    learner = rt.FactorisationMachine(3, learning_rate=0.2, l2=l2)
    slow = Slow(np.zeros(5), begun(learner, x, np.array([1, 0]), form), 0.2, l2)
    p = learner.learn(rt.Batch(form(x), y=y))
    for i, row in enumerate(x.astype(float)):
        expected = 1 / (1 + np.exp(-slow.margin(row)))
        np.testing.assert_allclose(p[i, 1], expected, rtol=1e-5)
        slow.learn(row, expected - y[i])


@FORMS
def test_numbers_are_the_docstring(rows, form):
    x, y = rows
    learner = rt.FactorisationMachine(2, loss=rt.Squared(), learning_rate=0.1)
    slow = Slow(np.zeros(5), begun(learner, x, np.array([-30.0, 30.0]), form), 0.1, 0.0)
    p = learner.learn(rt.Batch(form(x), y=y))
    seen = [(-30.0, 1e-15), (30.0, 1e-15)]
    for i, row in enumerate(x.astype(float)):
        label, weight = np.array(seen).T
        mean = np.average(label, weights=weight)
        unit = np.sqrt(np.average((label - mean) ** 2, weights=weight))
        if i > 2:
            np.testing.assert_allclose(p[i], np.clip(mean + unit * slow.margin(row), -30, 30), rtol=1e-4, atol=1e-4)
        seen.append((y[i], 1.0))
        label, weight = np.array(seen).T
        mean = np.average(label, weights=weight)
        unit = np.sqrt(np.average((label - mean) ** 2, weights=weight))
        slow.learn(row, (np.clip(mean + unit * slow.margin(row), -30, 30) - y[i]) / unit)


def test_pairs_that_never_met_are_known_from_others():
    """Ratings of rank 2, a third of the pairs never shown."""
    rng = np.random.default_rng(0)
    taste, kind = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    rating = taste @ kind.T
    hidden = rng.random((30, 30)) < 1 / 3
    user, item = np.nonzero(~hidden)
    turns = np.concatenate([rng.permutation(len(user)) for _ in range(40)])
    x = np.zeros((len(turns), 60), np.float32)
    x[np.arange(len(turns)), user[turns]] = 1
    x[np.arange(len(turns)), 30 + item[turns]] = 1
    learner = rt.FactorisationMachine(4, loss=rt.Squared())
    learner.learn(rt.Batch(csr(x), y=rating[user[turns], item[turns]]))
    asked = np.zeros((hidden.sum(), 60), np.float32)
    asked[np.arange(len(asked)), np.nonzero(hidden)[0]] = 1
    asked[np.arange(len(asked)), 30 + np.nonzero(hidden)[1]] = 1
    truth = rating[hidden]
    assert np.mean((learner.predict(csr(asked)) - truth) ** 2) < 0.35 * truth.var()


def test_it_is_as_good_as_rivers_on_pairs_that_agree():
    rng = np.random.default_rng(1)
    x = rng.choice([-1.0, 1.0], size=(2000, 4)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    model = facto.FMClassifier(
        n_factors=4, seed=1, weight_optimizer=optim.AdaGrad(0.1), latent_optimizer=optim.AdaGrad(0.1)
    )
    right = 0
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        named = {str(j): v for j, v in enumerate(row)}
        right += model.predict_one(named) == bool(label)
        model.learn_one(named, bool(label))
    said = rt.FactorisationMachine(4).learn(rt.Batch(x, y=y)).argmax(axis=1)
    assert (said == y).sum() > right - 20


def test_a_third_class_leaves_the_odds_of_the_others(rows):
    x, number = rows
    learner = rt.FactorisationMachine(3)
    learner.learn(rt.Batch(x, y=(number > 0).astype(np.int64)))
    before = learner.predict(x)
    learner._arrive(3)
    after = learner.predict(x)
    np.testing.assert_allclose(after[:, 0] / after[:, 1], before[:, 0] / before[:, 1], rtol=1e-9)
    y = np.digitize(number, [-1, 1])
    for _ in range(30):
        learner.learn(rt.Batch(x, y=y))
    assert (learner.predict(x).argmax(axis=1) == y).mean() > 0.9


def test_factors_are_those_of_the_feature_whenever_it_comes():
    whole, late = rt.FactorisationMachine(2), rt.FactorisationMachine(2)
    x = np.eye(6, dtype=np.float32)
    whole.learn(rt.Batch(csr(x), y=np.zeros(6, np.int64), weight=np.full(6, 1e-30)))
    late.learn(rt.Batch(csr(x[::-1].copy()), y=np.zeros(6, np.int64), weight=np.full(6, 1e-30)))
    np.testing.assert_array_equal(whole._cells[:6, 2:4], late._cells[:6, 2:4])
    assert len(np.unique(whole._cells[:6, 2:4])) == 12
    assert not np.array_equal(rt.FactorisationMachine(2, seed=1)._seed, whole._seed)


def test_numbers_and_weights_stay_finite():
    rng = np.random.default_rng(4)
    pool = np.array([0, 0, 1, -1, 3e38, -3e38, 1e-45, 1e20], dtype=np.float32)
    x = rng.choice(pool, size=(300, 5))
    weight = rng.choice([0.0, 1e-300, 1.0, 3e38], size=300)
    for loss, y in ((rt.Logistic(), rng.integers(0, 3, 300)), (rt.Squared(), rng.choice([0.0, 3e38, -1.0], 300))):
        learner = rt.FactorisationMachine(loss=loss)
        assert np.isfinite(learner.learn(rt.Batch(x, y=y, weight=weight))).all()
        assert np.isfinite(learner.predict(x)).all()


def test_categories_in_front():
    table = pa.record_batch({"user": ["ann", "bob"] * 200, "item": ["tea", "tea", "rum", "rum"] * 100})
    y = np.array([1, 0, 0, 1] * 100)
    learner = rt.OneHot() | rt.FactorisationMachine(2)
    assert (learner.learn(rt.Batch(table, y=y)).argmax(axis=1) == y)[200:].all()


def test_what_does_not_fit_is_refused():
    for setting in ({"rank": 0}, {"loss": rt.Hinge()}, {"learning_rate": 0.0}, {"l2": -1.0}):
        with pytest.raises(SettingError):
            rt.FactorisationMachine(**setting)
    learner = rt.FactorisationMachine(loss=rt.Squared())
    learner.learn(rt.Batch(np.ones((2, 2)), y=np.ones(2)))
    with pytest.raises(PoisonError, match="number of outputs"):
        learner.learn(rt.Batch(np.ones((2, 2)), y=np.ones((2, 2))))
    with pytest.raises(PoisonError, match="class codes"):
        rt.FactorisationMachine().learn(rt.Batch(np.ones((2, 2)), y=np.array([0.5, 1.0])))


@pytest.mark.parametrize("make", [rt.FactorisationMachine])
def test_a_class_that_was_alone_stays_likely_when_a_far_one_arrives(make):
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    learner = make()
    rt.testing.learner_newcomers(make, rt.Batch(x, y=np.zeros(300, dtype=np.int64)))
    learner.learn(rt.Batch(x, y=np.zeros(300, dtype=np.int64)))
    learner.learn(rt.Batch(x[:1], y=np.array([2]), weight=np.array([1e-9])))
    said = learner.predict(x)
    assert said.shape == (300, 3)
    assert (said.argmax(axis=1) == 0).all()  # the only one there has been
    stepwise = make()
    stepwise.learn(rt.Batch(x, y=np.zeros(300, dtype=np.int64)))
    for code in (1, 2):  # the class between them comes first, which moves next to nothing
        stepwise.learn(rt.Batch(x[:1], y=np.array([code]), weight=np.array([1e-9])))
    np.testing.assert_allclose(said, stepwise.predict(x), atol=1e-6)
