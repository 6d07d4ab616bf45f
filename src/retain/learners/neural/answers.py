"""By what rows are answered: the module as it is trained, averaged weights, a head, or weights of the rows' task.

Shapes: n rows, k classes or outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from retain.core import Averaging, Head, Projection, Strategy
from retain.errors import SettingError
from retain.learners.neural.network import Network
from retain.strategies.addend import Layered, Tasked, Viewing
from retain.strategies.aside import lent

__all__ = ["Answers", "unshared", "viewing"]


@final
@dataclass(frozen=True, slots=True)
class Answers:
    """What of a learner's parts has a say in its answers."""

    averaging: Averaging | None
    head: Head | None
    tasked: Tasked | None

    @staticmethod
    def of(
        strategies: Sequence[Strategy], averaging: Averaging | None, head: Head | None, *, task_masks: bool
    ) -> Answers:
        """Raises SettingError for parts that would answer in each other's place, or are not told of tasks."""
        tasked = [one for one in strategies if isinstance(one, Tasked)]
        if not tasked:
            return Answers(averaging, head, None)
        name = type(tasked[0]).__name__
        others = [*tasked[1:], *(part for part in (averaging, head) if part is not None)]
        if others:
            raise SettingError(
                f"{name} answers rows of each task by weights of its own, and so would {type(others[0]).__name__}; "
                "give one of them"
            )
        if not task_masks:
            raise SettingError(
                f"{name} is for rows that tell their task, and the learner is not told of it: give task_masks=True, "
                "and rows with Batch.task (a scenario of tasks: `retain continual --scenario task`)"
            )
        return Answers(averaging, head, tasked[0])

    @property
    def plain(self) -> bool:
        """Whether the module answers as it is trained."""
        return self.averaging is None and self.head is None and self.tasked is None

    def weights(self, net: Network, /) -> Tensor:
        """(p,) the weights of the module by which rows are answered that tell no task."""
        if isinstance(self.head, Layered):
            return self.head.weights(net)
        return net.weights if self.averaging is None else self.averaging.weights(net)

    def scores(self, net: Network, x: Tensor, task: Tensor | None, /) -> Tensor:
        """Scores (n, k) of rows with what is known now; `task` (n,) tells their tasks."""
        if self.head is not None and (net.classes or not net.criterion.classes):
            return self.head.answer(net, x)
        if self.tasked is not None and task is not None and len(x):
            return net.scores(_by_task(net, x, task, self.tasked), task)
        return net.scores(net.outputs(x, weights=self.weights(net)), task)


def _by_task(net: Network, x: Tensor, task: Tensor, part: Tasked) -> Tensor:
    """Outputs (n, k), those of each task by its weights and buffers; minus infinity for classes that it had not."""
    tasks = task.unique().tolist()
    found: list[Tensor] = []
    for number in tasks:
        weights, buffers, classes = part.answering(net, number)
        with lent(net.buffers, buffers):
            output = net.outputs(x if len(tasks) == 1 else x[task == number], weights=weights)
        found.append(output if classes is None else _only(output, classes))
    if len(tasks) == 1:
        return found[0]
    output = found[0].new_empty((len(x), found[0].shape[1]))
    for number, rows in zip(tasks, found, strict=True):
        output[task == number] = rows
    return output


def _only(output: Tensor, classes: Tensor) -> Tensor:
    """Outputs (n, k) of the classes that are true, of those that came later neither."""
    allowed = classes.new_zeros(output.shape[1])
    allowed[: len(classes)] = classes
    return output.masked_fill(~allowed.to(output.device), -torch.inf)


def viewing(strategies: Sequence[Strategy], /) -> Viewing | None:
    """By whom the module sees other weights than those that are trained. Raises SettingError for two of these."""
    found = [one for one in strategies if isinstance(one, Viewing)]
    if len(found) > 1:
        raise SettingError(f"{found[0].name} and {found[1].name} both say what the module sees of a weight; give one")
    return found[0] if found else None


def unshared(parts: Sequence[Strategy | Projection | Head], /) -> None:
    """Refuse a memory that two parts would fill. Raises SettingError."""
    memories = [part.memory for part in parts if part.memory is not None]
    if len({id(memory) for memory in memories}) < len(memories):
        raise SettingError(
            "two of the strategies, the projection and the head keep their rows in the same memory, which would be "
            "offered every row twice; give each a memory of its own"
        )
