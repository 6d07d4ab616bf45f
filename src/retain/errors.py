"""Every error that `retain` raises on purpose, and nothing else.

    RetainError
    ├── DataError        a row, column or file is not what it should be
    │   ├── PoisonError      a value that would damage a model: NaN, Inf, wrong width, wrong type
    │   ├── SchemaError      a column or target that the schema does not know, or lacks
    │   └── SourceError      a source that cannot be read: missing, empty, truncated, undecodable
    ├── StateError       saved state that cannot be used: another version, damaged, owned by someone else
    ├── SettingError     an argument that makes no sense, alone or beside another
    ├── BudgetError      nothing that was tried is as small, as fast and as good as was asked
    └── MissingExtraError  an optional package is needed and absent

A message has three parts: the value that was met (with file, row and column where known), what was expected, and the
cure. `retain` on the command line prints the message on one line and exits with code 2.
"""

from __future__ import annotations

__all__ = [
    "BudgetError",
    "DataError",
    "MissingExtraError",
    "PoisonError",
    "RetainError",
    "SchemaError",
    "SettingError",
    "SourceError",
    "StateError",
]


class RetainError(Exception):
    """What every error of this library descends from; catch it to catch them all."""


class DataError(RetainError, ValueError):
    """A row, column or file is not what it should be."""


class PoisonError(DataError):
    """A value that would damage a model; raised before any state has changed."""


class SchemaError(DataError):
    """A column or target that the schema does not know, or lacks."""


class SourceError(DataError):
    """A source that cannot be read: missing, empty, truncated, undecodable."""


class StateError(RetainError):
    """Saved state that cannot be used: another version, damaged, or owned by another process."""


class SettingError(RetainError, ValueError):
    """An argument that makes no sense, alone or beside another."""


class BudgetError(RetainError):
    """Nothing that was tried is as small, as fast and as good as was asked; the message tells what was tried."""


class MissingExtraError(RetainError, ImportError):
    """An optional package is needed and absent; the message says which extra brings it."""
