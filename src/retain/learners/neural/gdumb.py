"""GDumb: remember rows of all classes alike, and learn from scratch on what is remembered.

Shapes: n rows, k classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import final

import numpy as np

from retain.blocks import labelled, take_batch
from retain.compose import Consolidating
from retain.core import Array, Batch, Features, Learner, Memory, Rows, State
from retain.errors import SettingError
from retain.learners.neural.neural import Neural
from retain.rows import take

__all__ = ["GDumb"]


@final
class GDumb(Consolidating, Learner):
    """A learner that keeps a balanced memory and nothing else: a new network is trained on it, again and again.

    The network that answers is trained when an experience ends, and after every so many labelled rows, with which the
    predictions of a block do not depend on when anyone asks. It knows nothing but the memory, and so forgets nothing
    but what the memory forgets: a bar that whatever learns on the way should pass.

    Args:
        make: returns a new network and its settings, all parts of it built anew.
        memory: what is remembered; a `ClassBalanced` is the greedy sampler of the paper.
        every: labelled rows between two trainings.
        epochs: how often a training goes through the memory, each time in another order.
        seed: of these orders.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import ClassBalanced
    >>> make = lambda: rt.Neural(rt.neural.MLP(1, 16, 2), batch_size=8)
    >>> learner = rt.neural.GDumb(make, ClassBalanced(100), epochs=30)
    >>> x = np.linspace(-1, 1, 2000, dtype=np.float32)[:, None]  # first all of one class, then all of the other
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(int)))
    >>> learner.predict(np.float32([[-0.5], [0.5]])).argmax(1)
    array([0, 1])

    Raises:
        SettingError: every or epochs below 1, or, when learning, targets that are numbers.

    References:
        Prabhu, Torr, Dokania 2020, GDumb: a simple approach that questions our progress in continual learning. There
        the network is trained by SGD with cosine rates and CutMix; here by whatever `make` says.
    """

    def __init__(
        self, make: Callable[[], Neural], memory: Memory, *, every: int = 1000, epochs: int = 30, seed: int = 0
    ) -> None:
        if every < 1 or epochs < 1:
            raise SettingError(f"GDumb got every={every}, epochs={epochs}; expected at least 1")
        self._make, self.memory = make, memory
        self._every, self._epochs, self._seed = every, epochs, seed
        self._network = make()
        self._landed = 0  # labelled rows so far
        self._trained = 0  # of them when the network was trained
        self._known = 0  # classes whose labels have landed

    def learn(self, batch: Batch, /) -> Array:
        rows = self._network.labelled(batch)
        if rows.y.is_floating_point():
            raise SettingError("GDumb got numbers as targets; expected class codes: for numbers take Neural and Replay")
        said: list[Array] = []
        where = np.flatnonzero(labelled(batch.y, len(batch)))
        done = start = 0
        while (stop := start + self._every - self._landed % self._every) <= len(rows):
            reach = int(where[stop - 1]) + 1
            said.append(self._network.predict(take_batch(batch, slice(done, reach)).x))
            self._add(take(rows, slice(start, stop)))
            self._train()
            done, start = reach, stop
        said.append(self._network.predict(take_batch(batch, slice(done, None)).x))
        self._add(take(rows, slice(start, None)))
        return np.concatenate([self._wide(part) for part in said])

    def predict(self, x: Features, /, *, task: Array | None = None) -> Array:
        """Probabilities (n, k); 0 for classes that are in no training yet. Changes nothing."""
        return self._wide(self._network.predict(x, task=task))

    def consolidate(self, experience: Iterable[Batch], /) -> None:  # noqa: ARG002 - that it ended is enough
        if self._trained < self._landed:
            self._train()

    def _add(self, rows: Rows) -> None:
        if not len(rows):
            return
        self.memory.add(rows)
        self._landed += len(rows)
        self._known = max(self._known, int(rows.y.max()) + 1)

    def _train(self) -> None:
        """A new network, trained on all that is in memory."""
        network = self._make()
        rows = self.memory.rows()
        x, y, weight = (column.cpu() for column in (rows.x, rows.y, rows.weight))
        task = rows.extra.get("task")
        held = Batch(
            x.numpy() if not x.is_floating_point() else x.float().numpy(),
            y=y.numpy(),
            weight=weight.numpy(),
            task=None if task is None else task.cpu().numpy(),
        )
        # The number of rows is part of the seed, so that a training can be repeated from the state alone.
        rng = np.random.default_rng([self._seed, self._landed])
        for _ in range(self._epochs):
            network.learn(take_batch(held, rng.permutation(len(held))))
        network.consolidate([])  # the rows that fill no mini-batch
        self._network, self._trained = network, self._landed

    def _wide(self, said: Array) -> Array:
        """Predictions with a column for every known class."""
        return np.pad(said, ((0, 0), (0, max(self._known - said.shape[1], 0))))

    def state_dict(self) -> State:
        counts = [self._landed, self._trained, self._known]
        return {"network": self._network.state_dict(), "memory": self.memory.state_dict(), "counts": counts}

    def load_state_dict(self, state: State, /) -> None:
        self._network = self._make()
        self._network.load_state_dict(state["network"])
        self.memory.load_state_dict(state["memory"])
        self._landed, self._trained, self._known = state["counts"]
