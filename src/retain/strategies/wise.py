"""Weights between those before an experience and those after it: some of the new for little loss of the old.

Shapes: p weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Forward, Memory, Model, Rows, State
from retain.errors import SettingError
from retain.rows import from_array, to_array
from retain.strategies.addend import Carry, Reshaping
from retain.strategies.quadratic import fitted

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["WiSE", "between"]

_GRID = 10  # steps of the search from the old weights to the new ones


def between(start: Tensor, now: Tensor, /, *, share: float) -> Tensor:
    """start + share * (now - start)."""
    return start.lerp(now, share)


def best(model: Model, start: Tensor, rows: Rows, /) -> float:
    """The share, of 0, 0.1, ..., 1, with which rows lose least; the largest of those that are as good."""
    shares = [i / _GRID for i in reversed(range(_GRID + 1))]
    return min(shares, key=lambda share: _loss(model, rows, between(start, model.weights, share=share)))


def laid(module: Module, /) -> Tensor:
    """The parameters that are trained, laid end to end: (p,) as `Model.weights`."""
    import torch

    return torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad])


def _loss(model: Model, rows: Rows, weights: Tensor) -> float:
    output = model.outputs(rows.x, weights=weights)
    return float((rows.weight * model.losses(Forward(rows, output))).mean())


@final
class WiSE(Reshaping):
    """An averaging: start + share * (now - start), start the weights where the experience began.

    When an experience ends, the share is searched for that makes the loss of remembered rows least (0, 0.1, ..., 1), if
    there is a memory, and the learner goes on from the weights in between. The first experience has nothing to keep:
    its weights are taken as they are, unless a pretrained module is given.

    Args:
        share: of the new weights, in [0, 1].
        memory: rows of old and new experiences, which a strategy fills (`Replay(memory, ...)`); it is only read.
        pretrained: the learner's module, where its weights before learning are worth keeping; they are copied now.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import Reservoir
    >>> from retain.strategies import Replay
    >>> replay = Replay(Reservoir(100), size=5)
    >>> wise = WiSE(memory=replay.memory)
    >>> learner = rt.Neural(rt.neural.MLP(2, 16, 2), strategies=[replay], averaging=wise, batch_size=10)
    >>> x = np.random.default_rng(0).normal(size=(600, 2)).astype(np.float32)
    >>> for sign in (1, -1):
    ...     batch = rt.Batch(x, y=(sign * x[:, 0] > 0).astype(int))
    ...     said = learner.learn(batch)
    ...     learner.consolidate([batch])
    >>> 0 <= wise.found <= 1
    True

    Raises:
        SettingError: a share outside [0, 1].

    References:
        Wortsman et al. 2022, Robust fine-tuning of zero-shot models. To go on from the weights in between is
        Stojanovski et al. 2022, Momentum-based weight interpolation; strategies took note of those at the end before.
    """

    def __init__(self, share: float = 0.5, *, memory: Memory | None = None, pretrained: Module | None = None) -> None:
        if not 0 <= share <= 1:
            raise SettingError(f"WiSE got share={share}; expected a number in [0, 1]")
        self._share, self._memory = float(share), memory
        self._start = None if pretrained is None else laid(pretrained)  # None while there is nothing to keep
        self.found = 1.0
        """The share that was taken at the end of the last experience."""

    def weights(self, model: Model, /) -> Tensor:
        if self._start is None:
            return model.weights
        return between(fitted(self._start, model), model.weights, share=self._share)

    def stepped(self, model: Model, new: Forward, /) -> None:
        """Nothing: only the two ends of an experience count."""

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        if self._start is not None:
            start = fitted(self._start, model)
            # An empty memory counts as none.
            self.found = best(model, start, self._memory.rows()) if self._memory else self._share
            model.weights.copy_(between(start, model.weights, share=self.found))
        self._start = model.weights.clone()

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        if self._start is not None:
            self._start = model.weights.clone()

    def state_dict(self) -> State:
        return {"start": None if self._start is None else to_array(self._start), "found": self.found}

    def load_state_dict(self, state: State, /) -> None:
        self._start = None if state["start"] is None else from_array(state["start"])
        self.found = float(state["found"])
