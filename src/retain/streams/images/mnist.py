"""MNIST and the sets that took its form: 60,000 + 10,000 grey images of 28 x 28 pixels in ten classes, as IDX files."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retain.core import Array
from retain.errors import SourceError
from retain.streams.images.download import Folder, Published, found, read
from retain.streams.sets import TrainTest, train_test

__all__ = ["fashion_mnist", "kmnist", "mnist"]

_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_DIGITS = tuple("0123456789")
_BYTES = 0x08  # the IDX type of unsigned bytes


def _files(address: str, *, content: Sequence[str] = (), packed: Sequence[str] = ()) -> tuple[Published, ...]:
    none = [None] * len(_NAMES)
    sums = zip(_NAMES, content or none, packed or none, strict=True)
    return tuple(Published(name, address, content=c, packed=p) for name, c, p in sums)


_MNIST = _files(
    "https://ossci-datasets.s3.amazonaws.com/mnist",  # the mirror everybody uses: the first address often refuses
    content=(
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
)
_FASHION = _files(
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    packed=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)
_KMNIST = _files(
    "http://codh.rois.ac.jp/kmnist/dataset/kmnist",
    packed=(
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
)
_CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


def mnist(folder: Folder = None, /, *, mirror: str | None = None) -> TrainTest:
    """Handwritten digits (LeCun, Cortes and Burges; LeCun et al. 1998): x (n, 1, 28, 28) uint8.

    Args:
        folder: where the four IDX files lie, gzipped or not; None: the user's cache, filled by download.
        mirror: another address to download from.

    Raises SourceError where a file is missing, damaged, or cannot be downloaded.

    >>> mnist("/data/mnist").train.x.shape  # doctest: +SKIP
    (60000, 1, 28, 28)
    """
    return _load(found(_MNIST, folder, cached="mnist", mirror=mirror), _DIGITS)


def fashion_mnist(folder: Folder = None, /, *, mirror: str | None = None) -> TrainTest:
    """Clothes in the form of MNIST (Xiao, Rasul and Vollgraf 2017). Arguments and errors as `mnist`."""
    return _load(found(_FASHION, folder, cached="fashion-mnist", mirror=mirror), _CLOTHES)


def kmnist(folder: Folder = None, /, *, mirror: str | None = None) -> TrainTest:
    """Cursive Japanese characters in the form of MNIST (Clanuwat et al. 2018). Arguments and errors as `mnist`."""
    return _load(found(_KMNIST, folder, cached="kmnist", mirror=mirror), _KANA)


def _load(paths: Sequence[Path], classes: Sequence[str]) -> TrainTest:
    x, y, x_test, y_test = (_idx(path) for path in paths)
    return train_test(x[:, None], y, test=(x_test[:, None], y_test), classes=classes)


def _idx(path: Path) -> Array:
    """An IDX file of bytes: two zeros, type and number of dimensions, the dimensions (big-endian), the values."""
    data = read(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != _BYTES:
        raise SourceError(
            f"{path} begins with {data[:4].hex() or 'nothing'}; expected an IDX file of bytes: copy it again"
        )
    ndim = data[3]
    start = 4 + 4 * ndim
    shape = struct.unpack(f">{ndim}I", data[4:start]) if len(data) >= start else (-1,)
    if len(data) - start != np.prod(shape):
        raise SourceError(f"{path} holds {len(data) - start} values; expected {shape} by its head: copy it again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
