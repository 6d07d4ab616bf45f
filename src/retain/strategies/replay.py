"""Experience replay: old rows beside the new ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from retain.core import Forward, Memory, Model, Rows, Slope, State
from retain.errors import SettingError
from retain.strategies.addend import Addend, offer

__all__ = ["Replay"]


@final
class Replay(Addend):
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
        if size < 1 or not (strength is None or strength > 0):
            raise SettingError(f"Replay got size={size}, strength={strength}; expected size >= 1 and strength > 0")
        self._memory, self.size, self.name = memory, size, name
        self._strength = None if strength is None else float(strength)
        self._ended = 0  # experiences

    @property
    def memory(self) -> Memory:
        return self._memory

    def rows(self, new: Rows, /) -> Rows | None:
        return self.memory.sample(self.size) if len(self.memory) else None

    def slope(self, model: Model, new: Forward, /, *, own: Forward | None) -> Slope | None:
        if own is None:
            return None
        strength = max(self._ended, 1) if self._strength is None else self._strength
        loss, slope = model.slope(own)
        return Slope(strength * loss, own=strength * slope)

    def stepped(self, model: Model, new: Forward, /) -> None:
        offer(self.memory, model, new)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        self._ended += 1
        self.memory.consolidate(model, experience)

    def state_dict(self) -> State:
        return {"memory": self.memory.state_dict(), "ended": self._ended}

    def load_state_dict(self, state: State, /) -> None:
        self.memory.load_state_dict(state["memory"])
        self._ended = state["ended"]
