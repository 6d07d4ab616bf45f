"""Python files of the user's own: run, and asked for what they define."""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.errors import RetainError, SettingError

__all__ = ["ran"]


def ran(path: Path, /) -> Mapping[str, Any]:
    """All names of a Python file, which is run: it is the user's own program.

    Raises SettingError where it ends with an error that is none of ours.
    """
    try:
        return runpy.run_path(str(path), run_name=path.stem)
    except RetainError:
        raise
    except Exception as error:
        raise SettingError(f"{_told(path, error)}; correct the file") from error


def _told(path: Path, error: Exception) -> str:
    """An error, and the last line of a file that it came by; the file alone where it is none of its lines."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}{f', line {lines[-1]}' if lines else ''}: {type(error).__name__}: {error}"
