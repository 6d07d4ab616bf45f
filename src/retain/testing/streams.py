"""The laws of streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retain import blocks, state
from retain.core import Batch, State, Stream
from retain.testing.compare import same_batches, with_cuts

__all__ = ["check_stream"]


def check_stream(make: Callable[[int], Stream], *, rows: int = 200, tries: int = 10) -> None:
    """Run every law of a stream; `make(block)` returns it with blocks of that many rows.

    Blocks change nothing but where the rows are cut, and reading from any position, again and again, gives the rows
    that reading on would have given. `rows` bounds how far an endless stream is read.
    """
    reference = _read(make(rows), None, rows)[0]

    def body(cuts: Sequence[int]) -> None:
        block = max(cuts[0] if cuts else 1, 1)
        batch, positions = _read(make(block), None, rows)
        same_batches(batch, reference, f"rows in blocks of {block}")
        for at in {0, len(positions) // 2, len(positions) - 1}:
            done, position = positions[at]
            kept = state.decode(state.encode(position))
            for _ in range(2):
                if done < len(reference):
                    rest = _read(make(block), kept, len(reference) - done)[0]
                    same_batches(rest, blocks.take_batch(reference, slice(done, None)), f"rows read from row {done}")

    with_cuts(min(rows, len(reference)), tries, body)


def _read(stream: Stream, position: State | None, rows: int) -> tuple[Batch, list[tuple[int, State]]]:
    """The next `rows` rows in one batch, and every position passed with the rows read until there."""
    batches: list[Batch] = []
    positions: list[tuple[int, State]] = []
    done = 0
    for batch, after in stream.read(position):
        batches.append(batch)
        done += len(batch)
        positions.append((done, after))
        if done >= rows:
            break
    return blocks.take_batch(blocks.concat_batches(batches), slice(0, rows)), positions
