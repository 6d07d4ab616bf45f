"""The words of neural learners: rows as tensors, what a strategy sees, and where it has its say.

Shapes: n rows, k classes (or outputs), p parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from retain.core.data import Stateful

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear, Module

__all__ = [
    "Averaging",
    "Forward",
    "Head",
    "Memory",
    "Model",
    "Projection",
    "Rows",
    "Slope",
    "Spring",
    "Strategy",
]


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled rows as tensors: what a neural learner steps on and what a memory keeps; every column has n rows."""

    x: Tensor  # (n, ...)
    y: Tensor  # (n,) int64 codes, or (n,) or (n, k) floats; none missing
    weight: Tensor  # (n,) >= 0, ones where none were given
    extra: Mapping[str, Tensor] = field(default_factory=dict[str, "Tensor"])  # (n, ...) logits, features, ...

    def __len__(self) -> int:
        return self.y.shape[0]  # len(tensor) takes a microsecond, and steps ask often


@dataclass(frozen=True, slots=True)
class Forward:
    """Rows and what the module said of them in the one forward pass of a step."""

    rows: Rows
    output: Tensor  # (n, k), k the width of the module's output; part of a graph only in `Addend.loss`


@dataclass(frozen=True, slots=True)
class Slope:
    """A loss, and its gradient by the outputs that it depends on."""

    loss: Tensor  # ()
    new: Tensor | None = None  # (n, k) by those of the new rows; None where it does not depend on them
    own: Tensor | None = None  # (m, k) by those of the strategy's own


@dataclass(slots=True)
class Spring:
    """A pull at the weights w that the learner adds to the gradient, on the way of the step: times * bend * (w - rest).

    With `credit`, -g * (the step) is added to it after the step, g being the gradient without this pull. `times` is not
    finite where the pull is not: the step is then skipped.
    """

    bend: Tensor | None = None  # (p,) None for no pull
    rest: Tensor | None = None  # (p,)
    times: float = 1.0
    credit: Tensor | None = None  # (p,) changed in place
    square: float | None = None  # |g|^2, for who knows it already
    left: float | None = (
        None  # told after the step: about |bend * (w - rest)|^2, as long as the weights stay as they are
    )


class Model(Protocol):
    """What strategies and memories see of a neural learner."""

    @property
    def module(self) -> Module: ...

    @property
    def weights(self) -> Tensor:
        """(p,) all parameters that are trained, laid end to end: the module's own are views of it."""
        ...

    @property
    def head(self) -> Linear | None:
        """The last linear layer; None where the module has none."""
        ...

    @property
    def classes(self) -> int:
        """How many classes have been learnt, those of the step under way included; 0 where targets are numbers."""
        ...

    @property
    def seen(self) -> Tensor:
        """(tasks, classes) which classes occurred in which task; (0, 0) without task masks."""
        ...

    def scores(self, output: Tensor, /) -> Tensor:
        """What the module says (n, k) of the classes that have been learnt (n, classes); all of it, for numbers."""
        ...

    def losses(self, forward: Forward, /) -> Tensor:
        """The criterion, one loss for each row (n,), weights of rows not applied."""
        ...

    def slope(self, forward: Forward, /) -> tuple[Tensor, Tensor]:
        """The mean over rows of weight times the criterion, (), and its gradient by the outputs (n, k)."""
        ...

    def outputs(self, x: Tensor, /, *, weights: Tensor | None = None) -> Tensor:
        """What the module says of rows (n, k), in evaluation mode and without a graph; with other weights if given."""
        ...

    def features(self, x: Tensor, /, *, weights: Tensor | None = None) -> Tensor:
        """What the last linear layer is given for rows (n, d), in evaluation mode and without a graph."""
        ...

    def gradient(self, rows: Rows, /, *, slope: Callable[[Forward], Tensor] | None = None) -> Tensor:
        """(p,) the gradient of the mean loss of rows, in training mode; of that with such a slope (n, k), if given."""
        ...

    def magnitudes(self, x: Tensor, slope: Tensor, /, *, power: int) -> Tensor:
        """(p,) the sum over rows of |g|^power, g the gradient of one row's outputs times its slope (n, k).

        In evaluation mode: with power 2 and the slopes of the losses, n times the diagonal Fisher information.
        """
        ...

    def widen(self, vector: Tensor, /) -> Tensor:
        """A vector over the weights as they once were, over the weights as they are: zeros where the head grew.

        Returns `vector` itself where nothing has grown.
        """
        ...


