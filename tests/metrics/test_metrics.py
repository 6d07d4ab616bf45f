"""Metrics against scikit-learn, River and closed forms; weights, newcomers, missing labels and bad input."""

from itertools import pairwise

import numpy as np
import pytest
import river.metrics
import sklearn.metrics as sk

from retain import metrics as rm
from retain import state as states
from retain.errors import PoisonError, SettingError, StateError

CLASSIFICATION = (
    rm.Accuracy,
    rm.BalancedAccuracy,
    rm.F1,
    rm.MacroF1,
    rm.Kappa,
    rm.KappaTemporal,
    rm.ROCAUC,
    rm.LogLoss,
    rm.Brier,
    rm.CalibrationError,
)
REGRESSION = (rm.MAE, rm.RMSE, rm.R2, lambda: rm.QuantileLoss(0.8))


def rows(n=2000, classes=3, *, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    score = rng.normal(size=(n, classes)) + 1.2 * np.eye(classes)[y]
    p = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    return y, p, rng.uniform(0.1, 3.0, n)


def measured(metric, *given):
    metric.update(*given)
    return metric.value()


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_decisions_agree_with_scikit_learn(classes, weighted):
    y, p, w = rows(classes=classes)
    weight = w if weighted else None
    said = p.argmax(axis=1)
    expected = {
        rm.Accuracy: sk.accuracy_score(y, said, sample_weight=weight),
        rm.BalancedAccuracy: sk.balanced_accuracy_score(y, said, sample_weight=weight),
        rm.MacroF1: sk.f1_score(y, said, average="macro", sample_weight=weight),
        rm.F1: sk.f1_score(y == 1, said == 1, sample_weight=weight),
        rm.Kappa: sk.cohen_kappa_score(y, said, sample_weight=weight),
    }
    for make, value in expected.items():
        assert measured(make(), y, p, weight) == pytest.approx(value, rel=1e-12), make
        assert measured(make(), y, said, weight) == pytest.approx(value, rel=1e-12), make


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_probabilities_agree_with_scikit_learn(classes, weighted):
    y, p, w = rows(classes=classes)
    weight = w if weighted else None
    assert measured(rm.LogLoss(), y, p, weight) == pytest.approx(sk.log_loss(y, p, sample_weight=weight), rel=1e-12)
    miss = ((p - np.eye(classes)[y]) ** 2).sum(axis=1) / 2
    assert measured(rm.Brier(), y, p, weight) == pytest.approx(np.average(miss, weights=weight), rel=1e-12)
    if classes == 2:
        expected = sk.brier_score_loss(y, p[:, 1], sample_weight=weight)
        assert measured(rm.Brier(), y, p, weight) == pytest.approx(expected, rel=1e-12)


def test_log_loss_of_many_rows_is_exact_at_both_ends():
    rng = np.random.default_rng(0)
    for low, high in ((0.0, 1e-14), (0.4, 0.6), (1 - 1e-9, 1.0)):
        p = rng.uniform(low, high, 50_000)
        metric = rm.LogLoss()
        metric.update(np.ones(50_000, dtype=int), np.column_stack([1 - p, p]))
        exact = -np.log(np.clip(p, 1e-15, 1 - 1e-15)).mean()
        assert metric.value() == pytest.approx(exact, rel=1e-12, abs=1e-15)
        metric.scale(0.5)
        assert metric.value() == pytest.approx(exact, rel=1e-12, abs=1e-15)


def test_calibration_error_is_its_closed_form():
    y, p, w = rows(classes=4)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    edges = np.linspace(0, 1, 11)
    error = 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = np.average(right[inside], weights=w[inside]) - np.average(confidence[inside], weights=w[inside])
            error += w[inside].sum() / w.sum() * abs(gap)
    assert measured(rm.CalibrationError(bins=10), y, p, w) == pytest.approx(error, rel=1e-10)


def test_a_calibrated_model_has_little_calibration_error_and_a_sure_one_much():
    rng = np.random.default_rng(1)
    p = rng.random(20_000)
    y = (rng.random(20_000) < p).astype(int)
    said = np.column_stack([1 - p, p])
    assert measured(rm.CalibrationError(), y, said) < 0.02
    assert measured(rm.CalibrationError(), y, (said > 0.5).astype(float)) == pytest.approx(0.25, abs=0.02)


SCORES = {  # of labels z: what the positive class is given
    "spread": (lambda z, rng: rng.beta(2 + z, 2, len(z)), 1e-3, 1e-5),
    "sharp": (lambda z, rng: 1 / (1 + np.exp(-(6 * rng.normal(size=len(z)) + 8 * z - 4))), 1e-3, 1e-5),
    "rare": (lambda z, rng: 0.01 * np.exp(0.5 * rng.normal(size=len(z)) + 0.5 * z), 5e-3, 1e-4),
    "narrow": (lambda z, rng: 0.5 + 0.005 * rng.normal(size=len(z)) + 0.003 * z, 2e-2, 1e-3),
    "few": (lambda z, rng: rng.integers(1, 5, len(z)) / 8 + z / 8, 1.0, 1e-12),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("weighted", [False, True])
def test_auc_agrees_with_scikit_learn_within_its_bound(name, weighted):
    make, most, near = SCORES[name]
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 30_000)
    p = np.clip(make(y, rng), 0, 1)
    weight = rng.uniform(0, 2, len(y)) if weighted else None
    metric = rm.ROCAUC()
    value = measured(metric, y, np.column_stack([1 - p, p]), weight)
    exact = sk.roc_auc_score(y, p, sample_weight=weight)
    assert abs(value - exact) <= metric.bound() + 1e-12
    assert metric.bound() <= most
    assert value == pytest.approx(exact, abs=near)


def test_the_exact_area_is_scikit_learns():
    rng = np.random.default_rng(0)
    y = rng.random(500) < 0.2
    for score in (rng.normal(size=500) + y, np.round(rng.normal(size=500) + y), 100 * rng.normal(size=500)):
        assert rm.roc_area(y, score) == pytest.approx(sk.roc_auc_score(y, score), abs=1e-12)
    assert rm.roc_area(np.array([True, False]), np.array([np.inf, np.inf])) == 0.5
    assert np.isnan(rm.roc_area(np.ones(3), np.arange(3.0)))
    for score in (np.array([1.0, np.nan]), np.zeros(3)):
        with pytest.raises(PoisonError, match="one number for each row"):
            rm.roc_area(np.array([True, False]), score)


def test_auc_of_many_classes_is_the_mean_of_one_against_the_rest():
    y, p, w = rows(classes=6)
    exact = np.mean([sk.roc_auc_score(y == c, p[:, c], sample_weight=w) for c in range(6)])
    assert measured(rm.ROCAUC(), y, p, w) == pytest.approx(exact, abs=1e-4)
    assert measured(rm.ROCAUC(), y, p) == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"), abs=1e-4)


def test_auc_follows_no_more_classes_than_it_may():
    y, p, _ = rows(classes=6)
    metric = rm.ROCAUC(classes=3)
    exact = np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in range(3)])
    assert measured(metric, y, p) == pytest.approx(exact, abs=1e-4)
    assert len(metric.state_dict()["sums"]) == 3


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_numbers_agree_with_scikit_learn(q, weighted):
    rng = np.random.default_rng(2)
    y = 1e6 + rng.normal(size=3000)  # far from zero: naive sums of squares would cancel
    p = y + 0.3 * rng.normal(size=3000) + 0.1
    weight = rng.uniform(0.1, 3, 3000) if weighted else None
    expected = {
        rm.MAE(): sk.mean_absolute_error(y, p, sample_weight=weight),
        rm.RMSE(): sk.root_mean_squared_error(y, p, sample_weight=weight),
        rm.R2(): sk.r2_score(y, p, sample_weight=weight),
        rm.QuantileLoss(q): sk.mean_pinball_loss(y, p, sample_weight=weight, alpha=q),
    }
    for metric, value in expected.items():
        assert measured(metric, y, p, weight) == pytest.approx(value, rel=1e-9), metric


