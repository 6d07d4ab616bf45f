"""The nodes of a Mondrian tree: arrays that double, up to a budget, and the compiled loops over them.

Shapes: n rows, d features, K classes known (or outputs), k >= K columns there is room for, N nodes; r corners of a box.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, final

import numpy as np

from retain.core import Array, Floats, Ints, State
from retain.errors import SettingError
from retain.learners.intake import Given

__all__ = ["Growth", "Lesson", "Nodes"]

_FIRST = 64  # nodes there is room for at first
_FEWEST = 32  # nodes that a budget must allow for: with less there is no tree to speak of
_KEPT = 7 / 8  # of the nodes of a full tree; the rest makes room for splits to come


@final
@dataclass(frozen=True, slots=True)
class Growth:
    """How a tree grows, and how far.

    Args:
        reader: who asks, for errors.
        step: factor of the losses that prunings are weighted by; None: by the kind of labels.
        dirichlet: rows of each class that every node is taken to have seen; None: by the number of classes.
        split_pure: whether nodes that have seen only one class are split.
        scaled: whether features count in units of their range.
        max_bytes: of one tree.
    """

    reader: str
    step: float | None
    dirichlet: float | None
    split_pure: bool
    scaled: bool
    max_bytes: int

    def __post_init__(self) -> None:
        for name in ("step", "dirichlet"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise SettingError(f"{self.reader} got {name}={value}; expected a number > 0, or None to choose it")
        self._admits(self.nodes(1, 1, numbers=True), 1)

    def check(self, given: Given, /) -> None:
        """Refuse rows so wide, or of so many classes, that the budget holds no tree of them."""
        numbers = given.classes is None
        outputs = given.y.shape[-1] if given.classes is None else _columns(given.classes)
        self._admits(self.nodes(given.x.shape[1], outputs, numbers=numbers), given.x.shape[1])

    def nodes(self, width: int, columns: int, /, *, numbers: bool) -> int:
        """How many nodes the budget allows."""
        return self.max_bytes // (4 * 4 + 8 * 8 + 4 * self.corners(numbers=numbers) * width + 8 * columns)

    def corners(self, *, numbers: bool) -> int:
        """Rows of a box: the least values, the largest, and the last where leaves may hold several rows."""
        return 2 if numbers or self.split_pure else 3

    def settings(self, *, numbers: bool) -> Floats:
        """What the compiled loops read."""
        return _settings(self, numbers)

    def _admits(self, nodes: int, width: int) -> None:
        if nodes < _FEWEST:
            raise SettingError(
                f"{self.reader} may use {self.max_bytes:,} bytes for a tree, which are {nodes} nodes of {width} "
                f"features; expected room for at least {_FEWEST}: raise max_bytes, or put fewer features in"
            )


@final
@dataclass(frozen=True, slots=True)
class Lesson:
    """Checked rows in the form that the compiled loops read, made once for all trees."""

    x: Floats  # (n, d) float32
    y: Floats  # (n, 1) class codes, or (n, K) numbers, float64
    weight: Floats
    labels: Ints | None  # (n,) class codes; None where targets are numbers
    known: int  # classes known before; -1 where targets are numbers
    classes: int  # known after; -1 likewise

    @staticmethod
    def of(given: Given, /) -> Lesson | None:
        """The rows of a block; None where nobody knows yet what is to be predicted."""
        x = np.require(given.x, np.float32, ["C", "W"])
        if given.classes is None:
            y = np.require(given.y, np.float64, ["C", "W"])
            return None if given.flat is None else Lesson(x, y, given.weight, None, -1, -1)
        labels = given.y.astype(np.int64) if given.y.ndim == 1 else np.full(len(x), -1)
        return Lesson(x, labels.astype(np.float64)[:, None], given.weight, labels, given.known, given.classes)

    def parts(self, rows: int, /) -> Iterator[Lesson]:
        """The same in pieces of so many rows."""
        known = self.known
        for start in range(0, len(self.x), rows):
            part = slice(start, start + rows)
            x, y, weight = self.x[part], self.y[part], self.weight[part]
            if self.labels is None:
                yield Lesson(x, y, weight, None, -1, -1)
                continue
            labels = self.labels[part]
            classes = max(known, 1 + int(labels[weight > 0].max(initial=-1)))
            yield Lesson(x, y, weight, labels, known, classes)
            known = classes


@final
class Nodes:
    """One tree.

    Args:
        growth: how it grows.
        random: (1,) uint64, the state of its generator; it is the tree's from now on.
    """

    def __init__(self, growth: Growth, random: Array) -> None:
        self._growth, self._random = growth, random
        self._tree: tuple[Array, Array, Array, Array] | None = None  # as in `mondrian_kernels`; None before any label
        self._tally = np.zeros(2, dtype=np.int64)
        self._sums = np.zeros(2)
        self._span = np.zeros((2, 0))
        self._most = 0  # nodes that the budget allows

    @property
    def size(self) -> int:
        """Nodes in use."""
        return int(self._tally[0])

    @property
    def memory(self) -> int:
        """What the arrays take."""
        return 0 if self._tree is None else sum(part.nbytes for part in self._tree)

    def learn(self, lesson: Lesson, out: Floats, /) -> None:
        """Predict and learn rows; out (n, K), zeros so far, takes the predictions."""
        x, y, weight, known = lesson.x, lesson.y, lesson.weight, lesson.known
        start = 0
        for row in self._calls_for_room(lesson):
            known = self._run(x[start:row], y[start:row], weight[start:row], known, out[start:row])
            # What needs more room leaves room for fewer nodes: the row is predicted before, and learnt after.
            one = slice(row, row + 1)
            before = np.zeros_like(out[one])
            self.answer(x[one], known, before)
            columns = y.shape[1] if lesson.labels is None else _columns(int(lesson.labels[row]) + 1)
            self._admit(x.shape[1], columns, numbers=known < 0)
            known = self._run(x[one], y[one], weight[one], known, out[one])
            out[one] = before
            start = row + 1
        if start == 0:
            self._run(x, y, weight, known, out)
        elif start < len(x):
            self._run(x[start:], y[start:], weight[start:], known, out[start:])

    def answer(self, x: Floats, known: int, out: Floats, /) -> None:
        """Fill out (n, K), zeros so far, with predictions; rows as in a `Lesson`, `known` as there."""
        if self._tree is not None and self.size and len(x):
            _kernels().answer(x, known, self._growth.settings(numbers=known < 0), self._tree, out)

    def state_dict(self) -> State:
        tree = self._tree or (np.zeros((0, 4), np.int32), np.zeros((0, 8)), np.zeros((0, 2, 0)), np.zeros((0, 0)))
        link, real, box, stat = (part[: self.size].copy() for part in tree)
        return {
            "link": link,
            "real": real,
            "box": box,
            "stat": stat,
            "span": self._span.copy(),
            "tally": self._tally.copy(),
            "sums": self._sums.copy(),
            "random": self._random.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._span, self._tally, self._sums, self._random = (
            state[name].copy() for name in ("span", "tally", "sums", "random")
        )
        link, real, box, stat = (state[name].copy() for name in ("link", "real", "box", "stat"))
        self._tree, self._most = None, 0
        if stat.shape[1]:
            self._tree = (link, real, box, stat)
            self._most = self._growth.nodes(box.shape[2], stat.shape[1], numbers=box.shape[1] == 2)
            self._make_room()

    def _calls_for_room(self, lesson: Lesson) -> list[int]:
        """Rows before which arrays must become wider: the first ones, those of new features, those of new classes."""
        if not len(lesson.x):
            return []
        columns, found = 0, set[int]()
        if self._tree is not None:
            columns = self._tree[3].shape[1]
            if lesson.x.shape[1] > self._tree[2].shape[2]:
                found.add(0)
        if lesson.labels is None:
            return sorted(found) if columns else [0]
        if lesson.classes > columns:
            found.update(_arrivals(lesson.labels, lesson.weight, columns))
        return sorted(found)

    def _run(self, x: Floats, y: Floats, weight: Floats, known: int, out: Floats) -> int:
        """Rows that there is room for; returns how many classes are known after them."""
        if self._tree is None or not len(x):
            return known
        settings, memory = self._growth.settings(numbers=known < 0), (self._tally, self._sums, self._span)
        start = 0
        while start < len(x):
            start, known = _kernels().learn(
                x, y, weight, start, known, settings, self._random, *memory, self._tree, out
            )
            self._make_room()
        return int(known)

    def _admit(self, width: int, columns: int, *, numbers: bool) -> None:
        """Make room for rows so wide and of so many classes or outputs."""
        if self._tree is None:
            self._span = np.full((2, width), np.nan)
            shapes = ((4,), (8,), (self._growth.corners(numbers=numbers), width), (columns,))
            types = (np.int32, np.float64, np.float32, np.float64)
            link, real, box, stat = (np.zeros((0, *s), t) for s, t in zip(shapes, types, strict=True))
        else:
            link, real, box, stat = self._tree
            more, columns = width - box.shape[2], max(columns, stat.shape[1])
            # What features that are new held in the rows before is 0.
            box = np.pad(box, ((0, 0), (0, 0), (0, more)))
            self._span = np.pad(self._span, ((0, 0), (0, more)), constant_values=0.0 if self.size else np.nan)
            stat = np.pad(stat, ((0, 0), (0, columns - stat.shape[1])))
        self._tree = (link, real, box, stat)
        self._most = self._growth.nodes(width, columns, numbers=numbers)
        self._make_room()

    def _make_room(self) -> None:
        """Room for the next split: arrays twice as long, or, where the budget ends, a tree with fewer nodes."""
        if self._tree is None:
            return
        room = len(self._tree[0])
        if room <= self._most and self.size + 2 <= room:
            return
        if self.size + 2 > self._most:
            _kernels().prune(self._tally, int(_KEPT * self._most), self._tree)
        longer = room
        while self.size + 2 > longer:
            longer = max(2 * longer, _FIRST)
        longer = min(longer, self._most)
        if longer != room:
            link, real, box, stat = (_resized(part, longer) for part in self._tree)
            self._tree = (link, real, box, stat)


@cache
def _settings(growth: Growth, numbers: bool) -> Floats:  # noqa: FBT001 - a cache takes what it is given
    step = (2.0 if numbers else 0.5) if growth.step is None else growth.step
    return np.array([step, growth.dirichlet or 0.0, float(growth.split_pure), float(growth.scaled)])


def _resized(part: Array, rows: int) -> Array:
    new = np.zeros((rows, *part.shape[1:]), part.dtype)
    new[: len(part)] = part[:rows]
    return new


def _columns(classes: int) -> int:
    """Room for so many classes: the next power of 2."""
    return 1 << max(classes - 1, 1).bit_length()


def _arrivals(codes: Ints, weight: Floats, columns: int) -> list[int]:
    """Rows that bring a class there is no column for."""
    found: list[int] = []
    known = np.where(weight > 0, codes, -1)
    while known.max(initial=-1) >= columns:
        row = int(np.argmax(known >= columns))
        found.append(row)
        columns = _columns(int(known[row]) + 1)
    return found


@cache
def _kernels() -> Any:
    """The compiled loops; numba is loaded when the first row arrives."""
    return import_module("retain.learners.trees.mondrian_kernels")
