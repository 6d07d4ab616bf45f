"""`RegressionTree`: a tree of numbers that grows row by row, with a mean or a line in each leaf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, final

import numpy as np

from retain.core import Array, Batch, Features, State
from retain.errors import PoisonError
from retain.learners.intake import Given, Intake
from retain.learners.trees.regression_arrays import grown, layout, memory, plant, restored, saved, widened
from retain.learners.trees.regression_kernels import EITHER, LINE, MEAN, NODES, Tree, replant, rows
from retain.learners.trees.single import growth, widen

__all__ = ["RegressionLeaf", "RegressionTree", "numbers_only", "shaped", "target"]

RegressionLeaf: TypeAlias = Literal["mean", "line", "either"]
_LEAVES = {"mean": MEAN, "line": LINE, "either": EITHER}


@final
class RegressionTree:
    """A decision tree of numbers that grows row by row and never looks back.

    A leaf keeps a histogram of each feature: how many rows fell into a bin, and the sum of their targets (of what its
    line left of them, where it has one). When rows of weight `grace` have come to it, it asks of each feature how much
    of the variance lies between the two branches of its best split: v1 for the best feature, v2 for the second. It
    splits where

        v2 / v1 < 1 - e   or   e < tie,     e = sqrt(ln(1 / delta) / 2n),

    with Hoeffding's bound e for n rows. A leaf says the mean of its targets, or a line: the least squares through its
    rows, found recursively, where the line of a new leaf is that of its parent, worth 10 rows.

    Granularity 1. NaN is a value like others: it is passed over, and goes where most rows went. Memory is bounded:
    where there is no room, the leaves whose targets vary least stop looking at features; when there is no room for
    nodes either, the tree stays as it is. Lines stay within the targets learnt.

    Args:
        grace: weight of rows between two thoughts of a split.
        delta: probability that a split is not the best one.
        tie: a bound below which two features are as good as each other.
        leaf: what leaves say: the "mean", the "line", or of the two the one with the smaller fading squared error
            ("either"). Up to 32 features a line knows how they vary together: d^2 numbers to a leaf.
        branch: share of the weight that both branches of a split must have.
        max_depth: of the tree; None: any.
        nominal: columns whose numbers are names, by name or number: they are split by one value against the others, and
            are no part of lines.
        max_values: of a nominal column; where there are more, several share a place.
        max_bytes: memory that it may take.

    Raises:
        SettingError: a setting out of range, or a nominal column that is not there.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type, class codes, several numbers to a row.

    >>> import retain as rt
    >>> stream = rt.streams.Friedman(seed=1, n=20_000)  # whose noise is 1
    >>> run = rt.Prequential(stream, rt.RegressionTree(), metrics=[rt.metrics.RMSE()])
    >>> report = list(run)[-1]
    >>> report.metrics["rmse"] < 2.2 < report.baselines["prior"]["rmse"]
    True

    References:
        Ikonomovska, Gama, Dzeroski 2011, Learning model trees from evolving data streams, Data Mining and Knowledge
        Discovery (FIMT-DD). We compare variances, not standard deviations, since those are found from sums that
        do not cancel; keep histograms, not every value; solve for lines, where the paper takes gradient steps; ask
        what lines leave unexplained; grow sooner (our grace, delta and tie are wider); and leave drift to ensembles.
        Mastelini, de Carvalho 2021, Using dynamical quantization to perform split attempts in online tree regressors,
        Pattern Recognition Letters (bins lose little).
    """

    def __init__(
        self,
        *,
        grace: float = 100.0,
        delta: float = 1e-3,
        tie: float = 0.1,
        leaf: RegressionLeaf = "either",
        branch: float = 0.01,
        max_depth: int | None = None,
        nominal: Sequence[str | int] = (),
        max_values: int = 32,
        max_bytes: int = 32 << 20,
    ) -> None:
        self.growth = growth(
            "RegressionTree",
            grace=grace,
            delta=delta,
            tie=tie,
            leaf=leaf,
            branch=branch,
            max_depth=max_depth,
            nominal=nominal,
            max_values=max_values,
            max_bytes=max_bytes,
            leaves=_LEAVES,
        )
        self._intake = Intake("RegressionTree", classifies=False, missing=True)
        self._place: Array = np.empty(0, dtype=np.int32)  # (d,) see `kernels.Forms`
        self._tree: Tree | None = None

    @property
    def nodes(self) -> int:
        """How many nodes it has."""
        return 0 if self._tree is None else int(self._tree.size[NODES])

    @property
    def depth(self) -> int:
        """Of its deepest leaf; 0: it is one leaf."""
        return 0 if self._tree is None else int(self._tree.depth[: self.nodes].max())

    @property
    def memory(self) -> int:
        """Bytes of what it has learnt."""
        return 0 if self._tree is None else memory(self._tree, layout(self.growth, len(self._place)))

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = numbers_only(self._intake, batch, reader="RegressionTree", cure="rt.HoeffdingTree()")
        place = widen(self._place, self.growth, batch, given.x.shape[1], reader="RegressionTree")
        self._intake.keep(given)
        how = layout(self.growth, len(place))
        forms = self.growth.forms(place, np.arange(len(place), dtype=np.int32))
        if self._tree is None:
            self._tree = plant(how, seed=0)
            replant(self._tree, forms)
        self._tree, self._place = widened(self._tree, how), place
        out, y, start = np.zeros(len(batch)), target(given), 0
        while (start := rows(self._tree, forms, given.x, y, given.weight, out, start)) < len(batch):
            self._tree = grown(self._tree, how, 0.0)
        return shaped(out, self._intake)

    def predict(self, x: Features, /) -> Array:
        """Numbers (n,); 0 before the first label. Changes nothing."""
        rows_nd = self._intake.rows(x)
        out = np.zeros(len(rows_nd))
        if self._tree is not None:
            forms = self.growth.forms(self._place, np.arange(len(self._place), dtype=np.int32))
            rows(self._tree, forms, rows_nd, np.full(len(out), np.nan), np.zeros(len(out)), out, 0)
        return shaped(out, self._intake)

    def state_dict(self) -> State:
        tree = None if self._tree is None else saved(self._tree)
        return {"intake": self._intake.state_dict(), "place": self._place.copy(), "tree": tree}

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        self._place = state["place"].copy()
        self._tree = None if state["tree"] is None else restored(state["tree"])


def numbers_only(intake: Intake, batch: Batch, /, *, reader: str, cure: str) -> Given:
    """The rows of a block whose labels are one number each. Raises PoisonError for others, and changes nothing."""
    if batch.y is not None and batch.y.dtype.kind in "iub":
        raise PoisonError(
            f"{reader} got labels of type {batch.y.dtype}, which are class codes; expected numbers: {cure} learns "
            "classes, and y.astype(float) makes numbers of them"
        )
    given = intake.read(batch)
    if batch.y is not None and given.y.shape[1] != 1:
        raise PoisonError(
            f"{reader} got {given.y.shape[1]} numbers to a row; expected one: take a learner for each, or rt.RLS()"
        )
    return given


def target(given: Given, /) -> Array:
    """The one number of each row: (n,); NaN where there is none."""
    return np.ascontiguousarray(given.y[:, 0]) if given.y.shape[1] else np.full(len(given.x), np.nan)


def shaped(out: Array, intake: Intake, /) -> Array:
    """As labels are: (n,), or (n, 1)."""
    return out[:, None] if intake.flat is False else out
