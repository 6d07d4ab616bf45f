"""What learners that are a function of sums share: rows wait until they fill a block, then are added and forgotten.

Shapes: n rows, d features, D = d + 1 with the constant feature 1 in front, k outputs or classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from copy import copy, deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from retain.blocks import concat_arrays, dense
from retain.compose import Consolidating, Settling, Wary
from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.errors import PoisonError, SettingError
from retain.learners.analytic.moments import Moments, hash_rows, total
from retain.learners.intake import Given, Intake, check_kept
from retain.scores import Link, Scores

__all__ = ["Summed"]

_MOST_OUT = 100  # times what stays may be taken out of a sum of squares
_WIDEST = 32_768  # the squares of so many features take eight gigabytes


class Summed(Consolidating, Settling, Wary, ABC):
    """A learner whose answers depend on sums over the rows alone: those of parts add up, and rows can be taken out.

    Args:
        batch_size: rows that are added at a time, g; what does not fill a block waits in the state.
        regresses: whether targets may be numbers.
        forgetting: by which all rows before are multiplied at every row of weight 1.
        window: how many of the last rows count, all others are taken out again; None for all of them.
        products: whether it needs the products of all pairs of features.
        folds: how many sums are kept apart, each of the rows whose hash falls to it; 0 where `_take` says which are.
    """

    def __init__(
        self,
        *,
        batch_size: int,
        regresses: bool,
        forgetting: float = 1.0,
        window: int | None = None,
        products: bool = True,
        folds: int = 1,
    ) -> None:
        self._reader = type(self).__name__
        if batch_size < 1:
            raise SettingError(f"{self._reader} got batch_size={batch_size}; expected at least 1")
        if not 0 < forgetting <= 1:
            raise SettingError(f"{self._reader} got forgetting={forgetting}; expected 0 < forgetting <= 1, e.g. .999")
        if window is not None and (window < 1 or forgetting < 1):
            raise SettingError(
                f"{self._reader} got window={window} with forgetting={forgetting}; expected at least one row, and "
                "either of the two: rows that fade need not be taken out"
            )
        self.batch_size, self.forgetting, self.window = batch_size, forgetting, window
        self._inside: list[Given] = []  # the rows of the window
        self._left = 0  # how many rows were taken out since the sums were last summed anew
        self.intake = Intake(self._reader, widest=_WIDEST, regresses=regresses)
        self._products = products
        self._grows = folds == 0
        self._folds = [self._nothing() for _ in range(folds)]
        self._waiting: list[Given] = []
        self._solution: Any = None  # of the sums as they are; None until it is asked for

    @abstractmethod
    def _solve(self) -> Any:
        """What `_answer` needs, from the sums; called after they have changed, when it is first asked for."""

    @abstractmethod
    def _answer(self, solution: Any, x: Floats) -> Floats:
        """Numbers, or votes >= 0 for classes, of rows (n, d): (n, up to k)."""

    @abstractmethod
    def _newness(self, solution: Any, x: Floats) -> Floats:
        """How new rows (n, d) look: (n,). Asked for of classes only."""

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._given(batch)
        known = _known(given)
        out = np.zeros((len(given.x), self.intake.outputs))
        for rows in self._steps(given):
            out[rows] = self._answers(given.x[rows], known[rows])
        return out[:, 0] if self.intake.flat else out

    def predict(self, x: Features, /) -> Array:
        """Numbers (n,) or (n, k), or probabilities (n, classes); (n, 0) before the first labels. Changes nothing."""
        rows = self.intake.rows(x)
        out = self._answers(rows, np.full(len(rows), self.intake.classes or 0))
        return out[:, 0] if self.intake.flat else out

    def novelty(self, x: Features, /) -> Floats:
        """(n,) how new each row looks, infinite before the first block; see `retain.novelty`. Changes nothing."""
        return self._novelty(self.intake.rows(x))

    def learn_novelty(self, batch: Batch, /) -> tuple[Array, Floats]:
        """As `learn`, with the novelty (n,) of each row just before its update."""
        given = self._given(batch)
        known = _known(given)
        out, new = np.zeros((len(given.x), self.intake.outputs)), np.zeros(len(given.x))
        for rows in self._steps(given):
            out[rows], new[rows] = self._answers(given.x[rows], known[rows]), self._novelty(given.x[rows])
        return out, new

    def settle(self) -> None:
        """Add the rows that wait, although they do not fill a block."""
        if self._waiting:
            rows, self._waiting = _join(self._waiting), []
            self._add(rows)

    def consolidate(self, experience: Iterable[Batch], /) -> None:  # noqa: ARG002 - all of it has been added
        """An experience has ended: add the rows that wait."""
        self.settle()

    def merge(self, other: Summed, /) -> None:
        """Become what one learner would be that had learnt all rows of both; the other stays as it is.

        Raises SettingError for a learner of another kind, one that forgets or one that chooses l2 otherwise,
        PoisonError for labels of another kind or rows of another width.
        """
        if type(other) is not type(self) or self._fades or other._fades:
            raise SettingError(
                f"{self._reader} cannot merge a {type(other).__name__}; expected another {self._reader}, both without "
                "forgetting and window: when rows came counts there, and sums do not tell"
            )
        theirs = other.sums() if other._waiting else other._folds  # of its own kind
        if not self._grows and len(self._folds) != len(theirs):
            raise SettingError(f"{self._reader} cannot merge one that chooses l2 otherwise; expected the same settings")
        self.intake.merge(other.intake)
        self._replace(self.sums() if self._waiting else self._folds, theirs)

    def narrowed(self, kept: Ints, /) -> Summed:
        """A copy of these features (q,), in ascending order: its sums are those of the rows without the others."""
        width = self.intake.width or 0
        check_kept(kept, width, reader=self._reader)

        def rows(parts: list[Given]) -> list[Given]:
            return [replace(part, x=dense(part.x, width)[:, kept]) for part in parts]

        other: Summed = copy(self)
        other.intake = deepcopy(self.intake)
        other.intake.width = len(kept)
        other._replace([fold.part(kept) for fold in self._folds], [])
        other._waiting, other._inside = rows(self._waiting), rows(self._inside)
        return other

    def sums(self) -> list[Moments]:
        """Sums over all rows learnt, those that wait included, for each fold: copies."""
        found = [fold.copy() for fold in self._folds]
        for rows in self._waiting:
            self._take(found, rows)
        return found

    def unlearn(self, batch: Batch, /) -> None:
        """Take rows out again: all is as if they had never been learnt, but for rounding. Known classes stay known.

        Each row must be as it was learnt: same input, label and weight; those without a label are skipped. What is left
        of the sums is wrong by about 1e-16 of what they were before.
        Raises SettingError for a learner that forgets, PoisonError where the rows cannot have been learnt.
        """
        if self._fades:
            raise SettingError(
                f"{self._reader} forgets, and cannot tell what is left of a row; expected forgetting=1 and no window "
                "to unlearn"
            )
        given = self.intake.read(batch)
        rows = given.take(np.flatnonzero(given.weight))
        if not len(rows.x):
            return
        out, whole = [self._nothing() for _ in self._folds], self.sums()
        self._take(out, rows)
        if len(out) > len(whole) or not all(fold.holds(part) for fold, part in zip(whole, out, strict=False)):
            raise PoisonError(
                f"{self._reader} got {len(rows.x)} rows to unlearn whose squares are more than those of all rows "
                "learnt; expected rows that were learnt, with the labels and weights they had"
            )
        self._replace(whole, out, sign=-1)

    def state_dict(self) -> State:
        sums = {str(i): fold.state_dict() for i, fold in enumerate(self._folds)}
        state: dict[str, Any] = {"intake": self.intake.state_dict(), "sums": sums}
        for name, parts in (("waiting", self._waiting), ("inside", self._inside)):
            if parts:
                rows = _join(parts)
                state[name] = {"x": rows.x.copy(), "y": rows.y.copy(), "weight": rows.weight.copy()}
        return state if self.window is None else {**state, "left": self._left}

    def load_state_dict(self, state: State, /) -> None:
        self.intake.load_state_dict(state["intake"])
        if self._grows:
            self._folds = [self._nothing() for _ in state["sums"]]
        for i, fold in enumerate(self._folds):
            fold.load_state_dict(state["sums"][str(i)])
        self._waiting, self._inside = (self._rows(state.get(name)) for name in ("waiting", "inside"))
        self._left = state.get("left", 0)
        self._solution = None

    def _rows(self, state: State | None) -> list[Given]:
        """Rows as they were saved."""
        if state is None:
            return []
        x, y, weight = (state[name].copy() for name in ("x", "y", "weight"))
        return [Given(x, y, weight, self.intake.classes, self.intake.flat, growing=False, known=0)]

    @property
    def _fades(self) -> bool:
        """Whether it counts when a row came."""
        return self.forgetting < 1 or self.window is not None

    def _whole(self) -> Moments:
        """The sums of all full blocks."""
        return self._folds[0] if len(self._folds) == 1 else total(self._folds)

    def _nothing(self) -> Moments:
        return Moments(products=self._products)

    def _solved(self) -> Any:
        """The solution of the sums as they are."""
        if self._solution is None:
            self._solution = self._solve()
        return self._solution

    def _given(self, batch: Batch) -> Given:
        given = self.intake.read(batch)
        self.intake.keep(given)
        return given

    def _steps(self, given: Given) -> Iterator[slice]:
        """Rows that are answered by the same solution; when the next are asked for, these have been added."""
        done = 0
        for stop, rows in self._filled(given):
            yield slice(done, stop)
            done = stop
            self._add(rows)
        yield slice(done, len(given.x))

    def _filled(self, given: Given) -> Iterator[tuple[int, Given]]:
        """The rows that fill a block, each time with the place where they end; the rest waits."""
        learnt = np.flatnonzero(given.weight)
        start = 0
        while True:
            stop = start + self.batch_size - sum(len(rows.x) for rows in self._waiting)
            if stop > len(learnt):
                break
            self._waiting.append(given.take(_run(learnt[start:stop])))
            rows, self._waiting = _join(self._waiting), []
            yield int(learnt[stop - 1]) + 1, rows
            start = stop
        if start < len(learnt):
            rest = given.take(learnt[start:])  # a copy: what the caller does to the block is no business of ours
            self._waiting = [_join([*self._waiting, rest])]

    def _add(self, rows: Given) -> None:
        self._take(self._folds, rows)
        if self.window is not None:
            self._inside.append(rows.take(np.arange(len(rows.x))))  # a copy: they may be a view of the caller's
            self._drop(sum(len(part.x) for part in self._inside) - self.window)
        self._solution = None

    def _drop(self, n: int) -> None:
        """Take the oldest n rows of the window out of the sums, which are summed anew where too little would be left.

        What is left is wrong by 1e-16 of all that was in the sums: so they are too after as many rows as the window has
        and where what goes is large beside what stays, as outliers are.
        """
        gone: list[Given] = []
        while n > 0:
            part = self._inside.pop(0)
            gone.append(part.take(slice(0, n)))
            if len(part.x) > n:
                self._inside.insert(0, part.take(slice(n, None)))
            n -= len(part.x)
        if not gone:
            return
        out, rows = [self._nothing() for _ in self._folds], _join(gone)
        self._take(out, rows)
        self._left += len(rows.x)
        for fold, part in zip(self._folds, out, strict=True):
            fold.merge(part, sign=-1)
        few = any((part.squares > _MOST_OUT * fold.squares).any() for fold, part in zip(self._folds, out, strict=True))
        if few or self._left >= (self.window or 0):
            self._folds, self._left = [self._nothing() for _ in self._folds], 0
            self._take(self._folds, _join(self._inside))

    def _take(self, folds: list[Moments], rows: Given) -> None:
        """Add rows to the sums of their folds."""
        if len(folds) == 1:
            folds[0].take(rows, forgetting=self.forgetting)
            return
        which = hash_rows(rows) % np.uint64(len(folds))
        for i, fold in enumerate(folds):
            fold.fit(rows)  # all folds are of one size
            fold.take(rows.take(np.flatnonzero(which == i)))

    def _replace(self, sums: list[Moments], others: list[Moments], *, sign: int = 1) -> None:
        """Have these sums instead, others added to them, and nothing that waits."""
        sums.extend(self._nothing() for _ in range(len(others) - len(sums)))
        for fold, other in zip(sums, others, strict=False):
            fold.merge(other, sign=sign)
        self._folds, self._waiting, self._solution = sums, [], None

    def _scored(self, weights_dk: Floats, bias_k: Floats, link: Link, *, unseen: float = 0.0) -> Scores:
        """Scores of all features and outputs that are known; `unseen` is the bias of classes that wait."""
        k, d = self.intake.outputs, self.intake.width or 0
        weights, bias = np.zeros((k, d)), np.full(k, unseen)
        weights[: weights_dk.shape[1], : len(weights_dk)] = weights_dk.T
        bias[: len(bias_k)] = bias_k
        return Scores(weights, bias, link, bool(self.intake.flat))

    def _solution_of_rows(self) -> Any:
        """The solution, if there is one. Raises SettingError where no block was learnt."""
        if not self._ready:
            raise SettingError(f"{self._reader} has learnt no full block yet; learn more rows, or settle()")
        return self._solved()

    def _novelty(self, x: Floats) -> Floats:
        if self.intake.flat is not None:
            raise SettingError(f"{self._reader} of numbers was asked for novelty; expected class codes as labels")
        return self._newness(self._solved(), x) if self._ready else np.full(len(x), np.inf)

    @property
    def _ready(self) -> bool:
        """Whether there is anything to solve from."""
        return any(fold.weight > 0 for fold in self._folds)

    def _answers(self, x: Floats, known: Ints) -> Floats:
        """Numbers, or probabilities of the classes known to each row (n,): votes, divided by their sum."""
        n, k = len(x), self.intake.outputs
        out = np.zeros((n, k))
        if n and self._ready:
            said = self._answer(self._solved(), x)
            out[:, : said.shape[1]] = said
        if self.intake.classes is None:
            return out
        total = out.sum(axis=1, keepdims=True)
        alike = (np.arange(k) < known[:, None]) / np.maximum(known, 1)[:, None]
        return np.divide(out, total, out=alike, where=total > 0)


def _known(given: Given) -> Ints:
    """How many classes were known before each row: (n,)."""
    known = np.full(len(given.x), given.known)
    if given.classes is not None:
        seen = np.where(given.weight > 0, given.y, -1) + 1 if given.y.ndim == 1 else np.zeros_like(known)
        known[1:] = np.maximum(np.maximum.accumulate(seen)[:-1], given.known)
    return known


def _run(rows: Ints) -> slice | Ints:
    """Neighbouring rows as a slice, which copies nothing."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def _join(parts: list[Given]) -> Given:
    """Rows of all parts, one after the other; narrower ones are padded with zeros, as encoders grow to the right."""
    last = parts[-1]
    if len(parts) == 1:
        return last
    x = concat_arrays([part.x for part in parts])
    y, weight = (np.concatenate([getattr(part, name) for part in parts]) for name in ("y", "weight"))
    return Given(x, y, weight, last.classes, last.flat, last.growing, last.known)
