"""What is packed into a file of our own and answers from it: the form that tables of weights and trees share.

Shapes: n rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, TypeVar

import numpy as np
from typing_extensions import Self

from retain.blocks import take
from retain.compose import learns
from retain.compression.draft import Format
from retain.compression.packed import Numbers
from retain.compression.source import TRIED, refuse_apart
from retain.core import Array, Features, Learner, State
from retain.errors import SettingError

__all__ = ["NUMBERS", "Answers", "Packing"]

NUMBERS: dict[str | None, Numbers] = {None: "float32", "float16": "float16", "int8": "int8"}
P = TypeVar("P", bound="Packing")


class Answers(Protocol):
    """What an opened file answers with."""

    @property
    def memory(self) -> int: ...
    def predict(self, x: Features, /) -> Array: ...


class Packing(ABC):
    """A file, opened once: a `retain.compression.forms.Form`.

    Args:
        data: the file.
    """

    name: ClassVar[str]
    bound: ClassVar[float]  # how far it may answer from its learner, in float32

    def __init__(self, data: bytes, /) -> None:
        self.data = data
        self.numbers: Numbers
        self._answers, self.numbers = self._opened(data)

    @abstractmethod
    def _opened(self, data: bytes, /) -> tuple[Answers, Numbers]:
        """What a file answers with, and in which numbers. Raises StateError for what is damaged."""

    @staticmethod
    @abstractmethod
    def _packed(learner: Learner, numbers: Numbers, /) -> bytes:
        """The file of the learner at the end of a chain. Raises SettingError for one that has no such file."""

    @classmethod
    def of(cls, learner: Learner, format: Format | None, rows: Features, /) -> Self:  # noqa: A002
        """Of the learner at the end of a chain, compared in float32 with what it says of rows.

        Raises SettingError where it answers otherwise, for a learner without such a file, and for an unknown format.
        """
        name = None if format is None else format.name
        if name not in NUMBERS:
            raise SettingError(
                f"the form {cls.name!r} has numbers in int8 or float16, and got {name}; give Int8() or Half()"
            )
        whole, some = cls(cls._packed(learner, "float32")), take(rows, slice(TRIED))
        refuse_apart(whole.predict(some), learns(learner).predict(some), bound=cls.bound)
        return whole if format is None else cls(cls._packed(learner, NUMBERS[name]))

    def formatted(self, learner: Learner, format: Format | None, rows: Features, /) -> Self:  # noqa: A002
        """As `Form.formatted`."""
        return type(self).of(learner, format, rows)

    def renewed(self, learner: Learner, rows: Features | None, /) -> Self:  # noqa: ARG002 - nothing is calibrated
        """As `Form.renewed`; the learner may have grown."""
        return type(self)(self._packed(learner, self.numbers))

    @property
    def memory(self) -> int:
        return self._answers.memory

    def predict(self, x: Features, /) -> Array:
        return self._answers.predict(x)

    def state_dict(self) -> State:
        return {"kind": self.name, "data": np.frombuffer(self.data, dtype=np.uint8)}

    @classmethod
    def from_state(cls, state: State, /) -> Self:
        """What `state_dict` put down. Raises StateError for what is damaged."""
        return cls(np.asarray(state["data"], dtype=np.uint8).tobytes())
