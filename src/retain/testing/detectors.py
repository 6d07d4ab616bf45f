"""The laws of detectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retain import state
from retain.core import Array, Detector
from retain.testing.compare import bounds, same_rows, same_state, with_cuts
from retain.testing.poison import refuses

__all__ = ["check_detector", "detector_blocks", "detector_bounded", "detector_poison", "detector_resume"]


def check_detector(make: Callable[[], Detector], values: Array, /, *, tries: int = 10) -> None:
    """Run every law of a detector on values (n,), some hundreds in which it sees a drift."""
    if not (make().update(values).levels == 2).any():
        raise AssertionError("the detector sees no drift in these values; give some in which it does")
    detector_bounded(make, values)
    detector_poison(make, values)
    with_cuts(len(values), tries, lambda cuts: detector_blocks(make, values, cuts))
    with_cuts(len(values), tries, lambda cuts: detector_resume(make, values, cuts))


def detector_blocks(make: Callable[[], Detector], values: Array, cuts: Sequence[int]) -> None:
    """Block law: a level for every value, and values in pieces are the same values, bit for bit."""
    whole, parts = make(), make()
    expected = whole.update(values).levels
    if expected.shape != values.shape or not set(np.unique(expected)) <= {0, 1, 2}:
        raise AssertionError(f"levels {expected.shape} hold {np.unique(expected)}; expected 0, 1 or 2 for each value")
    got = np.concatenate([parts.update(values[a:b]).levels for a, b in bounds(len(values), cuts)])
    same_rows(got, expected, 0.0, f"levels, split at {list(cuts)}")
    same_state(parts.state_dict(), whole.state_dict(), 0.0, f"state, split at {list(cuts)}")


def detector_resume(make: Callable[[], Detector], values: Array, cuts: Sequence[int]) -> None:
    """Resume law: saved and loaded at every cut, it goes on as if it had never been stopped, bit for bit."""
    through, resumed = make(), make()
    for a, b in bounds(len(values), cuts):
        expected = through.update(values[a:b]).levels
        saved = state.encode(resumed.state_dict())
        resumed = make()
        resumed.load_state_dict(state.decode(saved))
        same_rows(resumed.update(values[a:b]).levels, expected, 0.0, f"levels after resuming, cuts {list(cuts)}")
    same_state(resumed.state_dict(), through.state_dict(), 0.0, f"state after resuming, cuts {list(cuts)}")


def detector_bounded(make: Callable[[], Detector], values: Array, *, times: int = 20, slack: int = 256) -> None:
    """Bounded law: the state does not grow from the tenth time of the same values on."""
    detector = make()
    sizes: list[int] = []
    for _ in range(2):
        for _ in range(times):
            detector.update(values)
        sizes.append(len(state.encode(detector.state_dict())))
    if sizes[1] > sizes[0] + slack:
        raise AssertionError(f"{sizes[0]} bytes of state grew to {sizes[1]} over {times} times the values")


def detector_poison(make: Callable[[], Detector], values: Array) -> None:
    """Poison law: NaN, Inf, text and another shape are refused with a clear error, and the state is untouched."""
    for what, bad in (("NaN", np.nan), ("Inf", np.inf), ("-Inf", -np.inf)):
        detector = make()
        detector.update(values)
        poisoned = values.astype(np.float64)
        poisoned[len(values) // 2] = bad
        refuses(detector, lambda detector=detector, poisoned=poisoned: detector.update(poisoned), what)
    for what, wrong in (("text", values.astype(str)), ("two columns", np.stack([values, values], axis=1))):
        detector = make()
        detector.update(values)
        refuses(detector, lambda detector=detector, wrong=wrong: detector.update(wrong), what)
