"""A registry of files: what it keeps, how aliases move, and that no damage goes unseen."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retain.core import Registry
from retain.errors import SettingError, StateError
from retain.registry import CHAMPION, PREVIOUS, FileRegistry
from retain.state import equal


def weights(value: float) -> dict[str, Any]:
    return {"w": np.full(3, value), "rows": int(value)}


def filled(folder: Path, count: int = 3) -> FileRegistry:
    """Versions 0, 1, ... each the child of the one before and the champion in its turn."""
    registry = FileRegistry(folder, who="anna")
    parent = None
    for i in range(count):
        version = registry.push(weights(i), parent=parent, report={"auc": 0.7 + i / 100}, why=f"day {i}")
        registry.point(CHAMPION, version.name, why=f"better by {i}")
        parent = version.name
    return registry


def test_it_is_the_registry_that_core_speaks_of(tmp_path: Path) -> None:
    registry: Registry = FileRegistry(tmp_path)
    assert registry.push(weights(1), parent=None, report={}).parent is None


def test_what_was_pushed_is_pulled_by_name_by_its_beginning_and_by_alias(tmp_path: Path) -> None:
    registry = filled(tmp_path)
    first, *_, last = registry.versions()
    for ref, value in ((first.name, 0), (first.name[:6], 0), (CHAMPION, 2), (PREVIOUS, 1)):
        assert equal(dict(FileRegistry(tmp_path).pull(ref)), weights(value))
    assert registry.version(CHAMPION).parent == registry.version(PREVIOUS).name
    assert (last.who, last.why, last.report, last.aliases) == ("anna", "day 2", {"auc": 0.72}, (CHAMPION,))


def test_the_same_again_is_the_same_version_and_another_parent_is_not(tmp_path: Path) -> None:
    registry = filled(tmp_path, 1)
    name = registry.name(CHAMPION)
    assert registry.push(weights(0), parent=None, report={"auc": 0.7}).name == name
    assert len(registry.versions()) == 1
    assert registry.push(weights(0), parent=name, report={"auc": 0.7}).name != name


def test_rolling_back_again_goes_further_back_and_forward_is_another_promotion(tmp_path: Path) -> None:
    registry = filled(tmp_path)
    names = [one.name for one in registry.versions()]
    assert registry.rollback(why="complaints").name == names[1]
    assert registry.aliases() == {CHAMPION: names[1], PREVIOUS: names[2]}
    assert registry.rollback().name == names[0]
    with pytest.raises(StateError, match="nothing to return to"):
        registry.rollback()
    registry.point(CHAMPION, names[2])
    assert registry.rollback().name == names[0]
    assert [entry.about.get("why") for entry in registry.log()][-4:] == ["complaints", "", "", ""]


def test_what_an_alias_points_to_is_never_retired_nor_what_that_was_made_of(tmp_path: Path) -> None:
    registry = filled(tmp_path, 6)
    names = [one.name for one in registry.versions()]
    registry.point("canary", names[0])
    assert registry.retire(keep=1) == tuple(names[1:3])
    assert [one.kept for one in registry.versions()] == [True, False, False, True, True, True]
    assert registry.verify() == []
    with pytest.raises(StateError, match="is gone"):
        registry.pull(names[1])
    registry.push(weights(1), parent=names[0], report={"auc": 0.71})  # what was retired may come again
    assert equal(dict(registry.pull(names[1])), weights(1))
    assert registry.verify() == []


def test_a_version_travels_as_one_file(tmp_path: Path) -> None:
    registry, other = filled(tmp_path / "a"), FileRegistry(tmp_path / "b", who="ben")
    registry.export(CHAMPION, tmp_path / "model.safetensors")
    version = other.take(tmp_path / "model.safetensors", why="from a")
    assert version == registry.version(CHAMPION)
    assert equal(dict(other.pull(version.name)), weights(2))
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    with pytest.raises(StateError, match="not a state"):
        other.take(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda r: r.pull("champion"), StateError, "no aliases yet"),
        (lambda r: r.pull("abc"), StateError, "no version 'abc'"),
        (lambda r: r.point("champion", "0" * 64), StateError, "no version"),
        (lambda r: r.point("previous", "0" * 64), SettingError, "previous follows"),
        (lambda r: r.point("a b", "0" * 64), SettingError, "expected a word"),
        (lambda r: r.rollback(), StateError, "nothing to return to"),
        (lambda r: r.whole(), StateError, "is whole"),
        (lambda r: r.retire(keep=-1), SettingError, "keep=-1"),
        (lambda r: r.push({"f": print}, parent=None, report={}), StateError, "builtin"),
        (lambda r: r.push({}, parent="champion", report={}), StateError, "no version"),
        (lambda r: r.push({}, parent=None, report={"x": object()}), StateError, "object"),
        (lambda r: r.take("/nowhere/x"), StateError, "cannot read"),
    ],
)
def test_what_makes_no_sense_is_told_and_nothing_is_kept(call: Any, error: Any, says: str, tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    with pytest.raises(error, match=says):
        call(registry)
    assert registry.log() == ()
    assert registry.verify() == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="choose another folder"):
        FileRegistry(tmp_path / "file" / "registry").push({}, parent=None, report={})
    with pytest.raises(StateError, match="is a file; expected the folder"):
        FileRegistry(tmp_path / "file")


# --- damage -----------------------------------------------------------------------------------------------------------


def test_every_flipped_byte_of_every_file_is_seen(tmp_path: Path) -> None:
    registry = filled(tmp_path)
    files = [*(tmp_path / "versions").iterdir(), tmp_path / "log.jsonl", tmp_path / "head.json"]
    assert registry.verify() == []
    for path in files:
        whole = path.read_bytes()
        for i in range(len(whole)):
            path.write_bytes(whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :])
            assert FileRegistry(tmp_path).verify(), f"byte {i} of {path.name}"
        path.write_bytes(whole)
    assert FileRegistry(tmp_path).verify() == []


@pytest.mark.parametrize("field", ["number", "bytes"])
@pytest.mark.parametrize("by", [-100, -1, 1, 100])
def test_a_head_that_knows_another_length_is_seen(field: str, by: int, tmp_path: Path) -> None:
    filled(tmp_path)
    head = json.loads((tmp_path / "head.json").read_bytes())
    (tmp_path / "head.json").write_text(json.dumps({**head, field: head[field] + by}))
    assert FileRegistry(tmp_path).verify()


def test_every_truncation_of_every_file_is_seen(tmp_path: Path) -> None:
    filled(tmp_path)
    for path in [*(tmp_path / "versions").iterdir(), tmp_path / "log.jsonl", tmp_path / "head.json"]:
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            assert FileRegistry(tmp_path).verify(), f"{path.name} cut to {length} bytes"
        path.unlink()
        assert FileRegistry(tmp_path).verify(), f"no {path.name}"
        path.write_bytes(whole)


def test_lines_that_were_exchanged_or_taken_out_are_seen(tmp_path: Path) -> None:
    filled(tmp_path)
    log = tmp_path / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    for changed in ([lines[1], lines[0], *lines[2:]], [*lines[:2], *lines[3:]], [*lines, lines[-1]]):
        log.write_bytes(b"".join(changed))
        with pytest.raises(StateError, match="damaged at line"):
            FileRegistry(tmp_path).aliases()


def test_when_the_champion_is_damaged_the_good_one_before_it_is_found(tmp_path: Path) -> None:
    registry = filled(tmp_path)
    names = [one.name for one in registry.versions()]
    (tmp_path / "versions" / f"{names[2]}.safetensors").write_bytes(b"\0")
    with pytest.raises(StateError, match="damaged"):
        registry.pull(CHAMPION)
    assert registry.whole().name == names[1]
    (tmp_path / "versions" / f"{names[1]}.safetensors").unlink()
    assert registry.rollback(why="the disk").name == names[0]  # over what is damaged too
    assert equal(dict(registry.pull(CHAMPION)), weights(0))


def test_a_pickle_under_the_right_name_is_refused_and_not_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    registry = filled(tmp_path, 1)
    data = pickle.dumps(Evil())
    name = hashlib.sha256(data).hexdigest()
    (tmp_path / "versions" / f"{name}.safetensors").write_bytes(data)
    with registry._journal.turn():
        told = {"version": name, "parent": None, "report": {}, "size": len(data), "why": ""}
        registry._journal.append("push", told, who="mallory")
    with pytest.raises(StateError, match="not a state"):
        registry.pull(name)
    (tmp_path / "evil.safetensors").write_bytes(data)
    with pytest.raises(StateError, match="not a state"):
        registry.take(tmp_path / "evil.safetensors")
    assert not (tmp_path / "executed").exists()


# --- crashes and full disks -------------------------------------------------------------------------------------------


def test_a_torn_line_counts_as_never_written(tmp_path: Path) -> None:
    registry = filled(tmp_path, 2)
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'{"about":{"alias":"champ')
    again = FileRegistry(tmp_path, who="ben")
    assert again.aliases() == registry.aliases()
    again.rollback()
    assert equal(dict(registry.pull(CHAMPION)), weights(0))
    assert b"champ{" not in (tmp_path / "log.jsonl").read_bytes()
    assert FileRegistry(tmp_path).verify() == []


def test_an_entry_that_is_not_yet_named_beside_the_log_is_an_entry(tmp_path: Path) -> None:
    registry = filled(tmp_path, 2)
    head = (tmp_path / "head.json").read_bytes()
    registry.rollback()
    (tmp_path / "head.json").write_bytes(head)  # the crash came before the second write
    again = FileRegistry(tmp_path)
    assert equal(dict(again.pull(CHAMPION)), weights(0))
    again.point(CHAMPION, PREVIOUS)
    assert json.loads((tmp_path / "head.json").read_bytes())["number"] == len(again.log())
    assert FileRegistry(tmp_path).verify() == []


@pytest.mark.parametrize("error", [28, 5], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize("what", ["push", "point", "retire"])
def test_a_disk_that_fails_at_any_write_leaves_the_old_or_the_new(
    what: str, error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {
        "push": lambda r: r.push(weights(9), parent=CHAMPION, report={"auc": 0.8}),
        "point": lambda r: r.point(CHAMPION, PREVIOUS),
        "retire": lambda r: r.retire(keep=0),
    }
    whole = filled(tmp_path / "whole", 4)
    calls[what](whole)
    after = whole.versions(), whole.aliases()
    real = os.fsync
    failed = 0
    while True:
        folder = tmp_path / f"{failed}"
        registry = filled(folder, 4)
        before = registry.versions(), registry.aliases()
        left = [failed]

        def full(handle: int, left: list[int] = left) -> None:
            if left[0] == 0:
                raise OSError(error, os.strerror(error))
            left[0] -= 1
            real(handle)

        monkeypatch.setattr(os, "fsync", full)
        refused = None
        try:
            calls[what](registry)
        except StateError as told:
            refused = str(told)
        finally:
            monkeypatch.setattr(os, "fsync", real)
        if refused is None:
            assert failed >= 2
            break
        assert os.strerror(error) in refused
        again = FileRegistry(folder, who="anna")
        shape = [(one.name, one.kept, one.aliases) for one in again.versions()]
        assert shape in [[(one.name, one.kept, one.aliases) for one in part[0]] for part in (before, after)]
        calls[what](again)  # space is there again
        assert [(one.name, one.kept) for one in again.versions()] == [(one.name, one.kept) for one in after[0]]
        assert not [problem for problem in again.verify() if "no version that the log knows of" not in problem]
        failed += 1


# --- several at once --------------------------------------------------------------------------------------------------


def test_an_owner_that_slept_too_long_cannot_write(tmp_path: Path) -> None:
    first, second = filled(tmp_path, 2), FileRegistry(tmp_path, who="ben")
    assert first.own() < second.own()
    second.point(CHAMPION, second.push(weights(2), parent=CHAMPION, report={}).name)
    for call in (
        lambda: first.push(weights(7), parent=None, report={}),
        lambda: first.point(CHAMPION, PREVIOUS),
        first.rollback,
        lambda: first.retire(keep=0),
    ):
        with pytest.raises(StateError, match="another owner"):
            call()
    assert equal(dict(first.pull(CHAMPION)), weights(2))  # it may read
    FileRegistry(tmp_path, who="a human").rollback()  # and people may decide
    second.rollback()


def test_two_processes_write_in_turns(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from retain.registry import FileRegistry\n"
        "registry = FileRegistry(sys.argv[1], who=sys.argv[2])\n"
        "for i in range(30):\n"
        "    version = registry.push({'w': np.array([i, int(sys.argv[2])])}, parent=None, report={})\n"
        "    registry.point('champion', version.name)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(i)]) for i in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    registry = FileRegistry(tmp_path)
    assert registry.verify() == []
    assert len(registry.versions()) == 60
    assert sum(entry.what == "point" for entry in registry.log()) == 60


def test_a_reader_sees_the_state_before_or_after_and_no_other(tmp_path: Path) -> None:
    registry = filled(tmp_path, 2)
    names = [one.name for one in registry.versions()]
    seen: list[str] = []
    stop = threading.Event()

    def read() -> None:
        reader = FileRegistry(tmp_path)
        while not stop.is_set():
            seen.append(reader.name(CHAMPION))
            assert reader.pull(CHAMPION)["rows"] in (0, 1)

    thread = threading.Thread(target=read)
    thread.start()
    for i in range(200):
        registry.point(CHAMPION, names[i % 2])
    stop.set()
    thread.join()
    assert set(seen) <= set(names)
    assert len(seen) > 10
