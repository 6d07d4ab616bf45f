"""The laws that every part must pass; public, so that users can test their own parts.

    import retain as rt
    rt.testing.check_learner(lambda: MyLearner(), rt.testing.examples("classification"))

Each law is a plain function that raises `AssertionError` with what differed; `check_learner`, `check_transform`,
`check_metric` and `check_stream` run all laws of their kind with Hypothesis choosing splits and save points
(`pip install hypothesis`). Parts are given as `make`, a function that returns a new one, always built the same way.

A tolerance of 0 asks for equality bit for bit, which is the law at granularity 1. A larger one is relative and
absolute, and belongs beside its reason.
"""

from __future__ import annotations

import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from retain import blocks, state
from retain.core import CSR, Array, Batch, Features, Learner, Metric, State, Stateful, Stream, Transform
from retain.errors import MissingExtraError, PoisonError, RetainError

__all__ = [
    "check_learner",
    "check_metric",
    "check_stream",
    "check_transform",
    "examples",
    "learner_before",
    "learner_blocks",
    "learner_bounded",
    "learner_newcomers",
    "learner_poison",
    "learner_purity",
    "learner_resume",
    "resume_in_new_process",
    "transform_before",
    "transform_blocks",
    "transform_poison",
    "transform_purity",
    "transform_resume",
]


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


# --- learners ---------------------------------------------------------------------------------------------------------


def check_learner(
    make: Callable[[], Learner],
    batch: Batch,
    *,
    tolerance: float = 0.0,
    accepts_missing: bool = False,
    uses_x: bool = True,
    grows: bool = False,
    mixes: bool = False,
    tries: int = 10,
) -> None:
    """Run every law of a learner on `batch`.

    Args:
        make: returns a new learner.
        batch: some dozens of rows that the learner can learn, with labels.
        tolerance: 0 for granularity 1; the stated tolerance of the block law above it.
        accepts_missing: the learner declares that NaN is an input like others.
        uses_x: False for baselines, which look at labels only and so cannot be poisoned by input.
        grows: the learner's state may grow with the stream (it declares another bound), as encoders' does. The before
            law is then tried on rows whose categories are known: a new one is known to learn and unknown to predict.
        mixes: the learner is a mean of learners, each of which leaves a newcomer another share: its own odds may move.
        tries: how many splits Hypothesis chooses.
    """
    learner_purity(make, batch)
    learner_before(_taught(make, batch) if grows else make, batch, tolerance=tolerance)
    if uses_x:
        learner_poison(make, batch, accepts_missing=accepts_missing)
    learner_newcomers(make, batch, mixes=mixes)
    if not grows:
        learner_bounded(make, batch)
    _with_cuts(len(batch), tries, lambda cuts: learner_blocks(make, batch, cuts, tolerance=tolerance))
    _with_cuts(len(batch), tries, lambda cuts: learner_resume(make, batch, cuts))


def _taught(make: Callable[[], Learner], batch: Batch) -> Callable[[], Learner]:
    def taught() -> Learner:
        learner = make()
        learner.learn(batch)
        return learner

    return taught


def learner_blocks(make: Callable[[], Learner], batch: Batch, cuts: Sequence[int], *, tolerance: float = 0.0) -> None:
    """Block law: learning a + b is learning a, then b."""
    whole, parts = make(), make()
    expected = whole.learn(batch)
    got = [parts.learn(piece) for piece in _pieces(batch, cuts)]
    _same_rows(_stack(got), expected, tolerance, f"predictions of learn, split at {list(cuts)}")
    _same_state(parts.state_dict(), whole.state_dict(), tolerance, f"state after learning, split at {list(cuts)}")


def learner_purity(make: Callable[[], Learner], batch: Batch) -> None:
    """Purity law: predict changes no state, and says the same twice."""
    learner = make()
    learner.learn(batch)
    before = state.copy(learner.state_dict())
    first = np.array(learner.predict(batch.x))
    _same_state(learner.state_dict(), before, 0.0, "state after predict")
    _same_rows(learner.predict(batch.x), first, 0.0, "the second predict")


