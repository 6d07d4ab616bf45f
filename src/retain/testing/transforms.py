"""The laws of transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from retain import blocks, state
from retain.core import Batch, Features, Transform
from retain.testing.compare import pieces, same_bytes, same_features, same_state, with_cuts
from retain.testing.poison import poisoned, refuses

__all__ = [
    "check_transform",
    "transform_before",
    "transform_blocks",
    "transform_poison",
    "transform_purity",
    "transform_resume",
]


def check_transform(
    make: Callable[[], Transform],
    batch: Batch,
    *,
    tolerance: float = 0.0,
    accepts_missing: bool = False,
    poison: bool = True,
    tries: int = 10,
) -> None:
    """Run every law of a transform on `batch` (dense rows or a record batch, with labels where it needs them)."""
    transform_purity(make, batch)
    transform_before(make, batch, tolerance=tolerance)
    if poison:
        transform_poison(make, batch, accepts_missing=accepts_missing)
    with_cuts(len(batch), tries, lambda cuts: transform_blocks(make, batch, cuts, tolerance=tolerance))
    with_cuts(len(batch), tries, lambda cuts: transform_resume(make, batch, cuts))


def transform_blocks(
    make: Callable[[], Transform], batch: Batch, cuts: Sequence[int], *, tolerance: float = 0.0
) -> None:
    """Block law: transforming a + b is transforming a, then b."""
    whole, parts = make(), make()
    expected = whole.learn(batch).x
    got = blocks.concat([parts.learn(piece).x for piece in pieces(batch, cuts)])
    same_features(got, expected, tolerance, f"rows transformed, split at {list(cuts)}")
    same_state(parts.state_dict(), whole.state_dict(), tolerance, f"state, split at {list(cuts)}")


def transform_purity(make: Callable[[], Transform], batch: Batch) -> None:
    """Purity law: apply changes no state, of a new transform and of one that has learnt."""
    transform = make()
    for step in ("new", "taught"):
        before = state.copy(transform.state_dict())
        transform.apply(batch.x)
        same_state(transform.state_dict(), before, 0.0, f"state of a {step} transform after apply")
        transform.learn(batch)


def transform_before(make: Callable[[], Transform], batch: Batch, *, tolerance: float = 0.0) -> None:
    """Before law: learn transforms each row as apply would have just before it; nothing leaks from the row itself."""
    whole, single = make(), make()
    got = whole.learn(batch).x
    said: list[Features] = []
    for i in range(len(batch)):
        row = blocks.take_batch(batch, slice(i, i + 1))
        said.append(single.apply(row.x))
        single.learn(row)
    # An encoder gives a new category its slot as the row arrives, so learn may be wider than apply, never different.
    for i, expected in enumerate(said):
        same_features(
            blocks.take(got, slice(i, i + 1)), expected, tolerance, f"row {i}, learn and apply before", subset=True
        )


def transform_resume(make: Callable[[], Transform], batch: Batch, cuts: Sequence[int]) -> None:
    """Resume law: saved and loaded at every cut, a transform goes on as if it had never been stopped, bit for bit."""
    through, resumed = make(), make()
    for piece in pieces(batch, cuts):
        expected = through.learn(piece).x
        saved = state.encode(resumed.state_dict())
        resumed = make()
        resumed.load_state_dict(state.decode(saved))
        same_bytes(state.encode(resumed.state_dict()), saved, "state saved again right after loading")
        same_features(resumed.learn(piece).x, expected, 0.0, f"rows after resuming, cuts {list(cuts)}")
    same_state(resumed.state_dict(), through.state_dict(), 0.0, f"state after resuming, cuts {list(cuts)}")


def transform_poison(make: Callable[[], Transform], batch: Batch, *, accepts_missing: bool = False) -> None:
    """Poison law: bad input is refused with row and cure named, and nothing has changed."""
    for what, bad in poisoned(replace(batch, y=None, weight=None), accepts_missing=accepts_missing):
        transform = make()
        transform.learn(batch)
        refuses(transform, lambda bad=bad, transform=transform: transform.learn(bad), f"learn of {what}")
