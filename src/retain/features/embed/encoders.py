# ruff: noqa: SLF001
# Only `by` looks into another instance: the copy that it makes.
"""Frozen encoders: a net, and how what it says becomes features.

Shapes: n items, t tokens, h hidden units, d features.
"""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np

from retain.core import Array, Floats
from retain.errors import MissingExtraError, PoisonError, RetainError, SettingError
from retain.features.embed.packages import found

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from retain.features.embed.onnx_runtime import OnnxRuntime, Running

__all__ = ["ArrayEncoder", "Encoder", "TextEncoder", "in_folder", "torch_threads"]

_READER = "Embed"
_CHARACTERS = 16  # a token, of which longer texts are first tried with: four times what prose has
_UNLIMITED = 1 << 20  # tokens; what tokenizers without a limit give as one is larger
_PIXELS = 255.0


class Encoder(ABC):
    """A frozen net: items in, features out, always the same ones."""

    @property
    @abstractmethod
    def net(self) -> Module:
        """Whose weights they are."""

    @property
    @abstractmethod
    def running(self) -> Running | None:
        """The graph, once it was made."""

    @abstractmethod
    def by(self, runtime: OnnxRuntime, model: bytes | None, /) -> Encoder:
        """The same net, computed by a runtime: by a graph that it made before, or one that it makes when items come."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of all that features depend on: weights, and the settings that shape them."""

    @abstractmethod
    def encode(self, items: Any, batch_size: int, told: Callable[[int], None], /) -> Floats:
        """Features (n, d) of n items; `told` hears how many have been encoded. Changes nothing."""


@final
class TextEncoder(Encoder):
    """A net of `transformers` and its tokenizer; the features of a text are pooled over its tokens.

    Texts of about one length go through the net together, padded to the longest of them, and what is padded is masked
    out: with whom a text goes changes its features by rounding only.
    """

    def __init__(
        self,
        model: Module,
        tokenizer: Any,
        /,
        *,
        pooling: Literal["mean", "cls"],
        tokens: int | None,
        runtime: OnnxRuntime | None,
        trained_with: int | None = None,
    ) -> None:
        self._runtime = runtime
        self._graph: Running | None = None
        self._model: Any = model.eval()
        self._tokenizer: Any = tokenizer
        limits = [
            trained_with,
            self._tokenizer.model_max_length,
            self._model.config.to_dict().get("max_position_embeddings"),
        ]
        known = [int(limit) for limit in limits if limit is not None and limit < _UNLIMITED]
        if tokens is not None and tokens > min(known, default=tokens):
            raise SettingError(f"{_READER} got tokens={tokens}; expected at most {min(known)}, the encoder's own limit")
        self._tokens = tokens or min(known, default=512)
        self._pooling = pooling

    @property
    def net(self) -> Module:
        return self._model

    @property
    def running(self) -> Running | None:
        return self._graph

    def by(self, runtime: OnnxRuntime, model: bytes | None, /) -> TextEncoder:
        from retain.features.embed.onnx_runtime import Running

        other = copy(self)
        other._runtime, other._graph = runtime, None if model is None else Running(model)
        return other

    def fingerprint(self) -> str:
        told = f"{self._model.config.to_json_string()} {self._pooling} {self._tokens} {_vocabulary(self._tokenizer)}"
        told += "" if self._runtime is None else self._runtime.tag
        return _fingerprint(self._model, told)

    def encode(self, items: Sequence[str], batch_size: int, told: Callable[[int], None], /) -> Floats:
        import torch

        ids = self._ids(items)
        order = np.argsort([len(one) for one in ids], kind="stable")
        rows: Floats | None = None
        for start in range(0, len(order), batch_size):
            some = order[start : start + batch_size]
            with torch.inference_mode():
                pooled = self._pooled([ids[i] for i in some])
            if rows is None:
                rows = np.empty((len(items), pooled.shape[1]), dtype=np.float32)
            rows[some] = pooled
            told(len(some))
        return self.encode([""], 1, lambda _: None)[:0] if rows is None else rows

    def _pooled(self, ids: Sequence[Sequence[int]]) -> Array:
        """Features (n, h) of texts by their tokens; zeros for a text without any."""
        import torch

        longest = max(1, *map(len, ids))
        ids_NT = np.full((len(ids), longest), self._tokenizer.pad_token_id or 0, dtype=np.int64)
        mask_NT = np.zeros((len(ids), longest), dtype=np.int64)
        for i, one in enumerate(ids):
            ids_NT[i, : len(one)] = one
            mask_NT[i, : len(one)] = 1
        device = "cpu" if self._runtime else _device(self._model)
        mask = torch.from_numpy(mask_NT).to(device)
        hidden_NTH = self._states(torch.from_numpy(ids_NT).to(device), mask).float()
        if self._pooling == "cls":
            return (hidden_NTH[:, 0] * mask[:, :1]).cpu().numpy()
        weight_NT1 = mask.unsqueeze(-1).float()
        return ((hidden_NTH * weight_NT1).sum(1) / weight_NT1.sum(1).clamp(min=1)).cpu().numpy()

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What the net says of each token (n, t, h)."""
        if self._runtime is None:
            return self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self._graph is None:
            from retain.features.embed.onnx_runtime import TokenStates

            some = ids.new_zeros((2, min(self._tokens, 8))).to(_device(self._model))
            self._graph = self._runtime.graph(TokenStates(self._model), some, some + 1, free=2)
        return self._graph(ids, mask)

    def _ids(self, items: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, as many as the net takes."""
        short = self._tokens * _CHARACTERS
        ids = self._tokenize([item[:short] for item in items]) if items else []
        for i, item in enumerate(items):
            length = short
            # A megabyte is not tokenized for its first few hundred tokens: it is cut where a word ends, and only what
            # turns out to have too few tokens there (white space, say) is cut further behind.
            while length < len(item):
                end = _end_of_word(item, length)
                ids[i] = self._tokenize([item[:end]])[0]
                if len(ids[i]) >= self._tokens:
                    break
                length *= 4
                if length >= len(item):
                    ids[i] = self._tokenize([item])[0]
        return ids

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return self._tokenizer(
            list(texts), truncation=True, max_length=self._tokens, padding=False, return_attention_mask=False
        )["input_ids"]


