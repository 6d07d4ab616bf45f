"""`Neural` against plain torch loops, and what it does with what it cannot learn."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")

from torch import nn  # noqa: E402 - after the skip
from torch.nn import functional  # noqa: E402

import retain as rt  # noqa: E402
from retain.compose import consolidate  # noqa: E402
from retain.errors import PoisonError, SettingError  # noqa: E402
from retain.learners.ensemble.abreast import abreast  # noqa: E402
from retain.learners.neural.passes import Autograd, Layers  # noqa: E402
from retain.state import decode, encode  # noqa: E402

torch.set_num_threads(1)  # small products are slower in a team, far slower on a busy machine


def rows(n: int, *, classes: int = 3, features: int = 6, seed: int = 0) -> rt.Batch:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)).astype(np.float32)
    return rt.Batch(x, y=(x[:, :classes]).argmax(axis=1))


def weights(learner: rt.Neural) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in learner.module.parameters()])


# ----------------------------------------------------------------------------------------- against plain torch


@pytest.mark.parametrize("through", ["by hand", "by autograd"])
def test_steps_are_those_of_a_plain_torch_loop(through: str) -> None:
    batch = rows(200)
    module, theirs = rt.neural.MLP(6, 16, 8, 3, seed=1), rt.neural.MLP(6, 16, 8, 3, seed=1)
    if through == "by autograd":
        module.append(nn.Identity())
    learner = rt.Neural(module, optimizer=torch.optim.Adam(module.parameters(), lr=1e-2), batch_size=20)
    kind = Layers if through == "by hand" else Autograd
    assert isinstance(learner._net.through, kind)
    said = learner.learn(batch)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-2)
    expected, known = [], 0
    for start in range(0, 200, 20):
        x, y = torch.from_numpy(batch.x[start : start + 20]), torch.from_numpy(batch.y[start : start + 20])
        output = theirs(x)
        expected.append(functional.pad(torch.softmax(output[:, :known], 1), (0, 3 - known)).detach())
        known = max(known, int(y.max()) + 1)
        optimizer.zero_grad()
        functional.cross_entropy(output[:, :known], y).backward()
        optimizer.step()
    np.testing.assert_allclose(said, torch.cat(expected).numpy(), atol=1e-5)
    for p, q in zip(module.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_replayed_rows_are_learnt_in_the_same_step_as_new_ones() -> None:
    batch = rows(40)
    module, theirs = rt.neural.MLP(6, 16, 3, seed=1), rt.neural.MLP(6, 16, 3, seed=1)
    replay = rt.strategies.Replay(rt.memory.Ring(20), size=20, strength=0.5)
    learner = rt.Neural(
        module, optimizer=torch.optim.SGD(module.parameters(), lr=0.1), strategies=[replay], batch_size=20
    )
    learner.learn(batch)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    x, y = torch.from_numpy(batch.x), torch.from_numpy(batch.y)
    for new, old in ((slice(0, 20), None), (slice(20, 40), slice(0, 20))):
        optimizer.zero_grad()
        loss = functional.cross_entropy(theirs(x[new]), y[new])
        if old is not None:  # the ring holds twenty rows and all of them are drawn
            loss = loss + 0.5 * functional.cross_entropy(theirs(x[old]), y[old])
        loss.backward()
        optimizer.step()
    for p, q in zip(module.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_weights_of_rows_multiply_their_losses() -> None:
    batch = rows(64)
    heavy = replace(batch, weight=np.where(np.arange(64) % 2, 2.0, 0.0))
    odd = rt.Batch(batch.x[1::2], y=batch.y[1::2])
    learners = []
    for each, size in ((heavy, 64), (odd, 32)):
        module = rt.neural.MLP(6, 3, seed=1)
        learners.append(rt.Neural(module, optimizer=torch.optim.SGD(module.parameters(), lr=0.1), batch_size=size))
        learners[-1].learn(each)
    torch.testing.assert_close(weights(learners[0]), weights(learners[1]))


def test_several_numbers_a_row() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3)).astype(np.float32)
    y = x @ rng.normal(size=(3, 2))
    module = rt.neural.MLP(3, 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    learner = rt.Neural(module, criterion=rt.neural.Squared(), optimizer=optimizer, batch_size=10)
    assert learner.learn(rt.Batch(x, y=y)).shape == (2000, 2)
    for _ in range(4):
        learner.learn(rt.Batch(x, y=y))
    np.testing.assert_allclose(learner.predict(x), y, atol=1e-3)


def test_a_module_in_bfloat16_learns_and_is_saved() -> None:
    batch = rows(400, features=4)
    make = lambda: rt.Neural(rt.neural.MLP(4, 32, 3).to(torch.bfloat16), batch_size=10)  # noqa: E731 - a recipe
    learner = make()
    for _ in range(5):
        said = learner.learn(batch)
    assert (said.argmax(axis=1) == batch.y).mean() > 0.8
    other = make()
    other.load_state_dict(decode(encode(learner.state_dict())))
    np.testing.assert_array_equal(other.learn(batch), learner.learn(batch))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (lambda: rt.neural.ConvNet(1, 2, width=8), (1, 8, 8)),
        (lambda: rt.neural.ResNet18(2, channels=1, width=8), (1, 8, 8)),
        (lambda: rt.neural.GRU(3, 2, hidden=16), (5, 3)),
        (lambda: nn.Sequential(nn.Embedding(10, 32), nn.Flatten(), nn.Linear(96, 2)), (3,)),
    ],
    ids=["images", "residual", "sequences", "tokens"],
)
def test_images_sequences_and_tokens(module, shape) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 10, size=(60, *shape)) if len(shape) == 1 else rng.normal(size=(60, *shape)).astype(np.float32)
    y = (x.reshape(60, -1).mean(axis=1) > x.mean()).astype(int)
    torch.manual_seed(0)
    learner = rt.Neural(module(), batch_size=20)
    for _ in range(40):
        learner.learn(rt.Batch(x, y=y))
    assert (learner.predict(x).argmax(axis=1) == y).mean() > 0.9


# -------------------------------------------------------------------------------------------------------- new classes


def test_a_class_beyond_the_head_makes_it_grow_and_leaves_the_rest_alone() -> None:
    module = rt.neural.MLP(6, 8, 2)
    learner = rt.Neural(module, optimizer=torch.optim.Adam(module.parameters(), lr=1e-2), batch_size=10)
    learner.learn(rows(50, classes=2))
    before = learner.predict(rows(5).x)
    slots = learner.state_dict()["optimizer"]["slots"]
    learner.learn(rt.Batch(rows(1).x, y=np.array([4])))  # waits: nothing is learnt yet
    np.testing.assert_array_equal(learner.predict(rows(5).x), np.pad(before, ((0, 0), (0, 3))))
    consolidate(learner, [])
    assert module[-1].out_features == 5
    assert learner.predict(rows(5).x).shape == (5, 5)
    grown = learner.state_dict()["optimizer"]["slots"]
    assert grown["2"]["exp_avg"].shape == (5, 8)
    assert slots["2"]["exp_avg"].shape == (2, 8)
    other = rt.Neural(rt.neural.MLP(6, 8, 2), batch_size=10)  # the state brings its own width
    other.load_state_dict(decode(encode(learner.state_dict())))
    np.testing.assert_array_equal(other.predict(rows(5).x), learner.predict(rows(5).x))


def test_an_older_state_makes_the_head_small_again() -> None:
    learner = rt.Neural(rt.neural.MLP(6, 8, 2), batch_size=10)
    learner.learn(rows(50, classes=2))
    before, said = encode(learner.state_dict()), learner.predict(rows(5).x)
    learner.learn(rows(50, classes=5))
    learner.load_state_dict(decode(before))
    assert encode(learner.state_dict()) == before
    np.testing.assert_array_equal(learner.predict(rows(5).x), said)


def test_outputs_that_stand_for_no_class_yet_are_left_alone() -> None:
    module = rt.neural.MLP(6, 8, 10)
    last = module[-1].weight.detach().clone()
    rt.Neural(module, batch_size=10).learn(rows(100, classes=2))
    assert torch.equal(module[-1].weight[2:], last[2:])
    assert not torch.equal(module[-1].weight[:2], last[:2])


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (np.zeros(2, dtype=int), r"shape \(2,\) and type int64 for 3 rows.*np.full\(3"),
        (np.zeros((3, 1)), r"shape \(3, 1\)"),
        (np.array(["a", "b", "c"]), "one number for each row"),
        (np.array([0, np.nan, 1]), "task nan in row 1.*give -1"),
        (np.array([0, 1, 0.5]), "task 0.5 in row 2"),
        (np.array([np.inf, 1, 0]), "task inf in row 0"),
    ],
)
def test_tasks_that_are_not_one_for_each_row_are_refused(task, said) -> None:
    learner = rt.Neural(rt.neural.MLP(6, 16, 4), batch_size=10, task_masks=True)
    learner.learn(rt.Batch(np.ones((20, 6), np.float32), y=np.arange(20) % 2, task=np.zeros(20, dtype=int)))
    x = np.ones((3, 6), np.float32)
    with pytest.raises(PoisonError, match=said):
        learner.predict(x, task=task)
    np.testing.assert_array_equal(learner.predict(x, task=np.zeros(3)), learner.predict(x, task=np.zeros(3, dtype=int)))
    np.testing.assert_array_equal(learner.predict(x, task=np.full(3, -1)), learner.predict(x))


def test_task_masks_let_only_the_classes_of_a_task_compete() -> None:
    batch = rows(400, classes=4)
    task = batch.y // 2
    learner = rt.Neural(rt.neural.MLP(6, 16, 4), batch_size=10, task_masks=True)
    for _ in range(15):
        learner.learn(replace(batch, task=task))
    said = learner.predict(batch.x, task=task)
    np.testing.assert_array_equal(said.argmax(axis=1) // 2, task)
    assert (said.argmax(axis=1) == batch.y).mean() > 0.9
    assert not said[task == 0, 2:].any()
    assert learner.predict(batch.x).all()  # without a task every class competes
    learner.learn(rows(10, classes=6))  # classes that come without a task are of none
    np.testing.assert_array_equal(learner.predict(batch.x, task=task)[:, 4:], 0)


# ---------------------------------------------------------------------------------------------------- what goes wrong


class Exploding(nn.Module):
    """Says NaN of rows that begin with a large number."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(self.norm(torch.where(x[:, :1] > 1e6, torch.nan, x)))


