"""A Hoeffding tree as plain Python, written from its definition: lists and loops, and no speed at all."""

import math
from dataclasses import dataclass, field

CUTS = 10
PRIOR = 0.01


@dataclass
class Numbers:
    """One class's values of one feature."""

    values: list = field(default_factory=list)  # (value, weight)

    def moments(self):
        weight = sum(w for _, w in self.values)
        mean = sum(v * w for v, w in self.values) / weight
        return weight, mean, sum(w * (v - mean) ** 2 for v, w in self.values)


def variance(numbers, of_all):
    """That of a class in a leaf, with one more row of a hundredth of the variance of all rows."""
    weight, mean, spread = numbers.moments()
    n = weight - 1 if weight >= 2 else weight
    return (spread + PRIOR * of_all + n * 1e-14 * mean * mean + 1e-30) / (n + 1)


@dataclass
class Node:
    counts: dict
    features: int
    weight: float = 0.0
    asked: float = 0.0
    right: list = field(default_factory=lambda: [0.0, 0.0])
    seen: dict = field(default_factory=dict)  # class: [Numbers of each feature]
    test: tuple | None = None
    children: list = field(default_factory=list)


class Reference:
    def __init__(self, features, *, grace, delta, tie, branch=0.01):
        self.features, self.grace, self.delta, self.tie, self.branch = features, grace, delta, tie, branch
        self.root = Node({}, features)
        self.all = [Numbers() for _ in range(features)]
        self.nodes = 1

    def leaf(self, x):
        node = self.root
        while node.test is not None:
            feature, cut = node.test
            node = node.children[0 if x[feature] <= cut else 1]
        return node

    def of_all(self, j):
        if not self.all[j].values:
            return 0.0
        weight, _, spread = self.all[j].moments()
        return spread / weight

    def majority(self, node):
        total = sum(node.counts.values())
        return {c: n / total for c, n in node.counts.items()} if total else {}

    def bayes(self, node, x):
        scores = {}
        for c, numbers in node.seen.items():
            if not node.counts.get(c, 0.0):
                continue
            score = math.log(node.counts[c])
            for j in range(self.features):
                mean, spread = numbers[j].moments()[1], node.variances[c][j]
                score -= 0.5 * math.log(2 * spread) + (x[j] - mean) ** 2 / (2 * spread)
            scores[c] = score
        if not scores:
            return self.majority(node)
        most = max(scores.values())
        odds = {c: math.exp(s - most) for c, s in scores.items()}
        return {c: o / sum(odds.values()) for c, o in odds.items()}

    def answers(self, node, x):
        return self.majority(node), self.bayes(node, x)

    def predict(self, x):
        node = self.leaf(x)
        majority, bayes = self.answers(node, x)
        return majority if node.right[0] > node.right[1] else bayes

    def learn(self, x, y, w):
        node = self.leaf(x)
        for which, said in enumerate(self.answers(node, x)):
            if said and max(sorted(said), key=lambda c: said[c]) == y:
                node.right[which] += w
        for j in range(self.features):
            self.all[j].values.append((x[j], w))
        node.counts[y] = node.counts.get(y, 0.0) + w
        node.weight += w
        numbers = node.seen.setdefault(y, [Numbers() for _ in range(self.features)])
        for j in range(self.features):
            numbers[j].values.append((x[j], w))
        # variances are those of when a class was last seen in the leaf
        node.variances = getattr(node, "variances", {})
        node.variances[y] = [variance(numbers[j], self.of_all(j)) for j in range(self.features)]
        if node.weight - node.asked >= self.grace:
            self.consider(node)

    def share(self, node, c, j, cut):
        values = [v for v, _ in node.seen[c][j].values]
        if cut >= max(values):
            return 1.0
        if cut < min(values):
            return 0.0
        mean = node.seen[c][j].moments()[1]
        return 0.5 * (1 + math.erf((cut - mean) / math.sqrt(2 * node.variances[c][j])))

    def parts(self, node, j, cut):
        left, right = {}, {}
        for c in node.seen:
            n = sum(w for _, w in node.seen[c][j].values)
            left[c] = n * self.share(node, c, j, cut)
            right[c] = n - left[c]
        return left, right

    def gain(self, left, right):
        a, b = sum(left.values()), sum(right.values())
        if not min(a, b) > self.branch * (a + b):
            return -math.inf
        both = {c: left[c] + right[c] for c in left}
        return entropy(both) - (a * entropy(left) + b * entropy(right)) / (a + b)

    def consider(self, node):
        node.asked = node.weight
        if sum(n > 0 for n in node.counts.values()) < 2:
            return
        found = [(0.0, None)]
        for j in range(self.features):
            values = [v for numbers in node.seen.values() for v, _ in numbers[j].values]
            low, high = min(values), max(values)
            cuts = [low + (high - low) * k / (CUTS + 1) for k in range(1, CUTS + 1)] if low < high else []
            gains = [(self.gain(*self.parts(node, j, cut)), (j, cut)) for cut in cuts]
            if gains:
                found.append(max(gains, key=lambda g: g[0]))
        found.sort(key=lambda g: -g[0])
        (best, test), (second, _) = found[0], found[1]
        if test is None:
            return
        reach = math.log2(max(sum(n > 0 for n in node.counts.values()), 2))
        slack = math.sqrt(reach**2 * math.log(1 / self.delta) / (2 * node.weight))
        if best - second > slack or slack < self.tie:
            left, right = self.parts(node, *test)
            for part in (left, right):
                child = Node(dict(part), self.features, weight=sum(part.values()), asked=sum(part.values()))
                node.children.append(child)
            node.test = test
            self.nodes += 2


def entropy(counts):
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values() if n > 0)
