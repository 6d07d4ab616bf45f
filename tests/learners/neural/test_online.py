"""`OnlineMLP` against autograd row by row, and what hedging, rehearsals and missing inputs are for."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import retain as rt
from retain.errors import PoisonError, SettingError
from retain.learners.neural import Net


class Reference:
    """The same learner by torch's autograd in float64, from the formulas in the docstring; no rehearsals."""

    def __init__(self, learner, nets, *, classes, share=0.01):
        kept = learner.state_dict()
        self.heads = [torch.zeros((len(nets), *h.shape[1:]), dtype=torch.float64) for h in kept["heads"]["now"]]
        self.weights = [torch.from_numpy(w.astype(np.float64)) for w in kept["weights"]["now"]]
        self.second = [torch.full_like(p, 1e-4) for p in self.weights + self.heads]
        self.nets, self.classes, self.share = nets, classes, share
        self.trust = np.full(len(nets) * len(self.heads), 1 / (len(nets) * len(self.heads)))
        self.rows, self.targets, self.error = [], [], [0.0, 0.0]

    def forward(self, x):
        past = np.array(self.rows, dtype=np.float64)
        deviation = past.std(axis=0) if len(past) else np.zeros(len(x))
        there = deviation > 0
        z = np.where(there, (x - (past.mean(axis=0) if len(past) else 0)) / np.where(there, deviation, 1), 0)
        h = torch.from_numpy(np.r_[1.0, np.clip(z, -8, 8)]).expand(len(self.nets), -1)
        scores = []
        for depth, head in enumerate(self.heads):
            scores.append(torch.einsum("mku,mu->mk", head, h))
            if depth + 1 < len(self.heads):
                a = torch.nn.functional.leaky_relu(torch.einsum("mj,mju->mu", h, self.weights[depth]), 0.01)
                h = torch.cat([a, torch.ones(len(self.nets), 1, dtype=torch.float64)], dim=1)
        return torch.stack(scores, dim=1)  # (M, L + 1, k)

    def learn(self, x, y):
        parameters = [p.requires_grad_() for p in self.weights + self.heads]
        score = self.forward(x)
        flat = score.detach().numpy().reshape(len(self.trust), -1)
        if self.classes:
            vote = torch.softmax(score, dim=2).detach().numpy().reshape(len(self.trust), -1)
            said = self.trust @ vote
            losses = -np.log(np.maximum(vote[:, y], 1e-6))
            loss = torch.nn.functional.cross_entropy(
                score.reshape(-1, score.shape[2]), torch.full((len(self.trust),), y), reduction="sum"
            )
        else:
            past = np.array(self.targets)
            mean, unit = (past.mean(), past.std() or 1.0) if len(past) else (0.0, 1.0)
            low, high = (past.min(), past.max()) if len(past) else (0, 0)
            vote = np.clip(mean + unit * flat[:, 0], 2 * low - high, 2 * high - low)
            said = np.array([self.trust @ vote])
            self.error[0] += (y - said[0]) ** 2
            self.error[1] += 1
            losses = (y - vote) ** 2 / (2 * self.error[0] / self.error[1])
            self.targets.append(y)
            past = np.array(self.targets)
            mean, unit = past.mean(), past.std() or 1.0
            loss = torch.nn.functional.huber_loss(
                score, torch.full_like(score, (y - mean) / unit), delta=4.0, reduction="sum"
            )
        self.trust = self.trust * np.exp(-(losses - losses.min()))
        self.trust = (1 - self.share) * self.trust / self.trust.sum() + self.share / len(self.trust)
        slopes = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for p, g, v in zip(parameters, slopes, self.second, strict=True):
                for m, net in enumerate(self.nets):
                    if net.memory == 0:
                        p[m] -= net.rate * g[m]
                        continue
                    keep = 1 - 1 / net.memory if net.memory < math.inf else 1.0
                    aged = keep * v[m] + (1 - keep if keep < 1 else 1.0) * g[m] ** 2
                    v[m] = torch.where(g[m] == 0, v[m], aged)  # as if the input were not there
                    p[m] -= net.rate * g[m] / v[m].sqrt()
        self.weights, self.heads = parameters[: len(self.weights)], parameters[len(self.weights) :]
        self.rows.append(x)
        return said