def learner_before(make: Callable[[], Learner], batch: Batch, *, tolerance: float = 0.0) -> None:
    """Before law: what learn returns is what predict said of each row just before its update."""
    whole, single = make(), make()
    got = whole.learn(batch)
    said: list[Array] = []
    for i in range(len(batch)):
        row = blocks.take_batch(batch, slice(i, i + 1))
        said.append(np.array(single.predict(row.x)))
        single.learn(row)
    _same_rows(
        got, _stack(said, width=got.shape[1] if got.ndim == 2 else None), tolerance, "learn against predict before"
    )


def learner_resume(make: Callable[[], Learner], batch: Batch, cuts: Sequence[int]) -> None:
    """Resume law: saved and loaded at every cut, a learner goes on as if it had never been stopped, bit for bit."""
    through, resumed = make(), make()
    for piece in _pieces(batch, cuts):
        expected = through.learn(piece)
        saved = state.encode(resumed.state_dict())
        resumed = make()
        resumed.load_state_dict(state.decode(saved))
        _same_bytes(state.encode(resumed.state_dict()), saved, "state saved again right after loading")
        _same_rows(resumed.learn(piece), expected, 0.0, f"predictions after resuming, cuts {list(cuts)}")
    _same_state(resumed.state_dict(), through.state_dict(), 0.0, f"state after resuming, cuts {list(cuts)}")
    _same_rows(resumed.predict(batch.x), through.predict(batch.x), 0.0, "predict after resuming")


def learner_poison(make: Callable[[], Learner], batch: Batch, *, accepts_missing: bool = False) -> None:
    """Poison law: bad input is refused with row and cure named, and nothing has changed."""
    for what, bad in _poisoned(batch, accepts_missing=accepts_missing):
        learner = make()
        learner.learn(batch)
        _refuses(learner, lambda bad=bad, learner=learner: learner.learn(bad), f"learn of {what}")
        if not what.startswith(("label", "weight")):
            _refuses(learner, lambda bad=bad, learner=learner: learner.predict(bad.x), f"predict of {what}")


def learner_newcomers(make: Callable[[], Learner], batch: Batch, *, mixes: bool = False) -> None:
    """Newcomer law: a class that arrives with next to no weight leaves the odds of the known classes alone."""
    if batch.y is None or batch.y.dtype.kind != "i":
        return
    learner = make()
    learner.learn(batch)
    before = np.array(learner.predict(batch.x), dtype=np.float64)
    k = before.shape[1]
    newcomer = blocks.take_batch(batch, slice(0, 1))
    learner.learn(replace(newcomer, y=np.array([k], dtype=np.int64), weight=np.full(1, 1e-9)))
    after = np.array(learner.predict(batch.x), dtype=np.float64)
    if after.shape != (len(batch), k + 1):
        raise AssertionError(
            f"after class {k} arrived, predict has shape {after.shape}; expected {(len(batch), k + 1)}"
        )
    if not mixes:
        known = after[:, :k]
        total = known.sum(axis=1, keepdims=True)
        kept = np.divide(known, total, out=before.copy(), where=total > 0)
        _same_rows(kept, before, 1e-5, "odds of the known classes after a newcomer")
    learner.learn(replace(newcomer, y=np.array([k], dtype=np.int64), weight=None))


def learner_bounded(make: Callable[[], Learner], batch: Batch, *, times: int = 10, slack: int = 256) -> None:
    """Bounded law: the state after many times the rows is no larger than after the first."""
    learner = make()
    learner.learn(batch)
    first = len(state.encode(learner.state_dict()))
    for _ in range(times):
        learner.learn(batch)
    last = len(state.encode(learner.state_dict()))
    if last > first + slack:
        raise AssertionError(f"state grew from {first} to {last} bytes over {times} times the rows; expected a bound")


# --- transforms -------------------------------------------------------------------------------------------------------


def check_transform(
    make: Callable[[], Transform],
    batch: Batch,
    *,
    tolerance: float = 0.0,
    accepts_missing: bool = False,
    poison: bool = True,
    tries: int = 10,
) -> None:
    """Run every law of a transform on `batch` (dense rows or a record batch, with labels where it needs them)."""
    transform_purity(make, batch)
    transform_before(make, batch, tolerance=tolerance)
    if poison:
        transform_poison(make, batch, accepts_missing=accepts_missing)
    _with_cuts(len(batch), tries, lambda cuts: transform_blocks(make, batch, cuts, tolerance=tolerance))
    _with_cuts(len(batch), tries, lambda cuts: transform_resume(make, batch, cuts))


