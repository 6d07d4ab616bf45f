"""Rows in quarantine, mended and replayed: none is lost, none is there twice, wherever a replay or a run is killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.run.victim import KILLING

from retain import streams
from retain.core import Kind
from retain.errors import SettingError, SourceError, StateError
from retain.streams.quarantine import Mark, owned

GOOD = [f"{i},{'ab'[i % 2]},{i % 2}" for i in range(50)]
BAD = {10: "x1,a,1", 20: "1,2", 30: '5,"open,1', 40: "x2,b,0"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [*GOOD]
    for at, row in BAD.items():
        rows[at] = row
    (tmp_path / "1.csv").write_text("\n".join(["v,c,y", *rows]) + "\n")
    return tmp_path


def source(folder, name="*.csv", **options):
    bad = streams.Quarantine(folder / "bad.jsonl")
    return streams.csv(folder / name, target="y", block=4, on_bad_rows=bad, **options)


def run(folder, position=None):
    """Read to the end; the rows, and the positions."""
    found = list(source(folder).read(position))
    return [row["v"] for batch, _ in found for row in batch.x.to_pylist()], [after for _, after in found]


def kept(folder):
    return [json.loads(line) for line in (folder / "bad.jsonl").read_text().splitlines()]


def mend(folder, texts):
    """As somebody with an editor does."""
    entries = [{**entry, "text": texts.get(entry["text"], entry["text"])} for entry in kept(folder)]
    (folder / "bad.jsonl").write_text("\n".join(map(json.dumps, entries)))  # and without the last newline


def test_mended_rows_leave_and_are_learnt_by_the_run_that_goes_on(folder):
    rows, positions = run(folder)
    assert len(rows) == 46
    mend(folder, {"x1,a,1": "100,a,1", '5,"open,1': '300,"o\npen",1', "x2,b,0": "still,b,0"})
    done = streams.replay(folder / "bad.jsonl", source(folder), into=folder / "2.csv")
    assert done.mended == 2
    assert sorted(done.bad.values()) == [1, 1]
    assert (folder / "2.csv").read_text() == 'v,c,y\n100,a,1\n300,"o\npen",1\n'
    assert [entry["text"] for entry in kept(folder)] == ["1,2", "still,b,0"]
    assert kept(folder)[1]["reason"] == "column 'v' holds 'still'; expected a number"

    more, after = run(folder, positions[-1])
    assert more == [100.0, 300.0]
    assert (after[-1]["rows"], after[-1]["quarantined"]) == (48, 4)  # read: 50, and two once more
    assert len(kept(folder)) == 2

    (folder / "3.csv").write_text("v,c,y\nnew,a,1\n7,a,1\n")
    run(folder, after[-1])
    assert [entry["number"] for entry in kept(folder)] == [2, 4, 5]
    mend(folder, {"1,2": "200,a,1", "new,a,1": "700,a,1"})
    assert streams.replay(folder / "bad.jsonl", source(folder), into=folder / "4.csv").mended == 2
    assert [entry["number"] for entry in kept(folder)] == [4]


def test_what_a_killed_run_had_noted_ahead_of_its_state_is_not_noted_again(folder):
    _, positions = run(folder)
    mend(folder, {"x1,a,1": "100,a,1", "x2,b,0": "400,b,0"})
    streams.replay(folder / "bad.jsonl", source(folder), into=folder / "2.csv")
    left = (folder / "bad.jsonl").read_text()
    for position in positions:  # the newest snapshot of a run that was killed may be any of these
        rows, after = run(folder, position)
        assert rows[-2:] == [100.0, 400.0]
        assert position["rows"] + len(rows) == 48
        assert after[-1]["quarantined"] == 4
        assert (folder / "bad.jsonl").read_text() == left


def test_edited_and_not_replayed_it_is_cut_back_by_rows_not_by_bytes(folder):
    _, positions = run(folder)
    mend(folder, {"x1,a,1": "a much longer text,a,1"})
    run(folder, positions[-1])
    assert [entry["text"] for entry in kept(folder)] == ["a much longer text,a,1", *list(BAD.values())[1:]]


def test_missing_values_are_left_out_so_that_the_old_options_read_them(folder):
    (folder / "1.csv").write_text("v,c,y\n" + "\n".join([*GOOD, "broken,b,1", '"broken","a,b",0']) + "\n")
    _, positions = run(folder)
    done = streams.replay(folder / "bad.jsonl", source(folder, missing=["broken"]), into=folder / "2.csv")
    assert (done.mended, done.bad) == (2, {})
    assert (folder / "2.csv").read_text() == 'v,c,y\n,b,1\n,"a,b",0\n'
    assert run(folder, positions[-1])[0] == [None, None]


def test_rows_of_files_with_another_order_of_columns(folder):
    (folder / "2.csv").write_text("y,c,v\n1,a,x3\n0,b,4\n")
    run(folder)
    mend(folder, {"1,a,x3": "1,a,500"})
    streams.replay(folder / "bad.jsonl", source(folder), into=folder / "3.csv")
    assert (folder / "3.csv").read_text() == "v,c,y\n500,a,1\n"


def test_a_text_is_one_row_and_bytes_are_no_text(folder):
    (folder / "1.csv").write_bytes(b"v,c,y\n" + "\n".join(GOOD).encode() + b"\n1,caf\xe9,1\nx,a,1\ny,a,1\nz,a,1\n")
    run(folder)
    mend(folder, {"x,a,1": "1,a,1\n2,b,0", "y,a,1": "\n", "z,a,1": '"1,a,1'})
    done = streams.replay(folder / "bad.jsonl", source(folder), into=folder / "2.csv")
    assert done.mended == 0
    assert not (folder / "2.csv").exists()
    reasons = " | ".join(done.bad)
    for part in ("not UTF-8", "holds 2 rows", "holds no rows", "a quote opens and never closes"):
        assert part in reasons
    mend(folder, {"1,caf\\xe9,1": "1,café,1"})
    assert streams.replay(folder / "bad.jsonl", source(folder), into=folder / "2.csv").mended == 1
    assert (folder / "2.csv").read_text() == "v,c,y\n1,café,1\n"


def test_json_lines(tmp_path):
    lines = [json.dumps({"v": i, "y": i % 2}) for i in range(30)]
    (tmp_path / "1.jsonl").write_text("\n".join([*lines, '{"v": "x", "y": 1}', '{"v": 1', "[1]"]) + "\n")
    bad = tmp_path / "bad"
    source = streams.jsonl(tmp_path / "*.jsonl", target="y", on_bad_rows=streams.Quarantine(bad))
    assert sum(map(len, source)) == 30
    bad.write_text(bad.read_text().replace('{\\"v\\": \\"x\\"', '{\\"v\\": 7').replace("[1]", "{}\\n{}"))
    done = streams.replay(bad, source, into=tmp_path / "2.jsonl")
    assert (tmp_path / "2.jsonl").read_text() == '{"v": 7, "y": 1}\n'
    said = ["the line is no JSON object", "the text is not one line; expected one JSON object"]
    assert (done.mended, sorted(done.bad)) == (1, said)


def test_rows_by_hand_without_numbers(folder):
    (folder / "bad.jsonl").write_text('{"reason": "?", "file": "elsewhere.csv", "line": 3, "text": "7,a,1"}\n')
    assert streams.replay(folder / "bad.jsonl", source(folder), into=folder / "2.csv").mended == 1
    assert (folder / "bad.jsonl").read_text() == ""


def test_what_cannot_be_replayed_is_told_and_nothing_changes(folder):
    run(folder)
    bad, before = folder / "bad.jsonl", (folder / "bad.jsonl").read_bytes()
    with pytest.raises(SourceError, match="there is no quarantine file"):
        streams.replay(folder / "none", source(folder), into=folder / "2.csv")
    with pytest.raises(SettingError, match="is not one"):
        streams.replay(folder / "1.csv", source(folder), into=folder / "2.csv")
    with pytest.raises(SettingError, match=r"1\.csv is there already"):
        streams.replay(bad, source(folder), into=folder / "1.csv")
    with pytest.raises(SettingError, match="the table holds no rows of text"):
        streams.replay(bad, streams.table({"v": [1.0, 2.0], "y": [0, 1]}, target="y"), into=folder / "2.csv")
    with pytest.raises(SourceError, match="cannot replay"):
        streams.replay(bad, source(folder), into=folder / "no" / "2.csv")
    assert bad.read_bytes() == before
    bad.write_bytes(before + b'{"reason": "torn')
    with pytest.raises(SourceError, match=r"bad\.jsonl, line 5: this is no row in quarantine"):
        streams.replay(bad, source(folder), into=folder / "2.csv")
    assert sorted(path.name for path in folder.iterdir()) == ["1.csv", "bad.jsonl"]


def test_a_broken_or_shortened_file_is_not_gone_on_with(folder):
    _, positions = run(folder)
    lines = (folder / "bad.jsonl").read_text().splitlines(keepends=True)
    for wrong, says in (("".join(lines[:2]), "holds 2 of the 4 rows"), ("".join(["oops\n", *lines]), "line 1")):
        (folder / "bad.jsonl").write_text(wrong)
        with pytest.raises(SourceError, match=says):
            run(folder, positions[-1])
        assert (folder / "bad.jsonl").read_text() == wrong


def test_a_run_and_a_replay_keep_out_of_each_others_way(folder):
    reading = source(folder).read()
    next(reading)
    with pytest.raises(SourceError, match="in use"):
        streams.replay(folder / "bad.jsonl", source(folder), into=folder / "2.csv")
    reading.close()
    with owned(folder / "bad.jsonl", alone=True), pytest.raises(SourceError, match="in use"):
        next(source(folder).read())


KILLED = (
    KILLING
    + """
