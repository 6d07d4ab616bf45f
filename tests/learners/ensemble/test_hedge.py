"""Hedge against its own formula in numpy, its regret bound, and a change of the best member."""

from __future__ import annotations

import numpy as np
import pytest

import retain as rt
from retain import testing
from retain.errors import PoisonError, SettingError

RNG = np.random.default_rng(2)


def by_hand(said: np.ndarray, y: np.ndarray, rates: tuple[float, ...], shares: tuple[float, ...]) -> np.ndarray:
    """(M, n, k) predictions mixed as the docstring says."""

    def moved(weights: np.ndarray, p: np.ndarray, rate: float, share: float) -> np.ndarray:
        odds = weights * p**rate
        return (1 - share) * odds / odds.sum() + share / len(p)

    levels = [(rate, share) for rate in rates for share in shares]
    trust = [np.full(len(said), 1 / len(said)) for _ in levels]
    belief = np.full(len(levels), 1 / len(levels))
    out = []
    for i, code in enumerate(y):
        out.append(sum(b * (t @ said[:, i]) for b, t in zip(belief, trust, strict=True)))
        if code >= 0:
            p = np.maximum(said[:, i, code], 1e-6)
            told = np.maximum([t @ said[:, i, code] for t in trust], 1e-6)
            belief = moved(belief, told, 0.1, min(shares))
            trust = [moved(t, p, *level) for t, level in zip(trust, levels, strict=True)]
    return np.array(out)


def members() -> tuple[rt.Linear, rt.Linear, rt.Prior]:
    return rt.Linear(loss=rt.Logistic()), rt.Linear(loss=rt.Logistic(), update=rt.Coin()), rt.Prior()


@pytest.mark.parametrize(
    ("rates", "shares"), [((1.0,), (0.0,)), ((1.0,), (0.3,)), ((1.0, 0.2), (0.2, 0.01, 0.001)), ((0.05,), (0.01, 0.0))]
)
def test_the_mixture_is_the_formula(rates: tuple[float, ...], shares: tuple[float, ...]) -> None:
    batch = testing.examples("classification", rows=200)
    batch = rt.Batch(batch.x, y=batch.y)
    got = rt.Hedge(*members(), rate=rates, share=shares).learn(batch)
    said = [member.learn(batch) for member in members()]
    k = got.shape[1]
    stacked = np.stack([np.pad(answer, ((0, 0), (0, k - answer.shape[1]))) for answer in said])
    assert np.allclose(got, by_hand(stacked, batch.y, rates, shares), rtol=1e-9, atol=1e-12)  # type: ignore[arg-type]


def test_numbers_are_mixed_by_squared_error() -> None:
    x = RNG.normal(size=(500, 3))
    batch = rt.Batch(x, y=x @ [3.0, -2.0, 1.0])
    hedge = rt.Hedge(rt.Mean(), rt.RLS())
    error = np.abs(hedge.learn(batch) - batch.y)
    assert hedge.trust[1] > 0.98
    assert error[-100:].mean() < 0.01 * np.abs(batch.y).mean()  # type: ignore[arg-type]


def test_a_member_that_diverges_does_not_take_the_mixture_along() -> None:
    x = 10 * RNG.normal(size=(2000, 3))
    y = x @ [3.0, -2.0, 1.0] + RNG.normal(size=2000)
    wild = rt.Linear(update=rt.SGD(0.1))  # rate |x|^2 is 30
    mixed = np.abs(rt.Hedge(rt.RLS(), wild).learn(rt.Batch(x, y=y)) - y)
    alone = np.abs(rt.RLS().learn(rt.Batch(x, y=y)) - y)
    assert np.abs(wild.predict(x)).max() > 1e50
    assert mixed.max() < 3 * np.ptp(y)
    assert mixed[-1000:].mean() < 2 * alone[-1000:].mean() + 0.01 * np.ptp(y)


def test_members_may_go_ahead_of_labels_that_rise() -> None:
    x = np.arange(1.0, 1001.0)[:, None]
    error = np.abs(rt.Hedge(rt.RLS(), rt.Mean()).learn(rt.Batch(x, y=5 * x[:, 0])) - 5 * x[:, 0])
    assert error[-1] < 0.01 * 5000  # a mixture held within the labels so far would always be late


