"""`FileRegistry`: versions and their history in a folder of files."""

from __future__ import annotations

import getpass
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast, final

from retain.core import State, Version
from retain.errors import SettingError, StateError
from retain.registry.history import CHAMPION, PREVIOUS, History
from retain.registry.journal import Entry, Journal
from retain.state import decode, encode, write_file

__all__ = ["FileRegistry", "Listed"]

_SUFFIX = ".safetensors"
_SHORTEST = 6  # letters of a name that are enough, where they fit one version only


class Listed(NamedTuple):
    """A version as the history tells of it; its file is not looked at."""

    name: str
    parent: str | None
    time: float  # seconds since the epoch
    who: str
    why: str
    report: Mapping[str, Any]  # plain data
    size: int  # bytes
    kept: bool  # whether its file is still there, as far as the history knows
    aliases: tuple[str, ...]


@final
class FileRegistry:
    """Versions of a model in a folder: immutable, named by their content, with a history that cannot be changed unseen.

    A version is one file: state, parent and report, named by the SHA-256 of its bytes, so that a flipped byte is seen
    when it is pulled. What was done, by whom, when and why is in `log.jsonl`, each entry of which vouches for those
    before it; aliases are what the log says last. To promote and to roll back is to append one line: whoever reads sees
    the state before or the state after, and nothing else.

    `champion` is what serves, `candidate` what may, `previous` what `champion` pointed to before; any other word is an
    alias too. A version may be called by its name, by the first six letters of it or more, or by an alias.

    Args:
        folder: where it is, or is to be.
        who: does what is done through this object; the user's name if None.

    Raises:
        StateError: the folder cannot be written, or what is in it is damaged or unknown.

    >>> import tempfile, numpy as np
    >>> registry = FileRegistry(tempfile.mkdtemp(), who="anna")
    >>> first = registry.push({"w": np.zeros(3)}, parent=None, report={"auc": 0.71})
    >>> _ = registry.point("champion", first.name, why="the first")
    >>> second = registry.push({"w": np.ones(3)}, parent=first.name, report={"auc": 0.74})
    >>> _ = registry.point("champion", second.name, why="better by .03")
    >>> registry.pull("champion")["w"], registry.pull("previous")["w"]
    (array([1., 1., 1.]), array([0., 0., 0.]))
    >>> _ = registry.rollback(why="complaints")
    >>> registry.pull("champion")["w"], [entry.about.get("why") for entry in registry.log()]
    (array([0., 0., 0.]), ['', 'the first', '', 'better by .03', 'complaints'])
    """

    def __init__(self, folder: str | Path, /, *, who: str | None = None) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise StateError(
                f"{folder} is a file; expected the folder of a registry, or one that is to be: name another"
            )
        self._who = who if who is not None else _user()
        self._journal, self._history = Journal(self.folder), History()
        self._token: int | None = None

    # ------------------------------------------------------------------------------------------------------- versions

    def push(self, state: State, /, *, parent: str | None, report: Mapping[str, Any], why: str = "") -> Version:
        """Keep a state as a version that descends from `parent`; the same again is the same version."""
        if parent is not None:
            parent = self.name(parent)
        data = encode({"state": state, "parent": parent, "report": dict(report)})
        version = Version(hashlib.sha256(data).hexdigest(), parent, report)
        with self._journal.turn():
            self._own_still()
            if not (self._known.keeps(version.name) and self._path(version.name).exists()):
                self._keep(version, data, why)
        return version

    def pull(self, ref: str, /) -> State:
        """The state of a version. Raises StateError where it is unknown, gone or damaged."""
        return self._read(ref)["state"]

    def version(self, ref: str, /) -> Version:
        """Where a version comes from and how it did. Raises as `pull`."""
        record = self._read(ref)
        return Version(self.name(ref), record["parent"], record["report"])

    def whole(self, alias: str = CHAMPION, /) -> Version:
        """The newest version that an alias has pointed to and whose file is whole: what to serve after damage."""
        for name in reversed(self._known.moves.get(alias, [])):
            try:
                return self.version(name)
            except StateError:
                continue
        raise StateError(f"no version that {alias!r} has pointed to in {self.folder} is whole; restore its files")

    def versions(self) -> tuple[Listed, ...]:
        """All versions, oldest first."""
        known = self._known
        at: dict[str, list[str]] = {}
        for alias, name in sorted(known.aliases.items()):
            at.setdefault(name, []).append(alias)
        return tuple(
            Listed(
                name,
                entry.about["parent"],
                entry.time,
                entry.who,
                entry.about["why"],
                entry.about["report"],
                entry.about["size"],
                kept=name not in known.gone,
                aliases=tuple(at.get(name, ())),
            )
            for name, entry in known.pushed.items()
        )

    # -------------------------------------------------------------------------------------------------------- aliases

    def aliases(self) -> dict[str, str]:
        """Which version each alias points to."""
        return self._known.aliases

    def point(
        self,
        alias: str,
        version: str,
        /,
        *,
        why: str = "",
        decision: Mapping[str, Any] | None = None,
        seen: int | None = None,
    ) -> bool:
        """Move an alias to a version that can be pulled; to promote and to roll back are both this.

        `decision`, plain data, is what it rests on: it stands in the log, and `decided` finds it there. False, and
        nothing has moved, where somebody moved the alias without a decision after the entry `seen`.
        """
        if not alias.isidentifier() or alias == PREVIOUS:
            raise SettingError(f"{alias!r} cannot be moved; expected a word such as 'champion' (previous follows it)")
        with self._journal.turn():
            self._own_still()
            later = () if seen is None else self.since(seen)
            if any(e.what == "point" and e.about["alias"] == alias and "decision" not in e.about for e in later):
                return False
            self._read(version)  # an alias never points to what cannot be pulled
            before = self.aliases().get(alias)
            told = {"alias": alias, "version": self.name(version), "before": before, "why": why}
            if decision is not None:
                told["decision"] = _plain(decision)
            self._journal.append("point", told, who=self._who)
        return True

    def rollback(self, alias: str = CHAMPION, /, *, why: str = "") -> Version:
        """Point an alias to the whole version that it pointed to before the one it points to now; again, further back.

        Raises StateError where there is none.
        """
        for name in reversed(self._known.trails.get(alias, [])[:-1]):
            try:
                version = self.version(name)
            except StateError:
                continue
            self.point(alias, name, why=why)
            return version
        raise StateError(
            f"{alias!r} in {self.folder} has no whole version before this one; there is nothing to return to"
        )

    def name(self, ref: str, /, *, until: int | None = None) -> str:
        """The name of the version that an alias, a name, or the beginning of one means. Raises StateError if none.

        With `until`, aliases mean what they meant when the log had so many entries.
        """
        known = self._known
        aliases = (known if until is None else History().follow(self._journal.entries[:until])).aliases
        if ref in aliases:
            return aliases[ref]
        if ref in known.pushed:
            return ref
        found = [name for name in known.pushed if name.startswith(ref)]
        if len(found) == 1 and len(ref) >= _SHORTEST:
            return found[0]
        if len(found) > 1 and len(ref) >= _SHORTEST:
            raise StateError(f"{len(found)} versions in {self.folder} begin with {ref}; give more letters")
        words = ", ".join(sorted(aliases)) or "no aliases yet"
        raise StateError(f"there is no version {ref!r} in {self.folder}; expected a name or an alias ({words})")

    # -------------------------------------------------------------------------------------------------------- history

    def log(self) -> tuple[Entry, ...]:
        """All that was done, oldest first."""
        return tuple(self._journal.entries)

    def note(self, what: str, decision: Mapping[str, Any], /, *, why: str = "") -> None:
        """Put a decision that moves nothing into the log: what was refused, and on what evidence."""
        with self._journal.turn():
            self._own_still()
            self._journal.append(what, {"decision": _plain(decision), "why": why}, who=self._who)

    def since(self, number: int, /) -> tuple[Entry, ...]:
        """What was done after an entry."""
        return tuple(self._journal.entries[number:])

    def head(self) -> tuple[int, str]:
        """The number and the hash of the newest entry: kept elsewhere, they show whether the log was rewritten."""
        entries = self._journal.entries
        return (entries[-1].number, entries[-1].hash) if entries else (0, "")

    def vouch(self, number: int, digest: str, /) -> None:
        """Raise StateError where the entry of that number is not the one that `head` once told of."""
        entries = self._journal.entries
        if number and (number > len(entries) or entries[number - 1].hash != digest):
            raise StateError(
                f"the log in {self.folder} is not the one that this run wrote to: its entry {number} is gone or "
                "another; restore the folder from a copy, or begin anew with another registry"
            )

    def decided(self, decision: Mapping[str, Any], /, *, since: int) -> bool:
        """Whether the log holds this very decision after an entry: after a crash what was done is not done twice."""
        told = _plain(decision)
        return any(entry.about.get("decision") == told for entry in self.since(since))

    def own(self) -> int:
        """Become the one process that may write; whoever was before is refused from now on, even if it wakes up later.

        Returns the token, which grows with every owner. An object that never asked to own writes beside the owner: that
        is for people.
        """
        with self._journal.turn():
            self._token = self._journal.append("own", {}, who=self._who).number
        return self._token

    def verify(self) -> list[str]:
        """What is damaged, missing, or there without being known; nothing where all is well. Reads every file."""
        try:
            listed = self.versions()
        except StateError as error:
            return [str(error)]
        problems: list[str] = []
        for one in listed:
            if one.kept:
                try:
                    self._read(one.name)
                except StateError as error:
                    problems.append(str(error))
        known = {one.name for one in listed if one.kept}
        strangers = sorted(p.name for p in self._versions().glob(f"*{_SUFFIX}") if p.stem not in known)
        return problems + [f"{name} is no version that the log knows of; it may be deleted" for name in strangers]

    def retire(self, *, keep: int, since: int | None = None) -> tuple[str, ...]:
        """Delete the files of all but the newest `keep` versions and those with an alias; return their names.

        What a version with an alias descends from directly is spared, too: it is the way back of what was made of it.
        With `since`, a number of entries, also of all but those that had an alias or came when the log was longer.
        """
        if keep < 0:
            raise SettingError(f"keep={keep}; expected a number >= 0")
        with self._journal.turn():
            self._own_still()
            kept = [one for one in self.versions() if one.kept]
            old = kept[: max(len(kept) - keep, 0)]
            spared = {one.parent for one in kept if one.aliases}
            if since is not None:
                entries = self._journal.entries
                spared |= {*History().follow(entries[:since]).aliases.values()}
                spared |= {entry.about["version"] for entry in entries[since:] if "version" in entry.about}
            names = tuple(one.name for one in old if not one.aliases and one.name not in spared)
            if names:
                # The history first: a file without an entry is a stranger, an entry without its file would be damage.
                self._journal.append("retire", {"versions": list(names)}, who=self._who)
            for name in names:
                self._path(name).unlink(missing_ok=True)
        return names

    def export(self, ref: str, path: str | Path, /) -> None:
        """Copy a version into one file, which `take` of another registry reads."""
        self._read(ref)
        try:
            write_file(Path(path), self._path(self.name(ref)).read_bytes())
        except OSError as error:
            raise StateError(f"cannot write {path}: {error.strerror or error}") from error

    def take(self, path: str | Path, /, *, why: str = "") -> Version:
        """Take in a version that another registry exported; its parent may be unknown here."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise StateError(f"cannot read {path}: {error.strerror or error}") from error
        record = decode(data)
        if record.keys() != {"state", "parent", "report"}:
            raise StateError(f"{path} holds no version; expected a file that `export` wrote")
        version = Version(hashlib.sha256(data).hexdigest(), record["parent"], record["report"])
        with self._journal.turn():
            self._own_still()
            self._keep(version, data, why)
        return version

    # ---------------------------------------------------------------------------------------------------------- files

    @property
    def _known(self) -> History:
        return self._history.follow(self._journal.entries)

    def _keep(self, version: Version, data: bytes, why: str) -> None:
        """The file first: an entry whose file is not there yet would be damage."""
        self._write(self._path(version.name), data)
        told = {"version": version.name, "parent": version.parent, "report": _plain(version.report)}
        self._journal.append("push", {**told, "size": len(data), "why": why}, who=self._who)

    def _versions(self) -> Path:
        return self.folder / "versions"

    def _path(self, name: str) -> Path:
        return self._versions() / f"{name}{_SUFFIX}"

    def _read(self, ref: str) -> dict[str, Any]:
        name = self.name(ref)
        path = self._path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise StateError(f"the file of version {name[:12]} is gone from {path.parent}; restore it") from error
        except OSError as error:
            raise StateError(f"cannot read {path}: {error.strerror or error}") from error
        if hashlib.sha256(data).hexdigest() != name:
            raise StateError(
                f"the version {name[:12]} is damaged: {path} does not hold what it is named by; restore it"
            )
        return decode(data)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            write_file(path, data)
        except OSError as error:
            raise StateError(
                f"cannot write to {path.parent}: {error.strerror or error}; free some space or choose another folder"
            ) from error

    def _own_still(self) -> None:
        """Refuse to write for an owner who has been followed by another."""
        if self._token is None:
            return
        newest = self._known.owner
        if newest != self._token:
            raise StateError(
                f"{self.folder} has another owner since (entry {newest} of its log, ours is {self._token}); this "
                "process was too long away: stop it"
            )


def _plain(value: Any) -> Any:
    """As JSON has it: numbers of NumPy as Python's, what is not finite as null, arrays as lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("list[Any]", value)]
    if callable(getattr(value, "tolist", None)):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise StateError(f"a report holds {value!r}; expected numbers, strings, lists and mappings")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user
        return "unknown"
