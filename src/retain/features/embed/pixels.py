"""`Pixels`: images brought to the size and the numbers that an encoder was taught.

Shapes: n images, c channels, h rows of pixels, w columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from retain.errors import PoisonError, SettingError

__all__ = ["Pixels"]

_READER = "Pixels"


@final
class Pixels(nn.Module):
    """A layer in front of an encoder of images: (n, c, h, w) of numbers from 0 to 1, resized, (x - mean) / std.

    Grey images become as many channels as the encoder has. Images are resized whole, nothing is cut off; what becomes
    smaller is averaged first.

    Args:
        size: of a side, or (rows, columns); None: as they come.
        mean: of each channel, in 0 to 1; by default that of ImageNet.
        std: the same.
        bicubic: the finer way to resize, for encoders that were taught so.

    Raises:
        SettingError: a size below 1, a std that is not above 0, or not as many as means.
        PoisonError: rows that are no images, or of another number of channels.

    >>> import numpy as np, torch, retain as rt
    >>> net = torch.nn.Sequential(rt.Pixels(1), torch.nn.Flatten())
    >>> grey = np.uint8([[[[0, 255], [255, 0]]]])  # one image of 2 x 2 pixels, half of them black
    >>> rt.Embed(net, normalised=False).apply(grey).round(2)  # (0.5 - mean) / std of red, green and blue
    array([[0.07, 0.2 , 0.42]], dtype=float32)
    """

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        *,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        bicubic: bool = False,
    ) -> None:
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else size
        if self.size is not None and min(self.size) < 1:
            raise SettingError(f"{_READER} got size={size}; expected at least one pixel")
        if len(mean) != len(std) or not mean or not min(std) > 0:
            raise SettingError(
                f"{_READER} got mean={tuple(mean)}, std={tuple(std)}; expected one of each for every channel, std > 0"
            )
        self.bicubic = bicubic
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        channels = len(self.mean)
        if x.ndim != 4 or x.shape[1] not in (1, channels):
            raise PoisonError(
                f"{_READER} got rows of shape {tuple(x.shape[1:])}; expected images (1 or {channels} channels, height, "
                "width)"
            )
        if self.size is not None and x.shape[2:] != self.size:
            mode = "bicubic" if self.bicubic else "bilinear"
            # Cubics overshoot at edges: there are no pixels below 0 or above 1.
            x = functional.interpolate(x, self.size, mode=mode, antialias=True).clamp(0, 1)
        return (x - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"size={self.size}, bicubic={self.bicubic}"
