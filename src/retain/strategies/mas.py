"""Memory aware synapses: weights are held by how far they move the outputs, for which no labels are needed.

Shapes: p weights, k outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Model, Rows
from retain.strategies.quadratic import Penalty, sensitivity

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MAS", "importance"]


def importance(model: Model, experience: Iterable[Rows], /) -> Tensor:
    """(p,) c * m with m = mean |gradient of |output|^2| / mean |2 output|, the mean derivative of the outputs' length.

    m is linear in the derivatives of the outputs, and c = |m|^2 / sum(m) gives it the sum that their squares have: so
    1/2 sum_j c m_j d_j^2 is in squared outputs, as `retain.strategies.ewc.importance` is, and needs no other strength.
    """
    slope, length = sensitivity(model, experience, power=1)
    total = float(slope.sum())
    if not (length > 0 and total > 0):
        return slope
    return slope.mul_(float(slope.dot(slope)) / (total * length * length))


@final
class MAS(Penalty):
    """Adds strength * 1/2 sum_j O_j (w_j - w*_j)^2, w* the weights when the last experience ended.

    O is the sum over experiences of how far the outputs' squared length moves with each weight, row by row, as
    `importance` above scales it. Scale and bound are those of `retain.strategies.EWC`.

    Args:
        strength: what half a squared move of the outputs counts beside the loss.
        name: unique among the strategies of a learner.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(600, 2)).astype(np.float32)
    >>> first = rt.Batch(x * np.float32([1, 0]), y=np.abs(x[:, 0]))  # numbers of one input, then of another
    >>> then = rt.Batch(x * np.float32([0, 1]), y=x[:, 1])
    >>> def error(*strategies):
    ...     module = rt.neural.MLP(2, 32, 1)
    ...     learner = rt.Neural(module, criterion=rt.neural.Squared(), strategies=strategies, batch_size=10)
    ...     for batch in (*[first] * 5, *[then] * 5):
    ...         said = learner.learn(batch)
    ...         if batch is first:
    ...             learner.consolidate([batch])
    ...     return np.abs(learner.predict(first.x) - first.y).mean()
    >>> bool(error(MAS()) < 0.95 * error())
    True

    Raises:
        SettingError: a strength that is not above 0.

    References:
        Aljundi et al. 2018, Memory aware synapses: learning what (not) to forget. The scale and the bound are ours.
    """

    def __init__(self, strength: float = 10.0, *, name: str = "mas") -> None:
        super().__init__(strength, name=name)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        self._quadratic.move(model, importance(model, experience))
