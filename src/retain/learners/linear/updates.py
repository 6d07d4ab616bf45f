"""How a linear learner moves its weights: one small part per update. The maths that runs is in `kernels`."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TypeAlias, final

from retain.errors import SettingError

__all__ = [
    "ALMA",
    "AROW",
    "FTRL",
    "SCW",
    "SGD",
    "Adaptive",
    "Coin",
    "Constant",
    "InverseRoot",
    "InverseScaling",
    "NewtonStep",
    "PassiveAggressive",
    "Update",
]


@final
@dataclass(frozen=True, slots=True)
class Adaptive:
    """Normalised adaptive importance-invariant gradient steps: needs neither scaled features nor a tuned rate.

    For a row x of importance v (sample weight), with slope g = dL/dm at its margin, for every feature i with x_i != 0:

        s_i <- max(s_i, |x_i|), the weight w_i shrinking by the same factor        (scale; Ross et al. 2013, NAG)
        N <- N + v sum_i (x_i / s_i)^2,  t <- t + v
        G_i <- G_i + v g^2 x_i^2                                                   (Duchi et al. 2011)
        r_i = sqrt(t / N) / (s_i sqrt(G_i)),  h = sum_i r_i x_i^2
        w_i <- w_i + u r_i x_i,  with  m + h u = the end of the flow  dm/dt = -h L'(m)  at time v * learning_rate

    The last line is the importance-invariant step of Karampatziakis & Langford 2011: in closed form for each loss,
    never beyond the label, and, at given rates, the same for one row of weight 2 as for two rows. Multiplying a feature
    by a constant changes no prediction, and neither does multiplying a loss.

    Predictions of numbers are held within the range of the targets learnt.

    Differences from Vowpal Wabbit, whose default this is: the rate; weights shrink *before* the prediction, as in the
    paper, so that an outlier among the features cannot make a wild prediction; losses of numbers step in units of the
    target (`target_scale`) and begin at the first target, where VW steps in units of 1 from 0; a target clips later
    predictions, not its own; rows of loss 0 count in N and t; float64, not float32. With `learning_rate=.5` and
    `target_scale=1` the predictions are VW's (tests/learners/linear/test_oracles.py).

    Args:
        learning_rate: the time of the flow. VW's default is .5. Ours, 3, has the smallest mean regret over the nine
            streams of `benchmarks/bench_learning_rate.py`; smaller is better where thousands of weak features drown in
            noise, larger where labels come in runs.
        target_scale: the unit of steps for Squared, Huber and Quantile. None: how far targets lie from their centre,
            and the bias starts at the first of them. For Squared that is their running standard deviation; for Huber
            and Quantile the square of the mean root deviation from a centre that no target pulls further than that,
            so that gross outliers, which hardly sway a slope, do not sway the rate either. 1 is what VW does.

    Raises:
        SettingError: a setting that is not positive.

    References:
        Ross, Mineiro, Langford 2013, arXiv 1305.6646; Duchi, Hazan, Singer 2011, JMLR 12; Karampatziakis, Langford
        2011, arXiv 1011.1576.

    Features a million times larger than others need no care:

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 3))
    >>> rows = rt.Batch(x * [1, 1e3, 1e-3], y=(x @ [1.0, -1.0, 1.0] > 0).astype(int))
    >>> said = rt.Linear(loss=rt.Logistic(), update=rt.Adaptive()).learn(rows).argmax(axis=1)
    >>> bool(np.mean(said == rows.y) > 0.95)
    True
    """

    learning_rate: float = 3.0
    target_scale: float | None = None

    def __post_init__(self) -> None:
        _positive("Adaptive", "learning_rate", self.learning_rate)
        if self.target_scale is not None:
            _positive("Adaptive", "target_scale", self.target_scale)


@final
@dataclass(frozen=True, slots=True)
class Constant:
    """The learning rate stays what it is."""


@final
@dataclass(frozen=True, slots=True)
class InverseScaling:
    """The learning rate falls as (t0 + t)^-power, t = sample weight learnt before.

    Args:
        power: how fast; 1/2 suits convex losses, 1 strongly convex ones.
        t0: how much is taken as learnt already, > 0.
    """

    power: float = 0.5
    t0: float = 1.0

    def __post_init__(self) -> None:
        _positive("InverseScaling", "power", self.power)
        _positive("InverseScaling", "t0", self.t0)


@final
@dataclass(frozen=True, slots=True)
class InverseRoot:
    """The learning rate falls as 1 / sqrt(1 + t), t = sample weight learnt before."""


Schedule: TypeAlias = Constant | InverseScaling | InverseRoot


@final
@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent: w <- w - rate v g x. Textbook steps: nothing is scaled, clipped or adapted.

    Features should have similar scales (put `Scale()` in front) and the rate must suit them. Slopes beyond 1e60 are
    cut, so that weights stay finite numbers even where the steps diverge: with `Squared` they do as soon as
    rate |x|^2 > 2.

    Args:
        learning_rate: the rate at the start.
        schedule: how it falls.
        invariant: follow the gradient as it changes on the way, as `Adaptive` does: no step goes beyond the label,
            whatever the rate, and a row of weight 2 is two rows (but for penalties, and for `Multinomial`, whose
            classes step one by one).

    Raises:
        SettingError: learning_rate is not positive.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 3))
    >>> rows = rt.Batch(x, y=(x @ [1.0, -1.0, 1.0] > 0).astype(int))
    >>> said = rt.Linear(loss=rt.Logistic(), update=rt.SGD(0.1)).learn(rows).argmax(axis=1)
    >>> bool(np.mean(said == rows.y) > 0.95)
    True
    """

    learning_rate: float = 0.01
    schedule: Schedule = field(default_factory=Constant)
    invariant: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        _positive("SGD", "learning_rate", self.learning_rate)


