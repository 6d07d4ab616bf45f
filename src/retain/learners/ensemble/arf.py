"""`ARF`: a forest whose trees watch themselves, and grow successors before they fail."""

from __future__ import annotations

from typing import final

from retain.learners.ensemble.bagged import Bagged, Plan, chances
from retain.learners.ensemble.bagged_kernels import Policy
from retain.learners.trees import HoeffdingTree, RegressionTree

__all__ = ["ARF"]


@final
class ARF(Bagged):
    """Adaptive random forest: trees of random leaves, each with a successor that grows from a warning of drift on.

    Every tree learns every row k times, k ~ Poisson(rate), and each of its leaves looks at some of the features, drawn
    when the leaf is born: so trees differ. Two ADWIN detectors watch the errors of each tree. At a warning a second
    tree begins to grow behind it; at a drift that takes its place. A tree counts by the share it had right since it
    began; one of numbers, by the inverse of its fading squared error.

    Args:
        trees: how many members.
        tree: what members are like; None: HoeffdingTree(grace=50, delta=0.05). A `RegressionTree` makes it a learner of
            numbers. Its `max_bytes` bounds each of the two trees of a member.
        features: that a leaf looks at: a share below 1, or a number; None: all of them.
        rate: how often a member learns a row, in the mean.
        warning, drift: how probable a false alarm of either detector may be at one look; 0: no detector.
        seed: of all random choices.

    Raises:
        SettingError: a setting out of range.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type, labels that its trees do not learn.

    >>> import retain as rt
    >>> concepts = [rt.streams.SEA(seed=1, theta=theta) for theta in (4, 9)]
    >>> stream = rt.streams.Recurring(concepts, every=5000, n=20_000)
    >>> run = rt.Prequential(stream, rt.ARF(), metrics=[rt.metrics.Accuracy()])
    >>> report = list(run)[-1]
    >>> report.metrics["accuracy"] > 0.93 > report.baselines["prior"]["accuracy"]
    True

    References:
        Gomes et al. 2017, Adaptive random forests for evolving data stream classification, Machine Learning. We look
        for drift in what a tree said before it learnt a row, as in any prequential measure; only a rising error is
        drift; and a leaf looks at 60 % of the features, not at the square root of their number, which on our streams
        is better on all but one.
    """

    def __init__(
        self,
        trees: int = 10,
        *,
        tree: HoeffdingTree | RegressionTree | None = None,
        features: float | None = 0.6,
        rate: float = 6.0,
        warning: float = 0.01,
        drift: float = 0.001,
        seed: int = 0,
    ) -> None:
        tree = tree or HoeffdingTree(grace=50, delta=0.05)
        policy = Policy(*chances("ARF", warning, drift), weighted=True, boosting=False)
        plan = Plan(policy, rate, features=features, by_leaf=True)
        super().__init__(trees, tree, plan, seed=seed)
