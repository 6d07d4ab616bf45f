"""Against the last layer's bias towards the classes learnt last: rows of equal length (WA), two numbers (BiC).

Shapes: n rows, k classes, d features.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Forward, Memory, Model, Rows, State
from retain.errors import SettingError
from retain.strategies.addend import Addend, Layered, offer

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear, Module

__all__ = ["WA", "BiC", "corrected", "fit"]

_NEWTON = 50  # steps at most; a convex loss of two numbers needs fewer than ten
_RIDGE = 1e-3  # holds scale and shift near 1 and 0 where held-out rows are told apart without error


@final
class WA(Addend):
    """Weight aligning: when an experience ends, the weights of its new classes in the last layer are made shorter.

    Rows w of the last linear layer that stand for new classes are multiplied by gamma = mean |w_old| / mean |w_new|, so
    that no class is preferred for the length of its weights. It adds nothing to the loss. Where gamma is above 1 there
    is no bias to take away, and nothing is done: replay that counts all experiences alike leaves new rows the shorter.

    Args:
        name: the default comes before those of the strategies that remember weights when an experience ends, so that
            these remember the aligned ones, as in the paper.

    >>> import numpy as np, retain as rt
    >>> learner = rt.Neural(rt.neural.MLP(2, 16, 2), strategies=[WA()], batch_size=10)
    >>> x = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    >>> for batch in (rt.Batch(x, y=(x[:, 0] > 0).astype(int)), rt.Batch(x, y=2 + (x[:, 0] > 0).astype(int))):
    ...     for _ in range(20):
    ...         said = learner.learn(batch)
    ...     learner.consolidate([batch])
    >>> lengths = learner.module[-1].weight.norm(dim=1)
    >>> bool(abs(lengths[2:].mean() - lengths[:2].mean()) < 1e-6)
    True

    Raises:
        SettingError: at `consolidate`, a module that has no linear layer or was taught no classes.

    References:
        Zhao et al. 2020, Maintaining discrimination and fairness in class incremental learning. There weights are kept
        positive by clipping, the layer has no bias and gamma no bound; none of this is so here. Beside it belong
        `Replay` and `LwF`.
    """

    def __init__(self, *, name: str = "align") -> None:
        self.name = name
        self._old = 0  # classes at the end of the last experience

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        import torch

        if model.head is None or not model.classes:
            raise SettingError("WA aligns the last linear layer of a classifier; end the module with nn.Linear")
        weight = model.head.weight.data[: model.classes]
        if 0 < self._old < len(weight):
            old, new = weight[: self._old], weight[self._old :]
            gamma = torch.linalg.vector_norm(old, dim=1).mean() / torch.linalg.vector_norm(new, dim=1).mean()
            new.mul_(gamma.clamp_(max=1.0))
        self._old = len(weight)

    def state_dict(self) -> State:
        return {"old": self._old}

    def load_state_dict(self, state: State, /) -> None:
        self._old = int(state["old"])


def corrected(scores: Tensor, /, *, old: int, scale: float | Tensor, shift: float | Tensor) -> Tensor:
    """Scores (n, k) with those of new classes, from `old` on, multiplied by `scale` and moved by `shift`."""
    import torch

    return torch.cat([scores[:, :old], scores[:, old:] * scale + shift], 1)


def fit(scores: Tensor, y: Tensor, /, *, old: int) -> tuple[float, float]:
    """The scale and the shift of new classes that make the mean cross-entropy of rows (n, k), (n,) least.

    The loss is convex in both, and Newton's method solves it; a small ridge towards 1 and 0 keeps them finite.
    """
    import torch

    scores = scores.double()
    new = torch.arange(scores.shape[1], device=scores.device) >= old
    column = torch.stack([scores * new, new.double().expand_as(scores)], 2)  # (n, k, 2) what scale and shift multiply
    target = column.gather(1, y[:, None, None].expand(-1, 1, 2))[:, 0]
    start = scores.new_tensor([1.0, 0.0])
    answer = start.clone()

    def value(at: Tensor) -> Tensor:
        log = torch.log_softmax(corrected(scores, old=old, scale=at[0], shift=at[1]), 1)
        return -log.gather(1, y[:, None]).mean() + _RIDGE / 2 * (at - start).square().sum()

    for _ in range(_NEWTON):
        odds = torch.softmax(corrected(scores, old=old, scale=answer[0], shift=answer[1]), 1)
        mean = torch.einsum("nk,nkj->nj", odds, column)
        slope = (mean - target).mean(0) + _RIDGE * (answer - start)
        bend = torch.einsum("nk,nki,nkj->ij", odds, column, column) - mean.t() @ mean
        bend = bend / len(y) + _RIDGE * torch.eye(2, dtype=bend.dtype, device=bend.device)
        step = torch.linalg.solve(bend, slope)
        length = 1.0
        while length > 1e-6 and value(answer - length * step) > value(answer) - 0.25 * length * slope.dot(step):
            length /= 2
        answer = answer - length * step
        if float(step.abs().max()) < 1e-10:
            break
    return float(answer[0]), float(answer[1])


@final
class BiC(Layered):
    """A head: the scores of the classes that came in the last experience are corrected by a scale and a shift.

    Both are learnt at the end of the experience, on rows of all classes that were set aside: s * score + t for its new
    classes, s and t those that make the cross-entropy least; scores of older classes stay. Until there were two
    experiences, and for classes that come afterwards, the module itself answers.

    Args:
        memory: the rows set aside, a hundred or so for each class: a `ClassBalanced` of its own, never replayed.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import ClassBalanced
    >>> from retain.strategies import Replay
    >>> replay, head = Replay(ClassBalanced(20), size=10), BiC(ClassBalanced(40))
    >>> learner = rt.Neural(rt.neural.MLP(1, 16, 2), strategies=[replay], head=head, batch_size=10)
    >>> x = np.linspace(0.01, 1, 500, dtype=np.float32)[:, None]
    >>> for sign in (-1, 1):
    ...     batch = rt.Batch(sign * x, y=np.full(500, int(sign > 0)))
    ...     said = learner.learn(batch)
    ...     learner.consolidate([batch])
    >>> learner.predict(np.float32([[-0.8], [0.8]])).argmax(1)
    array([0, 1])

    Raises:
        SettingError: at `consolidate`, before any class was learnt.

    References:
        Wu et al. 2019, Large scale incremental learning. There the rows set aside are withheld from training; here they
        are learnt once, when they are new, and not replayed: a stream has no rows to spare.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._old, self._all = 0, 0  # classes before the last experience, and after it
        self._scale, self._shift = 1.0, 0.0

    @property
    def memory(self) -> Memory:
        """The rows that were set aside."""
        return self._memory

    def answer(self, model: Model, x: Tensor, /) -> Tensor:
        import torch

        scores = model.scores(model.outputs(x))
        if not 0 < self._old < self._all:
            return scores
        known = corrected(scores[:, : self._all], old=self._old, scale=self._scale, shift=self._shift)
        return torch.cat([known, scores[:, self._all :]], 1)

    def weights(self, model: Model, /) -> Tensor:
        return model.weights

    def layer(self, last: Linear, /) -> Module:
        """A linear layer that gives scores as they are corrected, with a bias in any case."""
        import torch
        from torch import nn

        weight = last.weight.detach().clone()
        bias = last.state_dict().get("bias", torch.zeros_like(weight[:, 0])).clone()
        if 0 < self._old < self._all:
            new = slice(self._old, self._all)
            weight[new] *= self._scale
            bias[new] = bias[new] * self._scale + self._shift
        layer = nn.Linear(last.in_features, last.out_features, device=weight.device, dtype=weight.dtype)
        layer.load_state_dict({"weight": weight, "bias": bias})
        return layer

    def stepped(self, model: Model, new: Forward, /) -> None:
        offer(self._memory, model, new)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        if not model.classes or not len(self._memory):
            raise SettingError("BiC has no classes to correct; learn rows with class codes before an experience ends")
        self._memory.consolidate(model, experience)
        if model.classes == self._all:
            return
        self._old, self._all = self._all, model.classes
        if self._old:
            rows = self._memory.rows()
            self._scale, self._shift = fit(model.scores(model.outputs(rows.x)), rows.y, old=self._old)

    def state_dict(self) -> State:
        counts = [self._old, self._all]
        return {"memory": self._memory.state_dict(), "classes": counts, "correction": [self._scale, self._shift]}

    def load_state_dict(self, state: State, /) -> None:
        self._memory.load_state_dict(state["memory"])
        self._old, self._all = state["classes"]
        self._scale, self._shift = state["correction"]
