"""What `bench_peers.py` runs: a contender in a process of its own, which does one job for each line it is given.

    python peers.py FOLDER retain|avalanche|torchvision|mammoth [MAMMOTH'S FOLDER]

A job is a JSON object and so is its answer: the CPU-seconds of training, and how right the trained module is. Making
learners, datasets and loaders is not counted, nor is the test; what a library does when an experience begins or ends
is. All contenders learn the same rows (standardised pixels, in FOLDER/rows.npz) by the same network, 784-400-400-10,
with Adam at 1e-3. `avalanche` gets the rows as tensors; `torchvision` is Avalanche as its SplitMNIST has it: images
through `torchvision.datasets.MNIST` and its transforms.

In this file a peer is imported only in its own process, by an interpreter that need not have retain.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import nn

EXPERIENCES, TEMPERATURE, LOGITS, LABELS, LAMBDA = 5, 2.0, 0.5, 0.5, 1.0
Predict = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Job:
    strategy: str
    batch: int  # rows of a step; as many again are drawn where rows are kept
    memory: int = 500
    rows: int = 10**9  # of each experience
    epochs: int = 1
    seed: int = 0
    stream: str = ""  # name of one that goes on: the next `rows` of it, each `batch` of them an experience


class Rows:
    """What there is to learn, and to be tested with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with np.load(folder / "rows.npz") as found:
            self.x, self.y, self.test_x, self.test_y = (found[name] for name in ("x", "y", "test_x", "test_y"))

    def first(self, rows: int) -> np.ndarray:
        """Places of the first rows of every experience, as they lie."""
        found = [np.flatnonzero(self.y // 2 == e)[:rows] for e in range(EXPERIENCES)]
        return np.sort(np.concatenate(found))


class Clock:
    """CPU-seconds while it runs."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.start = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self.start


# --- retain -----------------------------------------------------------------------------------------------------------


class Retain:
    """Through `learn`, whose predictions are scored, and `consolidate`."""

    def __init__(self, rows: Rows) -> None:
        import retain as rt

        self.rows, self.about = rows, f"{rt.__version__}, torch {torch.__version__}"

    def made(self, job: Job) -> Any:
        import retain as rt
        from retain.strategies import AGEM, EWC, DERpp, LwF, Replay

        kept = rt.memory.Reservoir(job.memory, seed=job.seed)
        balanced = rt.memory.ClassBalanced(job.memory, seed=job.seed)
        strategies = {
            # In a stream of many small experiences old rows count as much as new ones, as they do with the peers; in a
            # scenario as our default has it, as many times as there were experiences.
            "replay": lambda: Replay(balanced, size=job.batch, strength=1.0 if job.stream else None),
            "DER++": lambda: DERpp(kept, size=job.batch, strength=LOGITS, labels=LABELS),
            "LwF": lambda: LwF(temperature=TEMPERATURE),
            "EWC": EWC,
        }
        return rt.Neural(
            rt.neural.MLP(784, 400, 400, 10, seed=job.seed),
            strategies=[strategies[job.strategy]()] if job.strategy in strategies else [],
            projection=AGEM(rt.memory.Past(kept), size=job.batch) if job.strategy == "A-GEM" else None,
            # There are ten outputs from the start; the peers let all of them compete.
            criterion=rt.neural.CrossEntropy(unseen=True) if job.strategy == "DER++" else None,
            batch_size=job.batch,
            classes=10,
            seed=job.seed,
        )

    def scenario(self, job: Job, clock: Clock) -> Predict:
        import retain as rt

        random = np.random.default_rng(job.seed)
        at = self.rows.first(job.rows)
        learner = self.made(job)
        right = rt.metrics.Accuracy()
        for e in range(EXPERIENCES):
            own = at[self.rows.y[at] // 2 == e]
            with clock:
                for _ in range(job.epochs):
                    random.shuffle(own)
                    batch = rt.Batch(self.rows.x[own], y=self.rows.y[own])
                    right.update(batch.y, learner.learn(batch))
                learner.consolidate([batch])
        return lambda x: torch.from_numpy(learner.predict(x.numpy()))

    def stream(self, job: Job) -> Iterator[Predict]:
        import retain as rt

        learner = self.made(job)

        def predict(x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(learner.predict(x.numpy()))

        right = rt.metrics.Accuracy()
        yield predict  # ready
        while True:
            for start in range(0, len(self.rows.y) - job.batch + 1, job.batch):
                now = slice(start, start + job.batch)
                batch = rt.Batch(self.rows.x[now], y=self.rows.y[now])
                right.update(batch.y, learner.learn(batch))
                learner.consolidate([batch])
                yield predict


# --- Avalanche --------------------------------------------------------------------------------------------------------


def stand_in() -> None:
    """The operators that torchvision describes when it is imported, for builds whose own cannot be loaded.

    PyPI's torchvision is built for CUDA; beside a torch for CPUs alone it ends with 'operator torchvision::nms does not
    exist'. Nobody here calls them.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    kept.append(library)  # what it defines goes when it goes


kept: list[Any] = []


def network() -> nn.Module:
    layers = [nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 10)]
    return nn.Sequential(nn.Flatten(), *layers)


class Tensors(torch.utils.data.Dataset):
    """Rows as Avalanche and Mammoth want them: one by one, and all targets at once."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.data, self.targets = torch.from_numpy(x), torch.from_numpy(y)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.data[i], int(self.targets[i])


class Avalanche:
    """Through `strategy.train(experience)`, with the accuracy that its default evaluator has, not printed."""

    def __init__(self, rows: Rows, *, images: bool) -> None:
        stand_in()
        import avalanche

        self.rows, self.images = rows, images
        self.about = f"{avalanche.__version__}, torch {torch.__version__}"

    def benchmark(self, rows: int, experiences: int) -> Any:
        from avalanche.benchmarks import nc_benchmark

        at = self.rows.first(rows)
        if self.images:
            from torchvision import transforms
            from torchvision.datasets import MNIST

            train, test = MNIST(self.rows.folder, train=True), MNIST(self.rows.folder, train=False)
            train.data, train.targets = train.data[at], train.targets[at]
            shown = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
            views = {"train_transform": shown, "eval_transform": shown}
        else:
            train = Tensors(self.rows.x[at], self.rows.y[at])
            test, views = Tensors(self.rows.test_x, self.rows.test_y), {}
        return nc_benchmark(
            train, test, experiences, task_labels=False, shuffle=False, fixed_class_order=list(range(10)), **views
        )

    def made(self, job: Job) -> Any:
        from avalanche.evaluation.metrics import accuracy_metrics
        from avalanche.training import supervised
        from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
        from avalanche.training.storage_policy import ReservoirSamplingBuffer

        torch.manual_seed(job.seed)
        model = network()
        told = EvaluationPlugin(accuracy_metrics(epoch=True, experience=True, stream=True), loggers=[])
        shared = {
            "model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, fused=True),
            "criterion": nn.CrossEntropyLoss(),
            "train_mb_size": job.batch,
            "train_epochs": job.epochs,
            "eval_mb_size": 256,
            "evaluator": told,
        }
        reservoir = {"mem_size": job.memory, "storage_policy": ReservoirSamplingBuffer(job.memory)}
        strategies = {
            "naive": lambda: supervised.Naive(**shared),
            "replay": lambda: supervised.Replay(**shared, mem_size=job.memory),
            # The buffer of its guide to online streams; that of its Replay has a group for each experience.
            "replay, reservoir": lambda: supervised.Naive(**shared, plugins=[ReplayPlugin(**reservoir)]),
            "DER++": lambda: supervised.DER(**shared, mem_size=job.memory, alpha=LOGITS, beta=LABELS),
            "LwF": lambda: supervised.LwF(**shared, alpha=1.0, temperature=TEMPERATURE),
            "EWC": lambda: supervised.EWC(**shared, ewc_lambda=LAMBDA),
            "A-GEM": lambda: supervised.AGEM(
                **shared, patterns_per_exp=job.memory // EXPERIENCES, sample_size=job.batch
            ),
        }
        return strategies[job.strategy]()

    def scenario(self, job: Job, clock: Clock) -> Predict:
        strategy = self.made(job)
        for experience in self.benchmark(job.rows, EXPERIENCES).train_stream:
            with clock:
                strategy.train(experience)
        return strategy.model.eval()

    def stream(self, job: Job) -> Iterator[Predict]:
        from avalanche.benchmarks.scenarios.online import split_online_stream

        strategy = self.made(job)
        stream = self.benchmark(len(self.rows.y), 1).train_stream
        yield strategy.model
        while True:  # shuffled, since the benchmark has put all rows of a class side by side
            for experience in split_online_stream(stream, experience_size=job.batch, drop_last=True, seed=job.seed):
                strategy.train(experience)
                yield strategy.model


# --- Mammoth ----------------------------------------------------------------------------------------------------------


MODELS = {"naive": "sgd", "replay": "er", "DER++": "derpp", "LwF": "lwf", "EWC": "ewc_on", "A-GEM": "agem"}


class Mammoth:
    """Through `load_runner` and `train`, with a dataset of its own that hands it tensors; it has no online stream."""

    def __init__(self, rows: Rows, folder: Path) -> None:
        stand_in()
        # Not among its requirements, but tried: where it is, every step asks the system what memory it uses.
        sys.modules["psutil"] = None  # type: ignore[assignment]
        # All its datasets are imported, whichever is asked for, and one of them fetches a model while it is.
        sys.modules["open_clip"] = MagicMock()
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        from datasets import register_dataset
        from datasets.utils.continual_dataset import ContinualDataset, store_masked_loaders

        class Row(Tensors):
            def __getitem__(self, i: int) -> tuple[torch.Tensor, int, torch.Tensor]:
                return self.data[i], self.targets[i], self.data[i]

        @register_dataset("rows")
        class Split(ContinualDataset):
            NAME, SETTING = "rows", "class-il"
            N_CLASSES_PER_TASK, N_TASKS, N_CLASSES, SIZE, TRANSFORM = 2, EXPERIENCES, 10, (28, 28), None
            at = np.arange(0)

            def get_data_loaders(self):
                train, test = Row(rows.x[self.at], rows.y[self.at]), Tensors(rows.test_x, rows.test_y)
                return store_masked_loaders(train, test, self)

            @staticmethod
            def get_backbone() -> str:
                return "mnistmlp"

            @staticmethod
            def get_transform() -> None:
                return None

            @staticmethod
            def get_loss() -> Callable[..., torch.Tensor]:
                return nn.functional.cross_entropy

            @staticmethod
            def get_normalization_transform() -> None:
                return None

            @staticmethod
            def get_denormalization_transform() -> None:
                return None

            @staticmethod
            def evaluate(model, dataset, last=False, return_loss=False) -> tuple[list[float], list[float]]:
                """Nothing: contenders are tested alike, when they have learnt all."""
                return [0.0] * dataset.c_task + [0.0], [0.0] * dataset.c_task + [0.0]

        self.rows, self.dataset, self.results = rows, Split, rows.folder / "mammoth"
        self.about = f"torch {torch.__version__}"

    def scenario(self, job: Job, clock: Clock) -> Predict:
        from utils.notebooks import load_runner
        from utils.training import train

        self.dataset.at = self.rows.first(job.rows)
        given = {
            "lr": 1e-3,
            "optimizer": "adam",
            "batch_size": job.batch,
            "n_epochs": job.epochs,
            "backbone": "mnistmlp",
            "mlp_hidden_size": 400,
            "seed": job.seed,
            "num_workers": 0,
            "non_verbose": 1,
            "base_path": f"{self.results}/",
            "results_path": "results/",
        }
        if job.strategy in ("replay", "DER++", "A-GEM"):
            given |= {"buffer_size": job.memory, "minibatch_size": job.batch}
        own = {
            "DER++": {"alpha": LOGITS, "beta": LABELS},
            "LwF": {"alpha": 1.0, "softmax_temp": TEMPERATURE},
            "EWC": {"e_lambda": LAMBDA, "gamma": 1.0},
        }
        given |= own.get(job.strategy, {})
        model, dataset = load_runner(MODELS[job.strategy], "rows", given)
        torch.set_num_threads(1)  # it asks for two when it is imported
        with clock:
            train(model, dataset)
        return model.net.eval()


# --- jobs -------------------------------------------------------------------------------------------------------------


def contender(name: str, rows: Rows, folder: str) -> Retain | Avalanche | Mammoth:
    if name == "retain":
        return Retain(rows)
    return Mammoth(rows, Path(folder)) if name == "mammoth" else Avalanche(rows, images=name == "torchvision")


def main(folder: str, name: str, mammoth: str = "") -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # peers print
    torch.set_num_threads(1)
    rows = Rows(Path(folder))
    made = contender(name, rows, mammoth)
    test_x, test_y = torch.from_numpy(rows.test_x), torch.from_numpy(rows.test_y)
    print(json.dumps({"about": made.about}), file=answers, flush=True)
    streams: dict[str, Iterator[Predict]] = {}
    for line in sys.stdin:
        job = Job(**json.loads(line))
        clock = Clock()
        if job.stream:
            if job.stream not in streams:
                streams[job.stream] = made.stream(job)
                next(streams[job.stream])
            going = streams[job.stream]
            with clock:
                for _ in range(job.rows // job.batch):
                    predict = next(going)
        else:
            predict = made.scenario(job, clock)
        with torch.no_grad():
            right = predict(test_x).argmax(1) == test_y
        print(json.dumps({"cpu": clock.seconds, "accuracy": float(right.float().mean())}), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
