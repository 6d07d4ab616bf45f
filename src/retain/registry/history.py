"""What a log says: a fold over its entries, which goes on from where it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from retain.registry.journal import Entry

__all__ = ["CANDIDATE", "CHAMPION", "PREVIOUS", "History"]

CHAMPION, CANDIDATE, PREVIOUS = "champion", "candidate", "previous"


@final
class History:
    """Versions, aliases and the owner, as the entries so far say."""

    def __init__(self) -> None:
        self.pushed: dict[str, Entry] = {}  # by version, the first entry that brought it
        self.gone: set[str] = set()  # versions whose files were deleted
        self.moves: dict[str, list[str]] = {}  # by alias, all versions it has pointed to
        self.trails: dict[str, list[str]] = {}
        """By alias, the versions that led to where it is now: one that was returned to ends what came after it."""
        self.previous: str | None = None
        self.owner = 0  # number of the entry that made it so
        self._at: dict[str, dict[str, int]] = {}  # by alias, where in its trail each version is
        self._count = 0

    def follow(self, entries: Sequence[Entry], /) -> History:
        """Take in what has been added."""
        for entry in entries[self._count :]:
            about = entry.about
            match entry.what:
                case "push":
                    self.pushed.setdefault(about["version"], entry)
                    self.gone.discard(about["version"])
                case "retire":
                    self.gone.update(about["versions"])
                case "point":
                    moves = self.moves.setdefault(about["alias"], [])
                    if about["alias"] == CHAMPION and moves:
                        self.previous = moves[-1]
                    moves.append(about["version"])
                    self._walk(about["alias"], about["version"])
                case "own":
                    self.owner = entry.number
                case _:  # a newer retain writes of more: that is history too
                    pass
        self._count = len(entries)
        return self

    def keeps(self, version: str, /) -> bool:
        """Whether a version was pushed and not deleted since."""
        return version in self.pushed and version not in self.gone

    @property
    def aliases(self) -> dict[str, str]:
        """Which version each alias points to."""
        found = {alias: moves[-1] for alias, moves in self.moves.items()}
        return found if self.previous is None else found | {PREVIOUS: self.previous}

    def _walk(self, alias: str, version: str) -> None:
        trail, at = self.trails.setdefault(alias, []), self._at.setdefault(alias, {})
        if version in at:
            for name in trail[at[version] + 1 :]:
                del at[name]
            del trail[at[version] + 1 :]
        else:
            at[version] = len(trail)
            trail.append(version)
