"""Pictures in folders named for their classes, in a directory or in an archive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from retain.core import Array
from retain.errors import SourceError
from retain.streams.sets import TrainTest, train_test

__all__ = ["decoded", "members", "pictures"]

_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"))
_TRAIN, _TEST = ("train", "training"), ("test", "val", "validation")


def pictures(path: str | os.PathLike[str], /, *, share: float = 0.2, seed: int = 0) -> TrainTest:
    """Pictures of one size in folders named for their classes: train/CLASS/NAME.png, maybe also test/CLASS/NAME.png.

    Args:
        path: a directory, a zip file, or a tar file however compressed.
        share: of the pictures of a class, how many are set aside to test on, where there is no test folder.
        seed: which ones.

    Returns:
        x (n, 3, h, w) uint8, or (n, 1, h, w) where all are grey; classes in the order of their names.

    Raises SourceError where there are none, one cannot be read, or they differ in size.

    >>> pictures("flowers.zip").classes  # doctest: +SKIP
    ('daisy', 'dandelion', 'rose')
    """
    found: dict[bool, list[tuple[str, Array]]] = {False: [], True: []}
    for name, content in members(Path(path)):
        parts = PurePosixPath(name).parts
        which = next((part for part in parts[:-2] if part in _TRAIN + _TEST), None)
        if which is not None:
            found[which in _TEST].append((parts[-2], decoded(content, name)))
    learn, test = found[False], found[True]
    if not learn:
        raise SourceError(f"{path} holds no pictures as train/CLASS/NAME.png; put them in such folders")
    x, y = _stacked(learn, path)
    return train_test(x, y, test=_stacked(test, path) if test else None, share=share, seed=seed)


def members(path: Path, /) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all picture files in a directory or archive, in the order of their names."""
    import tarfile
    import zipfile

    try:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.suffix.lower() in _SUFFIXES:
                    yield file.relative_to(path.parent).as_posix(), file.read_bytes()
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if PurePosixPath(name).suffix.lower() in _SUFFIXES:
                        yield name, archive.read(name)
        else:
            yield from sorted(_tar(path))
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise SourceError(f"cannot read {path}: {error}; expected a directory, a zip or a tar file") from error


def decoded(content: bytes, name: str, /) -> Array:
    """A picture as (c, h, w) uint8: one channel where it is grey, else three."""
    from PIL import Image, UnidentifiedImageError  # comes with matplotlib

    try:
        with Image.open(BytesIO(content)) as image:
            pixels: Any = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise SourceError(f"cannot read the picture {name}: {error}; leave it out or copy it again") from error
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


def _tar(path: Path) -> Iterator[tuple[str, bytes]]:
    import tarfile

    with tarfile.open(path) as archive:
        for member in archive:
            if PurePosixPath(member.name).suffix.lower() in _SUFFIXES:
                content = archive.extractfile(member)
                if content is not None:
                    yield member.name, content.read()


def _stacked(found: list[tuple[str, Array]], path: str | os.PathLike[str]) -> tuple[Array, Array]:
    shapes = sorted({image.shape[1:] for _, image in found})
    if len(shapes) > 1:
        raise SourceError(f"{path} holds pictures of {shapes[0]} and of {shapes[-1]} pixels; bring them to one size")
    channels = max(len(image) for _, image in found)
    x = np.stack([np.broadcast_to(image, (channels, *shapes[0])) for _, image in found])
    return x, np.array([name for name, _ in found])
