"""Neural learners through the laws: mini-batches, modules that draw, numbers and classes, heads that grow."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")

from torch import nn  # noqa: E402 - after the skip

import retain as rt  # noqa: E402
from retain import blocks, testing  # noqa: E402
from retain.compose import late  # noqa: E402

TOLERANCE = 1e-4  # matrix products of other sizes round differently; softmax and a few steps make more of it


# The process that goes on must round as this one does: the order of sums depends on how many threads share them.
torch.set_num_threads(1)


class Drawing(nn.Module):
    """A module of a user's own: batch norm, which learns from what passes, and dropout, which draws."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(4, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.3),
            nn.Linear(8, 2),
        )

    def forward(self, x):
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))


Make = Callable[[str], rt.Neural]  # of a device


def layers(outputs: int, device: str) -> nn.Module:
    return rt.neural.MLP(4, 8, outputs).to(device)


def drawing(device: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Drawing().to(device)


def momentum(module: nn.Module, **settings) -> rt.Neural:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    return rt.Neural(module, optimizer=optimizer, batch_size=5, **settings)


def plain(module: nn.Module, **settings) -> rt.Neural:
    return rt.Neural(module, optimizer=torch.optim.SGD(module.parameters(), lr=0.05), batch_size=1, **settings)


def replaying(module: nn.Module) -> rt.Neural:
    memory = rt.memory.Reservoir(12)
    return rt.Neural(module, strategies=[rt.strategies.Replay(memory, size=6)], batch_size=5)


CLASSES: dict[str, Make] = {
    "layers, adam": lambda device: rt.Neural(layers(2, device), batch_size=5),
    "layers, momentum": lambda device: momentum(layers(2, device)),
    "a module that draws": lambda device: momentum(drawing(device)),
    "ace": lambda device: rt.Neural(layers(2, device), criterion=rt.neural.ACE(), batch_size=5),
    "replay": lambda device: replaying(layers(2, device)),
    "replay, a module that draws": lambda device: replaying(drawing(device)),
}
NUMBERS: dict[str, Make] = {
    "squared": lambda device: rt.Neural(layers(1, device), criterion=rt.neural.Squared(), batch_size=5),
    "huber": lambda device: rt.Neural(layers(1, device), criterion=rt.neural.Huber(), batch_size=5),
}
TABLE = {"classification": CLASSES, "regression": NUMBERS}
EVERY = [(task, name) for task, table in TABLE.items() for name in table]


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_the_laws_of_a_learner(task: str, name: str, device: str) -> None:
    make, batch = partial(TABLE[task][name], device), testing.examples(task)
    testing.learner_purity(make, batch)
    testing.learner_before(make, batch, tolerance=TOLERANCE)
    testing.learner_poison(make, batch)
    # Rows that wait and those of skipped steps come and go; the weights, the optimiser and the memory do not grow.
    testing.learner_bounded(make, batch, slack=1024)
    for cuts in ([1, 2, 3], [7, 30], [10, 20, 40], [], [25, 25, 25]):
        testing.learner_blocks(make, batch, cuts, tolerance=TOLERANCE)
        testing.learner_resume(make, batch, cuts)


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_weights_are_the_same_bit_for_bit_however_rows_are_cut(task: str, name: str, device: str) -> None:
    whole, parts = TABLE[task][name](device), TABLE[task][name](device)
    batch = testing.examples(task)
    whole.learn(batch)
    for start in range(0, len(batch), 7):
        parts.learn(blocks.take_batch(batch, slice(start, start + 7)))
    for name_, expected in whole.module.state_dict().items():
        assert torch.equal(parts.module.state_dict()[name_], expected), name_


def test_newcomers_leave_the_odds_alone(device: str) -> None:
    # Plain steps of single rows: Adam makes a full step of a gradient of next to nothing, which is its nature.
    testing.learner_newcomers(lambda: plain(layers(2, device)), testing.examples("classification"))


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_labels_that_land_at_once_are_labels_that_came_along(task: str, name: str, device: str) -> None:
    batch = testing.examples(task)
    whole, flowing = TABLE[task][name](device), TABLE[task][name](device)
    expected = whole.learn(batch)
    n, known = len(batch), np.flatnonzero(blocks.labelled(batch.y, len(batch)))
    keys = np.concatenate([2 * np.arange(n), 2 * known + 1])
    order = np.concatenate([np.arange(n), ~known])[np.argsort(keys)]
    said, _ = late(flowing).flow(replace(batch, y=None), None, batch.y, order)
    np.testing.assert_allclose(said, expected, atol=TOLERANCE)
    for name_, weights in whole.module.state_dict().items():
        assert torch.equal(flowing.module.state_dict()[name_], weights), name_


def test_labels_that_land_in_later_blocks_are_learnt_then(device: str) -> None:
    batch = replace(testing.examples("classification"), weight=None)
    known = np.flatnonzero(batch.y >= 0)
    first, second = CLASSES["layers, adam"](device), CLASSES["layers, adam"](device)
    n = len(batch)
    said, kept = first.flow(replace(batch, y=None), None, batch.y, np.arange(n))
    assert said.shape == (n, 0)  # nothing has landed: no class is known
    nobody = blocks.take_batch(replace(batch, y=None), slice(0, 0))
    first.flow(nobody, kept.take(known), batch.y[known], ~np.arange(len(known)))
    second.learn(blocks.take_batch(batch, known))
    for name, weights in second.module.state_dict().items():
        assert torch.equal(first.module.state_dict()[name], weights), name


def feed(task):
    batch = testing.examples(task)
    return lambda part, start, stop: part.learn(blocks.take_batch(batch, slice(start, stop)))


PARTS = {name: (partial(make, "cpu"), feed(task)) for task, table in TABLE.items() for name, make in table.items()}


def test_learners_go_on_in_a_new_process() -> None:
    testing.resume_in_new_process(__file__, "PARTS", rows=48)
