"""Mondrian trees beside a slow one that is written from the papers, and what follows from the process behind them."""

import math

import numpy as np
import pytest
from river.tree.mondrian import MondrianTreeClassifier

import retain as rt
from retain.errors import PoisonError, SettingError


class Draws:
    """splitmix64 with Python's whole numbers."""

    def __init__(self, seed):
        self.state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])

    def uniform(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53


class Node:
    def __init__(self):
        self.children, self.feature, self.threshold, self.split = None, None, None, math.inf
        self.boxes, self.last = {}, {}  # by feature: (least, most), the value of the last row
        self.of, self.weight, self.loss = {}, 0.0, 0.0  # weight of each class, or {0: mean}

    def toward(self, x):
        left, right = self.children
        if math.isnan(x[self.feature]):
            return left if left.weight >= right.weight else right
        return left if x[self.feature] <= self.threshold else right


class Slow:
    """One row at a time, objects, and weights of subtrees worked out from the losses of all nodes, over and over."""

    def __init__(self, *, seed, numbers, step, dirichlet=0.5, split_pure=False, scaled=True):
        self.draws, self.numbers, self.step, self.dirichlet = Draws(seed), numbers, step, dirichlet
        self.split_pure, self.scaled = split_pure, scaled
        self.root, self.known, self.ranges, self.error, self.rows = None, 0, {}, 0.0, 0.0

    def own(self, node):
        if self.numbers:
            return np.array([node.of.get(0, 0.0)])
        shares = [node.of.get(c, 0.0) + self.dirichlet for c in range(self.known)]
        return np.array(shares) / (node.weight + self.dirichlet * self.known)

    def log_weight(self, node):
        if node.children is None:
            return -self.step * node.loss
        return np.logaddexp(-self.step * node.loss, sum(map(self.log_weight, node.children))) - math.log(2)

    def predict(self, x, node=None):
        node = node or self.root
        if node is None:
            return np.zeros(1 if self.numbers else self.known)
        if node.children is None:
            return self.own(node)
        share = 0.5 * math.exp(-self.step * node.loss - self.log_weight(node))
        return share * self.own(node) + (1 - share) * self.predict(x, node.toward(x))

    def rate(self, j):
        if not self.scaled:
            return 1.0
        least, most = self.ranges.get(j, (0, 0))
        return 1.0 / (most - least) if most > least else 0.0

    def update(self, node, x, y, weight):
        if self.numbers:
            mean = node.of.get(0, 0.0)
            if node.weight:
                node.loss += weight * (y - mean) ** 2 * self.unit
            node.of[0] = mean + weight / (node.weight + weight) * (y - mean)
        else:
            a, b = node.of.get(y, 0.0) + self.dirichlet, node.weight + self.dirichlet * self.known
            counted = range(0 if node.weight else 1, int(weight))  # the first row of a node costs it nothing
            node.loss -= sum(math.log((a + i) / (b + i)) for i in counted)
            node.of[y] = node.of.get(y, 0.0) + weight
        node.weight += weight
        for j, value in enumerate(x):
            if not math.isnan(value):
                least, most = node.boxes.get(j, (value, value))
                node.boxes[j] = (min(least, value), max(most, value))

    def learn(self, x, y, weight):
        before = self.predict(x)
        if not self.numbers:
            self.known = max(self.known, y + 1)
        elif self.root:
            self.error, self.rows = self.error + weight * (y - before[0]) ** 2, self.rows + weight
        self.unit = self.rows / (2 * self.error) if self.error else 0.0
        for j, value in enumerate(x):
            if not math.isnan(value):
                least, most = self.ranges.get(j, (value, value))
                self.ranges[j] = (min(least, value), max(most, value))
        self.root = self.root or Node()
        node, begun = self.root, 0.0
        while True:
            leaf = self.split(node, x, y, begun)
            self.update(node, x, y, weight)
            if leaf is not None:
                self.update(leaf, x, y, weight)
                leaf.last = {j: v for j, v in enumerate(x) if not math.isnan(v)}
                return before
            if node.children is None:
                node.last |= {j: v for j, v in enumerate(x) if not math.isnan(v)}
                return before
            node, begun = node.toward(x), node.split

    def evidence(self, node):
        """The Dirichlet-multinomial probability of a sequence with these counts, less what the first row cost."""
        whole = self.dirichlet * self.known
        gain = math.lgamma(whole) - math.lgamma(whole + node.weight) + min(node.weight, 1) * math.log(self.known)
        return gain + sum(math.lgamma(self.dirichlet + w) - math.lgamma(self.dirichlet) for w in node.of.values())

    def split(self, node, x, y, begun):
        pure = not self.numbers and not self.split_pure and node.of.get(y, 0.0) == node.weight
        inside = all(j in node.boxes and node.boxes[j][0] <= v <= node.boxes[j][1] for j, v in enumerate(x))
        last_counts = not (self.numbers or self.split_pure)
        if pure or (inside and not (last_counts and node.children is None)):
            return None
        box = {j: (v, v) for j, v in node.last.items()} if inside else node.boxes
        beyond = {j: max(box[j][0] - v, v - box[j][1]) for j, v in enumerate(x) if j in box}
        beyond = {j: self.rate(j) * e for j, e in beyond.items() if e > 0 and self.rate(j) > 0}
        reach = sum(beyond.values())
        if reach == 0:
            return None
        time = begun - math.log1p(-self.draws.uniform()) / reach
        if time >= node.split:
            return None
        drawn = self.draws.uniform() * reach
        ends = np.cumsum(list(beyond.values()))
        feature = list(beyond)[min(int(np.searchsorted(ends, drawn, side="right")), len(ends) - 1)]
        above = x[feature] > box[feature][1]
        low, high = (box[feature][1], x[feature]) if above else (x[feature], box[feature][0])
        threshold = float(np.float32(low + self.draws.uniform() * (high - low)))
        old, leaf = Node(), Node()
        old.__dict__.update(node.__dict__, boxes=dict(node.boxes), of=dict(node.of), last=dict(node.last))
        if inside:
            least, most = old.boxes[feature]
            leaf.boxes = dict(old.boxes)
            low_side, high_side = (old, leaf) if above else (leaf, old)
            low_side.boxes[feature], high_side.boxes[feature] = (least, threshold), (threshold, most)
            for side in (old, leaf):
                part = (side.boxes[feature][1] - side.boxes[feature][0]) / (most - least)
                side.of = {c: part * w for c, w in node.of.items()}
                side.weight = part * node.weight
                side.loss = -self.evidence(side)
        node.children = (old, leaf) if above else (leaf, old)
        node.feature, node.threshold, node.split = feature, threshold, time
        return leaf


def rows(n=150, *, missing=0.0, seed=0):
    """Two clouds that overlap, some values at the same places, so that rows lie within boxes and on others."""
    rng = np.random.default_rng(seed)
    x = np.c_[rng.normal(size=n), 10 * rng.random(n), rng.integers(0, 3, n)].astype(np.float32)
    y = (x[:, 0] + 0.1 * x[:, 1] + 0.5 * rng.normal(size=n) > 0.5).astype(np.int64)
    y += (x[:, 2] == 2) * (np.arange(n) > 40)  # a third class comes later
    x[rng.random(x.shape) < missing] = np.nan
    return x, y, rng.integers(1, 4, n).astype(float)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("split_pure", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_classes_are_those_of_the_slow_tree(missing, split_pure, scaled):
    x, y, weight = rows(missing=missing)
    slow = Slow(seed=5, numbers=False, step=0.7, dirichlet=0.3, split_pure=split_pure, scaled=scaled)
    tree = rt.MondrianTree(seed=5, step=0.7, dirichlet=0.3, split_pure=split_pure, scaled=scaled)
    said = tree.learn(rt.Batch(x, y=y, weight=weight))
    for i in range(len(x)):
        expected = slow.learn(x[i].tolist(), int(y[i]), weight[i])
        np.testing.assert_allclose(said[i, : len(expected)], expected, atol=1e-9)
        assert not said[i, len(expected) :].any()
    assert tree.nodes > 50


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("scaled", [False, True])
def test_numbers_are_those_of_the_slow_tree(missing, scaled):
    x, y, weight = rows(missing=missing)
    target = y + np.random.default_rng(1).normal(size=len(y))
    slow = Slow(seed=6, numbers=True, step=1.3, scaled=scaled)
    tree = rt.MondrianTree(seed=6, step=1.3, scaled=scaled)
    said = tree.learn(rt.Batch(x, y=target, weight=weight))
    expected = [slow.learn(x[i].tolist(), target[i], weight[i])[0] for i in range(len(x))]
    np.testing.assert_allclose(said, expected, atol=1e-9)


def test_as_many_rows_are_right_as_with_river():
    """Whole trees of single rows, as there: over 30 seeds the means differ by less than 4 standard errors."""
    x, y, _ = rows(500, seed=2)
    y = (y > 0).astype(np.int64)
    ours, theirs = [], []
    for seed in range(30):
        tree = rt.MondrianTree(seed=seed, split_pure=True, scaled=False, step=1.0, dirichlet=0.5)
        said = tree.learn(rt.Batch(x, y=y))
        ours.append((said[1:].argmax(axis=1) == y[1:]).mean())
        river, right = MondrianTreeClassifier(seed=seed, split_pure=True), []
        for row, label in zip(x.tolist(), y.tolist(), strict=True):
            named = dict(enumerate(row))
            right.append(river.predict_one(named) == label)
            river.learn_one(named, label)
        theirs.append(np.mean(right[1:]))
    error = math.hypot(np.std(ours), np.std(theirs)) / math.sqrt(30)
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error < 0.025


@pytest.mark.parametrize("order", [1, -1])
def test_the_first_split_is_that_of_the_process_in_any_order(order):
    """Of a box with sides 1 and 3: on the second feature three times out of four, at even places."""
    x = (np.random.default_rng(3).random((20, 2)) * [1, 3]).astype(np.float32)
    x[4], x[11] = (0, 0), (1, 3)
    features, places = [], []
    for seed in range(600):
        tree = rt.MondrianTree(scaled=False, seed=seed)
        tree.learn(rt.Batch(x[::order], y=np.arange(20.0)))
        nodes = tree.state_dict()["nodes"]
        features.append(nodes["link"][0, 3])
        places.append(nodes["real"][0, 1] / [1, 3][features[-1]])
    assert abs(np.mean(features) - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 600)
    assert abs(np.mean(places) - 0.5) < 4 * math.sqrt(1 / 12 / 600)


def test_units_do_not_matter():
    x, y, _ = rows()
    unit = np.float32([2**10, 2**-7, 1])
    first, second = rt.MondrianTree(), rt.MondrianTree()
    assert np.array_equal(first.learn(rt.Batch(x, y=y)), second.learn(rt.Batch(x * unit, y=y)))
    first, second = rt.MondrianTree(), rt.MondrianTree()
    assert np.array_equal(1024 * first.learn(rt.Batch(x, y=y / 1)), second.learn(rt.Batch(x * unit, y=y * 1024.0)))


def test_whole_weights_are_repeated_rows():
    """The counts, and what nodes of classes lose; a repeated row splits nothing."""
    x, y, weight = rows(60)
    heavy, often = rt.MondrianTree(split_pure=True), rt.MondrianTree(split_pure=True)
    heavy.learn(rt.Batch(x, y=y, weight=weight))
    often.learn(rt.Batch(np.repeat(x, weight.astype(int), axis=0), y=np.repeat(y, weight.astype(int))))
    np.testing.assert_allclose(heavy.predict(x), often.predict(x), atol=1e-9)


def test_another_class_within_the_box_of_a_leaf_is_told_apart():
    rng = np.random.default_rng(4)
    x = rng.random((3000, 2)).astype(np.float32)
    within = ((np.abs(x - 0.5) < 0.25).all(axis=1)).astype(np.int64)
    late = np.r_[np.flatnonzero(within == 0), np.flatnonzero(within)]  # all that is around it comes first
    for tree, least in ((rt.MondrianTree(), 0.85), (rt.MondrianTree(split_pure=True), 0.97)):
        tree.learn(rt.Batch(x[late], y=within[late]))
        assert (tree.predict(x).argmax(axis=1) == within).mean() > least


@pytest.mark.parametrize("numbers", [False, True])
def test_a_tree_that_is_pruned_again_and_again_is_in_order(numbers):
    """Parents and children know each other, rows add up, and shares are what the losses of all nodes say."""
    rng = np.random.default_rng(6)
    tree = rt.MondrianTree(max_bytes=20_000)
    for _ in range(40):
        x = rng.normal(size=(50, 3)).astype(np.float32)
        y = x[:, 0] * x[:, 1] if numbers else (x[:, 0] * x[:, 1] > 0).astype(np.int64) + (x[:, 2] > 1)
        tree.learn(rt.Batch(x, y=y))
        nodes = tree.state_dict()["nodes"]
        link, real, box = nodes["link"], nodes["real"], nodes["box"]
        parents, seen = link[:, 0], np.zeros(len(link), dtype=int)

        def weight(node, link=link, real=real, seen=seen):
            seen[node] += 1
            if link[node, 1] < 0:
                return real[node, 2]
            below = weight(link[node, 1]) + weight(link[node, 2])
            whole = np.logaddexp(real[node, 2], below) - math.log(2)
            np.testing.assert_allclose(real[node, 4], math.exp(real[node, 2] - whole) / 2, atol=1e-9)
            return whole

        weight(0)
        assert (seen == 1).all()
        inner = np.flatnonzero(link[:, 1] >= 0)
        for child in (link[inner, 1], link[inner, 2]):
            assert np.array_equal(parents[child], inner)
            assert (real[child, 5] <= real[inner, 5]).all()  # whoever passed a node passed those above it
            assert not (box[child, 0] < box[inner, 0]).any()
            assert not (box[child, 1] > box[inner, 1]).any()
        np.testing.assert_allclose(real[link[inner, 1], 3] + real[link[inner, 2], 3], real[inner, 3])


def test_a_full_tree_follows_a_world_that_moves():
    rng = np.random.default_rng(5)
    x = rng.random((20_000, 2)).astype(np.float32)
    turned = np.arange(len(x)) % 10_000 < 5_000
    y = ((x[:, 0] > 0.5) ^ turned).astype(np.int64)
    small, large = rt.MondrianTree(max_bytes=60_000), rt.MondrianTree(max_bytes=10**8)
    right = [(tree.learn(rt.Batch(x, y=y)).argmax(axis=1) == y).mean() for tree in (small, large)]
    assert right[0] > right[1] + 0.05
    assert small.memory <= 60_000 < large.memory


def test_settings_out_of_range_are_refused():
    for bad in ({"step": 0.0}, {"dirichlet": -1.0}, {"max_bytes": 1000}, {"step": float("nan")}):
        with pytest.raises(SettingError, match="MondrianTree"):
            rt.MondrianTree(**bad)
    tree = rt.MondrianTree(max_bytes=20_000)
    with pytest.raises(SettingError, match="max_bytes"):
        tree.learn(rt.Batch(np.zeros((2, 500), np.float32), y=np.array([0, 1])))
    tree.learn(rt.Batch(np.zeros((2, 3), np.float32), y=np.array([0, 1])))  # nothing had changed
    with pytest.raises(PoisonError, match="labels of type float64 after class codes"):
        tree.learn(rt.Batch(np.zeros((2, 3), np.float32), y=np.array([0.5, 1])))


def test_rows_without_labels_before_any_label():
    x, y, _ = rows(20)
    tree, plain = rt.MondrianTree(), rt.MondrianTree()
    assert tree.learn(rt.Batch(x)).shape == (20, 0)
    assert tree.learn(rt.Batch(x, y=np.full(20, -1))).shape == (20, 0)
    assert np.array_equal(tree.learn(rt.Batch(x, y=y)), plain.learn(rt.Batch(x, y=y)))
    assert np.array_equal(tree.learn(rt.Batch(x)), tree.predict(x))


def test_new_features_were_0_before():
    """Rows of a schema may grow to the right."""
    x, y, _ = rows(60)
    wide = np.c_[x, np.r_[np.zeros(30), np.ones(30)]].astype(np.float32)
    schema = rt.Schema()
    tree, known = rt.MondrianTree(), rt.MondrianTree()
    for start, rows_ in ((0, x[:30]), (30, wide[30:])):
        tree.learn(rt.Batch(rows_, y=y[start : start + 30], schema=schema))
    known.learn(rt.Batch(wide[:30], y=y[:30], schema=schema))
    known.learn(rt.Batch(wide[30:], y=y[30:], schema=schema))
    assert np.array_equal(tree.predict(wide), known.predict(wide))
