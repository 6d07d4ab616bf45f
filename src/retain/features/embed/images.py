"""Encoders of images that lie in a folder: the net, and what its `preprocessor_config.json` says of its pixels.

Shapes: n images, t tokens, d features.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from torch import Tensor, nn

from retain.errors import SettingError
from retain.features.embed.pixels import Pixels

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Pooled", "image_net", "of_images"]

_PIXELS, _WORDS = "preprocessor_config.json", "tokenizer_config.json"
_BICUBIC = 3  # as Pillow numbers them


def of_images(folder: Path, /) -> bool:
    """Whether what lies there encodes images, and no texts."""
    return (folder / _PIXELS).is_file() and not (folder / _WORDS).is_file()


def image_net(net: nn.Module, folder: Path, /, *, pooling: Literal["mean", "cls"]) -> Pooled:
    """A net of `transformers` behind the pixels that its folder asks for."""
    try:
        said: Any = json.loads((folder / _PIXELS).read_text(encoding="utf-8"))
        return Pooled(net, _pixels(said), pooling=pooling)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingError(
            f"cannot make sense of {folder / _PIXELS} ({error!r}); expected `size`, `image_mean` and `image_std` as "
            "`save_pretrained` writes them, or give the net as a module: Sequential(rt.Pixels(...), net)"
        ) from error


@final
class Pooled(nn.Module):
    """Images to features (n, d): the mean over the net's tokens or its map of features, or the first token ("cls")."""

    def __init__(self, net: nn.Module, pixels: Pixels, /, *, pooling: Literal["mean", "cls"]) -> None:
        super().__init__()
        self.pixels, self.net = pixels, net
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        # Not the net's own pooling: where a checkpoint has no weights for it, they are drawn at random.
        hidden: Tensor = self.net(pixel_values=self.pixels(x)).last_hidden_state
        if hidden.ndim == 4:
            return hidden.mean((2, 3))
        return hidden[:, 0] if self.pooling == "cls" else hidden.mean(1)

    def extra_repr(self) -> str:
        config: Any = self.net.config
        return f"pooling={self.pooling}, {config.to_json_string()}"


def _pixels(said: Mapping[str, Any]) -> Pixels:
    size = said["size"] if said.get("do_resize", True) else None
    if said.get("do_center_crop"):
        size = said["crop_size"]
    if not said.get("do_rescale", True):
        raise ValueError("do_rescale is false; expected pixels from 0 to 1")
    plain = not said.get("do_normalize", True)
    mean, std = ([0.0] * 3, [1.0] * 3) if plain else (said["image_mean"], said["image_std"])
    return Pixels(_size(size), mean=mean, std=std, bicubic=said.get("resample") == _BICUBIC)


def _size(said: Any) -> int | tuple[int, int] | None:
    if said is None or isinstance(said, int):
        return said
    return (said["height"], said["width"]) if "height" in said else int(said["shortest_edge"])