def test_several_outputs_agree_with_scikit_learn():
    rng = np.random.default_rng(2)
    y = rng.normal(size=(500, 3)) * [1, 5, 20]
    p = y + rng.normal(size=(500, 3))
    assert measured(rm.MAE(), y, p) == pytest.approx(sk.mean_absolute_error(y, p), rel=1e-12)
    assert measured(rm.RMSE(), y, p) == pytest.approx(np.sqrt(((y - p) ** 2).mean()), rel=1e-12)
    assert measured(rm.R2(), y, p) == pytest.approx(sk.r2_score(y, p), rel=1e-12)
    metric = rm.R2()
    metric.update(y, p)
    with pytest.raises(PoisonError, match="expected 3 as before"):
        metric.update(y[:, :2], p[:, :2])


def test_coverage_counts_labels_within_the_bounds():
    rng = np.random.default_rng(2)
    y, w = rng.normal(size=1000), rng.random(1000)
    bounds = np.column_stack([np.full(1000, -1.0), np.full(1000, 0.5)])
    assert measured(rm.Coverage(), y, bounds, w) == pytest.approx(np.average((y >= -1) & (y <= 0.5), weights=w))
    with pytest.raises(PoisonError, match="lower and the upper bound"):
        rm.Coverage().update(y, y)


