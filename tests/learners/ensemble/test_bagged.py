"""Ensembles of trees: members differ, follow drift, and do not depend on threads."""

import numpy as np
import pytest

import retain as rt
from retain.errors import SettingError
from retain.learners.ensemble import bagged

ENSEMBLES = {
    "arf": rt.ARF,
    "srp": rt.SRP,
    "leveraging": rt.LeveragingBagging,
    "bagging": rt.OnlineBagging,
    "boosting": rt.OnlineBoosting,
}


def drifting(n=12_000):
    concepts = [rt.streams.RandomTree(seed=s, numeric=6, nominal=0, block=2000) for s in (1, 2)]
    return list(rt.streams.Recurring(concepts, every=n // 2, n=n))


@pytest.mark.parametrize("name", ENSEMBLES)
def test_threads_change_nothing(name, monkeypatch):
    batches = drifting(4000)
    said = []
    for worth in (1, 10**12):
        monkeypatch.setattr(bagged, "_WORTH", worth)
        learner = ENSEMBLES[name](4)
        said.append([learner.learn(batch) for batch in batches])
    assert all((a == b).all() for a, b in zip(*said, strict=True))


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensemble_is_better_than_its_tree(name):
    """Where chance is all that sets members apart (bagging, boosting), no worse."""
    batch = next(iter(rt.streams.RandomTree(seed=5, numeric=8, nominal=0, n=6000, block=6000)))
    alone = (rt.HoeffdingTree().learn(batch).argmax(1) == batch.y).mean()
    together = (ENSEMBLES[name]().learn(batch).argmax(1) == batch.y).mean()
    assert together > (alone - 0.005 if name in ("bagging", "boosting") else alone)


@pytest.mark.parametrize("name", ["arf", "srp", "leveraging"])
def test_members_that_fail_begin_anew(name):
    batches = drifting()
    kinds = ENSEMBLES[name]
    off = {"drift": 0.0} if name == "leveraging" else {"drift": 0.0, "warning": 0.0}
    accuracy = []
    for settings in ({}, off):
        learner = kinds(5, **settings)
        right = np.concatenate([learner.learn(batch).argmax(1) == batch.y for batch in batches])
        accuracy.append(right[8000:].mean())
    assert accuracy[0] > accuracy[1] + 0.03


def test_leaves_and_trees_look_at_features_of_their_own():
    batches = drifting(2000)
    forest, patches = rt.ARF(3, features=2), rt.SRP(3, features=3)
    for batch in batches:
        forest.learn(batch)
        patches.learn(batch)
    picks = [pair._trees[0].pick[: pair._trees[0].size[1]] for pair in forest._pairs]
    assert all(pick.shape[1] == 2 and (np.diff(pick, axis=1) > 0).all() for pick in picks)
    assert len({tuple(row) for pick in picks for row in pick.tolist()}) > 3
    subsets = [pair._forms[0].subset for pair in patches._pairs]
    assert len({tuple(subset) for subset in subsets}) > 1
    for pair in patches._pairs:
        which = int(pair.member.which[0])
        tree, forms = pair._trees[which], pair._forms[which]
        assert (tree.pick[: tree.size[1]] == forms.subset).all()


def test_boosting_gives_more_of_what_is_wrong_to_the_next():
    """After Oza and Russell's update, the rows a member had right and those it had wrong weigh the same to the next."""
    from retain.learners.ensemble.bagged_kernels import Member, _boosted

    rng = np.random.default_rng(0)
    boost = np.zeros(2)
    blank = {name: np.zeros(1) for name in Member._fields}
    member = Member(**{**blank, "boost": boost})
    passed = {True: 0.0, False: 0.0}
    for right in rng.random(40_000) < 0.8:
        passed[bool(right)] += _boosted(member, bool(right), 1.0, 1.0)
    assert passed[True] == pytest.approx(passed[False], rel=0.03)


def test_settings_that_make_no_sense_are_refused():
    for make in (
        lambda: rt.ARF(0),
        lambda: rt.ARF(features=-1),
        lambda: rt.ARF(rate=0),
        lambda: rt.SRP(drift=1.0),
        lambda: rt.LeveragingBagging(rate=1000),
    ):
        with pytest.raises(SettingError):
            make()