@final
@dataclass(frozen=True, slots=True)
class FTRL:
    """FTRL-Proximal: each weight follows the leader of all its past gradients; with `l1` most weights are exactly 0.

        n_i <- n_i + g_i^2,  z_i <- z_i + g_i - w_i (sqrt(n_i) - sqrt(n_i before)) / alpha
        w_i = 0 where |z_i| <= l1, else (sign(z_i) l1 - z_i) / ((beta + sqrt(n_i)) / alpha + l2)

    l1 and l2 are those of the learner; here they penalise the sum of all losses, so they act on features that do not
    occur in a row as well. The bias is not penalised.

    Args:
        alpha: learning rate.
        beta: softens the first steps.

    Raises:
        SettingError: alpha is not positive or beta is negative.

    References:
        McMahan et al. 2013, Ad click prediction: a view from the trenches, KDD.

    Two of a hundred features matter, and most of the others get no weight:

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 100))
    >>> learner = rt.Linear(loss=rt.Logistic(), update=rt.FTRL(), l1=20.0)
    >>> before = learner.learn(rt.Batch(x, y=(x[:, 0] > x[:, 1]).astype(int)))
    >>> kept = np.flatnonzero(learner.weights)
    >>> kept[:2], len(kept) < 30
    (array([0, 1]), True)
    """

    alpha: float = 0.1
    beta: float = 1.0

    def __post_init__(self) -> None:
        _positive("FTRL", "alpha", self.alpha)
        if not 0 <= self.beta < float("inf"):
            raise SettingError(f"FTRL got beta={self.beta}; expected a number >= 0")


