"""Trees as plain arrays, against scikit-learn's own and by hand."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from retain.branches import Bayes, Branches, joined
from retain.errors import SettingError


def of_sklearn(forest: RandomForestClassifier, width: int) -> Branches:
    """Its nodes come in the order that ours have: each before those below it, the left child next."""
    trees = []
    for one in forest.estimators_:
        tree = one.tree_
        leaf = tree.children_left < 0
        child = np.where(leaf[:, None], 0, np.stack([tree.children_left, tree.children_right], axis=1))
        shares = tree.value[leaf, 0] / tree.value[leaf, 0].sum(axis=1, keepdims=True)
        test = np.where(leaf, -1, tree.feature)
        trees.append(Branches.of_shares(test=test, value=tree.threshold, child=child, shares=shares, width=width))
    return joined(trees, np.ones(len(trees)))


@pytest.fixture(scope="module")
def forest():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 5)).astype(np.float32)
    y = (x[:, :3] ** 2).argmax(axis=1)
    return RandomForestClassifier(7, random_state=0).fit(x, y), x


def test_the_trees_of_scikit_learn_answer_as_there(forest):
    model, x = forest
    other = np.random.default_rng(1).normal(size=(500, 5)).astype(np.float32)
    ours = of_sklearn(model, 5)
    assert ours.trees == 7
    for asked in (x, other):
        np.testing.assert_allclose(ours.answers(asked), model.predict_proba(asked), atol=1e-12)


def test_where_nodes_end(forest):
    ours = of_sklearn(forest[0], 5)
    last, tree = ours.last(), ours.tree()
    assert last[ours.root].tolist() == [*ours.root[1:].tolist(), len(ours.test)]
    for node in np.flatnonzero(ours.test >= 0):
        left, right = ours.child[node]
        assert left == node + 1
        assert last[left] == right
        assert last[right] == last[node]
        assert tree[left] == tree[right] == tree[node]


def test_what_is_missing_and_what_has_a_name_by_hand():
    shares = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    one = Branches(
        2,
        np.array([0]),
        np.ones(1),
        np.array([0, -1, 1, -1, -1]),
        np.array([3.0, 0, 0.5, 0, 0]),
        np.array([[1, 2], [0, 0], [3, 4], [0, 0], [0, 0]]),
        np.array([1, 0, 0, 0, 0]),
        np.array([-1, 0, -1, 1, 2]),
        shares,
        np.ones(3),
        np.array([-1, -1, -1]),
        Bayes(np.zeros((0, 0), int), *np.zeros((2, 0, 2, 0)), np.zeros((0, 2)), np.zeros((0, 1, 4, 2))),
        np.array([0, -1]),
    )
    x = np.array([[3, 9], [-7.5, 9], [4, 0.5], [2, 0.6], [np.nan, np.nan]])
    assert one.reached(x)[:, 0].tolist() == [1, 4, 3, 4, 3]  # 7 is 3 of 4 buckets; gaps go right, then left
    np.testing.assert_array_equal(one.answers(x)[4], shares[1])


def test_naive_bayes_by_hand():
    mean, narrow = np.array([[[0.0], [2.0]]]), np.array([[[0.5], [2.0]]])
    prior = np.log([[3.0, 1.0]]) + 0.5 * np.log(narrow[:, :, 0])
    says = Bayes(np.zeros((1, 1), int), mean, narrow, prior, np.zeros((1, 0, 0, 2)))
    leaf = Branches(
        1, np.array([0]), np.ones(1), np.array([-1]), np.zeros(1), np.zeros((1, 2), int), np.zeros(1), np.array([0]),
        np.array([[0.75, 0.25]]), np.ones(1), np.array([0]), says, np.array([-1]),
    )  # fmt: skip
    x = 1.5
    density = [3 * np.exp(-(x**2) / 2) / 1.0, 1 * np.exp(-((x - 2) ** 2) / 0.5) / 0.5]
    said = leaf.answers(np.array([[x], [np.nan]]))
    np.testing.assert_allclose(said[0], np.array(density) / sum(density))
    np.testing.assert_allclose(said[1], [0.75, 0.25])  # what is missing tells nothing


def test_nothing_known_is_told_as_zeros_and_no_trees_are_refused():
    empty = Branches.of_shares(test=[-1], value=[0.0], child=[[0, 0]], shares=np.zeros((1, 2)))
    np.testing.assert_array_equal(empty.answers(np.zeros((2, 1))), np.zeros((2, 2)))
    with pytest.raises(SettingError, match="no trees yet"):
        joined([], np.ones(0))
