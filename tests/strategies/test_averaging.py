"""Averages of weights against their formulas, step by step: EMA, WiSE, and CLS-ER, which learns from two of them."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.strategies import naive
from tests.strategies.test_ewc import flat

import retain as rt
from retain.core import Forward, Rows
from retain.learners.neural.criteria import CrossEntropy
from retain.learners.neural.network import Network
from retain.memory import Reservoir
from retain.strategies import CLSER, EMA, Replay, WiSE


def test_ema():
    ours, net = naive.learner(averaging=EMA(0.5)), naive.module()
    averages = []

    def stepped(_rows):
        w = flat(net).detach()
        share = max(0.5, 10 / (10 + len(averages)))
        averages.append(w if not averages else averages[-1] + share * (w - averages[-1]))

    batch = naive.batch()
    ours.learn(batch)
    naive.train(net, batch, stepped=stepped)
    saved = torch.from_numpy(ours.state_dict()["averaging"]["average"])
    torch.testing.assert_close(saved, averages[-1], rtol=0, atol=naive.TOLERANCE)
    torch.nn.utils.vector_to_parameters(averages[-1], net.parameters())
    expected = torch.softmax(net(torch.from_numpy(batch.x)), 1).detach().numpy()
    np.testing.assert_allclose(ours.predict(batch.x), expected, atol=1e-5)


def test_the_first_weights_are_never_a_part_of_the_average():
    far, near = (naive.learner(averaging=EMA(0.999)) for _ in range(2))
    batch = naive.batch(rows=naive.SIZE)
    for learner in (far, near):
        learner.learn(batch)
    np.testing.assert_array_equal(far.predict(batch.x), naive_answers(far.module, batch.x))
    assert far.averaging.steps == 1


def naive_answers(module, x):
    return torch.softmax(module(torch.from_numpy(x)), 1).detach().numpy()


def test_wise_goes_on_from_in_between():
    net = naive.module()
    ours = rt.Neural(
        net,
        optimizer=torch.optim.SGD(net.parameters(), lr=naive.RATE),
        averaging=WiSE(0.25, pretrained=net),
        batch_size=naive.SIZE,
    )
    theirs = deepcopy(net)
    for seed in (0, 1):
        start = flat(theirs).detach().clone()
        batch = naive.batch(seed=seed)
        ours.learn(batch)
        naive.train(theirs, batch)
        between = start + 0.25 * (flat(theirs).detach() - start)
        middle = deepcopy(theirs)
        torch.nn.utils.vector_to_parameters(between, middle.parameters())
        np.testing.assert_allclose(ours.predict(batch.x), naive_answers(middle, batch.x), atol=1e-5)
        ours.consolidate([batch])
        theirs = middle
        naive.same(ours, theirs)


def test_wise_searches_the_share_that_remembered_rows_lose_least_with():
    replay = Replay(Reservoir(60), size=2)
    wise = WiSE(0.9, memory=replay.memory)
    ours = naive.learner(strategies=[replay], averaging=wise)
    first = naive.batch(rows=200, seed=1)
    ours.learn(first)
    ours.consolidate([first])
    assert wise.found == 1.0  # there was nothing to keep
    start = flat(ours.module).detach().clone()
    ours.learn(replace(naive.batch(rows=60, seed=2), y=np.zeros(60, dtype=np.int64)))
    now, net = flat(ours.module).detach().clone(), deepcopy(ours.module)
    rows, told = replay.memory.rows(), {}
    for share in np.arange(11) / 10:
        torch.nn.utils.vector_to_parameters(start + float(share) * (now - start), net.parameters())
        told[share] = float((rows.weight * naive.losses(net, rows.x, rows.y)).mean().detach())
    ours.consolidate([first])
    assert wise.found == pytest.approx(min(told, key=told.get))
    assert wise.found < 0.9


def test_cls_er_learns_from_the_teacher_that_is_surer():
    stable = EMA(0.9)
    cls_er = CLSER(Reservoir(30), size=8, stable=stable, plastic=0.3, strength=0.7)
    ours = naive.learner(strategies=[cls_er], averaging=stable)
    ours.learn(naive.batch(rows=90, seed=1))
    state = ours.state_dict()
    plastic = state["strategies"]["cls-er"]["plastic"]["average"]
    teachers = [deepcopy(ours.module) for _ in range(2)]
    for teacher, average in zip(teachers, (state["averaging"]["average"], plastic), strict=True):
        torch.nn.utils.vector_to_parameters(torch.from_numpy(average), teacher.parameters())
    rows = cls_er.memory.rows()
    model = Network(ours.module, CrossEntropy(), compiled=False)
    model.classes = 3
    output = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(0))
    told = []
    for i in range(len(rows)):
        row = Rows(rows.x[i : i + 1], rows.y[i : i + 1], rows.weight[i : i + 1])
        losses = [naive.losses(teacher, row.x, row.y).item() for teacher in teachers]
        taught = teachers[int(losses[1] < losses[0])](row.x)[0].detach()
        loss = torch.nn.functional.cross_entropy(output[i : i + 1], row.y)
        told.append(row.weight[0] * (loss + 0.7 * (output[i] - taught).square().mean()))
    new = Forward(rows, output)
    got = cls_er.loss(model, new, own=new)
    torch.testing.assert_close(got, torch.stack(told).mean(), rtol=1e-5, atol=1e-6)


def test_cls_er_says_that_nobody_keeps_up_its_stable_average():
    learner = naive.learner(strategies=[CLSER(Reservoir(30), size=8, stable=EMA())])
    with pytest.raises(rt.errors.SettingError, match="averaging=stable"):
        learner.learn(naive.batch())


@pytest.mark.parametrize(
    "make", [lambda: EMA(1.0), lambda: WiSE(2.0), lambda: CLSER(Reservoir(1), size=0, stable=EMA())]
)
def test_numbers_out_of_range(make):
    with pytest.raises(rt.errors.SettingError, match="expected"):
        make()
