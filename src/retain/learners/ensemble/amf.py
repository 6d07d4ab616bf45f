"""`AMF`: a forest of Mondrian trees.

Shapes: n rows, d features, K classes known (or outputs), T trees.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import final

import numpy as np

from retain.core import Array, Batch, Features, Floats, State
from retain.errors import SettingError
from retain.learners.draws import seeded
from retain.learners.ensemble.abreast import abreast, processors
from retain.learners.intake import Intake
from retain.learners.trees.mondrian_nodes import Growth, Lesson, Nodes

__all__ = ["AMF"]

_PART = 8192  # rows that all trees learn before their answers are added up ...
_ANSWERS = 2**22  # ... and fewer where these would be more numbers
_WORTH = 2048  # rows from which on threads gain more than it costs to start them


@final
class AMF:
    """Aggregated Mondrian forest: the mean of trees that are split at random, each a mean of all its prunings.

    Every tree is a `MondrianTree` with a generator of its own and learns every row; see there for how it grows and what
    it predicts. No feature is better than another to a single tree, and no depth is chosen: what is left to chance is
    averaged away, what is not is weighed. Nothing needs tuning or scaling, classes and numbers alike.

    Blocks of some thousand rows are learnt by the trees side by side, in threads. Results do not depend on it.

    Memory. Each tree may use max_bytes / trees and forgets first where no row has come for longest. A node takes 80
    bytes, 12 for every feature (8 where labels are numbers or pure nodes are split) and 8 for every class; there are at
    most two for every row.

    Granularity 1. Rows without a label, or of weight 0, are predicted and not learnt. NaN is an input like others. The
    width of bare dense arrays is fixed by the first block learnt; that of sparse rows, record batches and rows with a
    schema may grow to the right.

    Args:
        trees: how many. More are steadier: the error falls by what trees differ in, over T.
        step: how fast prunings are told apart; None: .5 for classes, 2 for numbers.
        dirichlet: rows of every class that each node is taken to have seen; None: .5 for two classes, .01 for more.
        split_pure: whether nodes whose rows are of one class are split.
        scaled: False where all features are in one unit already and differences of range mean something.
        max_bytes: of the nodes of all trees.
        seed: of the splits.

    Raises:
        SettingError: a setting out of its range; a budget too small for rows so wide or classes so many.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type, a label of another kind than before.

    >>> import numpy as np
    >>> from retain import Batch
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(3000, 2)).astype(np.float32)
    >>> ring = (np.hypot(*x.T) > 1).astype(int)
    >>> forest = AMF(seed=1)
    >>> said = forest.learn(Batch(x, y=ring))
    >>> float((said[1000:].argmax(axis=1) == ring[1000:]).mean()) > 0.95
    True

    Reference: Mourtada, Gaïffas, Scornet 2021, AMF: aggregated Mondrian forests for online learning, JRSS B 83.

    Where we differ: see `MondrianTree`. A step of .5 is better than 1 in accuracy here: trees that are less sure leave
    more to their mean.
    """

    def __init__(
        self,
        trees: int = 10,
        *,
        step: float | None = None,
        dirichlet: float | None = None,
        split_pure: bool = False,
        scaled: bool = True,
        max_bytes: int = 64_000_000,
        seed: int = 0,
    ) -> None:
        if trees < 1:
            raise SettingError(f"AMF got trees={trees}; expected at least one")
        self._growth = Growth("AMF", step, dirichlet, split_pure, scaled, max_bytes // trees)
        self._intake = Intake("AMF", missing=True)
        random = seeded(seed, trees)
        self._trees = tuple(Nodes(self._growth, random[t : t + 1].copy()) for t in range(trees))

    @property
    def nodes(self) -> int:
        """How many nodes all trees have together."""
        return sum(tree.size for tree in self._trees)

    @property
    def memory(self) -> int:
        """Bytes of the nodes of all trees, room for more included."""
        return sum(tree.memory for tree in self._trees)

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._intake.read(batch)
        self._growth.check(given)
        self._intake.keep(given)
        lesson = Lesson.of(given)
        out = np.zeros((len(given.x), self._intake.outputs))
        if lesson is not None:
            start = 0
            for part in lesson.parts(self._part()):
                stop = start + len(part.x)
                self._mean([partial(tree.learn, part) for tree in self._trees], out[start:stop])
                start = stop
        return out[:, 0] if self._intake.flat else out

    def predict(self, x: Features, /) -> Array:
        """Numbers (n,) or (n, K), or probabilities (n, K); (n, 0) before the first labels. Changes nothing."""
        intake = self._intake
        x_nd = np.require(intake.rows(x), np.float32, ["C", "W"])
        known = -1 if intake.classes is None else intake.classes
        out = np.empty((len(x_nd), intake.outputs))
        for start in range(0, len(out), self._part()):
            rows = slice(start, start + self._part())
            self._mean([partial(tree.answer, x_nd[rows], known) for tree in self._trees], out[rows])
        return out[:, 0] if intake.flat else out

    def state_dict(self) -> State:
        trees = {str(t): tree.state_dict() for t, tree in enumerate(self._trees)}
        return {"intake": self._intake.state_dict(), "trees": trees}

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        for t, tree in enumerate(self._trees):
            tree.load_state_dict(state["trees"][str(t)])

    def _part(self) -> int:
        return max(min(_PART, _ANSWERS // (len(self._trees) * max(self._intake.outputs, 1))), 1)

    def _mean(self, calls: list[Callable[[Floats], None]], out: Floats) -> None:
        """Every tree fills in its answers; out takes their mean, added up in one order however many rows there are."""
        said_TnK = np.zeros((len(calls), *out.shape))
        abreast([partial(call, said_TnK[t]) for t, call in enumerate(calls)], processors() if len(out) >= _WORTH else 1)
        out[:] = said_TnK[0]
        for said in said_TnK[1:]:
            out += said
        out /= len(calls)
