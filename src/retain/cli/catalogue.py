"""The names that the command line knows: streams, learners, metrics. The one place where a string selects a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

import retain as rt
from retain.cli import texts
from retain.core import Learner, Metric, Schema, Stream
from retain.errors import SettingError
from retain.learners.auto import branching, counts, encoder, loss
from retain.update.rules import Rule

__all__ = ["BLOCK", "DATASETS", "LEARNERS", "METRICS", "RULES", "Entry", "find", "measures", "show"]

T = TypeVar("T")

BLOCK = 8192  # rows; nothing depends on it but speed: larger ones cost less per row and report less often


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A part by name: what it is, and how to make it."""

    about: str
    make: T


def _linear(update: Callable[[], Any], *, scaled: bool) -> Callable[[Schema], Learner]:
    return lambda schema: encoder(schema, scaled=scaled) | rt.Linear(loss=loss(schema), update=update())


def _passive_aggressive(schema: Schema) -> Learner:
    kind = rt.Quantile(0.5) if schema.classes is None else rt.Hinge()
    return encoder(schema, scaled=True) | rt.Linear(loss=kind, update=rt.PassiveAggressive())


def _margins(update: Callable[[], Any], *, name: str) -> Callable[[Schema], Learner]:
    return _of_classes(lambda: rt.Linear(loss=rt.Hinge(), update=update()), name=name, scaled=True, narrow=False)


def _factorised(schema: Schema) -> Learner:
    kind = rt.Squared() if schema.classes is None else rt.Logistic()
    return encoder(schema, scaled=True) | rt.FactorisationMachine(loss=kind)


def _rls(schema: Schema) -> Learner:
    return encoder(schema, scaled=False, narrow=True) | rt.RLS()


def _ridge(schema: Schema) -> Learner:
    return encoder(schema, scaled=False, narrow=True) | rt.Ridge()


def _online_mlp(schema: Schema) -> Learner:
    return encoder(schema, scaled=False, narrow=True) | rt.OnlineMLP()


def _mondrian_tree(schema: Schema) -> Learner:
    return encoder(schema, scaled=False, narrow=True) | rt.MondrianTree()


def _amf(schema: Schema) -> Learner:
    return encoder(schema, scaled=False, narrow=True) | rt.AMF()


def _refuse(schema: Schema, name: str, *, classes: bool, other: str) -> None:
    """Say which learner to choose where a target is of the other kind."""
    if classes != (schema.classes is not None):
        ours, theirs, task = (
            ("classes", "numbers", "classification") if classes else ("numbers", "classes", "regression")
        )
        raise SettingError(
            f"--learner {name} is for {ours}, and the target {schema.target!r} holds {theirs}; "
            f"choose --learner {other}, or --task {task}"
        )


def _of_classes(
    make: Callable[[], Learner], *, name: str, scaled: bool, narrow: bool = True
) -> Callable[[Schema], Learner]:
    def learner(schema: Schema) -> Learner:
        _refuse(schema, name, classes=True, other="ridge")
        return encoder(schema, scaled=scaled, narrow=narrow) | make()

    return learner


def _of_counts(make: Callable[[], Learner], *, name: str) -> Callable[[Schema], Learner]:
    def learner(schema: Schema) -> Learner:
        _refuse(schema, name, classes=True, other="bayesian-linear")
        return counts(schema) | make()

    return learner


def _bayesian_linear(schema: Schema) -> Learner:
    _refuse(schema, "bayesian-linear", classes=False, other="gaussian-nb")
    return encoder(schema, scaled=False, narrow=True) | rt.BayesianLinear()


def _tree(make: Callable[..., Learner], *, name: str) -> Callable[[Schema], Learner]:
    def learner(schema: Schema) -> Learner:
        _refuse(schema, name, classes=True, other="amf")
        return branching(schema, lambda nominal: make(nominal=nominal))

    return learner


def _regression_tree(schema: Schema) -> Learner:
    _refuse(schema, "regression-tree", classes=False, other="sgbt")
    return branching(schema, lambda nominal: rt.RegressionTree(nominal=nominal))


