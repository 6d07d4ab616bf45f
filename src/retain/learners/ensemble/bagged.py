# ruff: noqa: SLF001
"""What ensembles of trees share: members that each learn a row some random number of times, and may begin anew."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import numpy as np

from retain.branches import Branches, joined
from retain.compose import Branching
from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.detectors.adwin import ladders
from retain.errors import PoisonError, SettingError
from retain.learners.draws import seeded
from retain.learners.ensemble.abreast import abreast, processors
from retain.learners.ensemble.bagged_kernels import Member, Policy, begin, member_rows, trust
from retain.learners.ensemble.bagged_numbers_kernels import begin_numbers, member_numbers
from retain.learners.ensemble.members import in_order
from retain.learners.intake import Given, Intake
from retain.learners.trees import HoeffdingTree, RegressionTree, arrays, regression_arrays
from retain.learners.trees.arrays import Growth
from retain.learners.trees.branching import counted, described, pruned, reached
from retain.learners.trees.kernels import MAJORITY
from retain.learners.trees.regression import numbers_only, shaped, target
from retain.learners.trees.single import unlabelled, widen

__all__ = ["NUMBERS", "Bagged", "Member", "Pair", "Plan", "chances"]

_WORTH = 20_000  # rows times members from which on threads pay
_OFTEN = 30.0  # times a row is learnt, in the mean, at most: see `draws.poisson`
_STREAMS = 3  # generators of a member: its own, and one for each of its two trees


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """How one ensemble differs from others."""

    policy: Policy
    rate: float  # how often a member learns a row, in the mean
    features: float | None = None  # that are looked at; below 1 a share of all; None: all
    by_leaf: bool = False  # they are drawn for every leaf, not for every tree

    def looked(self, width: int) -> int:
        """How many features a tree or a leaf looks at."""
        if self.features is None:
            return width
        wanted = self.features * width if self.features < 1 else self.features
        return min(width, max(2, round(wanted)))  # a patch of one feature knows of no interaction


@final
@dataclass(frozen=True, slots=True)
class Kind:
    """What trees of classes and trees of numbers do differently."""

    layout: Callable[[Growth, int, int, bool], Any]  # features, those looked at, whether each leaf has its own
    room: Any  # the module that makes room for such trees
    begin: Callable[..., None]
    rows: Callable[..., int]
    score: tuple[int, ...]  # shape of `Member.score`

    def __deepcopy__(self, _: Any) -> Kind:
        return self  # there are two of them, which a copy of a forest shares with it


CLASSES = Kind(lambda growth, d, m, _: growth.layout(d, m), arrays, begin, member_rows, (2,))
NUMBERS = Kind(
    lambda growth, d, m, own: regression_arrays.layout(growth, d, m, by_leaf=own),
    regression_arrays,
    begin_numbers,
    member_numbers,
    (3, 2),
)


@final
class Pair:
    """A member: the tree that answers, the tree that may take its place, and what is remembered beside them."""

    def __init__(self, kind: Kind, growth: Growth, plan: Plan, *, place: Array, seed: Array) -> None:
        m = plan.looked(len(place))
        self._kind, self._growth = kind, growth
        self._all = m == len(place)
        self._own = plan.by_leaf and not self._all
        self._layout = kind.layout(growth, len(place), m, self._own)
        self._forms = [growth.forms(place, np.arange(0 if self._own else m, dtype=np.int32)) for _ in range(2)]
        self._trees = [kind.room.plant(self._layout, seed=seed[i : i + 1].copy()) for i in (1, 2)]
        self.member = Member(
            which=np.zeros(2, dtype=np.int64),
            score=np.zeros(kind.score),
            boost=np.zeros(2),
            **ladders(2),
            seed=seed[:1].copy(),
        )
        for tree, forms in zip(self._trees, self._forms, strict=True):
            kind.begin(tree, forms, self.member.seed)

    @property
    def memory(self) -> int:
        """Bytes of both trees, and of the detectors that watch them."""
        trees = sum(self._kind.room.memory(tree, self._layout) for tree in self._trees)
        return trees + sum(array.nbytes for array in self.member)

    def widen(self, place: Array) -> None:
        """There are more features to the right; leaves that look at all look at these, too."""
        if len(place) == len(self._forms[0].place):
            return
        m = len(place) if self._all else self._layout.looked
        self._layout = self._kind.layout(self._growth, len(place), m, self._own)
        subsets = [np.arange(m, dtype=np.int32) if self._all else forms.subset for forms in self._forms]
        self._forms = [self._growth.forms(place, subset) for subset in subsets]
        self._trees = [self._kind.room.widened(tree, self._layout) for tree in self._trees]

    def learn(self, policy: Policy, x: Floats, y: Array, weight: Array, rate: Array, out: Array) -> None:
        """Answer and learn the rows; see `bagged_kernels.member_rows` and `bagged_numbers_kernels.member_numbers`."""
        start, said = 0, dict[int, Array]()
        while True:
            order = slice(None, None, -1 if self.member.which[0] else 1)
            trees, forms = self._trees[order], self._forms[order]
            start = self._kind.rows(*trees, *forms, self.member, policy, x, y, weight, rate, out, start)
            if start == len(x):
                break
            if self._kind is CLASSES and y[start] >= trees[0].counts.shape[1]:
                # Room for a class may be taken from a leaf: it is asked first.
                said[start] = np.zeros((1, out.shape[1]))
                alone = x[start : start + 1], *unlabelled(1), rate[start : start + 1].copy(), said[start]
                self._kind.rows(*trees, *forms, self.member, policy, *alone, 0)
            self._trees = [self._kind.room.grown(tree, self._layout, y[start]) for tree in self._trees]
        for row, answer in said.items():
            out[row] = answer[0]

    def branches(self, classes: int) -> Branches:
        """Of the tree that answers."""
        near = int(self.member.which[0])
        return described(self._trees[near], self._forms[near], classes=classes)

    def prune(self, nodes: Ints) -> None:
        """These nodes of the tree that answers become leaves; the one behind it stays as it is."""
        near = int(self.member.which[0])
        tree = self._trees[near]
        self._trees[near], _ = pruned(tree, reached(tree)[nodes])

    def count(self, more: Floats, growth: Growth) -> None:
        """Leaves of the tree that answers have counted more, and grow otherwise from now on."""
        near = int(self.member.which[0])
        self._trees[near] = counted(self._trees[near], more)
        self._growth = growth
        self._forms = [growth.forms(forms.place, forms.subset) for forms in self._forms]

    def state_dict(self) -> State:
        return {
            "all": self._all,
            "own": self._own,
            "looked": self._layout.looked,
            "trees": [self._kind.room.saved(tree) for tree in self._trees],
            "subsets": [forms.subset.copy() for forms in self._forms],
            "member": {name: array.copy() for name, array in self.member._asdict().items()},
        }

    def load_state_dict(self, state: State) -> None:
        place = self._forms[0].place
        self._all, self._own = bool(state["all"]), bool(state["own"])  # as at the width of the first block
        self._layout = self._kind.layout(self._growth, len(place), int(state["looked"]), self._own)
        self._trees = [self._kind.room.restored(tree) for tree in state["trees"]]
        self._forms = [self._growth.forms(place, subset.copy()) for subset in state["subsets"]]
        self.member = Member(**{name: array.copy() for name, array in state["member"].items()})


class Bagged(Branching, ABC):
    """An ensemble of trees; see its kinds, each in the file of its name.

    Members know nothing of each other, so that they learn side by side, on as many threads as there are processors;
    what comes out does not depend on how many.
    """

    def __init__(self, trees: int, tree: HoeffdingTree | RegressionTree, plan: Plan, *, seed: int) -> None:
        reader = type(self).__name__
        if trees < 1:
            raise SettingError(f"{reader} got trees={trees}; expected at least one")
        if not 0 < plan.rate <= _OFTEN:
            raise SettingError(f"{reader} got rate={plan.rate}; expected a number above 0, of at most {_OFTEN:g}")
        if plan.features is not None and not 0 < plan.features < np.inf:
            raise SettingError(f"{reader} got features={plan.features}; expected a share below 1, or a number")
        # other kinds of trees are learners, too, and not all who call check types
        if not isinstance(tree, (HoeffdingTree, RegressionTree)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SettingError(
                f"{reader} got tree={type(tree).__name__}; expected a HoeffdingTree for classes, or a RegressionTree "
                "for numbers"
            )
        self._kind = CLASSES if isinstance(tree, HoeffdingTree) else NUMBERS
        self._growth, self._plan = tree.growth, plan
        self._seed, self._trees = seed, trees
        classes = self._kind is CLASSES
        self._intake = Intake(reader, classifies=classes, regresses=not classes, missing=True)
        self._place: Array = np.empty(0, dtype=np.int32)
        self._pairs: list[Pair] = []

    @property
    def memory(self) -> int:
        """Bytes of what the trees have learnt, and of the detectors that watch them."""
        return sum(pair.memory for pair in self._pairs)

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._read(batch)
        place = widen(self._place, self._growth, batch, given.x.shape[1], reader=type(self).__name__)
        if self._kind is CLASSES:
            self._growth.layout(len(place), self._plan.looked(len(place))).admit(reader=type(self).__name__)
        self._intake.keep(given)
        self._place = place
        self._pairs = self._pairs or self._planted()
        for pair in self._pairs:
            pair.widen(place)
        if self._kind is NUMBERS:
            return self._mean(given.x, target(given), given.weight)
        return self._shares(given.x, given.y, given.weight, given.classes or 0)

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, classes), or numbers (n,). Changes nothing."""
        rows = self._intake.rows(x)
        if self._kind is NUMBERS:
            return self._mean(rows, np.full(len(rows), np.nan), np.zeros(len(rows)))
        return self._shares(rows, *unlabelled(len(rows)), self._intake.classes or 0)

    def branches(self) -> Branches:
        """As `retain.compose.Branching.branches`."""
        if self._kind is NUMBERS:
            raise SettingError(
                f"{type(self).__name__} has trees of numbers, which no plain arrays tell yet; expected trees of "
                "classes: keep it as it is, or compress another learner"
            )
        trees = [pair.branches(self._intake.classes or 0) for pair in self._pairs]
        return joined(trees, np.array([trust(pair.member, self._plan.policy) for pair in self._pairs]))

    def thinned(self, kept: Ints, /) -> Bagged:
        """As `retain.compose.Branching.thinned`."""
        if not len(kept) or (np.diff(kept) <= 0).any() or kept[0] < 0 or kept[-1] >= len(self._pairs):
            raise SettingError(
                f"{type(self).__name__} got {list(kept)} as trees to keep of {len(self._pairs)}; expected their "
                "numbers, at least one, ascending"
            )
        other = deepcopy(self)
        other._pairs = [other._pairs[i] for i in kept]
        other._trees = len(kept)
        return other

    def pruned(self, nodes: Ints, /) -> Bagged:
        """As `retain.compose.Branching.pruned`."""
        root, other = self.branches().root, deepcopy(self)
        which = np.searchsorted(root, nodes, side="right") - 1
        for i, pair in enumerate(other._pairs):
            pair.prune(nodes[which == i] - root[i])
        return other

    def counting(self, more: Floats, /) -> Bagged:
        """As `retain.compose.Branching.counting`."""
        root, other = self.branches().root, deepcopy(self)
        other._growth = replace(self._growth, leaf=MAJORITY)
        for pair, part in zip(other._pairs, np.split(more, root[1:]), strict=True):
            pair.count(part, other._growth)
        return other

    def state_dict(self) -> State:
        pairs = [pair.state_dict() for pair in self._pairs]
        state = {"intake": self._intake.state_dict(), "place": self._place.copy(), "pairs": pairs}
        return state | {"leaf": self._growth.leaf, "trees": self._trees}

    def load_state_dict(self, state: State, /) -> None:
        self._growth, self._trees = replace(self._growth, leaf=int(state["leaf"])), int(state["trees"])
        self._intake.load_state_dict(state["intake"])
        self._place = state["place"].copy()
        self._pairs = self._planted() if state["pairs"] else []
        for pair, saved_pair in zip(self._pairs, state["pairs"], strict=True):
            pair.load_state_dict(saved_pair)

    def _planted(self) -> list[Pair]:
        seeds = seeded(self._seed, _STREAMS * self._trees)
        return [
            Pair(
                self._kind,
                self._growth,
                self._plan,
                place=self._place,
                seed=seeds[_STREAMS * i : _STREAMS * (i + 1)],
            )
            for i in range(self._trees)
        ]

    def _read(self, batch: Batch) -> Given:
        """The rows of a block, their labels of the kind that the trees learn."""
        reader = type(self).__name__
        if self._kind is NUMBERS:
            return numbers_only(self._intake, batch, reader=reader, cure="tree=rt.HoeffdingTree()")
        if batch.y is not None and batch.y.dtype.kind == "f":
            raise PoisonError(
                f"{reader} got labels of type {batch.y.dtype}, which are numbers; expected class codes: "
                "tree=rt.RegressionTree() learns numbers, and y.astype(int) makes codes of them"
            )
        return self._intake.read(batch)

    def _shares(self, x: Floats, y: Array, weight: Array, classes: int) -> Array:
        """The mean of the shares that members give the classes, by what each of them counts for: (n, classes)."""
        votes = self._votes(x, y, weight, classes)
        total = in_order(votes)
        return np.divide(votes, total, out=votes, where=total > 0)

    def _mean(self, x: Floats, y: Array, weight: Array) -> Array:
        """The mean of the numbers that members say, by what each of them counts for: (n,)."""
        votes = self._votes(x, y, weight, 2)
        mean = np.divide(votes[:, 0], votes[:, 1], out=np.zeros(len(x)), where=votes[:, 1] > 0)
        return shaped(mean, self._intake)

    def _votes(self, x: Floats, y: Array, weight: Array, width: int) -> Array:
        """What members say, added up: (n, width)."""
        said = np.zeros((len(self._pairs), len(x), width))
        if not said.size:
            return said.sum(axis=0)
        policy = self._plan.policy
        rate = np.full(len(x), self._plan.rate)
        # Where members boost, each learns what those before it had wrong: one after the other.
        calls = [
            partial(pair.learn, policy, x, y, weight, rate if policy.boosting else rate.copy(), out)
            for pair, out in zip(self._pairs, said, strict=True)
        ]
        pays = not policy.boosting and len(x) * len(calls) >= _WORTH
        abreast(calls, processors() if pays else 1)
        return said.sum(axis=0)


def chances(reader: str, warning: float, drift: float, /) -> tuple[float, float]:
    """Of false alarms, checked."""
    for name, value in (("warning", warning), ("drift", drift)):
        if not 0 <= value < 1:
            raise SettingError(f"{reader} got {name}={value}; expected a probability below 1, or 0 for no detector")
    return float(warning), float(drift)
