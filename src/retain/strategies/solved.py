"""A learner that solves, on features that still move: slow beneath, fast on top.

Shapes: n rows, k classes, d features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, final

from retain.compose import Scoring, Settling, consolidate, learns
from retain.core import Array, Averaging, Batch, Forward, Learner, Memory, Model, Rows, State
from retain.errors import SettingError
from retain.strategies.addend import Carry, Layered, Reshaping, exemplars

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear, Module

__all__ = ["Solved"]


@final
class Solved(Reshaping, Layered):
    """A head: an analytic learner over the features of the module, which go on moving slowly beneath it.

    Features are what the last linear layer is given. New rows are learnt after the step that they made, so that the
    learner knows a class as soon as it comes. Rows of before have moved since: at `consolidate` a new learner is made
    and learns all that is remembered, as the module sees it by then.

    Args:
        make: returns a new learner of classes: `SLDA`, `NearestMean`, `Ridge(balanced=True)`, maybe behind transforms.
            One that waits for blocks of rows knows a new class when a block is full: make them as long as a step.
        memory: the memory of a strategy of the same learner, which fills and saves it.
        slow: features by other weights than those that are trained: the learner's averaging, `EMA`.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import ClassBalanced
    >>> from retain.strategies import Replay
    >>> replay = Replay(ClassBalanced(40), size=10)
    >>> head = Solved(lambda: rt.SLDA(batch_size=10), replay.memory)
    >>> learner = rt.Neural(rt.neural.MLP(2, 16, 2), strategies=[replay], head=head, batch_size=10)
    >>> x = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(int)))
    >>> learner.predict(np.float32([[-1, 0], [1, 0]])).argmax(1)
    array([0, 1])

    Raises:
        SettingError: at `consolidate`, a memory that nobody fills, or labels that are numbers.

    References:
        The solved head of McDonnell et al. 2023, RanPAC, where features are frozen; its statistics taken anew from
        exemplars, as Rebuffi et al. 2017, iCaRL, take their means.
    """

    memory = None  # of its own

    def __init__(self, make: Callable[[], Learner], memory: Memory, *, slow: Averaging | None = None) -> None:
        self._make, self._exemplars, self._slow = make, memory, slow
        self._learner = make()

    def answer(self, model: Model, x: Tensor, /) -> Tensor:
        import torch

        return torch.from_numpy(self._learner.predict(self._features(model, x))).to(x.device).float().log()

    def weights(self, model: Model, /) -> Tensor:
        return model.weights if self._slow is None else self._slow.weights(model)

    def layer(self, last: Linear, /) -> Module:
        from retain.strategies.layers import Votes

        if not isinstance(self._learner, Scoring):
            raise SettingError(
                f"Solved answers by {type(self._learner).__name__}, which cannot be written as a layer; make a learner "
                "that answers by weighted sums, without transforms in front: SLDA, NearestMean, Ridge(balanced=True)"
            )
        return Votes(self._learner.scores(), outputs=last.out_features)

    def stepped(self, model: Model, new: Forward, /) -> None:
        if model.classes:
            self._teach(self._learner, model, new.rows)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        rows = exemplars(self._exemplars, model, reader="Solved", made="Solved(make, replay.memory)")
        learner = self._make()
        self._teach(learner, model, rows)
        consolidate(learner, [])
        inner = learns(learner)
        if isinstance(inner, Settling):
            inner.settle()
        self._learner = learner

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        """Features are others now: the learner over them is estimated anew from the memory."""
        if model.classes and len(self._exemplars):
            self.consolidate(model, ())

    def state_dict(self) -> State:
        return {"learner": self._learner.state_dict()}

    def load_state_dict(self, state: State, /) -> None:
        self._learner = self._make()
        self._learner.load_state_dict(state["learner"])

    def _teach(self, learner: Learner, model: Model, rows: Rows) -> None:
        x = self._features(model, rows.x)
        learner.learn(Batch(x, y=rows.y.cpu().numpy(), weight=rows.weight.cpu().numpy()))

    def _features(self, model: Model, x: Tensor) -> Array:
        return model.features(x, weights=self.weights(model)).float().cpu().numpy()
