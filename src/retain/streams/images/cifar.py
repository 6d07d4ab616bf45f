"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour images of 32 x 32 pixels, from their binary version.

The version "for Python" is a pickle, which can run code when it is read, so it is not read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retain.core import Array
from retain.errors import SourceError
from retain.streams.images.download import Folder, Published, found, read
from retain.streams.images.pictures import pictures
from retain.streams.sets import TrainTest, train_test

__all__ = ["cifar10", "cifar100"]

_ADDRESS = "https://www.cs.toronto.edu/~kriz"
_TEN = Published("cifar-10-binary.tar.gz", _ADDRESS, packed="c32a1d4ab5d03f1284b67883e8d87530")
_HUNDRED = Published("cifar-100-binary.tar.gz", _ADDRESS, packed="03b5dce01913d631647c71ecec9e9cb8")
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PIXELS = 3 * 32 * 32


def cifar10(folder: Folder = None, /, *, mirror: str | None = None) -> TrainTest:
    """Ten classes of things and animals (Krizhevsky 2009): x (n, 3, 32, 32) uint8.

    Args:
        folder: where `cifar-10-binary.tar.gz` lies, or what it holds; or an archive or folder of pictures, as
            `pictures` reads it. None: the user's cache, filled by download.
        mirror: another address to download from.

    Raises SourceError where files are missing, damaged, or cannot be downloaded.

    >>> cifar10("/data/cifar10").test.x.shape  # doctest: +SKIP
    (10000, 3, 32, 32)
    """
    train, test = [f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"]
    parts = _parts(_TEN, [*train, *test], folder, mirror)
    if parts is None:
        return pictures(_pictured(Path(folder or ".")))
    (x, y), (x_test, y_test) = (_records([parts[name] for name in names], labels=1) for names in (train, test))
    return train_test(x, y, test=(x_test, y_test), classes=_CLASSES)


def cifar100(folder: Folder = None, /, *, mirror: str | None = None) -> TrainTest:
    """A hundred classes, 500 + 100 images of each (Krizhevsky 2009). Arguments and errors as `cifar10`."""
    names = ["train.bin", "test.bin", "fine_label_names.txt"]
    parts = _parts(_HUNDRED, names, folder, mirror)
    if parts is None:
        return pictures(_pictured(Path(folder or ".")))
    (x, y), (x_test, y_test) = (_records([parts[name]], labels=2) for name in names[:2])
    classes = parts[names[2]].decode().split()
    return train_test(x, y, test=(x_test, y_test), classes=classes)


def _parts(file: Published, names: Sequence[str], folder: Folder, mirror: str | None) -> dict[str, bytes] | None:
    """The content of the set's files, by name; None where the folder holds something else."""
    if folder is not None:
        place = Path(folder)
        for root in (place, *(path for path in place.glob("cifar-*") if path.is_dir())):
            if all((root / name).is_file() for name in names):
                return {name: read(root / name) for name in names}
        if not (place / file.name).is_file():
            return None
    return _members(found([file], folder, cached="cifar", mirror=mirror)[0], names)


def _members(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    import tarfile

    try:
        with tarfile.open(path) as archive:
            parts = {
                Path(member.name).name: content.read()
                for member in archive
                if Path(member.name).name in names and (content := archive.extractfile(member)) is not None
            }
    except (OSError, EOFError, tarfile.TarError) as error:
        raise SourceError(f"cannot read {path}: {error}; copy it again") from error
    missing = sorted(set(names) - parts.keys())
    if missing:
        raise SourceError(f"{path} lacks {', '.join(missing)}; expected the binary version of the set")
    return parts


def _pictured(folder: Path) -> Path:
    """The folder itself, where it holds pictures, or the one archive in it."""
    archives = sorted(path for path in folder.glob("*") if ".tar" in path.suffixes or path.suffix in (".tgz", ".zip"))
    if (folder / "train").is_dir() or not folder.is_dir():
        return folder
    if len(archives) != 1:
        raise SourceError(
            f"{folder} holds {[path.name for path in archives] or 'no archive'}; expected the binary version of the "
            f"set ({_ADDRESS}; that for Python is a pickle, which can run code), or pictures as train/CLASS/NAME.png"
        )
    return archives[0]


def _records(parts: Sequence[bytes], *, labels: int) -> tuple[Array, Array]:
    """Rows of label bytes, of which the last is the class, and then the pixels, channel by channel."""
    data = b"".join(parts)
    size = labels + _PIXELS
    if len(data) % size:
        raise SourceError(
            f"the file has {len(data)} bytes; expected a multiple of {size}, a label and 32 x 32 x 3 pixels"
        )
    rows = np.frombuffer(data, np.uint8).reshape(-1, size)
    return np.ascontiguousarray(rows[:, labels:]).reshape(-1, 3, 32, 32), rows[:, labels - 1]
