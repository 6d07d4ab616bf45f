"""What a learner answers with, where that is a weighted mean of what the leaves of trees say.

Shapes: n rows, d features, T trees, N nodes, L leaves, K classes; B leaves that say Bayes, each of m features;
Q nominal features of V values (or buckets of values) each.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import final

import numpy as np

from retain.core import Array, Floats, Ints
from retain.errors import SettingError

__all__ = ["Bayes", "Branches"]


_PLAIN = ("root", "trust", "test", "value", "child", "missing", "leaf", "shares")


@final
@dataclass(frozen=True, slots=True)
class Bayes:
    """Naive Bayes in B leaves: a Gaussian for each class and feature, shares of values where the feature is nominal.

    A class scores `prior`, less `narrow` times (x - mean)^2 for every number, and plus the logarithm of its share of
    the value for every nominal feature. A feature that is missing has no term, and takes its part, half the logarithm
    of `narrow`, out of the prior. Shares are exp(score), divided by their sum.
    """

    pick: Ints  # (B, m) int32 the features that are looked at
    mean: Floats  # (B, K, m)
    narrow: Floats  # (B, K, m) 1 / (2 variance); 0: a class of which this feature is not known
    prior: Floats  # (B, K) logarithm of the class's weight, and half the sum of those of `narrow`; -inf: never seen
    values: Floats  # (B, Q, V, K) logarithm of the share of each value; of features that are not looked at 0

    def __len__(self) -> int:
        return len(self.pick)


@final
@dataclass(frozen=True, slots=True)
class Branches:
    """Trees as plain arrays, one after the other, each node before those below it and the left one right behind it.

    At a node with a test a row goes left where its feature is at most `value`; of nominal features, where its bucket,
    |x| rounded down modulo V, is `value`; and where it is missing, as `missing` says. A leaf says its row of `shares`,
    or, where `bayes` is not -1, what that row of `says` finds. Answers are the sums of what the trees say, each times
    its `trust`, divided by their sum over the classes; 0 where that is 0.

    >>> one = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> trees = Branches.of_shares(test=[0, -1, -1], value=[0.5, 0, 0], child=[[1, 2], [0, 0], [0, 0]], shares=one)
    >>> trees.answers(np.array([[0.5], [0.7]]))
    array([[0.9, 0.1],
           [0.2, 0.8]])
    """

    width: int  # d
    root: Ints  # (T,) int32
    trust: Floats  # (T,)
    test: Ints  # (N,) int32 the feature that a node asks for; -1 at a leaf
    value: Floats  # (N,)
    child: Ints  # (N, 2) int32 left and right; 0 at a leaf
    missing: Ints  # (N,) int8 the child for what is missing, 0 or 1
    leaf: Ints  # (N,) int32 number of a leaf; -1 where there is a test
    shares: Floats  # (L, K)
    weight: Floats  # (L,) of the rows that leaves have counted, which no answer looks at
    bayes: Ints  # (L,) int32 row of `says`; -1
    says: Bayes
    place: Ints  # (d,) int32 number among the nominal features; -1 for numbers

    @staticmethod
    def of_shares(*, test: object, value: object, child: object, shares: Floats, width: int | None = None) -> Branches:
        """One tree of numbers whose leaves say shares, in the order of the leaves; what is missing goes left."""
        asked = np.asarray(test, dtype=np.int32)
        leaf = np.where(asked < 0, np.cumsum(asked < 0) - 1, -1).astype(np.int32)
        d = int(asked.max(initial=0)) + 1 if width is None else width
        k = shares.shape[1]
        return Branches(
            d,
            np.zeros(1, dtype=np.int32),
            np.ones(1),
            asked,
            np.asarray(value, dtype=np.float64),
            np.asarray(child, dtype=np.int32),
            np.zeros(len(asked), dtype=np.int8),
            leaf,
            shares,
            np.ones(len(shares)),
            np.full(len(shares), -1, dtype=np.int32),
            no_bayes(k),
            np.full(d, -1, dtype=np.int32),
        )

    @property
    def trees(self) -> int:
        """How many there are."""
        return len(self.root)

    @property
    def classes(self) -> int:
        """How many are told apart."""
        return self.shares.shape[1]

    @property
    def nominal(self) -> int:
        """V; 0 where no feature is nominal."""
        return self.says.values.shape[2]

    def tree(self) -> Ints:
        """(N,) the tree that each node belongs to."""
        return np.repeat(np.arange(self.trees), np.diff(self.root, append=len(self.test)))

    def last(self) -> Ints:
        """(N,) one more than the last node at or below each node: what is below it lies right behind it."""
        found = np.arange(1, len(self.test) + 1)
        for node in np.flatnonzero(self.test >= 0)[::-1]:
            found[node] = found[self.child[node, 1]]
        return found

    def reached(self, x: Array, /) -> Ints:
        """(n, T) the leaves, as nodes, that rows (n, d) come to."""
        at = np.tile(self.root, (len(x), 1)).astype(np.int64)
        rows = np.arange(len(x))[:, None]
        while (self.test[at] >= 0).any():
            asked = self.test[at]
            given = x[rows, asked]
            right = given > self.value[at]
            if self.nominal:
                right = np.where(self.place[asked] >= 0, bucket(given, self.nominal) != self.value[at], right)
            right = np.where(np.isnan(given), self.missing[at], right).astype(np.int64)
            at = np.where(asked >= 0, self.child[at, right], at)
        return at

    def said(self, x: Array, /) -> Floats:
        """(n, T, K) what the leaf of each tree says of rows (n, d)."""
        x = np.asarray(x, dtype=np.float64)
        leaf = self.leaf[self.reached(x)]
        said = self.shares[leaf]
        row, tree = np.nonzero(self.bayes[leaf] >= 0)
        if len(row):
            said[row, tree] = self._found(self.bayes[leaf[row, tree]], x[row])
        return said

    def answers(self, x: Array, /) -> Floats:
        """(n, K) probabilities of rows (n, d); of 0 where nothing is known."""
        votes = np.einsum("ntk,t->nk", self.said(x), self.trust)
        total = votes.sum(axis=1, keepdims=True)
        return np.divide(votes, total, out=np.zeros_like(votes), where=total > 0)

    def plain(self) -> dict[str, Array]:
        """All that answers, as arrays by name.

        Those of naive Bayes are there where a leaf says it, `place` and `buckets` (V) where a feature is nominal.
        """
        told = {name: getattr(self, name) for name in _PLAIN}
        if self.nominal:
            told |= {"place": self.place, "buckets": np.array(self.nominal)}
        if len(self.says):
            told |= {"bayes": self.bayes} | {f.name: getattr(self.says, f.name) for f in fields(self.says)}
        return told

    def _found(self, which: Ints, x: Floats) -> Floats:
        """(r, K) what these rows of `says` find in rows x (r, d)."""
        says = self.says
        pick = says.pick[which]
        given = np.take_along_axis(x, pick, axis=1)[:, None]  # (r, 1, m)
        narrow = says.narrow[which]
        gone = np.isnan(given)
        named = (self.place[pick] >= 0)[:, None]
        gap = np.where(gone | named, 0.0, given - says.mean[which])
        lost = 0.5 * np.log(np.where(narrow > 0, narrow, 1.0))
        score = says.prior[which] - (gap * gap * narrow).sum(axis=2) - np.where(gone, lost, 0.0).sum(axis=2)
        for j in range(pick.shape[1] if self.nominal else 0):
            q = self.place[pick[:, j]]
            told = says.values[which, q, bucket(np.nan_to_num(given[:, 0, j]), self.nominal).astype(np.int64)]
            score += np.where(((q >= 0) & ~gone[:, 0, j])[:, None], told, 0.0)
        likely = np.exp(score - score.max(axis=1, keepdims=True))
        return likely / likely.sum(axis=1, keepdims=True)


def bucket(x: Array, values: int, /) -> Floats:
    """The place of nominal values among so many; NaN stays."""
    return np.floor(x) % values


def no_bayes(classes: int, /, *, features: int = 0, nominal: int = 0, values: int = 0) -> Bayes:
    """Of no leaf."""
    return Bayes(
        np.zeros((0, features), dtype=np.int32),
        np.zeros((0, classes, features)),
        np.zeros((0, classes, features)),
        np.zeros((0, classes)),
        np.zeros((0, nominal, values, classes)),
    )


def joined(trees: list[Branches], trust: Floats, /) -> Branches:
    """Trees of the same rows and classes as one forest. Raises SettingError for none."""
    if not trees:
        raise SettingError("there are no trees yet: let the learner learn some rows first")
    nodes = np.cumsum([0, *(len(one.test) for one in trees)])
    leaves = np.cumsum([0, *(len(one.shares) for one in trees)])
    found = np.cumsum([0, *(len(one.says) for one in trees)])

    def shifted(name: str, by: Ints) -> Array:
        """Numbers of rows of another array; -1 stays, as does a child of a leaf, 0."""
        parts = [np.asarray(getattr(one, name)) for one in trees]
        least = 1 if name == "child" else 0
        return np.concatenate([np.where(p >= least, p + n, p) for p, n in zip(parts, by, strict=False)]).astype("i4")

    def together(name: str) -> Array:
        return np.concatenate([getattr(one, name) for one in trees])

    says = {f.name: np.concatenate([getattr(one.says, f.name) for one in trees]) for f in fields(Bayes)}
    return Branches(
        trees[0].width,
        shifted("root", nodes),
        trust,
        together("test"),
        together("value"),
        shifted("child", nodes),
        together("missing"),
        shifted("leaf", leaves),
        together("shares"),
        together("weight"),
        shifted("bayes", found),
        Bayes(**says),
        trees[0].place,
    )
