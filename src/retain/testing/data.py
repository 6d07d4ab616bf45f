"""Rows on which most laws can be tried."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retain.blocks import take_batch
from retain.core import Batch, Rows

__all__ = ["example_rows", "examples"]


def examples(
    task: str = "classification", *, rows: int = 48, features: int = 4, classes: int = 3, seed: int = 7
) -> Batch:
    """A small batch with weights, late classes and some labels missing, on which most laws can be tried.

    >>> batch = examples("classification", rows=5)
    >>> batch.x.shape, batch.y.dtype.name
    ((5, 4), 'int64')
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features)).astype(np.float32)
    score = x @ rng.normal(size=features)
    missing = rng.random(rows) < 0.1
    if task == "regression":
        y = np.where(missing, np.nan, score + 0.1 * rng.normal(size=rows))
    else:
        # The last class first appears half way: newcomers are the rule in a stream.
        known = np.where(np.arange(rows) < rows // 2, max(classes - 1, 1), classes)
        rank = np.clip((score - score.min()) / (np.ptp(score) + 1e-9) * known, 0, known - 1)
        y = np.where(missing, -1, rank.astype(np.int64))
    return Batch(x, y=y, weight=rng.uniform(0.5, 2.0, size=rows))


def example_rows(task: str = "classification", *, rows: int = 48, features: int = 4, seed: int = 7) -> Rows:
    """The labelled ones of `examples` as tensors, with the extra columns "logits" (n, 3) and "loss" (n,).

    >>> rows = example_rows(rows=9)
    >>> len(rows), sorted(rows.extra)
    (9, ['logits', 'loss'])
    """
    import torch

    batch = examples(task, rows=2 * rows, features=features, seed=seed)
    y = np.asarray(batch.y)
    there = np.flatnonzero(y >= 0 if y.dtype.kind == "i" else np.isfinite(y))[:rows]
    known = take_batch(replace(batch, y=y), there)
    generator = torch.Generator().manual_seed(seed)
    x, labels, weight = (torch.from_numpy(np.asarray(column)) for column in (known.x, known.y, known.weight))
    extra = {
        "logits": torch.randn(len(there), 3, generator=generator),
        "loss": torch.rand(len(there), generator=generator),
    }
    return Rows(x, labels, weight.float(), extra)
