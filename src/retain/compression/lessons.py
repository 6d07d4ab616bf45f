"""What a step is taught with: the lessons' rows as the learner sees them, and what the learner itself remembers."""

from __future__ import annotations

import torch
from torch import Tensor

from retain.compose import learns, within
from retain.compression.draft import Lessons
from retain.core import Batch, Learner, Memory, Rows
from retain.errors import SettingError
from retain.learners.neural import Neural
from retain.rows import join

__all__ = ["blocks", "remembered", "some"]


def blocks(learner: Learner, lessons: Lessons, /) -> list[Batch]:
    """The lessons' rows as the learner at the end of a chain sees them."""
    return list(within(learner, lessons.batches))


def memories(learner: Neural, /) -> list[Memory]:
    """The memories of a learner's parts that hold rows."""
    parts = [*learner.strategies, *(part for part in (learner.projection, learner.head) if part is not None)]
    return [memory for part in parts if (memory := part.memory) is not None and len(memory)]


def remembered(learner: Neural, /) -> Rows | None:
    """All rows in the learner's memories, without what strategies keep beside them; None where there are none."""
    found = [memory.rows() for memory in memories(learner)]
    rows = [Rows(one.x, one.y, one.weight, {k: v for k, v in one.extra.items() if k == "task"}) for one in found]
    return join(rows) if rows else None


def some(learner: Learner, lessons: Lessons, /, *, most: int) -> Tensor:
    """Inputs of rows to look at, some of the lessons and some that the learner remembers, drawn by the lessons' seed.

    Raises:
        SettingError: lessons without rows.
    """
    last = learns(learner)
    pools = [last.labelled(batch).x for batch in blocks(learner, lessons)] if isinstance(last, Neural) else []
    x = torch.cat(pools) if pools else torch.empty(0)
    if not len(x):
        raise SettingError("the lessons hold no labelled rows; give some that are recent")
    old = remembered(last) if isinstance(last, Neural) else None
    random = torch.Generator().manual_seed(lessons.seed)
    drawn = [x, *([] if old is None else [old.x.to(x)])]
    share = most // len(drawn)
    return torch.cat([one[torch.randperm(len(one), generator=random)[:share].to(one.device)] for one in drawn])
