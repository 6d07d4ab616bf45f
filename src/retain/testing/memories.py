"""The laws of memories.

Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast, final

from retain import state
from retain.core import Forward, Memory, Model, Rows
from retain.errors import SettingError
from retain.rows import take, to_state
from retain.testing.compare import bounds, same_bytes, same_rows, same_state, with_cuts
from retain.testing.poison import refuses

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = [
    "Still",
    "check_memory",
    "memory_blocks",
    "memory_bounded",
    "memory_draws",
    "memory_poison",
    "memory_resume",
    "memory_truth",
]


def check_memory(
    make: Callable[[], Memory], rows: Rows, *, model: Model | None = None, tolerance: float = 0.0, tries: int = 10
) -> None:
    """Run every law of a memory on `rows`.

    Args:
        make: returns a new memory, for fewer than ten times these rows.
        rows: some dozens, each of another weight, by which it is known again (`example_rows`).
        model: what it is given when an experience ends; without one, a model whose features are its inputs.
        tolerance: how far inputs may be from what was put in, where they are stored smaller.
        tries: how many splits Hypothesis chooses.

    The rows are two experiences, one half each.
    """
    model = cast("Model", Still()) if model is None else model
    memory_truth(make, rows, model=model, tolerance=tolerance)
    memory_draws(make, rows, model=model)
    memory_bounded(make, rows, model=model)
    memory_poison(make, rows, model=model)
    with_cuts(len(rows), tries, lambda cuts: memory_blocks(make, rows, cuts, model=model))
    with_cuts(len(rows), tries, lambda cuts: memory_resume(make, rows, cuts, model=model))


def memory_blocks(make: Callable[[], Memory], rows: Rows, cuts: Sequence[int], *, model: Model) -> None:
    """Block law: adding a + b is adding a, then b, bit for bit; also what is drawn then."""
    whole, parts = make(), make()
    for half in _halves(rows):
        whole.add(half)
        for piece in _pieces(half, cuts):
            parts.add(piece)
        for memory in (whole, parts):
            memory.consolidate(model, [half])
    same_state(parts.state_dict(), whole.state_dict(), 0.0, f"state after adding, split at {list(cuts)}")
    _same(parts.sample(5), whole.sample(5), f"a sample, split at {list(cuts)}")


def memory_resume(make: Callable[[], Memory], rows: Rows, cuts: Sequence[int], *, model: Model) -> None:
    """Resume law: saved and loaded at every cut, a memory goes on as if it had never been stopped, bit for bit."""
    through, resumed = make(), make()
    for half in _halves(rows):
        for piece in _pieces(half, cuts):
            through.add(piece)
            resumed = _again(make, resumed)
            resumed.add(piece)
            if len(through):
                _same(_again(make, resumed).sample(5), _again(make, through).sample(5), "what is drawn after loading")
                _same(resumed.sample(5), through.sample(5), f"a sample after resuming, cuts {list(cuts)}")
        resumed = _again(make, resumed)
        for memory in (through, resumed):
            memory.consolidate(model, [half])
    same_state(resumed.state_dict(), through.state_dict(), 0.0, f"state after resuming, cuts {list(cuts)}")
    _same(resumed.rows(), through.rows(), "rows after resuming")


def memory_bounded(make: Callable[[], Memory], rows: Rows, *, model: Model, times: int = 10, slack: int = 256) -> None:
    """Bounded law: neither rows nor state grow from the tenth time of the same rows to the twentieth."""
    memory = make()
    sizes: list[tuple[int, int]] = []
    for _ in range(2):
        for _ in range(times):
            memory.add(rows)
            memory.consolidate(model, [rows])
        sizes.append((len(memory), len(state.encode(memory.state_dict()))))
    (held, first), (still, last) = sizes
    if still > held or last > first + slack:
        raise AssertionError(
            f"{held} rows and {first} bytes of state grew to {still} and {last} over {times} times the rows; expected "
            "a bound"
        )


def memory_truth(make: Callable[[], Memory], rows: Rows, *, model: Model, tolerance: float = 0.0) -> None:
    """Truth law: what is held are rows that were offered, each with its own label, weight and extra columns."""
    memory = make()
    try:
        memory.sample(1)
    except SettingError:
        pass
    else:
        raise AssertionError("an empty memory gave a sample; expected a SettingError")
    for half in _halves(rows):
        memory.add(half)
        memory.consolidate(model, [half])
    held = memory.rows()
    if len(held) != len(memory) or not len(held):
        raise AssertionError(f"rows gives {len(held)} rows and len says {len(memory)}; expected the same, and some")
    offered = cast("list[float]", rows.weight.tolist())
    at = _index([offered.index(weight) for weight in cast("list[float]", held.weight.tolist())])
    expected = take(rows, at)
    same_rows(_array(held.x), _array(expected.x), tolerance, "inputs held")
    _same(replace(held, x=expected.x), expected, "labels and extra columns held")


def memory_draws(make: Callable[[], Memory], rows: Rows, *, model: Model) -> None:
    """Draw law: n different rows of those held, others the next time, all where there are fewer; nothing changes."""
    memory = make()
    memory.add(rows)
    memory.consolidate(model, [rows])
    before = memory.rows()
    held = set(_weights(before))
    n = len(held) // 2
    drawn = [frozenset(_weights(memory.sample(n))) for _ in range(8)]
    if any(len(sample) != n or not sample <= held for sample in drawn):
        raise AssertionError(f"samples of {n} rows hold {[len(sample) for sample in drawn]} different rows held")
    if len(set(drawn)) == 1:
        raise AssertionError(f"8 samples of {n} out of {len(held)} rows are the same; expected draws")
    if len(memory.sample(2 * len(held))) != len(held):
        raise AssertionError("a sample of twice the rows held is not all of them")
    _same(memory.rows(), before, "rows after samples were drawn")


def memory_poison(make: Callable[[], Memory], rows: Rows, *, model: Model) -> None:
    """Poison law: rows that are not like those before are refused, and nothing has changed."""
    for what, bad in _spoilt(rows):
        memory = make()
        memory.add(rows)
        memory.consolidate(model, [rows])
        refuses(memory, lambda bad=bad, memory=memory: memory.add(bad), f"add of {what}")


# --- how these laws are tried -----------------------------------------------------------------------------------------


@final
class Still:
    """A model that does not learn, as far as memories look at one: its features and outputs are its inputs."""

    def losses(self, forward: Forward, /) -> Tensor:
        return forward.output.square().mean(1)

    def outputs(self, x: Tensor, /) -> Tensor:
        return x.flatten(1)

    def features(self, x: Tensor, /) -> Tensor:
        return x.flatten(1)


def _halves(rows: Rows) -> tuple[Rows, Rows]:
    middle = len(rows) // 2
    return take(rows, slice(0, middle)), take(rows, slice(middle, None))


def _pieces(rows: Rows, cuts: Sequence[int]) -> list[Rows]:
    inside = [cut for cut in cuts if cut <= len(rows)]
    return [take(rows, slice(a, b)) for a, b in bounds(len(rows), inside)]


def _again(make: Callable[[], Memory], memory: Memory) -> Memory:
    """A memory saved, loaded into a new one, and saved the same."""
    saved = state.encode(memory.state_dict())
    other = make()
    other.load_state_dict(state.decode(saved))
    same_bytes(state.encode(other.state_dict()), saved, "state saved again right after loading")
    return other


def _same(got: Rows, expected: Rows, what: str) -> None:
    same_state(to_state(got), to_state(expected), 0.0, what, "rows")


def _index(at: Sequence[int]) -> Tensor:
    import torch

    return torch.tensor(at, dtype=torch.int64)


def _array(x: Tensor) -> np.ndarray[Any, Any]:
    return x.detach().cpu().double().numpy()


def _weights(rows: Rows) -> list[float]:
    return cast("list[float]", rows.weight.tolist())


def _spoilt(rows: Rows) -> list[tuple[str, Rows]]:
    """Copies of rows, each with one thing wrong."""
    import torch

    x = rows.x
    found = [
        ("rows of another shape", replace(rows, x=x.unsqueeze(1))),
        ("one value too many", replace(rows, x=torch.cat([x, x[:, :1]], dim=1))),
        ("rows of another type", replace(rows, x=x.bool())),
        ("one row too few", replace(rows, x=x[:-1])),
        ("labels of another length", replace(rows, y=rows.y[:-1])),
        ("labels of another type", replace(rows, y=rows.y.to(torch.int32))),
        ("weights of another length", replace(rows, weight=rows.weight[:-1])),
        ("weights that are not finite", replace(rows, weight=torch.full_like(rows.weight, torch.nan))),
        ("an extra column more", replace(rows, extra={**rows.extra, "more": rows.weight})),
    ]
    if not rows.y.is_floating_point():
        found.append(("labels that are missing", replace(rows, y=torch.full_like(rows.y, -1))))
    if x.is_floating_point():
        bad = x.clone()
        bad[len(bad) // 2] = torch.nan
        found.append(("NaN in a row", replace(rows, x=bad)))
    for name, column in rows.extra.items():
        rest = {other: rows.extra[other] for other in rows.extra if other != name}
        found.append((f"no {name}", replace(rows, extra=rest)))
        if column.ndim == 2:
            found.append((f"{name} narrower", replace(rows, extra={**rest, name: column[:, :-1]})))
    return found
