"""Each action makes of a copy what it says, and leaves the champion alone."""

import numpy as np
import pytest

import retain as rt
from retain import state
from retain.core import Candidate, Learner, Workshop
from retain.errors import SettingError
from retain.update import Blend, Consolidate, Keep, Pace, Renew

N = 2_000
RNG = np.random.default_rng(4)
X = RNG.normal(size=(N, 3)).astype(np.float32)
Y = (X[:, 0] + 0.2 * RNG.normal(size=N) > 0).astype(np.int64)
SGD = rt.Linear(loss=rt.Logistic(), update=rt.SGD(0.05))


class Look:
    """Does what an action does and keeps what came of it, beside the champion as it was before and after."""

    def __init__(self, action):
        self.action = action

    @property
    def needs(self):
        return self.action.needs

    def __call__(self, workshop: Workshop, /) -> Candidate | None:
        champion = workshop.fork().learner
        made = self.action(workshop)
        after = workshop.fork().learner
        LOOKED.append((champion, made, after))
        return made


LOOKED: list[tuple[Learner, Candidate | None, Learner]] = []


def looked(action, learner=SGD):
    LOOKED.clear()
    rules = [rt.Rule(when=rt.Every(rows=1_000), do=Look(action), gate=rt.Better(), name="look", times=1)]
    pipeline = rt.Pipeline(stream=rt.streams.arrays(X, Y), learner=learner, rules=rules, step=250, limit=1_250)
    list(pipeline.run())
    champion, made, after = LOOKED[0]
    assert state.equal(champion.state_dict(), after.state_dict())
    return champion, made


def step(learner, rows=slice(1_250, 1_251)):
    before = learner.weights
    learner.learn(rt.Batch(X[rows], y=Y[rows]))
    return learner.weights - before


@pytest.mark.parametrize("factor", [0.25, 4.0])
@pytest.mark.parametrize("update", [rt.SGD(0.05), rt.Adaptive()])
def test_pace_multiplies_the_rate(factor, update):
    if isinstance(update, rt.Adaptive):
        slow, fast = (
            rt.Linear(loss=rt.Logistic(), update=rt.Adaptive(learning_rate=rate)) for rate in (3.0, 3 * factor)
        )
    else:
        slow, fast = (rt.Linear(loss=rt.Logistic(), update=rt.SGD(rate)) for rate in (0.05, 0.05 * factor))
    champion, made = looked(Pace(factor), slow)
    fast.load_state_dict(dict(champion.state_dict()) | {"pace": 1.0})
    saved = state.decode(state.encode(made.learner.state_dict()))  # the trial has gone on: compare one from the state
    again = rt.Linear(loss=rt.Logistic(), update=update)
    again.load_state_dict(dict(champion.state_dict()) | {"pace": saved["pace"]})
    np.testing.assert_allclose(step(again), step(fast), rtol=1e-12)


def test_a_hedge_paces_those_of_its_members_that_can_be():
    members = [rt.Linear(loss=rt.Logistic(), update=update) for update in (rt.SGD(0.1), rt.Coin())]
    _, made = looked(Pace(2.0), rt.Scale() | rt.Hedge(*members))
    paces = [member.state_dict()["pace"] for member in made.learner.learner.members]
    assert paces == [2.0, 1.0]


def test_renew_begins_anew_with_the_least_trusted():
    hedge = rt.Hedge(rt.Prior(), rt.Linear(loss=rt.Logistic()))
    champion, made = looked(Renew(), hedge)
    assert champion.trust.argmin() == 0
    fresh = rt.Prior()
    fresh.learn(rt.Batch(X[1_000:1_250], y=Y[1_000:1_250]))  # what it has learnt since, on trial
    assert state.equal(made.learner.members[0].state_dict(), fresh.state_dict())


def test_blend_takes_the_share_that_loses_least(tmp_path):
    """A version that learnt little is kept at row 500; the world turns at 750; half of the way back is tried."""
    y = Y.copy()
    y[750:] = 1 - y[750:]
    kept = rt.FileRegistry(tmp_path, who="test")
    LOOKED.clear()
    shares = (0.25, 0.5, 0.9)
    rules = [
        rt.Rule(when=rt.Every(rows=500), do=Keep(), name="keep", times=1),
        rt.Rule(when=rt.Every(rows=1_000), do=Look(Blend("champion", shares=shares, last=400)), name="look", times=1),
    ]
    pipeline = rt.Pipeline(
        stream=rt.streams.arrays(X, y), learner=SGD, rules=rules, step=250, registry=kept, limit=1_000
    )
    list(pipeline.run())
    champion, made, _ = LOOKED[0]
    old = rt.Linear(loss=rt.Logistic(), update=rt.SGD(0.05))
    first = min(kept.versions(), key=lambda version: version.report["rows"])
    old.load_state_dict(kept.pull(first.name)["learner"])

    def loss(share):
        blended = rt.Linear(loss=rt.Logistic(), update=rt.SGD(0.05))
        blended.load_state_dict(champion.state_dict())
        blended.blend(old, share)
        p = blended.predict(X[600:1_000])[np.arange(400), y[600:1_000]]
        return -np.log(p).mean(), blended.weights

    best = min((0.0, *shares), key=lambda share: loss(share)[0])
    if best == 0.0:
        assert made is None
    else:
        np.testing.assert_allclose(made.learner.weights, loss(best)[1], rtol=1e-12)


