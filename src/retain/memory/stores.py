"""How the inputs of kept rows are put down: as they are, or smaller.

A store is a value without state: what it had to learn from rows is a *book*, a mapping of tensors that the memory keeps
and hands back. Labels, weights and extra columns are always kept as they are.

Shapes: n rows, each an input of any shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, final

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PLAIN", "Book", "Plain", "Store"]

Book: TypeAlias = "Mapping[str, Tensor]"


class Store(ABC):
    """A way to put rows of input down as codes and to read them again.

    `fits_on` is how many rows it must have seen before it can: a memory keeps its first rows as they are until there
    are so many. 0 where nothing has to be seen.
    """

    fits_on: int

    @abstractmethod
    def code(self, like: Tensor, /) -> Tensor:
        """Shape and type of codes (0, ...) for inputs like `like` (0, ...). Raises PoisonError where it cannot."""

    @abstractmethod
    def book(self, x: Tensor, /) -> Book:
        """What has to be known for coding, from the first `fits_on` rows of input (n, ...)."""

    @abstractmethod
    def book_bytes(self, like: Tensor, /) -> int:
        """How large the book will be for inputs like `like`."""

    @abstractmethod
    def encode(self, x: Tensor, book: Book, /) -> Tensor:
        """Codes (n, ...) of inputs (n, ...)."""

    @abstractmethod
    def decode(self, code: Tensor, book: Book, /, *, like: Tensor) -> Tensor:
        """Inputs (n, ...) of the shape and type of `like`, from codes (n, ...)."""


@final
class Plain(Store):
    """Inputs of any shape and type as they are.

    >>> import torch
    >>> Plain().code(torch.empty(0, 3, dtype=torch.int64)).dtype
    torch.int64
    """

    fits_on = 0

    def code(self, like: Tensor, /) -> Tensor:
        return like

    def book(self, x: Tensor, /) -> Book:  # noqa: ARG002 - nothing has to be known
        return {}

    def book_bytes(self, like: Tensor, /) -> int:  # noqa: ARG002 - as above
        return 0

    def encode(self, x: Tensor, book: Book, /) -> Tensor:  # noqa: ARG002 - as above
        return x

    def decode(self, code: Tensor, book: Book, /, *, like: Tensor) -> Tensor:  # noqa: ARG002 - as above
        return code


PLAIN = Plain()
