"""The updates again, in plain Python over dictionaries of features: slow, and nothing like the kernels."""

import math
from collections import defaultdict


def logistic(m, y):
    return 1 / (1 + math.exp(-m)) - y


def squared(m, y):
    return m - y


def flow(slope, m, y, h, time, steps=200):
    """Where the margin ends that runs downhill for the given time (fourth-order Runge-Kutta)."""
    dt = time / steps
    start = m
    for _ in range(steps):
        a = -h * slope(m, y)
        b = -h * slope(m + dt * a / 2, y)
        c = -h * slope(m + dt * b / 2, y)
        d = -h * slope(m + dt * c, y)
        m += dt * (a + 2 * b + 2 * c + d) / 6
    return (m - start) / h


class Adaptive:
    """The maths in the docstring of `updates.Adaptive`, line by line. Feature -1 is the bias."""

    def __init__(self, slope, rate, l1=0.0, l2=0.0):
        self.slope, self.rate, self.l1, self.l2 = slope, rate, l1, l2
        self.w, self.G, self.s = defaultdict(float), defaultdict(float), defaultdict(float)
        self.N = self.t = 0.0

    def learn(self, x, y, v):
        x = {-1: 1.0, **{i: float(u) for i, u in enumerate(x) if u != 0}}
        m = 0.0
        for i, u in x.items():
            shrink = self.s[i] / abs(u) if abs(u) > self.s[i] else 1.0
            m += self.w[i] * shrink * u
        if y is None or v == 0:
            return m
        for i, u in x.items():
            if abs(u) > self.s[i]:
                self.w[i] *= self.s[i] / abs(u)
                self.s[i] = abs(u)
        self.N += v * sum((u / self.s[i]) ** 2 for i, u in x.items())
        self.t += v
        g = self.slope(m, y)
        rate = {}
        for i, u in x.items():
            self.G[i] += v * g * g * u * u
            rate[i] = math.sqrt(self.t / self.N) / (self.s[i] * math.sqrt(self.G[i])) if self.G[i] else 0.0
        h = sum(rate[i] * u * u for i, u in x.items())
        step = flow(self.slope, m, y, h, v * self.rate) if h else 0.0
        for i, u in x.items():
            self.w[i] += step * rate[i] * u
            if i >= 0 and (self.l1 or self.l2):
                pull = v * self.rate * rate[i]
                self.w[i] = math.copysign(max(abs(self.w[i]) - pull * self.l1, 0) / (1 + pull * self.l2), self.w[i])
        return m


class FTRL:
    """Algorithm 1 of McMahan et al. 2013: weights are computed when they are needed."""

    def __init__(self, slope, alpha, beta, l1=0.0, l2=0.0):
        self.slope, self.alpha, self.beta, self.l1, self.l2 = slope, alpha, beta, l1, l2
        self.z, self.n = defaultdict(float), defaultdict(float)

    def weight(self, i):
        l1, l2 = (self.l1, self.l2) if i >= 0 else (0.0, 0.0)
        if abs(self.z[i]) <= l1:
            return 0.0
        return -(self.z[i] - math.copysign(l1, self.z[i])) / ((self.beta + math.sqrt(self.n[i])) / self.alpha + l2)

    def learn(self, x, y, v):
        x = {-1: 1.0, **{i: float(u) for i, u in enumerate(x) if u != 0}}
        w = {i: self.weight(i) for i in x}
        m = sum(w[i] * u for i, u in x.items())
        if y is None or v == 0:
            return m
        for i, u in x.items():
            g = v * self.slope(m, y) * u
            sigma = (math.sqrt(self.n[i] + g * g) - math.sqrt(self.n[i])) / self.alpha
            self.z[i] += g - sigma * w[i]
            self.n[i] += g * g
        return m
