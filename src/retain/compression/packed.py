"""Weights of which most are 0, as a file: where those are that are not, and what they are, zipped.

The file begins with RETAINW and a zero, is of version 1, and laid out as `retain.compression.sealed` tells.

The text says `features`, `outputs`, `entries` (a list: how many weights of each output are not 0), `numbers` ("int8",
"float16" or "float32"), `link` (see `retain.scores`), `flat`, and `bounds`, a list of those of "low", "high" and
"reach" that are given.

The arrays are, for each output, the places of its weights as differences to the place before, the first to 0 (four
bytes each), and the weights; then, in float32, with int8 a scale for each output by which its weights are multiplied,
the bias of each output, `low` and `high` of each output where they are given, and `reach` of each place at which any
output has a weight, in ascending order; of all other places it is infinite.

Shapes: D features, k outputs, m weights that are not 0.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from retain.compression.sealed import Unsealed, sealed
from retain.core import Array, Floats, Ints
from retain.errors import StateError
from retain.scores import LINKS, Scores

__all__ = ["Numbers", "packed", "unpacked"]

Numbers: TypeAlias = Literal["int8", "float16", "float32"]
_MAGIC, _VERSION = b"RETAINW\0", 1


def packed(scores: Scores, numbers: Numbers, /) -> bytes:
    """Weights as a file; those that the numbers round to 0 are not in it."""
    kept = [_rounded(weights, numbers) for weights in scores.weights]
    places: list[Ints] = [np.flatnonzero(weights) for weights, _ in kept]
    bounds = {name: getattr(scores, name) for name in ("low", "high", "reach")}
    told = {
        "features": scores.weights.shape[1],
        "outputs": len(places),
        "entries": [len(place) for place in places],
        "numbers": numbers,
        "link": scores.link,
        "flat": scores.flat,
        "bounds": [name for name, bound in bounds.items() if bound is not None],
    }
    parts: list[Array] = []
    for place, (weights, _) in zip(places, kept, strict=True):
        parts += [np.diff(place, prepend=0).astype("<u4"), weights[place]]
    if numbers == "int8":
        parts.append(np.array([scale for _, scale in kept], dtype="<f4"))
    parts.append(scores.bias.astype("<f4"))
    parts += [bounds[name].astype("<f4") for name in ("low", "high") if bounds[name] is not None]
    if scores.reach is not None:
        parts.append(scores.reach[_union(places)].astype("<f4"))
    return sealed(_MAGIC, _VERSION, told, parts)


def unpacked(data: bytes, /) -> tuple[Scores, Numbers]:
    """What `packed` put down, in float64. Raises StateError for what is damaged, or of a later version."""
    file = Unsealed(data, magic=_MAGIC, version=_VERSION, what="weights")
    told, take = file.told, file.take
    if told["link"] not in LINKS:
        raise StateError(f"the packed weights have a link {told['link']!r} that this retain does not know; update it")
    d, k, numbers = told["features"], told["outputs"], told["numbers"]
    weights, places = np.zeros((k, d)), list[Ints]()
    kind = {"int8": "i1", "float16": "<f2", "float32": "<f4"}[numbers]
    for row, count in zip(weights, told["entries"], strict=True):
        places.append(np.cumsum(take(count, "<u4"), dtype=np.int64))
        row[places[-1]] = take(count, kind)
    if numbers == "int8":
        weights *= take(k, "<f4").astype(np.float64)[:, None]
    bias = take(k, "<f4").astype(np.float64)
    bounds: dict[str, Floats] = {name: take(k, "<f4").astype(float) for name in told["bounds"] if name != "reach"}
    if "reach" in told["bounds"]:
        union = _union(places)
        bounds["reach"] = np.full(d, np.inf)
        bounds["reach"][union] = take(len(union), "<f4")
    return Scores(weights, bias, told["link"], told["flat"], **bounds), numbers


def _rounded(weights: Floats, numbers: Numbers) -> tuple[Array, float]:
    """Weights (D,) of an output in shorter numbers, and by what they are multiplied."""
    if numbers == "int8":
        scale = float(np.float32(np.abs(weights).max(initial=0.0) / 127)) or 1.0
        return np.clip(np.rint(weights / scale), -127, 127).astype(np.int8), scale
    if numbers == "float16":
        most = float(np.finfo(np.float16).max)
        return np.clip(weights, -most, most).astype("<f2"), 1.0
    return weights.astype("<f4"), 1.0


def _union(places: list[Ints]) -> Ints:
    return np.unique(np.concatenate(places)) if places else np.zeros(0, dtype=np.int64)
