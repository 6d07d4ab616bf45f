"""Dark experience replay: old rows beside the new ones, held to what the module once said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from retain.core import Forward, Memory, Model, Slope
from retain.strategies.addend import Rehearsal, offer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DER", "LOGITS", "drift"]

LOGITS = "logits"  # the column in memory that holds what the module said of a row when it was new


def drift(forward: Forward, /) -> tuple[Tensor, Tensor]:
    """How far outputs have moved from those kept beside the rows: the mean of squares (), and its gradient (n, k).

    The mean is over outputs, and over rows by weight. An output that did not exist when a row was kept begins at zero,
    as it does in a module whose head grows.
    """
    kept = forward.rows.extra[LOGITS]
    n, k = forward.output.shape
    moved = forward.output.clone()
    moved[:, : kept.shape[1]] -= kept
    slope = moved * (forward.rows.weight * (2 / (n * k)))[:, None]
    return slope.flatten().dot(moved.flatten()) / 2, slope


@final
class DER(Rehearsal):
    """Adds `strength` times the mean over rows from a memory, and over outputs, of (output now - output then)^2.

    It needs no labels of old rows and no ends of experiences: outputs are kept as rows go by, and so tell of the whole
    path that the module took.

    Args:
        memory: what is remembered, with a column "logits" of k numbers; it belongs to this strategy alone.
        size: rows drawn for every step; all there are while there are fewer.
        strength: alpha of the paper. If None, the number of experiences that have ended, as of `Replay`.
        name: unique among the strategies of a learner.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import Reservoir
    >>> der = DER(Reservoir(50), size=10)
    >>> learner = rt.Neural(rt.neural.MLP(2, 8, 2), strategies=[der], batch_size=10)
    >>> said = learner.learn(rt.Batch(np.ones((200, 2), dtype=np.float32), y=np.ones(200, dtype=int)))
    >>> der.memory.rows().extra["logits"].shape
    torch.Size([50, 2])

    Raises:
        SettingError: a size below 1, or a strength that is not above 0.

    References:
        Buzzega et al. 2020, Dark experience for general continual learning: a strong, simple baseline.
    """

    def __init__(self, memory: Memory, *, size: int, strength: float | None = 1.0, name: str = "der") -> None:
        super().__init__(memory, size=size, times=strength, name=name)

    def slope(self, model: Model, new: Forward, /, *, own: Forward | None) -> Slope | None:
        if own is None:
            return None
        moved, slope = drift(own)
        return Slope(self.times * moved, own=slope.mul_(self.times))

    def stepped(self, model: Model, new: Forward, /) -> None:
        offer(self._memory, model, new, extra={LOGITS: new.output})
