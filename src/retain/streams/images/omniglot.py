"""Omniglot: 1,623 characters of 50 alphabets, each drawn by 20 people."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np

from retain.core import Array
from retain.errors import SettingError, SourceError
from retain.streams.images.download import Folder, Published, found
from retain.streams.images.pictures import members
from retain.streams.sets import TrainTest, train_test

__all__ = ["omniglot"]

_ADDRESS = "https://github.com/brendenlake/omniglot/raw/master/python"
_FILES = (
    Published("images_background.zip", _ADDRESS, packed="68d2efa1b9178cc56df9314c21c6e718"),
    Published("images_evaluation.zip", _ADDRESS, packed="6b91aef0f799c5bb55b94e3f2daec811"),
)
_LEARN = 15  # of the 20 drawers of a character
_DRAWER = re.compile(r"_(\d+)$")


def omniglot(folder: Folder = None, /, *, size: int = 28, mirror: str | None = None) -> TrainTest:
    """Handwritten characters (Lake, Salakhutdinov and Tenenbaum 2015): x (n, 1, size, size) uint8, ink 255 on 0.

    A class is a character of an alphabet, 'Greek/character01', in the order of the names, so that consecutive classes
    share their alphabet. Of each character the first 15 drawings are learnt and the last 5 tested on, as Javed and
    White (2019, Meta-learning representations for continual learning) have it.

    Args:
        folder: where zip files `images_*.zip` lie, any of them; None: the user's cache, filled by download with both.
        size: pixels of a side. The originals have 105; 28 are usual.
        mirror: another address to download from.

    Raises SourceError where files are missing, damaged, or cannot be downloaded.

    >>> omniglot("/data/omniglot").train.x.shape  # doctest: +SKIP
    (24345, 1, 28, 28)
    """
    if size < 1:
        raise SettingError(f"size={size}; expected at least one pixel")
    given = sorted(Path(folder).glob("images_*.zip")) if folder is not None else []
    paths = given or found(_FILES, folder, cached="omniglot", mirror=mirror)
    drawings = [_drawing(name, content, size) for path in paths for name, content in members(path)]
    if not drawings:
        raise SourceError(f"{paths[0]} holds no drawings; expected ALPHABET/CHARACTER/NAME_01.png: copy it again")
    x = np.stack([image for _, _, image in drawings])
    y = np.array([character for character, _, _ in drawings])
    learn = np.array([drawer <= _LEARN for _, drawer, _ in drawings])
    return train_test(x[learn], y[learn], test=(x[~learn], y[~learn]))


def _drawing(name: str, content: bytes, size: int) -> tuple[str, int, Array]:
    """The character, who drew it, and the drawing (1, size, size)."""
    from PIL import Image

    path = PurePosixPath(name)
    drawer = _DRAWER.search(path.stem)
    if drawer is None or len(path.parts) < 3:
        raise SourceError(f"{name} is no drawing; expected ALPHABET/CHARACTER/NAME_01.png")
    try:
        with Image.open(BytesIO(content)) as image:
            ink = 255 - np.asarray(image.convert("L").resize((size, size), Image.Resampling.BOX))
    except OSError as error:
        raise SourceError(f"cannot read the picture {name}: {error}; copy the file again") from error
    return "/".join(path.parts[-3:-1]), int(drawer[1]), ink[None]
