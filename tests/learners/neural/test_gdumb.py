"""GDumb: the laws, and that what answers is a network trained on the memory and on nothing else."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")

import retain as rt  # noqa: E402 - after the skip
from retain import blocks, state, testing  # noqa: E402
from retain.memory import ClassBalanced  # noqa: E402

torch.set_num_threads(1)
BATCH = testing.examples("classification")


def make(every=7, epochs=3):
    return lambda: rt.neural.GDumb(
        lambda: rt.Neural(rt.neural.MLP(4, 6, 2), batch_size=3), ClassBalanced(12), every=every, epochs=epochs
    )


def test_laws():
    # The network is gone through for one row here and for many there, which rounds otherwise; what it learns does not.
    testing.check_learner(make(), BATCH, tolerance=1e-6, tries=3)


def feed(part, start, stop):
    part.learn(blocks.take_batch(BATCH, slice(start, stop)))


PARTS = {"gdumb": (make(), feed)}


def test_goes_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=48)


def test_answers_are_those_of_a_network_trained_on_the_memory():
    learner = make(every=1000, epochs=4)()
    learner.learn(BATCH)
    assert not learner.predict(BATCH.x).any()  # trained on nothing
    learner.consolidate([BATCH])
    rows = learner.memory.rows()
    module = rt.neural.MLP(4, 6, 3)
    first = rt.neural.MLP(4, 6, 2)
    # The third class has its weights from the growth of a head of two, where they begin at zero.
    with torch.no_grad():
        for ours, theirs in zip(module.parameters(), first.parameters(), strict=True):
            ours.zero_()[: len(theirs)] = theirs
    adam = torch.optim.Adam(module.parameters(), lr=1e-3)
    rng = np.random.default_rng([0, int((BATCH.y >= 0).sum())])
    order = torch.from_numpy(np.concatenate([rng.permutation(len(rows)) for _ in range(4)]))
    learnt = 0
    for some in order.split(3):
        learnt = max(learnt, int(rows.y[some].max()) + 1)
        adam.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(rows.x[some])[:, :learnt], rows.y[some], reduction="none")
        (rows.weight[some] * loss).mean().backward()
        adam.step()
    expected = torch.softmax(module(torch.from_numpy(BATCH.x)), 1).detach().numpy()
    np.testing.assert_allclose(learner.predict(BATCH.x), expected, atol=1e-6)


def test_what_was_learnt_first_is_not_forgotten():
    x = np.linspace(-1, 1, 600, dtype=np.float32)[:, None]
    learner = rt.neural.GDumb(lambda: rt.Neural(rt.neural.MLP(1, 16, 2), batch_size=8), ClassBalanced(100), every=600)
    learner.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(int)))
    assert (learner.predict(x).argmax(1) == (x[:, 0] > 0)).mean() > 0.9


def test_training_twice_on_the_same_rows_is_one_training():
    learner = make()()
    learner.learn(BATCH)
    learner.consolidate([BATCH])
    before = state.encode(learner.state_dict())
    learner.consolidate([])
    assert state.encode(learner.state_dict()) == before


@pytest.mark.parametrize("setting", [{"every": 0}, {"epochs": 0}])
def test_settings_that_make_no_sense(setting):
    with pytest.raises(rt.errors.SettingError, match="at least 1"):
        make(**setting)()


def test_numbers_are_refused():
    learner = rt.neural.GDumb(
        lambda: rt.Neural(rt.neural.MLP(4, 1), criterion=rt.neural.Squared()), ClassBalanced(9), every=5
    )
    with pytest.raises(rt.errors.SettingError, match="Replay"):
        learner.learn(replace(BATCH, y=np.ones(len(BATCH))))