def _boosted(schema: Schema) -> Learner:
    how: dict[str, Any] = {} if schema.classes is None else {"grace": 10, "delta": 0.05, "tie": 0.5}
    return branching(schema, lambda nominal: rt.SGBT(tree=rt.RegressionTree(nominal=nominal, max_bytes=1 << 20, **how)))


def _boosting(schema: Schema) -> Learner:
    _refuse(schema, "online-boosting", classes=True, other="sgbt")
    return branching(schema, lambda nominal: rt.OnlineBoosting(tree=rt.HoeffdingTree(nominal=nominal)))


def _forest(make: Callable[..., Learner], **settings: Any) -> Callable[[Schema], Learner]:
    def learner(schema: Schema) -> Learner:
        if schema.classes is None:
            return branching(schema, lambda nominal: make(tree=rt.RegressionTree(nominal=nominal)))
        return branching(schema, lambda nominal: make(tree=rt.HoeffdingTree(nominal=nominal, **settings)))

    return learner


LEARNERS: Mapping[str, Entry[Callable[[Schema], Learner]]] = {
    "auto": Entry(
        "the default, good untuned: linear learners, forests, neural nets and neighbours, hedged",
        lambda schema: rt.auto(schema),
    ),
    "quick": Entry("four linear learners, hedged: some microseconds a row", lambda schema: rt.quick(schema)),
    "linear": Entry(
        "linear, normalised adaptive updates: no tuning, no scaling", _linear(lambda: rt.Adaptive(), scaled=False)
    ),
    "sgd": Entry("linear, plain stochastic gradient steps", _linear(lambda: rt.SGD(), scaled=True)),
    "ftrl": Entry("linear, FTRL-Proximal: sparse weights", _linear(lambda: rt.FTRL(), scaled=True)),
    "coin": Entry("linear, coin betting: no learning rate at all", _linear(lambda: rt.Coin(), scaled=False)),
    "pa": Entry("linear, passive-aggressive", _passive_aggressive),
    "arow": Entry(
        "linear, adaptive regularisation: sure weights move little, wrong labels do little",
        _margins(lambda: rt.AROW(), name="arow"),
    ),
    "scw": Entry("linear, soft confidence-weighted", _margins(lambda: rt.SCW(), name="scw")),
    "newton": Entry("linear, online Newton steps with a diagonal", _linear(lambda: rt.NewtonStep(), scaled=True)),
    "alma": Entry("linear, approximate large margin", _margins(lambda: rt.ALMA(), name="alma")),
    "fm": Entry("factorisation machine: a weight for every pair of features, too", _factorised),
    "rls": Entry("recursive least squares: the exact normal-equation step", _rls),
    "ridge": Entry("the same solution, from sums that are added by the block: for many columns", _ridge),
    "slda": Entry(
        "class means and one covariance: streaming linear discriminant analysis",
        _of_classes(lambda: rt.SLDA(), name="slda", scaled=False),
    ),
    "nearest-mean": Entry(
        "the class whose mean is nearest", _of_classes(lambda: rt.NearestMean(), name="nearest-mean", scaled=True)
    ),
    "fecam": Entry(
        "class means, each with a covariance of its own: for classes of many rows",
        _of_classes(lambda: rt.FeCAM(), name="fecam", scaled=True),
    ),
    "regression-tree": Entry("a tree of numbers, with a mean or a line in each leaf", _regression_tree),
    "sgbt": Entry("streaming gradient boosted trees: classes or numbers, accurate and thorough", _boosted),
    "online-mlp": Entry("small neural nets, hedged over rates and depths: no tuning, no torch", _online_mlp),
    "hoeffding-tree": Entry(
        "a tree that splits once chance no longer explains which feature looks best",
        _tree(lambda **how: rt.HoeffdingTree(**how), name="hoeffding-tree"),
    ),
    "adaptive-tree": Entry(
        "the same, whose branches are replaced when they fail",
        _tree(lambda **how: rt.HoeffdingAdaptiveTree(**how), name="adaptive-tree"),
    ),
    "efdt": Entry("a tree that splits early and thinks again", _tree(lambda **how: rt.EFDT(**how), name="efdt")),
    "arf": Entry(
        "adaptive random forest: ten trees, each with a successor that grows from a warning on",
        _forest(lambda **how: rt.ARF(**how), delta=0.05),
    ),
    "srp": Entry(
        "streaming random patches: ten trees that each see some of the columns",
        _forest(lambda **how: rt.SRP(**how), delta=0.05),
    ),
    "leveraging-bagging": Entry(
        "ten trees that learn rows a random number of times, and begin anew when they fail",
        _forest(lambda **how: rt.LeveragingBagging(**how)),
    ),
    "online-bagging": Entry(
        "ten trees that learn rows a random number of times",
        _forest(lambda **how: rt.OnlineBagging(**how)),
    ),
    "online-boosting": Entry(
        "ten trees of which each learns more of what those before it had wrong",
        _boosting,
    ),
    "mondrian-tree": Entry("a tree split at random, and the mean of all its prunings", _mondrian_tree),
    "amf": Entry("aggregated Mondrian forest, ten such trees: no tuning, no scaling, numbers too", _amf),
    "gaussian-nb": Entry(
        "naive Bayes: numbers, a Gaussian for each in every class",
        _of_classes(lambda: rt.GaussianNB(), name="gaussian-nb", scaled=False),
    ),
    "multinomial-nb": Entry(
        "naive Bayes: counts, as of words", _of_counts(lambda: rt.MultinomialNB(), name="multinomial-nb")
    ),
    "complement-nb": Entry(
        "the same, by what the other classes have: for uneven classes",
        _of_counts(lambda: rt.ComplementNB(), name="complement-nb"),
    ),
    "bernoulli-nb": Entry(
        "naive Bayes: what is there and what is not, whatever its value",
        _of_counts(lambda: rt.BernoulliNB(), name="bernoulli-nb"),
    ),
    "bayesian-linear": Entry("linear regression that finds its own penalty, with intervals", _bayesian_linear),
    "knn": Entry(
        "what the nearest of the last 1,000 rows were",
        lambda schema: encoder(schema, scaled=False, narrow=True) | rt.KNN(),
    ),
    "sam-knn": Entry(
        "the same in a memory that adjusts itself: for classes, any kind of drift",
        _of_classes(lambda: rt.SAMKNN(), name="sam-knn", scaled=False),
    ),
    "intents": Entry(
        "texts in classes that come one after the other, solved on an encoder's features: the default with --text",
        lambda schema: texts.learner(schema, None),
    ),
    "no-change": Entry("says the last label again", lambda _: rt.NoChange()),
    "prior": Entry("says how frequent each class was, or the mean so far", lambda _: rt.Prior()),
}


