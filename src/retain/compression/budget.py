"""What a compressed model may lose, and whether the rows at hand can tell.

Shapes: n rows, k classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt

from retain.core import Array, Ints
from retain.errors import SettingError

_Bools: TypeAlias = npt.NDArray[np.bool_]

__all__ = ["Change", "Judgement", "Within"]


@final
@dataclass(frozen=True, slots=True)
class Change:
    """How much more often the compressed model is wrong than its parent, on the same rows, with an interval."""

    rows: int
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{-self.mean:+.4f} ({-self.high:+.4f} to {-self.low:+.4f})"


@final
@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found on held-out rows: nothing against it, something, or too few rows to tell."""

    verdict: str  # within, outside, undecided
    why: str
    before: float  # accuracy; of numbers, the mean absolute error
    after: float
    change: Change
    worst: Change | None = None  # the class whose accuracy fell most
    worst_class: int | None = None  # -1: classes of too few rows, taken together
    pooled: tuple[int, ...] = ()  # these classes
    forgetting: Change | None = None  # of the past experiences, each counted alike
    notes: tuple[str, ...] = field(default=())


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """What compression may cost, and what it must bring. Every margin is judged on rows that nobody has learnt.

    Losses are differences on the same rows, row by row, so that what both get wrong does not count. A margin is kept if
    the upper end of a one-sided interval is within it; broken if the difference itself is not; and else undecided: the
    rows are too few for so small a margin, and the model is not taken. Intervals of shares are those of Bonett and
    Price, which stay wide where no row is answered otherwise; that of a mean error is of its pairs.

    Args:
        accuracy: share of rows that may be lost; of numbers, by which share the mean absolute error may grow.
        per_class: the same for every class; classes of too few rows to tell are taken together. None: any.
        forgetting: the same for the mean over past experiences, where rows tell theirs (`Batch.task`). None: any.
        faster: so many times as fast as the parent, for one row and for 64; None: any.
        smaller: so many times as small; None: any.
        confidence: of each interval.

    >>> import numpy as np
    >>> y = np.arange(10_000) % 10
    >>> before, after = np.eye(10)[y], np.eye(10)[np.where(np.arange(10_000) < 20, 0, y)]
    >>> found = Within(accuracy=0.005).judge(y, before, after)
    >>> found.verdict, str(found.change)
    ('within', '-0.0018 (-0.0025 to -0.0011)')

    References:
        Bonett, Price 2012, Adjusted Wald confidence interval for a difference of binomial proportions based on paired
        data, Journal of Educational and Behavioral Statistics 37. Hooker et al. 2019, What do compressed deep neural
        networks forget?: a few classes pay for all, hence `per_class`.
    """

    accuracy: float = 0.005
    per_class: float | None = 0.02
    forgetting: float | None = 0.005
    faster: float | None = None
    smaller: float | None = None
    confidence: float = 0.95

    def __post_init__(self) -> None:
        margins = [self.accuracy, *(m for m in (self.per_class, self.forgetting) if m is not None)]
        if self.accuracy is None or self.confidence is None:  # pyright: ignore[reportUnnecessaryComparison] - it may be
            raise SettingError("Within got None for accuracy or confidence; expected numbers, e.g. accuracy=.005")
        if not all(0 < margin < 1 for margin in margins):
            raise SettingError(f"Within got the margins {margins}; expected shares between 0 and 1, e.g. accuracy=.005")
        goals = [goal for goal in (self.faster, self.smaller) if goal is not None]
        if not all(goal > 0 and math.isfinite(goal) for goal in goals):
            raise SettingError(f"Within got faster={self.faster}, smaller={self.smaller}; expected numbers > 0")
        if not 0.5 < self.confidence < 1:
            raise SettingError(f"Within got confidence={self.confidence}; expected a number between .5 and 1")

    def least(self, margin: float, /) -> int:
        """Rows below which no margin of classes can be judged, though not a single answer be another."""
        z = NormalDist().inv_cdf(self.confidence)
        return math.ceil(z * math.sqrt(2) / margin)

    def enough(self, y: Array, /) -> None:
        """Refuse held-out rows that could not tell, whatever they say. Raises SettingError."""
        if y.dtype.kind in "iub" and len(y) < (least := self.least(self.accuracy)):
            raise SettingError(
                f"{len(y):,} held-out rows cannot tell whether {self.accuracy:g} of accuracy is lost; expected at "
                f"the very least {least:,}, some {20 * least:,} to be sure: give more data, or a wider margin"
            )
        if len(y) < 2:
            raise SettingError(f"{len(y)} held-out rows tell nothing; give labelled rows in data=")

    def judge(self, y: Array, before: Array, after: Array, /, *, task: Ints | None = None) -> Judgement:
        """Answers of the parent and of the compressed model (n,) or (n, k), on rows with labels y (n,).

        Args:
            y: labels; class codes or numbers.
            before: the parent's answers.
            after: the compressed model's.
            task: the experience of each row, -1 where it is not known.
        """
        z = NormalDist().inv_cdf(self.confidence)
        if y.dtype.kind not in "iub":
            return self._of_numbers(y, before, after, z)
        wrong = [_wrong(y, said) for said in (before, after)]
        lost, won = ~wrong[0] & wrong[1], wrong[0] & ~wrong[1]
        change = _paired(lost, won, z)
        checks = [("accuracy", self.accuracy, change)]
        groups, pooled, notes = self._of_classes(y, lost, won, z)
        if self.per_class is not None:
            checks += [(_class(code), self.per_class, one) for code, one in groups]
        code, worst = max(groups, key=lambda one: one[1].mean, default=(None, None))
        forgotten = self._of_past(task, lost, won, z)
        if forgotten is not None and self.forgetting is not None:
            checks.append(("forgetting", self.forgetting, forgotten))
        verdict, why = _verdict(checks)
        held, kept = (float(1 - one.mean()) for one in wrong)
        return Judgement(verdict, why, held, kept, change, worst, code, pooled, forgotten, notes)

    def _of_numbers(self, y: Array, before: Array, after: Array, z: float) -> Judgement:
        """Absolute errors, as shares of the parent's mean; the interval is that of the mean of pairs."""
        errors = [np.abs(said - y).reshape(len(y), -1).mean(axis=1) for said in (before, after)]
        scale = max(float(errors[0].mean()), 1e-300)
        more = (errors[1] - errors[0]) / scale
        width = z * float(more.std(ddof=1)) / math.sqrt(len(more))
        change = Change(len(y), float(more.mean()), float(more.mean()) - width, float(more.mean()) + width)
        verdict, why = _verdict([("error", self.accuracy, change)])
        return Judgement(verdict, why, scale, float(errors[1].mean()), change)

    def _of_classes(
        self, y: Array, lost: _Bools, won: _Bools, z: float
    ) -> tuple[list[tuple[int, Change]], tuple[int, ...], tuple[str, ...]]:
        """What each class lost; those that are taken together, or not judged; and words on them."""
        if self.per_class is None:
            return [], (), ()
        codes, count = np.unique(y, return_counts=True)
        least = self.least(self.per_class)
        few = codes[count < least]
        groups = [(int(code), y == code) for code in codes[count >= least]]
        notes: tuple[str, ...] = ()
        if len(few):
            rows = np.isin(y, few)
            notes = (f"{len(few)} classes of fewer than {least} rows are taken together ({int(rows.sum()):,} rows)",)
            if rows.sum() >= least:
                groups.append((-1, rows))
            else:
                notes = (f"{len(few)} classes of fewer than {least} rows, {int(rows.sum()):,} in all, are not judged",)
        changes = [(code, _paired(lost[rows], won[rows], z)) for code, rows in groups]
        return changes, tuple(map(int, few)), notes

    def _of_past(self, task: Ints | None, lost: _Bools, won: _Bools, z: float) -> Change | None:
        """The mean over all experiences but the latest of what each has lost."""
        tasks = np.unique(task[task >= 0]) if task is not None else np.empty(0)
        if self.forgetting is None or task is None or len(tasks) < 2:
            return None
        changes = [_paired(lost[task == one], won[task == one], z) for one in tasks[:-1]]
        mean = sum(one.mean for one in changes) / len(changes)
        width = math.sqrt(sum((one.high - one.low) ** 2 / 4 for one in changes)) / len(changes)
        return Change(int(np.isin(task, tasks[:-1]).sum()), mean, mean - width, mean + width)


def _wrong(y: Array, said: Array) -> _Bools:
    if not said.shape[1]:
        return np.ones(len(y), dtype=np.bool_)
    return said.argmax(axis=1) != y


def _paired(lost: _Bools, won: _Bools, z: float) -> Change:
    """The difference of two shares on the same rows: one more pair of each kind is added to what was seen."""
    n = len(lost)
    more, fewer = (float(one.sum() + 1) / (n + 2) for one in (lost, won))
    middle = more - fewer
    width = z * math.sqrt((more + fewer - middle**2) / (n + 2))
    return Change(n, float(lost.mean() - won.mean()) if n else 0.0, middle - width, middle + width)


def _verdict(checks: list[tuple[str, float, Change]]) -> tuple[str, str]:
    """The worst of several: outside before undecided before within."""
    found = "within", ""
    for what, margin, change in checks:
        if change.high <= margin:
            continue
        told = f"{what}: {change}, {margin:g} may be lost"
        if change.mean > margin:
            return "outside", told
        if found[0] == "within":
            found = "undecided", f"{told}, too few rows ({change.rows:,}) to tell"
    return found


def _class(code: int | None) -> str:
    return "small classes" if code == -1 else f"class {code}"
