"""`Calibrated` finds what scikit-learn finds on a fixed block, and makes probabilities come true where they did not."""

import math

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

import retain as rt
from retain import state
from retain.errors import SettingError
from retain.learners.ensemble import calibrated


class Spoken:
    """A learner that says its input."""

    def learn(self, batch, /):
        return np.asarray(batch.x, dtype=np.float64)

    def predict(self, x, /):
        return np.asarray(x, dtype=np.float64)

    def state_dict(self):
        return {}

    def load_state_dict(self, state, /): ...


def block(n=20_000, classes=2, *, steep=3.0, seed=0):
    """Probabilities that are too sure of themselves and lean to class 0, and labels drawn from the true ones."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, classes))
    true = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = (rng.random(n)[:, None] > true.cumsum(axis=1)).sum(axis=1)
    z = steep * z + 0.7 * (np.arange(classes) == 0)
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), y, true


def error(y, said):
    measure = rt.metrics.CalibrationError()
    measure.update(y, said)
    return measure.value()


def test_the_line_of_platt_is_that_of_logistic_regression():
    said, y, _ = block(steep=1.5)
    rare = said[:, 1] < 0.3  # log-odds far from 0, so that slope and offset pull at one another
    said, y = said[rare], y[rare]
    learner = rt.Calibrated(Spoken(), method=rt.Platt(memory=math.inf))
    learner.learn(rt.Batch(said, y=y))
    odds = np.log(said[:, 1] / said[:, 0])
    wanted = LogisticRegression(C=1e9).fit(odds[:, None], y)
    got = learner.state_dict()["fit"]["line"]
    # One pass of Newton's steps beside the solution, which they reach but for what the first steps owe.
    assert got[1] == pytest.approx([wanted.coef_[0, 0], wanted.intercept_[0]], abs=0.01)
    assert got[0] == pytest.approx([got[1, 0], -got[1, 1]], abs=1e-9)  # of two classes, one mirrors the other
    assert learner.predict(said)[:, 1] == pytest.approx(wanted.predict_proba(odds[:, None])[:, 1], abs=0.02)


def test_the_temperature_is_the_one_of_the_least_log_loss():
    said, y, _ = block(classes=4, steep=2.0)
    said /= np.array([math.exp(0.7), 1, 1, 1])
    said /= said.sum(axis=1, keepdims=True)
    learner = rt.Calibrated(Spoken(), method=rt.Temperature(memory=math.inf))
    learner.learn(rt.Batch(said, y=y))
    assert learner.state_dict()["fit"]["inverse"][0] == pytest.approx(0.5, abs=0.02)
    assert np.array_equal(learner.predict(said).argmax(axis=1), said.argmax(axis=1))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_isotonic_fit_is_that_of_scikit_learn(weighted):
    said, y, _ = block(500, classes=3)
    said = said.round(2)  # ties
    said /= said.sum(axis=1, keepdims=True)
    weight = np.random.default_rng(0).uniform(0.5, 2, size=500) if weighted else np.ones(500)
    learner = rt.Calibrated(Spoken(), method=rt.Isotonic(window=500, every=500))
    learner.learn(rt.Batch(said, y=y, weight=weight))
    fit = learner.state_dict()["fit"]
    asked = np.linspace(0, 1, 301)
    read = calibrated.import_module("retain.learners.ensemble.calibrated_kernels")._read
    for c in range(3):
        wanted = IsotonicRegression(out_of_bounds="clip").fit(said[:, c], y == c, sample_weight=weight)
        got = [read(p, c, fit["knots"], fit["values"], fit["sizes"][c]) for p in asked]
        assert got == pytest.approx(wanted.predict(asked), abs=1e-9)


@pytest.mark.parametrize("method", [rt.Platt(), rt.Temperature(), rt.Isotonic()])
@pytest.mark.parametrize("classes", [2, 5])
def test_what_is_too_sure_becomes_right(method, classes):
    said, y, true = block(classes=classes)
    learner = rt.Calibrated(Spoken(), method=method)
    out = learner.learn(rt.Batch(said, y=y))
    assert out.sum(axis=1) == pytest.approx(1)
    late = slice(5000, None)
    assert error(y[late], out[late]) < 0.3 * error(y[late], said[late])
    loss = [-np.log(np.maximum(p[late][np.arange(15_000), y[late]], 1e-9)).mean() for p in (said, out, true)]
    assert loss[1] - loss[2] < 0.25 * (loss[0] - loss[2])


@pytest.mark.parametrize("method", [rt.Platt(2000), rt.Temperature(2000), rt.Isotonic(2000)])
def test_what_is_right_stays_so_and_a_change_is_followed(method):
    said, y, true = block(12_000)
    learner = rt.Calibrated(Spoken(), method=method)
    fine = learner.learn(rt.Batch(true, y=y))
    assert np.abs(fine - true)[4000:].mean() < 0.03
    changed = learner.learn(rt.Batch(said, y=y))
    assert np.abs(changed - true)[6000:].mean() < 0.35 * np.abs(said - true).mean()


@pytest.mark.parametrize("method", [rt.Platt(), rt.Temperature(), rt.Isotonic(60, every=20)])
def test_every_cut_of_late_labels_gives_the_same(method):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = np.digitize(x.sum(axis=1) + rng.normal(size=400), [-1, 1]) + 2 * (np.arange(400) > 200)
    states = []
    for cut in (400, 9):
        learner = rt.Calibrated(rt.Linear(loss=rt.Multinomial()), method=method)
        run = rt.Prequential(rt.streams.arrays(x, y, block=cut), learner, delay=rt.Delay(rows=30))
        list(run)
        # What is kept of rows of the block itself does not go through the state; all that is learnt is the same.
        states.append(state.encode(run.learner.state_dict()))
    assert states[0] == states[1]


def test_unknown_rows_and_those_before_any_class_stay_zeros():
    learner = rt.Calibrated(Spoken())
    out = learner.learn(rt.Batch(np.array([[0.0, 0.0], [0.7, 0.3], [0.0, 0.0]]), y=np.array([0, 1, 1])))
    assert not out[[0, 2]].any()
    assert out[1].sum() == pytest.approx(1)


def test_a_heavy_row_is_that_row_again_and_again():
    said, y, _ = block(400)
    fits = []
    for again in (False, True):
        learner = rt.Calibrated(Spoken())
        learner.learn(rt.Batch(said, y=y))
        if again:
            learner.learn(rt.Batch(np.repeat(said[:1], 12, axis=0), y=np.full(12, 1 - y[0])))
        else:
            learner.learn(rt.Batch(said[:1], y=1 - y[:1], weight=np.array([12.0])))
        fits.append(learner.state_dict()["fit"]["line"])
    np.testing.assert_allclose(fits[0], fits[1], rtol=1e-12)


@pytest.mark.parametrize("weight", [1e9, 1e38])
def test_no_row_is_so_heavy_that_it_ends_a_fit(weight):
    said, y, _ = block(12_000)
    learner = rt.Calibrated(Spoken(), method=rt.Platt(500))
    learner.learn(rt.Batch(said[:4000], y=y[:4000]))
    surest = said[:, 1].argmax()
    learner.learn(rt.Batch(said[[surest]], y=np.array([0]), weight=np.array([weight])))
    assert np.abs(learner.state_dict()["fit"]["line"]).max() < 50
    out = learner.learn(rt.Batch(said[4000:], y=y[4000:]))
    assert out.sum(axis=1) == pytest.approx(1)
    assert error(y[8000:], out[4000:]) < 0.3 * error(y[8000:], said[8000:])


def test_where_no_class_is_left_it_is_as_was_said():
    said, y, _ = block(50)
    learner = rt.Calibrated(Spoken())
    learner.learn(rt.Batch(said, y=y))
    kept = learner.state_dict()
    kept["fit"]["line"][:] = [0.0, -2000.0]
    learner.load_state_dict(kept)
    assert learner.predict(said) == pytest.approx(said)


def test_a_class_that_is_not_learnt_needs_no_room():
    said, y, _ = block(50)
    learner = rt.Calibrated(Spoken())
    learner.learn(
        rt.Batch(said, y=np.where(np.arange(50) == 7, 5000, y), weight=np.where(np.arange(50) == 7, 0.0, 1.0))
    )
    assert learner.state_dict()["room"] == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: rt.Platt(memory=1.0),
        lambda: rt.Temperature(memory=math.nan),
        lambda: rt.Isotonic(window=1),
        lambda: rt.Isotonic(every=0),
        lambda: rt.Calibrated(rt.Linear()).learn(rt.Batch(np.zeros((3, 1)), y=np.array([0, 1, 0]))),
        lambda: rt.Calibrated(rt.Linear(loss=rt.Logistic())).learn(rt.Batch(np.zeros((3, 1)), y=np.zeros(3))),
        lambda: rt.Calibrated(rt.Linear()).predict(np.zeros((3, 1))),
    ],
)
def test_odd_settings_and_numbers_are_refused(make):
    with pytest.raises(SettingError, match=r"expected"):
        make()