def test_a_step_that_is_not_finite_is_skipped_and_its_rows_are_kept() -> None:
    memory = rt.memory.Reservoir(100)
    learner = rt.Neural(Exploding(), strategies=[rt.strategies.Replay(memory, size=10)], batch_size=10)
    learner.learn(rows(50))
    before = {name: value.clone() for name, value in learner.module.state_dict().items()}
    bad = rows(10, seed=1)
    bad.x[3, 0] = 1e7
    learner.learn(bad)
    assert (learner.steps, learner.skipped, len(memory)) == (5, 1, 50)
    for name, value in learner.module.state_dict().items():
        assert torch.equal(value, before[name]), name
    np.testing.assert_array_equal(learner.suspects.x.numpy(), bad.x)
    learner.learn(rows(50, seed=2))
    assert learner.steps == 10


def test_after_many_bad_steps_in_a_row_the_last_good_weights_return() -> None:
    learner = rt.Neural(Exploding(), batch_size=10)
    good = weights(learner)
    learner.learn(rows(50))
    assert not torch.equal(weights(learner), good)
    bad = rows(90, seed=1)
    bad.x[:, 0] = 1e7
    learner.learn(bad)
    assert learner.skipped == 9
    assert torch.equal(weights(learner), good)  # the last that were put aside are the first: 256 steps had not passed
    assert len(learner.suspects) == 90