seam, left, folder = sys.argv[1], [int(sys.argv[2])], pathlib.Path(sys.argv[3])
from retain import streams
source = streams.csv(folder / "1.csv", target="y")
where, _, when = seam.partition(" ")
if where == "fsync":
    os.fsync = killing(os.fsync, left, before=when == "before")
else:
    pathlib.Path.replace = killing(pathlib.Path.replace, left, before=when == "before")
streams.replay(folder / "bad.jsonl", source, into=folder / "2.csv")
"""
)


@pytest.mark.parametrize("seam", ["fsync before", "replace before", "replace after"])
def test_killed_at_a_seam_and_called_again(seam, folder):
    _, positions = run(folder)
    mend(folder, {"x1,a,1": "100,a,1", "x2,b,0": "400,b,0"})
    for count in range(1, 12):
        shutil.rmtree(folder / "try", ignore_errors=True)
        shutil.copytree(folder, folder / "try")
        here = folder / "try"
        done = subprocess.run([sys.executable, "-c", KILLED, seam, str(count), str(here)], check=False)
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0
            break
        mark = Mark.of(here / "bad.jsonl")
        if mark is not None and not mark.done:
            with pytest.raises(SourceError, match=r"a replay .* was killed"):
                next(source(here).read(positions[-1]))
            # whatever is given now, what was begun is finished
            assert streams.replay(here / "bad.jsonl", source(here, "1.csv"), into=here / "9.csv").finished
        elif mark is None:
            assert not streams.replay(here / "bad.jsonl", source(here, "1.csv"), into=here / "2.csv").finished
        assert (here / "2.csv").read_text() == "v,c,y\n100,a,1\n400,b,0\n"
        assert [entry["text"] for entry in kept(here)] == ["1,2", '5,"open,1']
        assert sorted(p.name for p in here.iterdir() if not p.name.startswith(".")) == [
            "1.csv",
            "2.csv",
            "bad.jsonl",
            "bad.jsonl.replayed",
        ]
    assert count > 3


def test_a_stranger_where_a_killed_replay_was_about_to_write(folder):
    run(folder)
    Mark(4, 2, {}, str(folder / "2.csv"), done=False).write(folder / "bad.jsonl")
    with pytest.raises(StateError, match="put it back"):
        streams.replay(folder / "bad.jsonl", source(folder), into=folder / "2.csv")
    (folder / ".2.csv.part").write_text("v,c,y\n1,a,1\n")
    (folder / "2.csv").write_text("mine")
    with pytest.raises(StateError, match="move the second away"):
        streams.replay(folder / "bad.jsonl", source(folder), into=folder / "2.csv")
    assert (folder / "2.csv").read_text() == "mine"
    (folder / "2.csv").unlink()
    assert streams.replay(folder / "bad.jsonl", source(folder, "1.csv"), into=folder / "2.csv").finished


def test_kinds_said_are_kinds_kept(folder):
    run(folder)
    wider = source(folder, kinds={"v": Kind.CATEGORICAL})
    done = streams.replay(folder / "bad.jsonl", wider, into=folder / "2.csv")
    assert done.mended == 2