def test_running_values_agree_with_river_at_every_row():
    y, p, _ = rows(300, classes=2)
    said = p.argmax(axis=1)
    pairs = [
        (rm.Accuracy(), river.metrics.Accuracy()),
        (rm.Kappa(), river.metrics.CohenKappa()),
        (rm.BalancedAccuracy(), river.metrics.BalancedAccuracy()),
        (rm.F1(), river.metrics.F1()),
        (rm.LogLoss(), river.metrics.LogLoss()),
    ]
    for ours, theirs in pairs:
        for i in range(300):
            ours.update(y[i : i + 1], p[i : i + 1])
            theirs.update(bool(y[i]), {False: p[i, 0], True: p[i, 1]} if ours.name == "log_loss" else bool(said[i]))
            if i > 30:
                assert ours.value() == pytest.approx(theirs.get(), rel=1e-9), (ours, i)


def test_kappa_temporal_measures_against_the_previous_label():
    rng = np.random.default_rng(3)
    y = np.cumsum(rng.random(500) < 0.2) % 2
    previous = np.r_[1 - y[0], y[:-1]]
    right = np.where(rng.random(500) < 0.9, y, 1 - y)
    unchanged = (previous == y).mean()
    assert measured(rm.KappaTemporal(), y, right) == pytest.approx(((right == y).mean() - unchanged) / (1 - unchanged))
    assert measured(rm.KappaTemporal(), y, previous) == 0


@pytest.mark.parametrize("columns", [0, 2])
def test_before_any_class_is_known_a_decision_is_wrong_and_probabilities_are_even(columns: int):
    """However many columns of zeros were added since, for rows answered later."""
    y, nothing = np.array([0, 1]), np.zeros((2, columns))
    assert measured(rm.Accuracy(), y, nothing) == 0
    assert measured(rm.LogLoss(), y, nothing) == pytest.approx(np.log(2))
    assert measured(rm.Brier(), y, nothing) == 0.25
    assert measured(rm.ROCAUC(), y, nothing) == 0.5
    many = np.array([0, 3, 1])  # of which the second shows that there are four
    assert measured(rm.LogLoss(), many, np.zeros((3, columns))) == pytest.approx((np.log(2) + 2 * np.log(4)) / 3)
    assert measured(rm.Brier(), many, np.zeros((3, columns))) == pytest.approx((0.25 + 2 * 0.375) / 3)


def test_a_label_beyond_the_columns_is_a_wrong_prediction():
    y, p = np.array([3]), np.array([[0.25, 0.75]])
    assert measured(rm.Accuracy(), y, p) == 0
    assert measured(rm.LogLoss(eps=1e-6), y, p) == pytest.approx(-np.log(1e-6))
    assert measured(rm.Brier(), y, p) == pytest.approx((0.25**2 + 0.75**2 + 1) / 2)


def test_of_equals_the_lowest_code_is_decided_for():
    assert measured(rm.Accuracy(), np.array([1]), np.array([[0.0, 0.5, 0.5]])) == 1
    assert measured(rm.Accuracy(), np.array([2]), np.array([[0.0, 0.5, 0.5]])) == 0


@pytest.mark.parametrize("make", CLASSIFICATION)
def test_columns_of_zeros_for_classes_yet_to_come_change_nothing(make):
    y, p, w = rows(200)
    wide = np.hstack([p, np.zeros((200, 2))])
    split = make()
    split.update(y[:50], wide[:50], w[:50])
    split.update(y[50:], p[50:], w[50:])
    assert split.value() == measured(make(), y, p, w)


@pytest.mark.parametrize("make", [*CLASSIFICATION, *REGRESSION])
def test_rows_without_a_label_do_not_count_and_nothing_measures_nothing(make):
    y, p, w = rows(200, classes=2)
    known = np.arange(200) % 3 > 0
    if make in REGRESSION:
        y, p = np.where(known, y + p[:, 0], np.nan), p[:, 1]
    else:
        y = np.where(known, y, -1)
    assert measured(make(), y, p, w) == measured(make(), y[known], p[known], w[known])
    assert np.isnan(measured(make(), y[:0], p[:0]))
    assert np.isnan(make().value())