def transform_blocks(
    make: Callable[[], Transform], batch: Batch, cuts: Sequence[int], *, tolerance: float = 0.0
) -> None:
    """Block law: transforming a + b is transforming a, then b."""
    whole, parts = make(), make()
    expected = whole.learn(batch).x
    got = blocks.concat([parts.learn(piece).x for piece in _pieces(batch, cuts)])
    _same_features(got, expected, tolerance, f"rows transformed, split at {list(cuts)}")
    _same_state(parts.state_dict(), whole.state_dict(), tolerance, f"state, split at {list(cuts)}")


def transform_purity(make: Callable[[], Transform], batch: Batch) -> None:
    """Purity law: apply changes no state, of a new transform and of one that has learnt."""
    transform = make()
    for step in ("new", "taught"):
        before = state.copy(transform.state_dict())
        transform.apply(batch.x)
        _same_state(transform.state_dict(), before, 0.0, f"state of a {step} transform after apply")
        transform.learn(batch)


def transform_before(make: Callable[[], Transform], batch: Batch, *, tolerance: float = 0.0) -> None:
    """Before law: learn transforms each row as apply would have just before it; nothing leaks from the row itself."""
    whole, single = make(), make()
    got = whole.learn(batch).x
    said: list[Features] = []
    for i in range(len(batch)):
        row = blocks.take_batch(batch, slice(i, i + 1))
        said.append(single.apply(row.x))
        single.learn(row)
    # An encoder gives a new category its slot as the row arrives, so learn may be wider than apply, never different.
    for i, expected in enumerate(said):
        _same_features(
            blocks.take(got, slice(i, i + 1)), expected, tolerance, f"row {i}, learn and apply before", subset=True
        )


def transform_resume(make: Callable[[], Transform], batch: Batch, cuts: Sequence[int]) -> None:
    """Resume law: saved and loaded at every cut, a transform goes on as if it had never been stopped, bit for bit."""
    through, resumed = make(), make()
    for piece in _pieces(batch, cuts):
        expected = through.learn(piece).x
        saved = state.encode(resumed.state_dict())
        resumed = make()
        resumed.load_state_dict(state.decode(saved))
        _same_bytes(state.encode(resumed.state_dict()), saved, "state saved again right after loading")
        _same_features(resumed.learn(piece).x, expected, 0.0, f"rows after resuming, cuts {list(cuts)}")
    _same_state(resumed.state_dict(), through.state_dict(), 0.0, f"state after resuming, cuts {list(cuts)}")


def transform_poison(make: Callable[[], Transform], batch: Batch, *, accepts_missing: bool = False) -> None:
    """Poison law: bad input is refused with row and cure named, and nothing has changed."""
    for what, bad in _poisoned(replace(batch, y=None, weight=None), accepts_missing=accepts_missing):
        transform = make()
        transform.learn(batch)
        _refuses(transform, lambda bad=bad, transform=transform: transform.learn(bad), f"learn of {what}")


# --- metrics and streams ----------------------------------------------------------------------------------------------


def check_metric(
    make: Callable[[], Metric], y: Array, prediction: Array, weight: Array | None = None, /, *, tries: int = 10
) -> None:
    """Run every law of a metric: splits, saving and loading change nothing, bit for bit; value changes nothing."""
    whole = make()
    whole.update(y, prediction, weight)
    expected = whole.value()
    _same_number(whole.value(), expected, "value called twice")

    def pieces(cuts: Sequence[int]) -> None:
        parts, resumed = make(), make()
        for a, b in _bounds(len(y), cuts):
            piece = y[a:b], prediction[a:b], None if weight is None else weight[a:b]
            parts.update(*piece)
            resumed.update(*piece)
            saved = state.encode(resumed.state_dict())
            resumed = make()
            resumed.load_state_dict(state.decode(saved))
            _same_number(resumed.value(), parts.value(), "value after loading")
        _same_number(parts.value(), expected, f"value, split at {list(cuts)}")
        _same_state(resumed.state_dict(), parts.state_dict(), 0.0, "state after loading")

    _with_cuts(len(y), tries, pieces)


