"""CLINC150: 19,500 sentences in 150 intents of 10 domains, and 1,100 that are of none of them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from retain import buffers
from retain.core import Batch, Column, Kind, Schema
from retain.errors import SourceError
from retain.streams.images.download import read
from retain.streams.sets import TrainTest

__all__ = ["clinc150"]

_COLUMN, _TARGET = "text", "intent"


def clinc150(folder: str | os.PathLike[str], /, *, out_of_scope: bool = False) -> TrainTest:
    """What people ask an assistant, 100 sentences an intent to learn and 30 to test on (Larson et al. 2019).

    Args:
        folder: where `data_full.json` and, for the order of the intents, `domains.json` lie, gzipped or not.
        out_of_scope: the sentences that have none of the intents instead, 100 and 1,000: their label is missing.

    Returns:
        x a table of one column, `text`. Intents come in the order of their domains, 15 of each, so that consecutive
        ones are about one thing; without `domains.json` by name.

    Raises SourceError where the files are missing or hold something else.

    >>> data = clinc150("/data/clinc150")  # doctest: +SKIP
    >>> len(data.train), len(data.test), data.classes[:2]  # doctest: +SKIP
    (15000, 4500, ('freeze_account', 'routing'))
    """
    rows = _json(Path(folder), "data_full.json")
    classes = _classes(Path(folder), rows)
    parts = ("oos_train", "oos_test") if out_of_scope else ("train", "test")
    codes = {name: code for code, name in enumerate(classes)}
    if out_of_scope:
        codes["oos"] = -1
    schema = Schema(columns=(Column(_COLUMN, Kind.TEXT),), target=_TARGET, classes=tuple(classes))
    try:
        return TrainTest(*(_batch(rows[part], codes, schema) for part in parts))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        wrong = f"has no {error}" if isinstance(error, KeyError) else f"is not as published ({error})"
        raise SourceError(
            f"{folder}/data_full.json {wrong}; expected {', '.join(parts)} with pairs of sentence and intent"
        ) from error


def _batch(pairs: Sequence[tuple[str, str]], codes: dict[str, int], schema: Schema) -> Batch:
    x = pa.RecordBatch.from_arrays([buffers.text([text for text, _ in pairs])], names=[_COLUMN])
    return Batch(x, y=np.array([codes[intent] for _, intent in pairs], dtype=np.int64), schema=schema)


def _classes(folder: Path, rows: Any) -> list[str]:
    try:
        names = sorted({intent for _, intent in rows["train"]})
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{folder}/data_full.json is not as published ({error}); expected `train`, pairs of sentence and intent"
        ) from error
    if not any((folder / name).is_file() for name in ("domains.json", "domains.json.gz")):
        return names
    told = _json(folder, "domains.json")
    ordered = [intent for domain in told.values() for intent in domain] if isinstance(told, dict) else []
    if sorted(map(str, ordered)) != names:
        raise SourceError(f"{folder}/domains.json names other intents than data_full.json; copy both again")
    return ordered


def _json(folder: Path, name: str) -> Any:
    path = next((folder / found for found in (name, f"{name}.gz") if (folder / found).is_file()), None)
    if path is None:
        raise SourceError(f"there is no {name} in {folder}; put it there (github.com/clinc/oos-eval, folder data)")
    try:
        return json.loads(read(path))
    except ValueError as error:
        raise SourceError(f"{path} is no JSON: {error}; copy it again") from error
