"""`retain continual` as typed: what it prints, what it refuses, and that every name it lists works."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from retain.cli import main
from retain.cli.recipes import RECIPES, SCENARIOS

pytest.importorskip("sklearn")


def said(capfd: pytest.CaptureFixture[str], *args: str) -> dict:
    assert main(["continual", *args, "--json"]) == 0
    return json.loads(capfd.readouterr().out.splitlines()[-1])


def test_json_is_one_object_with_the_measures_of_the_field(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "page.html"
    result = said(capfd, "digits", "--strategy", "rls", "--seeds", "2", "--bounds", "--report", str(report))
    for name in ("acc", "learning_accuracy", "bwt", "fwt", "forgetting"):
        assert result[name].keys() == {"mean", "standard_error"}
    assert np.array(result["matrix"]).shape == (6, 5)
    assert result["acc"]["mean"] == pytest.approx(np.mean(result["matrix"][-1]), abs=1e-5)
    assert {"seconds", "cpu_seconds", "samples_per_cpu_second", "settings", "dataset", "strategy"} <= result.keys()
    assert result["samples"] == 2 * 1438
    assert result["bounds"]["joint"]["acc"] == result["acc"]  # recursive least squares forgets nothing
    assert result["bounds"]["joint"]["bwt"]["mean"] is None
    assert "retain continual digits" in report.read_text()


def test_replay_lies_between_its_bounds(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    result = said(capfd, "digits", "--memory", "200", "--epochs", "4", "--bounds", "--hidden", "256", "--seeds", "2")
    naive, joint = (result["bounds"][name]["acc"]["mean"] for name in ("naive", "joint"))
    assert naive + 0.3 < result["acc"]["mean"] < joint + 0.02
    assert result["settings"]["memory"] == 200


def test_workers_and_threads_change_no_number(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    args = ["digits", "--strategy", "naive", "--hidden", "16", "--seeds", "2", "--scenario", "task"]
    alone, spread = said(capfd, *args), said(capfd, *args, "--workers", "2")
    assert alone["matrix"] == spread["matrix"]


def test_killed_and_resumed_it_ends_in_the_same_numbers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    args = ["digits", "--epochs", "3", "--hidden", "32", "--seeds", "2", "--memory", "100", "--bounds"]
    whole = said(capfd, *args)
    state = tmp_path / "state"
    # A snapshot after every block; kill -9 while the second seed learns.
    driver = (
        "import os, signal, sys\n"
        "import retain.run.experiences as loop\n"
        "loop._EVERY = 0.0\n"
        "from retain.cli import main, continual\n"
        "own = continual._watch\n"
        "def watch(*given):\n"
        "    told = own(*given)\n"
        "    def then(seed, step):\n"
        "        told(seed, step)\n"
        "        if (seed, step.stage) == (1, 3):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return then\n"
        "continual._watch = watch\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", driver, "continual", *args, "--state", str(state)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert sorted(path.name for path in state.glob("*/*")) == ["seed-0", "seed-1"]
    assert main(["continual", *args, "--state", str(state)]) == 2  # nothing is overwritten
    assert "already holds the state" in capfd.readouterr().err
    rest = said(capfd, *args, "--state", str(state), "--resume")
    assert rest["matrix"] == whole["matrix"]
    assert rest["bounds"] == whole["bounds"]


def test_other_columns_or_another_encoder_are_not_gone_on_with(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, state = tmp_path / "t.csv", tmp_path / "state"
    file.write_text("id,body,y\n" + "".join(f"a{i % 7} b,hello {i % 3} you,{'pqr'[i % 3]}\n" for i in range(90)))
    args = [f"csv:{file}", "--target", "y", "--experiences", "3", "--strategy", "slda", "--state", str(state)]
    said(capfd, *args, "--text", "body", "--encoder", "none")
    assert main(["continual", *args, "--text", "id", "--encoder", "none", "--resume"]) == 2
    assert "text" in capfd.readouterr().err
    assert main(["continual", *args, "--text", "body", "--encoder", "", "--resume"]) == 2
    assert "--encoder got no name" in capfd.readouterr().err


def test_stopped_politely_it_says_how_to_go_on(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "retain", "continual", "digits", "--epochs", "200", "--state", str(tmp_path / "s")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("s/*/seed-0/lock")):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "--resume" in err
    assert list(tmp_path.glob("s/*/seed-0/*.safetensors"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_runs_by_name(scenario: str, capfd: pytest.CaptureFixture[str]) -> None:
    result = said(capfd, "digits", "--scenario", scenario, "--strategy", "linear", "--experiences", "2")
    assert len(result["experiences"]) == 2
    assert 0 <= result["acc"]["mean"] <= 1


@pytest.mark.parametrize("strategy", RECIPES)
def test_every_strategy_runs_by_name(strategy: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if RECIPES[strategy].neural:
        pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    y = np.arange(400) % 4
    np.savez(tmp_path / "rows.npz", x=(rng.normal(size=(4, 6))[y] * 3 + rng.normal(size=(400, 6))).astype("f4"), y=y)
    args = ["--strategy", strategy, "--experiences", "2", "--hidden", "16", "--memory", "40", "--epochs", "10"]
    for scenario in ("task",) if RECIPES[strategy].tasks else ("class", "task"):
        result = said(capfd, f"npz:{tmp_path / 'rows.npz'}", *args, "--scenario", scenario, "--rate", "0.01")
        assert result["acc"]["mean"] > (0.6 if scenario == "task" else 0.2), scenario


def test_a_strategy_that_must_be_told_tasks_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert main(["continual", "digits", "--strategy", "packnet"]) == 2
    assert "add --scenario task" in capfd.readouterr().err


@pytest.mark.parametrize("model", ["conv"])
def test_models_for_images_are_given_images(model: str, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    result = said(capfd, "digits", "--model", model, "--scenario", "split", "--experiences", "2", "--strategy", "naive")
    assert result["settings"]["model"] == model


def test_rows_of_a_csv_file_are_encoded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{1000 * i % 7},{'abcd'[i % 4]},{'pqrs'[i % 4]}\n" for i in range(400))
    (tmp_path / "rows.csv").write_text("x,c,y\n" + rows)
    result = said(capfd, f"csv:{tmp_path / 'rows.csv'}", "--target", "y", "--strategy", "rls", "--experiences", "2")
    assert result["acc"]["mean"] > 0.99
    (tmp_path / "other.csv").write_text(rows.replace(",", ";").replace("a;", "none;"))
    more = ["--target", "y", "--strategy", "rls", "--experiences", "2", "--delimiter", ";", "--names", "x,c,y"]
    result = said(capfd, f"csv:{tmp_path / 'other.csv'}", *more, "--missing", "none", "--ignore", "x")
    assert result["acc"]["mean"] > 0.9
    assert main(["continual", f"csv:{tmp_path / 'other.csv'}", "--target", "y"]) == 2
    assert "say --delimiter ';'" in capfd.readouterr().err
    assert main(["continual", str(tmp_path / "other.csv"), "--target", "y"]) == 2
    assert f"csv:{tmp_path / 'other.csv'}" in capfd.readouterr().err


def test_mnist_from_its_folder(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    args = ["--strategy", "naive", "--hidden", "32", "--batch-size", "256", "--scenario", "task"]
    assert said(capfd, f"mnist:{data / 'mnist'}", *args)["acc"]["mean"] > 0.7


def test_without_json_it_is_a_table(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["continual", "digits", "--strategy", "linear"]) == 0
    out = capfd.readouterr().out
    assert "final accuracy" in out
    assert "forgetting" in out


def test_the_list_has_every_name(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["continual", "--list"]) == 0
    out = capfd.readouterr().out
    for name in (*RECIPES, *SCENARIOS, "digits", "cifar10", "resnet18"):
        assert name in out


def test_torch_is_imported_for_neural_learners_only() -> None:
    code = (
        "import sys; from retain.cli import main\n"
        "main(['continual', 'digits', '--strategy', 'rls']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "which data?"),
        (["digit"], "did you mean 'digits'"),
        (["digits:here"], "say digits"),
        (["digits", "--strategy", "replya"], "did you mean 'replay'"),
        (["digits", "--scenario", "clas"], "did you mean 'class'"),
        (["digits", "--model", "mpl"], "did you mean 'mlp'"),
        (["digits", "--experiences", "11"], "expected 1 to 10"),
        (["digits", "--epochs", "0"], "--epochs 0 makes no sense"),
        (["digits", "--hidden", "4,x"], "--hidden 4,x makes no sense"),
        (["digits", "--rate", "-1"], "--rate -1.0 makes no sense"),
        (["digits", "--device", "gpu"], "--device gpu is no device that torch has here"),
        (["digits", "--scenario", "online", "--epochs", "2"], "only once"),
        (["digits", "--resume"], "needs --state"),
        (["digits", "--resume", "--state", "/nowhere"], "holds no state"),
        (["npz"], "say npz:FILE"),
        (["npz:none.npz"], "cannot read none.npz"),
        (["csv:none.csv"], "--target COL"),
        (["digits", "--target", "y"], "--target and what else is said of them is for csv:FILE"),
        (["mnist:/nowhere"], "train-images-idx3-ubyte.gz"),
        (["digits", "--strategy", "rls", "--report", "/proc/none/r.html"], "/proc/none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    args: list[str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["continual", *args]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("retain: ")]
    assert len(lines) == 1
    assert says in lines[0]
