"""A net that is frozen after the first experience: the laws, and that nothing moves beneath the learner any more."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")

import retain as rt  # noqa: E402 - after the skip
from retain import blocks, testing  # noqa: E402
from retain.compose import consolidate  # noqa: E402

torch.set_num_threads(1)
BATCH = testing.examples("classification")
FIRST = blocks.take_batch(BATCH, slice(0, 20))


def make():
    module = rt.neural.MLP(4, 6, 2)
    # Plain steps of single rows: Adam makes a full step of a gradient of next to nothing.
    net = rt.Neural(module, optimizer=torch.optim.SGD(module.parameters(), lr=0.05), batch_size=1)
    return rt.neural.FirstSession(net, rt.SLDA(batch_size=1))


def frozen():
    learner = make()
    learner.learn(FIRST)
    learner.consolidate([FIRST])
    return learner


@pytest.mark.parametrize("begun", [make, frozen])
def test_laws(begun):
    testing.check_learner(begun, BATCH, tolerance=1e-5, tries=3)


def feed(part, start, stop):
    rows = blocks.take_batch(BATCH, slice(start, stop))
    part.learn(rows)
    part.consolidate([rows])


PARTS = {"first session": (make, feed)}


def test_goes_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=48)


def test_until_the_first_experience_ends_the_net_learns_and_answers():
    learner, net = make(), make().net
    np.testing.assert_array_equal(learner.learn(BATCH), net.learn(BATCH))
    np.testing.assert_array_equal(learner.predict(BATCH.x), net.predict(BATCH.x))


def test_what_comes_then_is_learnt_on_features_that_stay():
    learner = frozen()
    before = {name: tensor.clone() for name, tensor in learner.net.module.state_dict().items()}
    features = learner.net.features(BATCH.x)
    inner = torch.nn.Sequential(*list(learner.net.module)[:-1])
    np.testing.assert_allclose(features, inner(torch.from_numpy(BATCH.x).float()).detach(), atol=1e-6)
    rest = blocks.take_batch(BATCH, slice(20, None))
    learner.learn(rest)
    learner.consolidate([rest])
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.net.module.state_dict().items())
    alone = rt.SLDA(batch_size=1)  # all rows at once
    alone.learn(rt.Batch(features, y=BATCH.y, weight=BATCH.weight))
    np.testing.assert_allclose(learner.predict(BATCH.x), alone.predict(features), atol=1e-5)


def test_a_chain_of_it_forgets_less_than_its_net():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 200)
    x = (3 * rng.normal(size=(4, 6))[y] + rng.normal(size=(800, 6))).astype(np.float32)
    right = {}
    for name in ("net", "first session"):
        net = rt.Neural(rt.neural.MLP(6, 32, 2), batch_size=10)
        ridge = rt.Ridge(l2=1.0, batch_size=50)
        learner = rt.Scale() | (net if name == "net" else rt.neural.FirstSession(net, ridge))
        for codes in ((0, 1), (2, 3)):
            batch = rt.Batch(x[np.isin(y, codes)], y=y[np.isin(y, codes)])
            order = np.random.default_rng(1).permutation(len(batch))
            learner.learn(blocks.take_batch(batch, order))
            consolidate(learner, [batch])
        right[name] = (learner.predict(x).argmax(axis=1) == y).mean()
    assert right["first session"] > 0.9
    assert right["net"] < 0.8