def _sea() -> Stream:
    concepts = [rt.streams.SEA(seed=i, theta=theta) for i, theta in enumerate(rt.streams.SEA.THETAS)]
    return rt.streams.Recurring(concepts, every=25_000, n=100_000, block=BLOCK)


DATASETS: Mapping[str, Entry[Callable[[], Stream]]] = {
    "flights": Entry(
        "336,776 flights from New York in 2013: more than 15 minutes late? The label arrives when the plane lands",
        lambda: rt.streams.flights(block=BLOCK),
    ),
    "sea": Entry("SEA: two of three numbers against a threshold that changes every 25,000 rows", _sea),
    "stagger": Entry("STAGGER concepts, 3 categories", lambda: rt.streams.STAGGER(seed=1, n=100_000, block=BLOCK)),
    "agrawal": Entry(
        "Agrawal's loan applications, 9 columns", lambda: rt.streams.Agrawal(seed=1, n=100_000, block=BLOCK)
    ),
    "hyperplane": Entry(
        "a rotating hyperplane, 10 numbers", lambda: rt.streams.Hyperplane(seed=1, n=100_000, block=BLOCK)
    ),
    "rbf": Entry(
        "random radial basis functions, 10 numbers", lambda: rt.streams.RandomRBF(seed=1, n=100_000, block=BLOCK)
    ),
    "led": Entry("digits of a noisy LED display", lambda: rt.streams.LED(seed=1, n=100_000, block=BLOCK)),
    "rtg": Entry("a random tree's labels", lambda: rt.streams.RandomTree(seed=1, n=100_000, block=BLOCK)),
    "sine": Entry("two numbers parted by a sine", lambda: rt.streams.Sine(seed=1, n=100_000, block=BLOCK)),
    "friedman": Entry(
        "Friedman's regression function, 10 numbers", lambda: rt.streams.Friedman(seed=1, n=100_000, block=BLOCK)
    ),
}

