"""Data sets that fit into memory: rows to learn, and rows of the same kind that are kept apart to test on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from retain.blocks import concat_batches, take_batch
from retain.core import Array, Batch, Ints
from retain.errors import MissingExtraError, SchemaError, SettingError, SourceError
from retain.streams.arrays import arrays

__all__ = ["TrainTest", "collect", "digits", "npz", "train_test"]

_LEARN = ("x_train", "y_train"), ("x", "y")  # what the arrays of a file may be called
_TEST = ("x_test", "y_test")


@final
@dataclass(frozen=True, slots=True)
class TrainTest:
    """Rows to learn and rows to be tested on: labels are codes of the same classes. Made by `train_test` and others."""

    train: Batch
    test: Batch

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by code."""
        schema = self.train.schema
        return () if schema is None or schema.classes is None else schema.classes


def train_test(
    x: Any,
    y: Any,
    /,
    *,
    test: tuple[Any, Any] | None = None,
    classes: Sequence[str] | None = None,
    share: float = 0.2,
    seed: int = 0,
) -> TrainTest:
    """A data set from arrays. Where there are no rows to test on, a share of every class is drawn and set aside.

    Args:
        x: (n, d) numbers or (n, c, h, w) images; bytes (uint8) are taken for pixels, 0 to 255, by what reads them.
        y: (n,) codes 0, 1, ... or labels.
        test: the x and y to test on.
        classes: names of the classes, where y holds codes.
        share: of the rows of each class, how many are set aside, where `test` is not given.
        seed: which ones.

    Raises:
        SettingError, PoisonError: as `retain.streams.arrays`; a share outside (0, 1); rows without a label.

    >>> data = train_test(np.arange(20.0).reshape(10, 2), np.array(list("aaaaabbbbb")))
    >>> len(data.train), data.test.y, data.classes
    (8, array([0, 1]), ('a', 'b'))
    """
    if test is None:
        return _held_out(_batch(x, y, classes), share=share, seed=seed)
    n = len(y)
    both = _batch(np.empty((n + len(test[1]), 1), np.float32), np.concatenate([y, test[1]]), classes)
    labels, schema = both.y, both.schema
    assert labels is not None  # noqa: S101 - arrays with labels give labels
    parts = [next(iter(arrays(part, block=len(part)))) for part in (x, test[0])]
    if [len(part) for part in parts] != [n, len(test[1])]:
        raise SettingError(
            f"there are {[len(p) for p in parts]} rows and {[n, len(test[1])]} labels; give one for each"
        )
    if parts[0].x.shape[1:] != parts[1].x.shape[1:]:  # pyright: ignore[reportAttributeAccessIssue] - arrays
        raise SettingError("rows to learn and rows to test on have different widths; give the same columns to both")
    return TrainTest(replace(parts[0], y=labels[:n], schema=schema), replace(parts[1], y=labels[n:], schema=schema))


def collect(stream: Iterable[Batch], /, *, share: float = 0.2, seed: int = 0) -> TrainTest:
    """All labelled rows of a stream, a share of every class set aside to test on. They must fit into memory.

    Raises SourceError for a stream without rows, SchemaError where its target is a number.

    >>> from sklearn.datasets import load_iris
    >>> from retain.streams import bunch
    >>> data = collect(bunch(load_iris()))
    >>> len(data.train), len(data.test), data.classes
    (120, 30, ('setosa', 'versicolor', 'virginica'))
    """
    blocks = list(stream)
    if not blocks:
        raise SourceError("the stream has no rows; expected at least one")
    return _held_out(concat_batches(blocks), share=share, seed=seed)


def npz(path: str | os.PathLike[str], /, *, share: float = 0.2, seed: int = 0) -> TrainTest:
    """A data set from a file of `numpy.savez`: x_train, y_train, x_test, y_test; or x and y, a share of it set aside.

    Raises SourceError where the file cannot be read, or holds Python objects.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/rows.npz", x=np.zeros((10, 3)), y=np.arange(10) % 2)
    ...     len(npz(f"{folder}/rows.npz").test)
    2
    """
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            found: dict[str, Array] = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"cannot read {path}: {error}; expected a file written by numpy.savez") from error
    names = next((names for names in _LEARN if found.keys() >= set(names)), None)
    if names is None:
        raise SourceError(f"{path} holds {sorted(found)}; expected x_train, y_train, x_test and y_test, or x and y")
    test = (found[_TEST[0]], found[_TEST[1]]) if found.keys() >= set(_TEST) else None
    return train_test(found[names[0]], found[names[1]], test=test, share=share, seed=seed)


def digits(*, share: float = 0.2, seed: int = 0) -> TrainTest:
    """1,797 handwritten digits of 8 x 8 pixels (n, 1, 8, 8), grey from 0 to 1, as they come with scikit-learn.

    Raises MissingExtraError without scikit-learn.

    >>> data = digits()
    >>> data.train.x.shape, len(data.test)
    ((1438, 1, 8, 8), 359)

    Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI machine learning repository.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError(
            "the digits come with scikit-learn, which is not here; pip install scikit-learn"
        ) from error
    bunch: Any = load_digits()
    x = (bunch["data"] / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    return train_test(x, bunch["target"], share=share, seed=seed)


def _batch(x: Any, y: Any, classes: Sequence[str] | None) -> Batch:
    stream = arrays(x, y, classes=classes, task="classification", block=max(len(y), 1))
    return next(iter(stream))


def _held_out(batch: Batch, *, share: float, seed: int) -> TrainTest:
    if not 0 < share < 1:
        raise SettingError(f"share={share}; expected a part of the rows between 0 and 1, e.g. .2")
    if batch.y is None or batch.y.dtype.kind not in "iu":
        raise SchemaError("the target is a number, or there is none; expected classes")
    test = _drawn(batch.y, share=share, seed=seed)
    learn = np.setdiff1d(np.flatnonzero(batch.y >= 0), test)
    return TrainTest(take_batch(batch, learn), take_batch(batch, test))


def _drawn(y: Ints, *, share: float, seed: int) -> Ints:
    """A share of the rows of each class, at least one where there are two, in the order of the rows."""
    rng = np.random.default_rng(seed)
    drawn: list[Ints] = []
    for code in np.unique(y[y >= 0]):
        rows = np.flatnonzero(y == code)
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        drawn.append(rng.choice(rows, count, replace=False))
    return np.sort(np.concatenate(drawn)) if drawn else np.empty(0, dtype=np.int64)
