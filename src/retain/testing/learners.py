"""The laws of learners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from retain import blocks, state
from retain.compose import late
from retain.core import Array, Batch, Learner
from retain.testing.compare import pieces, same_bytes, same_rows, same_state, stack, with_cuts
from retain.testing.poison import poisoned, refuses

__all__ = [
    "check_learner",
    "learner_before",
    "learner_blocks",
    "learner_bounded",
    "learner_newcomers",
    "learner_poison",
    "learner_purity",
    "learner_resume",
]


def check_learner(
    make: Callable[[], Learner],
    batch: Batch,
    *,
    tolerance: float = 0.0,
    accepts_missing: bool = False,
    uses_x: bool = True,
    grows: bool = False,
    mixes: bool = False,
    tries: int = 10,
) -> None:
    """Run every law of a learner on `batch`.

    Args:
        make: returns a new learner.
        batch: some dozens of rows that the learner can learn, with labels.
        tolerance: 0 for granularity 1; the stated tolerance of the block law above it.
        accepts_missing: the learner declares that NaN is an input like others.
        uses_x: False for baselines, which look at labels only and so cannot be poisoned by input.
        grows: the learner's state may grow with the stream (it declares another bound), as encoders' does. The before
            law is then tried on rows whose categories are known: a new one is known to learn and unknown to predict.
        mixes: the learner is a mean of learners, each of which leaves a newcomer another share: its own odds may move.
        tries: how many splits Hypothesis chooses.
    """
    learner_purity(make, batch)
    learner_before(_taught(make, batch) if grows else make, batch, tolerance=tolerance)
    if uses_x:
        learner_poison(make, batch, accepts_missing=accepts_missing)
    learner_newcomers(make, batch, mixes=mixes)
    if not grows:
        learner_bounded(make, batch)
    with_cuts(len(batch), tries, lambda cuts: learner_blocks(make, batch, cuts, tolerance=tolerance))
    with_cuts(len(batch), tries, lambda cuts: learner_resume(make, batch, cuts))


def _taught(make: Callable[[], Learner], batch: Batch) -> Callable[[], Learner]:
    def taught() -> Learner:
        learner = make()
        learner.learn(batch)
        return learner

    return taught


def learner_blocks(make: Callable[[], Learner], batch: Batch, cuts: Sequence[int], *, tolerance: float = 0.0) -> None:
    """Block law: learning a + b is learning a, then b."""
    whole, parts = make(), make()
    expected = whole.learn(batch)
    got = [parts.learn(piece) for piece in pieces(batch, cuts)]
    same_rows(stack(got), expected, tolerance, f"predictions of learn, split at {list(cuts)}")
    same_state(parts.state_dict(), whole.state_dict(), tolerance, f"state after learning, split at {list(cuts)}")


def learner_purity(make: Callable[[], Learner], batch: Batch) -> None:
    """Purity law: predict changes no state, and says the same twice; so does meeting rows whose labels are to come."""
    learner = make()
    learner.learn(batch)
    before = state.copy(learner.state_dict())
    first = np.array(learner.predict(batch.x))
    same_state(learner.state_dict(), before, 0.0, "state after predict")
    same_rows(learner.predict(batch.x), first, 0.0, "the second predict")
    same_rows(late(learner).meet(Batch(batch.x))[0], first, 0.0, "answers to rows that are met")
    same_state(learner.state_dict(), before, 0.0, "state after meeting rows")


def learner_before(make: Callable[[], Learner], batch: Batch, *, tolerance: float = 0.0) -> None:
    """Before law: what learn returns is what predict said of each row just before its update."""
    whole, single = make(), make()
    got = whole.learn(batch)
    said: list[Array] = []
    for i in range(len(batch)):
        row = blocks.take_batch(batch, slice(i, i + 1))
        said.append(np.array(single.predict(row.x)))
        single.learn(row)
    same_rows(
        got, stack(said, width=got.shape[1] if got.ndim == 2 else None), tolerance, "learn against predict before"
    )


def learner_resume(make: Callable[[], Learner], batch: Batch, cuts: Sequence[int]) -> None:
    """Resume law: saved and loaded at every cut, a learner goes on as if it had never been stopped, bit for bit."""
    through, resumed = make(), make()
    for piece in pieces(batch, cuts):
        expected = through.learn(piece)
        saved = state.encode(resumed.state_dict())
        resumed = make()
        resumed.load_state_dict(state.decode(saved))
        same_bytes(state.encode(resumed.state_dict()), saved, "state saved again right after loading")
        same_rows(resumed.learn(piece), expected, 0.0, f"predictions after resuming, cuts {list(cuts)}")
    same_state(resumed.state_dict(), through.state_dict(), 0.0, f"state after resuming, cuts {list(cuts)}")
    same_rows(resumed.predict(batch.x), through.predict(batch.x), 0.0, "predict after resuming")


def learner_poison(make: Callable[[], Learner], batch: Batch, *, accepts_missing: bool = False) -> None:
    """Poison law: bad input is refused with row and cure named, and nothing has changed."""
    for what, bad in poisoned(batch, accepts_missing=accepts_missing):
        learner = make()
        learner.learn(batch)
        refuses(learner, lambda bad=bad, learner=learner: learner.learn(bad), f"learn of {what}")
        if not what.startswith(("label", "weight")):
            refuses(learner, lambda bad=bad, learner=learner: learner.predict(bad.x), f"predict of {what}")


def learner_newcomers(make: Callable[[], Learner], batch: Batch, *, mixes: bool = False) -> None:
    """Newcomer law: a class that arrives with next to no weight leaves the odds of the known classes alone."""
    if batch.y is None or batch.y.dtype.kind != "i":
        return
    learner = make()
    learner.learn(batch)
    before = np.array(learner.predict(batch.x), dtype=np.float64)
    k = before.shape[1]
    newcomer = blocks.take_batch(batch, slice(0, 1))
    learner.learn(replace(newcomer, y=np.array([k], dtype=np.int64), weight=np.full(1, 1e-9)))
    after = np.array(learner.predict(batch.x), dtype=np.float64)
    if after.shape != (len(batch), k + 1):
        raise AssertionError(
            f"after class {k} arrived, predict has shape {after.shape}; expected {(len(batch), k + 1)}"
        )
    if not mixes:
        known = after[:, :k]
        total = known.sum(axis=1, keepdims=True)
        kept = np.divide(known, total, out=before.copy(), where=total > 0)
        same_rows(kept, before, 1e-5, "odds of the known classes after a newcomer")
    learner.learn(replace(newcomer, y=np.array([k], dtype=np.int64), weight=None))


def learner_bounded(make: Callable[[], Learner], batch: Batch, *, times: int = 10, slack: int = 256) -> None:
    """Bounded law: the state after many times the rows is no larger than after the first."""
    learner = make()
    learner.learn(batch)
    first = len(state.encode(learner.state_dict()))
    for _ in range(times):
        learner.learn(batch)
    last = len(state.encode(learner.state_dict()))
    if last > first + slack:
        raise AssertionError(f"state grew from {first} to {last} bytes over {times} times the rows; expected a bound")
