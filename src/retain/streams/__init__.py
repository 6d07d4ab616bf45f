"""Where examples come from: arrays, tables, files and generators, each with a position from which it resumes exactly.

Every stream yields blocks of rows in arrival order (`for batch in stream`), and `stream.read(position)` yields each
block with the position after it. See `retain.core.Stream`.
"""

from __future__ import annotations

# The functions share their names with the modules they live in, so they are bound here and not on first use: a
# submodule that is imported later would take the name.
from retain.streams.flights import flights

__all__ = ["flights"]
