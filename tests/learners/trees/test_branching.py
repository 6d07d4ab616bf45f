"""What trees and forests say of themselves, and copies of them with less."""

from copy import deepcopy

import numpy as np
import pytest
from tests.compression.forests import KINDS, learnt, made, rows

import retain as rt
from retain.errors import SettingError
from retain.learners.trees import branching
from retain.testing.compare import same_state

EXACT = 1e-13  # the same sums in another order, in float64


@pytest.mark.parametrize("leaf", ["either", "bayes", "majority"])
@pytest.mark.parametrize("name", KINDS)
def test_plain_arrays_answer_exactly_as_the_learner(name, leaf):
    learner = learnt(name, leaf=leaf)
    asked, found = rows(500, seed=1).x, learner.branches()
    assert (len(found.says) > 0) == (leaf != "majority")
    assert len(found.test) > 3
    np.testing.assert_allclose(found.answers(asked), learner.predict(asked), atol=EXACT)


@pytest.mark.parametrize("name", KINDS)
def test_a_pruned_one_says_what_came_below_and_goes_on(name):
    learner = learnt(name)
    before, state = learner.branches(), deepcopy(learner.state_dict())
    inner = np.flatnonzero(before.test >= 0)
    node = int(inner[len(inner) // 2])
    small = learner.pruned(np.array([node]))
    after = small.branches()
    same_state(learner.state_dict(), state, 0.0, "its state")
    below = int(before.last()[node]) - node
    assert len(after.test) == len(before.test) - below + 1
    assert after.test[node] == -1
    leaves = before.leaf[node : node + below]
    counts = (before.weight[:, None] * before.shares)[leaves[leaves >= 0]].sum(axis=0)
    np.testing.assert_allclose(after.shares[after.leaf[node]], counts / counts.sum())
    asked = rows(300, seed=2).x
    np.testing.assert_allclose(after.answers(asked), small.predict(asked), atol=EXACT)
    other = before.reached(asked)
    kept = ~((other >= node) & (other < node + below)).any(axis=1)
    np.testing.assert_allclose(small.predict(asked)[kept], learner.predict(asked)[kept], atol=EXACT)
    small.learn(rows(2_000, seed=3))


@pytest.mark.parametrize("name", KINDS)
def test_all_of_it_can_be_pruned_and_grows_again(name):
    learner = learnt(name)
    small = learner.pruned(learner.branches().root)
    assert (small.branches().test < 0).all()
    small.learn(rows(4_000, seed=4))
    assert (small.branches().test >= 0).any()


@pytest.mark.parametrize("name", KINDS)
def test_counting_leaves_say_shares_and_more(name):
    learner = learnt(name)
    before = learner.branches()
    more = np.zeros((len(before.test), 3))
    at = int(np.flatnonzero(before.test < 0)[-1])
    more[at] = [1e9, 0, 1e9]
    small = learner.counting(more)
    after = small.branches()
    assert not len(after.says)
    np.testing.assert_allclose(after.shares[-1], [0.5, 0, 0.5], atol=1e-4)
    np.testing.assert_allclose(after.shares[:-1], before.shares[:-1])
    asked = rows(300, seed=2).x
    np.testing.assert_allclose(after.answers(asked), small.predict(asked), atol=EXACT)
    assert len(learner.branches().says)


@pytest.mark.parametrize("name", KINDS)
def test_smaller_ones_are_saved_and_go_on_as_if_never_stopped(name):
    """Shapes and what leaves say are in the state: it is loaded into one made as the first."""
    learner = learnt(name)
    small = learner.pruned(np.flatnonzero(learner.branches().test >= 0)[-2:])
    small = small.counting(np.ones((len(small.branches().test), 3)))
    if small.branches().trees > 1:
        small = small.thinned(np.array([0, 2]))
        assert small.branches().trees == 2
    again = made(name)
    again.load_state_dict(small.state_dict())
    more = rows(3_000, seed=5)
    parts = [rt.Batch(more.x[a:b], y=more.y[a:b]) for a, b in ((0, 7), (7, 2_000), (2_000, 3_000))]
    np.testing.assert_array_equal(np.concatenate([again.learn(part) for part in parts]), small.learn(more))
    same_state(again.state_dict(), small.state_dict(), 0.0, "its state")
    assert not len(small.branches().says)


def test_thinned_forests_are_means_of_what_is_left():
    learner = learnt("ARF")
    asked, all_three = rows(200, seed=1).x, learner.branches()
    small = learner.thinned(np.array([1]))
    np.testing.assert_allclose(small.predict(asked), all_three.said(asked)[:, 1], atol=EXACT)
    for kept in ([], [1, 0], [3]):
        with pytest.raises(SettingError, match="as trees to keep of 3"):
            learner.thinned(np.array(kept, dtype=int))
    with pytest.raises(SettingError, match="is one tree"):
        learnt("HoeffdingTree").thinned(np.array([0]))


def test_nothing_learnt_is_nothing_to_describe():
    for learner in (rt.ARF(), rt.HoeffdingTree()):
        with pytest.raises(SettingError, match=r"no trees yet|learnt nothing"):
            learner.branches()
        learner.learn(rt.Batch(np.zeros((3, 2))))
        with pytest.raises(SettingError, match="no class was learnt"):
            learner.branches()


def test_errors_stay_with_their_nodes_and_trees_beside_them_go():
    """The second half is another world, so that trees grow beside nodes that fail."""
    learner = rt.HoeffdingAdaptiveTree(grace=20, delta=0.3, width=10_000)
    first, then = rows(3_000, gaps=False), rows(1_500, seed=1, gaps=False)
    learner.learn(first)
    learner.learn(rt.Batch(then.x, y=2 - then.y))
    before = learner.state_dict()
    assert (before["errors"]["beside"] >= 0).any()
    found = learner.branches()
    small = learner.pruned(np.flatnonzero(found.test >= 0)[-1:])
    after = small.state_dict()
    assert (after["errors"]["beside"] == -1).all()
    order, depth = branching.reached(learner._tree), before["tree"]["depth"]
    node = int(np.flatnonzero(found.test >= 0)[-1])
    kept = np.delete(order, np.arange(node + 1, int(found.last()[node])))
    assert len(kept) == len(after["errors"]["window"])
    np.testing.assert_array_equal(after["errors"]["window"], before["errors"]["window"][kept])
    np.testing.assert_array_equal(after["tree"]["depth"], depth[kept])
    small.learn(rows(2_000, seed=2, gaps=False))


@pytest.mark.parametrize("name", ["ARF", "EFDT"])
def test_what_a_leaf_was_before_does_not_matter(name):
    """A tree that began anew has leaves that were nodes of a larger one, whose children are nowhere now."""
    learner = learnt(name)
    inner = np.flatnonzero(learner.branches().test >= 0)[-1:]
    wanted = learner.pruned(inner).predict(rows(100, seed=1).x)
    trees = [learner._tree] if name == "EFDT" else [tree for pair in learner._pairs for tree in pair._trees]
    for tree in trees:
        tree.child[tree.test < 0] = 1 << 20
    np.testing.assert_array_equal(learner.pruned(inner).predict(rows(100, seed=1).x), wanted)
