"""A model on its way to where it runs: what goes on learning, and what is done to the graph that is made of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeGuard, TypeVar

from retain.compose import Chain, Composable, Wrapper, learns
from retain.core import Array, Batch, Learner
from retain.errors import SettingError
from retain.features.embed import Embed

if TYPE_CHECKING:
    import onnx

    from retain.learners.neural import Neural

T = TypeVar("T")

__all__ = ["Draft", "Format", "Lessons", "Step", "encoders", "end", "ending", "neural", "swapped", "transforms"]


class Format(Protocol):
    """The numbers in which a graph computes or is kept, where these are not float32."""

    @property
    def name(self) -> str:
        """What a state calls it."""
        ...

    def made(self, graph: onnx.ModelProto, rows: Array, /) -> onnx.ModelProto:
        """The graph that is to run; `rows` (n, ...) are what it is given, to calibrate by. The one given may change.

        Raises SettingError where it has to be calibrated and there are no rows.
        """
        ...


@dataclass(frozen=True, slots=True)
class Draft:
    """A model on its way: a learner of its own, which may be of another shape than its parent, and how it will compute.

    The learner is in float32 and can go on learning; what runs is made of it anew whenever it has. Transforms in front
    may be shared by drafts: who lets a draft's learner learn beside its parent copies it first, as `rt.compress` does.
    """

    learner: Learner
    format: Format | None = None  # None: float32


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a step may learn from: labelled rows as they came, and the model that is to be made smaller, as a teacher.

    `retain.compose.within(learner, lessons.batches)` are these rows as the learner at the end of a chain sees them.
    """

    batches: Sequence[Batch]
    teacher: Learner
    seed: int = 0


class Step(Protocol):
    """One rung of a ladder: a smaller or faster model made of a draft."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        """The next draft. The one given, and all that belongs to it, stays as it was.

        Raises SettingError where the learner has nothing that the step could work on.
        """
        ...


def end(learner: Learner, kind: type[T], /, *, needs: str) -> T:
    """The learner at the end of a chain, if it is of a kind. Raises SettingError, which begins with `needs`."""
    last = learns(learner)
    if not isinstance(last, kind):
        raise SettingError(f"{needs}; got {type(last).__name__}")
    return last


def transforms(learner: Learner, /) -> tuple[Composable, ...]:
    """What stands in front of the learner at the end of a chain. Raises SettingError where there is a wrapper."""
    if isinstance(learner, Wrapper):
        raise SettingError(f"{type(learner).__name__} cannot be made smaller as it is; compress the learner inside it")
    return (*learner.transforms, *transforms(learner.learner)) if isinstance(learner, Chain) else ()


def neural(learner: Learner, /) -> TypeGuard[Neural]:
    """Whether a learner is a neural net. Torch is not imported to find out: where it is not, there is none."""
    module = sys.modules.get("retain.learners.neural.neural")
    return module is not None and isinstance(learner, module.Neural)


def encoders(learner: Learner, /) -> tuple[Embed, ...]:
    """The frozen encoders in a chain, which are most of its bytes and time where there are any."""
    return tuple(one for one in transforms(learner) if isinstance(one, Embed))


def swapped(learner: Learner, old: Composable, new: Composable, /) -> Learner:
    """The same chain with another transform in the place of one; all else is shared."""
    if not isinstance(learner, Chain):
        return learner
    return Chain([new if one is old else one for one in learner.transforms], swapped(learner.learner, old, new))


def ending(learner: Learner, last: Learner, /) -> Learner:
    """The same chain with another learner at its end; transforms are shared. Raises SettingError for a wrapper."""
    transforms(learner)
    return Chain(learner.transforms, ending(learner.learner, last)) if isinstance(learner, Chain) else last
