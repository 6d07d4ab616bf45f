"""What computes a frozen encoder of texts: torch or ONNX Runtime, in how many bits, and what is kept of the accuracy.

Sentences of CLINC150 through MiniLM beside a plain loop over the same model, as in `bench_clinc.py`: many at a time, as
where a file is encoded, and one at a time, as where someone waits for an answer. One thread; runs in turn, the ratio is
of the least CPU-seconds of each, exports not counted. The accuracy is that of SLDA on features of its own: every third
training sentence, all test sentences.
`python bench_runtimes.py [FOLDER] [--encoder NAME]`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from bench_clinc import BATCH, CLINC, ROUNDS, plain  # first: it sets the threads

import numpy as np  # isort: skip
import torch
from measure import load, record
from transformers import AutoModel, AutoTokenizer

import retain as rt
from retain.core import Batch
from retain.features.embed.packages import BRINGS_ONE, found

SLOW = "torch, bfloat16"  # its accuracy would take longer than all else together


def contenders(encoder: str, batch_size: int) -> dict[str, rt.Embed]:
    folder = found(encoder)
    half = AutoModel.from_pretrained(folder, local_files_only=True).bfloat16()
    return {
        "torch, float32": rt.Embed(encoder, batch_size=batch_size),
        SLOW: rt.Embed((half, AutoTokenizer.from_pretrained(folder)), batch_size=batch_size, tokens=256),
        "ONNX Runtime, float32": rt.Embed(encoder, batch_size=batch_size, runtime=rt.OnnxRuntime()),
        "ONNX Runtime, int8": rt.Embed(encoder, batch_size=batch_size, runtime=rt.OnnxRuntime(int8=True)),
    }


def speeds(made: dict[str, rt.Embed], loop, texts: list[str], rounds: int) -> dict[str, float]:
    """Sentences per CPU-second."""
    rows = np.array(texts, dtype=object)
    todo = {"a plain loop": lambda: loop(texts)}
    todo |= {name: lambda embed=embed: embed.apply(rows) for name, embed in made.items()}
    costs: dict[str, list[float]] = {name: [] for name in todo}
    for i in range(rounds + 1):  # the first one warms up, and exports
        for name, encode in todo.items():
            start = time.process_time()
            encode()
            if i:
                costs[name].append(time.process_time() - start)
    return {name: len(texts) / min(cost) for name, cost in costs.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=CLINC)
    parser.add_argument("--encoder", default=BRINGS_ONE[0])
    parser.add_argument("--sentences", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    if not given.folder.exists():
        print(f"no CLINC150 in {given.folder}: nothing is measured")
        return
    torch.set_num_threads(1)
    data = rt.streams.clinc150(given.folder)
    train, test = (np.array(rows.x.column(0).to_pylist(), dtype=object) for rows in (data.train, data.test))
    some = [str(text) for text in train[:: len(train) // given.sentences][: given.sentences]]
    loop = plain(found(given.encoder))
    one = speeds(contenders(given.encoder, 1), lambda texts: [loop([text]) for text in texts], some[::8], given.rounds)
    made = contenders(given.encoder, BATCH)
    many = speeds(made, loop, some, given.rounds)
    lines = [
        f"| encoder by | {BATCH} at a time, per CPU-second | ratio | one at a time | ratio | SLDA | differs by |",
        "|---" * 7 + "|",
    ]
    exact = loop(some)
    for name in many:
        kept = far = ""
        if name in made:
            far = f"{np.abs(made[name].apply(np.array(some, dtype=object)) - exact).max():.0e}"
        if name in made and name != SLOW:
            learner = rt.SLDA(batch_size=1 << 12)
            learner.learn(Batch(made[name].apply(train[::3]), y=data.train.y[::3]))
            learner.settle()
            kept = f"{100 * (learner.predict(made[name].apply(test)).argmax(axis=1) == data.test.y).mean():.2f}"
        ratios = [f"{speed[name]:,.0f} | {speed[name] / speed['a plain loop']:.2f}" for speed in (many, one)]
        lines.append(f"| {name} | {' | '.join(ratios)} | {kept} | {far} |")
        print(lines[-1], flush=True)
    about = f"Frozen {given.encoder}, {len(some)} sentences of CLINC150, one thread; {given.rounds} rounds."
    record("runtimes", "\n".join(["## What computes an encoder", "", about, "", *lines, "", load()]))


if __name__ == "__main__":
    main()
