"""Where results go, looked at before the first row is read: who hears at the end that they cannot has lost them."""

from __future__ import annotations

import os
from pathlib import Path

from retain.errors import SettingError

__all__ = ["check_folder", "check_report"]


def check_report(path: Path | None, /) -> None:
    """Raises SettingError where no report can be written to that file."""
    if path is None:
        return
    if path.is_dir():
        raise SettingError(f"--report {path} is a folder; name a file in it, such as {path / 'report.html'}")
    if not path.parent.is_dir():
        raise SettingError(f"--report {path}: there is no folder {path.parent}; make it, or name a file elsewhere")
    if not os.access(path.parent, os.W_OK):
        raise SettingError(f"--report {path}: the folder {path.parent} cannot be written; name a file elsewhere")


def check_folder(option: str, path: Path | None, /) -> None:
    """Raises SettingError where there can be no such folder, or nothing can be written into it."""
    if path is None:
        return
    there = next(part for part in (path, *path.parents) if part.exists())
    if not there.is_dir():
        raise SettingError(f"{option} {path}: {there} is a file; name a folder, which is made where there is none")
    if not os.access(there, os.W_OK):
        raise SettingError(f"{option} {path}: the folder {there} cannot be written; name another")