def check_stream(make: Callable[[int], Stream], *, rows: int = 200, tries: int = 10) -> None:
    """Run every law of a stream; `make(block)` returns it with blocks of that many rows.

    Blocks change nothing but where the rows are cut, and reading from any position, again and again, gives the rows
    that reading on would have given. `rows` bounds how far an endless stream is read.
    """
    reference = _read(make(rows), None, rows)[0]

    def body(cuts: Sequence[int]) -> None:
        block = max(cuts[0] if cuts else 1, 1)
        batch, positions = _read(make(block), None, rows)
        _same_batches(batch, reference, f"rows in blocks of {block}")
        for at in {0, len(positions) // 2, len(positions) - 1}:
            done, position = positions[at]
            kept = state.decode(state.encode(position))
            for _ in range(2):
                if done < len(reference):
                    rest = _read(make(block), kept, len(reference) - done)[0]
                    _same_batches(rest, blocks.take_batch(reference, slice(done, None)), f"rows read from row {done}")

    _with_cuts(min(rows, len(reference)), tries, body)


# --- a new process ----------------------------------------------------------------------------------------------------


class _Step(Protocol):
    """Feed a part with the rows [a, b) of its own data; module-level, so that a new process finds it."""

    def __call__(self, part: Any, start: int, stop: int, /) -> object: ...


def resume_in_new_process(file: str, table: str, *, rows: int) -> None:
    """Resume law across processes: every part of a table is saved half way and goes on in a new interpreter.

    Args:
        file: the path of a Python file, usually `__file__` of the test.
        table: the name in it of a mapping from a name to (make, step), where step(part, start, stop) feeds rows.
        rows: how many rows each part is fed in all.

    The new interpreter has another hash seed and no warm caches: whatever leaked out of the state shows.
    """
    parts = _table(file, table)
    with tempfile.TemporaryDirectory() as folder:
        expected: dict[str, bytes] = {}
        for i, (make, step) in enumerate(parts.values()):
            part = make()
            step(part, 0, rows // 2)
            Path(folder, f"{i}.in").write_bytes(state.encode(part.state_dict()))
            step(part, rows // 2, rows)
            expected[str(i)] = state.encode(part.state_dict())
        code = f"from retain.testing import _go_on; _go_on({file!r}, {table!r}, {rows}, {folder!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - our own code
        if done.returncode:
            raise AssertionError(f"the new process failed:\n{done.stderr}")
        for i, name in enumerate(parts):
            got = Path(folder, f"{i}.out").read_bytes()
            _same_state(state.decode(got), state.decode(expected[str(i)]), 0.0, f"{name} resumed in a new process")


def _go_on(file: str, table: str, rows: int, folder: str) -> None:  # pyright: ignore[reportUnusedFunction] - by the new process
    for i, (make, step) in enumerate(_table(file, table).values()):
        part = make()
        part.load_state_dict(state.decode(Path(folder, f"{i}.in").read_bytes()))
        step(part, rows // 2, rows)
        Path(folder, f"{i}.out").write_bytes(state.encode(part.state_dict()))


def _table(file: str, table: str) -> Mapping[str, tuple[Callable[[], Any], _Step]]:
    return runpy.run_path(file)[table]


# --- how laws compare -------------------------------------------------------------------------------------------------


def _with_cuts(n: int, tries: int, body: Callable[[Sequence[int]], None]) -> None:
    """Run `body` on sorted split points of n rows, chosen by Hypothesis; always on every single row too."""
    try:
        from hypothesis import HealthCheck, given, settings, strategies
    except ImportError as error:
        raise MissingExtraError("the laws need hypothesis; pip install hypothesis") from error
    body(list(range(1, n)))
    cuts = strategies.lists(strategies.integers(0, n), max_size=5).map(sorted)
    quiet = settings(
        max_examples=tries,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    quiet(given(cuts)(body))()


def _bounds(n: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    edges = [0, *cuts, n]
    return list(pairwise(edges))


def _pieces(batch: Batch, cuts: Sequence[int]) -> list[Batch]:
    """Pieces between the cuts; some are empty, which is a block like others."""
    return [blocks.take_batch(batch, slice(a, b)) for a, b in _bounds(len(batch), cuts)]


def _stack(parts: Sequence[Array], *, width: int | None = None) -> Array:
    """Rows of predictions one after the other, zero-padded to the widest: classes arrive on the way."""
    if any(part.ndim == 1 for part in parts):
        # Before the first label a baseline knows no task: (n, 0), which is 0 where answers turn out to be numbers.
        return np.concatenate([part if part.ndim == 1 else np.zeros(len(part)) for part in parts])
    widest = max(part.shape[1] for part in parts) if width is None else width
    return np.concatenate([np.pad(part, ((0, 0), (0, widest - part.shape[1]))) for part in parts])


def _same_rows(got: Array, expected: Array, tolerance: float, what: str) -> None:
    if got.shape != expected.shape:
        raise AssertionError(f"{what}: shape {got.shape}, expected {expected.shape}")
    same = (
        np.isclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
        if tolerance
        else (got == expected) | ((got != got) & (expected != expected))
    )
    if not same.all():
        where = tuple(int(i) for i in np.argwhere(~np.asarray(same))[0])
        raise AssertionError(
            f"{what}: {int((~np.asarray(same)).sum())} of {same.size} entries differ (tolerance {tolerance}), "
            f"first at {where}: {got[where]!r}, expected {expected[where]!r}"
        )


def _same_state(got: State, expected: State, tolerance: float, what: str, where: str = "state") -> None:
    if got.keys() != expected.keys():
        raise AssertionError(f"{what}: {where} has {sorted(got)}, expected {sorted(expected)}")
    for key in expected:
        _same_leaf(got[key], expected[key], tolerance, what, f"{where}.{key}")


def _same_leaf(got: Any, expected: Any, tolerance: float, what: str, where: str) -> None:
    if isinstance(expected, dict):
        _same_state(got, cast("State", expected), tolerance, what, where)
    elif isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
        _same_rows(np.asarray(got), cast("Array", expected), tolerance, f"{what}: {where}")
    elif isinstance(expected, float):
        _same_rows(np.atleast_1d(got), np.atleast_1d(expected), tolerance, f"{what}: {where}")
    elif isinstance(expected, (list, tuple)) and len(got) == len(cast("list[Any]", expected)):
        for i, (a, b) in enumerate(zip(got, cast("list[Any]", expected), strict=True)):
            _same_leaf(a, b, tolerance, what, f"{where}[{i}]")
    elif not state.equal(got, expected):
        raise AssertionError(f"{what}: {where} is {got!r}, expected {expected!r}")


def _same_bytes(got: bytes, expected: bytes, what: str) -> None:
    if got != expected:
        _same_state(state.decode(got), state.decode(expected), 0.0, what)
        raise AssertionError(f"{what}: {len(got)} bytes differ from {len(expected)} expected")


def _same_number(got: float, expected: float, what: str) -> None:
    if not (got == expected or (np.isnan(got) and np.isnan(expected))):
        raise AssertionError(f"{what}: {got!r}, expected {expected!r}")


def _same_features(got: Features, expected: Features, tolerance: float, what: str, *, subset: bool = False) -> None:
    """Compare rows of any form; with `subset`, the columns that `expected` has not may hold anything in `got`."""
    if isinstance(got, (np.ndarray, CSR)) and isinstance(expected, (np.ndarray, CSR)):
        narrow = blocks.width(expected)
        columns = max(blocks.width(got), narrow)
        a, b = blocks.dense(got, columns), blocks.dense(expected, columns)
        _same_rows(a[:, :narrow], b[:, :narrow], tolerance, what) if subset else _same_rows(a, b, tolerance, what)
        return
    a, b = cast("Any", got), cast("Any", expected)
    if a.schema.names != b.schema.names or a.num_rows != b.num_rows:
        raise AssertionError(
            f"{what}: {a.num_rows} rows of {a.schema.names}, expected {b.num_rows} of {b.schema.names}"
        )
    for name in a.schema.names:
        left, right = a.column(name), b.column(name)
        if tolerance and left.type == right.type and str(left.type) in ("float", "double"):
            _same_rows(
                left.to_numpy(zero_copy_only=False), right.to_numpy(zero_copy_only=False), tolerance, f"{what}: {name}"
            )
        elif str(left.to_pylist()) != str(right.to_pylist()):
            raise AssertionError(
                f"{what}: column {name} is {left.to_pylist()[:5]}..., expected {right.to_pylist()[:5]}..."
            )


def _same_batches(got: Batch, expected: Batch, what: str) -> None:
    _same_features(got.x, expected.x, 0.0, f"{what}: x")
    for name in ("y", "weight", "time", "label_time", "key", "id", "task"):
        a, b = getattr(got, name), getattr(expected, name)
        if (a is None) != (b is None) or (a is not None and not _equal_columns(a, b)):
            raise AssertionError(f"{what}: {name} is {a!r}, expected {b!r}")


def _equal_columns(a: Array, b: Array) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")


def _read(stream: Stream, position: State | None, rows: int) -> tuple[Batch, list[tuple[int, State]]]:
    """The next `rows` rows in one batch, and every position passed with the rows read until there."""
    batches: list[Batch] = []
    positions: list[tuple[int, State]] = []
    done = 0
    for batch, after in stream.read(position):
        batches.append(batch)
        done += len(batch)
        positions.append((done, after))
        if done >= rows:
            break
    return blocks.take_batch(blocks.concat_batches(batches), slice(0, rows)), positions


# --- poison -----------------------------------------------------------------------------------------------------------


def _poisoned(batch: Batch, *, accepts_missing: bool) -> list[tuple[str, Batch]]:
    """Copies of a batch, each with one thing wrong in the middle."""
    row = len(batch) // 2
    found: list[tuple[str, Batch]] = []
    if isinstance(batch.x, np.ndarray):
        values = [("Inf", np.inf), ("-Inf", -np.inf)] + ([] if accepts_missing else [("NaN", np.nan)])
        for name, value in values:
            x = batch.x.copy()
            x[row, 1] = value
            found.append((f"{name} in row {row}", replace(batch, x=x)))
        found.append(("one column too many", replace(batch, x=np.hstack([batch.x, batch.x[:, :1]]))))
        found.append(("one column too few", replace(batch, x=batch.x[:, :-1])))
        found.append(("text", replace(batch, x=batch.x.astype(str))))
        found.append(("rows without a feature axis", replace(batch, x=batch.x[:, 0])))
    elif isinstance(batch.x, CSR):
        values = batch.x.values.copy()
        values[len(values) // 2] = np.nan
        found.append(("NaN in a sparse row", replace(batch, x=replace(batch.x, values=values))))
    else:
        found.extend(_poisoned_table(batch, row))
    if batch.y is not None:
        found.append(("label of another length", replace(batch, y=batch.y[:-1])))
        found.append(("label of text", replace(batch, y=np.full(len(batch), "a"))))
        bad = np.array(batch.y)
        bad[row] = -7 if bad.dtype.kind == "i" else np.inf
        found.append((f"label {bad[row]}", replace(batch, y=bad)))
    if batch.weight is not None:
        for value in (-1.0, np.nan):
            weight = np.array(batch.weight)
            weight[row] = value
            found.append((f"weight {value}", replace(batch, weight=weight)))
    return found


def _poisoned_table(batch: Batch, row: int) -> list[tuple[str, Batch]]:
    import pyarrow as pa

    x = cast("Any", batch.x)
    found: list[tuple[str, Batch]] = []
    for i, name in enumerate(x.schema.names):
        if pa.types.is_floating(x.column(i).type):
            column = x.column(i).to_numpy(zero_copy_only=False).astype(np.float64)
            column[row] = np.inf
            found.append((f"Inf in {name}", replace(batch, x=x.set_column(i, name, pa.array(column)))))
            text = pa.array(["a"] * x.num_rows)
            found.append((f"text in {name}", replace(batch, x=x.set_column(i, name, text))))
            break
    return found


def _refuses(part: Stateful, call: Callable[[], object], what: str) -> None:
    before = state.copy(part.state_dict())
    try:
        call()
    except RetainError as error:
        if isinstance(error, PoisonError) and len(str(error)) < 20:
            raise AssertionError(
                f"{what}: the error says only {str(error)!r}; expected value, expectation and cure"
            ) from error
    else:
        raise AssertionError(f"{what} was accepted; expected a RetainError")
    _same_state(part.state_dict(), before, 0.0, f"state after a refused {what}")
