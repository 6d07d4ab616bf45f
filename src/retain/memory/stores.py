"""How the inputs of kept rows are put down: as they are, or smaller.

A store is a value without state: what it had to learn from rows is a *book*, a mapping of tensors that the memory keeps
and hands back. Labels, weights and extra columns are always kept as they are.

Shapes: n rows, each an input of any shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, final

from retain.errors import PoisonError, SettingError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PLAIN", "Book", "Half", "Plain", "Store", "UInt8", "numbers"]

Book: TypeAlias = "Mapping[str, Tensor]"


def numbers(like: Tensor, /, *, reader: str) -> None:
    """Raise PoisonError for inputs that are not floating-point numbers: codes of words must be kept exactly."""
    if not like.is_floating_point():
        raise PoisonError(
            f"{reader} got inputs of {like.dtype}; expected floating-point numbers: keep these with Plain()"
        )


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


@final
class UInt8(Store):
    """Inputs on 256 equal steps from `low` to `high`: a quarter of float32, which images do not notice.

    What lies between is off by (high - low) / 510 at most, and what lies outside becomes the nearer end.

    Args:
        low: the least value; without it, the least and the largest of the first rows.
        high: the largest value.
        rows: how many rows these are.

    >>> import torch
    >>> store = UInt8(0.0, 1.0)
    >>> store.encode(torch.tensor([[0.0, 0.25, 1.0, 1.7]]), {})
    tensor([[  0,  64, 255, 255]], dtype=torch.uint8)

    Raises SettingError unless low < high, and PoisonError for inputs that are not floating-point numbers.
    """

    def __init__(self, low: float | None = None, high: float | None = None, *, rows: int = 100) -> None:
        if (low is None) != (high is None) or (low is not None and high is not None and not low < high):
            raise SettingError(f"low={low}, high={high}; expected low < high, or neither to take them from the rows")
        if rows < 1:
            raise SettingError(f"rows={rows}; expected at least 1")
        self.fits_on = rows if low is None else 0
        self._ends = None if low is None or high is None else (low, high)

    def code(self, like: Tensor, /) -> Tensor:
        import torch

        numbers(like, reader="UInt8")
        return like.new_empty(like.shape, dtype=torch.uint8)

    def book(self, x: Tensor, /) -> Book:
        return {} if self._ends is not None else {"low": x.min(), "high": x.max()}

    def book_bytes(self, like: Tensor, /) -> int:
        return 0 if self._ends is not None else 2 * like.element_size()

    def encode(self, x: Tensor, book: Book, /) -> Tensor:
        import torch

        low, step = self._scale(book)
        return ((x.double() - low) / step).round_().clamp_(0, 255).to(torch.uint8)

    def decode(self, code: Tensor, book: Book, /, *, like: Tensor) -> Tensor:
        low, step = self._scale(book)
        return (code.double() * step + low).to(like.dtype)

    def _scale(self, book: Book) -> tuple[float, float]:
        low, high = self._ends if self._ends is not None else (book["low"].item(), book["high"].item())
        return low, (high - low) / 255 or 1.0  # rows that are all alike have no scale


@final
class Half(Store):
    """Inputs as float16: half of float32, off by one part in 2,048 at most (by 3e-8 below 6e-5).

    What is beyond 65,504 becomes 65,504.

    >>> import torch
    >>> Half().encode(torch.tensor([[0.1, 1e9]]), {})
    tensor([[9.9976e-02, 6.5504e+04]], dtype=torch.float16)

    Raises PoisonError for inputs that are not floating-point numbers.
    """

    fits_on = 0

    def code(self, like: Tensor, /) -> Tensor:
        numbers(like, reader="Half")
        return like.half()

    def book(self, x: Tensor, /) -> Book:  # noqa: ARG002 - nothing has to be known
        return {}

    def book_bytes(self, like: Tensor, /) -> int:  # noqa: ARG002 - as above
        return 0

    def encode(self, x: Tensor, book: Book, /) -> Tensor:  # noqa: ARG002 - as above
        return x.clamp(-65504.0, 65504.0).half()

    def decode(self, code: Tensor, book: Book, /, *, like: Tensor) -> Tensor:  # noqa: ARG002 - as above
        return code.to(like.dtype)


PLAIN = Plain()
