"""Every example runs, as a script and as a notebook, and the two are the same."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

import retain

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = [script for script in sorted(EXAMPLES.glob("*/*.py")) if script.stem == script.parent.name]

pytest.importorskip("nbformat", reason="needs nbformat: pip install 'retain[dev]'")
for_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch: pip install 'retain[torch]'"
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """No screen, one thread, and this retain, for the processes that are started."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(retain.__file__).parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    return dict(os.environ)


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_notebooks", EXAMPLES / "make_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_examples() -> None:
    assert SCRIPTS
    assert maker().scripts() == SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_notebook_has_the_cells_of_the_script_and_no_outputs(script: Path) -> None:
    made = maker().notebook(script.read_text(encoding="utf-8"))
    there = script.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert there == made, "the notebook is stale: run `python examples/make_notebooks.py`"
    assert '"outputs": []' in there
    assert '"output_type"' not in there


@for_torch
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_runs_and_leaves_its_picture(script: Path, environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script)],
        cwd=tmp_path,
        env={**environment, "MPLBACKEND": "agg", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout  # the table fits a plain terminal
    assert (tmp_path / f"{script.stem}.png").stat().st_size > 10_000


@for_torch
@pytest.mark.parametrize(
    "script",
    # The cells are those of the script, which runs above: one notebook shows that notebooks run.
    [pytest.param(script, marks=[] if script == SCRIPTS[-1] else pytest.mark.slow) for script in SCRIPTS],
    ids=lambda path: path.stem,
)
def test_notebook_runs(script: Path, environment: dict[str, str], tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    with warnings.catch_warnings():  # of jupyter_client and its event loop; what the cells do is in another process
        warnings.simplefilter("ignore")
        asyncio.run(
            NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).async_execute()
        )
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)  # the picture shows itself
    assert any("text/html" in output.get("data", {}) for output in outputs)  # and the table
