"""A moving mask: most weights are zero while it learns, and which ones is chosen anew along the way.

Shapes: p weights, of a layer b blocks of m, of which k stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

from retain.core import Forward, Model, Spring, State
from retain.errors import SettingError
from retain.rows import from_array, to_array
from retain.strategies.addend import Addend, Carry

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sparse", "chosen", "matrices", "renewed"]


def matrices(model: Model, /) -> Iterator[tuple[slice, int]]:
    """Where weights with more than one dimension lie, and how many feed one output; but not those of the last layer."""
    start = 0
    last = None if model.head is None else model.head.weight
    for p in model.module.parameters():
        if p.requires_grad:
            if p.ndim > 1 and p is not last:
                yield slice(start, start + p.numel()), p[0].numel()
            start += p.numel()


def chosen(worth: Tensor, keep: int, /) -> Tensor:
    """(b, m) true for what goes: all but the `keep` largest of each block (b, m)."""
    import torch

    gone = torch.ones_like(worth, dtype=torch.bool)
    return gone.scatter_(1, worth.topk(keep, 1).indices, value=False)


def renewed(gone: Tensor, weight: Tensor, gradient: Tensor, /, *, share: float) -> Tensor:
    """(b, m) the mask after a move: the least of what stays goes, and what the loss asks for most comes back.

    As many go as come. In one block a share of what stays is exchanged. Of many (a pattern) a share of the blocks
    exchange one weight each, those whose least weight is smallest.
    """
    import torch

    size, slope = weight.abs(), gradient.abs()
    blocks = len(gone)
    moves = round(share * int((~gone[0]).sum())) if blocks == 1 else 1
    moves = min(moves, int(gone[0].sum()))
    if not moves:
        return gone
    least = size.masked_fill(gone, torch.inf).topk(moves, 1, largest=False)
    most = slope.masked_fill(~gone, -1.0).topk(moves, 1)
    new = gone.clone()
    new.scatter_(1, least.indices, value=True).scatter_(1, most.indices, value=False)
    if blocks == 1:
        return new
    moved = least.values[:, 0].topk(round(share * blocks), largest=False).indices
    return gone.index_copy(0, moved, new[moved])


@final
class Sparse(Addend):
    """Keeps a share of the weights of every layer but the last at zero, whatever the optimiser makes of them.

    The mask is chosen by magnitude before the first step. After every `every` steps it moves: of the weights of a layer
    that are not zero a share `renewal`, the smallest, become zero, and as many that were come to life where the
    gradient of the whole loss, replay included, is largest. They begin at zero, so a move alone changes no answer but
    by what it takes. Split-MNIST with replay of 100 rows a class: 90 % zero ends .3 to .7 of a point below the dense
    learner, 95 % at most 1.6; a mask that never moves does as well there, two layers of 512 having units to spare.

    No processor here is faster for it; what is saved is room, on disk and on the way, and that is what it is sold for.
    An averaging of the weights is not sparse.

    Args:
        share: of the weights of a layer that are zero. Biases and layers of one dimension are left alone.
        pattern: instead of a share (n, m): of each m weights in a row at most n are not zero. Layers whose outputs are
            fed by no multiple of m weights are left alone.
        moving: whether the mask moves.
        every: steps between moves.
        renewal: share of the weights that are not zero, or of the blocks of a pattern, exchanged in a move.
        name: those that change weights, and come after it by name, change zeros too, until the next step.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(3000, 20)).astype(np.float32)
    >>> learner = rt.Neural(rt.neural.MLP(20, 64, 2), strategies=[Sparse(0.9, every=20)], batch_size=10)
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 3] * x[:, 5] > 0).astype(int)))
    >>> int((learner.module[1].weight == 0).sum()), int((learner.module[3].weight == 0).sum())
    (1152, 0)

    Raises:
        SettingError: numbers out of range, both a share and a pattern or neither; at the first step a module of which
            no layer can be masked.

    References:
        Evci et al. 2020, Rigging the lottery (RigL): there the gradient is that of one mini-batch too, and the share
        exchanged falls to nothing in the end, which a stream has not. Mocanu et al. 2018 (SET). Wang et al. 2022,
        SparCL: sparse continual learning on the edge.
    """

    def __init__(
        self,
        share: float | None = None,
        *,
        pattern: tuple[int, int] | None = None,
        moving: bool = True,
        every: int = 100,
        renewal: float = 0.1,
        name: str = "sparse",
    ) -> None:
        if (share is None) == (pattern is None):
            raise SettingError(f"Sparse got share={share} and pattern={pattern}; expected one of them")
        if (share is not None and not 0 < share < 1) or (pattern is not None and not 0 < pattern[0] < pattern[1]):
            raise SettingError(
                f"Sparse got share={share}, pattern={pattern}; expected 0 < share < 1, or n < m of which n stay, n > 0"
            )
        if every < 1 or not 0 < renewal <= 1:
            raise SettingError(f"Sparse got every={every}, renewal={renewal}; expected at least 1, and in (0, 1]")
        self.name = name
        self._share, self._pattern = share, pattern
        self._moving, self._every, self._renewal = moving, every, float(renewal)
        self._gone: Tensor | None = None  # (p,) true where weights are zero
        self._slope: Tensor | None = None  # (p,) the gradient, in a step after which the mask moves
        self._steps = 0

    def fixed(self) -> Sparse:
        """One with the same mask, that does not move."""
        other = Sparse(self._share, pattern=self._pattern, moving=False, name=self.name)
        other._gone = None if self._gone is None else self._gone.clone()
        return other

    def pull(self, model: Model, gradient: Tensor, /) -> Spring:
        self._fitted(model)  # the first is chosen before any step
        if self._moving and (self._steps + 1) % self._every == 0:
            self._slope = gradient.clone()
        return Spring()

    def stepped(self, model: Model, new: Forward, /) -> None:
        gone = self._fitted(model)
        self._steps += 1
        if self._slope is not None:
            gone = self._moved(model, gone, self._slope)
            self._slope = None
        model.weights.masked_fill_(gone, 0.0)

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        """What was zero stays so; the shares of the layers are set right by the next step."""
        if self._gone is not None:
            self._gone = carry(self._gone.float()) > 0
            self._gone = self._first(model, model.weights.abs().masked_fill(self._gone, -1.0))

    def _fitted(self, model: Model) -> Tensor:
        """The mask over the weights as they are: outputs that are new are of the last layer, which has none."""
        if self._gone is None:
            self._gone = self._first(model, model.weights.abs())
        elif len(self._gone) != len(model.weights):
            self._gone = model.widen(self._gone.to(model.weights)) > 0
        self._gone = self._gone.to(model.weights.device)
        return self._gone

    def _blocks(self, model: Model) -> Iterator[tuple[slice, int, int]]:
        """Where masked layers lie, how long their blocks are, and how many of each block stay."""
        found = False
        for place, fan in matrices(model):
            size = place.stop - place.start
            if self._pattern is None and self._share is not None:
                yield place, size, max(round((1 - self._share) * size), 1)
            elif self._pattern is not None and fan % self._pattern[1] == 0:
                yield place, self._pattern[1], self._pattern[0]
            else:
                continue
            found = True
        if not found:
            fed = (
                "" if self._pattern is None else f", whose outputs are fed by a multiple of {self._pattern[1]} weights"
            )
            raise SettingError(
                f"Sparse found no layer to mask in the {type(model.module).__name__}; expected a linear layer or a "
                f"convolution before the last linear layer{fed}"
            )

    def _first(self, model: Model, worth: Tensor) -> Tensor:
        import torch

        gone = torch.zeros_like(worth, dtype=torch.bool)
        for place, size, keep in self._blocks(model):
            gone[place] = chosen(worth[place].view(-1, size), keep).flatten()
        return gone

    def _moved(self, model: Model, gone: Tensor, slope: Tensor) -> Tensor:
        for place, size, _ in self._blocks(model):
            parts = (one[place].view(-1, size) for one in (gone, model.weights, slope))
            gone[place] = renewed(*parts, share=self._renewal).flatten()
        return gone

    def state_dict(self) -> State:
        return {"gone": None if self._gone is None else to_array(self._gone), "steps": self._steps}

    def load_state_dict(self, state: State, /) -> None:
        self._gone = None if state["gone"] is None else from_array(state["gone"])
        self._slope, self._steps = None, int(state["steps"])