def test_weights_never_become_infinite_with_a_mad_learning_rate() -> None:
    module = rt.neural.MLP(6, 16, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e6)
    learner = rt.Neural(module, criterion=rt.neural.Squared(), optimizer=optimizer, batch_size=5)
    batch = rows(500)
    learner.learn(rt.Batch(batch.x, y=1e3 * batch.x[:, 0]))
    assert learner.skipped > 0
    assert torch.isfinite(weights(learner)).all()


def other_module() -> rt.Neural:
    mine, theirs = rt.neural.MLP(6, 3), rt.neural.MLP(6, 3)
    return rt.Neural(mine, optimizer=torch.optim.Adam(theirs.parameters()))


def half_a_module() -> rt.Neural:
    module = rt.neural.MLP(6, 4, 3)
    return rt.Neural(module, optimizer=torch.optim.Adam(module[-1].parameters()))


def mixed_types() -> rt.Neural:
    module = rt.neural.MLP(6, 4, 3)
    module[-1].double()
    return rt.Neural(module)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (other_module, "other parameters.*module.parameters"),
        (half_a_module, "leaves out 2 of the 4.*requires_grad_"),
        (mixed_types, r"float32.*float64.*module\.to"),
        (lambda: rt.Neural(nn.ReLU()), "no parameter"),
        (lambda: rt.Neural(rt.neural.MLP(6, 3), batch_size=0), "batch_size=0.*at least 1"),
        (lambda: rt.neural.MLP(6), "at least inputs and outputs"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_cure(make, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        make()


def test_two_strategies_of_one_name_are_refused() -> None:
    replays = [rt.strategies.Replay(rt.memory.Reservoir(10), size=5) for _ in range(2)]
    with pytest.raises(SettingError, match=r"called alike.*name="):
        rt.Neural(rt.neural.MLP(6, 3), strategies=replays)


@pytest.mark.parametrize(
    ("batch", "error", "says"),
    [
        (
            rt.Batch(np.zeros((2, 5), np.float32), y=np.array([0, 1])),
            SettingError,
            r"rows of shape \(5,\).*first layer",
        ),
        (rt.Batch(np.zeros(2, np.float32), y=np.array([0, 1])), PoisonError, r"shape \(2,\).*reshape"),
        (rt.Batch(np.zeros((2, 6), np.float32), y=np.array([0, 9])), PoisonError, "class code 9 in row 1.*below 3"),
        (rt.Batch(np.zeros((2, 6), np.float32), y=np.array([0.5, 1])), PoisonError, "whole class codes"),
        (rt.Batch(np.array([["a"] * 6] * 2), y=np.array([0, 1])), PoisonError, "encode"),
        (rt.Batch(np.full((2, 6), np.inf, np.float32), y=np.array([0, 1])), PoisonError, "inf in row 0, column 0"),
    ],
)
def test_what_cannot_be_learnt_is_refused_with_a_cure(batch: rt.Batch, error: type[Exception], says: str) -> None:
    learner = rt.Neural(rt.neural.MLP(6, 3), classes=3)
    before = encode(learner.state_dict())
    with pytest.raises(error, match=says):
        learner.learn(batch)
    assert encode(learner.state_dict()) == before


def test_a_module_that_cannot_grow_says_so() -> None:
    learner = rt.Neural(nn.Sequential(nn.Linear(6, 4), nn.MaxPool1d(2)))
    with pytest.raises(PoisonError, match=r"class code 2.*below 2.*grows if it ends with"):
        learner.learn(rt.Batch(np.zeros((1, 6), np.float32), y=np.array([2])))


def test_targets_that_do_not_fit_the_outputs_are_refused() -> None:
    learner = rt.Neural(rt.neural.MLP(6, 2), criterion=rt.neural.Squared())
    with pytest.raises(PoisonError, match="for a module of 2 outputs"):
        learner.learn(rt.Batch(np.zeros((3, 6), np.float32), y=np.zeros(3)))


@pytest.mark.parametrize("learnt", [False, True])
def test_a_deep_copy_is_a_learner_of_its_own(learnt: bool) -> None:
    """It learns, predicts and is saved as its original would be, and leaves the original alone."""

    def made() -> rt.Neural:
        strategies = [rt.strategies.SI(), rt.strategies.Replay(rt.memory.Reservoir(40, seed=1), size=8)]
        return rt.Neural(
            rt.neural.MLP(4, 8, 2, seed=0), batch_size=8, strategies=strategies, averaging=rt.strategies.EMA(), seed=0
        )

    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    batch = rt.Batch(x, y=rng.integers(0, 3, 200))  # a class more than there are outputs
    original = made()
    if learnt:
        original.learn(batch)
    before = encode(original.state_dict())
    copy, expected = deepcopy(original), made()
    expected.load_state_dict(decode(before))
    np.testing.assert_array_equal(copy.learn(batch), expected.learn(batch))
    np.testing.assert_array_equal(copy.predict(x), expected.predict(x))
    assert encode(copy.state_dict()) == encode(expected.state_dict())
    assert encode(original.state_dict()) == before
    resumed = made()
    resumed.load_state_dict(decode(encode(copy.state_dict())))
    np.testing.assert_array_equal(resumed.predict(x), copy.predict(x))


def test_blending_moves_weights_towards_another_learner_and_pacing_its_steps() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype(np.float32)
    batch = rt.Batch(x, y=(x[:, 0] > 0).astype(int))
    first, second = (rt.Neural(rt.neural.MLP(3, 4, 2, seed=s), optimizer=None, batch_size=8) for s in (0, 1))
    a, b = weights(first), weights(second)
    first.blend(second, 0.25)
    torch.testing.assert_close(weights(first), 0.75 * a + 0.25 * b)
    still = deepcopy(second)
    still.pace(1e-12)
    still.learn(batch)
    torch.testing.assert_close(weights(still), b)
    with pytest.raises(SettingError, match="same module only"):
        first.blend(rt.Neural(rt.neural.MLP(3, 5, 2), batch_size=8), 0.5)
    with pytest.raises(SettingError, match="cannot be multiplied"):
        first.pace(0.0)


def test_learners_in_threads_draw_what_they_draw_alone():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 8)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    first = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))

    def said(threads):
        made = [rt.Neural(deepcopy(first), seed=seed) for seed in range(4)]
        out = [None] * len(made)

        def learn(i):
            out[i] = made[i].learn(rt.Batch(x, y=y))

        abreast([partial(learn, i) for i in range(len(made))], threads)
        return np.stack(out)

    alone = said(1)
    for _ in range(3):
        np.testing.assert_allclose(said(4), alone, rtol=1e-5, atol=1e-6)
