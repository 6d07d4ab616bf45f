"""`MondrianTree`: a tree whose splits are drawn at random, and whose prunings vote.

Shapes: n rows, d features, K classes known (or outputs).
"""

from __future__ import annotations

from typing import final

import numpy as np

from retain.core import Array, Batch, Features, State
from retain.learners.draws import seeded
from retain.learners.intake import Intake
from retain.learners.trees.mondrian_nodes import Growth, Lesson, Nodes

__all__ = ["MondrianTree"]


@final
class MondrianTree:
    """A tree that is split where rows come to lie, in a random way, and predicts with the mean of all its prunings.

    Each node knows the box of its rows. A row that lies outside of it, by e_j >= 0 in feature j, splits it at the
    random time t + E / sum_j r_j e_j, if that is before the node's own split: E is exponential, and t the time at which
    its parent was split. The split is on feature j with probability r_j e_j / sum_j r_j e_j, at a place drawn evenly
    between box and row. What the node was, with all below it, is one side; the row is the other. So the tree is at any
    time the one that the Mondrian process would have made of all rows at once, whatever their order.

    How deep a tree should be is not decided but weighed (Willems, Shtarkov, Tjalkens 1995). Each node predicts for
    itself: the share of each class, (w_c + a) / (w + K a), with w_c the weight of its rows of class c and w that of all
    its rows, or the mean of its numbers. L is what these predictions have lost, each made before its row was learnt:
    -log p, or the squared error over twice the mean squared error of the whole tree. With W = exp(-step L) for a leaf,

        W(node) = exp(-step L) / 2 + W(left) W(right) / 2,
        p(node) = s p_node + (1 - s) p(child),    s = exp(-step L) / 2 W(node),

    p(root) is the mean of what all prunings of the tree say, each weighted by exp(-step L) of its leaves and by 1/2 for
    every node it decides about; the sum over exponentially many of them costs as much as the path of the row.

    A node whose rows are of one class is not split. A row of another class in the box of such a leaf splits it between
    that row and the last one; each side has the part of the leaf's rows that it has of its box.

    Features count in units of the range they have been seen to have, r_j = 1 / range, so that units do not matter. A
    missing value (NaN) lies within every box and goes where most rows went. A row of weight v counts as v rows.

    Memory. When the budget is spent the splits that no row has passed for longest are taken back, an eighth of them at
    a time, and go on as leaves that can be split anew: the tree forgets where nobody comes any more, and learns on.

    Granularity 1. Rows without a label, or of weight 0, are predicted and not learnt. The width of bare dense arrays is
    fixed by the first block learnt; that of sparse rows, record batches and rows with a schema may grow to the right.

    Args:
        step: how fast prunings are told apart; None: .5 for classes, 2 for numbers. At 1 the tree is the Bayesian
            mixture of its prunings.
        dirichlet: a, rows of every class that each node is taken to have seen; None: .5 for two classes, .01 for more.
        split_pure: whether nodes whose rows are all of one class are split: more nodes, and the place of every row is
            kept, which counts where rows are few or classes come one after the other.
        scaled: False where features are in one unit already and the differences of their ranges mean something.
        max_bytes: of the nodes.
        seed: of the splits.

    Raises:
        SettingError: a setting out of its range; a budget too small for rows so wide or classes so many.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type, a label of another kind than before.

    >>> import numpy as np
    >>> from retain import Batch
    >>> rng = np.random.default_rng(0)
    >>> x = rng.random((2000, 2)).astype(np.float32)
    >>> chessboard = (x // 0.5).sum(axis=1).astype(int) % 2
    >>> tree = MondrianTree(seed=1)
    >>> said = tree.learn(Batch(x, y=chessboard))
    >>> float((said[1000:].argmax(axis=1) == chessboard[1000:]).mean()) > 0.95
    True

    References:
        Lakshminarayanan, Roy, Teh 2014, Mondrian forests: efficient online random forests.
        Mourtada, Gaïffas, Scornet 2021, AMF: aggregated Mondrian forests for online learning, JRSS B 83.

    Where we differ: there a leaf of one class grows its box and is never split within it, whatever comes later (on
    Bananas 70 % of rows are right so, 89 % here); features have no unit; a squared error counts as it is; step is 1.
    """

    def __init__(
        self,
        *,
        step: float | None = None,
        dirichlet: float | None = None,
        split_pure: bool = False,
        scaled: bool = True,
        max_bytes: int = 8_000_000,
        seed: int = 0,
    ) -> None:
        self._growth = Growth("MondrianTree", step, dirichlet, split_pure, scaled, max_bytes)
        self._intake = Intake("MondrianTree", missing=True)
        self._nodes = Nodes(self._growth, seeded(seed))

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return self._nodes.size

    @property
    def memory(self) -> int:
        """What the nodes take, room for more included."""
        return self._nodes.memory

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._intake.read(batch)
        self._growth.check(given)
        self._intake.keep(given)
        lesson = Lesson.of(given)
        out = np.zeros((len(given.x), self._intake.outputs))
        if lesson is not None:
            self._nodes.learn(lesson, out)
        return out[:, 0] if self._intake.flat else out

    def predict(self, x: Features, /) -> Array:
        """Numbers (n,) or (n, K), or probabilities (n, K); (n, 0) before the first labels. Changes nothing."""
        intake = self._intake
        rows = np.require(intake.rows(x), np.float32, ["C", "W"])
        out = np.zeros((len(rows), intake.outputs))
        self._nodes.answer(rows, -1 if intake.classes is None else intake.classes, out)
        return out[:, 0] if intake.flat else out

    def state_dict(self) -> State:
        return {"intake": self._intake.state_dict(), "nodes": self._nodes.state_dict()}

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        self._nodes.load_state_dict(state["nodes"])
