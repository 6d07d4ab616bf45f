"""What a learner of sparse rows becomes where it runs: the weights that are not 0.

Shapes: n rows.
"""

from __future__ import annotations

from typing import final

import numpy as np

from retain.blocks import take
from retain.compose import learns
from retain.compression.draft import Format
from retain.compression.packed import Numbers, packed, unpacked
from retain.compression.source import APART, TRIED, refuse_apart, scored
from retain.core import Array, Features, Learner, State
from retain.errors import SettingError
from retain.learners.linear.answering import Answering

__all__ = ["NUMBERS", "Table"]

NUMBERS: dict[str | None, Numbers] = {None: "float32", "float16": "float16", "int8": "int8"}


@final
class Table:
    """Weights and a link, packed: `retain.compression.packed` tells the format of the file.

    It is unpacked when it is loaded, and answers through the kernels of `rt.Linear`, which take sparse rows.

    Args:
        data: the file.
    """

    name = "table"

    def __init__(self, data: bytes, /) -> None:
        scores, numbers = unpacked(data)
        self.numbers: Numbers = numbers
        self._answering = Answering(scores)
        self.data = data

    @staticmethod
    def of(learner: Learner, format: Format | None, rows: Features, /) -> Table:  # noqa: A002
        """The weights of the learner at the end of a chain, compared in float32 with what it says of rows.

        Raises SettingError where they answer otherwise, for a learner without weights, and for an unknown format.
        """
        name = None if format is None else format.name
        if name not in NUMBERS:
            raise SettingError(f"a table has numbers in int8 or float16, and got {name}; give Int8() or Half()")
        scores, some = scored(learner), take(rows, slice(TRIED))
        whole = Table(packed(scores, "float32"))
        refuse_apart(whole.predict(some), learns(learner).predict(some), bound=APART)
        return whole if format is None else Table(packed(scores, NUMBERS[name]))

    def formatted(self, learner: Learner, format: Format | None, rows: Features, /) -> Table:  # noqa: A002
        """As `Form.formatted`."""
        return Table.of(learner, format, rows)

    def renewed(self, learner: Learner, rows: Features | None, /) -> Table:  # noqa: ARG002 - nothing is calibrated
        """As `Form.renewed`; a table may have become wider, or have more outputs."""
        return Table(packed(scored(learner), self.numbers))

    @property
    def memory(self) -> int:
        return self._answering.memory

    def predict(self, x: Features, /) -> Array:
        return self._answering.predict(x)

    def state_dict(self) -> State:
        return {"kind": self.name, "data": np.frombuffer(self.data, dtype=np.uint8)}

    @staticmethod
    def from_state(state: State, /) -> Table:
        """What `state_dict` put down. Raises StateError for what is damaged."""
        return Table(np.asarray(state["data"], dtype=np.uint8).tobytes())
