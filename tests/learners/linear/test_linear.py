"""What `Linear` promises beyond the laws: invariances, newcomers, widths, finite weights, clear refusals."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import retain as rt
from retain import blocks, state
from retain.errors import PoisonError, SettingError

UPDATES = [rt.Adaptive(), rt.SGD(), rt.FTRL(), rt.Coin(), rt.NewtonStep()]
MARGINS = [rt.AROW(), rt.SCW(), rt.SCW(squared=True), rt.ALMA(), rt.ALMA(5.0)]  # for Hinge
NUMBERS = [rt.Squared(), rt.Quantile(0.3), rt.Huber(), rt.Poisson()]
CLASSES = [rt.Logistic(), rt.Multinomial(), rt.Hinge()]


def name(part):
    return type(part).__name__


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    return x, x @ rng.normal(size=5) + 0.1 * rng.normal(size=300)


def csr(x):
    row, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(x)))]).astype(np.int64)
    return rt.CSR(indptr, column.astype(np.int32), x[row, column], x.shape[1])


# --- the default update -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [rt.Squared(), rt.Quantile(0.3), rt.Huber(1e9)], ids=name)
@pytest.mark.parametrize("unit", [1e-3, 1e6])
def test_adaptive_knows_no_units_of_targets(rows, loss, unit):
    x, y = rows
    plain = rt.Linear(loss=loss).learn(rt.Batch(x, y=y))
    scaled = rt.Linear(loss=loss).learn(rt.Batch(x, y=y * unit))
    np.testing.assert_allclose(scaled / unit, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", [rt.Squared(), rt.Logistic()], ids=name)
@pytest.mark.parametrize("form", [np.asarray, csr], ids=["dense", "sparse"])
def test_adaptive_knows_no_units_of_features(rows, loss, form):
    x, y = rows
    labels = y if isinstance(loss, rt.Squared) else (y > 0).astype(np.int64)
    units = np.array([1, 1024, 1 / 1024, 2.0**40, 2.0**-40], dtype=np.float32)  # powers of two: no rounding
    plain = rt.Linear(loss=loss).learn(rt.Batch(form(x), y=labels))
    scaled = rt.Linear(loss=loss).learn(rt.Batch(form(x * units), y=labels))
    np.testing.assert_allclose(scaled, plain, rtol=1e-9, atol=1e-12)


def test_a_heavy_row_is_many_light_ones_once_rates_have_settled(rows):
    x, y = rows
    learner = rt.Linear(loss=rt.Logistic())
    for _ in range(20):
        learner.learn(rt.Batch(x, y=(y > 0).astype(np.int64)))
    once, often = rt.Linear(loss=rt.Logistic()), rt.Linear(loss=rt.Logistic())
    for copy in (once, often):
        copy.load_state_dict(learner.state_dict())
    row = rt.Batch(x[:1], y=np.array([0 if y[0] > 0 else 1]))  # a surprise
    before = learner.predict(x)[:, 1]
    once.learn(replace(row, weight=np.array([5.0])))
    for _ in range(50):
        often.learn(replace(row, weight=np.array([0.1])))
    moved = np.abs(once.predict(x)[:, 1] - before).max()
    assert moved > 0.02
    assert np.abs(once.predict(x)[:, 1] - often.predict(x)[:, 1]).max() < 0.1 * moved


def test_no_weight_is_so_large_that_a_prediction_passes_the_label(rows):
    x, y = rows
    learner = rt.Linear(bias=False)
    learner.learn(rt.Batch(x[:50], y=y[:50]))
    for target in (y[:50].max(), y[:50].min()):
        learner.learn(rt.Batch(x[60:61], y=np.array([target]), weight=np.array([1e30])))
        assert learner.predict(x[60:61])[0] == pytest.approx(target, rel=1e-6)


@pytest.mark.parametrize("loss", [rt.Huber(), rt.Quantile()], ids=name)
def test_gross_outliers_among_the_targets_make_no_wild_predictions(loss):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 5))
    truth = x @ rng.normal(size=5) + 5
    y = truth + 0.5 * rng.normal(size=5000)
    wrong = rng.random(5000) < 0.05
    y[wrong] += 1000 * rng.choice([-1, 1], size=wrong.sum())
    said = rt.Linear(loss=loss).learn(rt.Batch(x, y=y))
    # In units of the standard deviation, of 220, of which outliers are the most, the rate led to errors of 5 and 500.
    assert np.abs(said - truth)[500:].mean() < 0.5
    assert np.abs(said - truth).max() < 40


def test_an_outlier_among_the_features_makes_no_wild_prediction(rows):
    x, y = rows
    learner = rt.Linear(loss=rt.Logistic())
    learner.learn(rt.Batch(x, y=(y > 0).astype(np.int64)))
    wild = x[:1].copy()
    wild[0, 0] = 3e38
    tame = x[:1].copy()
    tame[0, 0] = np.abs(x[:, 0]).max()
    np.testing.assert_allclose(learner.predict(wild), learner.predict(tame), rtol=1e-12)


# --- dense, sparse, wide ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("update", UPDATES, ids=name)
@pytest.mark.parametrize("loss", [rt.Squared(), rt.Multinomial()], ids=name)
def test_dense_and_sparse_rows_learn_the_same(rows, update, loss):
    x, y = rows
    x = np.where(np.random.default_rng(1).random(x.shape) < 0.5, 0, x)
    labels = y if isinstance(loss, rt.Squared) else np.digitize(y, [-1, 1])
    dense, sparse, mixed = (rt.Linear(loss=loss, update=update) for _ in range(3))
    expected = dense.learn(rt.Batch(x, y=labels))
    got = sparse.learn(rt.Batch(csr(x), y=labels))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(sparse.weights, dense.weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dense.predict(csr(x)), sparse.predict(x), rtol=1e-9, atol=1e-12)
    for i, form in enumerate([np.asarray, csr, np.asarray]):
        part = slice(100 * i, 100 * i + 100)
        got = mixed.learn(rt.Batch(form(x[part]), y=labels[part]))
        np.testing.assert_allclose(got[:, : expected.shape[-1]] if got.ndim == 2 else got, expected[part], atol=1e-9)


def test_record_batches_of_numbers_are_rows(rows):
    x, y = rows
    table = pa.record_batch([pa.array(column) for column in x.T], names=list("abcde"))
    dense, named = rt.Linear(), rt.Linear()
    np.testing.assert_array_equal(named.learn(rt.Batch(table, y=y)), dense.learn(rt.Batch(x, y=y)))


def test_a_bare_array_keeps_its_width_and_encoded_rows_may_grow(rows):
    x, y = rows
    learner = rt.Linear()
    learner.learn(rt.Batch(x, y=y))
    with pytest.raises(PoisonError, match="expected 5"):
        learner.predict(x[:, :4])
    with pytest.raises(PoisonError, match="expected 5"):
        learner.learn(rt.Batch(np.hstack([x, x]), y=y))
    grown = rt.Linear()
    grown.learn(rt.Batch(x[:, :3], y=y, schema=rt.Schema()))
    before = grown.predict(x[:, :3])
    np.testing.assert_array_equal(grown.predict(x), before)  # unknown features are ignored
    np.testing.assert_array_equal(grown.predict(np.pad(x[:, :3], ((0, 0), (0, 4)))), before)
    np.testing.assert_array_equal(grown.predict(csr(x)), grown.predict(csr(x[:, :3])))
    grown.learn(rt.Batch(x, y=y))
    assert grown.weights.shape == (5,)
    assert grown.predict(x[:, :2]).shape == (300,)


@pytest.mark.parametrize("update", UPDATES, ids=name)
def test_room_for_features_to_come_is_not_state(update):
    whole, steps = rt.Linear(update=update), rt.Linear(update=update)
    x = csr(np.eye(40, dtype=np.float32))
    y = np.arange(40.0)
    whole.learn(rt.Batch(x, y=y))
    for i in range(40):
        row = blocks.take(x, slice(i, i + 1))
        steps.learn(rt.Batch(replace(row, width=i + 1), y=y[i : i + 1]))
    assert state.equal(steps.state_dict(), whole.state_dict())


# --- classes and outputs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("update", [*UPDATES, *MARGINS, rt.PassiveAggressive()], ids=name)
@pytest.mark.parametrize("loss", CLASSES, ids=name)
def test_an_arriving_class_does_not_move_the_odds_of_the_others(rows, update, loss):
    if not isinstance(loss, rt.Hinge) and (isinstance(update, rt.PassiveAggressive) or update in MARGINS):
        pytest.skip("not a loss that can be 0")
    x, y = rows
    learner = rt.Linear(loss=loss, update=update)
    learner.learn(rt.Batch(x, y=(y > 0).astype(np.int64)))
    before = learner.predict(x)
    learner._arrive(3)
    after = learner.predict(x)
    np.testing.assert_allclose(after[:, 0] / after[:, 1], before[:, 0] / before[:, 1], rtol=1e-9)
    np.testing.assert_allclose(after.sum(axis=1), 1)
    learner.learn(rt.Batch(x, y=np.digitize(y, [-1, 1])))  # and all three are learnt from here
    assert learner.predict(x).shape == (300, 3)


def test_classes_are_known_by_the_rows_learnt(rows):
    x, _ = rows
    learner = rt.Linear(loss=rt.Logistic())
    assert learner.predict(x).shape == (300, 0)
    assert learner.learn(rt.Batch(x[:2], y=np.array([-1, -1]))).shape == (2, 0)
    np.testing.assert_array_equal(learner.learn(rt.Batch(x[:2], y=np.array([0, 0]))), [[0.0], [1.0]])
    said = learner.learn(rt.Batch(x[:3], y=np.array([0, 2, -1])))
    np.testing.assert_array_equal(said[:2], [[1, 0, 0], [1, 0, 0]])
    assert said[2].min() > 0
    assert learner.classes == 3


@pytest.mark.parametrize("loss", [rt.Logistic(), rt.Multinomial()], ids=name)
def test_many_classes_are_told_apart(loss):
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(6, 8)) * 2
    y = rng.integers(0, 6, size=4000)
    x = centre[y] + rng.normal(size=(4000, 8))
    p = rt.Linear(loss=loss).learn(rt.Batch(x, y=y))
    best = (((x[:, None] - centre) ** 2).sum(axis=2).argmin(axis=1) == y)[2000:].mean()  # Bayes
    assert (p.argmax(axis=1) == y)[2000:].mean() > best - 0.02
    np.testing.assert_allclose(p[100:].sum(axis=1), 1)


@pytest.mark.parametrize("update", UPDATES, ids=name)
def test_outputs_are_learnt_side_by_side(rows, update):
    x, y = rows
    both = rt.Linear(update=update)
    got = both.learn(rt.Batch(x, y=np.c_[y, -2 * y]))
    for j, target in enumerate((y, -2 * y)):
        alone = rt.Linear(update=update)
        np.testing.assert_allclose(got[:, j], alone.learn(rt.Batch(x, y=target)), rtol=1e-9, atol=1e-12)
    assert both.weights.shape == (2, 5)
    with pytest.raises(PoisonError, match="number of outputs"):
        both.learn(rt.Batch(x, y=y))


def test_a_row_without_all_its_targets_is_not_learnt(rows):
    x, y = rows
    learner, other = rt.Linear(), rt.Linear()
    y = np.c_[y, y]
    y[1::2, 1] = np.nan
    learner.learn(rt.Batch(x, y=y))
    other.learn(rt.Batch(x[::2], y=y[::2]))
    assert state.equal(learner.state_dict(), other.state_dict())


@pytest.mark.parametrize("loss", NUMBERS, ids=name)
def test_each_loss_predicts_what_it_says(loss):
    rng = np.random.default_rng(2)
    x = rng.uniform(0.5, 1.5, size=(30_000, 1))
    y = rng.poisson(np.exp(x[:, 0])) if isinstance(loss, rt.Poisson) else x[:, 0] + rng.exponential(size=len(x))
    learner = rt.Linear(loss=loss, update=rt.Adaptive(learning_rate=0.5))
    learner.learn(rt.Batch(x, y=y.astype(float)))
    truth = {
        "Squared": 2.0,  # at x = 1
        "Quantile": 1 - np.log(0.7),
        "Huber": 1 + 0.8,  # within a few hundredths, by simulation; between median and mean
        "Poisson": np.e,
    }[name(loss)]
    assert learner.predict(np.ones((1, 1)))[0] == pytest.approx(truth, abs=0.12)


def test_l1_with_ftrl_leaves_few_weights():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 50)).astype(np.float32)
    y = (x[:, :3].sum(axis=1) + rng.logistic(size=3000) > 0).astype(np.int64)
    weights = {}
    for l1 in (0.0, 60.0):
        learner = rt.Linear(loss=rt.Logistic(), update=rt.FTRL(), l1=l1)
        learner.learn(rt.Batch(x, y=y))
        weights[l1] = learner.weights
    assert (weights[0.0] == 0).sum() == 0
    assert (weights[60.0][:3] > 0.3).all()
    assert (weights[60.0][3:] == 0).mean() > 0.9


# --- values at the edge -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "update", [*UPDATES, *MARGINS, rt.PassiveAggressive(), rt.PassiveAggressive(squared=True)], ids=name
)
@pytest.mark.parametrize("loss", [*NUMBERS, *CLASSES], ids=name)
def test_weights_and_predictions_stay_finite(update, loss):
    if update in MARGINS and not isinstance(loss, rt.Hinge):
        pytest.skip("for Hinge")
    if isinstance(update, rt.PassiveAggressive) and not isinstance(loss, (rt.Hinge, rt.Quantile)):
        pytest.skip("not a loss that can be 0")
    rng = np.random.default_rng(4)
    pool = np.array([0, 0, 1, -1, 3e38, -3e38, 1e-45, 1e-30, 1e20], dtype=np.float32)
    x = rng.choice(pool, size=(400, 6))
    x[:, 5] = 7.0  # constant
    x[::9] = 0.0
    if loss in CLASSES:
        y = rng.integers(0, 3, size=400)
    else:
        y = rng.choice([0.0, 1.0, 1e-300, 3e38, 5e10], size=400) * (1 if isinstance(loss, rt.Poisson) else -1)
    weight = rng.choice([0.0, 1e-300, 1.0, 3e38], size=400)
    learner = rt.Linear(loss=loss, update=update)
    with np.errstate(all="raise"):
        got = learner.learn(rt.Batch(x, y=y, weight=weight))
    assert np.isfinite(got).all()
    assert np.isfinite(learner.weights).all()
    assert np.isfinite(learner.predict(x)).all()


def test_nothing_happens_for_rows_without_label_or_weight(rows):
    x, y = rows
    learner = rt.Linear()
    learner.learn(rt.Batch(x, y=y))
    before = state.encode(learner.state_dict())
    learner.learn(rt.Batch(x, y=np.full(300, np.nan)))
    learner.learn(rt.Batch(x, y=y, weight=np.zeros(300)))
    learner.learn(rt.Batch(x))
    assert state.encode(learner.state_dict()) == before


def test_read_only_and_strided_rows_are_rows(rows):
    x, y = rows
    expected = rt.Linear().learn(rt.Batch(x, y=y))
    frozen = x.copy()
    frozen.flags.writeable = False
    wide = np.asfortranarray(x.astype(np.float64))
    for form in (frozen, wide, wide[:, :]):
        np.testing.assert_array_equal(rt.Linear().learn(rt.Batch(form, y=y)), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.full(300, 1e39)}, "expected at most"),
        ({"weight": np.full(300, 1e39)}, "expected at most"),
        ({"x": rt.CSR(np.array([0, 1]), np.array([9], dtype=np.int32), np.ones(1, dtype=np.float32), 5)}, "column 9"),
        ({"x": rt.CSR(np.array([0, 5]), np.array([1], dtype=np.int32), np.ones(1, dtype=np.float32), 5)}, "pointers"),
    ],
)
def test_what_cannot_be_learnt_is_refused(rows, change, message):
    x, y = rows
    learner = rt.Linear()
    learner.learn(rt.Batch(x, y=y))
    before = state.encode(learner.state_dict())
    with pytest.raises(PoisonError, match=message):
        learner.learn(replace(rt.Batch(x, y=y), **change))
    assert state.encode(learner.state_dict()) == before


def test_counts_are_not_negative(rows):
    x, y = rows
    with pytest.raises(PoisonError, match="counts"):
        rt.Linear(loss=rt.Poisson()).learn(rt.Batch(x, y=-np.abs(y)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: rt.Linear(l1=-1),
        lambda: rt.Linear(l2=float("nan")),
        lambda: rt.Linear(update=rt.Coin(), l1=1),
        lambda: rt.Linear(update=rt.PassiveAggressive()),
        lambda: rt.Quantile(1),
        lambda: rt.Huber(0),
        lambda: rt.Adaptive(learning_rate=0),
        lambda: rt.Adaptive(target_scale=-1),
        lambda: rt.SGD(learning_rate=float("inf")),
        lambda: rt.FTRL(alpha=0),
        lambda: rt.FTRL(beta=-1),
        lambda: rt.Coin(wealth=0),
        lambda: rt.PassiveAggressive(C=-1),
    ],
)
def test_settings_that_make_no_sense_are_refused(make):
    with pytest.raises(SettingError, match="got"):
        make()


# --- real rows --------------------------------------------------------------------------------------------------------


def test_the_default_beats_published_logistic_regression_on_electricity(data):
    x = np.loadtxt(data / "electricity" / "elec2_data.dat.gz")
    y = np.loadtxt(data / "electricity" / "elec2_label.dat.gz").astype(np.int64)
    p = rt.Linear(loss=rt.Logistic()).learn(rt.Batch(x, y=y))
    assert (p.argmax(axis=1) == y).mean() > 0.822  # River's LogisticRegression behind a StandardScaler


@pytest.mark.parametrize(
    "make",
    [
        lambda: rt.Linear(loss=rt.Logistic()),
        lambda: rt.Linear(loss=rt.Logistic(), update=rt.FTRL()),
        lambda: rt.Linear(loss=rt.Logistic(), update=rt.Coin()),
        lambda: rt.Linear(loss=rt.Hinge(), update=rt.AROW()),
    ],
)
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
