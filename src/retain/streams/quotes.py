"""Where the rows and fields of comma-separated text end, as Arrow's parser sees it.

A newline within quotes ends nothing. Where a piece of text has quotes, they are first taken to be well-formed (each
opens after a delimiter or a newline and closes before one), which is checked in a few vector operations; where they
are not, rows are found one by one.
"""

from __future__ import annotations

import csv as stdlib_csv
import io
import re
from functools import lru_cache
from itertools import takewhile
from typing import Any

import numpy as np

from retain.streams.text import show

__all__ = ["count", "fields", "last_row_end", "row_pattern", "split"]


def last_row_end(data: bytes, delimiter: int, /) -> int:
    """Offset after the last row that ends with a newline in `data`, which begins with a row; 0 where none does."""
    if b'"' not in data:
        return data.rfind(b"\n") + 1
    quotes = _even_quotes(data, delimiter)
    if quotes is None:
        # Behind a quote that does not close yet nothing is known: it may close in what follows.
        whole = takewhile(lambda span: span[2], split(data, delimiter))
        return max((end for _, end, _ in whole if data[end - 1] == 0x0A), default=0)
    at = data.rfind(b"\n")
    while at >= 0 and (before := int(np.searchsorted(quotes, at))) % 2:
        at = data.rfind(b"\n", 0, int(quotes[before - 1]))
    return at + 1


def _even_quotes(data: bytes, delimiter: int) -> np.ndarray[Any, Any] | None:
    """Offsets of the quotes if all are well-formed: then those of even index open, or follow a doubled one."""
    text = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(text == 0x22)
    allowed = np.zeros(256, dtype=bool)
    allowed[[delimiter, 0x0A, 0x0D, 0x22]] = True
    opening, closing = quotes[0::2], quotes[1::2]
    before = text[opening - 1][opening > 0]
    after = text[np.minimum(closing + 1, len(text) - 1)][closing + 1 < len(text)]
    return quotes if allowed[before].all() and allowed[after].all() else None


@lru_cache(maxsize=8)
def row_pattern(delimiter: int) -> re.Pattern[bytes]:
    """A row as Arrow's parser sees it: a quote opens at the start of a field only; after it closes, text may follow."""
    d = re.escape(bytes([delimiter]))
    name = b'(?:"[^"]*(?:""[^"]*)*"(?!")[^D\\r\\n]*|[^"D\\r\\n][^D\\r\\n]*|)'.replace(b"D", d)
    return re.compile(name + b"(?:" + d + name + b")*(?:\\r\\n|\\n|\\r|\\Z)")


def split(data: bytes, delimiter: int, /) -> list[tuple[int, int, bool]]:
    """Start and end of each row, and whether its quotes close; one whose quotes do not ends with its first line.

    Empty lines are no rows.
    """
    match = row_pattern(delimiter).match
    rows: list[tuple[int, int, bool]] = []
    at = 0
    while at < len(data):
        found = match(data, at)
        end = found.end() if found else data.find(b"\n", at) + 1 or len(data)
        if data[at:end].strip(b"\r\n"):
            rows.append((at, end, found is not None))
        at = end
    return rows


def fields(row: bytes, delimiter: int, /) -> list[str]:
    """The fields of one row, for messages and headers."""
    text = show(row)
    try:
        return next(stdlib_csv.reader(io.StringIO(text, newline=""), delimiter=chr(delimiter)), [])
    except stdlib_csv.Error:  # a field of more than 128 KiB
        return text.split(chr(delimiter))


def count(row: bytes, delimiter: int) -> int:
    """How many fields a row has, as Arrow counts."""
    d = re.escape(bytes([delimiter]))
    field = b'"[^"]*(?:""[^"]*)*"(?!")[^D\\r\\n]*|[^"D\\r\\n][^D\\r\\n]*|'.replace(b"D", d)
    pattern, at, count = re.compile(field), 0, 0
    while True:
        found = pattern.match(row, at)
        at = found.end() if found else len(row)
        count += 1
        if at >= len(row) or row[at] != delimiter:
            return count
        at += 1