@final
class ArrayEncoder(Encoder):
    """Any module that turns rows (n, ...) of float32 into features (n, d); bytes (uint8) are pixels, 0 to 255."""

    def __init__(self, module: Module, /, *, runtime: OnnxRuntime | None) -> None:
        self._module = module.eval()
        self._runtime = runtime
        self._graph: tuple[tuple[int, ...], Running] | None = None  # and of which rows

    @property
    def net(self) -> Module:
        return self._module

    @property
    def running(self) -> Running | None:
        return None if self._graph is None else self._graph[1]

    def by(self, runtime: OnnxRuntime, model: bytes | None, /) -> ArrayEncoder:
        from retain.features.embed.onnx_runtime import Running

        other = copy(self)
        graph = None if model is None else Running(model)
        other._runtime, other._graph = runtime, None if graph is None else (graph.shape, graph)
        return other

    def fingerprint(self) -> str:
        return _fingerprint(self._module, repr(self._module) + ("" if self._runtime is None else self._runtime.tag))

    def encode(self, items: Array, batch_size: int, told: Callable[[int], None], /) -> Floats:
        import torch

        parts: list[Floats] = []
        for start in range(0, max(len(items), 1), batch_size):
            some = items[start : start + batch_size]
            rows = torch.from_numpy(some.astype(np.float32))
            try:
                with torch.inference_mode():
                    out = self._through(rows / _PIXELS if some.dtype == np.uint8 else rows)
            except RetainError:
                raise
            except (RuntimeError, ValueError) as error:
                raise PoisonError(
                    f"{_READER}'s encoder takes no rows of shape {some.shape[1:]}: {error}; give it rows as it was "
                    "made for, e.g. images (n, channels, height, width) of its size"
                ) from error
            if not isinstance(out, torch.Tensor) or out.ndim != 2 or len(out) != len(some):
                shape = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
                raise PoisonError(
                    f"{_READER}'s encoder made {shape} of {len(some)} rows; expected (rows, features): end it with a "
                    "pooling and torch.nn.Flatten()"
                )
            parts.append(out.float().cpu().numpy())
            told(len(some))
        return np.concatenate(parts)

    def _through(self, rows: Tensor) -> Any:
        """What the net says of rows: whatever a user's own net says."""
        import torch

        shape, device = tuple(rows.shape[1:]), _device(self._module)
        if self._runtime is None or not len(rows):
            return self._module(rows.to(device))
        if self._graph is None or self._graph[0] != shape:
            out = self._module(rows[:2].to(device))
            if not isinstance(out, torch.Tensor) or out.ndim != 2:
                return out  # what does not fit is told of the net itself, not of its export
            example = torch.zeros((2, *shape), device=device)
            self._graph = shape, self._runtime.graph(self._module, example, free=1)
        return self._graph[1](rows)


