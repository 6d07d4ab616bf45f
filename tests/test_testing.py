"""The laws catch what they forbid: one broken part for each law, beside one that keeps them all."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import blocks, testing
from retain.core import Batch, Features, State

NUMBERS = testing.examples("regression")
CLASSES = testing.examples("classification")


class Line:
    """Gradient steps on one feature, row by row: keeps every law. Each subclass below breaks one of them."""

    def __init__(self) -> None:
        self.w = np.zeros(1)
        self.width: int | None = None

    def predict(self, x: Features, /) -> np.ndarray:
        return self.matrix(x)[:, 0] * self.w[0]

    def learn(self, batch: Batch, /) -> np.ndarray:
        x, y = self.matrix(batch.x), blocks.numbers(batch.y, len(batch), reader="Line")
        weight = blocks.weights(batch.weight, len(batch), reader="Line")
        self.width = x.shape[1]
        said = np.empty(len(x))
        for i in range(len(x)):
            said[i] = x[i, 0] * self.w[0]
            if not np.isnan(y[i]):
                self.w = self.w + weight[i] * 0.01 * (y[i] - said[i]) * x[i, 0]
        return said

    def matrix(self, x: Features) -> np.ndarray:
        rows = blocks.matrix(x, reader="Line", columns=self.width)
        assert isinstance(rows, np.ndarray)
        return rows.astype(np.float64)

    def state_dict(self) -> State:
        return {"w": self.w.copy(), "width": self.width}

    def load_state_dict(self, state: State, /) -> None:
        self.w, self.width = state["w"].copy(), state["width"]


class LearnsOncePerBlock(Line):
    def learn(self, batch: Batch, /) -> np.ndarray:
        said = self.predict(batch.x)
        self.w = self.w + 0.01 * np.nansum(batch.y - said)
        return said


class LearnsWhenAsked(Line):
    def predict(self, x: Features, /) -> np.ndarray:
        self.w = self.w + 1e-12
        return super().predict(x)


class SaysWhatItKnowsAfterwards(Line):
    def learn(self, batch: Batch, /) -> np.ndarray:
        super().learn(batch)
        return self.predict(batch.x)


class ForgetsToSave(Line):
    def state_dict(self) -> State:
        return {"w": self.w.astype(np.float32), "width": self.width}

    def load_state_dict(self, state: State, /) -> None:
        self.w, self.width = state["w"].astype(np.float64), state["width"]


class SwallowsPoison(Line):
    def matrix(self, x: Features) -> np.ndarray:
        return np.nan_to_num(np.asarray(x, dtype=np.float64))


class IsPoisonedBeforeItComplains(Line):
    def learn(self, batch: Batch, /) -> np.ndarray:
        self.w = self.w + 1.0
        return super().learn(batch)


class Hoards(Line):
    def __init__(self) -> None:
        super().__init__()
        self.seen = np.zeros(0)

    def learn(self, batch: Batch, /) -> np.ndarray:
        said = super().learn(batch)
        self.seen = np.concatenate([self.seen, said])
        return said

    def state_dict(self) -> State:
        return {**super().state_dict(), "seen": self.seen.copy()}

    def load_state_dict(self, state: State, /) -> None:
        super().load_state_dict(state)
        self.seen = state["seen"].copy()


def test_a_lawful_learner_passes() -> None:
    testing.check_learner(Line, NUMBERS)


@pytest.mark.parametrize(
    ("make", "law"),
    [
        (LearnsOncePerBlock, lambda make: testing.learner_blocks(make, NUMBERS, [20])),
        (LearnsWhenAsked, lambda make: testing.learner_purity(make, NUMBERS)),
        (SaysWhatItKnowsAfterwards, lambda make: testing.learner_before(make, NUMBERS)),
        (ForgetsToSave, lambda make: testing.learner_resume(make, NUMBERS, [20])),
        (SwallowsPoison, lambda make: testing.learner_poison(make, NUMBERS)),
        (IsPoisonedBeforeItComplains, lambda make: testing.learner_poison(make, NUMBERS)),
        (Hoards, lambda make: testing.learner_bounded(make, NUMBERS)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_law_catches_its_lawbreaker(make: Callable[[], Line], law: Callable[[Callable[[], Line]], None]) -> None:
    law(Line)
    with pytest.raises(AssertionError):
        law(make)


@pytest.mark.parametrize(
    "make", [LearnsOncePerBlock, LearnsWhenAsked, SaysWhatItKnowsAfterwards, ForgetsToSave, SwallowsPoison, Hoards]
)
def test_all_laws_together_catch_it_too(make: Callable[[], Line]) -> None:
    with pytest.raises(AssertionError):
        testing.check_learner(make, NUMBERS)


def test_a_newcomer_that_moves_the_others_is_caught() -> None:
    class Dilutes:
        """Class frequencies in which a new class takes a row of its own from each of the others."""

        def __init__(self) -> None:
            self.learner = rt.Prior()
            self.k = 0

        def predict(self, x: Features, /) -> np.ndarray:
            said = self.learner.predict(x)
            return said if self.k <= 3 else said[:, ::-1]

        def learn(self, batch: Batch, /) -> np.ndarray:
            said = self.learner.learn(batch)
            self.k = said.shape[1]
            return said

        def state_dict(self) -> State:
            return self.learner.state_dict()

        def load_state_dict(self, state: State, /) -> None:
            self.learner.load_state_dict(state)

    testing.learner_newcomers(rt.Prior, CLASSES)
    with pytest.raises(AssertionError, match="newcomer"):
        testing.learner_newcomers(Dilutes, CLASSES)


class Centre:
    """Takes off the mean so far; `leaks` makes the row part of its own mean."""

    def __init__(self, *, leaks: bool = False) -> None:
        self.leaks = leaks
        self.total, self.n = np.zeros(4), 0

    def apply(self, x: Features, /) -> np.ndarray:
        return np.asarray(x, dtype=np.float64) - self.total / max(self.n, 1)

    def learn(self, batch: Batch, /) -> Batch:
        rows = np.empty(batch.x.shape)
        for i, row in enumerate(batch.x.astype(np.float64)):
            total, n = self.total + row, self.n + 1
            rows[i] = row - (total / n if self.leaks else self.total / max(self.n, 1))
            self.total, self.n = total, n
        return replace(batch, x=rows)

    def state_dict(self) -> State:
        return {"total": self.total.copy(), "n": self.n}

    def load_state_dict(self, state: State, /) -> None:
        self.total, self.n = state["total"].copy(), state["n"]


def test_a_transform_that_leaks_is_caught() -> None:
    testing.check_transform(Centre, NUMBERS, poison=False)
    with pytest.raises(AssertionError, match="row 0"):
        testing.transform_before(lambda: Centre(leaks=True), NUMBERS)


def test_a_metric_that_depends_on_blocks_is_caught() -> None:
    class MeanOfBlocks:
        name, higher_is_better = "mean_of_blocks", False

        def __init__(self) -> None:
            self.values: list[float] = []

        def update(self, y: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None, /) -> None:
            if len(y):
                self.values.append(float(np.abs(y - prediction).mean()))

        def value(self) -> float:
            return float(np.mean(self.values)) if self.values else float("nan")

        def state_dict(self) -> State:
            return {"values": list(self.values)}

        def load_state_dict(self, state: State, /) -> None:
            self.values = list(state["values"])

    y, said = np.arange(30.0), np.arange(30.0) ** 1.1
    testing.check_metric(rt.metrics.MAE, y, said)
    with pytest.raises(AssertionError, match="split"):
        testing.check_metric(MeanOfBlocks, y, said)


def test_a_stream_that_resumes_one_row_late_is_caught() -> None:
    class Late:
        def __init__(self, block: int) -> None:
            self.block = block

        def read(self, position: State | None = None, /):
            start = 0 if position is None else position["rows"] + 1
            x = np.arange(100.0).reshape(-1, 1)
            for at in range(start, 100, self.block):
                stop = min(at + self.block, 100)
                yield Batch(x[at:stop], y=x[at:stop, 0]), {"rows": stop}

    x = np.arange(100.0).reshape(-1, 1)
    testing.check_stream(lambda block: rt.streams.arrays(x, x[:, 0], block=block), rows=100)
    with pytest.raises(AssertionError):
        testing.check_stream(Late, rows=100)


def test_errors_must_say_enough() -> None:
    class Curt(Line):
        def matrix(self, x: Features) -> np.ndarray:
            try:
                return super().matrix(x)
            except rt.errors.PoisonError as error:
                raise rt.errors.PoisonError("bad input") from error

    with pytest.raises(AssertionError, match="says only"):
        testing.learner_poison(Curt, NUMBERS)