class Strategy(Stateful, Protocol):
    """One addend of the training loss of a neural learner.

    A step calls `rows`, makes one forward pass over the new rows and those of every strategy, adds up `slope`, goes
    back through the module once, calls `pull`, steps the optimiser and calls `stepped`, each in the order of the names,
    so that the order of listing cannot matter. A strategy that draws at random has a generator of its own. Those that
    need only a part of this descend from `retain.strategies.Addend`.
    """

    @property
    def name(self) -> str:
        """What its state is kept under; no two strategies of a learner share it."""
        ...

    @property
    def memory(self) -> Memory | None:
        """The rows that it keeps, if it keeps any; no two parts of a learner share a memory."""
        ...

    def rows(self, new: Rows, /) -> Rows | None:
        """The rows it wants in the forward pass beside the new ones (replay)."""
        ...

    def slope(self, model: Model, new: Forward, /, *, own: Forward | None) -> Slope | None:
        """The addend as a function of the outputs, and its gradient by them; None for nothing. Changes nothing."""
        ...

    def pull(self, model: Model, gradient: Tensor, /) -> Spring | None:
        """The addend as a function of the weights: its gradient is added, in place, to that of the loss (p,).

        Or it is returned, for the learner to add; that costs less, since the optimiser goes through all weights anyway.
        """
        ...

    def stepped(self, model: Model, new: Forward, /) -> None:
        """The optimiser has stepped: remember the new rows and their outputs, follow the weights.

        The outputs are those from before the step, without their graph. Called after a step only: one that was
        skipped, because a loss or a gradient was not finite, leaves no trace.
        """
        ...

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """An experience has ended: Fisher, anchors, teachers. Its blocks can be gone through again and again."""
        ...


class Projection(Stateful, Protocol):
    """What is done to the gradient of the whole loss before the step (GEM, A-GEM). A learner has at most one."""

    @property
    def memory(self) -> Memory | None:
        """As `Strategy.memory`."""
        ...

    def project(self, model: Model, gradient: Tensor, /) -> None:
        """Change the gradient (p,) in place."""
        ...

    def stepped(self, model: Model, new: Forward, /) -> None:
        """As `Strategy.stepped`."""
        ...

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """As `Strategy.consolidate`."""
        ...


class Averaging(Stateful, Protocol):
    """Other weights to predict with than those that are trained (EMA, interpolation). A learner has at most one."""

    def weights(self, model: Model, /) -> Tensor:
        """(p,) what to predict with now. Changes nothing."""
        ...

    def stepped(self, model: Model, new: Forward, /) -> None:
        """As `Strategy.stepped`."""
        ...

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """As `Strategy.consolidate`."""
        ...


class Head(Stateful, Protocol):
    """How what the module says becomes an answer (nearest mean, bias correction). A learner has at most one."""

    @property
    def memory(self) -> Memory | None:
        """As `Strategy.memory`; None where it only reads that of a strategy."""
        ...

    def answer(self, model: Model, x: Tensor, /) -> Tensor:
        """Scores (n, k) of the classes it knows: the larger the likelier; a softmax turns them into probabilities."""
        ...

    def stepped(self, model: Model, new: Forward, /) -> None:
        """As `Strategy.stepped`."""
        ...

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """As `Strategy.consolidate`; called after the strategies have consolidated."""
        ...


class Memory(Stateful, Protocol):
    """Rows kept of all that went by, under a fixed budget. It has its own generator, so that `sample` may draw."""

    @property
    def wants(self) -> frozenset[str]:
        """Extra columns that rows must bring for it to choose by ("loss"); they are kept like others."""
        ...

    def __len__(self) -> int: ...

    def add(self, rows: Rows, /) -> None:
        """Offer n rows, one after the other; how they are split into calls changes nothing."""
        ...

    def sample(self, n: int, /) -> Rows:
        """Draw n different rows, all there are where there are fewer. Raises SettingError while it is empty."""
        ...

    def rows(self) -> Rows:
        """All that it holds. Raises SettingError while it is empty."""
        ...

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """An experience has ended, all of whose rows were offered: choose among them (herding), start a new share."""
        ...
