"""PackNet: several tasks in one module, each with weights of its own, of which none is ever forgotten.

Shapes: p weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from retain.core import Forward, Model, Rows, Spring, State
from retain.errors import SettingError
from retain.rows import from_array, to_array
from retain.strategies.addend import Addend, Carry, Tasked
from retain.strategies.again import again
from retain.strategies.aside import copies, from_state, or_as_before, to_state
from retain.strategies.sparse import matrices

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

__all__ = ["PackNet", "largest"]

_MOST = 255  # experiences that a byte can tell apart, beside 0


def largest(size: Tensor, free: Tensor, /, *, share: float) -> Tensor:
    """(m,) true for the weights that stay: of those that are free all but the share of the smallest."""
    import torch

    many = int(free.sum())
    keep = many - round(share * many)
    stays = torch.zeros_like(free)
    stays[size.masked_fill(~free, -1.0).topk(keep).indices] = True
    return stays


def _parameters(model: Model) -> Iterator[tuple[slice, Parameter]]:
    """Trained parameters, and where each lies in the vector of all weights."""
    start = 0
    for p in model.module.parameters():
        if p.requires_grad:
            yield slice(start, start + p.numel()), p
            start += p.numel()


def _small(model: Model) -> Iterator[slice]:
    """Where biases and the gains of norms lie: what has one dimension, or none."""
    return (place for place, p in _parameters(model) if p.ndim < 2)


def _outputs(model: Model) -> Tensor:
    """(p,) true for the last linear layer's weights of the outputs that stand for classes that have been learnt."""
    import torch

    found = torch.zeros_like(model.weights, dtype=torch.bool)
    head = None if model.head is None else model.head.weight
    for place, p in _parameters(model):
        if p is head:
            learnt = torch.zeros(len(p), dtype=torch.bool, device=p.device)
            learnt[: model.classes] = model.seen.any(0).to(p.device)
            found[place] = learnt.repeat_interleave(p.numel() // len(p))
    return found


@final
@dataclass(frozen=True, slots=True)
class _Own:
    """What every task has to itself, being small."""

    values: tuple[Tensor, ...]  # of each parameter of one dimension; as many outputs as there were then
    buffers: tuple[Tensor, ...]  # of the module, in its order
    seen: Tensor  # (tasks, classes) which classes had occurred in which task

    @staticmethod
    def of(model: Model) -> _Own:
        values = tuple(model.weights[place].clone() for place in _small(model))
        return _Own(values, copies(tuple(model.module.buffers())), model.seen.clone())

    def laid(self, model: Model, vector: Tensor) -> Tensor:
        """The vector (p,) with these values where they belong."""
        for place, value in zip(_small(model), self.values, strict=True):
            vector[place.start : place.start + len(value)] = value
        return vector


@final
class PackNet(Addend, Tasked):
    """Gives every task weights of its own, and lets it use those of the tasks before: nothing is forgotten.

    While a task is learnt all weights are used, and those that belong to earlier tasks do not move, whatever penalties
    and optimisers do. When its experience ends, of the free weights of each layer the smallest share becomes zero, and
    free; the others are taught again and belong to the task from now on. Rows of a task are answered with the weights
    that belong to it and to the tasks before, all others being zero: bit for bit what was answered when it ended.

    Biases, gains of norms and running statistics are few, and every task has its own. In the last linear layer a task
    gets the weights of its classes; a class of several tasks belongs to the first. Once no weight is free (`left`)
    later tasks learn that much only. A task belongs to the first experience in which it came: that it comes again later
    changes no answer, and a class that is new in it then gets none. Rows that tell no task, or one that has no weights
    yet, are answered with all weights; they train those that are free.

    Args:
        share: of the weights a task could use, what it leaves to later ones: with 0.5 the first task gets half of each
            layer, the second a quarter.
        passes: over the experience, to teach what stays without what went.
        size: rows of a step of these.
        rate: of Adam in these.
        seed: of the order of rows in these.
        name: those that change weights after a step, and come after it by name, move what belongs to tasks too; so do
            `ShrinkPerturb`, `WiSE` and `blend` between experiences.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
    >>> learner = rt.Neural(rt.neural.MLP(4, 32, 4), strategies=[PackNet()], batch_size=10, task_masks=True)
    >>> for task in (0, 1):  # in each another column tells one of two classes
    ...     batch = rt.Batch(x, y=2 * task + (x[:, task] > 0), task=np.full(len(x), task))
    ...     for _ in range(5):
    ...         said = learner.learn(batch)
    ...     learner.consolidate([batch])
    ...     if task == 0:
    ...         before = learner.predict(x, task=batch.task)
    >>> bool((learner.predict(x, task=np.zeros(600))[:, :2] == before).all())
    True

    Raises:
        SettingError: numbers out of range; a learner without `task_masks`, or with an averaging or a head beside it; at
            `consolidate`, a 256th task.

    References:
        Mallya and Lazebnik 2018, PackNet: adding multiple tasks to a single network by iterative pruning. There biases
        and norms are those of the first task for all, and each task has a last layer of its own.
    """

    def __init__(
        self,
        share: float = 0.5,
        *,
        passes: int = 1,
        size: int = 32,
        rate: float = 1e-3,
        seed: int = 0,
        name: str = "packnet",
    ) -> None:
        if not 0 < share < 1 or passes < 0 or size < 1 or not rate > 0:
            raise SettingError(
                f"PackNet got share={share}, passes={passes}, size={size}, rate={rate}; expected 0 < share < 1, whole "
                "numbers >= 0 and >= 1, and a rate > 0"
            )
        import torch

        self.name = name
        self._share, self._passes, self._size, self._rate = float(share), passes, size, float(rate)
        self._random = torch.Generator().manual_seed(seed)
        self._owner: Tensor | None = None  # (p,) uint8: whose a weight is, experiences counted from 1; 0 free
        self._of: list[int] = []  # for every task the experience by whose weights it is answered; 0 for none yet
        self._own: list[_Own] = []  # for every experience
        self._before: Tensor | None = None  # (p,) the weights before the step that is being made

    def left(self, model: Model, /) -> float:
        """The share of the weights before the last linear layer that belong to nobody yet."""
        owner = self._fitted(model)
        places = [place for place, _ in matrices(model)]
        free = sum(int((owner[place] == 0).sum()) for place in places)
        return free / max(sum(place.stop - place.start for place in places), 1)

    def answering(self, model: Model, task: int, /) -> tuple[Tensor, Sequence[Tensor], Tensor | None]:
        number = self._of[task] if 0 <= task < len(self._of) else 0
        if not number:
            return model.weights, tuple(model.module.buffers()), None
        owner, own = self._fitted(model), self._own[number - 1]
        weights = model.weights.masked_fill((owner == 0) | (owner > number), 0.0)
        return own.laid(model, weights), own.buffers, own.seen[task]

    def pull(self, model: Model, gradient: Tensor, /) -> Spring:
        self._before = model.weights.clone() if self._own else None
        return Spring()

    def stepped(self, model: Model, new: Forward, /) -> None:
        import torch

        if self._before is not None:
            torch.where(self._fitted(model) > 0, self._before, model.weights, out=model.weights)
            self._before = None

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        import torch

        tasks = self._newcomers(model)
        if not tasks:
            return
        if len(self._own) == _MOST:
            raise SettingError(f"PackNet has given weights to {_MOST} tasks, and has no number for another")
        owner = self._fitted(model)
        free = owner == 0
        mine = free & _outputs(model)
        gone = torch.zeros_like(free)
        for place, _ in matrices(model):
            stays = largest(model.weights[place].abs(), free[place], share=self._share)
            mine[place], gone[place] = stays, free[place] & ~stays
        still, held = ~free | gone, model.weights.masked_fill(gone, 0.0)

        def stepped() -> None:
            torch.where(still, held, model.weights, out=model.weights)

        with or_as_before(model, self._random):
            model.weights.copy_(held)
            again(
                model,
                experience,
                passes=self._passes,
                size=self._size,
                rate=self._rate,
                random=self._random,
                gradient=model.gradient,
                stepped=stepped,
            )
        self._own.append(_Own.of(model))
        self._owner = owner.masked_fill(mine, len(self._own))
        for task in tasks:
            self._of.extend([0] * (task + 1 - len(self._of)))
            self._of[task] = len(self._own)

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        """Weights belong to whom they belonged; new ones are free. Statistics of another shape are the present ones."""
        if self._owner is None:
            return
        self._owner = carry(self._owner.float()).to(self._owner.dtype)
        own: list[_Own] = []
        for one in self._own:
            vector = carry(one.laid(carry.before, carry.before.weights.clone()), new=model.weights)
            pairs = zip(one.buffers, model.module.buffers(), strict=True)
            buffers = tuple(old if old.shape == now.shape else now.clone() for old, now in pairs)
            own.append(_Own(tuple(vector[place].clone() for place in _small(model)), buffers, one.seen))
        self._own = own

    def state_dict(self) -> State:
        own = [
            {"values": to_state(one.values), "buffers": to_state(one.buffers), "seen": to_array(one.seen)}
            for one in self._own
        ]
        return {
            "owner": None if self._owner is None else to_array(self._owner),
            "of": list(self._of),
            "own": {str(i): one for i, one in enumerate(own)},
            "random": to_array(self._random.get_state()),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._owner = None if state["owner"] is None else from_array(state["owner"])
        self._of = list(state["of"])
        kept = [state["own"][str(i)] for i in range(len(state["own"]))]
        self._own = [
            _Own(from_state(one["values"]), from_state(one["buffers"]), from_array(one["seen"])) for one in kept
        ]
        self._before = None
        self._random.set_state(from_array(state["random"], device="cpu"))

    def _fitted(self, model: Model) -> Tensor:
        """Whom the weights as they are belong to; outputs that are new are free."""
        import torch

        if self._owner is None:
            return torch.zeros_like(model.weights, dtype=torch.uint8)
        return model.widen(self._owner.to(model.weights.device))

    def _newcomers(self, model: Model) -> list[int]:
        """Tasks of which rows came, and that have no weights yet."""
        came: list[int] = model.seen.any(1).nonzero()[:, 0].tolist() if len(model.seen) else []
        return [task for task in came if task >= len(self._of) or not self._of[task]]