def test_blend_mixes_weights():
    a, b = (rt.Linear(loss=rt.Logistic(), update=rt.SGD(rate)) for rate in (0.05, 0.05))
    a.learn(rt.Batch(X[:500], y=Y[:500]))
    b.learn(rt.Batch(X[500:900], y=1 - Y[500:900]))
    expected, bias = 0.7 * a.weights + 0.3 * b.weights, 0.7 * a.intercept + 0.3 * b.intercept
    a.blend(b, 0.3)
    np.testing.assert_allclose(a.weights, expected, rtol=1e-12)
    np.testing.assert_allclose(a.intercept, bias, rtol=1e-12)
    with pytest.raises(SettingError, match="not Coin, FTRL or ALMA"):
        rt.Linear(update=rt.Coin()).blend(rt.Linear(update=rt.Coin()), 0.5)


@pytest.mark.parametrize("passes", [1, 3])
def test_retraining_on_a_sample_takes_as_many_rows_of_each_class(passes):
    rng = np.random.default_rng(0)
    y = np.where(rng.random(len(X)) < 0.05, 1, np.where(rng.random(len(X)) < 0.5, 0, 2))
    taught = []

    class Notes:
        def __init__(self):
            self.inner = rt.Prior()

        def learn(self, batch, /):
            taught.append(batch)
            return self.inner.learn(batch)

        def predict(self, x, /):
            return self.inner.predict(x)

        def state_dict(self):
            return self.inner.state_dict()

        def load_state_dict(self, kept, /):
            self.inner.load_state_dict(kept)

        def __deepcopy__(self, memo):
            return Notes()

    n = 1_000
    retrain = rt.Retrain(last=800, rows=240, passes=passes)
    rules = [rt.Rule(when=rt.Every(rows=n), do=retrain, name="sample", times=1)]
    stream = rt.streams.arrays(X, y, id=np.arange(len(X)), block=250)
    list(rt.Pipeline(stream=stream, learner=Notes(), rules=rules, limit=n, step=250).run())
    rows = np.concatenate([np.asarray(batch.id) for batch in taught[n // 250 :]])
    assert rows.tolist() == passes * sorted(set(rows.tolist()))
    assert rows.min() >= n - 800
    classes, counts = np.unique(y[rows[: len(rows) // passes]], return_counts=True)
    rare = int((y[n - 800 : n] == 1).sum())
    assert rare < 80
    assert (classes.tolist(), counts.sum(), counts[1]) == ([0, 1, 2], 240, rare)
    assert abs(counts[0] - counts[2]) <= 1


def test_consolidate_tells_of_the_latest_rows():
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")
    torch.set_num_threads(1)
    learner = rt.Neural(rt.neural.MLP(3, 8, 2, seed=0), batch_size=10, strategies=[rt.strategies.EWC()], seed=0)
    champion, made = looked(Consolidate(last=300), learner)
    assert not state.equal(champion.state_dict()["strategies"]["ewc"], made.learner.state_dict()["strategies"]["ewc"])


@pytest.mark.parametrize(
    ("action", "learner", "says"),
    [
        (Pace(2.0), rt.RLS(), "learning rate; got RLS"),
        (Pace(2.0), rt.Linear(loss=rt.Logistic(), update=rt.Coin()), "SGD or Adaptive"),
        (Renew(), SGD, "learner of learners"),
        (Blend(), SGD, "registry"),
        (rt.RollBack(), SGD, "registry"),
        (Keep(), SGD, "registry"),
    ],
)
def test_what_cannot_be_done_is_told(action, learner, says):
    stream_y = Y if not isinstance(learner, rt.RLS) else X[:, 0]
    rules = [rt.Rule(when=rt.Every(rows=500), do=action, gate=rt.Better(largest=None))]
    pipeline = rt.Pipeline(stream=rt.streams.arrays(X, stream_y), learner=learner, rules=rules, limit=1_000, step=500)
    failed = [deed.why for report in pipeline.run() for deed in report.deeds if deed.what == "failed"]
    assert len(failed) == 2
    assert says in failed[0]
