"""Random features: many fixed, non-linear looks at a row, on which a linear model is no longer one of the row.

Shapes: n rows, d features, w random features.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Literal, final

import numpy as np

from retain.blocks import dense, matrix, width
from retain.compose import Composable
from retain.core import Batch, Features, Floats, Ints, State
from retain.errors import PoisonError, SettingError, StateError

__all__ = ["RandomFeatures"]

_READER = "RandomFeatures"
_ROWS = (64, 16, 8, 4, 1)  # that are multiplied at once, see `_steady`


@final
class RandomFeatures(Composable):
    """Rows (n, d) through a fixed random layer: (n, w) float32. Nothing is learnt but the width of rows.

    With slopes r_j ~ N(0, scale^2 / d) and phases b_j ~ U(0, 2 pi), a row x becomes z(x), w numbers:

        "relu":     max(0, x r_j): bends that all go through the origin, so for many features;
        "fourier":  sqrt(2 / w) cos(x r_j + b_j): z(x) z(y)' estimates the kernel exp(-scale^2 |x - y|^2 / 2d).

    In front of a model that is solved (`Ridge`) this is a kernel machine that forgets nothing, at a cost that does not
    grow with the rows. Numbers should be of one size: put `Scale()`, or a fixed division, in front. Check that it
    helps: on few samples a random layer can hurt.

    Args:
        width: w. More is better and dearer: the model behind it usually costs w^2 for each row.
        kind: "relu" or "fourier".
        scale: how many waves rows go through, the one thing to tune for "fourier"; for "relu" it only multiplies z.
        seed: of the layer, which is drawn again from it when a state is loaded: states stay small.

    Rows may be dense, sparse or a table of numbers; their width is fixed by the first block.

    Raises:
        SettingError: a setting out of its range.
        PoisonError: NaN, Inf, text, a width that changed.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).uniform(-1, 1, size=(2000, 2)).astype(np.float32)
    >>> rows = rt.Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(int))  # an exclusive or: no line parts it
    >>> for learner in (rt.Ridge(), rt.RandomFeatures(200) | rt.Ridge()):
    ...     said = learner.learn(rows)
    ...     print((learner.predict(x).argmax(axis=1) == rows.y).mean() > 0.95)
    False
    True

    References:
        Rahimi & Recht 2007, Random features for large-scale kernel machines; McDonnell et al. 2023, RanPAC: random
        projections and pre-trained models for continual learning: "relu".
    """

    def __init__(
        self, width: int, *, kind: Literal["relu", "fourier"] = "relu", scale: float = 1.0, seed: int = 0
    ) -> None:
        if width < 1 or seed < 0:
            raise SettingError(f"{_READER} got width={width}, seed={seed}; expected width >= 1 and seed >= 0")
        if kind not in ("relu", "fourier"):
            raise SettingError(f"{_READER} got kind={kind!r}; expected 'relu' or 'fourier'")
        if not 0 < scale < float("inf"):
            raise SettingError(f"{_READER} got scale={scale}; expected a number above 0")
        self.width, self.kind, self.scale, self.seed = width, kind, scale, seed
        self._inputs: int | None = None
        self._kept: Ints | None = None  # which of the w features there are; None for all
        self._layer: tuple[Floats, Floats] | None = None  # of those: slopes (d, w) and phases (w,)
        self._at_once = _ROWS[0]

    @property
    def outputs(self) -> int:
        """How many features there are."""
        return self.width if self._kept is None else len(self._kept)

    @property
    def products(self) -> int:
        """Multiply-adds for one row."""
        return (self._inputs or 0) * self.outputs

    def narrowed(self, kept: Ints, /) -> RandomFeatures:
        """A copy that puts out only these of its features (q,); they stay what they are."""
        if not len(kept) or (np.diff(kept) <= 0).any() or kept[0] < 0 or kept[-1] >= self.outputs:
            raise SettingError(
                f"{_READER} got {len(kept)} features to keep of {self.outputs}; expected their numbers, at least one, "
                f"ascending and below {self.outputs}"
            )
        other = copy(self)
        other.load_state_dict({"inputs": self._inputs, "kept": kept if self._kept is None else self._kept[kept]})
        return other

    def learn(self, batch: Batch, /) -> Batch:
        rows = self._rows(batch.x)
        if self._inputs is None:
            self._inputs = rows.shape[1]
        return replace(batch, x=self._through(rows))

    def apply(self, x: Features, /) -> Floats:
        return self._through(self._rows(x))

    def state_dict(self) -> State:
        return {"inputs": self._inputs} | ({} if self._kept is None else {"kept": self._kept.copy()})

    def load_state_dict(self, state: State, /) -> None:
        kept = state.get("kept")
        if kept is not None and len(kept) and kept.max() >= self.width:
            raise StateError(
                f"the state keeps feature {kept.max()} of {_READER}, which has {self.width}; load it into one with as "
                "many as it was made with"
            )
        self._inputs, self._kept, self._layer = state["inputs"], None if kept is None else kept.copy(), None

    def _rows(self, x: Features) -> Floats:
        rows = matrix(x, reader=_READER, columns=self._inputs)
        wide = width(rows)
        if self._inputs is not None and wide != self._inputs:
            raise PoisonError(
                f"{_READER} got sparse rows of {wide} features; expected {self._inputs} as before: encode to a fixed "
                "width, e.g. rt.Hash(bits=9)"
            )
        return dense(rows, wide)

    def _through(self, rows: Floats) -> Floats:
        if self._layer is None or len(self._layer[0]) != rows.shape[1]:
            slope_dw, phase_w = _draw(rows.shape[1], self.width, self.scale, self.seed)
            kept = slice(None) if self._kept is None else self._kept
            self._layer = np.ascontiguousarray(slope_dw[:, kept]), phase_w[kept]
            self._at_once = _steady(self._layer[0])
        slope_dw, phase_w = self._layer
        out = np.empty((len(rows), self.outputs), dtype=np.float32)
        at_once = self._at_once
        whole = len(rows) - len(rows) % at_once
        for start in range(0, whole, at_once):
            np.matmul(rows[start : start + at_once], slope_dw, out=out[start : start + at_once])
        if whole < len(rows):
            rest = np.zeros((at_once, rows.shape[1]), dtype=np.float32)
            rest[: len(rows) - whole] = rows[whole:]
            out[whole:] = (rest @ slope_dw)[: len(rows) - whole]
        if self.kind == "relu":
            return np.maximum(out, 0, out=out)
        out += phase_w
        np.cos(out, out=out)
        out *= np.float32(np.sqrt(2 / self.width))
        return out


def _steady(slope_dw: Floats) -> int:
    """How many rows to multiply at once, so that each comes out the same wherever it stands among the others.

    BLAS takes rows in groups whose size depends on the processor, and what is left over by another way of adding up.
    """
    x = np.random.default_rng(0).normal(size=(_ROWS[0], len(slope_dw))).astype(np.float32)
    for rows in _ROWS:
        straight = x[:rows] @ slope_dw
        if all(
            np.array_equal(np.roll(np.roll(x[:rows], by, axis=0) @ slope_dw, -by, axis=0), straight) for by in (1, 3)
        ):
            return rows
    return 1


def _draw(d: int, w: int, scale: float, seed: int) -> tuple[Floats, Floats]:
    """Slopes (d, w) and phases (w,), in float32.

    NumPy promises the raw bits of Philox in all its versions, but not what it makes of them: normal numbers are made
    here, by Box and Muller, so that a model saved today finds its layer again.
    """
    bits = np.random.Philox(key=seed).random_raw(w + 2 * d * w) >> np.uint64(11)
    uniform = (bits.astype(np.float64) + 0.5) * 2.0**-53
    first, second = uniform[w:].reshape(2, d, w)
    normal = np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)
    return (normal * (scale / np.sqrt(max(d, 1)))).astype(np.float32), (2 * np.pi * uniform[:w]).astype(np.float32)
