"""What came of learning experiences one after the other: the matrix of accuracies over seeds, and how it is shown.

Shapes: T experiences, S stages (as many, where they were learnt in turn), r runs with different seeds. A matrix R is
(S + 1, T): R[i, j] is the accuracy on experience j + 1 after stage i, row 0 that of a model that has learnt nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from retain.core import Floats
from retain.errors import SettingError
from retain.metrics import continual as measures

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

__all__ = ["MEASURES", "Continual", "Estimate", "Run"]


@final
@dataclass(frozen=True, slots=True)
class Measure:
    """A number that a matrix is summed up in."""

    title: str
    of: Callable[[Floats], float]


MEASURES: Mapping[str, Measure] = {
    "acc": Measure("final accuracy", measures.final_accuracy),
    "learning_accuracy": Measure("learning accuracy", measures.learning_accuracy),
    "bwt": Measure("backward transfer", measures.backward_transfer),
    "fwt": Measure("forward transfer", measures.forward_transfer),
    "forgetting": Measure("forgetting", measures.forgetting),
}


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over runs and its standard error, the standard deviation over runs / sqrt(runs); NaN for a single run."""

    mean: float
    error: float

    @staticmethod
    def of(values: Sequence[float], /) -> Estimate:
        """From the values of the runs."""
        error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else float("nan")
        return Estimate(float(np.mean(values)), error)

    def __str__(self) -> str:
        if not math.isfinite(self.mean):
            return "–"
        return f"{self.mean:.4f}" + (f" ± {self.error:.4f}" if math.isfinite(self.error) else "")


@final
@dataclass(frozen=True, slots=True)
class Run:
    """One learner's way through a scenario."""

    seed: int
    matrix: Floats  # (S + 1, T)
    samples: int  # rows learnt, each as often as it was gone through
    seconds: float  # wall clock, of learning and testing
    cpu_seconds: float
    learning_cpu_seconds: float  # of learning alone


@final
@dataclass(frozen=True, slots=True)
class Continual:
    """Runs of one recipe through one scenario, which differ in their seeds. Shows itself in a notebook.

    Args:
        scenario: what it is called.
        experiences: names of the T experiences.
        runs: at least one.
        settings: what else is to be known of them, as plain data.
        bounds: other results of the same scenario to be shown beside: what can be reached, what happens if nothing is
            done.

    >>> R = np.array([[0.5, 0.5], [0.9, 0.5], [0.6, 0.8]])
    >>> runs = [Run(seed, R + seed / 10, 100, 1.0, 1.0, 0.8) for seed in (0, 1)]
    >>> result = Continual("class", ("cats", "dogs"), tuple(runs))
    >>> print(result.acc, "|", result.forgetting)
    0.7500 ± 0.0500 | 0.3000 ± 0.0000
    """

    scenario: str
    experiences: tuple[str, ...]
    runs: tuple[Run, ...]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    bounds: Mapping[str, Continual] = field(default_factory=dict[str, "Continual"])

    def __post_init__(self) -> None:
        shapes = {run.matrix.shape for run in self.runs}
        if len(shapes) != 1 or next(iter(shapes))[1] != len(self.experiences):
            raise SettingError(
                f"runs have matrices of the shapes {sorted(shapes)} for {len(self.experiences)} experiences; expected "
                "at least one run, and all through the same scenario"
            )

    @staticmethod
    def merge(parts: Sequence[Continual], /) -> Continual:
        """Runs of several results of the same scenario as one: seeds that were run elsewhere."""
        runs = tuple(run for part in parts for run in part.runs)
        seeds = [run.seed for run in runs]
        if not parts or len(set(seeds)) < len(seeds) or len({(p.scenario, p.experiences) for p in parts}) > 1:
            raise SettingError(
                f"cannot merge seeds {seeds} of {[part.scenario for part in parts]}; expected different seeds of one "
                "scenario"
            )
        return Continual(parts[0].scenario, parts[0].experiences, runs, parts[0].settings, parts[0].bounds)

    @property
    def matrices(self) -> Floats:
        """(r, S + 1, T) the matrix of every run."""
        return np.stack([run.matrix for run in self.runs])

    @property
    def matrix(self) -> Floats:
        """(S + 1, T) the mean over runs."""
        return self.matrices.mean(axis=0)

    def measure(self, name: str, /) -> Estimate:
        """One of `MEASURES`, over the runs."""
        return Estimate.of([MEASURES[name].of(run.matrix) for run in self.runs])

    @property
    def acc(self) -> Estimate:
        """Mean accuracy over the experiences at the end."""
        return self.measure("acc")

    @property
    def learning_accuracy(self) -> Estimate:
        """Mean accuracy on each experience just after it was learnt."""
        return self.measure("learning_accuracy")

    @property
    def bwt(self) -> Estimate:
        """Backward transfer: what later experiences did to earlier ones."""
        return self.measure("bwt")

    @property
    def fwt(self) -> Estimate:
        """Forward transfer: what earlier experiences did for later ones, before these were learnt."""
        return self.measure("fwt")

    @property
    def forgetting(self) -> Estimate:
        """How far each experience has fallen from its best."""
        return self.measure("forgetting")

    @property
    def seconds(self) -> float:
        """Wall clock of all runs, one after the other."""
        return sum(run.seconds for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        """Of all runs, learning and testing."""
        return sum(run.cpu_seconds for run in self.runs)

    @property
    def samples_per_cpu_second(self) -> float:
        """Rows learnt for each CPU-second of learning."""
        spent = sum(run.learning_cpu_seconds for run in self.runs)
        return sum(run.samples for run in self.runs) / spent if spent > 0 else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data; what is undefined is None."""
        return {
            "scenario": self.scenario,
            **{name: _plain(self.measure(name)) for name in MEASURES},
            "matrix": self.matrix.round(6).tolist(),
            "experiences": list(self.experiences),
            "seeds": [run.seed for run in self.runs],
            "runs": [{"seed": run.seed, "acc": MEASURES["acc"].of(run.matrix)} for run in self.runs],
            "samples": sum(run.samples for run in self.runs),
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "samples_per_cpu_second": _finite(round(self.samples_per_cpu_second, 1)),
            "settings": dict(self.settings),
            "bounds": {name: {m: _plain(other.measure(m)) for m in MEASURES} for name, other in self.bounds.items()},
        }

    def figures(self) -> dict[str, Figure]:
        """`matrix`, a heat map of R, and `curves`, how each experience fared after each stage."""
        from retain.report.matrix import figures

        return figures(self)

    def table(self) -> RenderableType:
        """The measures beside the bounds: print it with rich."""
        from retain.report.matrix import table

        return table(self)

    def _repr_html_(self) -> str:
        from retain.report.matrix import fragment

        return fragment(self)


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {"mean": _finite(round(estimate.mean, 6)), "standard_error": _finite(round(estimate.error, 6))}


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
