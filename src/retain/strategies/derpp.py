"""Dark experience replay with labels: old rows held to what the module said of them, and others to their labels."""

from __future__ import annotations

from typing import final

from retain.core import Forward, Memory, Model, Rows, Slope
from retain.errors import SettingError
from retain.rows import join, take
from retain.strategies.addend import Rehearsal, offer
from retain.strategies.der import LOGITS, drift

__all__ = ["DERpp"]


def halves(forward: Forward, /) -> tuple[Forward, Forward]:
    """The first and the second half of rows."""
    half = len(forward.rows) // 2
    first, second = slice(None, half), slice(half, None)
    return (
        Forward(take(forward.rows, first), forward.output[first]),
        Forward(take(forward.rows, second), forward.output[second]),
    )


@final
class DERpp(Rehearsal):
    """As `DER`, plus `labels` times the mean loss of as many rows again, drawn on their own.

    The labels put right what the module once said wrongly; the outputs tell more of a row than its label does. Where
    the module has an output for every class from the start, try `rt.neural.CrossEntropy(unseen=True)`.

    Args:
        memory: what is remembered, with a column "logits" of k numbers; it belongs to this strategy alone.
        size: rows drawn for every step for either addend; all there are while there are fewer.
        strength: alpha of the paper, of the outputs.
        labels: beta of the paper, of the loss.
        times: what both are multiplied by. If None, the number of experiences that have ended, as of `Replay`.
        name: unique among the strategies of a learner.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import Reservoir
    >>> learner = rt.Neural(rt.neural.MLP(1, 16, 2), strategies=[DERpp(Reservoir(50), size=10)], batch_size=5)
    >>> x = np.linspace(-1, 1, 2000, dtype=np.float32)[:, None]  # first all of one class, then all of the other
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(int)))
    >>> learner.predict(np.float32([[-0.8], [0.8]])).argmax(1)
    array([0, 1])

    Raises:
        SettingError: a size below 1, or a strength that is not above 0.

    References:
        Buzzega et al. 2020, Dark experience for general continual learning: a strong, simple baseline.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        size: int,
        strength: float = 1.0,
        labels: float = 1.0,
        times: float | None = 1.0,
        name: str = "derpp",
    ) -> None:
        if not (strength > 0 and labels > 0):
            raise SettingError(
                f"DERpp got strength={strength}, labels={labels}; expected both > 0: without labels it is DER, without "
                "outputs Replay"
            )
        super().__init__(memory, size=size, times=times, name=name)
        self._strength, self._labels = float(strength), float(labels)

    def rows(self, new: Rows, /) -> Rows | None:
        if not len(self._memory):
            return None
        return join([self._memory.sample(self.size), self._memory.sample(self.size)])

    def slope(self, model: Model, new: Forward, /, *, own: Forward | None) -> Slope | None:
        if own is None:
            return None
        import torch

        dark, plain = halves(own)
        moved, by_dark = drift(dark)
        loss, by_plain = model.slope(plain)
        strength, labels = self.times * self._strength, self.times * self._labels
        slope = torch.cat([strength * by_dark, labels * by_plain])
        return Slope(strength * moved + labels * loss, own=slope)

    def stepped(self, model: Model, new: Forward, /) -> None:
        offer(self._memory, model, new, extra={LOGITS: new.output})
