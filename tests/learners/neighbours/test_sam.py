"""`SAMKNN` against plain Python written from the paper, and what its memories hold."""

import numpy as np
import pytest

import retain as rt
from retain.errors import SettingError


class Slow:
    """Losing, Hammer, Wersing 2016, on lists; no scaling, unit weights, memories without an end."""

    def __init__(self, neighbours, least):
        self.k, self.least = neighbours, least
        self.short, self.long, self.mind = [], [], []
        self.history = {}  # of the window that begins at the i-th row from the end of time: was each row answered right

    def votes(self, x, rows):
        """Of (x, y): shares of the classes among the nearest, newest first among equals."""
        far = [(float(np.float32(np.sum((x - z) ** 2, dtype=np.float32))), -i, y) for i, (z, y) in enumerate(rows)]
        near = sorted(far)[: self.k]
        exact = [n for n in near if n[0] <= 1e-30]
        votes = np.zeros(10)
        for d, _, y in exact or near:
            votes[y] += 1.0 if exact else 1 / np.sqrt(d)
        return votes / votes.sum() if near else votes

    def near(self, x, rows):
        order = sorted(range(len(rows)), key=lambda i: (np.sum((x - rows[i][0]) ** 2, dtype=np.float32), -i))
        return [(i, np.sum((x - rows[i][0]) ** 2, dtype=np.float32)) for i in order[: self.k]]

    def clean(self, x, y, others, older):
        """`older` without those near x that contradict it."""
        agree = [d for i, d in self.near(x, others) if others[i][1] == y]
        gone = {i for i, d in self.near(x, older) if agree and d <= max(agree) and older[i][1] != y}
        return [row for i, row in enumerate(older) if i not in gone]

    def learn(self, x, y):
        three = [self.votes(x, rows) for rows in (self.short, self.long, self.long + self.short)]
        sums = np.sum(self.mind, axis=0) if self.mind else np.zeros(3)
        chosen = int(np.argmax(sums))
        if not three[chosen].any():
            chosen = 2
        said = three[chosen]
        self.long = self.clean(x, y, self.short, self.long)
        self.mind.append([v[y] > 0 and v.argmax() == y for v in three])
        self.short.append((x, y))
        self.adjust()
        return said

    def adjust(self):
        m, sizes = len(self.short), [len(self.short)]
        while m >> len(sizes) >= self.least:
            sizes.append(m >> len(sizes))
        accuracy = []
        for level, size in enumerate(sizes):
            begin = m - size
            right = self.history.get(level)
            if right is None:
                right = [self.answers(begin, i) for i in range(begin, m)]
            else:
                right = [*right, self.answers(begin, m - 1)][-size:]
            self.history[level] = right
            accuracy.append(np.mean(right))
        best = int(np.argmax(accuracy))
        if best:
            old, self.short = self.short[: m - sizes[best]], self.short[m - sizes[best] :]
            for i, (x, y) in enumerate(self.short):
                old = self.clean(x, y, self.short[:i] + self.short[i + 1 :], old)
            self.long += old
            self.mind = self.mind[-len(self.short) :]
            self.history = {level - best: right for level, right in self.history.items() if level >= best}

    def answers(self, begin, i):
        x, y = self.short[i]
        votes = self.votes(x, self.short[begin:i])
        return bool(votes[y] > 0 and votes.argmax() == y)


def turning(n, seed=0):
    """Two clouds in each of 4 places whose labels change places now and then."""
    rng = np.random.default_rng(seed)
    place = rng.integers(0, 4, n)
    x = np.array([[0, 0], [0, 3], [3, 0], [3, 3]])[place] + rng.normal(size=(n, 2))
    return x.astype(np.float32), (place % 2) ^ (np.arange(n) // 150 % 2)


@pytest.mark.parametrize(("neighbours", "least"), [(3, 10), (5, 20)])
def test_it_is_plain_python_after_every_row(neighbours, least):
    x, y = turning(700)
    learner, slow = rt.SAMKNN(neighbours, least=least, scaled=False), Slow(neighbours, least)
    said = learner.learn(rt.Batch(x, y=y))
    for i in range(700):
        np.testing.assert_allclose(said[i], slow.learn(x[i], int(y[i]))[:2], atol=1e-4, err_msg=f"row {i}")
    assert learner.sizes == (len(slow.short), len(slow.long))
    assert len(slow.long) > 10


def test_what_is_wrong_now_leaves_and_what_agrees_is_kept():
    x, y = turning(3000)
    learner = rt.SAMKNN(least=20)
    for start in range(0, 3000, 50):
        learner.learn(rt.Batch(x[start : start + 50], y=y[start : start + 50]))
        assert sum(learner.sizes) <= 5000
    assert learner.sizes[0] <= 300, "the short-term memory was cut"


def test_the_memories_stay_within_their_bound():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    learner = rt.SAMKNN(window=200, least=10)
    said = learner.learn(rt.Batch(x, y=y))
    assert sum(learner.sizes) <= 200
    assert learner.sizes[1] > 0
    assert (said[1000:].argmax(axis=1) == y[1000:]).mean() > 0.92


def test_many_classes_in_little_room():
    """One row of each class cannot be halved."""
    rng = np.random.default_rng(0)
    learner = rt.SAMKNN(1, window=20, least=2)
    learner.learn(rt.Batch(rng.normal(size=(500, 2)), y=rng.integers(0, 15, 500)))
    assert sum(learner.sizes) <= 20


def test_what_comes_back_is_at_hand():
    """Two worlds that share no place, in turn: the long-term memory answers at once what the window has lost."""
    rng = np.random.default_rng(1)
    turn = np.arange(4000) // 500 % 2
    x = (rng.normal(size=(4000, 2)) + 20 * turn[:, None]).astype(np.float32)
    y = (x[:, 0] - 20 * turn > 0).astype(np.int64)
    returns = np.flatnonzero((np.arange(4000) % 500 < 25) & (np.arange(4000) >= 1000))
    right = {}
    for name, learner in {
        "window": rt.KNN(window=500, scaled=False),
        "sam": rt.SAMKNN(window=1500, scaled=False),
    }.items():
        said = learner.learn(rt.Batch(x, y=y))
        right[name] = (said.argmax(axis=1) == y)[returns].mean()
    assert right["sam"] > right["window"] + 0.05


def test_bad_settings_are_refused():
    for setting in ({"neighbours": 0}, {"least": 1}, {"window": 50, "least": 40}):
        with pytest.raises(SettingError):
            rt.SAMKNN(**setting)
