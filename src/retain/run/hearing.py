"""How labels find their rows: those that wait for them, and those of which silence has spoken and that listen on.

Shapes: n rows of a block, m rows whose labels land during it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, final

import numpy as np

from retain.blocks import labelled
from retain.core import Answers, Array, Batch, Ints, State
from retain.errors import SettingError
from retain.run.landing import Terms
from retain.run.waiting import MODEL, Found, Pending, Waiting, join

__all__ = ["Ears", "Heard"]

_HEAVIEST = 10.0  # how much a label counts that corrects what silence taught, at most
_NONE = np.empty(0, dtype=np.int64)


class Heard(NamedTuple):
    """What is known before the rows of a block are learnt."""

    arrived: Waiting  # the rows, with the labels that were heard
    found: Found | None  # labels of rows that wait
    again: Pending  # rows of which silence has spoken, those of this block too
    found_again: Found | None  # labels of these
    due: Waiting | None  # (m,) rows whose labels land, of which silence speaks, or that are corrected
    fixes: Ints  # which of these are corrections
    lost: int
    strays: int


@final
class Ears:
    """The rows of a lane that wait. Nothing changes by hearing; `take` makes it so, when the block has been learnt."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self.pending = Pending()
        self._again = Pending()  # rows of which silence has spoken

    def hear(self, batch: Batch, arrived: Waiting, arrival: Array) -> Heard:
        """Labels find their rows, and silence speaks of those that nobody has reported in time."""
        until = arrival[-1] if len(arrival) else -np.inf
        again, found, found_again, lost, strays = self._again, None, None, 0, 0
        own, fixes, answers = _NONE, None, batch.answers
        if answers is not None:
            if len(answers) and not answers.time.max() < until:
                raise SettingError(
                    f"a label heard at {answers.time.max()} comes with rows of which the last arrives at {until}; "
                    "expected labels that were heard before: give it with the rows that follow"
                )
            arrived, own = arrived.hear(answers, arrival)
            found = self.pending.find(answers)
            given_up = ~labelled(arrived.y, len(arrived)) & (arrived.landing <= until)
            arrived = replace(arrived, landing=np.where(given_up, np.inf, arrived.landing))
        due = self.pending.due(until, found)
        if self._terms.silence is None:
            due, lost = _reported(due)
        else:
            code = self._terms.silence.code(batch)
            if answers is not None:
                again = again.plus(None if due is None else self._longer(_mute(due, again.rows())))
                found_again = again.find(answers)
            fixes = _fixes(again.due(until, found_again), code)
            due = None if due is None else replace(due, y=np.where(labelled(due.y, len(due)), due.y, code))
        if answers is not None:
            places = [own, *(one.all for one in (found, found_again) if one is not None)]
            strays = len(answers) - len(np.unique(np.concatenate(places)))
        both, which = _both(due, fixes)
        return Heard(arrived, found, again, found_again, both, which, lost, strays)

    def take(self, heard: Heard, until: float, waits: Waiting, *, late: Waiting | None) -> None:
        """The block has been learnt: `waits` of its rows wait, and of the `late` it is known what will be said."""
        self.pending.drop(until, heard.found)
        self._again = heard.again.plus(None)
        self._again.drop(until, heard.found_again)
        self.pending.add(waits)
        if late is not None:
            self._again.add(late)

    def last(self, rest: Answers | None) -> tuple[Waiting | None, int, int]:
        """Rows whose labels are known by the end, how many others wait, and how many labels of `rest` are of nobody."""
        waiting, strays = self.pending.due(np.inf), 0
        if rest is not None:
            # What comes after silence would speak is told of no row now: it will be when there are more.
            later = _NONE if waiting is None else self._longer(waiting).hear(rest)[1]
            strays = len(rest) - len(np.union1d(later, self._again.find(rest).all))
            waiting = None if waiting is None else waiting.hear(rest)[0]
        return *_reported(waiting), strays

    @property
    def listening(self) -> Ints:
        """Numbers of the rows of which silence has spoken, and that listen on."""
        return self._again.rows()

    def listen(self, rows: Waiting, /) -> None:
        """Some more rows listen on."""
        self._again.add(rows)

    def inherit(self, other: Ears, before: int, /) -> None:
        """Listen on for the rows below a number that another listens for."""
        rows = other._again.due(np.inf)
        if rows is not None:
            self._again.add(rows.take(np.flatnonzero(rows.row < before)))

    def bare(self) -> None:
        """Nothing is kept of the rows for a learner any longer."""
        self.pending, self._again = self.pending.bare(), self._again.bare()

    def state_dict(self) -> State:
        return {"pending": self.pending.state_dict(), "again": self._again.state_dict()}

    def load_state_dict(self, state: State, /) -> None:
        self.pending.load_state_dict(state["pending"])
        self._again.load_state_dict(state["again"])

    def _longer(self, rows: Waiting) -> Waiting:
        """Rows of which silence speaks listen longer than those that it does not speak of."""
        silence = self._terms.silence
        if silence is None:
            return rows
        more = self._terms.until - silence.after
        return replace(rows, landing=np.where(labelled(rows.y, len(rows)), rows.landing, rows.landing + more))


def _mute(rows: Waiting, but: Ints) -> Waiting:
    """Those whose labels have not been heard, but some."""
    return rows.take(np.flatnonzero(~labelled(rows.y, len(rows)) & ~np.isin(rows.row, but)))


def _reported(due: Waiting | None) -> tuple[Waiting | None, int]:
    """Those whose labels have been heard, and how many have not."""
    if due is None:
        return None, 0
    known = labelled(due.y, len(due))
    if known.all():
        return due, 0
    return (due.take(np.flatnonzero(known)) if known.any() else None), int((~known).sum())


def _fixes(due: Waiting | None, code: int) -> Waiting | None:
    """Rows that were learnt as a class and turn out to be of another, weighed so that both together are the truth."""
    wrong = _NONE if due is None else np.flatnonzero(labelled(due.y, len(due)) & (due.y != code))
    if due is None or not len(wrong):
        return None
    due = due.take(wrong)
    said = due.prediction[MODEL]
    # Who knew of no class when the row arrived has said nothing of this one: what silence taught then counts once.
    p = np.where(said.any(axis=1), said[:, code], 1.0) if code < said.shape[1] else np.ones(len(due))
    return replace(due, kept=due.kept.weighed(1 / np.clip(p, 1 / _HEAVIEST, 1)))


def _both(due: Waiting | None, fixes: Waiting | None) -> tuple[Waiting | None, Ints]:
    """All of them, and which are corrections."""
    if fixes is None:
        return due, _NONE
    if due is None:
        return fixes, np.arange(len(fixes))
    both = join([replace(due, kept=due.kept.weighed(np.ones(len(due)))), fixes])
    return both, np.arange(len(due), len(both))
