"""What a strategy does where it does not say otherwise, and how a step's rows are offered to a memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

from retain.core import Forward, Memory, Model, Rows, Slope, Spring, State
from retain.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear, Module

__all__ = ["Addend", "Carry", "Layered", "Rehearsal", "Reshaping", "Tasked", "Viewing", "exemplars", "offer"]


@final
@dataclass(frozen=True, slots=True)
class Carry:
    """From vectors over the weights that there were, (p,), to such over those of another shape, (q,)."""

    before: Model
    kept: Tensor  # (q,) which of the p weights each of them is; -1 for one that was none of them

    def __call__(self, vector: Tensor, /, *, new: Tensor | float = 0.0) -> Tensor:
        """The vector's numbers where weights were kept; `new`, a number or a vector (q,), elsewhere."""
        import torch

        wide = self.before.widen(vector.to(self.kept.device))
        return torch.where(self.kept >= 0, wide[self.kept.clamp(min=0)], new)


class Reshaping(ABC):
    """A part that keeps something of a module's shape, and is told when the learner goes on with another module."""

    @abstractmethod
    def reshaped(self, model: Model, carry: Carry, /) -> None:
        """The module is another one now, of a shape of its own, with weights that say about the same.

        What measures weights (importances, masks) is carried along; what is another model of the same shape (a teacher,
        an average) begins again with the weights that there are.
        """


class Tasked(ABC):
    """A strategy by which rows are answered with weights of their task's own. A learner has at most one."""

    @abstractmethod
    def answering(self, model: Model, task: int, /) -> tuple[Tensor, Sequence[Tensor], Tensor | None]:
        """What answers rows of a task: weights (p,), the module's buffers in its order, and classes. Changes nothing.

        Classes (k,), those that compete being true, as many as there were; None for all that the task has had.
        """


class Viewing(ABC):
    """A strategy by which the module sees other weights than those that are trained. A learner has at most one."""

    @abstractmethod
    def viewed(self, weight: Tensor, /) -> Tensor:
        """What the module is to see of one of its parameters, of the same shape. Changes nothing."""


class Layered(ABC):
    """A head that answers as the module does with another layer in place of its last linear one.

    Of what can be said so a graph can be made, which `retain.compression` runs and renews.
    """

    @abstractmethod
    def weights(self, model: Model, /) -> Tensor:
        """(p,) the weights of the module by which rows are answered. Changes nothing."""

    @abstractmethod
    def layer(self, last: Linear, /) -> Module:
        """What takes the place of the last linear layer, given with those weights, and has as many outputs.

        Its outputs for features (n, d) are scores, as `retain.core.Head.answer` gives them. All that is learnt is in
        its state. Raises SettingError where there is no such layer.
        """


class Addend(Reshaping, ABC):
    """A strategy that overrides only what it needs; see `retain.core.Strategy` for what each method is for."""

    name: str

    @property
    def memory(self) -> Memory | None:
        return None

    def rows(self, new: Rows, /) -> Rows | None:
        return None

    def loss(self, model: Model, new: Forward, /, *, own: Forward | None) -> Tensor | None:
        """The addend as a function of the outputs: a scalar, or None for nothing. Changes nothing."""
        return None

    def slope(self, model: Model, new: Forward, /, *, own: Forward | None) -> Slope | None:
        """As `loss` says, by autograd; by hand where the gradient is at hand too."""
        import torch

        seen = _leaf(new)
        theirs = None if own is None else _leaf(own)
        with torch.enable_grad():
            loss = self.loss(model, seen, own=theirs)
        if loss is None:
            return None
        leaves = [seen.output] if theirs is None else [seen.output, theirs.output]
        return Slope(loss.detach(), *torch.autograd.grad(loss, leaves, allow_unused=True))

    def pull(self, model: Model, gradient: Tensor, /) -> Spring | None:
        return None

    def stepped(self, model: Model, new: Forward, /) -> None:
        pass

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        pass

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        """Nothing: what is kept is of no module's shape."""

    @abstractmethod
    def state_dict(self) -> State: ...

    @abstractmethod
    def load_state_dict(self, state: State, /) -> None: ...


class Rehearsal(Addend):
    """Rows drawn from a memory beside the new ones.

    Args:
        memory: what is remembered; it belongs to this strategy alone.
        size: rows drawn for every step.
        times: what is added counts so many times. If None, as often as experiences have ended (1 while none has).
        name: unique among the strategies of a learner.
    """

    def __init__(self, memory: Memory, *, size: int, times: float | None, name: str) -> None:
        if size < 1 or not (times is None or times > 0):
            raise SettingError(
                f"{type(self).__name__} got size={size}, and is to count {times} times; expected size >= 1, and a "
                "number > 0, or None: as often as experiences have ended"
            )
        self._memory, self.size, self.name = memory, size, name
        self._times = None if times is None else float(times)
        self._ended = 0  # experiences

    @property
    def memory(self) -> Memory:
        """What is remembered."""
        return self._memory

    @property
    def times(self) -> float:
        """How many times what is added counts now."""
        return float(max(self._ended, 1)) if self._times is None else self._times

    def rows(self, new: Rows, /) -> Rows | None:
        return self._memory.sample(self.size) if len(self._memory) else None

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        self._ended += 1
        self._memory.consolidate(model, experience)

    def state_dict(self) -> State:
        return {"memory": self._memory.state_dict(), "ended": self._ended}

    def load_state_dict(self, state: State, /) -> None:
        self._memory.load_state_dict(state["memory"])
        self._ended = state["ended"]


def _leaf(forward: Forward) -> Forward:
    return Forward(forward.rows, forward.output.detach().requires_grad_())


def exemplars(memory: Memory, model: Model, /, *, reader: str, made: str) -> Rows:
    """What a head reads of the memory of a strategy, of a learner of classes.

    Raises SettingError where no class was learnt, or the memory, which somebody else fills, is empty.
    """
    if not model.classes:
        raise SettingError(f"{reader} has no classes to choose from; learn rows with class codes first")
    if not len(memory):
        raise SettingError(
            f"{reader} reads a memory that is empty; give it the memory of a strategy of the same learner, as in "
            f"replay = Replay(...), strategies=[replay], head={made}"
        )
    return memory.rows()


def offer(memory: Memory, model: Model, new: Forward, /, *, extra: Mapping[str, Tensor] | None = None) -> None:
    """Offer the rows of a step to a memory, with extra columns, and with their losses where it chooses by them."""
    columns = {**new.rows.extra, **(extra or {})}
    if "loss" in memory.wants:
        columns["loss"] = model.losses(new)
    memory.add(replace(new.rows, extra=columns))
