"""Agrawal: people who apply for a loan, and ten rules that sort them into two groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt

from retain.core import Array, Column, Kind, Schema, State
from retain.streams.synthetic.generator import CHUNK, Synthetic, require, row_random, share, table

__all__ = ["Agrawal"]

Bools: TypeAlias = npt.NDArray[np.bool_]
Columns: TypeAlias = "dict[str, npt.NDArray[np.float64]]"

_NAMES = ("salary", "commission", "age", "elevel", "car", "zipcode", "hvalue", "hyears", "loan")
_CATEGORICAL = ("elevel", "car", "zipcode")


@final
@dataclass(frozen=True, kw_only=True)
class Agrawal(Synthetic):
    """Nine attributes of a person, six numeric and three categorical, and one of ten rules for group A.

    | column | values |
    |---|---|
    | salary | uniform on [20,000, 150,000) |
    | commission | 0 where salary >= 75,000, else uniform on [10,000, 75,000) |
    | age | 20 ... 80 |
    | elevel | level of education, 0 ... 4 |
    | car | make, 1 ... 20 |
    | zipcode | 0 ... 8 |
    | hvalue | value of the house, uniform on [0.5, 1.5) k 100,000 with k = 9 - zipcode |
    | hyears | age of the house, 1 ... 30 |
    | loan | uniform on [0, 500,000) |

    Rules 1 to 6 ask for intervals of salary, loan, or salary and commission, that depend on age and education; rules
    7 to 10 ask for a positive disposable income.

    Args:
        seed: rows are a function of it.
        function: which rule, 1 ... 10, as in the paper and MOA.
        perturbation: how far numbers are moved after the label was given, as a share p of their range r: uniform on
            [-pr, pr], then clipped to the range; 0.05 in the paper and MOA.
        n: rows in all; None for an endless stream.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.

    >>> batch = next(iter(Agrawal(seed=1, function=1)))
    >>> age = batch.x[:5, 2]
    >>> for years, code in zip(age, batch.y[:5]):
    ...     print(int(years), batch.schema.classes[code])
    53 B
    73 A
    77 A
    31 A
    23 A

    Agrawal, Imielinski and Swami, "Database mining: a performance perspective", IEEE TKDE 5(6), 1993. As in MOA,
    code 0 is group A, and a perturbed age is a whole number; unlike in MOA, a perturbed house keeps its value where
    that is above 135,000 (MOA clips it there, a tenth of what was meant).
    """

    function: int = 1
    perturbation: float = 0.0

    def _check(self) -> None:
        require(self.function in range(1, 11), f"function={self.function}", "a rule from 1 to 10")
        share(self.perturbation, "perturbation")

    def schema(self) -> Schema:
        kinds = (Kind.CATEGORICAL if name in _CATEGORICAL else Kind.NUMERIC for name in _NAMES)
        return table(tuple(map(Column, _NAMES, kinds)), classes=("A", "B"), target="group")

    def labels(self, x: Array, /) -> npt.NDArray[np.int64]:
        """What the rule says of unperturbed x (n, 9): (n,) codes, 0 for group A."""
        person: Columns = dict(zip(_NAMES, x.T.astype(np.float64), strict=True))
        return (~_group_a(self.function, person)).astype(np.int64)

    def _chunk(self, number: int, concept: State, /) -> tuple[Array, Array, State]:
        rng = row_random(self.seed, number)
        person = _people(rng)
        x = _matrix(person)
        y = self.labels(x)
        if self.perturbation > 0:
            x = _matrix(_perturbed(rng, person, self.perturbation))
        return x, y, concept


def _people(rng: np.random.Generator) -> Columns:
    salary = rng.uniform(20_000, 150_000, CHUNK)
    commission = np.where(salary >= 75_000, 0.0, rng.uniform(10_000, 75_000, CHUNK))
    zipcode = rng.integers(0, 9, CHUNK)
    whole = {
        "age": rng.integers(20, 81, CHUNK),
        "elevel": rng.integers(0, 5, CHUNK),
        "car": rng.integers(1, 21, CHUNK),
        "zipcode": zipcode,
        "hyears": rng.integers(1, 31, CHUNK),
    }
    return {
        "salary": salary,
        "commission": commission,
        **{name: values.astype(np.float64) for name, values in whole.items()},
        "hvalue": (9 - zipcode) * 100_000 * rng.uniform(0.5, 1.5, CHUNK),
        "loan": rng.uniform(0, 500_000, CHUNK),
    }


def _perturbed(rng: np.random.Generator, person: Columns, p: float) -> Columns:
    def moved(name: str, low: float, high: float, spread: Array | float) -> npt.NDArray[np.float64]:
        return np.clip(person[name] + rng.uniform(-1, 1, CHUNK) * spread * p, low, high)

    return {
        **person,
        "salary": moved("salary", 20_000, 150_000, 130_000),
        "commission": np.where(person["commission"] > 0, moved("commission", 10_000, 75_000, 65_000), 0.0),
        "age": np.rint(moved("age", 20, 80, 60)),
        "hvalue": moved("hvalue", 0, 1_350_000, (9 - person["zipcode"]) * 100_000),
        "hyears": np.rint(moved("hyears", 1, 30, 29)),
        "loan": moved("loan", 0, 500_000, 500_000),
    }


def _matrix(person: Columns) -> Array:
    return np.stack([person[name] for name in _NAMES], axis=1).astype(np.float32)


def _group_a(function: int, person: Columns) -> Bools:
    age, elevel, salary, loan = (person[name] for name in ("age", "elevel", "salary", "loan"))
    income = salary + person["commission"]
    after_tax = 2 * income / 3
    if function == 1:
        group = (age < 40) | (age >= 60)
    elif function == 2:
        group = _by_age(age, _in(salary, 50, 100), _in(salary, 75, 125), _in(salary, 25, 75))
    elif function == 3:
        group = _by_age(age, elevel <= 1, (elevel >= 1) & (elevel <= 3), elevel >= 2)
    elif function == 4:
        low, middle, high = _in(salary, 25, 75), _in(salary, 50, 100), _in(salary, 75, 125)
        group = _by_age(
            age,
            np.where(elevel <= 1, low, middle),
            np.where((elevel >= 1) & (elevel <= 3), middle, high),
            np.where(elevel >= 2, middle, low),
        )
    elif function == 5:
        group = _by_age(
            age,
            np.where(_in(salary, 50, 100), _in(loan, 100, 300), _in(loan, 200, 400)),
            np.where(_in(salary, 75, 125), _in(loan, 200, 400), _in(loan, 300, 500)),
            np.where(_in(salary, 25, 75), _in(loan, 300, 500), _in(loan, 100, 300)),
        )
    elif function == 6:
        group = _by_age(age, _in(income, 50, 100), _in(income, 75, 125), _in(income, 25, 75))
    elif function == 7:
        group = after_tax - loan / 5 - 20_000 > 0
    elif function == 8:
        group = after_tax - 5_000 * elevel - 20_000 > 0
    elif function == 9:
        group = after_tax - 5_000 * elevel - loan / 5 - 10_000 > 0
    else:
        equity = person["hvalue"] * np.maximum(person["hyears"] - 20, 0) / 10
        group = after_tax - 5_000 * elevel + equity / 5 - 10_000 > 0
    return group


def _by_age(age: Array, young: Bools, middle: Bools, old: Bools) -> Bools:
    return np.where(age < 40, young, np.where(age < 60, middle, old))


def _in(value: Array, low: float, high: float) -> Bools:
    """Within [low, high] thousand."""
    return (value >= 1000 * low) & (value <= 1000 * high)
