"""Inputs as a few bytes each: the numbers of the nearest codewords, one for each part of the input.

Shapes: n rows, d numbers in a row, M parts of s = d / M numbers, K codewords.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

from retain.errors import SettingError
from retain.memory.stores import Book, Store, numbers

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ProductQuantised", "codebooks", "kmeans", "nearest"]

_AT_ONCE = 256  # rows whose distances to all codewords are held at once


def kmeans(x_Ns: Tensor, c_Ks: Tensor, /, *, rounds: int) -> Tensor:
    """Means (K, s) of rows (N, s), from those given (K, s); one that loses all its rows stays where it is."""
    import torch

    for _ in range(rounds):
        of_N = torch.addmm(c_Ks.square().sum(1), x_Ns, c_Ks.T, alpha=-2).argmin(1)
        total_Ks = torch.zeros_like(c_Ks).index_add_(0, of_N, x_Ns)
        count_K1 = of_N.bincount(minlength=len(c_Ks))[:, None]
        c_Ks = torch.where(count_K1 > 0, total_Ks / count_K1, c_Ks)
    return c_Ks


def codebooks(x_NMs: Tensor, k: int, /, *, rounds: int, seed: int) -> Tensor:
    """Codewords (M, K, s): k-means in each part, from the same K rows."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    first = torch.randperm(len(x_NMs), generator=generator)[:k].to(x_NMs.device)
    # One part after the other: the distances of all at once do not fit into a cache, which takes five times as long.
    parts = [x_NMs[:, part].contiguous() for part in range(x_NMs.shape[1])]
    return torch.stack([kmeans(x_Ns, x_Ns[first], rounds=rounds) for x_Ns in parts])


def nearest(x_NMs: Tensor, c_MKs: Tensor, /) -> Tensor:
    """Numbers (n, M) of the nearest codewords."""
    import torch

    # Not by a matrix product, whose rounding depends on how many rows it has: a row must get the same code however rows
    # are split into blocks.
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(x_NMs.transpose(0, 1), c_MKs, compute_mode=exact).argmin(2).T


@final
class ProductQuantised(Store):
    """Each row as M bytes: cut into M parts, each put down as the number of the nearest of its K codewords.

    The codewords are the means that k-means finds in the first rows, which are kept as they are until there are enough.
    It is for rows of features, which have far fewer degrees of freedom than numbers: images are better off with
    `UInt8`. How far off it is depends on the rows, and is measured before it is relied on. The codebooks take
    4 · K · d bytes for all rows together.

    Args:
        parts: M, which must divide the numbers of a row.
        codewords: K, at most 256.
        rows: how many of the first rows it is fitted on, at least K.
        rounds: of k-means.
        seed: of the rows that k-means begins with.

    >>> import torch
    >>> from retain.core import Rows
    >>> from retain.memory import Reservoir
    >>> features = torch.randn(1000, 64) @ torch.randn(64, 64)
    >>> memory = Reservoir(600, store=ProductQuantised(16, codewords=64, rows=500))
    >>> memory.add(Rows(features, torch.zeros(1000, dtype=torch.int64), torch.ones(1000)))
    >>> memory.state_dict()["slots"]["columns"]["x"].shape  # one byte each, where a row had 256
    (600, 16)

    Raises SettingError where these do not fit together, and PoisonError for inputs that are not floating-point numbers.

    Jegou, Douze and Schmid 2011, "Product quantization for nearest neighbor search"; Hayes et al. 2020, "REMIND your
    neural network to prevent catastrophic forgetting", which quantises each place of a feature map alike, where this
    cuts the whole row into parts.
    """

    def __init__(self, parts: int, *, codewords: int = 256, rows: int = 1000, rounds: int = 20, seed: int = 0) -> None:
        if parts < 1 or not 2 <= codewords <= 256 or rows < codewords or rounds < 1:
            raise SettingError(
                f"parts={parts}, codewords={codewords}, rows={rows}, rounds={rounds}; expected one part or more, one "
                "round, 2 to 256 codewords, and at least as many rows as codewords"
            )
        self.fits_on = rows
        self._parts, self._codewords, self._rounds, self._seed = parts, codewords, rounds, seed

    def code(self, like: Tensor, /) -> Tensor:
        import torch

        numbers(like, reader="ProductQuantised")
        width = math.prod(like.shape[1:])
        if not width or width % self._parts:
            raise SettingError(
                f"rows of {width} numbers cannot be cut into {self._parts} equal parts; choose a divisor"
            )
        return like.new_empty((0, self._parts), dtype=torch.uint8)

    def book(self, x: Tensor, /) -> Book:
        return {"words": codebooks(self._cut(x.float()), self._codewords, rounds=self._rounds, seed=self._seed)}

    def book_bytes(self, like: Tensor, /) -> int:
        return 4 * self._codewords * math.prod(like.shape[1:])

    def encode(self, x: Tensor, book: Book, /) -> Tensor:
        import torch

        parts = self._cut(x.float()).split(_AT_ONCE)
        return torch.cat([nearest(part, book["words"]) for part in parts]).to(torch.uint8)

    def decode(self, code: Tensor, book: Book, /, *, like: Tensor) -> Tensor:
        import torch

        words_MKs = book["words"]
        x_NMs = words_MKs[torch.arange(self._parts, device=code.device), code.long()]
        return x_NMs.reshape(len(code), *like.shape[1:]).to(like.dtype)

    def _cut(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), self._parts, -1)
