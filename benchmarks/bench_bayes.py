"""Bayesian learners: accuracy and speed beside River's, and beside scikit-learn's `partial_fit` row by row.

River's multinomials know, as ours, only features that came; scikit-learn's take all 16,384 slots for words.
"""

from __future__ import annotations

import gzip
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

import beside  # noqa: E402 - the threads first
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from beside import Told, ours, theirs  # noqa: E402
from measure import load, record  # noqa: E402
from river import compose, linear_model, naive_bayes, preprocessing  # noqa: E402
from sklearn import naive_bayes as sklearns  # noqa: E402

import retain as rt  # noqa: E402

STREAMS = {
    "Elec2": beside.elec2,
    "Phishing": beside.phishing,
    "Bananas": beside.bananas,
    "ImageSegments": beside.segments,
}


def gaussians() -> list[str]:
    head = "| GaussianNB | ours | forgetting .999 | River | no-change | times as fast |"
    lines = [head, "|---" * 6 + "|"]
    for name, rows in STREAMS.items():
        x, y = rows()
        own = ours(rt.GaussianNB, x, y)
        fading = ours(lambda: rt.GaussianNB(forgetting=0.999), x, y)
        river = theirs(naive_bayes.GaussianNB, x, y)
        lines.append(
            f"| {name} | {own.right:.4f} | {fading.right:.4f} | {river.right:.4f} | "
            f"{beside.no_change(y):.4f} | {river.seconds / own.seconds:.0f} |"
        )
    return lines


def texts() -> list[str]:
    """5,574 messages, spam or not, in words; the peers get the same counts."""
    with gzip.open(beside.DATA / "sms_spam" / "SMSSpamCollection.gz", "rt", encoding="utf-8") as file:
        told = [line.rstrip("\n").partition("\t") for line in file]
    y = np.array([label == "spam" for label, _, _ in told]).astype(np.int64)
    batch = pa.record_batch({"text": [text for _, _, text in told]})
    x = rt.Hash(bits=14, text=("text",), signed=False).apply(batch)
    pairs = {
        "MultinomialNB": (rt.MultinomialNB, naive_bayes.MultinomialNB, sklearns.MultinomialNB),
        "ComplementNB": (rt.ComplementNB, naive_bayes.ComplementNB, sklearns.ComplementNB),
        "BernoulliNB": (rt.BernoulliNB, naive_bayes.BernoulliNB, sklearns.BernoulliNB),
    }
    lines = [
        "| SMS spam, 16,384 slots | ours | River | scikit-learn | times as fast as River | as scikit-learn |",
        "|---" * 6 + "|",
    ]
    for name, (make, rivers, sklearn) in pairs.items():
        own = ours(make, x, y)
        river = _river(rivers, x, y)
        peer = _sklearn(sklearn, x, y, rows=1000)
        rate = own.seconds / len(y)
        lines.append(
            f"| {name} | {own.right:.4f} | {river.right:.4f} | {peer.right:.4f} (first 1,000 rows; ours "
            f"{ours(make, x, y[:1000]).right:.4f}) | {river.seconds / own.seconds:.0f} | "
            f"{peer.seconds / 1000 / rate:.0f} |"
        )
    return lines


def _river(make, x, y) -> Told:
    rows = [
        {int(j): float(v) for j, v in zip(x.indices[a:b], x.values[a:b], strict=True)}
        for a, b in zip(x.indptr[:-1], x.indptr[1:], strict=True)
    ]
    model, said = make(), []
    start = time.process_time()
    for row, label in zip(rows, y.tolist(), strict=True):
        said.append(model.predict_one(row))
        model.learn_one(row, label)
    seconds = time.process_time() - start
    return Told(float(np.mean([one == label for one, label in zip(said, y, strict=True)])), seconds)


def _sklearn(make, x, y, *, rows) -> Told:
    from scipy import sparse

    matrix = sparse.csr_array((x.values, x.indices, x.indptr), shape=(len(y), x.width))[:rows]
    model, said = make(), []
    start = time.process_time()
    for i in range(rows):
        said.append(model.predict(matrix[[i]])[0] if i else -1)
        model.partial_fit(matrix[[i]], y[i : i + 1], classes=[0, 1])
    return Told(float(np.mean(np.array(said) == y[:rows])), time.process_time() - start)


def lines_of_numbers() -> list[str]:
    lines = ["| numbers, MAE | ours | forgetting .99 | RLS | River | no-change | times as fast |", "|---" * 7 + "|"]
    for name, rows in {"TrumpApproval": beside.trump, "Fried": beside.fried}.items():
        x, y = rows()
        own = ours(rt.BayesianLinear, x, y)
        fading = ours(lambda: rt.BayesianLinear(forgetting=0.99), x, y)
        exact = ours(rt.RLS, x, y)
        river = theirs(_scaled, x, y)
        lines.append(
            f"| {name} | {own.right:.4f} | {fading.right:.4f} | {exact.right:.4f} | {river.right:.4f} | "
            f"{beside.no_change(y):.4f} | {river.seconds / own.seconds:.0f} |"
        )
    return lines


def _scaled():
    """River's, which has no bias of its own, on scaled features and a constant one."""
    one = compose.FuncTransformer(lambda _: {"one": 1.0})
    return (preprocessing.StandardScaler() + one) | linear_model.BayesianLinearRegression()


def coverage() -> str:
    """Intervals of the next label, asked for after every row of the first 400."""
    x, y = beside.fried(400)
    found = []
    for make in (rt.BayesianLinear, rt.RLS):
        learner, inside, wide = make(), 0, []
        for i in range(400):
            if i >= 2:
                low, high = rt.interval(learner, x[i : i + 1], coverage=0.9)[0]
                inside += low <= y[i] <= high
                wide.append(high - low)
            learner.learn(rt.Batch(x[i : i + 1], y=y[i : i + 1]))
        median = np.median(wide[:12])
        found.append(f"{make.__name__} {inside / 398:.3f}, median width over rows 3 to 14 {median:.3g}")
    return f"Intervals of coverage .9, first 400 rows of Fried: {'; '.join(found)}."


def main() -> None:
    if not beside.DATA.is_dir():
        return
    text = ["## Bayesian learners", "", *gaussians(), "", *texts(), "", *lines_of_numbers(), "", coverage(), "", load()]
    record("bayes", "\n".join(text))


if __name__ == "__main__":
    main()
