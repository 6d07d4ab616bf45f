"""CLINC150 on a frozen sentence encoder: 15 experiences of 10 intents, no stored sentence, no task told in the test.

All that learns is given the same features, once, experience after experience, and solves after each; what counts is
the accuracy on the test sentences of all 150 intents at the end, and the CPU-seconds from the first row learnt to the
last answer; beside it how well `retain.novelty` tells the 1,000 test sentences that have no intent from the others, as
the area under the ROC curve. To choose the penalty after every experience would take twenty times as long as to solve:
where it is chosen, the sums of the experiences are merged, and it is chosen once, from them. The joint logistic
regression sees all rows at once, as often as it likes: what there is to reach.
Encoding is beside a plain loop over the same model as transformers' users write it who care: sorted by tokens, padded
by the batch, no gradient, mean over the mask. Both are run in turn; the ratio is of CPU-seconds.
Needs the folder of CLINC150, the one beside the repository if none is named, and an encoder:
`python bench_clinc.py [FOLDER] [--encoder NAME] [--cache FOLDER]`.
"""

from __future__ import annotations

import argparse
import copy
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

import time  # noqa: E402 - as are those below: the threads first
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402

import numpy as np  # noqa: E402
from measure import MNIST, load, record  # noqa: E402

import retain as rt  # noqa: E402
from retain.compose import consolidate  # noqa: E402
from retain.core import Batch, Learner  # noqa: E402
from retain.features.embed.packages import BRINGS_ONE, found  # noqa: E402
from retain.run import scenarios  # noqa: E402
from retain.run.scenarios import Scenario  # noqa: E402

CLINC = MNIST.parent / "clinc150"
EXPERIENCES = 15
BAR, AIM, SECONDS, SPEED, AREA = 94.3, 95.3, 30.0, 0.9, 0.93
SEEN = {"random features, 2,000": 94.5, "SLDA": 92.8, "nearest mean": 91.7, "sequential softmax": 62.2}
JOINT = 95.3
NEW_FROM = 140
SENTENCES, ROUNDS, BATCH = 1_000, 5, 32


def one_by_one(make: Callable[[], Learner]) -> Callable[[Scenario, int], Learner]:
    def learnt(scenario: Scenario, _: int) -> Learner:
        learner = make()
        for experience in scenario.experiences:
            learner.learn(experience.train)
            consolidate(learner, [experience.train])
        return learner

    return learnt


def merged(width: int) -> Callable[[Scenario, int], Learner]:
    """Each experience as sums of its own, added to those before; the penalty chosen from them at the end."""

    def learnt(scenario: Scenario, seed: int) -> Learner:
        features, whole = rt.RandomFeatures(width, seed=seed), rt.Ridge(l2=None)
        for experience in scenario.experiences:
            part = rt.Ridge(l2=None, batch_size=len(experience.train))
            part.learn(features.learn(experience.train))
            whole.merge(part)
        return features | whole

    return learnt


RECIPES: dict[str, tuple[bool, Callable[[Scenario, int], Learner]]] = {  # whether it is random, and what has learnt
    "sequential softmax": (False, one_by_one(lambda: rt.Linear(loss=rt.Multinomial()))),
    "nearest mean": (False, one_by_one(lambda: rt.NearestMean(batch_size=1 << 12))),
    "ridge": (False, one_by_one(lambda: rt.Ridge(l2=None, batch_size=1 << 12))),
    "SLDA": (False, one_by_one(lambda: rt.SLDA(batch_size=1 << 12))),
    "FeCAM": (False, one_by_one(lambda: rt.FeCAM(batch_size=1 << 12))),
    "random features, 2,000": (True, merged(2000)),
    "random features, 3,000": (True, merged(3000)),
    "random features, 4,000": (True, merged(4000)),
}


def verdict(reached: float, bar: float, *, above: bool = True) -> str:
    return "reached" if (reached >= bar if above else reached <= bar) else "missed"


