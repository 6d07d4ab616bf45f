"""`KNN`: what the nearest of the last rows were.

Shapes: n rows, d features, k classes (or outputs).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, final

import numpy as np

from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.errors import SettingError
from retain.learners.intake import Intake
from retain.learners.neighbours.store import at_most, fade_of, padded, stored

__all__ = ["KNN"]


@final
class KNN:
    """The nearest of the last `window` rows say what this one is: their votes, or the mean of their numbers.

    It learns nothing, it remembers: there is nothing to converge, any shape of border will do, and what has changed is
    right again after a window. What it costs is memory, `window` rows, and time: the distance to each of them, by brute
    force, in vector instructions.

    The distance is Euclid's. Features are divided by their running deviation (past rows fade as the window does), so
    that units do not matter and a feature that does not vary is left out; `scaled=False` takes them as they are, as
    where all are pixels of one image. Of equally near rows the newest come first.

    Sample weights: a row of weight 2 counts as two rows at the same place: the nearest rows are taken until their
    weights add up to `neighbours`, of the last one only the part that is wanted. Integer labels are class codes, floats
    numbers (n,) or (n, k). NaN is refused: put `Impute()` in front. Granularity 1; rows without a label, or of weight
    0, are predicted and not kept.

    Args:
        neighbours: how many rows are asked.
        window: how many rows are remembered; the state is bounded by them.
        weighted: whether they count by 1 / distance (rows at the very same place alone then, if there are any).
        scaled: whether features are divided by their deviation.

    Raises:
        SettingError: a setting out of its range; a window of more than 2^28 numbers.
        PoisonError: from `learn` and `predict`: NaN, Inf, a wrong width or type, a label of another kind than before.

    Two moons, which no line parts:

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> y, turn = rng.integers(0, 2, 2000), rng.random(2000) * np.pi
    >>> x = np.c_[np.cos(turn) + y, np.sin(turn) * (1 - 2 * y) + y / 2] + 0.1 * rng.normal(size=(2000, 2))
    >>> said = rt.KNN().learn(rt.Batch(x, y=y)).argmax(axis=1)
    >>> bool(np.mean(said[200:] == y[200:]) > 0.98)
    True

    Reference: Cover & Hart 1967, Nearest neighbor pattern classification.
    """

    def __init__(self, neighbours: int = 5, *, window: int = 1000, weighted: bool = True, scaled: bool = True) -> None:
        if neighbours < 1:
            raise SettingError(f"KNN got neighbours={neighbours}; expected a whole number >= 1")
        if window < 1:
            raise SettingError(f"KNN got window={window}; expected a whole number of rows >= 1")
        self._window = window
        self._settings = np.array([neighbours, window, float(weighted), float(scaled), fade_of(window)])
        self._intake = Intake("KNN")
        self._span = np.zeros(2, dtype=np.int64)  # first and last of the rows kept
        self._rows = np.zeros((0, 0), dtype=np.float32)  # (d, C)
        self._label: Array = np.zeros(0, dtype=np.int64)  # (C,) codes, or (C, k) numbers
        self._weight = np.zeros(0)
        self._scale = np.zeros((3, 0))

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._intake.read(batch)
        at_most("KNN", self._window, given.x.shape[1])
        self._intake.keep(given)
        self._admit(int(np.count_nonzero(given.weight)))
        return self._run(given.x, given.y, given.weight)

    def predict(self, x: Features, /) -> Array:
        """Numbers (n,) or (n, k), or probabilities (n, classes); (n, 0) before the first labels. Changes nothing."""
        rows = self._intake.rows(x)
        outputs = (len(rows), self._intake.outputs) if self._intake.classes is None else (len(rows),)
        return self._run(rows, np.full(outputs, -1.0), np.zeros(len(rows)))

    def state_dict(self) -> State:
        first, last = self._span
        return {
            "intake": self._intake.state_dict(),
            "rows": np.ascontiguousarray(self._rows[: self._intake.width or 0, first:last].T),
            "label": self._label[first:last].copy(),
            "weight": self._weight[first:last].copy(),
            "scale": self._scale.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        self._rows = np.ascontiguousarray(state["rows"].T)
        self._label, self._weight, self._scale = (state[name].copy() for name in ("label", "weight", "scale"))
        self._span[:] = 0, len(self._weight)

    def _admit(self, more: int) -> None:
        """Room for so many more rows; with twice the window there is always room, since older ones leave."""
        width, outputs = self._intake.width or 0, self._intake.outputs
        room = stored(len(self._weight), int(self._span[1]) + more, 2 * self._window)
        self._rows = padded(self._rows, width, room)
        self._weight = padded(self._weight, room)
        self._scale = padded(self._scale, 3, width)
        if self._intake.classes is None:
            numbers = self._label if self._label.ndim == 2 else np.zeros((0, outputs))
            self._label = padded(numbers, room, outputs)
        else:
            self._label = padded(self._label, room)

    def _run(self, x: Floats, y: Ints | Floats, weight: Floats) -> Array:
        intake = self._intake
        out = np.zeros((len(x), intake.outputs))
        if out.size:
            kind = np.float64 if intake.classes is None else np.int64
            rows = np.require(x, np.float32, ["C", "W"]), np.require(y, kind, ["C", "W"])
            state = (self._rows, self._label, self._weight, self._span, self._scale)
            weight = np.require(weight, np.float64, ["C", "W"])
            if intake.classes is None:
                _kernel("numbers")(*rows, weight, *state, out, self._settings)
            else:
                _kernel("classes")(*rows, weight, *state, intake.classes, out, self._settings)
        return out[:, 0] if intake.flat else out


def _kernel(name: str) -> Any:
    """A compiled row loop; numba is loaded when the first row arrives."""
    return getattr(import_module("retain.learners.neighbours.kernels"), name)
