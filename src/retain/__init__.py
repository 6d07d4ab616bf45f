"""Models that keep learning after deployment: retain, don't retrain.

Every name here is resolved on first use (PEP 562), so that `import retain` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING
from typing import Any as _Any  # rt.Any is a trigger

__version__ = "0.1.0"

_HOME = {
    "Batch": "core",
    "CSR": "core",
    "Column": "core",
    "Kind": "core",
    "Report": "core",
    "Schema": "core",
    "Chain": "compose",
    "interval": "compose",
    "novelty": "compose",
    "DateParts": "features.dates",
    "Embed": "features.embed",
    "Hash": "features.hash",
    "Impute": "features.impute",
    "Lag": "features.lag",
    "OneHot": "features.onehot",
    "Ordinal": "features.ordinal",
    "OnnxRuntime": "features.embed.onnx_runtime",
    "Pixels": "features.embed.pixels",
    "RandomFeatures": "features.random_features",
    "Rolling": "features.rolling",
    "Scale": "features.scale",
    "Select": "features.select",
    "TargetEncode": "features.target",
    "Linear": "learners.linear",
    "Adaptive": "learners.linear",
    "Coin": "learners.linear",
    "FTRL": "learners.linear",
    "PassiveAggressive": "learners.linear",
    "SGD": "learners.linear",
    "ALMA": "learners.linear",
    "AROW": "learners.linear",
    "FactorisationMachine": "learners.linear",
    "NewtonStep": "learners.linear",
    "SCW": "learners.linear",
    "Hinge": "learners.linear",
    "Huber": "learners.linear",
    "Logistic": "learners.linear",
    "Multinomial": "learners.linear",
    "Poisson": "learners.linear",
    "Quantile": "learners.linear",
    "Squared": "learners.linear",
    "Neural": "learners.neural",
    "EFDT": "learners.trees",
    "HoeffdingAdaptiveTree": "learners.trees",
    "HoeffdingTree": "learners.trees",
    "RegressionTree": "learners.trees",
    "ARF": "learners.ensemble",
    "MondrianTree": "learners.trees",
    "AMF": "learners.ensemble",
    "Hedge": "learners.ensemble",
    "LeveragingBagging": "learners.ensemble",
    "OnlineBagging": "learners.ensemble",
    "OnlineBoosting": "learners.ensemble",
    "OneVsAll": "learners.ensemble",
    "OpenSet": "learners.ensemble",
    "SGBT": "learners.ensemble",
    "SRP": "learners.ensemble",
    "Stacking": "learners.ensemble",
    "OnlineMLP": "learners.neural",
    "ACI": "learners.ensemble",
    "Calibrated": "learners.ensemble",
    "Conformal": "learners.ensemble",
    "DtACI": "learners.ensemble",
    "Isotonic": "learners.ensemble",
    "Platt": "learners.ensemble",
    "Temperature": "learners.ensemble",
    "RLS": "learners.analytic",
    "Ridge": "learners.analytic",
    "SLDA": "learners.analytic",
    "NearestMean": "learners.analytic",
    "FeCAM": "learners.analytic",
    "BayesianLinear": "learners.analytic",
    "BernoulliNB": "learners.bayes",
    "ComplementNB": "learners.bayes",
    "GaussianNB": "learners.bayes",
    "MultinomialNB": "learners.bayes",
    "KNN": "learners.neighbours",
    "SAMKNN": "learners.neighbours",
    "auto": "learners.auto",
    "quick": "learners.auto",
    "add_examples": "learners.examples",
    "Mean": "learners.baselines",
    "NoChange": "learners.baselines",
    "Prior": "learners.baselines",
    "FileRegistry": "registry",
    "compress": "compression",
    "Within": "compression",
    "Evidence": "core",
    "Alert": "update",
    "All": "update",
    "Any": "update",
    "AtLeast": "update",
    "Better": "update",
    "Canary": "update",
    "Compress": "update",
    "Every": "update",
    "Keep": "update",
    "NotForgotten": "update",
    "NotWorse": "update",
    "OnDrift": "update",
    "OnShift": "update",
    "PerSlice": "update",
    "Retrain": "update",
    "RollBack": "update",
    "Rule": "update",
    "Unanimous": "update",
    "WhenWorse": "update",
    "Delay": "run",
    "Exam": "run",
    "Experiences": "run",
    "Pipeline": "run",
    "Prequential": "run",
    "Silence": "run",
    "backtest": "run",
    "continual": "run",
    "durable": "run",
}
_ROOMS = {
    "compression": "compression",
    "detectors": "detectors",
    "errors": "errors",
    "memory": "memory",
    "metrics": "metrics",
    "neural": "learners.neural",
    "scenarios": "run.scenarios",
    "strategies": "strategies",
    "streams": "streams",
    "testing": "testing",
    "update": "update",
}

if not TYPE_CHECKING:  # type checkers read the imports at the end of this file instead
    __all__ = [*_HOME, *_ROOMS]


def __getattr__(name: str) -> _Any:
    if name in _HOME:
        value = getattr(import_module(f"retain.{_HOME[name]}"), name)
        globals()[name] = value  # found without this function from now on: rt.Batch stands in loops over rows
        return value
    if name in _ROOMS:
        return import_module(f"retain.{_ROOMS[name]}")
    raise AttributeError(f"module 'retain' has no attribute {name!r}; it has {', '.join([*_HOME, *_ROOMS])}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_ROOMS])


if TYPE_CHECKING:
    from retain import compression as compression
    from retain import detectors as detectors
    from retain import errors as errors
    from retain import memory as memory
    from retain import metrics as metrics
    from retain import strategies as strategies
    from retain import streams as streams
    from retain import testing as testing
    from retain import update as update
    from retain.compose import Chain as Chain
    from retain.compose import interval as interval
    from retain.compose import novelty as novelty
    from retain.compression import Within as Within
    from retain.compression import compress as compress
    from retain.core import CSR as CSR
    from retain.core import Batch as Batch
    from retain.core import Column as Column
    from retain.core import Evidence as Evidence
    from retain.core import Kind as Kind
    from retain.core import Report as Report
    from retain.core import Schema as Schema
    from retain.features.dates import DateParts as DateParts
    from retain.features.embed import Embed as Embed
    from retain.features.embed.onnx_runtime import OnnxRuntime as OnnxRuntime
    from retain.features.embed.pixels import Pixels as Pixels
    from retain.features.hash import Hash as Hash
    from retain.features.impute import Impute as Impute
    from retain.features.lag import Lag as Lag
    from retain.features.onehot import OneHot as OneHot
    from retain.features.ordinal import Ordinal as Ordinal
    from retain.features.random_features import RandomFeatures as RandomFeatures
    from retain.features.rolling import Rolling as Rolling
    from retain.features.scale import Scale as Scale
    from retain.features.select import Select as Select
    from retain.features.target import TargetEncode as TargetEncode
    from retain.learners import neural as neural
    from retain.learners.analytic import RLS as RLS
    from retain.learners.analytic import SLDA as SLDA
    from retain.learners.analytic import BayesianLinear as BayesianLinear
    from retain.learners.analytic import FeCAM as FeCAM
    from retain.learners.analytic import NearestMean as NearestMean
    from retain.learners.analytic import Ridge as Ridge
    from retain.learners.auto import auto as auto
    from retain.learners.auto import quick as quick
    from retain.learners.baselines import Mean as Mean
    from retain.learners.baselines import NoChange as NoChange
    from retain.learners.baselines import Prior as Prior
    from retain.learners.bayes import BernoulliNB as BernoulliNB
    from retain.learners.bayes import ComplementNB as ComplementNB
    from retain.learners.bayes import GaussianNB as GaussianNB
    from retain.learners.bayes import MultinomialNB as MultinomialNB
    from retain.learners.ensemble import ACI as ACI
    from retain.learners.ensemble import AMF as AMF
    from retain.learners.ensemble import ARF as ARF
    from retain.learners.ensemble import SGBT as SGBT
    from retain.learners.ensemble import SRP as SRP
    from retain.learners.ensemble import Calibrated as Calibrated
    from retain.learners.ensemble import Conformal as Conformal
    from retain.learners.ensemble import DtACI as DtACI
    from retain.learners.ensemble import Hedge as Hedge
    from retain.learners.ensemble import Isotonic as Isotonic
    from retain.learners.ensemble import LeveragingBagging as LeveragingBagging
    from retain.learners.ensemble import OneVsAll as OneVsAll
    from retain.learners.ensemble import OnlineBagging as OnlineBagging
    from retain.learners.ensemble import OnlineBoosting as OnlineBoosting
    from retain.learners.ensemble import OpenSet as OpenSet
    from retain.learners.ensemble import Platt as Platt
    from retain.learners.ensemble import Stacking as Stacking
    from retain.learners.ensemble import Temperature as Temperature
    from retain.learners.examples import add_examples as add_examples
    from retain.learners.linear import ALMA as ALMA
    from retain.learners.linear import AROW as AROW
    from retain.learners.linear import FTRL as FTRL
    from retain.learners.linear import SCW as SCW
    from retain.learners.linear import SGD as SGD
    from retain.learners.linear import Adaptive as Adaptive
    from retain.learners.linear import Coin as Coin
    from retain.learners.linear import FactorisationMachine as FactorisationMachine
    from retain.learners.linear import Hinge as Hinge
    from retain.learners.linear import Huber as Huber
    from retain.learners.linear import Linear as Linear
    from retain.learners.linear import Logistic as Logistic
    from retain.learners.linear import Multinomial as Multinomial
    from retain.learners.linear import NewtonStep as NewtonStep
    from retain.learners.linear import PassiveAggressive as PassiveAggressive
    from retain.learners.linear import Poisson as Poisson
    from retain.learners.linear import Quantile as Quantile
    from retain.learners.linear import Squared as Squared
    from retain.learners.neighbours import KNN as KNN
    from retain.learners.neighbours import SAMKNN as SAMKNN
    from retain.learners.neural import Neural as Neural
    from retain.learners.neural import OnlineMLP as OnlineMLP
    from retain.learners.trees import EFDT as EFDT
    from retain.learners.trees import HoeffdingAdaptiveTree as HoeffdingAdaptiveTree
    from retain.learners.trees import HoeffdingTree as HoeffdingTree
    from retain.learners.trees import MondrianTree as MondrianTree
    from retain.learners.trees import RegressionTree as RegressionTree
    from retain.registry import FileRegistry as FileRegistry
    from retain.run import Delay as Delay
    from retain.run import Exam as Exam
    from retain.run import Experiences as Experiences
    from retain.run import Pipeline as Pipeline
    from retain.run import Prequential as Prequential
    from retain.run import Silence as Silence
    from retain.run import backtest as backtest
    from retain.run import continual as continual
    from retain.run import durable as durable
    from retain.run import scenarios as scenarios
    from retain.update import Alert as Alert
    from retain.update import All as All
    from retain.update import Any as Any
    from retain.update import AtLeast as AtLeast
    from retain.update import Better as Better
    from retain.update import Canary as Canary
    from retain.update import Compress as Compress
    from retain.update import Every as Every
    from retain.update import Keep as Keep
    from retain.update import NotForgotten as NotForgotten
    from retain.update import NotWorse as NotWorse
    from retain.update import OnDrift as OnDrift
    from retain.update import OnShift as OnShift
    from retain.update import PerSlice as PerSlice
    from retain.update import Retrain as Retrain
    from retain.update import RollBack as RollBack
    from retain.update import Rule as Rule
    from retain.update import Unanimous as Unanimous
    from retain.update import WhenWorse as WhenWorse
