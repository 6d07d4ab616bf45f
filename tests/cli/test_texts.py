"""Texts on the command line: by an encoder, or by hashed words where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.features.tiny import tiny
from tests.streams.test_clinc import lay

from retain.cli import main, texts
from retain.features.embed import packages

WORDS = {"card": "freeze block card lost bank", "rain": "weather rain wind cold storm", "song": "play song loud music"}


def tickets(folder: Path, n: int = 1200) -> Path:
    """Tickets whose intents come one after the other, and then once more all together."""
    rng = np.random.default_rng(0)
    ordered = np.sort(rng.integers(0, 3, n // 2))
    lines = ["body,priority,intent"]
    for code in [*ordered, *rng.integers(0, 3, n // 2)]:
        intent = list(WORDS)[code]
        words = rng.choice([*WORDS[intent].split(), "please", "the", "my", "now"], size=6)
        lines.append(f"{' '.join(words)},{rng.choice(['low', 'high'])},{intent}")
    path = folder / "tickets.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    model, tokenizer = tiny()
    folder = tmp_path / "encoder"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def said(capfd: pytest.CaptureFixture[str], *args: str) -> tuple[dict, str]:
    capfd.readouterr()
    assert main([*args, "--json"]) == 0
    out, err = capfd.readouterr()
    return json.loads(out.splitlines()[-1]), err


def test_intents_are_recognised_by_hashed_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    args = ["run", str(tickets(tmp_path)), "--target", "intent", "--text", "body", "--encoder", "none"]
    result, err = said(capfd, *args, "--report", str(page))
    assert result["learner"] == "intents"
    assert result["encoder"] == "none"
    assert result["metrics"]["accuracy"] > 0.8  # while 128 rows wait for their block
    assert "texts: body by hashed words" in err
    assert "hashed words" in page.read_text()


def test_intents_are_recognised_by_an_encoder(tmp_path: Path, encoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    args = ["run", str(tickets(tmp_path)), "--target", "intent", "--text", "body", "--encoder", encoder]
    result, err = said(capfd, *args)
    assert result["encoder"] == encoder
    assert result["metrics"]["accuracy"] > 0.6  # its weights are random
    assert f"texts: body by the encoder {encoder}" in err
    alone, _ = said(capfd, *args, "--ignore", "priority")
    assert alone["metrics"]["accuracy"] > 0.6


def test_another_encoder_does_not_go_on_from_a_state(
    tmp_path: Path, encoder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    args = ["run", str(tickets(tmp_path)), "--target", "intent", "--text", "body", "--state", str(tmp_path / "state")]
    (tmp_path / "state").mkdir()
    said(capfd, *args, "--encoder", encoder, "--limit", "600")
    tiny(1)[0].save_pretrained(encoder)
    assert main([*args, "--encoder", encoder, "--resume"]) == 2
    assert "other weights or settings" in capfd.readouterr().err


def test_what_is_installed_is_taken_and_nothing_where_something_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "BRINGS_ONE", ("not-installed", "pytest"))
    monkeypatch.setattr(texts, "find_spec", lambda name: name)
    assert texts.chosen(None) == "pytest"
    assert texts.chosen("mine") == "mine"
    assert texts.chosen("none") is None
    monkeypatch.setattr(texts, "find_spec", lambda name: None if name == "transformers" else name)
    assert texts.chosen(None) is None


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--target", "intent", "--encoder", "none"], "--text COL"),
        (["--target", "intent", "--learner", "intents", "--kind", "body=categorical"], "no column of text"),
        (["--target", "intent", "--text", "bodi"], "'bodi'"),
        (["--target", "intent", "--text", "body", "--encoder", "no-such"], "neither a folder nor an installed package"),
    ],
)
def test_what_makes_no_sense_is_told(
    args: list[str], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tickets(tmp_path, 300)), *args]) == 2
    assert says in capfd.readouterr().err


def test_strategies_stand_in_one_table(tmp_path: Path, encoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    file = str(tickets(tmp_path))
    for strategy, by in (("slda", encoder), ("ridge", "none"), ("nearest-mean", encoder), ("replay", "none")):
        args = ["continual", f"csv:{file}", "--target", "intent", "--text", "body", "--experiences", "3"]
        result, err = said(capfd, *args, "--encoder", by, "--strategy", strategy, "--epochs", "2", "--hidden", "32")
        assert result["acc"]["mean"] > (0.6 if by == encoder else 0.8), (strategy, by)
        assert "texts: body by" in err


def test_clinc150_by_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = f"clinc150:{lay(tmp_path)}"
    result, _ = said(capfd, "continual", place, "--encoder", "none", "--experiences", "3", "--strategy", "slda")
    assert result["samples"] == 4
    assert main(["continual", "clinc150"]) == 2
    assert "say clinc150:FILE" in capfd.readouterr().err


def test_hashing_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from retain.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    args = ["run", str(tickets(tmp_path, 300)), "--target", "intent", "--text", "body", "--encoder", "none"]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