def incremental(scenario: Scenario, test: Batch, outside: Batch, seeds: int) -> list[str]:
    head = ("final accuracy", "seen elsewhere", f"at least {BAR:g} %", f"aim {AIM:g} %", "CPU-seconds")
    tail = (f"at most {SECONDS:g}", "out of scope, AUROC", f"at least {AREA:g}")
    lines = [f"| CLINC150 | {' | '.join([*head, *tail])} |", "|---" * (len(head) + len(tail) + 1) + "|"]
    none = np.arange(len(test) + len(outside)) >= len(test)
    for name, (random, make) in RECIPES.items():
        scores, costs, areas = [], [], []
        for seed in range(seeds if random else 1):
            start = time.process_time()
            learner = make(scenario, seed)
            said = learner.predict(test.x).argmax(axis=1)
            costs.append(time.process_time() - start)
            scores.append(100 * float((said == test.y).mean()))
            new = np.r_[rt.novelty(learner, test.x), rt.novelty(learner, outside.x)]
            areas.append(rt.metrics.roc_area(none, new))
        spread = f" ± {np.std(scores, ddof=1) / np.sqrt(len(scores)):.2f}" if len(scores) > 1 else ""
        score, cpu, area = (float(np.mean(found)) for found in (scores, costs, areas))
        lines.append(
            f"| {name} | {score:.2f}{spread} | {SEEN.get(name, '')} | {verdict(score, BAR)} | {verdict(score, AIM)} "
            f"| {cpu:.1f} | {verdict(cpu, SECONDS, above=False)} | {area:.3f} | {verdict(area, AREA)} |"
        )
        print(lines[-1], flush=True)
    return lines


def joint(train: Batch, test: Batch) -> str:
    from sklearn.linear_model import LogisticRegression

    start = time.process_time()
    model = LogisticRegression(C=10.0, max_iter=1000).fit(train.x, train.y)
    score = 100 * model.score(test.x, test.y)
    return f"| joint logistic regression | {score:.2f} | {JOINT} | | | {time.process_time() - start:.1f} | | | |"


def on_the_spot(train: Batch, test: Batch) -> list[str]:
    """All intents but the last ten learnt from all their sentences, each of those ten from five, drawn five times."""
    known = train.y < NEW_FROM
    old, new = (Batch(test.x[rows], y=test.y[rows]) for rows in (test.y < NEW_FROM, test.y >= NEW_FROM))
    lines = [
        "| ten intents taught by five sentences each | right of theirs | of the others, before | after |",
        "|---|---|---|---|",
    ]
    learners = {"SLDA": rt.SLDA(), "nearest mean": rt.NearestMean(), "ridge, balanced": rt.Ridge(l2=1.0, balanced=True)}
    for name, learner in learners.items():
        learner.learn(Batch(train.x[known], y=train.y[known]))
        learner.settle()
        before = float((learner.predict(old.x).argmax(axis=1) == old.y).mean())
        right: list[list[float]] = []
        for seed in range(5):
            taught, rng = copy.deepcopy(learner), np.random.default_rng(seed)
            for code in range(NEW_FROM, int(train.y.max()) + 1):
                rt.add_examples(taught, rng.choice(train.x[train.y == code], 5, replace=False), label=code)
            right.append([float((taught.predict(rows.x).argmax(axis=1) == rows.y).mean()) for rows in (new, old)])
        theirs, others = 100 * np.mean(right, axis=0)
        error = 100 * np.std(right, axis=0, ddof=1)[0] / np.sqrt(len(right))
        lines.append(f"| {name} | {theirs:.1f} ± {error:.1f} | {100 * before:.1f} | {others:.1f} |")
    return lines


