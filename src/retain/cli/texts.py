"""What turns texts into features on the command line: the encoder that is named, one that is installed, or hashing."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

import retain as rt
from retain.blocks import dense, matrix
from retain.compose import Composable
from retain.core import CSR, Array, Features, Kind, Learner, Report, Schema
from retain.errors import SettingError
from retain.learners.auto import GRAMS, intents
from retain.report import Progress

if TYPE_CHECKING:
    from retain.features.embed import Embed

__all__ = ["chosen", "followed", "learner", "looked_at", "words"]

_NONE = "none"
_BITS = 11  # of hashed texts where learners need rows that are not sparse: 2,048 columns


def chosen(encoder: str | None, /) -> str | None:
    """The encoder to use, or None for hashing: the one that is named, else one that is installed with all it needs."""
    if encoder == "":
        raise SettingError(f"--encoder got no name; expected a folder, an installed package, or {_NONE}")
    if encoder is not None:
        return None if encoder == _NONE else encoder
    from retain.features.embed.packages import installed  # not of use to most runs

    needed = all(find_spec(name) is not None for name in ("torch", "transformers"))
    return installed() if needed else None


def words(schema: Schema, encoder: str | None, /) -> str:
    """What is told of it."""
    named = ", ".join(_texts(schema))
    by = chosen(encoder)
    if by is not None:
        return f"{named} by the encoder {by} (hashed words instead: --encoder {_NONE})"
    other = (
        "" if encoder == _NONE else "; an encoder knows what means the same: pip install 'retain[text]' and --encoder"
    )
    return f"{named} by hashed words and their runs of {GRAMS[0]} to {GRAMS[1]} characters{other}"


def learner(schema: Schema, encoder: str | None, /) -> Learner:
    """The learner of texts in classes that come one after the other."""
    if schema.classes is None or not _texts(schema):
        what = "a target of numbers" if schema.classes is None else "no column of text"
        raise SettingError(f"there is {what}; expected classes and texts: name them with --target and --text")
    return intents(schema, _embed(schema, encoder, None))


def looked_at(schema: Schema, encoder: str | None, *parts: Features) -> list[Array]:
    """Rows of texts alone as features (n, d) of about unit size, encoded once for all that learns from them."""

    def make(watch: Callable[[int, int], None]) -> Composable:
        hashing = rt.Hash(bits=_BITS, text=tuple(_texts(schema)), grams=GRAMS, normalised=True)
        return _embed(schema, encoder, watch) or hashing

    return followed(make, *parts)


def followed(make: Callable[[Callable[[int, int], None]], Composable], *parts: Features) -> list[Array]:
    """What a transform of rows of length 1 makes of each part (n, d), of about unit size, with a bar meanwhile."""
    total = sum(len(part) if isinstance(part, (np.ndarray, CSR)) else part.num_rows for part in parts)
    with Progress(total_rows=total) as progress:
        before = 0

        def watch(done: int, _: int) -> None:
            progress.update(Report(before + done, 0, 0, 0, 0, 0.0, 0.0))

        look = make(watch)
        found: list[Array] = []
        for part in parts:
            rows = matrix(look.apply(part), reader="retain continual")
            rows = dense(rows, rows.width if isinstance(rows, CSR) else rows.shape[1])
            # Rows of length 1 have numbers of 1 / sqrt(d); nets and penalties are made for numbers of about 1.
            found.append(rows * np.float32(np.sqrt(rows.shape[1])))
            before += len(rows)
    return found


def _embed(schema: Schema, encoder: str | None, watch: Callable[[int, int], None] | None) -> Embed | None:
    by = chosen(encoder)
    return None if by is None else rt.Embed(by, *_texts(schema), watch=watch)


def _texts(schema: Schema) -> list[str]:
    return [column.name for column in schema.columns if column.kind is Kind.TEXT]
