"""A run that can be killed at any instant: one atomic snapshot of everything, at most once a second.

What was learnt after the last snapshot is learnt again by reading the source again from the position in the snapshot;
since a run is a pure function of its state and its source, it ends in the same model, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from retain import state as states
from retain.core import State, Stateful
from retain.errors import RetainError, StateError

__all__ = ["Resumable", "durable"]

_APART = 50  # times as long as a snapshot takes must pass before the next
_KEPT = 2  # the newest snapshot, and one to fall back on where it turns out damaged


class Eventful(Protocol):
    """A dataclass that tells what has come of a run so far, and what has happened to it."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def events(self) -> tuple[str, ...]: ...


S = TypeVar("S", bound=Eventful)
S_co = TypeVar("S_co", bound=Eventful, covariant=True)


class Resumable(Stateful, Protocol[S_co]):
    """A loop (`Prequential`, `Experiences`) whose state between two steps is all that is needed to go on."""

    @property
    def whole(self) -> bool:
        """Whether it stands between two steps: an error in the middle of one leaves a state that is not to be kept."""
        ...

    def steps(self) -> Iterator[S_co]:
        """From where it stands on; by the time this returns, the state says which run it is."""
        ...

    def finish(self) -> Iterator[S_co]:
        """What is left to tell after the last step; not part of the state."""
        ...


def durable(
    run: Resumable[S],
    folder: str | Path,
    /,
    *,
    resume: bool | None = None,
    beside: Mapping[str, Stateful] | None = None,
    settings: Mapping[str, Any] | None = None,
    every: float = 1.0,
) -> Generator[S]:
    """Iterate over a run's steps and keep its state in a folder.

    Args:
        run: a new run, built as it was when the state was saved: a `Prequential`, whose steps are reports, or the
            `Experiences` of a scenario.
        folder: where snapshots go; one process at a time owns it.
        resume: True: go on from the newest good snapshot, which must be there. False: begin, in a folder that holds
            none, so that nothing is overwritten. None: go on where there is one, else begin.
        beside: what the consumer folds reports into and wants saved with them, such as a `retain.report.Log`. A report
            counts as folded when the next one is asked for.
        settings: what the run was built from; a snapshot made with other settings is refused.
        every: seconds between snapshots, at least; more where snapshots take long, so that all of them together take
            no more than a fiftieth of the time. 0: one after every step, whatever it takes.

    Raises:
        StateError: the folder holds state and `resume` is False, or none and it is True; was made with other settings,
            holds no undamaged snapshot, is in use by another process, or cannot be written.

    >>> import tempfile, numpy as np, retain as rt
    >>> x = np.arange(8.0).reshape(-1, 1)
    >>> def build():
    ...     return rt.Prequential(rt.streams.arrays(x, 2 * x[:, 0], block=2), rt.RLS())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for first in rt.durable(build(), folder):
    ...         break  # or kill -9
    ...     for last in rt.durable(build(), folder):
    ...         pass
    >>> first.rows, last.rows
    (2, 8)
    """
    folder = Path(folder)
    parts: dict[str, Stateful] = {"run": run, **(beside or {})}
    wanted = dict(settings or {})
    with _owned(folder):
        number, told = _restore(folder, parts, wanted, resume=resume)

        def save() -> None:
            nonlocal number
            number += 1
            tree = {name: part.state_dict() for name, part in parts.items()}
            states.write_snapshot(folder, number, {"settings": wanted, "parts": tree})
            for _, path in list(states.snapshots(folder))[_KEPT:]:
                path.unlink(missing_ok=True)

        last, wait = time.monotonic(), 0.0
        steps = run.steps()
        if not number:  # what a run has begun it goes on with
            save()
        unsaved = True
        try:
            for step in steps:
                unsaved = True
                yield replace(step, events=(*told, *step.events)) if told else step
                told = ()
                if (begun := time.monotonic()) - last >= wait:
                    save()
                    unsaved = False
                    last = time.monotonic()
                    wait = max(every, _APART * (last - begun)) if every else 0.0
        except (GeneratorExit, RetainError):
            # The consumer stops early, or the source fails: what was learnt until there is kept. After any other error,
            # and where the run stands in the middle of a step, the last snapshot stays the last.
            if unsaved and run.whole:
                save()
            raise
        if unsaved:
            save()
        # Labels that land after the end belong to the report, not to the state: the source may yet grow.
        yield from run.finish()


def _restore(
    folder: Path, parts: Mapping[str, Stateful], settings: State, *, resume: bool | None
) -> tuple[int, tuple[str, ...]]:
    """Load the newest good snapshot; return its number and what to tell of the damaged ones."""
    found = list(states.snapshots(folder))
    if resume is not True and not found:
        return 0, ()
    if resume is False:
        raise StateError(f"{folder} already holds the state of a run; pass --resume to go on, or choose another folder")
    if not found:
        raise StateError(f"{folder} holds no state to resume from; run without --resume first, or check the folder")
    told: list[str] = []
    for number, path in found:
        try:
            snapshot = states.read_snapshot(path)
        except StateError as error:
            told.append(f"{error}; going on from the one before")
            continue
        _check_settings(snapshot.get("settings"), settings, folder)
        for name, part in parts.items():
            part.load_state_dict(snapshot["parts"][name])
        # Numbers never repeat, or a new snapshot could sort behind a damaged one.
        return max(number, found[0][0]), tuple(told)
    raise StateError(f"{told[0].partition(';')[0]}, and no earlier one is whole; start again in another folder")


def _check_settings(saved: Any, wanted: State, folder: Path) -> None:
    if saved is None:
        raise StateError(f"{folder} was not written by this kind of run; choose another folder")
    for key in sorted({*saved, *wanted}):
        if saved.get(key) != wanted.get(key):
            raise StateError(
                f"{folder} was made with {key} = {_shown(saved.get(key))}, this run has {_shown(wanted.get(key))}; "
                "resume with the same settings, or choose another folder"
            )


def _shown(value: Any) -> str:
    return "none" if value in (None, []) else repr(value)


@contextmanager
def _owned(folder: Path) -> Generator[None]:
    """Own a folder until the end of the block; the lock goes when the process does, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise StateError(
            f"cannot use {folder} for state: {error.strerror or error}; choose a folder that can be written"
        ) from error
    with file:
        try:
            import fcntl
        except ImportError:  # Windows has no flock: one owner is then the user's care
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StateError(f"{folder} is in use by another process; stop it, or choose another folder") from error
        yield
