import math

import numpy as np
import pytest

from retain.compression import Within
from retain.errors import SettingError


def answers(y, wrong):
    return np.eye(10)[np.where(wrong, (y + 1) % 10, y)]


def judged(n, lost, won=0, **settings):
    """`lost` rows are right before and wrong after, `won` the other way round."""
    y = np.arange(n) % 10
    before, after = np.zeros((2, n), dtype=bool)
    after[:lost], before[n - won :] = True, won > 0
    return Within(per_class=None, **settings).judge(y, answers(y, before), answers(y, after))


def test_the_interval_is_that_of_bonett_and_price() -> None:
    """Written down once more, from the paper: one more pair of each kind, then Wald."""
    found = judged(1_000, 30, 10).change
    more, fewer, z = 31 / 1002, 11 / 1002, 1.6448536
    width = z * math.sqrt((more + fewer - (more - fewer) ** 2) / 1002)
    np.testing.assert_allclose((found.low, found.high), (more - fewer - width, more - fewer + width))
    np.testing.assert_allclose(found.mean, 0.02)


@pytest.mark.parametrize(
    ("lost", "won", "verdict"), [(0, 0, "within"), (20, 0, "within"), (20, 20, "within"), (40, 0, "undecided")]
)
def test_verdicts(lost: int, won: int, verdict: str) -> None:
    assert judged(10_000, lost, won).verdict == verdict


def test_too_many_lost_is_outside_and_too_few_rows_undecided() -> None:
    assert judged(10_000, 100).verdict == "outside"
    few = judged(600, 2)
    assert few.verdict == "undecided"
    assert "too few rows (600) to tell" in few.why


def test_a_model_that_loses_just_too_much_is_seldom_taken() -> None:
    """True loss .005, margin .005: taken in about 5 of 100 tries; 2,000 tries, 4 standard errors."""
    rng = np.random.default_rng(0)
    n, y = 4_000, np.zeros(4_000, dtype=int)
    taken = 0
    for _ in range(2_000):
        u = rng.random(n)
        lost, won = u < 0.015, u > 0.99
        taken += Within(per_class=None).judge(y, answers(y, won), answers(y, lost)).verdict == "within"
    assert taken / 2_000 < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 2_000)
    assert taken > 20


def test_the_worst_class_decides() -> None:
    y = np.arange(10_000) % 10
    found = Within(accuracy=0.02).judge(y, answers(y, y < 0), answers(y, (y == 7) & (np.arange(10_000) < 500)))
    assert (found.verdict, found.worst_class) == ("outside", 7)
    assert found.why.startswith("class 7: -0.05")
    y = np.concatenate([np.zeros(20_000, dtype=int), np.ones(200, dtype=int)])
    wide = Within().judge(y, answers(y, y < 0), answers(y, np.arange(20_200) < 100))
    assert wide.worst_class == 0  # not the class of few rows, of which less is known


def test_small_classes_are_taken_together_and_this_is_said() -> None:
    y = np.concatenate([np.zeros(1_000, dtype=int), np.repeat(np.arange(1, 9), 30)])
    wrong = y > 6
    found = Within(accuracy=0.2).judge(y, answers(y, y < 0), answers(y, wrong))
    assert (found.verdict, found.worst_class, found.pooled) == ("outside", -1, tuple(range(1, 9)))
    assert found.notes == ("8 classes of fewer than 117 rows are taken together (240 rows)",)
    alone = Within(accuracy=0.2).judge(y[:1_030], answers(y[:1_030], y[:1_030] < 0), answers(y[:1_030], wrong[:1_030]))
    assert alone.verdict == "within"
    assert "are not judged" in alone.notes[0]


def test_forgetting_is_the_mean_over_past_experiences() -> None:
    y, task = np.arange(9_000) % 10, np.repeat([0, 1, 2], 3_000)
    lost = (task == 0) & (np.arange(9_000) % 50 == 0)  # .02 of the first, nothing of the others
    found = Within(accuracy=0.03, per_class=None, forgetting=0.005)
    told = found.judge(y, answers(y, y < 0), answers(y, lost), task=task)
    assert told.forgetting is not None
    np.testing.assert_allclose(told.forgetting.mean, 0.01)
    assert told.verdict == "outside"
    assert told.why.startswith("forgetting")
    latest = found.judge(y, answers(y, y < 0), answers(y, (task == 2) & (np.arange(9_000) % 50 == 0)), task=task)
    assert latest.verdict == "within"


def test_numbers_are_judged_by_their_mean_error() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=5_000)
    before = y + rng.normal(size=5_000)
    assert Within(accuracy=0.01).judge(y, before, before + 0.001 * rng.normal(size=5_000)).verdict == "within"
    worse = Within(accuracy=0.01).judge(y, before, y + 1.2 * (before - y))
    assert worse.verdict == "outside"
    np.testing.assert_allclose(worse.change.mean, 0.2)


def test_what_no_rows_could_tell_is_refused_beforehand() -> None:
    with pytest.raises(SettingError, match=r"400 held-out rows cannot tell whether 0.005 of accuracy is lost; .* 466"):
        Within().enough(np.zeros(400, dtype=int))
    Within().enough(np.zeros(466, dtype=int))
    assert judged(466, 0).verdict == "within"
    assert judged(460, 0).verdict == "undecided"


@pytest.mark.parametrize(
    "settings", [{"accuracy": 0}, {"per_class": 1.0}, {"faster": -1}, {"confidence": 0.4}, {"accuracy": None}]
)
def test_budgets_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(SettingError, match="Within got"):
        Within(**settings)
