"""What a forest, or a tree, becomes where it runs: nodes and leaves, and nothing that only learning needs.

Shapes: n rows.
"""

from __future__ import annotations

from typing import final

import numpy as np

from retain.blocks import take
from retain.compose import learns
from retain.compression.draft import Format
from retain.compression.packed import Numbers
from retain.compression.packed_trees import packed_trees, unpacked_trees
from retain.compression.source import TRIED, branched, refuse_apart
from retain.compression.table import NUMBERS
from retain.core import Array, Features, Learner, State
from retain.errors import SettingError
from retain.learners.trees.answering import Answering

__all__ = ["APART", "Trees"]

APART = 1e-4  # of probabilities, in float32


@final
class Trees:
    """Trees, packed: `retain.compression.packed_trees` tells the format of the file.

    It is unpacked when it is loaded, and all trees answer in one compiled loop.

    Args:
        data: the file.
    """

    name = "trees"

    def __init__(self, data: bytes, /) -> None:
        self.branches, numbers = unpacked_trees(data)
        self.numbers: Numbers = numbers
        self._answering = Answering(self.branches)
        self.data = data

    @staticmethod
    def of(learner: Learner, format: Format | None, rows: Features, /) -> Trees:  # noqa: A002
        """The trees of the learner at the end of a chain, compared in float32 with what it says of rows.

        Raises SettingError where they answer otherwise, for a learner without trees, and for an unknown format.
        """
        name = None if format is None else format.name
        if name not in NUMBERS:
            raise SettingError(f"trees have numbers in int8 or float16, and got {name}; give Int8() or Half()")
        branches, some = branched(learner), take(rows, slice(TRIED))
        whole = Trees(packed_trees(branches, "float32"))
        refuse_apart(whole.predict(some), learns(learner).predict(some), bound=APART)
        return whole if format is None else Trees(packed_trees(branches, NUMBERS[name]))

    def formatted(self, learner: Learner, format: Format | None, rows: Features, /) -> Trees:  # noqa: A002
        """As `Form.formatted`."""
        return Trees.of(learner, format, rows)

    def renewed(self, learner: Learner, rows: Features | None, /) -> Trees:  # noqa: ARG002 - nothing is calibrated
        """As `Form.renewed`; trees may have grown, and there may be more classes."""
        return Trees(packed_trees(branched(learner), self.numbers))

    @property
    def memory(self) -> int:
        return self._answering.memory

    def predict(self, x: Features, /) -> Array:
        return self._answering.predict(x)

    def state_dict(self) -> State:
        return {"kind": self.name, "data": np.frombuffer(self.data, dtype=np.uint8)}

    @staticmethod
    def from_state(state: State, /) -> Trees:
        """What `state_dict` put down. Raises StateError for what is damaged."""
        return Trees(np.asarray(state["data"], dtype=np.uint8).tobytes())
