"""RTG: a random tree gives the class."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from retain.core import Array, Schema, State
from retain.streams.synthetic.generator import (
    CHUNK,
    Synthetic,
    flip,
    model_random,
    numeric,
    require,
    row_random,
    share,
    table,
)

__all__ = ["RandomTree"]


class Shape(NamedTuple):
    """How a random tree may grow."""

    classes: int
    numeric: int
    nominal: int
    values: int
    depth: int
    first_leaf: int
    leaf_share: float


class Nodes(NamedTuple):
    """A tree as arrays over its nodes, the root first; the children of a node follow one another."""

    attribute: npt.NDArray[np.int64]  # number of the attribute, numeric ones first; -1 at a leaf
    threshold: npt.NDArray[np.float64]  # of a numeric attribute: below it the first child, else the second
    child: npt.NDArray[np.int64]  # the first child
    label: npt.NDArray[np.int64]  # class of a leaf


@final
@dataclass(frozen=True, kw_only=True)
class RandomTree(Synthetic):
    """Uniform attributes, and a tree that was grown at random from the seed and gives the class.

    A node splits on an attribute at random: a numeric one at a threshold uniform in what of its range [0, 1) is left
    there, a nominal one into all its values, after which it is not used again below. From level `first_leaf` on a node
    is a leaf with probability `leaf_share`, at `depth` always; its class is random. Two trees share nothing, so that
    two seeds, one after the other (`drift.Abrupt`), are the abrupt drift of the literature (RTG).

    x holds the numeric attributes, then each nominal one as one column per value, 1 where it has this value.

    Args:
        seed: rows and tree are a function of it.
        classes: k.
        numeric: numeric attributes.
        nominal: nominal attributes.
        values: of each nominal attribute.
        depth: at which every node is a leaf; the root is at 0.
        first_leaf: level from which on nodes may be leaves.
        leaf_share: probability that they are.
        noise: probability that a label is replaced by another.
        n: rows in all; None for an endless stream.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.

    >>> stream = RandomTree(seed=1)
    >>> batch = next(iter(stream))
    >>> batch.x.shape, batch.schema.names[4:7]
    ((1000, 30), ('numeric_5', 'nominal_1=0', 'nominal_1=1'))
    >>> batch.y[:10]
    array([0, 1, 0, 0, 0, 0, 1, 1, 1, 0])

    Domingos and Hulten, "Mining high-speed data streams", KDD 2000; the settings are MOA's.
    """

    classes: int = 2
    numeric: int = 5
    nominal: int = 5
    values: int = 5
    depth: int = 5
    first_leaf: int = 3
    leaf_share: float = 0.15
    noise: float = 0.0

    def _check(self) -> None:
        require(self.classes >= 2, f"classes={self.classes}", "at least two")
        require(self.numeric >= 0, f"numeric={self.numeric}", "a number of attributes")
        require(self.nominal >= 0, f"nominal={self.nominal}", "a number of attributes")
        require(self.numeric + self.nominal > 0, "numeric=0 and nominal=0", "at least one attribute")
        require(self.values >= 2, f"values={self.values}", "at least two")
        # A nominal attribute is used up by its split: a path needs one for each level where there are no numbers.
        enough = self.numeric > 0 or self.nominal >= self.depth
        require(self.depth >= 1 and enough, f"depth={self.depth}", "1 or more, and not more than there are attributes")
        require(self.first_leaf >= 1, f"first_leaf={self.first_leaf}", "a level of at least 1")
        share(self.leaf_share, "leaf_share")
        share(self.noise, "noise")

    def schema(self) -> Schema:
        names = [f"numeric_{i + 1}" for i in range(self.numeric)]
        names += [f"nominal_{i + 1}={value}" for i in range(self.nominal) for value in range(self.values)]
        return table(numeric(names), classes=tuple(map(str, range(self.classes))))

    @property
    def nodes(self) -> Nodes:
        """The tree."""
        shape = Shape(
            self.classes, self.numeric, self.nominal, self.values, self.depth, self.first_leaf, self.leaf_share
        )
        return _grow(shape, self.seed)

    def labels(self, x: Array, /) -> npt.NDArray[np.int64]:
        """What the tree says of x (n, d), without noise: (n,) codes."""
        indicators = x[:, self.numeric :].reshape(len(x), self.nominal, self.values)
        return self._classify(x[:, : self.numeric], indicators.argmax(axis=2))

    def _classify(self, numbers: Array, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        attributes = np.concatenate([numbers.astype(np.float64), values], axis=1)
        tree = self.nodes
        node = np.zeros(len(attributes), dtype=np.int64)
        rows = np.arange(len(attributes))
        for _ in range(self.depth):
            attribute = tree.attribute[node]
            value = attributes[rows, attribute]  # a leaf reads the last attribute and does not use it
            branch = np.where(attribute < self.numeric, value >= tree.threshold[node], value).astype(np.int64)
            node = np.where(attribute < 0, node, tree.child[node] + branch)
        return tree.label[node]

    def _chunk(self, number: int, concept: State, /) -> tuple[Array, Array, State]:
        rng = row_random(self.seed, number)
        numbers = rng.random((CHUNK, self.numeric), dtype=np.float32)
        values = rng.integers(0, self.values, (CHUNK, self.nominal))
        indicators = np.eye(self.values, dtype=np.float32)[values].reshape(CHUNK, -1)
        y = flip(rng, self._classify(numbers, values), noise=self.noise, classes=self.classes)
        return np.concatenate([numbers, indicators], axis=1), y, concept


@lru_cache(maxsize=32)
def _grow(shape: Shape, seed: int) -> Nodes:
    rng = model_random(seed)
    attribute: list[int] = []
    threshold: list[float] = []
    child: list[int] = []
    label: list[int] = []
    known = 1  # nodes numbered so far
    # A node to be: its level, the nominal attributes left, and what is left of the range of each numeric one.
    waiting = deque([(0, tuple(range(shape.nominal)), ((0.0, 1.0),) * shape.numeric)])
    while waiting:
        level, left, ranges = waiting.popleft()
        leaf = level >= shape.depth or (level >= shape.first_leaf and rng.random() < shape.leaf_share)
        chosen = -1 if leaf else int(rng.integers(shape.numeric + len(left)))
        threshold.append(0.0)
        child.append(known)
        label.append(int(rng.integers(shape.classes)) if leaf else -1)
        if leaf:
            attribute.append(-1)
        elif chosen < shape.numeric:
            attribute.append(chosen)
            low, high = ranges[chosen]
            threshold[-1] = cut = low + (high - low) * rng.random()
            for part in ((low, cut), (cut, high)):
                waiting.append((level + 1, left, (*ranges[:chosen], part, *ranges[chosen + 1 :])))
            known += 2
        else:
            nominal = left[chosen - shape.numeric]
            attribute.append(shape.numeric + nominal)
            rest = tuple(other for other in left if other != nominal)
            waiting.extend([(level + 1, rest, ranges)] * shape.values)
            known += shape.values
    return Nodes(np.array(attribute), np.array(threshold), np.array(child), np.array(label))
