"""Every trigger through the laws."""

from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import testing
from retain.core import Report
from retain.update import KS, MMD, PSI, Answers, ClassifierTest, Hindsight, Inputs, Labels, Quality, Regret

RNG = np.random.default_rng(0)
STEPS, N = 40, 100
DAY = 86_400.0


def reports():
    """Twenty quiet steps, then another world: more errors, other inputs, other labels, other answers."""
    made = []
    for i in range(STEPS):
        new = i >= STEPS // 2
        y = (RNG.random(N) < (0.8 if new else 0.3)).astype(np.int64)
        loss = (RNG.random(N) < (0.45 if new else 0.1)).astype(np.float64)
        said = np.where(loss == 1, 1 - y, y)
        p = np.stack([1 - said, said], axis=1) * 0.8 + 0.1
        x = RNG.normal(1.0 if new else 0.0, 1.0, (N, 3))
        x[:, 2][RNG.random(N) < (0.4 if new else 0.02)] = np.nan
        rows = (i + 1) * N
        made.append(
            Report(
                rows=rows,
                learnt=rows,
                pending=0,
                lost=0,
                quarantined=0,
                seconds=0.0,
                cpu_seconds=0.0,
                time=i * DAY / 5,
                arrived=rt.Batch(x),
                row=np.arange(rows - N, rows),
                y=y,
                prediction=p,
                loss=loss,
                hindsight=lambda rows, new=new: (np.full(rows, 0.4), np.full(rows, 0.1 if new else 0.35)),
                actions=1,
                action_seconds=0.5,
            )
        )
    return made


REPORTS = reports()
ACCURACY = rt.metrics.Accuracy

TRIGGERS = {
    "every, rows": lambda: rt.Every(rows=350),
    "every, seconds": lambda: rt.Every(seconds=2 * DAY),
    "every, cron": lambda: rt.Every(cron="30 3 * * *", zone="Europe/Paris"),
    "drift": lambda: rt.OnDrift(rt.detectors.ADWIN()),
    "drift, Page-Hinkley": lambda: rt.OnDrift(rt.detectors.PageHinkley()),
    "drift, DDM's warnings": lambda: rt.OnDrift(rt.detectors.DDM(), warning=True),
    "drift of inputs": lambda: rt.OnDrift(rt.detectors.KSWIN(seed=1), of=Inputs("0", "1")),
    "shift of inputs, KS": lambda: rt.OnShift(KS(), window=400),
    "shift of inputs, PSI": lambda: rt.OnShift(PSI(), window=250),
    "shift of inputs, MMD": lambda: rt.OnShift(MMD(rows=100), window=400),
    "shift of inputs, classifier": lambda: rt.OnShift(ClassifierTest(), window=400),
    "shift of labels": lambda: rt.OnShift(KS(), of=Labels(), window=400),
    "shift of answers": lambda: rt.OnShift(PSI(), of=Answers(), window=400),
    "worse, fixed": lambda: rt.WhenWorse(rt.metrics.Windowed(ACCURACY(), rows=300), than=0.8, rearm=0.05),
    "worse, quantile": lambda: rt.WhenWorse(rt.metrics.Windowed(ACCURACY(), rows=300), quantile=0.05),
    "worse, deviations": lambda: rt.WhenWorse(rt.metrics.Windowed(rt.metrics.LogLoss(), rows=300), deviations=4),
    "quality": lambda: Quality(missing=0.2, reference=500, window=300),
    "regret": lambda: Regret(mistakes=100, stretch=500),
    "regret, by cost": lambda: Regret(mistakes=1e9, per_second=300, stretch=500),
    "hindsight": lambda: Hindsight(gap=0.2, rows=100, every=500),
    "any": lambda: rt.Any(rt.Every(rows=900), rt.OnDrift(rt.detectors.ADWIN())),
    "all": lambda: rt.All(rt.OnDrift(rt.detectors.ADWIN()), rt.OnShift(KS(), window=400), within=1_000),
    "at least": lambda: rt.AtLeast(2, rt.Every(rows=700), rt.Every(rows=900), rt.Every(rows=500), within=100),
}
CALM = ("every", "any", "at least", "drift, DDM", "drift of inputs")  # these fire in the quiet half too


@pytest.mark.parametrize("name", TRIGGERS)
def test_triggers(name):
    testing.check_trigger(TRIGGERS[name], REPORTS)


@pytest.mark.parametrize("name", [name for name in TRIGGERS if not name.startswith(CALM)])
def test_what_watches_for_change_is_quiet_before_it_and_not_after(name):
    trigger = TRIGGERS[name]()
    fired = [i for i, report in enumerate(REPORTS) if trigger(report)]
    assert fired
    assert STEPS // 2 <= fired[0] <= STEPS // 2 + 12, fired


class Broken:
    """Fires when it has seen five reports, and can break each law."""

    seen_by_all = 0

    def __init__(self, breaks=""):
        self.breaks, self.count = breaks, 0

    def __call__(self, report):
        self.count += 1
        if self.breaks == "replay":
            Broken.seen_by_all += 1
            return Broken.seen_by_all % 7 == 0
        return self.breaks == "always" or (self.breaks != "never" and self.count % 5 == 0)

    def state_dict(self):
        return {"count": 0 if self.breaks == "resume" else self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_a_trigger_that_keeps_the_laws_passes():
    testing.check_trigger(Broken, REPORTS)


@pytest.mark.parametrize(
    ("breaks", "says"),
    [("never", "never fires"), ("always", "always fires"), ("replay", "other decisions"), ("resume", "after resuming")],
)
def test_the_law_says_what_is_broken(breaks, says):
    with pytest.raises(AssertionError, match=says):
        testing.check_trigger(lambda: Broken(breaks), REPORTS)


def test_a_report_without_rows_moves_nothing():
    bare = replace(REPORTS[0], arrived=None, row=None, y=None, prediction=None, loss=None, hindsight=None)
    for name, make in TRIGGERS.items():
        if not name.startswith(CALM):
            assert not make()(bare), name
