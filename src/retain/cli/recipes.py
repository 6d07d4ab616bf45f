"""What `retain continual` knows by name: data sets, scenarios, strategies, models. Adding one is one row."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

import retain as rt
from retain.blocks import dense, matrix
from retain.cli.catalogue import Entry, find
from retain.cli.pictures import encoded
from retain.cli.texts import looked_at, words
from retain.core import CSR, Kind, Learner, Schema
from retain.errors import SettingError
from retain.learners.auto import encoder
from retain.run import scenarios
from retain.run.scenarios import Scenario
from retain.streams import TrainTest

if TYPE_CHECKING:
    from torch.nn import Module

    from retain.core import Averaging, Head, Memory, Projection, Strategy
    from retain.learners.neural import Criterion, Neural

__all__ = ["DATA", "MODELS", "RECIPES", "SCENARIOS", "Columns", "Recipe", "Settings", "build", "load", "recipe"]

_WIDEST = 20_000  # columns of an encoded file: more do not fit into memory as dense rows


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """What recipes are made with."""

    shape: tuple[int, ...]  # of a row as the scenario shows it
    classes: int
    experiences: int
    tasks: bool
    boundaries: bool
    model: str
    hidden: tuple[int, ...]
    memory: int
    batch_size: int
    rate: float
    threads: int
    device: str


# --- learners ---------------------------------------------------------------------------------------------------------


def _mlp(settings: Settings, seed: int) -> Module:
    inputs = int(np.prod(settings.shape))
    return rt.neural.MLP(inputs, *settings.hidden, settings.classes, seed=seed)


def _channels(settings: Settings) -> int:
    if len(settings.shape) != 3:
        raise SettingError(
            f"--model {settings.model} needs images; rows have the shape {settings.shape}: say --model mlp"
        )
    return settings.shape[0]


MODELS: Mapping[str, Entry[Callable[[Settings, int], Module]]] = {
    "mlp": Entry("layers of --hidden units with ReLU between them", _mlp),
    "conv": Entry(
        "three blocks of convolution, for images", lambda s, seed: rt.neural.ConvNet(_channels(s), s.classes, seed=seed)
    ),
    "resnet18": Entry(
        "a residual net of 18 layers, for images of 32 x 32",
        lambda s, seed: rt.neural.ResNet18(s.classes, channels=_channels(s), seed=seed),
    ),
}


def _neural(
    settings: Settings,
    seed: int,
    strategies: Sequence[Strategy] = (),
    *,
    criterion: Criterion | None = None,
    projection: Projection | None = None,
    averaging: Averaging | None = None,
    head: Head | None = None,
) -> Neural:
    import torch

    torch.set_num_threads(settings.threads)
    module = find(MODELS, settings.model, "model")(settings, seed)
    try:
        module.to(settings.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).splitlines()[0]
        raise SettingError(
            f"--device {settings.device} is no device that torch has here ({first}); expected cpu, cuda, cuda:1, ..."
        ) from error
    return rt.Neural(
        module,
        criterion=criterion,
        optimizer=torch.optim.Adam(module.parameters(), lr=settings.rate),
        strategies=strategies,
        projection=projection,
        averaging=averaging,
        head=head,
        batch_size=settings.batch_size,
        task_masks=settings.tasks,
        seed=seed,
    )


def _alone(part: Callable[[], Strategy]) -> Callable[[Settings, int], Neural]:
    """One strategy that keeps no rows and needs no settings; made when it is asked for, since it may need torch."""
    return lambda settings, seed: _neural(settings, seed, [part()])


def _shares(settings: Settings, seed: int) -> Memory:
    """Equal shares for the classes, where there is a row for each of them."""
    kind = rt.memory.ClassBalanced if settings.memory >= settings.classes else rt.memory.Reservoir
    return kind(settings.memory, seed=seed)


def _past(settings: Settings, seed: int) -> Memory:
    """The same of experiences that have ended, where that is told: then all that is replayed is old."""
    memory = _shares(settings, seed)
    return rt.memory.Past(memory) if settings.boundaries else memory


def _replay(settings: Settings, memory: Memory) -> Strategy:
    # A scenario has a few large experiences: as it ends, all of them are asked for alike.
    return rt.strategies.Replay(memory, size=settings.batch_size, strength=None)


def _er_ace(settings: Settings, seed: int) -> Learner:
    # New classes are told from old ones by replayed rows alone: the memory must hold both, so not `_past`.
    old = _replay(settings, _shares(settings, seed))
    return _neural(settings, seed, [old], criterion=rt.neural.ACE())


def _der(settings: Settings, seed: int) -> Learner:
    part = rt.strategies.DER(_shares(settings, seed), size=settings.batch_size, strength=None)
    return _neural(settings, seed, [part])


def _derpp(settings: Settings, seed: int) -> Learner:
    part = rt.strategies.DERpp(_shares(settings, seed), size=settings.batch_size, times=None)
    return _neural(settings, seed, [part])


def _agem(settings: Settings, seed: int) -> Learner:
    return _neural(settings, seed, projection=rt.strategies.AGEM(_past(settings, seed), size=8 * settings.batch_size))


def _gem(settings: Settings, seed: int) -> Learner:
    return _neural(
        settings, seed, projection=rt.strategies.GEM(rt.memory.ExperienceBalanced(settings.memory, seed=seed))
    )


def _icarl(settings: Settings, seed: int) -> Learner:
    exemplars = rt.memory.Herding(settings.memory, seed=seed)
    parts = [_replay(settings, exemplars), rt.strategies.LwF()]
    return _neural(settings, seed, parts, head=rt.strategies.NearestMean(exemplars))


def _wa(settings: Settings, seed: int) -> Learner:
    parts = [_replay(settings, _past(settings, seed)), rt.strategies.LwF(), rt.strategies.WA()]
    return _neural(settings, seed, parts)


def _bic(settings: Settings, seed: int) -> Learner:
    aside = max(settings.memory // 10, settings.classes)  # the paper's share
    memory = _past(replace(settings, memory=max(settings.memory - aside, 1)), seed)
    head = rt.strategies.BiC(rt.memory.ClassBalanced(aside, seed=seed + 1))
    return _neural(settings, seed, [_replay(settings, memory), rt.strategies.LwF()], head=head)


def _ema(settings: Settings, seed: int) -> Learner:
    old = _replay(settings, _past(settings, seed))
    return _neural(settings, seed, [old], averaging=rt.strategies.EMA())


def _cls_er(settings: Settings, seed: int) -> Learner:
    stable = rt.strategies.EMA()
    part = rt.strategies.CLSER(_shares(settings, seed), size=settings.batch_size, stable=stable, times=None)
    return _neural(settings, seed, [part], averaging=stable)


def _wise(settings: Settings, seed: int) -> Learner:
    memory = _past(settings, seed)
    return _neural(settings, seed, [_replay(settings, memory)], averaging=rt.strategies.WiSE(memory=memory))


def _slow_fast(settings: Settings, seed: int) -> Learner:
    memory, slow = _past(settings, seed), rt.strategies.EMA()
    head = rt.strategies.Solved(lambda: rt.SLDA(batch_size=settings.batch_size), memory, slow=slow)
    return _neural(settings, seed, [_replay(settings, memory)], averaging=slow, head=head)


def _first_session(settings: Settings, seed: int) -> Learner:
    # Balanced: the first experience is solved once, later ones as often as the loop goes through them.
    solved = rt.RandomFeatures(2000, seed=seed) | rt.Ridge(balanced=True, batch_size=4096)
    return rt.neural.FirstSession(_neural(settings, seed), solved)


def _gdumb(settings: Settings, seed: int) -> Learner:
    memory = rt.memory.ClassBalanced(settings.memory, seed=seed)
    every = 10**9 if settings.boundaries else 1000  # trained where an experience ends, if that is told: it takes long
    return rt.neural.GDumb(partial(_neural, settings, seed), memory, every=every, seed=seed)


def _packnet(settings: Settings, seed: int) -> Strategy:
    return rt.strategies.PackNet(size=settings.batch_size, rate=settings.rate, seed=seed)


def _progress(settings: Settings, seed: int) -> Strategy:
    return rt.strategies.ProgressCompress(size=settings.batch_size, rate=settings.rate, seed=seed)


def _as_it_is(scenario: Scenario) -> Scenario:
    return scenario


@final
@dataclass(frozen=True, slots=True)
class Recipe:
    """A strategy by name: what it is, what learns, and what it sees of a scenario."""

    about: str
    make: Callable[[Settings, int], Learner]
    arrange: Callable[[Scenario], Scenario] = _as_it_is
    neural: bool = True
    tasks: bool = False  # whether rows must tell their task


RECIPES: Mapping[str, Recipe] = {
    "naive": Recipe("goes on training and does nothing else: the lower bound", _neural),
    "joint": Recipe("all experiences at once: the upper bound", _neural, scenarios.joint),
    "cumulative": Recipe("in every stage all rows so far, from scratch", _neural, scenarios.cumulative),
    "replay": Recipe(
        "old rows beside the new ones, --memory of them in equal shares for the classes",
        lambda settings, seed: _neural(settings, seed, [_replay(settings, _past(settings, seed))]),
    ),
    "er-ace": Recipe("replay; new rows compete with the classes of their own mini-batch only", _er_ace),
    "der": Recipe("replay of what the net said of old rows when they were new", _der),
    "der++": Recipe("der, and the labels of old rows too", _derpp),
    "ema": Recipe("replay; answers with the moving average of the weights: for thousands of steps", _ema),
    "cls-er": Recipe("replay beside a quick and a slow average of the weights, which teach", _cls_er),
    "wise": Recipe("replay; goes back part of the way to the weights before, as far as old rows profit", _wise),
    "slow-fast": Recipe("ema; answers by discriminant analysis on what the averaged net sees, solved anew", _slow_fast),
    "first-session": Recipe(
        "trained in the first experience only; then ridge on 2,000 random features of what it sees; keeps no rows",
        _first_session,
    ),
    "gdumb": Recipe("a new net is trained on a balanced memory and nothing else", _gdumb),
    "icarl": Recipe("replay of exemplars chosen by herding, a teacher, the nearest mean decides", _icarl),
    "wa": Recipe("replay, a teacher, and new classes' weights made no longer than old ones'", _wa),
    "bic": Recipe("replay, a teacher, and new classes' scores corrected on rows set aside", _bic),
    "a-gem": Recipe("steps that would harm rows drawn from memory are turned", _agem),
    "gem": Recipe("steps that would harm the rows of any past experience are turned", _gem),
    "lwf": Recipe(
        "the net of the last experience teaches the new one; keeps no rows",
        _alone(lambda: rt.strategies.LwF()),
    ),
    "ewc": Recipe(
        "weights are held where they matter, by Fisher information; keeps no rows",
        _alone(lambda: rt.strategies.EWC()),
    ),
    "online-ewc": Recipe(
        "ewc that fades with every experience",
        _alone(lambda: rt.strategies.OnlineEWC()),
    ),
    "progress-compress": Recipe(
        "learns an experience freely, then teaches it to a base that online-ewc holds; keeps no rows",
        lambda settings, seed: _neural(settings, seed, [_progress(settings, seed)]),
    ),
    "si": Recipe(
        "weights are held by what their steps did for the loss; keeps no rows",
        _alone(lambda: rt.strategies.SI()),
    ),
    "mas": Recipe(
        "weights are held by how far they move the outputs; keeps no rows",
        _alone(lambda: rt.strategies.MAS()),
    ),
    "packnet": Recipe(
        "every task has weights of its own, and those of tasks before: forgets nothing; --scenario task; keeps no rows",
        lambda settings, seed: _neural(settings, seed, [_packnet(settings, seed)]),
        tasks=True,
    ),
    "l2-sp": Recipe(
        "all weights are drawn to where the experience began; keeps no rows",
        _alone(lambda: rt.strategies.L2SP()),
    ),
    "l2-init": Recipe(
        "all weights are drawn to where learning began, so that the net goes on learning; keeps no rows",
        _alone(lambda: rt.strategies.L2Init()),
    ),
    "shrink-perturb": Recipe(
        "weights are made shorter and shaken where an experience ends, so that the net goes on learning; keeps no rows",
        lambda settings, seed: _neural(settings, seed, [rt.strategies.ShrinkPerturb(seed=seed)]),
    ),
    "backprop": Recipe(
        "hidden units of no use begin anew, so that the net goes on learning; plain layers only; keeps no rows",
        lambda settings, seed: _neural(settings, seed, [rt.strategies.ContinualBackprop(seed=seed)]),
    ),
    "linear": Recipe(
        "a linear model that goes on learning; needs no torch",
        lambda _settings, _seed: rt.Linear(loss=rt.Multinomial()),
        neural=False,
    ),
    "rls": Recipe(
        "recursive least squares: forgets nothing, by construction; needs no torch",
        lambda _settings, _seed: rt.RLS(),
        neural=False,
    ),
    "ridge": Recipe(
        "ridge regression on 2,000 random features: forgets nothing, by construction; keeps no rows; needs no torch",
        lambda _settings, seed: rt.RandomFeatures(2000, seed=seed) | rt.Ridge(batch_size=4096),
        neural=False,
    ),
    "slda": Recipe(
        "streaming linear discriminant analysis, means and one covariance: forgets nothing; keeps no rows",
        lambda _settings, _seed: rt.SLDA(batch_size=4096),
        neural=False,
    ),
    "fecam": Recipe(
        "class means, each with a covariance of its own: forgets nothing; keeps no rows",
        lambda _settings, _seed: rt.FeCAM(batch_size=4096),
        neural=False,
    ),
    "nearest-mean": Recipe(
        "the class whose mean is nearest: forgets nothing; keeps no rows; the one to be better than",
        lambda _settings, _seed: rt.NearestMean(batch_size=4096),
        neural=False,
    ),
}


def recipe(name: str, /) -> Recipe:
    """The strategy of that name. Raises SettingError with the nearest names."""
    find({key: Entry(entry.about, entry) for key, entry in RECIPES.items()}, name, "strategy")
    return RECIPES[name]


def build(name: str, settings: Settings, seed: int, /) -> Learner:
    """The learner of a strategy: a function of a module, so that other processes find it."""
    return RECIPES[name].make(settings, seed)


# --- scenarios --------------------------------------------------------------------------------------------------------


def _classes(data: TrainTest, experiences: int | None) -> Scenario:
    return scenarios.class_incremental(data, experiences=_count(data, experiences))


def _count(data: TrainTest, experiences: int | None) -> int:
    return min(5, len(data.classes)) if experiences is None else experiences


SCENARIOS: Mapping[str, Entry[Callable[[TrainTest, int | None], Scenario]]] = {
    "class": Entry("new classes in every experience; the test asks among all", _classes),
    "task": Entry(
        "new classes in every experience; training and test are told which it is",
        lambda data, n: scenarios.task_incremental(data, experiences=_count(data, n)),
    ),
    "domain": Entry(
        "new inputs for the same labels: the first, second, ... class of each experience",
        lambda data, n: scenarios.domain_incremental(data, experiences=_count(data, n)),
    ),
    "online": Entry("as class, with every row seen once", lambda data, n: scenarios.online(_classes(data, n))),
    "blurry": Entry(
        "as class, with a tenth of the rows of every class in other experiences",
        lambda data, n: scenarios.blurry(data, experiences=_count(data, n)),
    ),
    "task-free": Entry(
        "as class, with nothing told of where experiences end", lambda data, n: scenarios.task_free(_classes(data, n))
    ),
    "permuted": Entry(
        "all rows, their inputs in another order each time",
        lambda data, n: scenarios.permuted(data, experiences=n or 10),
    ),
    "rotated": Entry(
        "all images, turned further each time, by 180 degrees in all",
        lambda data, n: scenarios.rotated(data, experiences=n or 20),
    ),
    "split": Entry(
        "rows dealt at random: nothing changes, and nothing should be lost",
        lambda data, n: scenarios.split(data, experiences=n or 5),
    ),
}


# --- data -------------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class Columns:
    """What is said of the columns of a CSV file."""

    target: str | None = None
    text: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    delimiter: str | None = None
    missing: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None


def _place(name: str, place: str | None) -> str:
    if place is None:
        raise SettingError(f"{name} needs a file; say {name}:FILE")
    return place


def _digits(place: str | None, _: Columns) -> TrainTest:
    if place is not None:
        raise SettingError(f"the digits come with scikit-learn, not from {place}; say digits")
    return rt.streams.digits()


def _csv(place: str | None, columns: Columns) -> TrainTest:
    """The rows of a file as numbers of one size; what is needed for that is learnt from the rows to learn.

    Where texts are named, they alone are what is learnt from, and stay texts.
    """
    if columns.target is None:
        raise SettingError(f"which column of {place} is to be predicted? name it with --target COL")
    rows = rt.streams.csv(
        _place("csv", place),
        target=columns.target,
        kinds=dict.fromkeys(columns.text, Kind.TEXT),
        task="classification",
        ignore=columns.ignore,
        delimiter=columns.delimiter,
        missing=columns.missing,
        names=columns.names,
    )
    data = rt.streams.collect(rows)
    if columns.text:
        select = rt.Select(*columns.text)
        return TrainTest(select.learn(data.train), select.learn(data.test))
    encode = encoder(data.train.schema or Schema(), scaled=True)
    encode.learn(data.train)
    found = [matrix(encode.apply(batch.x), reader="retain continual") for batch in (data.train, data.test)]
    width = max(x.width if isinstance(x, CSR) else x.shape[1] for x in found)
    if width > _WIDEST:
        raise SettingError(
            f"{place} makes {width:,} columns; expected at most {_WIDEST:,}: leave out text columns with --ignore COL"
        )
    train, test = (replace(batch, x=dense(x, width)) for batch, x in zip((data.train, data.test), found, strict=True))
    return TrainTest(train, test)


DATA: Mapping[str, Entry[Callable[[str | None, Columns], TrainTest]]] = {
    "digits": Entry("1,797 digits of 8 x 8 pixels, from scikit-learn", _digits),
    "mnist": Entry("mnist:DIR, or mnist to download: 70,000 digits", lambda at, _: rt.streams.images.mnist(at)),
    "fashion-mnist": Entry("as mnist: clothes", lambda at, _: rt.streams.images.fashion_mnist(at)),
    "kmnist": Entry("as mnist: cursive Japanese", lambda at, _: rt.streams.images.kmnist(at)),
    "cifar10": Entry("60,000 colour images in 10 classes", lambda at, _: rt.streams.images.cifar10(at)),
    "cifar100": Entry("60,000 colour images in 100 classes", lambda at, _: rt.streams.images.cifar100(at)),
    "svhn": Entry("99,289 house numbers; needs SciPy", lambda at, _: rt.streams.images.svhn(at)),
    "omniglot": Entry("32,460 drawings of 1,623 characters", lambda at, _: rt.streams.images.omniglot(at)),
    "pictures": Entry(
        "pictures:PATH: a folder, zip or tar with train/CLASS/NAME.png",
        lambda at, _: rt.streams.images.pictures(_place("pictures", at)),
    ),
    "npz": Entry("npz:FILE with x, y, or x_train, ...", lambda at, _: rt.streams.npz(_place("npz", at))),
    "clinc150": Entry(
        "clinc150:DIR: 19,500 sentences in 150 intents, by --encoder",
        lambda at, _: rt.streams.clinc150(_place("clinc150", at)),
    ),
    "csv": Entry(
        "csv:FILE, with --target COL; --text COL for texts; --delimiter, --ignore, ... are those of `retain run`", _csv
    ),
}


def load(name: str, columns: Columns, encoder: str | None = None, /) -> TrainTest:
    """A data set as typed: NAME, or NAME:PLACE, texts as features, and images where an encoder is named.

    Raises SettingError for a name that is not known.
    """
    kind, _, place = name.partition(":")
    if kind not in DATA and Path(name).is_file():
        raise SettingError(f"{name} is a file; say what it holds: {'npz' if name.endswith('.npz') else 'csv'}:{name}")
    make = find(DATA, kind, "data set")
    if kind != "csv" and columns != Columns():
        raise SettingError(f"{kind} brings its own columns; --target and what else is said of them is for csv:FILE")
    data = make(place or None, columns)
    if isinstance(data.train.x, (np.ndarray, CSR)):
        return data if encoder is None else _pictured(name, data, encoder)
    schema = data.train.schema or Schema()
    sys.stderr.write(f"texts: {words(schema, encoder)}\n")
    train, test = looked_at(schema, encoder, data.train.x, data.test.x)
    return TrainTest(replace(data.train, x=train), replace(data.test, x=test))


def _pictured(name: str, data: TrainTest, encoder: str) -> TrainTest:
    """Images as the features of an encoder."""
    rows, asked = data.train.x, data.test.x
    if not isinstance(rows, np.ndarray) or not isinstance(asked, np.ndarray) or rows.ndim != 4:
        raise SettingError(
            f"--encoder is for texts and images, and {name} has none; for csv:FILE name texts with --text COL"
        )
    train, test = encoded(encoder, rows, asked)
    return TrainTest(replace(data.train, x=train), replace(data.test, x=test))
