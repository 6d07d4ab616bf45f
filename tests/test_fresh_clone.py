"""`make run` works as the first command in a fresh clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow  # installs from the package index
@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not a clone, or no git")
def test_make_run_is_all_it_takes(tmp_path: Path) -> None:
    clone = tmp_path / "retain"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    for _ in range(2):  # the second time nothing is installed
        done = subprocess.run(
            ["make", "run", f"PYTHON={Path(sys.base_prefix) / 'bin' / 'python3'}"],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        last = done.stdout.strip().splitlines()[-1]
        assert last.endswith("reports/flights.html")
        assert (clone / "reports" / "flights.html").stat().st_size > 10_000
    assert "installing" not in done.stdout
    assert not subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, check=True, capture_output=True, text=True
    ).stdout, "a run must leave nothing behind that git does not ignore"
