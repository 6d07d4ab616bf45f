"""What a learner of sparse rows becomes where it runs: the weights that are not 0."""

from __future__ import annotations

from typing import final

from retain.compression.packed import Numbers, packed, unpacked
from retain.compression.packing import Answers, Packing
from retain.compression.source import APART, scored
from retain.core import Learner
from retain.learners.linear.answering import Answering

__all__ = ["Table"]


@final
class Table(Packing):
    """Weights and a link, packed: `retain.compression.packed` tells the format of the file.

    It is unpacked when it is loaded, and answers through the kernels of `rt.Linear`, which take sparse rows.
    """

    name = "table"
    bound = APART

    def _opened(self, data: bytes, /) -> tuple[Answers, Numbers]:
        scores, numbers = unpacked(data)
        return Answering(scores), numbers

    @staticmethod
    def _packed(learner: Learner, numbers: Numbers, /) -> bytes:
        return packed(scored(learner), numbers)
