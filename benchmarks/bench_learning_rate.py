"""Which rate the default update should have: progressive log-loss of `Linear(loss=Logistic())` over many streams.

Regret is log-loss above that of the best rate of a stream. Vowpal Wabbit's default is .5; ours is 3, whose mean regret
is smallest. It loses most where thousands of weak features drown in noise (a smaller rate is better) and where labels
come in runs (electricity; a larger one). Where one does not know, `Hedge` finds out.

Real streams are read from ../shared/data beside the repository and left out where they are absent.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from measure import record

import retain as rt

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RATES = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 8.0)
ROWS = 50_000


def bags(texts: list[str]) -> rt.CSR:
    """Hashed counts of words in 2^18 dimensions."""
    rows = [Counter(zlib.crc32(word.encode()) & 0x3FFFF for word in re.findall(r"\w+", text.lower())) for text in texts]
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    indices = np.array([index for row in rows for index in row], dtype=np.int32)
    return rt.CSR(indptr, indices, np.array([n for row in rows for n in row.values()], dtype=np.float32), 1 << 18)


def made() -> Iterator[tuple[str, np.ndarray | rt.CSR, np.ndarray]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 20)).astype(np.float32)
    yield "linear", x, x @ rng.normal(size=20) + rng.logistic(size=ROWS) > 0
    yield "nothing to learn", x, rng.random(ROWS) < 0.3
    y = rng.integers(0, 2, size=ROWS)
    share = np.exp(0.15 * rng.normal(size=(2, 1 << 18))) / np.arange(10, 10 + (1 << 18))
    edges = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
    words = np.stack([np.searchsorted(edges[c], rng.random(50)) for c in y]).astype(np.int32) % (1 << 18)
    counts = np.ones(50 * ROWS, dtype=np.float32)
    yield "weak words", rt.CSR(np.arange(ROWS + 1, dtype=np.int64) * 50, words.reshape(-1), counts, 1 << 18), y


def real() -> Iterator[tuple[str, np.ndarray | rt.CSR, np.ndarray]]:
    yield (
        "electricity",
        np.loadtxt(DATA / "electricity/elec2_data.dat.gz"),
        np.loadtxt(DATA / "electricity/elec2_label.dat.gz"),
    )
    for name, file in (
        ("phishing", "phishing_uci/phishing.csv.gz"),
        ("credit", "credit_default/UCI_Credit_Card.csv.gz"),
        ("weather", "noaa_weather/weather.csv.gz"),
    ):
        table = pd.read_csv(DATA / file)
        yield name, table.iloc[:, :-1].to_numpy(float), pd.factorize(table.iloc[:, -1])[0]
    sms = pd.read_csv(DATA / "sms_spam/SMSSpamCollection.gz", sep="\t", quoting=3, names=["label", "text"], skiprows=1)
    yield "sms", bags(sms["text"].tolist()), sms["label"] == "spam"
    sst = pd.read_csv(DATA / "sst2/train.tsv.gz", sep="\t", quoting=3, names=["text", "label"]).tail(ROWS)
    yield "sst2", bags(sst["text"].tolist()), pd.to_numeric(sst["label"], errors="coerce").fillna(0)


def log_loss(x: np.ndarray | rt.CSR, y: np.ndarray, rate: float) -> float:
    p = rt.Linear(loss=rt.Logistic(), update=rt.Adaptive(learning_rate=rate)).learn(rt.Batch(x, y=y))
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-6)).mean())


def main() -> None:
    streams = [*made(), *(real() if DATA.is_dir() else ())]
    lines = ["## The default learning rate", "", "Progressive log-loss of `Linear(loss=Logistic())`.", ""]
    lines += [f"| | {' | '.join(map(str, RATES))} |", "|---" * (len(RATES) + 1) + "|"]
    regrets = {}
    for name, x, y in streams:
        losses = np.array([log_loss(x, np.asarray(y).astype(np.int64), rate) for rate in RATES])
        regrets[name] = losses - losses.min()
        lines.append(f"| {name} | {' | '.join(f'{loss:.3f}' for loss in losses)} |")
    apart = [regret for name, regret in regrets.items() if name != "electricity"]
    for what, group in (("mean regret", [*regrets.values()]), ("mean regret, electricity apart", apart)):
        lines.append(f"| {what} | {' | '.join(f'{regret:.3f}' for regret in np.mean(group, axis=0))} |")
    record("learning-rate", "\n".join(lines))


if __name__ == "__main__":
    main()
