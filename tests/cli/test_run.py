"""`retain run` as typed: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from retain.cli import main
from retain.cli.signals import interruptible
from retain.errors import SettingError

RNG = np.random.default_rng(0)
ROWS = [
    f"{x:.3f},{c},{int(x + (c == 'a') > 0)}"
    for x, c in zip(RNG.normal(size=2000), RNG.choice(list("abc"), 2000), strict=True)
]
GOOD = "\n".join(["x,c,y", *ROWS]) + "\n"


def numbered(cell: str, at: int = 30) -> str:
    return "x,c,y\n" + "".join(f"{cell if i == at else i},a,{i % 2}\n" for i in range(60))


# name: content, arguments, and what the one line must say: where, what, and how to cure it
BAD: dict[str, tuple[str | bytes, list[str], list[str]]] = {
    "empty": ("", [], ["is empty", "expected"]),
    "header only": ("x,c,y\n", [], ["no rows", "expected"]),
    "ragged": (GOOD + "1,2\n", [], ["line 2002", "2 fields", "expected 3", "skip"]),
    "wrong delimiter": (GOOD.replace(",", ";"), [], ["';'", "say --delimiter ';'"]),
    "target missing": (GOOD, ["--target", "z"], ["'z'", "x, c, y"]),
    "a target of times": (
        "x,y\n" + "".join(f"{i},2024-01-{i:02}\n" for i in range(1, 31)),
        [],
        ["holds times such as '2024-01-01'", "choose another --target", "--task classification"],
    ),
    "a target of ids": (
        "x,y\n" + "".join(f"{i},order-{i}\n" for i in range(5000)),
        [],
        ["'y'", "5,000 values in 5,000 rows", "is it an id", "choose another --target", "--task classification"],
    ),
    "one class": ("x,c,y\n" + "1,a,0\n" * 50, [], ["one class '0'", "expected at least two", "--target"]),
    "column without values": (
        "x,c,q,y\n" + "".join(f"{i},a,,{i % 2}\n" for i in range(50)),
        [],
        ["'q'", "no value", "--ignore 'q'", "--kind q=numeric"],
    ),
    "infinite": (numbered("inf"), [], ["line 32", "'x'", "inf", "expected a finite number"]),
    "huge": (numbered("1e300"), [], ["line 32", "'x'", "1e+300", "expected a finite number"]),
    "text where numbers were": (
        GOOD + "hello,a,1\n",
        [],
        ["line 2002", "'x'", "'hello'", "a number", "--kind x=categorical"],
    ),
    "truncated gzip": (gzip.compress(GOOD.encode())[:-300], [], ["cut off", "copy"]),
    "binary": (bytes(range(256)) * 20, [], ["binary", "expected"]),
    "ignored by no name": (GOOD, ["--ignore", "cc"], ["'cc'", "did you mean 'c'", "x, c, y"]),
    "other kind": (GOOD, ["--kind", "x=foo"], ["x=foo", "expected"]),
    "unknown learner": (GOOD, ["--learner", "lineer"], ["'lineer'", "did you mean 'linear'"]),
    "unknown metric": (GOOD, ["--metric", "auk"], ["'auk'", "did you mean 'auc'"]),
    "resume without state": (GOOD, ["--resume"], ["--state"]),
    "state that cannot be": (GOOD, ["--state", "/proc/none"], ["/proc/none", "choose"]),
    "report that cannot be": (GOOD, ["--report", "/proc/none/r.html"], ["/proc/none"]),
    "metric by its beginning": (GOOD, ["--metric", "acc"], ["did you mean 'accuracy'"]),
    "metric of numbers": (GOOD, ["--metric", "rmse"], ["--metric rmse is for numbers", "'y' holds classes", "auc"]),
    "metric of classes": (
        GOOD.replace(",y", ",z").replace("x,", "y,"),
        ["--metric", "auc"],
        ["--metric auc is for classes", "there are mae, rmse, r2"],
    ),
    "delay that is none": (GOOD, ["--delay", "3days"], ["'3days'", "--delay in", "500", "90s", "3d"]),
    "delay below nothing": (GOOD, ["--delay", "-5"], ["'-5'", "--delay in", "500", "90s", "3d"]),
    "delay without time": (GOOD, ["--delay", "3d"], ["no time", "--time"]),
    "other task": (GOOD, ["--task", "classify"], ["--task classify; expected 'classification' or 'regression'"]),
    "share that is none": (
        GOOD,
        ["--on-bad-rows", "skip", "--bad-at-most", "5"],
        ["--bad-at-most 5.0; expected a share of at least 0 and below 1"],
    ),
    "unknown option": (GOOD, ["--lerner", "rls"], ["no such option: --lerner", "--learner", "see retain run --help"]),
    "a limit that is none": (GOOD, ["--limit", "ten"], ["'--limit'", "see retain run --help"]),
    "a policy that is none": (GOOD, ["--on-bad-rows", "burn"], ["burn", "stop, skip, or quarantine FILE"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content, more, says = BAD[name]
    path = tmp_path / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    target = [] if "--target" in more else ["--target", "y"]
    assert main(["run", str(path), *target, *more]) == 2
    err = capfd.readouterr().err
    assert not {"Usage", "Error"} & set(re.findall(r"\w+", err))
    lines = [line for line in err.splitlines() if line.startswith("retain: ")]
    assert len(lines) == 1
    for part in says:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("second", "says"), [("x,y\n1,0\n", "vanished"), ("x,c,q,y\n1,a,3,0\n", "did not have before")]
)
def test_columns_that_come_and_go_between_files_are_told(
    second: str, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.csv").write_text(GOOD)
    (tmp_path / "2.csv").write_text(second)
    assert main(["run", str(tmp_path / "*.csv"), "--target", "y"]) == 2
    assert says in capfd.readouterr().err


def test_without_a_target_it_says_which_columns_there_are(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text(GOOD)
    assert main(["run", str(tmp_path / "rows.csv")]) == 2
    assert "x (numeric), c (categorical), y (numeric); name one with --target" in capfd.readouterr().err


def test_json_is_one_object_last_on_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text(GOOD + "broken\n1,2\nhello,a,1\n")
    args = ["run", str(tmp_path / "rows.csv"), "--target", "y", "--json", "--on-bad-rows", "quarantine"]
    assert main([*args, str(tmp_path / "bad.jsonl"), "--report", str(tmp_path / "r.html")]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    wanted = {"rows", "learnt", "quarantined", "seconds", "cpu_seconds", "rows_per_second", "metrics", "baselines"}
    assert wanted <= result.keys()
    assert (result["rows"], result["learnt"], result["quarantined"]) == (2000, 2000, 3)
    assert result["baselines"].keys() == {"no_change", "prior"}
    assert result["metrics"]["accuracy"] > 0.85 > result["baselines"]["prior"]["accuracy"]
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 3
    assert "<html" in (tmp_path / "r.html").read_text()


def test_the_report_of_a_short_run_has_curves_over_event_time(tmp_path: Path) -> None:
    rows = [f"2025-01-{1 + i // 70:02}T{i % 24:02}:00:00,{row}" for i, row in enumerate(ROWS)]
    (tmp_path / "rows.csv").write_text("\n".join(["at,x,c,y", *sorted(rows)]) + "\n")
    page = tmp_path / "r.html"
    assert main(["run", str(tmp_path / "rows.csv"), "--target", "y", "--time", "at", "--report", str(page)]) == 0
    curve = page.read_text().partition('aria-label="metric over time"')[2].partition("</svg>")[0]
    assert "event time (UTC)" in curve
    assert max(path.count("\nL") for path in curve.split("<path")) > 12  # points of a line


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_run_starts_without_what_it_does_not_need(kind: str, tmp_path: Path) -> None:
    # pandas and rich would cost half as much as all the rest of the start; pyarrow imports pandas unless kept from it
    pytest.importorskip("pandas")
    when = pa.array(np.arange(3000) * 10**9, pa.timestamp("us"))
    rows = pa.table({"x": RNG.normal(size=3000), "c": list("ab?") * 1000, "at": when, "y": [0, 1, 1] * 1000})
    rows = rows.append_column("holed", pa.array([None, 0.5, 1.5] * 1000))
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        arrow_csv.write_csv(rows, path)
        path.write_text(path.read_text() + "1,2\n")
    else:
        parquet.write_table(rows.append_column("far", pa.array([0.0] * 2999 + [np.inf])), path)
    code = (
        "import sys; from retain.cli import main\n"
        f"assert not main(['run', {str(path)!r}, '--target', 'y', '--time', 'at', '--on-bad-rows', 'skip', '--json'])\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'pandas', 'rich', 'matplotlib'})\n"
        "late = ['run.experiences', 'run.scenarios', 'streams.images', 'streams.sets', 'streams.synthetic']\n"
        "print([name for name in late if f'retain.{name}' in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
    assert json.loads(said[0])["quarantined"] == 1
    assert said[1:] == ["set()", "[]"]


def test_the_collector_rests_while_all_is_loaded_and_looks_during_the_run(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n" + "1,0\n2,1\n" * 50)
    code = (
        "import gc, retain.cli, retain.cli.run as run\n"
        "during, open_, follow = [], run.open_source, run.interruptible\n"
        "run.open_source = lambda source: during.append(gc.isenabled()) or open_(source)\n"
        "run.interruptible = lambda: during.append(gc.isenabled()) or follow()\n"
        f"assert not retain.cli.main(['run', {str(path)!r}, '--target', 'y', '--json'])\n"
        "assert retain.cli.main(['run', 'nowhere.csv', '--target', 'y']) == 2\n"
        "print(during, gc.isenabled(), gc.get_freeze_count())"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[-1] == "[False, True, False] True 0"


def test_standard_input_metrics_and_a_limit(tmp_path: Path) -> None:
    args = ["run", "-", "--target", "y", "--metric", "kappa", "--metric", "auc", "--limit", "500", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "retain", *args], input=GOOD, capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["rows"] == 500
    assert result["metrics"].keys() == {"kappa", "auc"}


def test_regression_is_recognised(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    x = RNG.normal(size=3000)
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{a:.4f},{3 * a + 1:.4f}\n" for a in x))
    assert main(["run", str(tmp_path / "rows.csv"), "--target", "y", "--json"]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert result["metrics"]["mae"] < 0.2 * result["baselines"]["prior"]["mae"]


def test_the_task_that_the_target_tells_is_said_and_how_to_choose_the_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{i * 37 % 11},{i % 5 + 1},{i * 0.3},{'ab'[i % 2]}\n" for i in range(200))
    (tmp_path / "rows.csv").write_text("x,score,price,kind\n" + rows)
    command = ["run", str(tmp_path / "rows.csv"), "--target"]
    for target, says in (
        ("score", "task: classification, 5 classes (regression: --task regression)\n"),
        ("price", "task: regression (classification: --task classification)\n"),
        ("kind", "task: classification, 2 classes\n"),
    ):
        assert main([*command, target, "--json"]) == 0
        out, err = capfd.readouterr()
        assert err.count("task: ") == err.count(says) == 1
        json.loads(out)
    assert main([*command, "score", "--task", "regression"]) == 0
    out, err = capfd.readouterr()
    assert "task: " not in err
    assert "MAE" in out


@pytest.mark.parametrize(
    "learner", ["auto", "linear", "sgd", "ftrl", "coin", "pa", "rls", "ridge", "no-change", "prior"]
)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_learner_runs_by_name(learner: str, task: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text(GOOD)
    target = "y" if task == "classification" else "x"
    assert main(["run", str(tmp_path / "rows.csv"), "--target", target, "--learner", learner, "--json"]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert result["learner"] == learner
    assert all(np.isfinite(value) for value in result["metrics"].values())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_reports_and_leaves_a_state_to_resume_from(how: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x,c,y\n" + "\n".join(ROWS * 500) + "\n")
    command = [
        sys.executable,
        "-m",
        "retain",
        "run",
        str(path),
        "--target",
        "y",
        "--state",
        str(tmp_path / "s"),
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "s").glob("*.safetensors")) and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, how)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    part = json.loads(out.splitlines()[-1])
    assert 0 < part["rows"] < 1_000_000
    assert "--resume" in err
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["rows"] == 1_000_000


def test_a_signal_while_a_file_is_parsed_stops_between_blocks() -> None:
    """Arrow would raise an error of its own in the middle of a block; the timer fires while it parses."""
    data = io.BytesIO(b"a,b,c\n" + b"1.5,2.5,xyz\n" * 2_000_000)
    with interruptible() as stopped:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        while not stopped:
            data.seek(0)
            arrow_csv.read_csv(data)
    assert stopped == [signal.SIGTERM]


def test_who_stops_a_run_hears_how_it_ends_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with interruptible():
        os.kill(os.getpid(), signal.SIGTERM)
        assert "once more stops at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (["--report", "none/r.html"], "there is no folder none; make it"),
        (["--report", "."], "is a folder; name a file in it, such as report.html"),
        (["--registry", "rows.csv"], "rows.csv is a file; name a folder"),
        (["--registry", "rows.csv/kept"], "rows.csv is a file; name a folder"),
    ],
)
def test_where_results_cannot_go_is_told_before_the_first_row(
    output: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(GOOD)
    assert main(["run", "rows.csv", "--target", "y", "--state", "s", *output]) == 2
    assert says in capfd.readouterr().err
    assert not Path("s").exists()


def test_a_report_that_fails_at_the_end_does_not_take_the_result_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text(GOOD)

    def full(*_: object, **__: object) -> None:
        raise SettingError("no space left")

    monkeypatch.setattr("retain.cli.run.write_html", full)
    assert main(["run", str(tmp_path / "rows.csv"), "--target", "y", "--report", str(tmp_path / "r.html")]) == 2
    assert "accuracy" in capfd.readouterr().out


def test_state_is_not_overwritten_and_other_settings_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text(GOOD)
    args = ["run", str(tmp_path / "rows.csv"), "--target", "y", "--state", str(tmp_path / "s")]
    assert main(args) == 0
    assert main(args) == 2
    assert "pass --resume" in capfd.readouterr().err
    assert main([*args, "--resume", "--learner", "rls"]) == 2
    assert "learner = 'auto', this run has 'rls'" in capfd.readouterr().err
    assert main([*args, "--resume", "--delay", "9"]) == 2
    assert "delay = none, this run has '9'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run", "flihgts"], "there is no file flihgts; did you mean 'flights'"),
        (["run", "folder", "--target", "y"], "folder is a folder; name its files, in quotes: 'folder/*.csv'"),
        (["run", "stagger", "--delay", "3days"], "--delay 3days makes no sense; expected rows (500) or a time"),
        (["run"], "missing argument"),
        (["rum"], "did you mean 'run'?; see retain --help"),
    ],
)
def test_a_command_that_is_mistyped_is_told_in_one_line(
    args: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    assert main(args) == 2
    told = capfd.readouterr().err
    assert told.startswith("retain: ")
    assert says in told.replace("Did", "did")
    assert told.count("\n") == 1


def test_without_a_command_there_is_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Commands:" in capfd.readouterr().out


def test_resumed_with_nothing_new_it_stands_where_it_stood(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text(GOOD)
    args = ["run", str(tmp_path / "rows.csv"), "--target", "y", "--state", str(tmp_path / "s"), "--json"]
    assert main(args) == 0
    first = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert main([*args, "--resume"]) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["metrics"] == first["metrics"]


@pytest.mark.parametrize("command", ["datasets", "learners", "metrics"])
def test_lists_name_what_run_accepts(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 0
    assert {"datasets": "flights", "learners": "rls", "metrics": "kappa"}[command] in capfd.readouterr().out


def test_other_csv_files_by_their_options(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    body = GOOD.partition("\n")[2].replace(",", ";").replace("a;1", "none;1")
    (tmp_path / "rows.csv").write_text(body)
    args = ["run", str(tmp_path / "rows.csv"), "--target", "y", "--json", "--delimiter", ";", "--names", "x,c,y"]
    assert main([*args, "--missing", "none"]) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["rows"] == 2000
    assert main(["run", str(tmp_path / "rows.csv"), "--target", "y", "--format", "parquet", "--delimiter", ";"]) == 2
    assert "about CSV files" in capfd.readouterr().err


def test_labels_from_a_file_of_their_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    n = 2_000
    a, when = rng.normal(size=n), np.sort(rng.uniform(0, 1_000, n))
    heard = when + rng.exponential(20, n)
    label = np.where(a + 0.3 * rng.normal(size=n) > 0, "yes", "no")
    rows = "".join(f"o{i},{when[i]:.3f},{a[i]:.4f}\n" for i in range(n))
    labels = "".join(f"o{i},{heard[i]:.3f},{label[i]}\n" for i in np.argsort(heard) if i % 10)
    (tmp_path / "rows.csv").write_text("order,at,a\n" + rows)
    (tmp_path / "labels.csv").write_text("order,at,paid\n" + labels)
    command = ["run", str(tmp_path / "rows.csv"), "--labels", str(tmp_path / "labels.csv"), "--target", "paid"]
    command += ["--id", "order", "--time", "at"]
    assert main([*command, "--json"]) == 0
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (told["rows"], told["learnt"], told["pending"], told["strays"]) == (n, n * 9 // 10, n // 10, 0)
    assert told["metrics"]["accuracy"] > 0.85
    for left_out in ("--id", "--time"):
        at = command.index(left_out)
        assert main([*command[:at], *command[at + 2 :]]) == 2
        assert f"--labels needs {left_out}" in capfd.readouterr().err
    assert main([*command, "--delay", "3d"]) == 2
    assert "leave out --delay" in capfd.readouterr().err


def test_labels_that_were_mended_or_came_in_another_file_are_gone_on_with(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text("n,at,a\n" + "".join(f"{i},{i},{i % 7}\n" for i in range(200)))
    labels = [f"{i},{i + 5},{i % 2}\n" for i in range(200)]
    labels[20] = labels[20].replace("25", "soon")
    (tmp_path / "labels.csv").write_text("n,at,y\n" + "".join(labels))
    command = ["run", str(tmp_path / "rows.csv"), "--labels", str(tmp_path / "labels*.csv"), "--target", "y"]
    command += ["--id", "n", "--time", "at", "--kind", "y=categorical"]
    bad = str(tmp_path / "bad.jsonl")
    given = ["--on-bad-rows", f"quarantine {bad}", "--state", str(tmp_path / "s"), "--json"]
    first = command.copy()
    first[3] = str(tmp_path / "labels.csv")  # without a glob at first
    assert main([*first, *given]) == 0
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (told["learnt"], told["pending"], told["quarantined"]) == (199, 1, 1)
    held = tmp_path / "bad.jsonl.labels"
    held.write_text(held.read_text().replace("soon", "25"))
    roles = ["--target", "y", "--id", "n", "--time", "at"]
    assert main(["replay", str(held), "--source", str(tmp_path / "labels.csv"), *roles]) == 0
    capfd.readouterr()
    assert main([*command, *given, "--resume"]) == 0
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (told["rows"], told["learnt"], told["pending"]) == (200, 200, 0)


def test_what_nobody_reports_is_of_a_class(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    n = 1_000
    a, fraud = rng.normal(size=n), rng.random(n) < 0.2
    heard = np.arange(n) + rng.exponential(40, n)
    rows = "".join(f"o{i},{i},{a[i]:.4f}\n" for i in range(n))
    labels = "".join(f"o{i},{heard[i]:.3f},{'fraud' if fraud[i] else 'fine'}\n" for i in np.argsort(heard) if fraud[i])
    (tmp_path / "rows.csv").write_text("order,at,a\n" + rows)
    (tmp_path / "labels.csv").write_text("order,at,is\n" + labels)  # nothing but frauds
    command = ["run", str(tmp_path / "rows.csv"), "--labels", str(tmp_path / "labels.csv"), "--target", "is"]
    command += ["--id", "order", "--time", "at", "--json"]
    assert main([*command, "--expire", "50s"]) == 2
    told = capfd.readouterr().err
    assert f"{tmp_path / 'labels.csv'} holds the one class 'fraud'" in told
    assert "if only these are reported, say what the others are and when, e.g. --expire 7d --silence no" in told
    assert main([*command, "--expire", "50s", "--silence", "fraud"]) == 2
    assert "choose another --silence" in capfd.readouterr().err
    told = {}
    for name, more in (("silent", []), ("until", ["--until", "300s"])):
        assert main([*command, "--expire", "50s", "--silence", "fine", *more]) == 0
        told[name] = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert told["silent"]["lost"] == told["until"]["lost"] == 0
    assert told["silent"]["learnt"] == told["until"]["learnt"] > 0.9 * n
    assert told["until"]["strays"] == 0 < told["silent"]["strays"]
    assert 0.7 < told["until"]["baselines"]["prior"]["accuracy"] < 1
    assert main([*command, "--silence", "fine"]) == 2
    assert "need --expire" in capfd.readouterr().err
    assert main([*command, "--expire", "soon"]) == 2
    assert "--expire soon makes no sense" in capfd.readouterr().err


def test_what_bounds_have_held_is_told_at_the_end(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2))
    path = tmp_path / "rows.csv"
    rows = [f"{a:.3f},{b:.3f},{a + b + e:.3f}" for (a, b), e in zip(x, rng.normal(size=2000), strict=True)]
    path.write_text("\n".join(["a,b,sum", *rows]) + "\n")
    command = ["run", str(path), "--target", "sum", "--learner", "linear", "--coverage", "0.8"]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["bounds"]
    assert told["asked"] == 0.8
    assert told["coverage"] == pytest.approx(0.8, abs=0.01)
    assert told["size"] == pytest.approx(2 * 1.28, rel=0.2)
    assert main(command) == 0
    assert "within bounds: 80" in capsys.readouterr().out
    assert main([*command, "--unknown", "0.1"]) == 2
    assert main([*command[:-1], "1.5"]) == 2
    assert "expected a share" in capsys.readouterr().err


def test_rows_of_no_known_class_are_told(tmp_path, capsys):
    rng = np.random.default_rng(0)
    kinds = np.insert(rng.permutation(np.repeat(["cat", "dog"], 1500)), 2000, ["owl"] * 40)
    at = {"cat": (0, 0), "dog": (6, 0), "owl": (0, 40)}
    rows = [
        f"{at[k][0] + a:.3f},{at[k][1] + b:.3f},{k}"
        for k, (a, b) in zip(kinds, rng.normal(size=(3040, 2)), strict=True)
    ]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["a,b,kind", *rows]) + "\n")
    command = ["run", str(path), "--target", "kind", "--learner", "slda", "--delay", "50", "--json"]
    assert main([*command, "--unknown", "0.02"]) == 0
    told = json.loads(capsys.readouterr().out)["metrics"]
    # The first 50 rows are answered before any label, and all 40 owls arrive before anyone has said what they are.
    assert told["unknown"] == pytest.approx((50 + 40 + 0.02 * 2950) / 3040, abs=0.004)
    assert told.keys() == {"accuracy", "auc", "log_loss", "unknown"}
    assert main([*command, "--unknown", "0.02", "--metric", "unknown", "--state", str(tmp_path / "state")]) == 0
    capsys.readouterr()
    assert main([*command, "--metric", "unknown", "--state", str(tmp_path / "state"), "--resume"]) == 2
    assert "unknown" in capsys.readouterr().err
    assert main([*command, "--unknown", "0.7"]) == 2
    assert main(["run", str(path), "--target", "a", "--unknown", "0.02"]) == 2
    assert "for classes" in capsys.readouterr().err
    assert main(["run", str(path), "--target", "a", "--learner", "slda"]) == 2
    assert "choose --learner ridge" in capsys.readouterr().err
