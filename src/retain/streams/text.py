"""Text files in pieces that end after a row: what CSV and JSON Lines share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, final

import numpy as np

from retain.core import State
from retain.errors import SourceError
from retain.streams.files import STDIN, Bytes, Fingerprint, open_bytes
from retain.streams.infer import HEAD_BYTES

__all__ = ["BOM", "PIECE", "Chunk", "Text", "TextFiles", "is_text", "not_text", "show"]

PIECE = 1 << 20  # bytes; measured: smaller and larger pieces cost more CPU a row
LONGEST = 1 << 24  # bytes in a row; a longer one is a quote that never closes
BOM = b"\xef\xbb\xbf"
_MAGIC = (
    (b"PAR1", "a Parquet file: read it with streams.parquet (--format parquet)"),
    (b"ARROW1", "an Arrow file: read it with streams.arrow (--format arrow)"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"\xff\xfe", "UTF-16 text: convert it to UTF-8, e.g. iconv -f utf-16 -t utf-8"),
    (b"\xfe\xff", "UTF-16 text: convert it to UTF-8, e.g. iconv -f utf-16 -t utf-8"),
)


@final
class TextFiles:
    """Opens text files; standard input only once, with whatever was read of it for the head put back."""

    def __init__(self) -> None:
        self._stdin: _Rewound | None = None

    def open(self, name: str, number: int, /) -> Text:
        """File `number` of a source, at its start, its first piece checked to be text."""
        if name == STDIN:
            self._stdin = self._stdin or _Rewound(open_bytes(name))
            stream: Bytes = self._stdin
        else:
            stream = open_bytes(name)
        try:
            first = stream.read(PIECE)
            _check_text(name, first)
            begin = len(BOM) if first.startswith(BOM) else 0
            return Text(name, number, stream, first[begin:], begin)
        except BaseException:
            stream.close()
            raise


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file: whole rows, except that the last may lack what ends it where `last` says so."""

    data: bytes
    base: Mapping[str, Any]
    last: bool  # the file ends here, or a row is longer than any should be

    @property
    def line(self) -> int:
        """Number of the first line."""
        return int(self.base["line"])

    def place(self, skip: int, /) -> dict[str, Any]:
        """Where row `skip` of the piece is."""
        return {**self.base, "skip": skip}


@final
class Text:
    """An open text file: what was read of it and not used yet, and where in the (decompressed) file that begins."""

    def __init__(self, name: str, number: int, stream: Bytes, rest: bytes, begin: int) -> None:
        self.name, self.number = name, number
        self.rest = rest
        self._stream = stream
        self._begin, self._line = begin, 1
        self._print = Fingerprint.of(name).to_state()

    def close(self) -> None:
        self._stream.close()

    def drop(self, size: int, /) -> None:
        """Go past the first `size` bytes of `rest`: a header."""
        self._line += self.rest.count(b"\n", 0, size)
        self.rest = self.rest[size:]
        self._begin += size

    def head(self) -> tuple[bytes, bool]:
        """The next MiB, without taking it, and whether the file ends with it."""
        while len(self.rest) <= HEAD_BYTES and (more := self._stream.read(HEAD_BYTES + 1 - len(self.rest))):
            self.rest += more
        return self.rest[:HEAD_BYTES], len(self.rest) <= HEAD_BYTES

    def seek(self, place: State | None, /) -> int:
        """Go to the piece that a place is in; returns how many of its rows were read before."""
        if place is None:
            return 0
        ahead = int(place["offset"]) - self._begin
        if ahead > len(self.rest):
            self._stream.skip(ahead - len(self.rest))
        self.rest = self.rest[ahead:]
        self._begin, self._line = int(place["offset"]), int(place["line"])
        return int(place["skip"])

    def pieces(self, row_end: Callable[[bytes], int], /) -> Iterator[Chunk]:
        """The rest of the file in pieces that end after a row.

        `row_end` finds the end of the last whole row. Where a piece begins, all pieces after it are the same.
        """
        rest, self.rest = self.rest, b""
        while True:
            wanted = PIECE
            while True:
                try:
                    rest, ended = self._fill(rest, wanted)
                except _Broken as broken:
                    if end := row_end(broken.whole):
                        yield self._chunk(broken.whole[:end], last=False)
                    raise broken.error from broken
                end = len(rest) if ended else row_end(rest[:wanted])
                closed = end > 0
                if closed or ended:
                    break
                if wanted >= LONGEST:
                    # A quote that never closes: its line is a row of its own, refused, and reading goes on after it.
                    end = rest.find(b"\n") + 1 or len(rest)
                    break
                wanted *= 2
            if not rest:
                return
            piece, rest = rest[:end], rest[end:]
            yield self._chunk(piece, last=ended or not closed)
            self._begin += end
            self._line += int(np.count_nonzero(np.frombuffer(piece, dtype=np.uint8) == 0x0A))  # bytes.count is slower

    def _chunk(self, data: bytes, *, last: bool) -> Chunk:
        base = {"file": self.number, "fingerprint": self._print, "offset": self._begin, "line": self._line}
        return Chunk(data, base, last)

    def _fill(self, rest: bytes, wanted: int) -> tuple[bytes, bool]:
        """`rest` with `wanted` bytes or all there are, and whether the file has ended."""
        while len(rest) < wanted:
            try:
                more = self._stream.read(wanted - len(rest))
            except SourceError as error:
                raise _Broken(rest, error) from error
            if not more:
                return rest, True
            rest += more
        return rest, False


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """The file cannot be read on; `whole` is what came before."""

    def __init__(self, whole: bytes, error: SourceError) -> None:
        super().__init__()
        self.whole, self.error = whole, error


