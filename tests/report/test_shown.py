"""What a run looks like: tables, figures, pages and bars say what the log says, and need nothing from elsewhere."""

import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from rich.console import Console
from tests.report.test_log import logged, reports

from retain.core import Deed, Report
from retain.errors import RetainError, SettingError
from retain.report import Continual, Log, Progress, Run, figures, table, write_html
from retain.report.plots import apart

KINDS = {
    "two classes": lambda: logged(reports(), classes=["on time", "late <15>"]),
    "many classes": lambda: logged(reports(classes=30)),
    "numbers": lambda: logged(reports(regression=True)),
    "one report": lambda: logged(reports(1)),
    "one row": lambda: logged(reports(1, rows=1)),
    "no labels yet": lambda: logged([Report(5, 0, 5, 0, 0, 0.1, 0.1)]),
    "nothing": Log,
    "one number": lambda: logged(reports(1, rows=1, regression=True)),
}


def printed(renderable, *, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_can_be_shown(kind, tmp_path):
    log = KINDS[kind]()
    assert printed(table(log)).strip()
    for figure in figures(log).values():
        figure.savefig(tmp_path / "figure.png", dpi=40)
    assert write_html(log, tmp_path / "run.html").stat().st_size > 500
    assert log._repr_html_().startswith('<div class="retain">')


def test_the_table_has_every_value_and_marks_the_best():
    log = KINDS["two classes"]()
    text = printed(table(log))
    for name, value in log.last.metrics.items():
        assert f"✓ {value:.4f}" in text, name
        assert f"{log.last.baselines['prior'][name]:.4f}" in text
    assert "1,000 rows" in text
    assert "drift" in text


def test_what_rules_did_is_told_and_no_line_ends_within_a_unit():
    log = Log()
    for n in range(1, 9):
        deeds = [Deed(1_000 * n, 0.0, "faster", "refused", "after 9 pairs")]
        deeds += [Deed(1_000 * n, 0.0, "data", "fired", "temp: missing")] * (n % 2)
        log.add(Report(1_000 * n, 9, 0, 0, 3, 25.5, 25.5, deeds=tuple(deeds)))
    copy = Log()
    copy.load_state_dict(log.state_dict())
    for width in (30, 60, 80, 200):
        text = printed(table(copy), width=width)
        for whole in ("8 candidates refused", "3 could not be read", "25.5 s CPU", "314 rows/s", "the latest five:"):
            assert whole in text, width
        assert max(map(len, text.splitlines())) <= width
    assert text.count("refused (") == 5
    assert "data: fired 4 times, last at row 7,000" in text
    assert "temp" not in text  # each is an event of the page


def test_a_page_needs_nothing_from_elsewhere(tmp_path):
    page = write_html(KINDS["two classes"](), tmp_path / "run.html", title="A <run> & more").read_text()
    assert "<title>A &lt;run&gt; &amp; more</title>" in page
    assert "<script" not in page
    names = {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    }
    names |= {
        "http://purl.org/dc/elements/1.1/",
        "http://creativecommons.org/ns#",
        "http://purl.org/dc/dcmitype/StillImage",
    }
    assert set(re.findall(r"https?://[^\"' )]+", page)) <= names  # names of formats; nothing is loaded from there
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert ".retain .heads" in page  # the style is in it
    assert "late &lt;15&gt;" in page


def test_the_drawings_in_a_page_are_well_formed_and_take_the_ink_of_the_page(tmp_path):
    page = write_html(KINDS["numbers"](), tmp_path / "run.html").read_text()
    drawings = re.findall(r"<svg .*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        ET.fromstring(drawing)  # noqa: S314 - our own
        assert "currentColor" in drawing
        assert "DejaVu" not in drawing


def test_the_same_run_gives_the_same_page(tmp_path):
    pages = [write_html(KINDS["two classes"](), tmp_path / f"{i}.html").read_bytes() for i in range(2)]
    assert pages[0] == pages[1]


def test_a_page_that_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    log = KINDS["one report"]()
    with pytest.raises(SettingError, match=r"cannot write the report .* give a file in a folder that exists"):
        write_html(log, tmp_path / "absent" / "run.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(RetainError, match="cannot write the report"):
        write_html(log, tmp_path / "folder.html")
    monkeypatch.chdir(tmp_path / "folder.html")
    with pytest.raises(SettingError, match="cannot write the report"):
        write_html(log, ".")
    assert [p.name for p in tmp_path.iterdir()] == ["folder.html"]


def test_drawing_touches_nothing_global(tmp_path):
    before = dict(mpl.rcParams)
    write_html(KINDS["two classes"](), tmp_path / "run.html")
    assert dict(mpl.rcParams) == before
    done = "import retain.report as r, sys; assert not {'matplotlib', 'rich'} & set(sys.modules); r.figures(r.Log())"
    done += "; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", done], check=True)


def test_time_is_shown_as_dates_and_rows_as_rows():
    figure = figures(KINDS["two classes"]())["curve"]
    figure.draw_without_rendering()
    assert figure.axes[0].get_xlabel() == "event time (UTC)"
    log = logged(Report(n, n, 0, 0, 0, 0.1, 0.1, metrics={"mae": 1 / n}) for n in range(1, 9))
    assert figures(log)["curve"].axes[0].get_xlabel() == "rows"


def test_one_point_is_no_curve():
    assert list(figures(logged(reports(1, rows=200)))) == ["confusion", "calibration"]
    assert list(figures(logged(reports(2, rows=100)))) == ["curve", "metrics", "confusion", "calibration"]


def test_a_baseline_far_off_does_not_flatten_the_others():
    values = {"baselines": {"no_change": {"log_loss": 12.0}, "prior": {"log_loss": 0.6}}}
    log = logged(Report(n, n, 0, 0, 0, 0.1, 0.1, metrics={"log_loss": 0.5}, **values) for n in range(1, 9))
    axes = figures(log)["curve"].axes[0]
    assert axes.get_ylim()[1] < 1
    assert any("no-change 12.00 ↑" in text.get_text() for text in axes.texts)


def test_labels_are_pushed_apart_as_little_as_it_takes():
    np.testing.assert_allclose(apart(np.array([0.1, 0.5, 0.9]), 0.1), [0.1, 0.5, 0.9])
    assert (np.diff(apart(np.array([0.5, 0.5, 0.51]), 0.1)) > 0.099).all()


def test_progress_is_quiet_where_nobody_watches_and_speaks_where_somebody_does():
    for console, quiet, speaks in (
        (Console(file=io.StringIO()), False, False),
        (Console(file=io.StringIO(), force_terminal=True, width=120), True, False),
        (Console(file=io.StringIO(), force_terminal=True, width=120), False, True),
    ):
        with Progress(total_rows=1000, quiet=quiet, console=console) as progress:
            for report in reports():
                progress.update(report)
        assert bool(console.file.getvalue()) is speaks
        assert progress.line.startswith("accuracy 0.")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    assert "1,000 rows" in text
    assert "100%" in text
    with pytest.raises(SettingError, match="total_rows=-1"):
        Progress(total_rows=-1)


def test_the_curves_of_experiences_have_the_figures_of_the_table_and_the_room_they_need():
    matrix = np.array([[0.5, 0.5], [0.97, 0.5], [0.92, 0.95]])
    runs = (Run(0, matrix, 100, 1.0, 1.0, 0.8),)
    joint = Continual("class", ("cats", "dogs"), (Run(0, np.array([[0.5, 0.5], [0.96, 0.9]]), 100, 1.0, 1.0, 0.8),))
    result = Continual("class", ("cats", "dogs"), runs, bounds={"joint": joint})
    axes = result.figures()["curves"].axes[0]
    assert {text.get_text() for text in axes.texts} == {"joint 0.9300", "model 0.9350"}
    assert 0.85 < axes.get_ylim()[0] < 0.9  # not from 0, and small differences look small