@final
@dataclass(frozen=True, slots=True)
class Coin:
    """Coin betting: every weight is a bet on the next gradient, staked from what earlier bets have won. No rate at all.

    With s_i = max |x_i|, M_i = max |g|, sums over rows z_i of -g x_i and c_i of |g x_i|, and q_i of the rewards
    -g x_i b_i:

        b_i = z_i (wealth + q_i) / (M_i s_i (M_i s_i + c_i))
        m = (sum_i b_i x_i) / (mean over rows of sum_i (x_i / s_i)^2)

    (`vw --coin`; the division by the mean is VW's). Unlike VW, a bettor whose bound M_i was too low stops at a wealth
    of 0 instead of going into debt.

    Args:
        wealth: what each weight may bet to begin with.
        least_slope: lower bound for M_i, which keeps first bets small.

    Raises:
        SettingError: a setting that is not positive.

    References:
        Orabona, Tommasi 2017, Training deep networks without learning rates through coin betting, arXiv 1705.07795.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 3))
    >>> rows = rt.Batch(x, y=(x @ [1.0, -1.0, 1.0] > 0).astype(int))
    >>> said = rt.Linear(loss=rt.Logistic(), update=rt.Coin()).learn(rows).argmax(axis=1)
    >>> bool(np.mean(said == rows.y) > 0.95)
    True
    """

    wealth: float = 4.0
    least_slope: float = 1.0

    def __post_init__(self) -> None:
        _positive("Coin", "wealth", self.wealth)
        _positive("Coin", "least_slope", self.least_slope)


@final
@dataclass(frozen=True, slots=True)
class PassiveAggressive:
    """The shortest step that satisfies the margin, if it is not too long. For the losses Hinge and Quantile.

    Variant I: argmin_w' |w' - w|^2 / 2 + C v L(w');  variant II: C v L(w')^2 instead. With `Quantile(.5)`, whose loss
    is |y - m| / 2, it is PA regression without a dead zone.

    Args:
        C: how much a loss may cost, > 0.
        squared: variant II.

    Raises:
        SettingError: C is not positive.

    References:
        Crammer et al. 2006, Online passive-aggressive algorithms, JMLR 7.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 3))
    >>> rows = rt.Batch(x, y=(x @ [1.0, -1.0, 1.0] > 0).astype(int))
    >>> said = rt.Linear(loss=rt.Hinge(), update=rt.PassiveAggressive()).learn(rows).argmax(axis=1)
    >>> bool(np.mean(said == rows.y) > 0.9)
    True
    """

    C: float = 1.0
    squared: bool = False

    def __post_init__(self) -> None:
        _positive("PassiveAggressive", "C", self.C)


@final
@dataclass(frozen=True, slots=True)
class AROW:
    """Adaptive regularisation of weights: each weight is a Gaussian, and moves the more the less sure it is. For Hinge.

    Weights are N(w, S), S diagonal, 1 before the first row. For a row x of label y = +-1 and importance v (sample
    weight), where y m < 1:

        w_i <- w_i + a y S_i x_i,    a = (1 - y m) / (sum_i S_i x_i^2 + r / v),    1 / S_i <- 1 / S_i + v x_i^2 / r

    One wrong label moves a sure weight little, which passive-aggressive steps do not spare. Features should be of one
    scale (`Scale()` in front).

    Args:
        r: how little a row counts, > 0.

    Raises:
        SettingError: r is not positive.

    References:
        Crammer, Kulesza, Dredze 2009, Adaptive regularization of weight vectors, NIPS; of S the diagonal, by its
        inverse.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(3000, 20))
    >>> y = ((x[:, 0] > 0) ^ (rng.random(3000) < 0.2)).astype(int)  # one label in five is wrong
    >>> def right(update):
    ...     said = rt.Linear(loss=rt.Hinge(), update=update).learn(rt.Batch(x, y=y)).argmax(axis=1)
    ...     return float(np.mean((said == (x[:, 0] > 0))[1000:]))
    >>> right(rt.AROW()) > 0.93 > 0.83 > right(rt.PassiveAggressive())
    True
    """

    r: float = 1.0

    def __post_init__(self) -> None:
        _positive("AROW", "r", self.r)


