"""Pictures on the command line as the features of an encoder: a folder, a package, or a Python file that makes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import retain as rt
from retain.cli.programs import ran
from retain.cli.texts import chosen, followed
from retain.core import Array
from retain.errors import SettingError

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = ["encoded"]


def encoded(encoder: str, /, *parts: Array) -> list[Array]:
    """Images (n, c, h, w) as features (n, d) of about unit size; as they are where no encoder is to be used."""
    by = chosen(encoder)
    if by is None:
        return list(parts)
    made = _made(Path(by)) if by.endswith(".py") else by
    return followed(lambda watch: rt.Embed(made, watch=watch), *parts)


def _made(path: Path) -> Module:
    """The `encoder` of a Python file. Raises SettingError where it has none."""
    from torch.nn import Module

    if not path.is_file():
        raise SettingError(f"there is no file {path}; expected one with `encoder = ` a torch module in it")
    made = ran(path).get("encoder")
    if not isinstance(made, Module):
        raise SettingError(
            f"`encoder` in {path} is {made!r:.60}; expected a torch module: images (n, c, h, w) to features (n, d), as "
            "in encoder = torch.nn.Sequential(rt.Pixels(224), net)"
        )
    return made
