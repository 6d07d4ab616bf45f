"""Training as the papers write it: autograd over the module, losses row by row, one pass for every addend."""

import numpy as np
import torch
from torch.nn import functional

import retain as rt

SIZE = 5  # rows of a step
RATE = 0.1
TOLERANCE = 2e-6  # in float32, from a module of numbers below one: sums in another order, some dozens of steps

torch.set_num_threads(1)


def batch(rows=60, *, seed=0, classes=3):
    """Rows with weights; the first of them are of all classes, so that no head has to grow."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    y = (np.arange(rows) % classes if seed == 0 else (x[:, 0] > 0) + (x[:, 1] > 0)).astype(np.int64)
    return rt.Batch(x, y=y, weight=rng.uniform(0.5, 2.0, size=rows).astype(np.float32))


def module():
    return rt.neural.MLP(4, 6, 3, seed=3)


def learner(**parts):
    net = module()
    return rt.Neural(net, optimizer=torch.optim.SGD(net.parameters(), lr=RATE), batch_size=SIZE, **parts)


def losses(net, x, y):
    """One cross-entropy for each row, one row at a time."""
    return torch.stack([functional.cross_entropy(net(x[i : i + 1]), y[i : i + 1]) for i in range(len(y))])


def gradient(net, loss):
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(net.parameters()))])


def train(net, batch, *, addend=lambda _x: 0.0, project=lambda g: g, stepped=lambda _rows: None):
    """Plain steps on consecutive rows: the mean of weight times loss and an addend, a projection, a memory."""
    x, y, weight = torch.from_numpy(batch.x), torch.from_numpy(batch.y), torch.from_numpy(batch.weight)
    for rows in torch.arange(len(y)).split(SIZE):
        said = net(x[rows]).detach()
        loss = (weight[rows] * losses(net, x[rows], y[rows])).mean() + addend(x[rows])
        g = project(gradient(net, loss))
        with torch.no_grad():
            for p, piece in zip(net.parameters(), g.split([p.numel() for p in net.parameters()]), strict=True):
                p.sub_(RATE * piece.view_as(p))
        stepped(rt.core.Rows(x[rows], y[rows], weight[rows], {"logits": said}))


def same(learner, net):
    assert learner.skipped == 0
    for ours, theirs in zip(learner.module.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
