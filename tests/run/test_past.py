"""Backtests: replay is production, and what is shown of it is true."""

import time

import numpy as np
import pytest

import retain as rt
from retain.core import Deed, Report
from retain.errors import SettingError
from retain.report import Backtest, Trace, write_backtest
from retain.report.backtest import figures

RNG = np.random.default_rng(11)
N = 5_000
X = RNG.normal(size=(N, 2)).astype(np.float32)
Y = (X[:, 0] * np.where(np.arange(N) < 2_500, 1, -1) > 0).astype(np.int64)


def pipeline(**kwargs):
    rule = rt.Rule(when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Retrain(last=500), gate=rt.Better(), name="drift")
    given = {
        "stream": rt.streams.arrays(X, Y),
        "learner": rt.Linear(loss=rt.Logistic(), update=rt.FTRL()),
        "rules": [rule],
        "step": 250,
        **kwargs,
    }
    return rt.Pipeline(**given)


def test_a_backtest_takes_the_decisions_of_production():
    served = list(pipeline().run())
    result = pipeline().backtest(window=500)
    assert [str(d) for d in result.traces["rules"].deeds] == [str(d) for r in served for d in r.deeds]
    assert result.traces["rules"].accuracy == pytest.approx(served[-1].metrics["accuracy"], abs=1e-12)
    assert result.traces["rules"].count("promoted") == 1
    assert result.traces["no rules"].count("promoted") == 0
    assert result.traces["rules"].accuracy > result.traces["no rules"].accuracy


def test_the_registry_of_production_is_left_alone(tmp_path):
    kept = rt.FileRegistry(tmp_path)
    pipeline(registry=kept).backtest()
    assert kept.versions() == ()


@pytest.mark.parametrize("blocks", [1, 7, 100])
def test_the_worst_window_is_the_worst_of_all_windows(blocks):
    losses = (RNG.random(3_000) < 0.5 + 0.5 * np.sin(np.arange(3_000) / 200)).astype(np.float64)
    trace = Trace(window=300)
    counts = {"learnt": 0, "pending": 0, "lost": 0, "quarantined": 0, "seconds": 0.0, "cpu_seconds": 0.0}
    for part in np.array_split(losses, blocks):
        trace.add(Report(rows=0, **counts, y=np.zeros(len(part), int), loss=part))
    means = np.convolve(losses, np.ones(300) / 300, mode="valid")
    assert trace.worst == pytest.approx(1 - means.max(), abs=1e-12)
    assert trace.accuracy == pytest.approx(1 - losses.mean(), abs=1e-12)


def test_numbers_are_distances():
    trace = Trace(window=2)
    counts = {"learnt": 0, "pending": 0, "lost": 0, "quarantined": 0, "seconds": 0.0, "cpu_seconds": 0.0}
    trace.add(Report(rows=4, **counts, y=np.zeros(4), loss=np.array([1.0, 3.0, 5.0, 1.0])))
    assert trace.numbers()["mae"] == 2.5
    assert trace.numbers()["worst_mae"] == 4.0


def test_the_front_holds_what_nothing_beats_for_less():
    def trace(loss, cost, deeds=()):
        made = Trace(window=1)
        made.add(
            Report(
                rows=2, learnt=2, pending=0, lost=0, quarantined=0, seconds=cost, cpu_seconds=cost,
                y=np.zeros(2, int), loss=np.array([loss, loss]), deeds=deeds,
            )
        )  # fmt: skip
        return made

    deed = Deed(2, float("nan"), "drift", "promoted", "after 100 pairs")
    result = Backtest(
        {"dear": trace(0.1, 9.0, (deed,)), "worse": trace(0.3, 5.0), "cheap": trace(0.2, 1.0), "same": trace(0.2, 2.0)}
    )
    assert result.best == ["cheap", "dear"]
    assert result.numbers()["dear"]["deeds"] == [[2, "drift", "promoted", "after 100 pairs"]]


def test_it_is_shown_as_a_page_and_in_a_notebook(tmp_path):
    result = pipeline().backtest(beside={"none": [], "other": pipeline(step=500)}, window=300)
    page = write_backtest(result, tmp_path / "b.html", title="Mine").read_text()
    assert page.count("<svg") == 2
    assert "<h1>Mine</h1>" in page
    assert "drift: promoted" in page
    assert "none" in result._repr_html_()
    assert set(figures(result)) == {"time", "cost"}


def test_without_pipelines_there_is_nothing_to_compare():
    with pytest.raises(SettingError, match="at least one"):
        rt.backtest({})


class Compiling:
    """A learner whose first call on a machine takes long."""

    compiled = False

    def __init__(self):
        self.own = rt.Prior()

    def learn(self, batch):
        start = time.process_time()
        while not Compiling.compiled and time.process_time() - start < 0.5:
            pass
        Compiling.compiled = True
        return self.own.learn(batch)

    def predict(self, x):
        return self.own.predict(x)

    def state_dict(self):
        return self.own.state_dict()

    def load_state_dict(self, state):
        self.own.load_state_dict(state)


def test_who_comes_first_does_not_pay_for_what_is_compiled():
    result = rt.backtest({"first": pipeline(learner=Compiling(), rules=[], limit=500)})
    assert Compiling.compiled
    assert result.traces["first"].cpu_seconds < 0.5
    assert result.traces["first"].last.rows == 500