def plain(folder: Path) -> Callable[[list[str]], np.ndarray]:
    """The loop beside which `Embed` is measured."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    def encode(texts: list[str]) -> np.ndarray:
        ids = tokenizer(texts, truncation=True, max_length=256)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        out = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                some = order[start : start + BATCH]
                batch = tokenizer.pad({"input_ids": [ids[i] for i in some]}, return_tensors="pt")
                hidden = model(**batch).last_hidden_state
                mask = batch["attention_mask"].unsqueeze(-1).float()
                pooled = (hidden * mask).sum(1) / mask.sum(1)
                out[some] = torch.nn.functional.normalize(pooled).numpy()
        return out

    return encode


def encoding(train: Batch, encoder: str) -> list[str]:
    """Sentences per CPU-second, beside the plain loop."""
    import torch

    torch.set_num_threads(1)
    texts = [str(text) for text in train.x.column(0)[:: len(train) // SENTENCES][:SENTENCES].to_pylist()]
    loop, embed = plain(found(encoder)), rt.Embed(encoder, batch_size=BATCH)
    rows = np.array(texts, dtype=object)
    contenders = {"a plain loop": lambda: loop(texts), "Embed": lambda: embed.apply(rows)}
    costs: dict[str, list[float]] = {name: [] for name in contenders}
    made: dict[str, np.ndarray] = {}
    for i in range(ROUNDS + 1):  # the first one warms up
        for name, encode in contenders.items():
            start = time.process_time()
            made[name] = encode()
            if i:
                costs[name].append(time.process_time() - start)
    far = float(np.abs(made["Embed"] - made["a plain loop"]).max())
    ratios = [costs["a plain loop"][i] / costs["Embed"][i] for i in range(ROUNDS)]
    lines = [f"| encoding {len(texts):,} sentences, one thread | per CPU-second | ratio | .9 |", "|---|---|---|---|"]
    for name, cost in costs.items():
        ratio = min(costs["a plain loop"]) / min(cost)
        lines.append(f"| {name} | {len(texts) / min(cost):,.0f} | {ratio:.2f} | {verdict(ratio, SPEED)} |")
    return [*lines, "", f"Median of the {ROUNDS} ratios: {median(ratios):.2f}. Features differ by at most {far:.0e}."]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=CLINC)
    parser.add_argument("--encoder", default=BRINGS_ONE[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--five", action="store_true", help="only the intents taught by five sentences each")
    parser.add_argument("--cache", type=Path, help="keep features here: encoding takes a minute or more")
    given = parser.parse_args()
    if not given.folder.exists():
        print(f"no CLINC150 in {given.folder}: nothing is measured")
        return
    data = rt.streams.clinc150(given.folder)
    embed = rt.Embed(given.encoder, cache=given.cache)
    none = rt.streams.clinc150(given.folder, out_of_scope=True).test
    start = time.process_time()
    train, test, outside = (embed.learn(Batch(rows.x, y=rows.y)) for rows in (data.train, data.test, none))
    print(f"encoded in {time.process_time() - start:.0f} CPU-seconds", flush=True)
    train, test, outside = (
        Batch(np.column_stack([c.to_numpy() for c in rows.x.columns]), y=rows.y) for rows in (train, test, outside)
    )
    five = ["## Intents taught on the spot", "", f"CLINC150, frozen {given.encoder}.", "", *on_the_spot(train, test)]
    record("clinc-five", "\n".join(five))
    if given.five:
        return
    speed = encoding(data.train, given.encoder)
    scenario = scenarios.class_incremental(rt.streams.TrainTest(train, test), experiences=EXPERIENCES)
    lines = [*incremental(scenario, test, outside, given.seeds), joint(train, test)]
    about = (
        f"Frozen {given.encoder}, {EXPERIENCES} experiences of {len(data.classes) // EXPERIENCES} intents, each row "
        f"learnt once; mean and standard error of {given.seeds} seeds where there is chance. CPU-seconds are those "
        "after encoding."
    )
    record("clinc", "\n".join(["## Intents on a frozen encoder", "", about, "", *lines, "", *speed, "", load()]))


if __name__ == "__main__":
    main()
