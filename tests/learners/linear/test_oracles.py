"""`Linear` against plain Python, Vowpal Wabbit, scikit-learn and River, each on the same rows."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier, SGDRegressor

import retain as rt
from retain.learners.linear import Constant, InverseRoot, InverseScaling

spec = importlib.util.spec_from_file_location("reference", Path(__file__).parent / "reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)

VW_ADAPTIVE = rt.Adaptive(learning_rate=0.5, target_scale=1.0)


@pytest.fixture(scope="module")
def rows():
    """Features of very different scales, a third of them 0 so that sparse rows are sparse; the largest come first."""
    rng = np.random.default_rng(3)
    scale = np.array([1, 100, 0.01, 1, 5, 30])
    x = rng.uniform(-1, 1, size=(600, 6)) * (rng.random((600, 6)) < 0.7)
    x[0] = 1
    score = x @ rng.normal(size=6) * 3
    x = (x * scale).astype(np.float32)
    return x, score, (score + rng.logistic(size=600) > 0).astype(np.int64)


def scaled(x):
    return (x / np.abs(x).max(axis=0)).astype(np.float32)


def csr(x):
    row, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(x)))]).astype(np.int64)
    return rt.CSR(indptr, column.astype(np.int32), x[row, column], x.shape[1])


def log_odds(p):
    with np.errstate(divide="ignore", invalid="ignore"):  # before the first label there are no probabilities
        return np.log(p[:, 1]) - np.log(p[:, 0])


def margins(learner, x, y, weight=None):
    p = learner.learn(rt.Batch(x, y=y, weight=weight))
    return log_odds(p) if p.ndim == 2 else p


# --- plain Python -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, csr], ids=["dense", "sparse"])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.02, 0.5)])
def test_adaptive_is_its_docstring(rows, form, l1, l2):
    x, _, y = rows
    x = x[::-1].copy()[:150]  # the largest values come on the way
    rng = np.random.default_rng(0)
    weight = rng.uniform(0, 3, size=150) * (rng.random(150) < 0.9)
    y = y[:150].copy()
    y[rng.random(150) < 0.1] = -1
    y[:2] = [0, 1]
    learner = rt.Linear(loss=rt.Logistic(), update=rt.Adaptive(learning_rate=0.7), l1=l1, l2=l2)
    learner.learn(rt.Batch(form(x[:1]), y=np.array([1]), weight=np.zeros(1)))  # no row learnt, but the width known
    slow = reference.Adaptive(reference.logistic, 0.7, l1, l2)
    expected = [slow.learn(*row) for row in zip(x, [None if c < 0 else c for c in y], weight, strict=True)]
    got = log_odds(learner.learn(rt.Batch(form(x), y=y, weight=weight))[2:])
    np.testing.assert_allclose(got, expected[2:], rtol=1e-6, atol=1e-7)  # the reference integrates numerically
    np.testing.assert_allclose(learner.weights, [slow.w[i] for i in range(6)], rtol=1e-6, atol=1e-9)


def test_adaptive_on_numbers_is_its_docstring(rows):
    x, score, _ = rows
    learner = rt.Linear(update=VW_ADAPTIVE)
    slow = reference.Adaptive(reference.squared, 0.5)
    y = score[:200].copy()
    y[:2] = 0.0  # predicted 0 and learnt as 0: nothing moves
    y[2:4] = [300, -300]  # from here on no prediction is clipped by the range of the targets, and
    weight = np.ones(200)
    weight[2:4] = 1e-12  # these two do not move anything either
    expected = [slow.learn(*row) for row in zip(x[:200], y, weight, strict=True)]
    got = learner.learn(rt.Batch(x[:200], y=y, weight=weight))
    np.testing.assert_allclose(got[4:], expected[4:], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("form", [np.asarray, csr], ids=["dense", "sparse"])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (1.0, 0.5)])
def test_ftrl_is_algorithm_1_of_the_paper(rows, form, l1, l2):
    x, _, y = rows
    weight = np.random.default_rng(0).uniform(0.5, 2, size=600)
    y = y.copy()
    y[0] = 1
    learner = rt.Linear(loss=rt.Logistic(), update=rt.FTRL(alpha=0.2, beta=0.5), l1=l1, l2=l2)
    slow = reference.FTRL(reference.logistic, 0.2, 0.5, l1, l2)
    expected = [slow.learn(*row) for row in zip(x, y, weight, strict=True)]
    np.testing.assert_allclose(margins(learner, form(x), y, weight)[1:], expected[1:], rtol=1e-9, atol=1e-12)
    if l1:
        assert (learner.weights == 0).any()


# --- Vowpal Wabbit ----------------------------------------------------------------------------------------------------


def vw(folder, x, labels, options, weight=None):
    """Margins that `vw` gave before each update."""
    lines = []
    for i, (row, label) in enumerate(zip(x, labels, strict=True)):
        importance = "" if weight is None else f" {weight[i]:.9g}"
        lines.append(f"{label:.9g}{importance} | " + " ".join(f"f{j}:{v:.9g}" for j, v in enumerate(row) if v))
    (folder / "rows").write_text("\n".join(lines) + "\n")
    command = [
        sys.executable,
        "-m",
        "vowpalwabbit",
        "-d",
        "rows",
        "-r",
        "raw",
        "--quiet",
        "--no_stdin",
        *options.split(),
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return np.loadtxt(folder / "raw", usecols=0)


# Options, settings of ours, tolerance: that of float32 where VW evaluates the same formulas; its logistic step and its
# square roots are approximations, whose errors add up.
LEADER = rt.FTRL(alpha=0.2, beta=0.5)
VW = {
    "adaptive": ("", {"update": VW_ADAPTIVE}, 3e-3),
    "adaptive, rate 3": ("-l 3", {}, 1e-2),
    "ftrl": ("--ftrl --ftrl_alpha .2 --ftrl_beta .5", {"update": LEADER}, 1e-4),
    "ftrl with penalties": (
        "--ftrl --ftrl_alpha .2 --ftrl_beta .5 --l1 1 --l2 .5 --noconstant",
        {"update": LEADER, "l1": 1, "l2": 0.5, "bias": False},
        1e-4,
    ),
    "coin": ("--coin", {"update": rt.Coin()}, 1e-4),
    "sgd": ("--sgd -l .1 --power_t 0", {"update": rt.SGD(learning_rate=0.1)}, 1e-4),
    "sgd, invariant": ("--invariant -l 2 --power_t 0", {"update": rt.SGD(2.0, invariant=True)}, 3e-3),
    "sgd, falling": (  # VW counts one row before the first
        "--sgd -l .5 --power_t .5",
        {"update": rt.SGD(learning_rate=0.5, schedule=InverseScaling(power=0.5, t0=2.0))},
        1e-4,
    ),
}


@pytest.mark.parametrize("name", VW)
@pytest.mark.parametrize("weighted", [False, True])
def test_vw_predicts_the_same_log_odds(rows, tmp_path, name, weighted):
    options, settings, tolerance = VW[name]
    if weighted and name == "coin":
        pytest.skip("VW divides by a mean that weighs the row to be predicted; a prediction of ours knows no weight")
    if weighted and name == "sgd, falling":
        pytest.skip("VW's schedule counts the weight of the row to be learnt; ours that of the rows before")
    x, _, y = rows
    x = x if "adaptive" in name or "coin" in name else scaled(x)
    y = y.copy()
    y[0] = 1  # both classes known from the second row on
    weight = np.random.default_rng(5).integers(1, 4, size=len(y)).astype(float) if weighted else None
    expected = vw(tmp_path, x, 2.0 * y - 1, f"--loss_function logistic {options}", weight)
    got = margins(rt.Linear(loss=rt.Logistic(), **settings), x, y, weight)
    assert np.abs(expected).max() > 2
    np.testing.assert_allclose(got[1:], expected[1:], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("options", "loss"),
    [
        ("--loss_function quantile --quantile_tau .3", rt.Quantile(0.3)),
        ("", rt.Squared()),
        ("--loss_function poisson", rt.Poisson()),
    ],
    ids=["quantile", "squared", "poisson"],
)
def test_vw_predicts_the_same_numbers_once_targets_no_longer_clip(rows, tmp_path, options, loss):
    x, score, _ = rows
    y = np.random.default_rng(0).poisson(np.exp(score / 4)).astype(float) if isinstance(loss, rt.Poisson) else score
    expected = vw(tmp_path, x, y, options)
    got = rt.Linear(loss=loss, update=VW_ADAPTIVE).learn(rt.Batch(x, y=y))
    if isinstance(loss, rt.Poisson):
        got = np.log(got)
    # VW's range of targets includes the row's own; ours begins with the first learnt, so early rows are apart.
    assert np.abs(got - expected)[-100:].max() < 0.02 * np.ptp(expected)


def test_vw_steps_no_further_than_the_label_either(rows, tmp_path):
    x, score, _ = rows
    x = scaled(x)
    expected = vw(tmp_path, x, score, "--invariant -l .3 --power_t 0")
    got = rt.Linear(update=rt.SGD(0.6, invariant=True)).learn(rt.Batch(x, y=score))  # VW's loss is not halved
    inside = np.abs(expected) < np.maximum.accumulate(np.abs(score))  # VW holds answers within the targets so far
    assert inside[100:].mean() > 0.95
    np.testing.assert_allclose(got[100:][inside[100:]], expected[100:][inside[100:]], rtol=1e-3, atol=1e-2)


# --- scikit-learn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [(Constant(), {"learning_rate": "constant"}), (InverseRoot(), {"learning_rate": "invscaling", "power_t": 0.5})],
)
@pytest.mark.parametrize("form", [np.asarray, csr], ids=["dense", "sparse"])
def test_sgd_is_scikit_learns(rows, schedule, theirs, form):
    x, score, y = rows
    x = scaled(x)
    weight = np.random.default_rng(1).uniform(0.5, 2, size=len(y))
    peer = SGDRegressor(penalty=None, eta0=0.05, shuffle=False, **theirs)
    peer.partial_fit(x.astype(float), score, sample_weight=weight)
    learner = rt.Linear(update=rt.SGD(learning_rate=0.05, schedule=schedule))
    weight_or_ones = weight if isinstance(schedule, Constant) else None
    if weight_or_ones is None:  # its schedule counts rows, ours weight
        peer = SGDRegressor(penalty=None, eta0=0.05, shuffle=False, **theirs)
        peer.partial_fit(x.astype(float), score)
    learner.learn(rt.Batch(form(x), y=score, weight=weight_or_ones))
    np.testing.assert_allclose(learner.weights, peer.coef_, rtol=1e-9)
    np.testing.assert_allclose(learner.intercept, peer.intercept_, rtol=1e-9)


@pytest.mark.parametrize(
    ("loss", "theirs"),
    [
        (rt.Logistic(), {"loss": "log_loss"}),
        (rt.Hinge(), {"loss": "hinge"}),
    ],
)
def test_sgd_on_classes_is_scikit_learns(rows, loss, theirs):
    x, _, y = rows
    x = scaled(x)
    peer = SGDClassifier(penalty=None, eta0=0.05, learning_rate="constant", shuffle=False, **theirs)
    peer.partial_fit(x.astype(float), y, classes=[0, 1])
    learner = rt.Linear(loss=loss, update=rt.SGD(learning_rate=0.05))
    learner.learn(rt.Batch(x, y=y))
    np.testing.assert_allclose(learner.weights, peer.coef_[0], rtol=1e-9)


@pytest.mark.parametrize("squared", [False, True])
def test_passive_aggressive_is_crammers(rows, squared):
    x, score, y = rows
    x = scaled(x).astype(float)
    w = np.zeros(7)
    for row, label in zip(np.c_[np.ones(len(x)), x], 2 * y - 1, strict=True):  # equations (4) to (6) of the paper
        loss = max(0.0, 1 - label * (w @ row))
        tau = loss / (row @ row + 1 / (2 * 0.3)) if squared else min(0.3, loss / (row @ row))
        w += tau * label * row
    learner = rt.Linear(loss=rt.Hinge(), update=rt.PassiveAggressive(C=0.3, squared=squared))
    learner.learn(rt.Batch(x, y=y))
    np.testing.assert_allclose([*learner.intercept, *learner.weights], w, rtol=1e-9, atol=1e-12)
    w = np.zeros(7)
    for row, target in zip(np.c_[np.ones(len(x)), x], score, strict=True):  # the regression of section 5, no dead zone
        loss = abs(target - w @ row)
        c = 0.3 / 2 if not squared else 0.3 / 4  # Quantile(.5) is half the absolute error
        tau = loss / (row @ row + 1 / (2 * c)) if squared else min(c, loss / (row @ row))
        w += tau * np.sign(target - w @ row) * row
    learner = rt.Linear(loss=rt.Quantile(0.5), update=rt.PassiveAggressive(C=0.3, squared=squared))
    learner.learn(rt.Batch(x, y=score))
    np.testing.assert_allclose([*learner.intercept, *learner.weights], w, rtol=1e-9, atol=1e-12)


# --- River ------------------------------------------------------------------------------------------------------------


def test_river_predicts_the_same_with_plain_gradients(rows):
    from river import linear_model, optim

    x, _, y = rows
    x = scaled(x)
    peer = linear_model.LogisticRegression(optimizer=optim.SGD(0.1), l2=0.0, intercept_lr=0.1)
    said = []
    for row, label in zip(x.tolist(), y, strict=True):
        features = dict(enumerate(row))
        said.append(peer.predict_proba_one(features)[True])
        peer.learn_one(features, bool(label))
    got = rt.Linear(loss=rt.Logistic(), update=rt.SGD(learning_rate=0.1)).learn(rt.Batch(x, y=y))
    known = int(np.flatnonzero(y == 1)[0]) + 1  # until then there is one class, with probability 1
    np.testing.assert_allclose(got[known:, 1], said[known:], rtol=1e-9)