def some(n, *, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, 5)) * [1, 10, 0.1, 1, 1] + [0, 3, 0, 0, 1]).astype(np.float32)
    return x, np.sin(2 * x[:, 0]) + x[:, 3] * x[:, 4] + 0.1 * rng.normal(size=n)


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize(
    "nets", [(Net(0.05, memory=0),), (Net(0.003, memory=50), Net(0.05, memory=math.inf), Net(0.02, memory=0))]
)
@pytest.mark.parametrize("hidden", [(7,), (6, 5, 4)])
def test_every_row_is_the_step_that_autograd_makes(hidden, nets, classes):
    x, y = some(50)
    y = np.digitize(y, [-0.5, 0.5]) if classes else y
    learner = rt.OnlineMLP(hidden=hidden, nets=nets, rehearsals=0)
    if classes:  # all of them are known from the start: rows of next to no weight move nothing
        learner.learn(rt.Batch(x[:1], y=np.array([2]), weight=np.array([1e-300])))
    else:
        learner.learn(rt.Batch(x[:0], y=y[:0]))
        learner._run(learner._intake.read(rt.Batch(x[:1], y=np.array([np.nan]))))  # draws the weights
    reference = Reference(learner, nets, classes=classes)
    said = learner.learn(rt.Batch(x, y=y))
    expected = np.array([reference.learn(row, label) for row, label in zip(x.astype(np.float64), y, strict=True)])
    # float32 beside float64: a slope near 0, divided by the root of its square, makes a part of a step of rounding.
    assert np.abs(said.reshape(expected.shape) - expected).max() < 2e-3
    kept = learner.state_dict()
    got = [*kept["weights"]["now"], *kept["heads"]["now"]]
    for one, want in zip(got, reference.weights + reference.heads, strict=True):
        apart = np.abs(one - want.detach().numpy())
        assert apart.max() < 5e-3
        assert apart.mean() < 3e-4
    assert np.abs(learner.trust.ravel() - reference.trust).max() < 1e-2


def test_it_learns_what_no_line_parts_and_trusts_the_hidden_layers_for_it():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(4000, 4)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    learner = rt.OnlineMLP()
    right = learner.learn(rt.Batch(x, y=y)).argmax(axis=1) == y
    assert right[2000:].mean() > 0.94
    assert learner.trust[:, 1:].sum() > 0.9
    line = rt.OnlineMLP()
    line.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(np.int64)))
    assert line.trust[:, 0].sum() > learner.trust[:, 0].sum()


def test_rehearsals_help_while_there_are_few_rows():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, size=(1200, 2)).astype(np.float32)
    y = (np.sin(5 * x[:, 0]) > x[:, 1]).astype(np.int64)
    share = [(rt.OnlineMLP(rehearsals=r).learn(rt.Batch(x, y=y)).argmax(axis=1) == y)[300:].mean() for r in (0.0, 20.0)]
    assert share[1] > share[0] + 0.02


def test_numbers_of_any_size_are_learnt_alike():
    x, y = some(2000)
    plain = rt.OnlineMLP().learn(rt.Batch(x, y=y))
    scaled = rt.OnlineMLP().learn(rt.Batch(x * np.float32(1024) + 1, y=4096 * y - 7))
    assert np.corrcoef(plain, scaled)[0, 1] > 0.99
    error = np.sqrt(((plain - y)[1000:] ** 2).mean())
    assert error < 0.6 * y.std()


def test_outliers_and_constant_columns_do_no_lasting_harm():
    x, y = some(3000)
    x[:, 2] = 7.0
    y[1000], x[1001, 0] = 1e6, 1e30
    said = rt.OnlineMLP().learn(rt.Batch(x, y=y))
    assert np.isfinite(said).all()
    assert np.abs(said[2000:] - y[2000:]).mean() < y.std()


def test_a_missing_input_counts_as_its_mean():
    x, y = some(1500)
    x[np.random.default_rng(3).random(x.shape) < 0.2] = np.nan
    learner = rt.OnlineMLP()
    said = learner.learn(rt.Batch(x, y=y))
    assert np.isfinite(said).all()
    nothing = np.full((1, 5), np.nan, dtype=np.float32)
    middle = np.nanmean(x, axis=0, keepdims=True).astype(np.float32)
    assert abs(learner.predict(nothing) - learner.predict(middle)) < 0.02


def test_a_heavy_row_is_learnt_more_than_once():
    x, y = some(300)
    moves = []
    for weight in (0.0, 0.5, 1.0, 5.0):
        learner = rt.OnlineMLP()
        learner.learn(rt.Batch(x, y=y))
        learner.learn(rt.Batch(x[:1], y=y[:1] + 3, weight=np.array([weight])))
        moves.append(float(learner.predict(x[:1])[0]))
    assert moves == sorted(moves)
    assert moves[3] - moves[0] > 1.5 * (moves[2] - moves[0]) > 0
    huge = learner.learn(rt.Batch(x[:2], y=y[:2], weight=np.array([1e9, 1.0])))  # takes no longer than sixteen rows
    assert np.isfinite(huge).all()
    assert np.isfinite(learner.predict(x)).all()


