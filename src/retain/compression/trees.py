"""What a forest, or a tree, becomes where it runs: nodes and leaves, and nothing that only learning needs."""

from __future__ import annotations

from typing import final

from retain.compression.packed import Numbers
from retain.compression.packed_trees import packed_trees, unpacked_trees
from retain.compression.packing import Answers, Packing
from retain.compression.source import branched
from retain.core import Learner
from retain.learners.trees.answering import Answering

__all__ = ["APART", "Trees"]

APART = 1e-4  # of probabilities, in float32


@final
class Trees(Packing):
    """Trees, packed: `retain.compression.packed_trees` tells the format of the file.

    It is unpacked when it is loaded, and all trees answer in one compiled loop.
    """

    name = "trees"
    bound = APART

    def _opened(self, data: bytes, /) -> tuple[Answers, Numbers]:
        self.branches, numbers = unpacked_trees(data)
        return Answering(self.branches), numbers

    @staticmethod
    def _packed(learner: Learner, numbers: Numbers, /) -> bytes:
        return packed_trees(branched(learner), numbers)
