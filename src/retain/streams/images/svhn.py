"""SVHN: 73,257 + 26,032 colour images of 32 x 32 pixels of house numbers, one digit in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from retain.core import Array
from retain.errors import MissingExtraError, SourceError
from retain.streams.images.download import Folder, Published, found
from retain.streams.sets import TrainTest, train_test

__all__ = ["svhn"]

_ADDRESS = "http://ufldl.stanford.edu/housenumbers"
# A .mat file is compressed within, so its own checksum is that of its content.
_FILES = (
    Published("train_32x32.mat", _ADDRESS, packed="e26dedcc434d2e4c54c9b2d4a06d8373"),
    Published("test_32x32.mat", _ADDRESS, packed="eb5a983be6a315427106f1b164d9cef3"),
)


def svhn(folder: Folder = None, /, *, mirror: str | None = None) -> TrainTest:
    """Street view house numbers, cropped digits (Netzer et al. 2011): x (n, 3, 32, 32) uint8.

    Args:
        folder: where `train_32x32.mat` and `test_32x32.mat` lie; None: the user's cache, filled by download.
        mirror: another address to download from.

    Raises SourceError where a file is missing, damaged, or cannot be downloaded; MissingExtraError without SciPy.

    >>> svhn("/data/svhn").train.x.shape  # doctest: +SKIP
    (73257, 3, 32, 32)
    """
    (x, y), test = (_mat(path) for path in found(_FILES, folder, cached="svhn", mirror=mirror))
    return train_test(x, y, test=test, classes=tuple("0123456789"))


def _mat(path: Path) -> tuple[Array, Array]:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise MissingExtraError("SVHN comes as MATLAB files, which SciPy reads; pip install scipy") from error
    try:
        file: Any = loadmat(str(path))
        x, y = np.asarray(file["X"]), np.asarray(file["y"]).ravel()
    except (OSError, ValueError, KeyError, NotImplementedError, MatReadError) as error:
        raise SourceError(f"cannot read {path}: {error}; expected X and y as published: copy it again") from error
    return np.ascontiguousarray(np.moveaxis(x, 3, 0).transpose(0, 3, 1, 2)), y % 10  # a 0 is written as 10