@pytest.mark.parametrize("make", [*CLASSIFICATION, *REGRESSION])
def test_a_weight_of_two_is_the_row_twice(make):
    y, p, _ = rows(200, classes=2)
    if make in REGRESSION:
        y, p = y + p[:, 0], p[:, 1]
    twice = np.repeat(np.arange(200), 1 + np.arange(200) % 2)
    expected = measured(make(), y[twice], p[twice])
    if make is rm.KappaTemporal:  # a row twice is a label that has not changed: not the same
        return
    assert measured(make(), y, p, 1.0 + np.arange(200) % 2) == pytest.approx(expected, rel=1e-12)


def test_float32_strided_and_read_only_input_measure_the_same():
    y, p, w = rows(100)
    p = p.astype(np.float32)
    frozen = p.copy()
    frozen.flags.writeable = False
    values = [
        measured(rm.LogLoss(), *given)
        for given in (
            (y, p, w),
            (y.astype(np.int32), p.astype(np.float64), w),
            (np.repeat(y, 2)[::2], np.asfortranarray(p), np.repeat(w, 2)[::2]),
            (y, frozen, w),
        )
    ]
    assert len(set(values)) == 1


@pytest.mark.parametrize("make", CLASSIFICATION)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y, p, w: (y, p[:-1], w), "one prediction for each label"),
        (lambda y, p, w: (y, p[:, 1], w), "np.column_stack"),
        (lambda y, p, w: (y.astype(float), p, w), "class codes"),
        (lambda y, p, w: (np.where(np.arange(9) == 4, -7, y), p, w), "-7 in row 4"),
        (lambda y, p, w: (y, np.where(np.arange(9)[:, None] == 4, np.nan, p), w), "row 4; expected probabilities"),
        (lambda y, p, w: (y, p * 3 - 1, w), "between 0 and 1"),
        (lambda y, p, w: (y, p, w[:-1]), "one weight for each row"),
        (lambda y, p, w: (y, p, np.where(np.arange(9) == 4, -1, w)), "-1.0 in row 4"),
        (lambda y, p, w: (y, p, np.where(np.arange(9) == 4, np.nan, w)), "nan in row 4"),
        (lambda y, p, w: (y, p.astype(str), w), "expected probabilities"),
    ],
)
def test_bad_classes_are_refused_and_leave_the_metric_as_it_was(make, change, message):
    y, p, w = rows(9)
    metric = make()
    metric.update(y, p, w)
    before = states.encode(metric.state_dict())
    with pytest.raises(PoisonError, match=message):
        metric.update(*change(y, p, w))
    assert states.encode(metric.state_dict()) == before


@pytest.mark.parametrize("make", REGRESSION)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y, p, w: (y, p[:-1], w), "one prediction for each label"),
        (lambda y, p, w: (y, np.column_stack([p, p]), w), "same shape"),
        (lambda y, p, w: (y, np.where(np.arange(9) == 4, np.inf, p), w), "inf.* in row 4"),
        (lambda y, p, w: (np.where(np.arange(9) == 4, np.inf, y), p, w), "inf in row 4"),
        (lambda y, p, w: (y, p, -w), "in row 0"),
    ],
)
def test_bad_numbers_are_refused_and_leave_the_metric_as_it_was(make, change, message):
    rng = np.random.default_rng(0)
    y, p, w = rng.normal(size=(3, 9)) ** 2
    metric = make()
    metric.update(y, p, w)
    before = states.encode(metric.state_dict())
    with pytest.raises(PoisonError, match=message):
        metric.update(*change(y, p, w))
    assert states.encode(metric.state_dict()) == before


def test_r2_of_labels_that_do_not_vary_is_undefined():
    assert np.isnan(measured(rm.R2(), np.full(5, 0.1), np.zeros(5)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: rm.LogLoss(eps=0),
        lambda: rm.CalibrationError(bins=0),
        lambda: rm.QuantileLoss(1.0),
        lambda: rm.F1(positive=-1),
        lambda: rm.ROCAUC(classes=1),
        lambda: rm.Windowed(rm.MAE(), rows=0),
        lambda: rm.Fading(rm.MAE(), decay=0),
    ],
)
def test_settings_that_make_no_sense_are_refused(make):
    with pytest.raises(SettingError, match="expected"):
        make()


@pytest.mark.parametrize("make", [*CLASSIFICATION, *REGRESSION, rm.Coverage])
def test_the_state_of_something_else_is_refused(make):
    with pytest.raises(StateError, match="not a state of the metric"):
        make().load_state_dict({"weights": np.zeros(3)})


def test_updating_a_group_is_updating_each():
    y, p, w = rows(500)
    group, alone = [make() for make in CLASSIFICATION], [make() for make in CLASSIFICATION]
    rm.update(group, y, p, w)
    for metric in alone:
        metric.update(y, p, w)
    assert [metric.value() for metric in group] == [metric.value() for metric in alone]
