"""`SRP`: trees that each see some of the features and learn rows a random number of times."""

from __future__ import annotations

from typing import final

from retain.learners.ensemble.bagged import Bagged, Plan, chances
from retain.learners.ensemble.bagged_kernels import Policy
from retain.learners.trees import HoeffdingTree, RegressionTree

__all__ = ["SRP"]


@final
class SRP(Bagged):
    """Streaming random patches: every tree has features of its own, drawn when it begins, and learns rows at random.

    As `ARF`, but for where chance comes in: a tree looks at the same share of the features in all of its leaves.

    Args:
        trees: how many members.
        tree: what members are like; None: HoeffdingTree(grace=50, delta=0.05). A `RegressionTree` makes it a learner of
            numbers. Its `max_bytes` bounds each of the two trees of a member.
        features: that a tree looks at: a share below 1, or a number; None: all of them.
        rate: how often a member learns a row, in the mean.
        warning, drift: how probable a false alarm of either detector may be at one look; 0: no detector.
        seed: of all random choices.

    Raises:
        SettingError: a setting out of range.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type, labels that its trees do not learn.

    >>> import retain as rt
    >>> stream = rt.streams.Sine(seed=1, n=10_000)
    >>> run = rt.Prequential(stream, rt.SRP(5, features=None), metrics=[rt.metrics.Accuracy()])
    >>> list(run)[-1].metrics["accuracy"] > 0.97
    True

    References:
        Gomes, Read, Bifet 2019, Streaming random patches for evolving data stream classification, ICDM.
    """

    def __init__(
        self,
        trees: int = 10,
        *,
        tree: HoeffdingTree | RegressionTree | None = None,
        features: float | None = 0.6,
        rate: float = 6.0,
        warning: float = 1e-4,
        drift: float = 1e-5,
        seed: int = 0,
    ) -> None:
        tree = tree or HoeffdingTree(grace=50, delta=0.05)
        policy = Policy(*chances("SRP", warning, drift), weighted=True, boosting=False)
        super().__init__(trees, tree, Plan(policy, rate, features=features), seed=seed)
