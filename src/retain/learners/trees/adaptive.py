"""`HoeffdingAdaptiveTree`: a tree of which branches that fail are replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from retain.core import Array, Floats, Ints, State
from retain.detectors.adwin import ladders
from retain.errors import SettingError
from retain.learners.draws import seeded
from retain.learners.trees.adaptive_kernels import DEEPEST, WANTED, Errors, adaptive_rows
from retain.learners.trees.kernels import NODES, Forms, Tree
from retain.learners.trees.single import Leaf, SingleTree, growth

__all__ = ["HoeffdingAdaptiveTree"]

_BESIDE = 4 + sum(array.nbytes for array in ladders(1).values())  # bytes of a node


@final
class HoeffdingAdaptiveTree(SingleTree):
    """A Hoeffding tree whose nodes watch their errors, and are replaced by trees that grow beside them.

    ADWIN watches the errors of the rows that come by a node. Where they have become more, a new tree begins to grow
    beside it, on the rows that come there. Once both have seen `width` rows, the one takes the other's place, or is
    dropped, where the difference of their errors e exceeds

        sqrt(2 e (1 - e) ln(2 / chance) (1 / n + 1 / m)),

    n and m the widths of their windows. A leaf learns every row Poisson(1) times, but once at least.

    Args:
        grace: see `HoeffdingTree`, as all before `drift`.
        delta: probability that a split is not the best one.
        tie: a bound below which two features are as good as each other.
        leaf: what leaves say.
        branch: share of the weight that both branches of a split must have.
        max_depth: of the tree; None: 200, which no tree reaches.
        nominal: columns whose numbers are names.
        max_values: of a nominal column.
        max_bytes: memory that it may take, with all that grows beside it.
        drift: how probable a false alarm of ADWIN may be at one look.
        width: rows that a tree must have seen before it is compared.
        chance: how probable it may be that the worse tree is taken for the better one.
        seed: of how often rows are learnt.

    Raises:
        SettingError: a setting out of range, or a nominal column that is not there.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type.

    >>> import retain as rt
    >>> concepts = [rt.streams.Agrawal(seed=1, function=f) for f in (1, 4)]
    >>> stream = rt.streams.Recurring(concepts, every=10_000, n=40_000)
    >>> names = {"adaptive": rt.HoeffdingAdaptiveTree(), "plain": rt.HoeffdingTree()}
    >>> runs = {name: rt.Prequential(stream, tree, metrics=[rt.metrics.Accuracy()]) for name, tree in names.items()}
    >>> accuracy = {name: list(run)[-1].metrics["accuracy"] for name, run in runs.items()}
    >>> accuracy["adaptive"] > accuracy["plain"]
    True

    References:
        Bifet, Gavalda 2009, Adaptive learning from evolving data streams, IDA (HAT-ADWIN).
    """

    def __init__(
        self,
        *,
        grace: float = 50.0,
        delta: float = 0.01,
        tie: float = 0.05,
        leaf: Leaf = "either",
        branch: float = 0.01,
        max_depth: int | None = None,
        nominal: Sequence[str | int] = (),
        max_values: int = 32,
        max_bytes: int = 32 << 20,
        drift: float = 0.002,
        width: int = 300,
        chance: float = 0.05,
        seed: int = 0,
    ) -> None:
        for name, value, holds, expected in (
            ("drift", drift, 0 < drift < 1, "a probability between 0 and 1"),
            ("chance", chance, 0 < chance < 1, "a probability between 0 and 1"),
            ("width", width, width >= 1, "at least one row"),
        ):
            if not holds:
                raise SettingError(f"HoeffdingAdaptiveTree got {name}={value}; expected {expected}")
        super().__init__(
            growth(
                "HoeffdingAdaptiveTree",
                grace=grace,
                delta=delta,
                tie=tie,
                leaf=leaf,
                branch=branch,
                max_depth=DEEPEST if max_depth is None else min(max_depth, DEEPEST),
                nominal=nominal,
                max_values=max_values,
                max_bytes=max_bytes,
            ),
            beside=_BESIDE,
            wanted=WANTED,
        )
        self._test = (drift, float(width), chance)
        self._errors = _errors(0, seeded(seed))

    def state_dict(self) -> State:
        nodes = 0 if self._tree is None else int(self._tree.size[NODES])
        errors = {
            name: array[: None if name == "seed" else nodes].copy() for name, array in self._errors._asdict().items()
        }
        return {**super().state_dict(), "errors": errors}

    def load_state_dict(self, state: State, /) -> None:
        super().load_state_dict(state)
        self._errors = Errors(**{name: array.copy() for name, array in state["errors"].items()})

    def _renumber(self, kept: Ints, /) -> None:
        """Errors go with their nodes; trees that grew beside them are dropped."""
        parts = {name: array[kept] for name, array in self._errors._asdict().items() if name != "seed"}
        self._errors = Errors(**parts, seed=self._errors.seed)
        self._errors.beside[:] = -1

    def _rows(self, tree: Tree, forms: Forms, x: Floats, y: Array, weight: Array, out: Array, start: int, /) -> int:
        if len(self._errors.beside) < len(tree.test):
            self._errors = _longer(self._errors, len(tree.test))
        return adaptive_rows(tree, self._errors, forms, *self._test, x, y, weight, out, start)


def _errors(nodes: int, seed: Array) -> Errors:
    return Errors(
        beside=np.full(nodes, -1, dtype=np.int32),
        **ladders(nodes),
        seed=seed,
    )


def _longer(errors: Errors, nodes: int) -> Errors:
    longer = _errors(nodes, errors.seed)
    for name, array in errors._asdict().items():
        if name != "seed":
            getattr(longer, name)[: len(array)] = array
    return longer
