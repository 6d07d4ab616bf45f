"""Steps for forests: leaves that say shares, fewer branches, fewer members."""

from itertools import product

import numpy as np
import pytest
from tests.compression.forests import learnt, numbers, rows

import retain as rt
from retain.compression import Draft, Lessons, MajorityLeaves, PruneBranches, PruneMembers
from retain.compression.steps.prune_branches import errors, least
from retain.compression.steps.recent import Recent
from retain.errors import SettingError


def after(step, learner, batch):
    return step(Draft(learner), Lessons([batch], teacher=learner)).learner


def test_recent_rows_are_counted_at_their_leaves():
    learner, batch = learnt("ARF"), rows(700, seed=1)
    small = after(MajorityLeaves(weight=3.0), learner, batch)
    before, now = learner.branches(), small.branches()
    at = before.leaf[before.reached(batch.x)]
    wanted = before.weight[:, None] * before.shares
    for row, y in zip(at, batch.y, strict=True):
        wanted[row, y] += 3.0
    np.testing.assert_allclose(now.weight, wanted.sum(axis=1))
    total = wanted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(now.shares, np.divide(wanted, total, out=np.zeros_like(wanted), where=total > 0))


def test_weights_of_rows_count_and_what_is_unknown_does_not():
    learner, batch = learnt("HoeffdingTree"), rows(300, seed=1)
    weight = np.random.default_rng(0).integers(0, 3, 300)
    several = np.repeat(np.arange(300), weight)
    by_weight = after(MajorityLeaves(), learner, rt.Batch(batch.x, y=batch.y, weight=weight.astype(float)))
    by_rows = after(MajorityLeaves(), learner, rt.Batch(batch.x[several], y=batch.y[several]))
    np.testing.assert_allclose(by_weight.branches().shares, by_rows.branches().shares)
    odd = rt.Batch(batch.x, y=np.where(np.arange(300) % 2, 7, -1))  # a class that no tree knows, and no label
    with pytest.raises(SettingError, match="no labelled rows of classes that the trees know"):
        after(MajorityLeaves(), learner, odd)


def prunings(branches, node):
    """All ways to prune below a node, as sets of nodes that are leaves."""
    if branches.test[node] < 0:
        return [frozenset([node])]
    left, right = (prunings(branches, child) for child in branches.child[node])
    return [frozenset([node]), *(a | b for a, b in product(left, right))]


@pytest.mark.parametrize("seed", range(4))
def test_of_all_prunings_of_that_many_leaves_none_costs_less(seed):
    """Against every pruning there is, of a small forest: the price of a leaf finds the best of its size."""
    learner = rt.ARF(2, tree=rt.HoeffdingTree(max_depth=3), seed=seed)
    learner.learn(numbers(1_500, seed=seed))
    branches = learner.branches()
    recent = Recent.of(Draft(learner), Lessons([numbers(300, seed=9)], teacher=learner), branches)
    as_leaf, as_is = errors(branches, recent)
    cost = np.where(branches.test < 0, as_is, as_leaf)
    every = [a | b for a, b in product(*(prunings(branches, int(root)) for root in branches.root))]
    for wanted in range(2, len(branches.shares)):
        nodes = set(least(branches, as_leaf, as_is, wanted=wanted).tolist())
        kept = learner.pruned(np.array(sorted(nodes), dtype=int)).branches()
        assert len(kept.shares) <= wanted
        mine = next(one for one in every if one == _leaves(branches, nodes))
        found = sum(cost[list(mine)])
        best = min(sum(cost[list(one)]) for one in every if len(one) == len(mine))
        assert found == pytest.approx(best)


def _leaves(branches, cut):
    found, waiting = set(), branches.root.tolist()
    while waiting:
        node = waiting.pop()
        if branches.test[node] < 0 or node in cut:
            found.add(node)
        else:
            waiting += branches.child[node].tolist()
    return frozenset(found)


def test_errors_are_those_of_rows_counted_one_by_one():
    learner, batch = learnt("ARF", leaf="majority"), rows(400, seed=1)
    branches = learner.branches()
    as_leaf, as_is = errors(branches, Recent.of(Draft(learner), Lessons([batch], teacher=learner), branches))
    node = int(np.flatnonzero(branches.test >= 0)[1])
    last, at = branches.last(), branches.reached(batch.x)
    leaves = [branches.leaf[i] for i in range(node, last[node]) if branches.leaf[i] >= 0]
    counts = sum(branches.weight[i] * branches.shares[i] for i in leaves)
    shares = counts / counts.sum()
    wanted = 0.1 * sum(counts[c] * ((np.eye(3)[c] - shares) ** 2).sum() for c in range(3))
    for i, y in enumerate(batch.y):
        wanted += ((np.eye(3)[y] - shares) ** 2).sum() * ((at[i] >= node) & (at[i] < last[node])).sum()
    assert as_leaf[node] == pytest.approx(wanted)
    leaf = int(np.flatnonzero(branches.test < 0)[0])
    assert as_is[leaf] == pytest.approx(as_leaf[leaf])


def test_the_member_that_goes_is_the_one_that_is_missed_least():
    learner, batch = learnt("ARF"), rows(800, seed=1)
    truth = np.eye(3)[batch.y]
    errs = [((learner.thinned(np.delete(np.arange(3), i)).predict(batch.x) - truth) ** 2).sum() for i in range(3)]
    small = after(PruneMembers(0.3), learner, batch)
    expected = learner.thinned(np.delete(np.arange(3), int(np.argmin(errs))))
    np.testing.assert_array_equal(small.predict(batch.x), expected.predict(batch.x))
    assert after(PruneMembers(0.99), learner, batch).branches().trees == 1


def test_half_of_the_leaves_of_a_forest_that_memorised_noise():
    x = np.random.default_rng(0).normal(size=(6_000, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    noisy = np.where(np.random.default_rng(1).random(6_000) < 0.2, 1 - y, y)
    learner = rt.ARF(5, tree=rt.HoeffdingTree(delta=0.5, grace=20))
    learner.learn(rt.Batch(x[:4_000], y=noisy[:4_000]))
    small = after(PruneBranches(0.8), learner, rt.Batch(x[4_000:5_000], y=noisy[4_000:5_000]))
    assert len(small.branches().shares) <= 0.2 * len(learner.branches().shares)
    was, now = ((one.predict(x[5_000:]).argmax(1) == y[5_000:]).mean() for one in (learner, small))
    assert now > was - 0.005


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: PruneBranches(1.0), "0 < share < 1"),
        (lambda: PruneMembers(0.0), "0 < share < 1"),
        (lambda: MajorityLeaves(-1.0), "a number >= 0"),
        (lambda: after(PruneMembers(0.5), learnt("EFDT", 500), rows(50)), "one tree only"),
        (
            lambda: after(MajorityLeaves(), learnt("ARF", 500, leaf="majority"), rows(50)),
            "shares of their classes already",
        ),
        (lambda: after(PruneBranches(0.5), learnt("ARF", 5), rows(50)), "single leaves already"),
        (lambda: after(PruneBranches(0.5), rt.Ridge(), rows(50)), "PruneBranches makes trees smaller; got Ridge"),
    ],
)
def test_what_makes_no_sense_is_told(make, told):
    with pytest.raises(SettingError, match=told):
        make()