METRICS: Mapping[str, Entry[Callable[[], Metric]]] = {
    "accuracy": Entry("share of right answers", lambda: rt.metrics.Accuracy()),
    "balanced_accuracy": Entry("mean of the classes' recalls", lambda: rt.metrics.BalancedAccuracy()),
    "f1": Entry("harmonic mean of precision and recall", lambda: rt.metrics.F1()),
    "macro_f1": Entry("mean of the F1 of all classes", lambda: rt.metrics.MacroF1()),
    "kappa": Entry("agreement beyond chance", lambda: rt.metrics.Kappa()),
    "kappa_temporal": Entry("agreement beyond saying the last label again", lambda: rt.metrics.KappaTemporal()),
    "log_loss": Entry("minus the mean log of the probability given to the truth", lambda: rt.metrics.LogLoss()),
    "auc": Entry("area under the ROC curve", lambda: rt.metrics.ROCAUC()),
    "brier": Entry("mean squared error of the probabilities", lambda: rt.metrics.Brier()),
    "calibration_error": Entry("mean gap between confidence and accuracy", lambda: rt.metrics.CalibrationError()),
    "unknown": Entry("share of rows held for none of the known classes", lambda: rt.metrics.Unknown()),
    "mae": Entry("mean absolute error", lambda: rt.metrics.MAE()),
    "rmse": Entry("root of the mean squared error", lambda: rt.metrics.RMSE()),
    "r2": Entry("share of the variance explained", lambda: rt.metrics.R2()),
}
_OF_NUMBERS = ("mae", "rmse", "r2")


def _retrain(_: Learner, schema: Schema) -> list[Rule]:
    gate = rt.Better(least=500, most=20_000, largest=None if schema.classes is None else 1.0)
    return [
        rt.Rule(when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Retrain(last=20_000), gate=gate, name="retrain on drift")
    ]


def _scheduled(_: Learner, schema: Schema) -> list[Rule]:
    gate = rt.NotWorse(margin=0.01, most=10_000, largest=None if schema.classes is None else 1.0)
    return [
        rt.Rule(when=rt.Every(rows=20_000), do=rt.Retrain(last=100_000), gate=gate, name="retrain every 20,000 rows")
    ]


RULES: Mapping[str, Entry[Callable[[Learner, Schema], Sequence[Rule]]]] = {
    "none": Entry("the model learns on, and nothing else happens", lambda _learner, _schema: []),
    "recommended": Entry(
        "faster and slower copies stand trial, on drift and in turn",
        lambda learner, schema: rt.update.recommended(learner, classes=schema.classes is not None),
    ),
    "retrain-on-drift": Entry("a model taught on the last 20,000 rows stands trial on drift", _retrain),
    "scheduled": Entry("a model taught on the last 100,000 rows stands trial every 20,000", _scheduled),
}


def find(catalogue: Mapping[str, Entry[T]], name: str, what: str, /) -> T:
    """The part of that name. Raises SettingError with the nearest names."""
    if name in catalogue:
        return catalogue[name].make
    near = [known for known in catalogue if known.startswith(name)] or get_close_matches(name, catalogue, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(catalogue)}"
    raise SettingError(f"no {what} is called {name!r}; {hint}")


def measures(names: Sequence[str], schema: Schema, /) -> list[Metric]:
    """The metrics of these names. Raises SettingError for one that is for another kind of target."""
    found = [find(METRICS, name, "metric")() for name in names]
    fit = [name for name in METRICS if (name in _OF_NUMBERS) == (schema.classes is None)]
    for name in names:
        if name not in fit:
            ours, theirs = ("numbers", "classes") if schema.classes is None else ("classes", "numbers")
            raise SettingError(
                f"--metric {name} is for {theirs}, and the target {schema.target!r} holds {ours}; for these there are "
                f"{', '.join(fit)}"
            )
    return found


def show(title: str, rows: Mapping[str, str], /) -> None:
    """Print names and what they are."""
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "what it is", title=title, title_justify="left", box=None, header_style="bold")
    for name, about in rows.items():
        table.add_row(name, about)
    Console().print(table)