@final
@dataclass(frozen=True, slots=True)
class SCW:
    """Soft confidence-weighted learning: the least change after which the label is likely enough. For the loss Hinge.

    Weights are N(w, S), S diagonal, 1 before the first row. Wanted is that y m > 0 with the probability `confidence`
    under them, that is y m >= p sqrt(V), V = sum_i S_i x_i^2 and p the normal quantile of the confidence. Where it is
    not so, with C as the price of a shortfall (times v, the sample weight),

        w_i <- w_i + a y S_i x_i,    1 / S_i <- 1 / S_i + a p x_i^2 / sqrt(u),
        sqrt(u) = (-a V p + sqrt(a^2 V^2 p^2 + 4 V)) / 2

    and a in closed form: Wang et al., propositions 1 (variant I) and 2 (variant II, which charges the squared
    shortfall). Features should be of one scale (`Scale()` in front).

    Args:
        confidence: how sure a label should be, 1/2 < confidence < 1.
        C: how much a shortfall may cost, > 0.
        squared: variant II.

    Raises:
        SettingError: a setting out of its range.

    References:
        Wang, Zhao, Hoi 2012, Exact soft confidence-weighted learning, ICML; of S the diagonal, by its inverse.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 3))
    >>> rows = rt.Batch(x, y=(x @ [1.0, -1.0, 1.0] > 0).astype(int))
    >>> said = rt.Linear(loss=rt.Hinge(), update=rt.SCW()).learn(rows).argmax(axis=1)
    >>> bool(np.mean(said == rows.y) > 0.98)
    True
    """

    confidence: float = 0.75
    C: float = 0.1
    squared: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence < 1:
            raise SettingError(f"SCW got confidence={self.confidence}; expected 0.5 < confidence < 1, e.g. .75")
        _positive("SCW", "C", self.C)


@final
@dataclass(frozen=True, slots=True)
class NewtonStep:
    """Online Newton steps with a diagonal: each weight by the curvature that its own gradients have shown.

        A_i <- A_i + v g^2 x_i^2,    w_i <- w_i - rate v g x_i / A_i,    A_i = e before the first row

    Rates fall like 1 / t, where those of `Adaptive` fall like 1 / sqrt(t): right where the loss is curved (`Logistic`,
    `Squared`) and the world stands still, and too small where it moves. Features should be of one scale.

    Args:
        learning_rate: the rate.
        epsilon: e, > 0; small ones make large first steps.

    Raises:
        SettingError: a setting that is not positive.

    References:
        Hazan, Agarwal, Kale 2007, Logarithmic regret algorithms for online convex optimization, Machine learning 69.
        There A is a whole matrix, of which this is the diagonal; for squared losses `RLS` has the whole one.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 3))
    >>> rows = rt.Batch(x, y=(x @ [1.0, -1.0, 1.0] > 0).astype(int))
    >>> said = rt.Linear(loss=rt.Logistic(), update=rt.NewtonStep()).learn(rows).argmax(axis=1)
    >>> bool(np.mean(said == rows.y) > 0.95)
    True
    """

    learning_rate: float = 1.0
    epsilon: float = 1.0

    def __post_init__(self) -> None:
        _positive("NewtonStep", "learning_rate", self.learning_rate)
        _positive("NewtonStep", "epsilon", self.epsilon)


