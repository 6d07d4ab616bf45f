"""`EFDT` splits early, and thinks again."""

import numpy as np

import retain as rt


def concept(feature, n, seed):
    x = np.random.default_rng(seed).uniform(size=(n, 3)).astype(np.float32)
    return rt.Batch(x, y=(x[:, feature] > 0.5).astype(int))


def test_it_splits_before_the_second_best_is_ruled_out():
    """Two features that say the same: a Hoeffding tree must wait for a tie, this one does not."""
    x = np.random.default_rng(0).uniform(size=(600, 1)).astype(np.float32)
    twins = rt.Batch(np.hstack([x, x]), y=(x[:, 0] > 0.5).astype(int))
    fast, slow = rt.EFDT(tie=0.0), rt.HoeffdingTree(tie=0.0)
    fast.learn(twins)
    slow.learn(twins)
    assert fast.nodes > 1 == slow.nodes


def test_it_splits_anew_when_another_feature_is_better():
    tree = rt.EFDT()
    tree.learn(concept(0, 1000, 0))
    assert int(tree._tree.test[0]) == 0
    for seed in range(8):
        tree.learn(concept(2, 1000, 1 + seed))
    assert int(tree._tree.test[0]) == 2
    new = concept(2, 1000, 99)
    assert (tree.predict(new.x).argmax(1) == new.y).mean() > 0.97


def test_nodes_that_are_given_back_are_used_again():
    tree = rt.EFDT()
    sizes = []
    for seed in range(12):
        for feature in (0, 1, 2):
            tree.learn(concept(feature, 400, seed))
        sizes.append(len(tree._tree.test))
    assert sizes[-1] <= 4 * sizes[0] + 16


def test_no_slot_is_lost():
    """Every slot in use is looked at by exactly one node."""
    rng = np.random.default_rng(0)
    tree = rt.EFDT(nominal=[0], grace=10, delta=0.5)
    for _ in range(30):
        x = np.c_[rng.integers(0, 8, 300), rng.normal(size=(300, 2))].astype(np.float32)
        tree.learn(rt.Batch(x, y=(x[:, 0] == rng.integers(0, 8)).astype(int)))
        inner = tree._tree
        used = inner.slot[: inner.size[0]]
        assert (used >= 0).sum() == inner.size[1] - inner.size[4]
        assert len(set(used[used >= 0].tolist())) == (used >= 0).sum()