def test_regret_against_the_best_member_is_at_most_log_m() -> None:
    x = RNG.normal(size=(3000, 2))
    batch = rt.Batch(x, y=(x[:, 0] + RNG.normal(size=3000) > 0).astype(np.int64))

    def total(said: np.ndarray) -> float:
        return float(-np.log(np.maximum(said[np.arange(3000), batch.y], 1e-6)).sum())

    mixed = total(rt.Hedge(*members(), rate=1.0, share=0.0).learn(batch))
    best = min(total(member.learn(batch)) for member in members())
    assert mixed <= best + np.log(3) + 0.001  # probabilities below 1e-6 are taken for 1e-6: seen to add 3e-5


def test_it_follows_when_the_best_member_changes() -> None:
    y = np.concatenate([np.repeat([0, 1], 500), np.tile([0, 1], 500)]).astype(np.int64)
    hedge = rt.Hedge(rt.NoChange(), rt.Prior())
    hedge.learn(rt.Batch(np.zeros((1000, 1)), y=y[:1000]))
    runs = hedge.trust[0]
    hedge.learn(rt.Batch(np.zeros((1000, 1)), y=y[1000:]))
    assert runs > 0.95
    assert hedge.trust[0] < 0.05


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_it_obeys_the_laws(task: str) -> None:
    def make() -> rt.Hedge:
        loss = rt.Logistic() if task == "classification" else rt.Squared()
        return rt.Hedge(rt.Linear(loss=loss), rt.Linear(loss=loss, update=rt.SGD()), rt.Prior())

    testing.check_learner(make, testing.examples(task), mixes=True)


def test_a_member_that_refuses_undoes_what_others_learnt() -> None:
    hedge = rt.Hedge(rt.Prior(), rt.Linear(loss=rt.Logistic()))
    batch = testing.examples("classification")
    hedge.learn(batch)
    before = str(hedge.state_dict())
    x = np.array(batch.x)
    x[3, 1] = np.nan
    with pytest.raises(PoisonError, match="row 3"):
        hedge.learn(rt.Batch(x, y=batch.y))
    assert str(hedge.state_dict()) == before


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match="no members"):
        rt.Hedge()
    with pytest.raises(SettingError, match="share=1"):
        rt.Hedge(rt.Prior(), share=1)


def test_late_labels_judge_members_by_what_they_said_on_arrival() -> None:
    y = np.repeat(RNG.integers(0, 2, size=30), 20).astype(np.int64)
    n, delay = len(y), 15
    stream = rt.streams.arrays(np.zeros((n, 1)), y, block=64)

    def said(learner: rt.Learner) -> np.ndarray:
        reports = rt.Prequential(stream, learner, delay=rt.Delay(rows=delay))
        found = [report.prediction for report in reports]
        return np.concatenate([np.pad(rows, ((0, 0), (0, 2 - rows.shape[1]))) for rows in found])

    each = [said(rt.NoChange()), said(rt.Prior())]
    trust, expected = np.full(2, 0.5), np.zeros((n, 2))
    for i in range(n):
        if i > delay:  # the label of row i - delay - 1 has just landed
            row = i - delay - 1
            trust = trust * [max(rows[row, y[row]], 1e-6) for rows in each]
            trust = 0.99 * trust / trust.sum() + 0.005
        expected[i] = trust @ [rows[i] for rows in each]
    assert np.allclose(said(rt.Hedge(rt.NoChange(), rt.Prior(), rate=1.0, share=0.01)), expected, rtol=1e-9, atol=1e-12)


def test_a_late_run_resumes_bit_for_bit() -> None:
    from retain import state

    batch = testing.examples("classification", rows=300)
    stream = rt.streams.arrays(batch.x, batch.y, block=16)

    def run() -> rt.Prequential:
        return rt.Prequential(stream, rt.Scale() | rt.Hedge(*members()), delay=rt.Delay(rows=40))

    whole = run()
    expected = list(whole)[-1].metrics
    part = run()
    for _ in range(10):
        next(iter(part.steps()))
        saved = state.encode(part.state_dict())
        part = run()
        part.load_state_dict(state.decode(saved))
    assert list(part)[-1].metrics == expected
