"""The house keeps its promises: the front door is light, whole and documented, and files stay readable."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import retain as rt
from retain import _HOME, _ROOMS

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "retain"
FILES = sorted(SOURCE.rglob("*.py"))
HEAVY = {"numpy", "numba", "torch", "pandas", "polars", "matplotlib", "pyarrow", "safetensors", "rich", "typer"}
LONGEST = 600  # lines
LONGER = {
    # numba's cache on disk does not notice a change of a function in another file
    "learners/linear/kernels.py": 750,
    "learners/trees/kernels.py": 680,
}


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    # one thread: the clocks below must not count the start of a thread pool
    return subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout.strip()


def test_import_brings_nothing_heavy() -> None:
    loaded = set(fresh("import sys, retain; print(*{name.partition('.')[0] for name in sys.modules})").split())
    assert not loaded & HEAVY


def test_import_costs_less_than_50_milliseconds() -> None:
    # The least of some runs: what the import costs, without what else the machine was doing.
    code = "import time; start = time.process_time(); import retain; print(time.process_time() - start)"
    assert min(float(fresh(code)) for _ in range(5)) < 0.05


def test_help_costs_less_than_300_milliseconds() -> None:
    code = (
        "import sys, time, io, contextlib; start = time.process_time(); sys.argv = ['retain', '--help']\n"
        "from retain.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()\n"
        "print(time.process_time() - start)"
    )
    assert min(float(fresh(code)) for _ in range(5)) < 0.3


@pytest.mark.parametrize("name", [*_HOME, *_ROOMS])
def test_public_name_resolves_and_is_documented(name: str) -> None:
    thing = getattr(rt, name)
    assert inspect.getdoc(thing), f"{name} has no docstring"


@pytest.mark.parametrize("name", [n for n in _HOME if _HOME[n] != "core"])
def test_public_part_shows_an_example(name: str) -> None:
    documentation = inspect.getdoc(getattr(rt, name)) or ""
    assert ">>>" in documentation, f"{name} has no doctest: show what it does"


@pytest.mark.parametrize("name", [n for n in _HOME if _HOME[n] != "core"])
def test_public_part_takes_at_most_two_positional_arguments(name: str) -> None:
    by_place = [
        parameter.name
        for parameter in inspect.signature(getattr(rt, name)).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    assert len(by_place) <= 2, f"{name} takes {by_place} by position; make all but two keyword-only"


def test_type_checkers_see_what_the_front_door_resolves() -> None:
    seen: dict[str, str] = {}
    for node in ast.walk(ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("retain"):
            seen |= {alias.name: node.module for alias in node.names}
    rooms = {name: f"retain.{home}".rpartition(".")[0] for name, home in _ROOMS.items()}
    assert seen == {name: f"retain.{home}" for name, home in _HOME.items()} | rooms


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"'Lineer'.*Linear"):
        _ = rt.Lineer


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_file_can_be_held_in_mind(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGER.get(str(path.relative_to(SOURCE)), LONGEST), (
        f"{path.name} has {lines} lines; split it by what its parts do"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_file_is_named_for_what_it_does(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_that_executes_code_is_read_back(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def test_no_subclass_of_a_concrete_class() -> None:
    """Abstract or final: whatever another class of ours descends from must be abstract, a protocol or an error."""
    bases: dict[str, set[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases}
    abstract = {name for name, parents in bases.items() if parents & {"ABC", "Protocol"}}

    def may_be_descended_from(name: str) -> bool:
        return name in abstract or name.endswith("Error") or any(parent in abstract for parent in bases[name])

    wrong = {
        (name, p) for name, parents in bases.items() for p in parents & bases.keys() if not may_be_descended_from(p)
    }
    assert not wrong, f"these descend from a concrete class: {sorted(wrong)}"


def test_version_is_the_same_wherever_it_is_said() -> None:
    said = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert said is not None
    assert said[1] == rt.__version__
    assert f"## {rt.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_bundled_stream_ships_with_the_package() -> None:
    assert list((SOURCE / "streams" / "data").glob("*.parquet"))


def test_every_source_file_has_its_test() -> None:
    """`tests/` mirrors `src/retain/`: a room has a folder or file of tests."""
    rooms = {path.stem if path.suffix else path.name for path in SOURCE.iterdir() if not path.name.startswith("_")}
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests").iterdir() if not path.name.startswith("_")}
    missing = sorted(rooms - tested - {"core", "errors", "py"})  # core computes nothing, errors are met everywhere
    assert not missing, f"rooms without tests: {missing}"
