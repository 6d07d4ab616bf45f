"""`SAMKNN`: nearest neighbours in a memory that adjusts itself to how the world moves.

Shapes: n rows, d features, k classes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, final

import numpy as np

from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.errors import SettingError
from retain.learners.draws import seeded
from retain.learners.intake import Intake
from retain.learners.neighbours.store import at_most, fade_of, padded, stored

__all__ = ["SAMKNN"]

_LEVELS = 16  # as in `kernels`


@final
class SAMKNN:
    """Nearest neighbours in two memories: of what is now, and of what was and is not contradicted by it.

    The short-term memory holds the newest rows. How many is decided after each row: would its newest half, quarter,
    eighth, ... have answered the rows that it holds more often right, each from those before it, then what is older
    leaves it. The long-term memory takes in what leaves, but for rows that contradict the newer ones: those of another
    class among the nearest to a new row, no farther from it than its farthest near neighbour of its own class. The same
    goes on row by row. When there is no room
    and it is more than two fifths of all, each of its classes is replaced by half as many centres (k-means++).

    Three answer: the neighbours in the short-term memory, those in the long-term one, and those in both. The one that
    answered most of the rows in the short-term memory right is believed; votes count by 1 / distance.

    So it needs to know neither when nor how fast nor what kind of drift there is: it forgets at once what has become
    wrong, and has what comes back at hand.

    Scaling, sample weights and ties are those of `KNN`. NaN is refused. Granularity 1; rows without a label, or of
    weight 0, are predicted and not kept.

    Args:
        neighbours: how many rows are asked.
        window: the most rows of both memories together.
        least: the fewest rows that the short-term memory is cut to.
        scaled: whether features are divided by their running deviation; the paper takes them as they are.
        seed: of the choice of centres.

    Raises:
        SettingError: a setting out of its range; memories of more than 2^28 numbers.
        PoisonError: from `learn` and `predict`: NaN, Inf, a wrong width or type, labels that are no class codes.

    Four clouds whose labels change places every 500 rows:

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> cloud, turn = rng.integers(0, 4, 3000), np.arange(3000) // 500 % 2
    >>> x = np.array([[0, 0], [0, 4], [4, 0], [4, 4]])[cloud] + 0.5 * rng.normal(size=(3000, 2))
    >>> y = (cloud % 2) ^ turn
    >>> accuracy = {
    ...     type(learner).__name__: float(np.mean(learner.learn(rt.Batch(x, y=y)).argmax(axis=1) == y))
    ...     for learner in (rt.KNN(), rt.SAMKNN())
    ... }
    >>> accuracy["KNN"] < 0.55, accuracy["SAMKNN"] > 0.85
    (True, True)

    Reference: Losing, Hammer, Wersing 2016, KNN classifier with self adjusting memory for heterogeneous concept drift,
    ICDM. Errors of smaller windows are kept from row to row, as in the authors' own approximation of their definition:
    when a window moves on by a row, the answers to its other rows stay what they were.
    """

    def __init__(
        self,
        neighbours: int = 5,
        *,
        window: int = 5000,
        least: int = 50,
        scaled: bool = True,
        seed: int = 0,
    ) -> None:
        if neighbours < 1:
            raise SettingError(f"SAMKNN got neighbours={neighbours}; expected a whole number >= 1")
        if not 2 <= least <= window / 2:
            raise SettingError(f"SAMKNN got window={window}, least={least}; expected rows, 2 <= least <= window / 2")
        self._window = window
        self._settings = np.array([neighbours, window, least, float(scaled), fade_of(window)])
        self._intake = Intake("SAMKNN", regresses=False)
        self._at = np.array([0, 0, 0, 1])  # first and last of the short-term memory, rows of the long-term one, levels
        self._start = np.zeros(_LEVELS, dtype=np.int64)
        self._right, self._mass = np.zeros(_LEVELS), np.zeros(_LEVELS)
        self._mind = np.zeros(3)
        self._scale = np.zeros((3, 0))
        self._random = seeded(seed)
        self._short = _rows(0, 0)
        self._bits = np.zeros(0, dtype=np.int64)
        self._long = _rows(0, 0)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many rows the short-term and the long-term memory hold."""
        return int(self._at[1] - self._at[0]), int(self._at[2])

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._intake.read(batch)
        at_most("SAMKNN", self._window, given.x.shape[1])
        self._intake.keep(given)
        more = int(np.count_nonzero(given.weight))
        width = given.x.shape[1]
        room = stored(len(self._bits), int(self._at[1]) + more, 2 * self._window + 2)
        self._short = {
            "x": padded(self._short["x"], width, room),
            "y": padded(self._short["y"], room),
            "weight": padded(self._short["weight"], room),
        }
        self._bits = padded(self._bits, room)
        held = stored(len(self._long["y"]), sum(self.sizes) + more, self._window + 2)
        self._long = {
            "x": padded(self._long["x"], width, held),
            "y": padded(self._long["y"], held),
            "weight": padded(self._long["weight"], held),
        }
        self._scale = padded(self._scale, 3, width)
        return self._run(given.x, given.y, given.weight)

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, k); (n, 0) before the first labels. Changes nothing."""
        rows = self._intake.rows(x)
        return self._run(rows, np.full(len(rows), -1), np.zeros(len(rows)))

    def state_dict(self) -> State:
        first, last, held, levels = (int(value) for value in self._at)
        return {
            "intake": self._intake.state_dict(),
            "short": _saved(self._short, first, last),
            "bits": self._bits[first:last].copy(),
            "long": _saved(self._long, 0, held),
            "start": self._start[:levels] - first,
            "right": self._right[:levels].copy(),
            "mass": self._mass[:levels].copy(),
            "mind": self._mind.copy(),
            "scale": self._scale.copy(),
            "random": self._random.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        self._short, self._long = _loaded(state["short"]), _loaded(state["long"])
        self._bits, self._mind, self._scale, self._random = (
            state[name].copy() for name in ("bits", "mind", "scale", "random")
        )
        levels = len(state["start"])
        self._at[:] = 0, len(self._bits), len(self._long["y"]), levels
        self._start[:levels], self._right[:levels], self._mass[:levels] = state["start"], state["right"], state["mass"]

    def _run(self, x: Floats, y: Ints | Floats, weight: Floats) -> Array:
        k = self._intake.outputs
        out = np.zeros((len(x), k))
        if out.size:
            rows = np.require(x, np.float32, ["C", "W"]), np.require(y, np.int64, ["C", "W"])
            memories = (*self._short.values(), self._bits, *self._long.values())
            levels = (self._at, self._start, self._right, self._mass, self._mind)
            weight = np.require(weight, np.float64, ["C", "W"])
            _kernel()(*rows, weight, *memories, *levels, self._scale, self._random, k, out, self._settings)
        return out


def _rows(width: int, room: int) -> dict[str, Array]:
    """Rows (d, C), their labels and weights, in the order in which the kernel takes them."""
    return {
        "x": np.zeros((width, room), dtype=np.float32),
        "y": np.zeros(room, dtype=np.int64),
        "weight": np.zeros(room),
    }


def _saved(rows: dict[str, Array], first: int, last: int) -> State:
    return {
        "x": np.ascontiguousarray(rows["x"][:, first:last].T),
        "y": rows["y"][first:last].copy(),
        "weight": rows["weight"][first:last].copy(),
    }


def _loaded(state: State) -> dict[str, Array]:
    return {"x": np.ascontiguousarray(state["x"].T), "y": state["y"].copy(), "weight": state["weight"].copy()}


def _kernel() -> Any:
    """The compiled row loop; numba is loaded when the first row arrives."""
    return import_module("retain.learners.neighbours.kernels").self_adjusting
