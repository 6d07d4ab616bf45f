"""`retain replay`: rows in quarantine that were mended, as a file that the run goes on with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from retain.cli.source import Source, format_of, open_rows
from retain.errors import SettingError
from retain.streams import files, replay
from retain.streams.replay import Replayed
from retain.streams.tabular import Tabular

__all__ = ["replay_rows"]

_SHOWN = 10  # reasons


def replay_rows(quarantine: Path, source: Source, /, *, into: Path | None, as_json: bool) -> None:
    """Replay a quarantine file and tell what came of it."""
    stream = open_rows(source)
    if not isinstance(stream, Tabular):
        raise SettingError(f"{source.name} comes with retain and is never bad; expected the files that a run was given")
    into = _beside(source) if into is None else into
    _check_format(into, source)
    done = replay(quarantine, stream, into=into)
    if as_json:
        told = {"mended": done.mended, "bad": sum(done.bad.values()), "reasons": done.bad, "finished": done.finished}
        sys.stdout.write(json.dumps({**told, "into": None if done.into is None else str(done.into)}) + "\n")
    else:
        sys.stdout.write("\n".join(_told(done, quarantine, source)) + "\n")


def _told(done: Replayed, quarantine: Path, source: Source) -> list[str]:
    bad = sum(done.bad.values())
    lines = ["finished the replay that was killed; what was mended since is for the next"] if done.finished else []
    lines.append(f"mended {done.mended:,} of {done.mended + bad:,} rows" + (f", into {done.into}" if done.into else ""))
    if bad:
        lines.append(f"still bad: {bad:,}, in {quarantine}; mend their texts there, or give other options")
    reasons = sorted(done.bad.items(), key=lambda item: -item[1])
    lines += [f"{count:>8,}  {reason}" for reason, count in reasons[:_SHOWN]]
    if len(reasons) > _SHOWN:
        lines.append(f"          and {len(reasons) - _SHOWN:,} reasons more")
    if done.into:
        found = done.into in (Path(name).absolute() for name in files.resolve(source.name))
        what = "" if found else f" and a glob in quotes for its source, in which {done.into.name} is last"
        lines.append(f"to learn them, give the same `retain run` with --resume{what}")
    return lines


def _beside(source: Source) -> Path:
    """A name that sorts behind the last file of the source: '_' comes after the dot of an extension."""
    last = Path(files.resolve(source.name)[-1])
    if last.name == files.STDIN:
        raise SettingError("standard input has no folder to put mended rows into; name a file with -o")
    stem, *endings = last.name.split(".")
    kept = [ending for ending in endings if ending not in ("gz", "zst")]
    return last.with_name(".".join([f"{stem}_mended", *kept]))


def _check_format(into: Path, source: Source) -> None:
    wanted = source.format or format_of(source.name)
    if source.format is None and format_of(into.name) != wanted:
        raise SettingError(f"-o {into} is not named as {wanted}, which {source.name} is; give it that extension")
