"""What a strategy does where it does not say otherwise: nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from retain.core import Forward, Model, Rows, State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Addend"]


class Addend(ABC):
    """A strategy that overrides only what it needs; see `retain.core.Strategy` for what each method is for."""

    name: str

    def rows(self, new: Rows, /) -> Rows | None:
        return None

    def loss(self, model: Model, new: Forward, /, *, own: Forward | None) -> Tensor | None:
        return None

    def pull(self, model: Model, gradient: Tensor, /) -> None:  # noqa: B027 - nothing is a good default
        pass

    def stepped(self, model: Model, new: Forward, /) -> None:  # noqa: B027 - as above
        pass

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:  # noqa: B027 - as above
        pass

    @abstractmethod
    def state_dict(self) -> State: ...

    @abstractmethod
    def load_state_dict(self, state: State, /) -> None: ...