def test_new_columns_and_classes_begin_at_nothing():
    x, y = some(400)
    learner = rt.OnlineMLP(hidden=(8,))
    schema = rt.Schema()
    learner.learn(rt.Batch(x[:, :3], y=np.digitize(y, [0]), schema=schema))
    before = learner.predict(x[:50, :3])
    learner.learn(rt.Batch(x[:1], y=np.array([-1]), schema=schema))
    assert np.array_equal(learner.predict(x[:50]), before)
    assert learner.learn(rt.Batch(x, y=np.digitize(y, [-1, 0, 1]), schema=schema)).shape == (400, 4)


@pytest.mark.parametrize("classes", [True, False])
def test_a_net_that_ends_in_nan_is_left_out(classes):
    x, y = some(3000)
    labels = (x[:, 0] > 0).astype(np.int64) if classes else y
    plain = rt.OnlineMLP(hidden=(8,), nets=(Net(0.003),))
    both = rt.OnlineMLP(hidden=(8,), nets=(Net(0.003), Net(1.0, memory=0)))
    alone, said = (made.learn(rt.Batch(x, y=labels)) for made in (plain, both))
    lost = [not np.isfinite(head[1]).all() for head in both.state_dict()["heads"]["now"]]
    assert any(lost)
    assert np.isfinite(said).all()
    assert np.isfinite(both.trust).all()
    assert both.trust[1][lost].max() < 0.01
    miss = [
        (one.argmax(axis=1) != labels)[1000:].mean() if classes else np.abs(one - labels)[1000:].mean()
        for one in (alone, said)
    ]
    assert miss[1] < 1.2 * miss[0] + 0.01


@pytest.mark.parametrize("classes", [True, False])
def test_where_no_net_says_a_number_it_is_what_is_known_of_all(classes):
    x, y = some(3000)
    labels = (x[:, 0] > 0).astype(np.int64) if classes else y
    learner = rt.OnlineMLP(hidden=(8,), nets=(Net(1e6, memory=0),))
    assert np.isfinite(learner.learn(rt.Batch(x, y=labels))).all()


def test_a_slower_pace_learns_less():
    x, y = some(50)
    slow, fast = rt.OnlineMLP(rehearsals=0), rt.OnlineMLP(rehearsals=0)
    slow.pace(0.01)
    for one in (slow, fast):
        one.learn(rt.Batch(x, y=y))
    norms = [sum(float(np.abs(h).sum()) for h in one.state_dict()["heads"]["now"]) for one in (slow, fast)]
    assert norms[0] < 0.05 * norms[1]
    other = rt.OnlineMLP(rehearsals=0)
    other.load_state_dict(slow.state_dict())
    assert other.state_dict()["pace"] == 0.01


@pytest.mark.parametrize(
    "make",
    [
        lambda: rt.OnlineMLP(hidden=()),
        lambda: rt.OnlineMLP(hidden=(0,)),
        lambda: rt.OnlineMLP(nets=()),
        lambda: rt.OnlineMLP(share=1.0),
        lambda: rt.OnlineMLP(window=0),
        lambda: rt.OnlineMLP(rehearsals=-1),
        lambda: Net(0.0),
        lambda: Net(0.1, memory=0.5),
        lambda: rt.OnlineMLP().pace(0.0),
    ],
)
def test_odd_settings_are_refused(make):
    with pytest.raises(SettingError, match=r"expected"):
        make()


def test_infinite_input_is_refused_and_changes_nothing():
    x, y = some(20)
    learner = rt.OnlineMLP()
    learner.learn(rt.Batch(x, y=y))
    before = learner.predict(x)
    bad = x.copy()
    bad[3, 1] = np.inf
    with pytest.raises(PoisonError, match="row 3"):
        learner.learn(replace(rt.Batch(x, y=y), x=bad))
    assert np.array_equal(learner.predict(x), before)


def test_it_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, retain as rt\n"
        "rt.OnlineMLP(hidden=(4,)).learn(rt.Batch(np.zeros((3, 2)), y=np.array([0, 1, 0])))\n"
        "try: rt.Neural\n"
        "except rt.errors.MissingExtraError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == "Neural needs torch: pip install 'retain[torch]'\n"
