"""The laws of metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retain import state
from retain.core import Array, Metric
from retain.testing.compare import bounds, same_number, same_state, with_cuts

__all__ = ["check_metric"]


def check_metric(
    make: Callable[[], Metric], y: Array, prediction: Array, weight: Array | None = None, /, *, tries: int = 10
) -> None:
    """Run every law of a metric: splits, saving and loading change nothing, bit for bit; value changes nothing."""
    whole = make()
    whole.update(y, prediction, weight)
    expected = whole.value()
    same_number(whole.value(), expected, "value called twice")

    def pieces(cuts: Sequence[int]) -> None:
        parts, resumed = make(), make()
        for a, b in bounds(len(y), cuts):
            piece = y[a:b], prediction[a:b], None if weight is None else weight[a:b]
            parts.update(*piece)
            resumed.update(*piece)
            saved = state.encode(resumed.state_dict())
            resumed = make()
            resumed.load_state_dict(state.decode(saved))
            same_number(resumed.value(), parts.value(), "value after loading")
        same_number(parts.value(), expected, f"value, split at {list(cuts)}")
        same_state(resumed.state_dict(), parts.state_dict(), 0.0, "state after loading")

    with_cuts(len(y), tries, pieces)