@contextmanager
def torch_threads(threads: int | None, /) -> Generator[None]:
    """So many threads of torch, and then as many as before."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{_READER} needs torch: pip install 'retain[text]'") from error
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads is not None:
            torch.set_num_threads(before)


def in_folder(
    source: str | os.PathLike[str],
    /,
    *,
    pooling: Literal["mean", "cls"],
    tokens: int | None,
    runtime: OnnxRuntime | None,
) -> Encoder:
    """What lies in a folder or an installed package, as `save_pretrained` of transformers writes it."""
    try:
        from transformers import AutoModel, AutoTokenizer
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{_READER} needs transformers for such an encoder: pip install 'retain[text]'"
        ) from error
    from retain.features.embed.images import image_net, of_images

    folder = found(source)
    with _quiet():
        try:
            tokenizer = None if of_images(folder) else AutoTokenizer.from_pretrained(folder, local_files_only=True)
            # Weights in safetensors only: the others are pickles, which can execute code.
            model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).float()
        except (OSError, ValueError, KeyError) as error:
            raise SettingError(
                f"cannot load the encoder in {folder}: {error}; expected a model and its tokenizer, or what it wants "
                "of pixels, as `save_pretrained` writes them"
            ) from error
    if tokenizer is None:
        return ArrayEncoder(image_net(model, folder, pooling=pooling), runtime=runtime)
    most = _trained_with(folder)
    return TextEncoder(model, tokenizer, pooling=pooling, tokens=tokens, runtime=runtime, trained_with=most)


def _trained_with(folder: Path) -> int | None:
    """How many tokens it was trained with, where sentence encoders say it."""
    said = folder / "sentence_bert_config.json"
    return json.loads(said.read_text(encoding="utf-8")).get("max_seq_length") if said.is_file() else None


@contextmanager
def _quiet() -> Generator[None]:
    """Without the bar that transformers draws for a load of a second."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _vocabulary(tokenizer: Any) -> str:
    """All that says how a text becomes tokens; how it is cut and padded is set by every call, and ours."""
    if not tokenizer.is_fast:
        return json.dumps(tokenizer.get_vocab(), sort_keys=True)
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    return json.dumps({name: part for name, part in whole.items() if name not in ("truncation", "padding")})


def _device(module: Module) -> Any:
    """Where the weights lie; the CPU where there are none."""
    return next((tensor.device for tensor in module.state_dict().values()), "cpu")


def _fingerprint(module: Module, told: str) -> str:
    import torch

    digest = hashlib.sha256(told.encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _end_of_word(text: str, length: int) -> int:
    """The end of the last whole word in the first `length` characters; `length` where there is only one."""
    for at in range(length, length // 2, -1):
        if text[at].isspace():
            return at
    return length
