"""A-GEM and GEM against training written as in the papers; the programme against trying every active set."""

from itertools import product

import numpy as np
import pytest
import torch
from tests.strategies import naive

import retain as rt
from retain.memory import ExperienceBalanced, Reservoir
from retain.strategies import AGEM, GEM
from retain.strategies.gem import nonnegative, shares


def tried(gram, slope):
    """The least of v'Pv / 2 + q'v over v >= 0: of all sets of numbers that are not zero, the best that is allowed."""
    best, value = np.zeros(len(slope)), 0.0
    for free in product((False, True), repeat=len(slope)):
        at = np.array(free)
        v = np.zeros(len(slope))
        if at.any():
            v[at] = np.linalg.solve(gram[np.ix_(at, at)], -slope[at])
        now = v @ gram @ v / 2 + slope @ v
        if (v >= 0).all() and now < value:
            best, value = v, now
    return best


@pytest.mark.parametrize("t", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", range(8))
def test_the_programme_is_solved(t, seed):
    rng = np.random.default_rng(seed)
    old = rng.normal(size=(t, 12)) + rng.normal(size=12)
    gram, slope = old @ old.T, rng.normal(size=t) * 10
    np.testing.assert_allclose(nonnegative(gram, slope), tried(gram, slope), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_the_step_goes_against_no_experience(seed, margin):
    rng = np.random.default_rng(seed)
    old, new = rng.normal(size=(6, 40)), rng.normal(size=40)
    v = shares(old @ old.T, old @ new, margin=margin)
    assert (v >= margin).all()
    allowed = new + v @ old
    assert (old @ allowed > -1e-7).all()
    if not margin:  # the nearest: what was added is orthogonal to where it ends, and any other allowed step is farther
        assert abs((allowed - new) @ allowed) < 1e-6
        for _ in range(50):
            other = allowed + rng.normal(size=40) * 0.1
            if (old @ other >= 0).all():
                assert np.linalg.norm(other - new) >= np.linalg.norm(allowed - new)


def test_two_experiences_with_one_gradient():
    old = np.ones((3, 4))
    allowed = -np.ones(4) + shares(old @ old.T, old @ -np.ones(4), margin=0.0) @ old
    np.testing.assert_allclose(allowed, 0, atol=1e-6)


def test_a_step_that_goes_against_none_is_left_alone():
    assert not shares(np.eye(2), np.array([0.0, 1.0]), margin=0.5).any()


def test_agem():
    ours = naive.learner(projection=AGEM(Reservoir(12, seed=4), size=6))
    net, memory = naive.module(), Reservoir(12, seed=4)
    turned = []

    def project(g):
        if not len(memory):
            return g
        rows = memory.sample(6)
        old = naive.gradient(net, (rows.weight * naive.losses(net, rows.x, rows.y)).mean())
        turned.append(bool(g @ old < 0))
        return g - (g @ old) / (old @ old) * old if g @ old < 0 else g

    def stepped(rows):
        memory.add(rt.core.Rows(rows.x, rows.y, rows.weight))

    for seed in (0, 1):
        ours.learn(naive.batch(seed=seed))
        naive.train(net, naive.batch(seed=seed), project=project, stepped=stepped)
    assert 0 < sum(turned) < len(turned)
    naive.same(ours, net)


def test_gem():
    """Against the programme solved by trying every active set; experiences are told apart by hand."""
    ours = naive.learner(projection=GEM(ExperienceBalanced(12, seed=4), margin=0.3))
    net, memory = naive.module(), ExperienceBalanced(12, seed=4)
    turned = []

    def project(g):
        past = [e for e in range(now) if len(memory)]
        if not past:
            return g
        rows = memory.rows()
        old = []
        for e in past:
            at = rows.extra["experience"] == e
            mean = (rows.weight[at] * naive.losses(net, rows.x[at], rows.y[at])).mean()
            old.append(naive.gradient(net, mean))
        old = torch.stack(old).double().numpy()
        against = old @ g.double().numpy()
        turned.append(bool((against < 0).any()))
        if not turned[-1]:
            return g
        gram = old @ old.T
        v = 0.3 + tried(gram, against + 0.3 * gram.sum(1))
        return g + torch.from_numpy(v @ old).float()

    def stepped(rows):
        number = torch.full((len(rows),), now)
        memory.add(rt.core.Rows(rows.x, rows.y, rows.weight, {"experience": number}))

    for now in range(3):
        batch = naive.batch(rows=30, seed=now)
        ours.learn(batch)
        ours.consolidate([batch])
        naive.train(net, batch, project=project, stepped=stepped)
        memory.consolidate(None, [])
    assert 0 < sum(turned) < len(turned)
    naive.same(ours, net)


def test_settings_that_make_no_sense():
    with pytest.raises(rt.errors.SettingError, match="at least 1"):
        AGEM(Reservoir(3), size=0)
    with pytest.raises(rt.errors.SettingError, match="margin"):
        GEM(Reservoir(3), margin=-1.0)
