"""`retain init`: a commented pipeline that works as it is."""

from __future__ import annotations

from pathlib import Path

from retain.errors import SettingError

__all__ = ["write_pipeline"]

_PIPELINE = '''\
"""A model in service, and the rules by which it is updated: flights from New York, late labels.

    retain backtest pipeline.py --report backtest.html    what these rules would have done, beside others
    retain run pipeline.py --state state                  serve; kill it at any instant, then add --resume
    retain versions models                                what was kept; retain log models says why
    retain rollback models                                the way back
"""

import retain as rt

# 1. Where rows come from. Yours: rt.streams.csv("payments/*.csv", target="fraud", time="at", label_time="known")
stream = rt.streams.flights()

# 2. What learns: plain gradient steps, of a rate that the rules below may change. Yours may be rt.Neural(...), or
#    rt.auto(stream.schema()), which is good untuned, whatever the columns hold, and leaves rules little to do.
learner = rt.Scale() | rt.OneHot() | rt.Linear(loss=rt.Logistic(), update=rt.SGD(0.01))

# 3. When to act, what to do, and whether to dare. Candidates are copies: they answer and learn the same rows as the
#    champion, unseen by anyone, until the gate knows.
rules = [
    # On drift and in turn, copies with other learning rates stand trial.
    *rt.update.recommended(learner),
    # Every month of flights a model is taught anew, going through the latest 50,000 twice. It must be better, and worse
    # at no airport by far.
    rt.Rule(
        name="taught anew",
        when=rt.Every(rows=30_000),
        do=rt.Retrain(last=50_000, passes=2),
        gate=rt.Unanimous(rt.Better(least=2_000, most=10_000), rt.PerSlice(rt.NotWorse(0.05), by="origin")),
    ),
    # Were more than 45 of 100 of the latest 5,000 answers wrong, the version before would serve again.
    rt.Rule(
        name="way back",
        when=rt.WhenWorse(rt.metrics.Windowed(rt.metrics.Accuracy(), rows=5_000), than=0.55),
        do=rt.RollBack(),
        cooldown=50_000,
    ),
    # Somebody ought to look at the data.
    rt.Rule(name="data", when=rt.update.Quality(of=rt.update.Inputs("temp", "humid"), reference=30_000), do=rt.Alert()),
]

# 4. All of it together. Versions and decisions go to a folder of files.
pipeline = rt.Pipeline(stream=stream, learner=learner, rules=rules, registry=rt.FileRegistry("models"))

# 5. What `retain backtest` compares it with: other rules, by name.
beside = {
    "learning on": [],
    "recommended": rt.update.recommended(learner),
}
'''


def write_pipeline(path: Path, /) -> None:
    """Write the pipeline to a new file. Raises SettingError where the file is there already or cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_PIPELINE)
    except FileExistsError as error:
        raise SettingError(
            f"{path} is there already; move it away or name another file: retain init FILE.py"
        ) from error
    except OSError as error:
        raise SettingError(
            f"cannot write {path}: {error.strerror or error}; name a file in a folder you can write"
        ) from error
