"""The nearest mean of exemplars: rows get the class whose remembered rows have features most like theirs (iCaRL).

Shapes: n rows, k classes, d features.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Forward, Memory, Model, Rows, State
from retain.rows import from_array, to_array
from retain.strategies.addend import Carry, Layered, Reshaping, exemplars

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear, Module

__all__ = ["NearestMean", "centres"]


def centres(features: Tensor, y: Tensor, /, *, classes: int) -> Tensor:
    """The mean direction of the features (n, d) of each class (k, d); NaN for a class of which there are no rows."""
    from torch.nn import functional

    directions = functional.normalize(features)
    total = directions.new_zeros((classes, features.shape[1])).index_add_(0, y, directions)
    count = y.bincount(minlength=classes)
    return functional.normalize(total).masked_fill_((count == 0)[:, None], float("nan"))


@final
class NearestMean(Reshaping, Layered):
    """A head: the score of a class is -|f(x) - m|, f the direction of a row's features, m that of the mean exemplar.

    Features are what the last linear layer is given. They do not lean towards the classes that were learnt last, as
    that layer does. Means are taken at `consolidate`; until the first one the module itself answers, and a class that
    came after the last one cannot win.

    Args:
        memory: the exemplars: the memory of a strategy of the same learner, which fills and saves it.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import ClassBalanced
    >>> from retain.strategies import Replay
    >>> replay = Replay(ClassBalanced(20), size=10)
    >>> head = NearestMean(replay.memory)
    >>> learner = rt.Neural(rt.neural.MLP(2, 16, 2), strategies=[replay], head=head, batch_size=10)
    >>> x = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    >>> batch = rt.Batch(x, y=(x[:, 0] > 0).astype(int))
    >>> said = learner.learn(batch)
    >>> learner.consolidate([batch])
    >>> learner.predict(np.float32([[-1, 0], [1, 0]])).argmax(1)
    array([0, 1])

    Raises:
        SettingError: at `consolidate`, a memory that nobody fills, or labels that are numbers.

    References:
        Rebuffi et al. 2017, iCaRL: incremental classifier and representation learning. There exemplars are chosen by
        herding, which is for the memory to do, and the loss is one of its own; any addends may be used here.
    """

    memory = None  # of its own

    def __init__(self, memory: Memory) -> None:
        self._exemplars = memory
        self._means: Tensor | None = None  # (k, d), NaN where unknown

    def answer(self, model: Model, x: Tensor, /) -> Tensor:
        import torch
        from torch.nn import functional

        if self._means is None:
            return model.scores(model.outputs(x))
        means = self._means.to(x.device)
        # By differences: the distance of near points loses half of its digits as a difference of squares.
        apart = torch.cdist(functional.normalize(model.features(x)), means, compute_mode="donot_use_mm_for_euclid_dist")
        return (-apart).nan_to_num_(nan=-torch.inf)

    def weights(self, model: Model, /) -> Tensor:
        return model.weights

    def layer(self, last: Linear, /) -> Module:
        from retain.strategies.layers import Nearest

        return last if self._means is None else Nearest(self._means.to(last.weight), outputs=last.out_features)

    def stepped(self, model: Model, new: Forward, /) -> None:
        pass

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        rows = exemplars(self._exemplars, model, reader="NearestMean", made="NearestMean(replay.memory)")
        self._means = centres(model.features(rows.x), rows.y, classes=model.classes)

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        if self._means is not None:
            rows = self._exemplars.rows()
            self._means = centres(model.features(rows.x), rows.y, classes=len(self._means))

    def state_dict(self) -> State:
        return {"means": None if self._means is None else to_array(self._means)}

    def load_state_dict(self, state: State, /) -> None:
        self._means = None if state["means"] is None else from_array(state["means"])
