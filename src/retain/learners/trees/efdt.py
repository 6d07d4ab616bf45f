"""`EFDT`: a tree that splits early and thinks again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from retain.core import Array, Floats
from retain.learners.trees.efdt_kernels import efdt_rows
from retain.learners.trees.kernels import Forms, Tree
from retain.learners.trees.single import Leaf, SingleTree, growth

__all__ = ["EFDT"]


@final
class EFDT(SingleTree):
    """An extremely fast decision tree: it splits where a split is better than none, and thinks again later.

    A Hoeffding tree waits until the best feature is better than the second best. This one splits as soon as the best is
    better than no split, and goes on looking at the features of every node: when those of `grace` rows more show that
    another feature, or none, would be better by the bound, the node splits anew, and what grew below it is lost; where
    only the threshold moves, it stays. Every row is learnt by all nodes on its way.

    Args:
        grace: weight of rows between two thoughts, of leaves as of nodes that have split.
        delta: probability that a split is not the better one.
        tie: a bound below which a leaf splits anyway, and half of it is enough for a node to split anew.
        leaf: see `HoeffdingTree`, as all that follow.
        branch: share of the weight that both branches of a split must have.
        max_depth: of the tree; None: any.
        nominal: columns whose numbers are names.
        max_values: of a nominal column.
        max_bytes: memory that it may take.

    Raises:
        SettingError: a setting out of range, or a nominal column that is not there.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type.

    >>> import retain as rt
    >>> stream = rt.streams.Sine(seed=1, n=20_000)
    >>> run = rt.Prequential(stream, rt.EFDT(), metrics=[rt.metrics.Accuracy()])
    >>> list(run)[-1].metrics["accuracy"] > 0.95
    True

    References:
        Manapragada, Webb, Salehi 2018, Extremely fast decision tree, KDD.
    """

    def __init__(
        self,
        *,
        grace: float = 50.0,
        delta: float = 0.01,
        tie: float = 0.05,
        leaf: Leaf = "either",
        branch: float = 0.01,
        max_depth: int | None = None,
        nominal: Sequence[str | int] = (),
        max_values: int = 32,
        max_bytes: int = 32 << 20,
    ) -> None:
        super().__init__(
            growth(
                "EFDT",
                grace=grace,
                delta=delta,
                tie=tie,
                leaf=leaf,
                branch=branch,
                max_depth=max_depth,
                nominal=nominal,
                max_values=max_values,
                max_bytes=max_bytes,
            ),
            wanted=4,
        )

    def _rows(self, tree: Tree, forms: Forms, x: Floats, y: Array, weight: Array, out: Array, start: int, /) -> int:
        return efdt_rows(tree, forms, x, y, weight, out, start)
