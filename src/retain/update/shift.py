"""Whether two windows of rows come from one distribution: a test for each column, or one for all columns together.

Shapes: n rows of the older window, m of the newer, d columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Protocol, final

import numpy as np

from retain.core import Array, Floats, Report, State
from retain.errors import SettingError
from retain.update.watched import Inputs, Telling, Watched

__all__ = ["KS", "MMD", "PSI", "ClassifierTest", "OnShift", "Quality", "ShiftTest"]

_LEAST = 1e-4  # the share that an empty bin counts as


class ShiftTest(Protocol):
    """Compares two windows, columns by name; numbers are float64 with NaN for missing, everything else is words."""

    def __call__(self, older: Mapping[str, Array], newer: Mapping[str, Array], /) -> list[str]:
        """The columns that moved, with by how much; nothing where none did. Changes nothing."""
        ...


@final
class KS:
    """Kolmogorov-Smirnov for numbers, chi-squared for words; a column counts where p < alpha / d (Bonferroni).

    Args:
        alpha: how probable it may be that any column is found where none has moved.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> before = {"a": rng.normal(size=500), "b": rng.normal(size=500)}
    >>> KS()(before, {"a": rng.normal(size=500), "b": rng.normal(1, size=500)})
    ['b (p = 9e-37)']

    References:
        Kolmogorov 1933; Smirnov 1948, by the asymptotic distribution with Stephens' correction (1970); Pearson 1900.
    """

    def __init__(self, *, alpha: float = 0.001) -> None:
        self._alpha = _share(alpha, "KS", "alpha")

    def __call__(self, older: Mapping[str, Array], newer: Mapping[str, Array], /) -> list[str]:
        found: list[str] = []
        for name, before in older.items():
            p = kolmogorov(before, newer[name]) if before.dtype.kind == "f" else chi_squared(before, newer[name])
            if p < self._alpha / len(older):
                found.append(f"{name} (p = {p:.0e})".replace("e-0", "e-"))
        return found


@final
class PSI:
    """Population stability index: sum over bins of (q - p) log(q / p), p and q the shares of the two windows.

    Bins of numbers are those that part the older window into ten equal parts, and one for missing; of words, each word.

    Args:
        above: a column counts above this: .1 is usually read as a slight, .25 as a large shift.

    >>> import numpy as np
    >>> PSI()({"a": np.repeat(["x", "y"], [50, 50])}, {"a": np.repeat(["x", "y"], [80, 20])})
    ['a (0.42)']
    """

    def __init__(self, *, above: float = 0.2) -> None:
        if not above > 0:
            raise SettingError(f"PSI got above={above}; expected a number > 0")
        self._above = above

    def __call__(self, older: Mapping[str, Array], newer: Mapping[str, Array], /) -> list[str]:
        found: list[str] = []
        for name, before in older.items():
            p_b, q_b = (np.maximum(counts / max(counts.sum(), 1.0), _LEAST) for counts in _binned(before, newer[name]))
            index = float(((q_b - p_b) * np.log(q_b / p_b)).sum())
            if index > self._above:
                found.append(f"{name} ({index:.2f})")
        return found


@final
class MMD:
    """Maximum mean discrepancy with a Gaussian kernel, by permutation; all numbers of a row together (embeddings).

    Kernel width: the median distance between rows. Missing values count as the mean of their column.

    Args:
        alpha: how probable it may be that a shift is found where there is none.
        permutations: of the rows; 1 / (permutations + 1) is the smallest p.
        rows: of each window at most, drawn at random: the cost grows with their square.
        seed: of the draws.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> before = {str(j): rng.normal(size=300) for j in range(8)}
    >>> after = {str(j): rng.normal(0.5, size=300) for j in range(8)}
    >>> MMD()(before, after)
    ['all columns (MMD, p = 0.005)']

    References:
        Gretton, Borgwardt, Rasch, Schölkopf, Smola 2012, A Kernel Two-Sample Test, JMLR 13.
    """

    def __init__(self, *, alpha: float = 0.01, permutations: int = 200, rows: int = 500, seed: int = 0) -> None:
        self._alpha = _share(alpha, "MMD", "alpha")
        if permutations < 1 / alpha - 1 or rows < 10:
            raise SettingError(
                f"MMD got permutations={permutations}, rows={rows}; expected at least {math.ceil(1 / alpha) - 1} "
                f"permutations for alpha={alpha}, and 10 rows"
            )
        self._permutations, self._rows, self._seed = permutations, rows, seed

    def __call__(self, older: Mapping[str, Array], newer: Mapping[str, Array], /) -> list[str]:
        rng = np.random.default_rng(self._seed)
        x_nd, y_md = (_some(part, self._rows, rng) for part in _numbers(older, newer))
        n, m = len(x_nd), len(y_md)
        both = np.concatenate([x_nd, y_md])
        norm = (both**2).sum(axis=1)
        distance = np.maximum(norm[:, None] + norm[None, :] - 2 * both @ both.T, 0.0)
        width = float(np.median(distance[distance > 0])) if (distance > 0).any() else 1.0
        kernel = np.exp(-distance / width)
        sign = np.concatenate([np.full(n, 1.0 / n), np.full(m, -1.0 / m)])
        signs = np.stack([sign, *(rng.permutation(sign) for _ in range(self._permutations))])
        found = ((signs @ kernel) * signs).sum(axis=1)
        p = float((found >= found[0] * (1 - 1e-12)).mean())
        return [f"all columns (MMD, p = {p:.1g})"] if p < self._alpha else []


@final
class ClassifierTest:
    """Whether a classifier can tell the two windows apart; all numbers of a row together (embeddings).

    Ridge regression on the window's sign is fitted to half of the rows and asked about the other half; its accuracy is
    tested against a coin's.

    Args:
        alpha: how probable it may be that a shift is found where there is none.
        seed: of the halves.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> before = {str(j): rng.normal(size=300) for j in range(8)}
    >>> after = {str(j): rng.normal(0.5, size=300) for j in range(8)}
    >>> ClassifierTest()(before, after)
    ['all columns (told apart in 76 % of the rows)']

    References:
        Lopez-Paz, Oquab 2017, Revisiting Classifier Two-Sample Tests, ICLR.
    """

    def __init__(self, *, alpha: float = 0.01, seed: int = 0) -> None:
        self._alpha, self._seed = _share(alpha, "ClassifierTest", "alpha"), seed

    def __call__(self, older: Mapping[str, Array], newer: Mapping[str, Array], /) -> list[str]:
        rng = np.random.default_rng(self._seed)
        x_nd, y_md = _numbers(older, newer)
        count = min(len(x_nd), len(y_md))  # as many of each, so that a coin is right in half of them
        both = np.concatenate([_some(x_nd, count, rng), _some(y_md, count, rng)])
        label = np.repeat([-1.0, 1.0], count)
        order = rng.permutation(2 * count)
        fit, ask = order[:count], order[count:]
        # Squares too: windows that differ in spread and not in the mean are told apart as well.
        wide = np.concatenate([both, both**2, np.ones((2 * count, 1))], axis=1)
        gram = wide[fit].T @ wide[fit] + 1e-3 * count * np.eye(wide.shape[1])
        said = wide[ask] @ np.linalg.solve(gram, wide[fit].T @ label[fit])
        right = float((np.sign(said) == label[ask]).mean())
        p = 1.0 - NormalDist().cdf((right - 0.5) * 2 * math.sqrt(count))
        return [f"all columns (told apart in {100 * right:.0f} % of the rows)"] if p < self._alpha else []


@final
class OnShift(Telling):
    """Fires when a window of rows differs from the window that the model is used to.

    The first `window` rows are what it is used to; every following `window` rows are compared with them. When it fires,
    the newer window takes their place.

    Args:
        test: a part of this file.
        of: which columns; by default all inputs. `rt.update.Labels()` and `rt.update.Answers()` watch these.
        window: rows.

    >>> import numpy as np, retain as rt
    >>> trigger = rt.OnShift(rt.update.PSI(), window=500)
    >>> counts = dict(learnt=0, pending=0, lost=0, quarantined=0, seconds=0.0, cpu_seconds=0.0)
    >>> x = np.concatenate([np.zeros(1000), np.ones(1000)])[:, None] + np.random.default_rng(0).normal(size=(2000, 1))
    >>> [trigger(rt.Report(0, **counts, arrived=rt.Batch(part))) for part in x.reshape(4, 500, 1)]
    [False, False, True, False]
    """

    def __init__(self, test: ShiftTest, /, *, of: Watched | None = None, window: int = 2_000) -> None:
        if window < 20:
            raise SettingError(f"OnShift got window={window}; expected at least 20 rows")
        self._test, self._of, self._window = test, Inputs() if of is None else of, window
        self._older: dict[str, Array] | None = None
        self._newer: dict[str, Array] = {}
        self._moved: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        return "; ".join(self._moved)

    def __call__(self, report: Report, /) -> bool:
        fresh = self._of(report)
        fires = False
        while _length(fresh):
            room = self._window - _length(self._newer)
            taken = {name: values[:room] for name, values in fresh.items()}
            fresh = {name: values[room:] for name, values in fresh.items()}
            self._newer = _joined(self._newer, taken)
            if _length(self._newer) == self._window:
                fires |= self._compare()
        return fires

    def _compare(self) -> bool:
        newer, self._newer = self._newer, {}
        if self._older is None:
            self._older = newer
            return False
        both = {name: values for name, values in self._older.items() if name in newer}
        self._moved = tuple(self._test(both, newer))
        if self._moved:
            self._older = newer
        return bool(self._moved)

    def state_dict(self) -> State:
        return {
            "older": None if self._older is None else _saved(self._older),
            "newer": _saved(self._newer),
            "moved": list(self._moved),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._older = None if state["older"] is None else _loaded(state["older"])
        self._newer, self._moved = _loaded(state["newer"]), tuple(state["moved"])


@final
class Quality(Telling):
    """Fires when data get worse: missing values, values beyond what was ever seen, words never met.

    The first `reference` rows say what is usual: the range of each column and its words. Every following `window` rows
    are looked at column by column. Having fired for a column, it fires again only when the column was well in between.

    Args:
        missing: the largest share of missing values in a column that is more than the usual share.
        outside: the largest share of numbers outside the usual range.
        new: the largest share of words that the reference does not hold.
        of: which columns; by default all inputs.
        reference, window: rows.

    >>> import numpy as np, retain as rt
    >>> trigger = rt.update.Quality(missing=0.1, reference=100, window=100)
    >>> counts = dict(learnt=0, pending=0, lost=0, quarantined=0, seconds=0.0, cpu_seconds=0.0)
    >>> x = np.random.default_rng(0).random((300, 2))
    >>> x[200:230, 1] = np.nan
    >>> [trigger(rt.Report(0, **counts, arrived=rt.Batch(part))) for part in x.reshape(3, 100, 2)], trigger.why
    ([False, False, True], '1: 30 % more missing')
    """

    def __init__(
        self,
        *,
        missing: float = 0.05,
        outside: float = 0.05,
        new: float = 0.05,
        of: Watched | None = None,
        reference: int = 5_000,
        window: int = 1_000,
    ) -> None:
        if not all(0 <= share < 1 for share in (missing, outside, new)) or reference < 1 or window < 1:
            raise SettingError(
                f"Quality got missing={missing}, outside={outside}, new={new}, reference={reference}, "
                f"window={window}; expected shares of at least 0 and below 1, and rows >= 1"
            )
        self._most = missing, outside, new
        self._of, self._reference, self._window = Inputs() if of is None else of, reference, window
        self._usual: dict[str, Array] | None = None
        self._rows: dict[str, Array] = {}
        self._gone: dict[str, float] = {}  # the usual share of missing values
        self._bad: set[str] = set()
        self._found: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        return "; ".join(self._found)

    def __call__(self, report: Report, /) -> bool:
        fresh, fires = self._of(report), False
        while _length(fresh):
            room = (self._reference if self._usual is None else self._window) - _length(self._rows)
            taken = {name: values[:room] for name, values in fresh.items()}
            fresh = {name: values[room:] for name, values in fresh.items()}
            self._rows = _joined(self._rows, taken)
            if _length(taken) == room:
                fires |= self._look()
        return fires

    def _look(self) -> bool:
        rows, self._rows = self._rows, {}
        if self._usual is None:
            self._usual = {name: _usual(values) for name, values in rows.items()}
            self._gone = {name: float(_absent(values).mean()) for name, values in rows.items()}
            return False
        told = {name: self._faults(name, self._usual[name], rows[name]) for name in self._usual if name in rows}
        bad = {name for name, faults in told.items() if faults}
        self._found = tuple(f"{name}: {', '.join(told[name])}" for name in sorted(bad))
        fires, self._bad = bool(bad - self._bad), bad
        return fires

    def _faults(self, name: str, usual: Array, values: Array) -> list[str]:
        missing, outside, new = self._most
        gone = _absent(values)
        shares = {"missing": float(gone.mean()) - self._gone[name]}
        if values.dtype.kind == "f":
            shares["outside"] = float(((values < usual[0]) | (values > usual[1])).mean())
        else:
            shares["new"] = float((~np.isin(values, usual) & ~gone).mean())
        most = {"missing": missing, "outside": outside, "new": new}
        shown = {"missing": "more missing", "outside": "out of range", "new": "never met"}
        return [f"{100 * share:.0f} % {shown[what]}" for what, share in shares.items() if share > most[what]]

    def state_dict(self) -> State:
        return {
            "usual": None if self._usual is None else _saved(self._usual),
            "gone": list(self._gone.items()),
            "rows": _saved(self._rows),
            "bad": sorted(self._bad),
            "found": list(self._found),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._usual = None if state["usual"] is None else _loaded(state["usual"])
        self._gone = dict(state["gone"])
        self._rows, self._bad, self._found = _loaded(state["rows"]), set(state["bad"]), tuple(state["found"])


def kolmogorov(older_n: Floats, newer_m: Floats, /) -> float:
    """The probability of distances between the empirical distributions as large as this one, where there is no shift.

    >>> round(kolmogorov(np.arange(100.0), np.arange(100.0) + 30), 6)
    0.000174
    """
    a, b = (np.sort(values[~np.isnan(values)]) for values in (older_n, newer_m))
    if not len(a) or not len(b):
        return 1.0 if len(a) == len(b) else 0.0
    both = np.concatenate([a, b])
    gap = np.searchsorted(a, both, side="right") / len(a) - np.searchsorted(b, both, side="right") / len(b)
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    t = (root + 0.12 + 0.11 / root) * float(np.abs(gap).max())
    if t < 0.3:  # the series needs many terms there, and the probability is 1 to nine digits
        return 1.0
    terms = (math.exp(-2 * (k * t) ** 2) * (1 if k % 2 else -1) for k in range(1, 30))
    return min(max(2 * sum(terms), 0.0), 1.0)


def chi_squared(older_n: Array, newer_m: Array, /) -> float:
    """The probability of shares of words as different as these, where there is no shift; rare words are one.

    By the approximation of Wilson and Hilferty (1931), good to three digits where it matters.
    """
    words, code = np.unique(np.concatenate([older_n, newer_m]), return_inverse=True)
    a, b = (np.bincount(part, minlength=len(words)).astype(float) for part in np.split(code, [len(older_n)]))
    common = np.minimum((a + b) * len(older_n), (a + b) * len(newer_m)) >= 5 * (len(older_n) + len(newer_m))
    table = np.stack([np.append(a[common], a[~common].sum()), np.append(b[common], b[~common].sum())])
    table = table[:, table.sum(axis=0) > 0]
    degrees = table.shape[1] - 1
    if not degrees:
        return 1.0
    expected = table.sum(axis=0) * table.sum(axis=1, keepdims=True) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    spread = 2 / (9 * degrees)
    z = ((statistic / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(z / math.sqrt(2))


def _binned(older: Array, newer: Array) -> tuple[Floats, Floats]:
    """How many rows of each window are in each bin."""
    if older.dtype.kind != "f":
        words = np.unique(np.concatenate([older, newer]))
        first, second = (np.bincount(np.searchsorted(words, part), minlength=len(words)) for part in (older, newer))
        return first.astype(float), second.astype(float)
    known = older[~np.isnan(older)]
    bounds = np.unique(np.quantile(known, np.linspace(0.1, 0.9, 9))) if len(known) else np.empty(0)
    counts: list[Floats] = []
    for part in (older, newer):
        place = np.where(np.isnan(part), len(bounds) + 1, np.searchsorted(bounds, part, side="left"))
        counts.append(np.bincount(place, minlength=len(bounds) + 2).astype(float))
    return counts[0], counts[1]


def _numbers(older: Mapping[str, Array], newer: Mapping[str, Array]) -> tuple[Floats, Floats]:
    """All columns of numbers, in units of the older window's spread."""
    names = [name for name, values in older.items() if values.dtype.kind == "f"]
    if not names:
        raise SettingError("MMD and ClassifierTest compare numbers, and these columns hold words; take KS or PSI")
    parts = [np.column_stack([part[name] for name in names]) for part in (older, newer)]
    with np.errstate(invalid="ignore"):
        known = np.where(np.isnan(parts[0]), 0.0, parts[0])
        mean, spread = known.mean(axis=0), known.std(axis=0)
    scaled = [np.nan_to_num((part - mean) / np.where(spread > 0, spread, 1.0)) for part in parts]
    return scaled[0], scaled[1]


