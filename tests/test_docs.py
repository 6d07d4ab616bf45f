"""What the documentation shows is run: every Python block, and every `retain` command in a shell block.

The blocks of one page share one namespace and one folder, in order of appearance. A block whose first line is
`# not run: reason` is the one exception, for what a page may show before it exists.
"""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from retain.cli.catalogue import LEARNERS, METRICS, RULES
from retain.cli.recipes import MODELS, RECIPES, SCENARIOS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
NOT_RUN = "# not run: "
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
    """A folder in which a reader of the documentation might be: payments, a twentieth of them fraud; faults in turn."""
    rng = np.random.default_rng(0)
    lines = ["at,amount,country,channel,fraud"]
    for hour in range(2_000):
        fraud = rng.random() < 0.05
        amount = rng.lognormal(4 + 2 * fraud, 1)
        country, channel = (
            rng.choice(["de", "fr", "pl"]),
            rng.choice(["web", "shop"], p=[0.9, 0.1] if fraud else [0.5, 0.5]),
        )
        lines.append(
            f"2025-{1 + hour // 672:02}-{1 + hour // 24 % 28:02}T{hour % 24:02}:00:00,{amount:.2f},{country},{channel},"
            f"{'yes' if fraud else 'no'}"
        )
    (tmp_path / "payments.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    faults = ["none", "bearing", "belt", "leak", "motor", "valve"]
    centres = rng.normal(0, 2, (len(faults), 4))
    lines = ["heat,current,pressure,vibration,fault"]
    for fault, centre in zip(faults, centres, strict=True):
        lines += [",".join(f"{value:.3f}" for value in row) + f",{fault}" for row in rng.normal(centre, 1, (300, 4))]
    (tmp_path / "sensors.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", pages("python"), ids=name)
def test_python_blocks_run(page: Path) -> None:
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
