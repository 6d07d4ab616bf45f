"""`OnlineBagging`: trees that learn each row a random number of times."""

from __future__ import annotations

from typing import final

from retain.learners.ensemble.bagged import Bagged, Plan
from retain.learners.ensemble.bagged_kernels import Policy
from retain.learners.trees import HoeffdingTree, RegressionTree

__all__ = ["OnlineBagging"]


@final
class OnlineBagging(Bagged):
    """Bagging of a stream: every member learns every row k times, k ~ Poisson(1), and the answer is their mean.

    Drawing n rows of n with replacement takes each of them k times, k being Poisson distributed as n grows.

    Args:
        trees: how many members.
        tree: what members are like; None: HoeffdingTree(). A `RegressionTree` makes it a learner of numbers.
        seed: of all random choices.

    Raises:
        SettingError: a setting out of range.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type, labels that its trees do not learn.

    >>> import retain as rt
    >>> stream = rt.streams.Sine(seed=1, n=10_000)
    >>> run = rt.Prequential(stream, rt.OnlineBagging(5), metrics=[rt.metrics.Accuracy()])
    >>> list(run)[-1].metrics["accuracy"] > 0.95
    True

    References:
        Oza, Russell 2001, Online bagging and boosting, AISTATS.
    """

    def __init__(self, trees: int = 10, *, tree: HoeffdingTree | RegressionTree | None = None, seed: int = 0) -> None:
        policy = Policy(0.0, 0.0, weighted=False, boosting=False)
        super().__init__(trees, tree or HoeffdingTree(), Plan(policy, 1.0), seed=seed)
