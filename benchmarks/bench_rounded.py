"""Weights that are learnt to be rounded, beside weights that are rounded afterwards, by how many bits they have left.

scikit-learn's digits, 64-64-64-10, 20 passes in batches as they are by default, Adam 1e-3, weights of every layer
rounded by output as `retain.compression.Int8` does, activations and biases not; three of ten rows are tested on.
Needs no data beside the repository: `python bench_rounded.py [--seeds N]`.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from measure import load, record

import retain as rt
from retain.core import Batch
from retain.strategies import Rounded
from retain.strategies.rounded import rounded

PASSES, WIDTHS = 20, (64, 64, 64, 10)
BITS = 8, 4, 3, 2


def flat(batch: Batch) -> Batch:
    return Batch(batch.x.reshape(len(batch), -1), y=batch.y)


def right(train: Batch, test: Batch, seed: int, bits: int | None, *, learnt: bool) -> float:
    """Per cent of the test rows that a net says with weights of so many bits; None: as they are."""
    strategies = [Rounded(bits)] if learnt and bits else []
    learner = rt.Neural(rt.neural.MLP(*WIDTHS, seed=seed), strategies=strategies)
    random = np.random.default_rng(seed)
    for _ in range(PASSES):
        order = random.permutation(len(train))
        learner.learn(Batch(train.x[order], y=train.y[order]))
    weights = learner.module.state_dict()
    if bits:
        weights = {name: rounded(w, bits=bits) if w.ndim > 1 else w for name, w in weights.items()}
    net = rt.neural.MLP(*WIDTHS)
    net.load_state_dict(weights)
    said = net(torch.from_numpy(test.x)).argmax(1).numpy()
    return 100 * float((said == test.y).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    torch.set_num_threads(1)
    data = rt.streams.digits(share=0.3)
    train, test = flat(data.train), flat(data.test)

    def cell(bits: int | None, *, learnt: bool) -> str:
        found = [right(train, test, seed, bits, learnt=learnt) for seed in seeds]
        return f"{np.mean(found):.1f} ± {np.std(found, ddof=1) / len(found) ** 0.5:.1f}"

    whole = cell(None, learnt=False)
    lines = [
        "## Weights that are learnt to be rounded",
        "",
        f"Per cent of {len(test)} test rows ± standard error over {len(seeds)} seeds; {whole} as is.",
        "",
        "| bits | rounded afterwards | learnt with `Rounded` |",
        "|---" * 3 + "|",
        *(f"| {bits} | {cell(bits, learnt=False)} | {cell(bits, learnt=True)} |" for bits in BITS),
        "",
        load(),
    ]
    record("rounded", "\n".join(lines))


if __name__ == "__main__":
    main()