def _some(rows: Floats, most: int, rng: np.random.Generator) -> Floats:
    return rows if len(rows) <= most else rows[np.sort(rng.choice(len(rows), most, replace=False))]


def _usual(values: Array) -> Array:
    """Of numbers their range; of words all."""
    if values.dtype.kind != "f":
        return np.unique(values)
    known = values[~np.isnan(values)]
    return np.array([known.min(), known.max()] if len(known) else [-math.inf, math.inf])


def _absent(values: Array) -> Array:
    return np.isnan(values) if values.dtype.kind == "f" else values == ""


def _joined(first: Mapping[str, Array], second: Mapping[str, Array]) -> dict[str, Array]:
    """Rows of both; a column that only one of them has cannot be compared and is left out."""
    if not first:
        return {name: values.copy() for name, values in second.items()}
    return {name: np.concatenate([first[name], values]) for name, values in second.items() if name in first}


def _length(columns: Mapping[str, Array]) -> int:
    return len(next(iter(columns.values()))) if columns else 0


def _saved(columns: Mapping[str, Array]) -> State:
    names = list(columns)
    return {"names": names, "values": {str(i): columns[name].copy() for i, name in enumerate(names)}}


def _loaded(state: State) -> dict[str, Array]:
    return {name: state["values"][str(i)] for i, name in enumerate(state["names"])}


def _share(value: float, part: str, name: str) -> float:
    if not 0 < value < 1:
        raise SettingError(f"{part} got {name}={value}; expected a number between 0 and 1")
    return float(value)
