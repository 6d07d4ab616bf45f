"""Experience replay: old rows beside the new ones."""

from __future__ import annotations

from typing import final

from retain.core import Forward, Memory, Model, Slope
from retain.strategies.addend import Rehearsal, offer

__all__ = ["Replay"]


@final
class Replay(Rehearsal):
    """Adds the mean loss of `size` rows drawn from a memory of all that went by.

    Args:
        memory: what is remembered; it belongs to this strategy alone.
        size: rows drawn for every step; all there are while there are fewer.
        strength: what the mean loss of the old rows is multiplied by; that of the new ones counts 1. If None, the
            number of experiences that have ended (1 while none has): all of them then count alike, which is right for a
            few large ones. On a stream of thousands of small ones the few rows of the memory would be all that counts.
        name: unique among the strategies of a learner.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import Reservoir
    >>> replay = Replay(Reservoir(50), size=10)
    >>> learner = rt.Neural(rt.neural.MLP(2, 8, 2), strategies=[replay], batch_size=10)
    >>> said = learner.learn(rt.Batch(np.ones((200, 2), dtype=np.float32), y=np.zeros(200, dtype=int)))
    >>> len(replay.memory)
    50

    References:
        Chaudhry et al. 2019, On tiny episodic memories in continual learning.
    """

    def __init__(self, memory: Memory, *, size: int, strength: float | None = 1.0, name: str = "replay") -> None:
        super().__init__(memory, size=size, times=strength, name=name)

    def slope(self, model: Model, new: Forward, /, *, own: Forward | None) -> Slope | None:
        if own is None:
            return None
        loss, slope = model.slope(own)
        return Slope(self.times * loss, own=self.times * slope)

    def stepped(self, model: Model, new: Forward, /) -> None:
        offer(self.memory, model, new)
