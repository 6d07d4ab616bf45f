"""Chains of small transforms, written row by row here, against a loop that lives through one event at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain import blocks, testing
from retain.compose import Chain, Composable, LabelTransform, Steps, late
from retain.core import Batch
from retain.errors import PoisonError


class Centre(Composable):
    """Subtracts the mean of the rows before."""

    def __init__(self) -> None:
        self.n, self.total = 0, 0.0

    def learn(self, batch: Batch) -> Batch:
        x = blocks.matrix(batch.x, reader="Centre")
        out = np.empty_like(x)
        for i, row in enumerate(x):
            out[i] = row - (self.total / self.n if self.n else 0.0)
            self.n, self.total = self.n + 1, self.total + float(row[0])
        return replace(batch, x=out)

    def apply(self, x: Any) -> Any:
        return blocks.matrix(x, reader="Centre") - np.float32(self.total / self.n if self.n else 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"n": self.n, "total": self.total}

    def load_state_dict(self, state: Any) -> None:
        self.n, self.total = state["n"], state["total"]


class LastLabel(LabelTransform):
    """Appends the sum of the last label that landed and a tenth of its row's first feature."""

    def __init__(self) -> None:
        self.last = 0.0

    def keep(self, x: Any) -> Any:
        return x[:, :1]

    def interleave(self, arrivals: Batch, landed: Batch, order: Any) -> Batch:
        extra = np.zeros((len(arrivals), 1), dtype=np.float32)
        for event in order:
            if event >= 0:
                extra[event] = self.last
            else:
                self.last = float(np.float32(landed.y[~event] + 0.1 * landed.x[~event, 0]))
        return replace(arrivals, x=np.hstack([arrivals.x, extra]))

    def apply(self, x: Any) -> Any:
        return np.hstack([x, np.full((len(x), 1), self.last, dtype=np.float32)])

    def state_dict(self) -> dict[str, Any]:
        return {"last": self.last}

    def load_state_dict(self, state: Any) -> None:
        self.last = state["last"]


class Descent:
    """Least squares by plain gradient steps, row by row."""

    def __init__(self) -> None:
        self.w = np.zeros(0)

    def learn(self, batch: Batch) -> Any:
        x = blocks.matrix(batch.x, reader="Descent", columns=len(self.w) or None)
        y = blocks.numbers(batch.y, len(batch), reader="Descent")
        said = np.empty(len(batch))
        if len(x) and not len(self.w):
            self.w = np.zeros(x.shape[1])
        for i, row in enumerate(x):
            said[i] = row @ self.w
            if not np.isnan(y[i]):
                self.w += 0.1 * (y[i] - said[i]) * row
        return said

    def predict(self, x: Any) -> Any:
        x = blocks.matrix(x, reader="Descent", columns=len(self.w) or None)
        return np.array([row @ self.w if len(self.w) else 0.0 for row in x])

    def state_dict(self) -> dict[str, Any]:
        return {"w": self.w.copy()}

    def load_state_dict(self, state: Any) -> None:
        self.w = state["w"].copy()


def make() -> Chain:
    return Centre() | LastLabel() | Descent()


def test_pipes_flatten_from_either_side() -> None:
    a, b, c = Centre(), LastLabel(), Descent()
    for composed in ((a | b) | c, a | (b | c)):
        assert isinstance(composed, Chain)
        assert composed.transforms == (a, b)
        assert composed.learner is c
    assert isinstance(a | b, Steps)
    assert late(c).transforms == ()
    assert late(composed) is composed


def test_a_chain_obeys_the_laws_of_a_learner() -> None:
    testing.check_learner(make, replace(testing.examples("regression"), weight=None))  # Descent knows no weights


def test_steps_obey_the_laws_of_a_transform() -> None:
    testing.check_transform(lambda: Centre() | LastLabel(), testing.examples("regression"), poison=False)


@given(order=st.permutations(range(6)), early=st.lists(st.booleans(), min_size=6, max_size=6), cut=st.integers(1, 5))
def test_flow_equals_one_event_at_a_time(order: list[int], early: list[bool], cut: int) -> None:
    rng = np.random.default_rng(3)
    rows = Batch(rng.normal(size=(6, 2)).astype(np.float32))
    y = rng.normal(size=6)
    # Rows 0..cut-1 arrive in a first block without labels; in the second, early labels land before all arrivals.
    one, flowing = make(), make()
    first, second = blocks.take_batch(rows, slice(0, cut)), blocks.take_batch(rows, slice(cut, 6))
    said, kept = flowing.flow(first, None, np.full(cut, np.nan), np.arange(cut))
    late = [i for i in order if i >= cut or not early[i]]
    before = [~i for i in order if i < cut and early[i]]
    events = np.array([*before, *range(6 - cut), *(~i for i in late)])
    more, _ = flowing.flow(second, kept, y, events)

    slow: list[float] = []
    frozen: dict[int, tuple[Any, Any]] = {}

    def arrive(i: int) -> None:
        row = blocks.take_batch(rows, slice(i, i + 1))
        centred = one.transforms[0].learn(row)
        frozen[i] = (centred.x[:, :1], one.transforms[1].apply(centred.x))
        slow.append(one.learner.predict(frozen[i][1])[0])

    for i in range(cut):
        arrive(i)
    for event in events:
        if event >= 0:
            arrive(cut + event)
        else:
            label = np.array([y[~event]])
            one.transforms[1].interleave(
                Batch(np.zeros((0, 2), dtype=np.float32)), Batch(frozen[~event][0], y=label), [~0]
            )
            one.learner.learn(Batch(frozen[~event][1], y=label))
    assert np.concatenate([said, more]).tolist() == slow
    assert flowing.learner.w.tolist() == one.learner.w.tolist()


@pytest.mark.parametrize("landing", [False, True])
def test_an_error_in_the_learner_leaves_the_transforms_as_they_were(landing: bool) -> None:
    part = make()
    part.learn(testing.examples("regression"))
    before = part.state_dict()
    bad = Batch(np.ones((2, 4), dtype=np.float32), y=np.array([1.0, np.inf]))
    with pytest.raises(PoisonError, match="inf in row"):
        part.flow(bad, None, bad.y, np.array([0, 1, ~1])) if landing else part.learn(bad)
    assert str(part.state_dict()) == str(before)