@final
@dataclass(frozen=True, slots=True)
class ALMA:
    """Approximate large margin: the weights come near to those of the widest margin, as near as alpha says. For Hinge.

    With rows divided by their p-norm, z = x / |x|_p, weights of a dual norm of at most 1, and k - 1 corrections so far,
    a row is corrected where its margin is at most (1 - alpha) / alpha sqrt((p - 1) / k):

        t <- t + v sqrt(2 / ((p - 1) k)) y z,    t <- t / max(1, |t|_p),    k <- k + v
        w_i = sign(t_i) |t_i|^(p - 1) / |t|_p^(p - 2)

    For p = 2, w = t: a perceptron that corrects near misses too, by ever smaller steps. A large p (about 2 log of the
    number of features) suits weights of which few matter. What is answered is w'x of the row as it is.

    Args:
        p: of the norm, 2 <= p <= 32.
        alpha: share of the widest margin that is wanted, 0 < alpha <= 1; the smaller, the more rows are corrected.

    Raises:
        SettingError: a setting out of its range.

    References:
        Gentile 2001, A new approximate maximal margin classification algorithm, JMLR 2, with its B = 1 / alpha and C =
        sqrt(2). River's does not divide rows by their norm.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 3))
    >>> rows = rt.Batch(x, y=(x @ [1.0, -1.0, 1.0] > 0).astype(int))
    >>> said = rt.Linear(loss=rt.Hinge(), update=rt.ALMA()).learn(rows).argmax(axis=1)
    >>> bool(np.mean(said == rows.y) > 0.95)
    True
    """

    p: float = 2.0
    alpha: float = 0.9

    def __post_init__(self) -> None:
        if not 2 <= self.p <= 32:
            raise SettingError(f"ALMA got p={self.p}; expected 2 <= p <= 32")
        if not 0 < self.alpha <= 1:
            raise SettingError(f"ALMA got alpha={self.alpha}; expected 0 < alpha <= 1")


Update: TypeAlias = Adaptive | SGD | FTRL | Coin | PassiveAggressive | AROW | SCW | NewtonStep | ALMA


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """An update as kernels know it (see `kernels`)."""

    shared: int  # slots of a feature shared by the outputs
    own: int  # slots of a feature for each output; slot 0 is the weight, or what determines its sign
    odd: tuple[int, ...]  # own slots that change their sign with the label
    settings: tuple[float, ...]
    dense: str  # kernels by name: compiled code is loaded when first used
    sparse: str
    file: str = "kernels"

    @property
    def transposed(self) -> bool:
        """Whether dense rows want slots as rows."""
        return self.dense != self.sparse


def plan(update: Update, /) -> Plan:
    """Slots, settings and kernels of an update."""
    match update:
        case Adaptive(rate, target_scale):
            settings = (rate, 0.0 if target_scale is None else target_scale)
            return Plan(2, 2, (0,), settings, "adaptive_dense", "adaptive_sparse")
        case SGD(rate, schedule):
            return Plan(0, 1, (0,), (3.0 if update.invariant else 0.0, rate, *_powers(schedule)), "plain", "plain")
        case PassiveAggressive(c, squared):
            return Plan(0, 1, (0,), (2.0 if squared else 1.0, c), "plain", "plain")
        case FTRL(alpha, beta):
            return Plan(0, 3, (0, 1), (alpha, beta), "ftrl", "ftrl")
        case Coin(wealth, least):
            return Plan(1, 4, (0,), (wealth, least), "coin_dense", "coin_sparse")
        case AROW(r):
            return Plan(0, 2, (0,), (0.0, r), "confident", "confident", "margin_kernels")
        case SCW(confidence, c):
            kind, quantile = 2.0 if update.squared else 1.0, NormalDist().inv_cdf(confidence)
            return Plan(0, 2, (0,), (kind, c, quantile), "confident", "confident", "margin_kernels")
        case NewtonStep(rate, epsilon):
            return Plan(0, 2, (0,), (3.0, rate, epsilon), "confident", "confident", "margin_kernels")
        case ALMA(p, alpha):
            return Plan(0, 1, (0,), (p, alpha), "alma", "alma", "margin_kernels")


def _powers(schedule: Schedule) -> tuple[float, float]:
    match schedule:
        case Constant():
            return 0.0, 1.0
        case InverseScaling(power, t0):
            return power, t0
        case InverseRoot():
            return 0.5, 1.0


def _positive(part: str, name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise SettingError(f"{part} got {name}={value}; expected a positive number")