@final
class _Rewound:
    """Standard input, which goes back to its start when closed, as long as no more than its head was read."""

    def __init__(self, stream: Bytes) -> None:
        self._stream = stream
        self._kept: bytes | None = b""
        self._at = 0
        self._spent = False

    def read(self, size: int, /) -> bytes:
        if self._spent:
            raise SourceError("standard input can be read only once; put the data into a file to read it again")
        if self._kept is None:
            return self._stream.read(size)
        if self._at < len(self._kept):
            taken = self._kept[self._at : self._at + size]
        else:
            taken = self._stream.read(size)
            self._kept = self._kept + taken if len(self._kept) < 2 * HEAD_BYTES else None
        self._at += len(taken)
        return taken

    def skip(self, size: int, /) -> None:
        raise SourceError(f"standard input cannot be resumed at byte {size}; put the data into a file")

    def close(self) -> None:
        self._at = 0
        self._spent = self._kept is None


def is_text(data: bytes, /) -> bool:
    """Whether bytes are UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def not_text(name: str, data: bytes, line: int, /) -> NoReturn:
    """Raise the error for a file that is in another encoding; `data` begins at `line`."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = line + data.count(b"\n", 0, error.start)
        raise SourceError(
            f"{name}, line {at}: the byte 0x{data[error.start]:02x} is not UTF-8; "
            "convert the file, e.g. iconv -f latin1 -t utf-8"
        ) from error
    raise SourceError(f"{name}: the rows cannot be told apart; expected one a line")


def show(data: bytes, /) -> str:
    """A row as it stands in the file, for messages and the quarantine."""
    return data.decode("utf-8", errors="backslashreplace").rstrip("\r\n")


def _check_text(name: str, first: bytes) -> None:
    if not first.removeprefix(BOM).strip():
        raise SourceError(f"{name} is empty; expected rows of text")
    for magic, what in _MAGIC:
        if first.startswith(magic):
            raise SourceError(f"{name} is {what}; expected lines of text")
    if b"\0" in first:
        raise SourceError(f"{name} is binary (a zero byte at offset {first.index(0)}); expected lines of text")
    if b"\n" not in first and b"\r" in first:
        raise SourceError(
            f"{name} ends its lines with a bare carriage return; expected newlines: convert it, e.g. tr '\\r' '\\n'"
        )
