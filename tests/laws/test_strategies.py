"""Everything beside the loss of a neural learner through the laws: strategies, projections, averagings, heads.

A method is one row of the table below: a name, and what `rt.Neural` is given for it.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import retain as rt
from retain import blocks, state, testing
from retain.memory import ClassBalanced, ExperienceBalanced, Reservoir
from retain.strategies import (
    AGEM,
    CLSER,
    DER,
    EMA,
    EWC,
    GEM,
    L2SP,
    MAS,
    SI,
    WA,
    BiC,
    ContinualBackprop,
    DERpp,
    L2Init,
    LwF,
    NearestMean,
    OnlineEWC,
    PackNet,
    ProgressCompress,
    Replay,
    Rounded,
    ShrinkPerturb,
    Solved,
    Sparse,
    WiSE,
)


def nearest_mean():
    replay = Replay(ClassBalanced(12), size=5)
    return {"strategies": [replay], "head": NearestMean(replay.memory)}


def solved():
    replay, slow = Replay(ClassBalanced(12), size=5), EMA(0.9)
    head = Solved(lambda: rt.SLDA(batch_size=1), replay.memory, slow=slow)
    return {"strategies": [replay], "averaging": slow, "head": head}


def wise():
    replay = Replay(Reservoir(12), size=5)
    return {"strategies": [replay], "averaging": WiSE(memory=replay.memory)}


def cls_er():
    stable = EMA(0.9)
    return {"strategies": [CLSER(Reservoir(12), size=5, stable=stable, plastic=0.5)], "averaging": stable}


METHODS = {
    "replay": lambda: {"strategies": [Replay(Reservoir(12), size=5)]},
    "er-ace": lambda: {"strategies": [Replay(Reservoir(12), size=5)], "criterion": rt.neural.ACE()},
    "der": lambda: {"strategies": [DER(Reservoir(12), size=5)]},
    "der++": lambda: {"strategies": [DERpp(Reservoir(12), size=5)]},
    "lwf": lambda: {"strategies": [LwF()]},
    "lwf, ace": lambda: {"strategies": [LwF()], "criterion": rt.neural.ACE()},
    "a-gem": lambda: {"projection": AGEM(Reservoir(12), size=5)},
    "gem": lambda: {"projection": GEM(ExperienceBalanced(12))},
    "icarl's nearest mean": nearest_mean,
    "slow and fast": solved,
    "wa": lambda: {"strategies": [WA(), LwF()]},
    "ewc": lambda: {"strategies": [EWC()]},
    "online ewc": lambda: {"strategies": [OnlineEWC()]},
    "si": lambda: {"strategies": [SI()]},
    "mas": lambda: {"strategies": [MAS()]},
    "l2-sp": lambda: {"strategies": [L2SP()]},
    "l2-init": lambda: {"strategies": [L2Init()]},
    "packnet": lambda: {"strategies": [PackNet(passes=2, size=4)], "task_masks": True},
    "progress and compress": lambda: {"strategies": [ProgressCompress(passes=2, size=4)]},
    "ema": lambda: {"averaging": EMA(0.9)},
    "wise": wise,
    "cls-er": cls_er,
    "shrink and perturb": lambda: {"strategies": [ShrinkPerturb()]},
    "shrink and perturb, every 3": lambda: {"strategies": [ShrinkPerturb(every=3)]},
    "continual backprop": lambda: {"strategies": [ContinualBackprop(0.1, maturity=2)]},
    "sparse": lambda: {"strategies": [Sparse(0.5, every=3, renewal=0.5)]},
    "sparse, fixed": lambda: {"strategies": [Sparse(0.5, moving=False)]},
    "sparse, 2 of 4": lambda: {"strategies": [Sparse(pattern=(2, 4), every=2, renewal=1.0)]},
    "rounded, ewc": lambda: {"strategies": [Rounded(bits=5), EWC()], "averaging": EMA(0.9)},
    "rounded, lwf": lambda: {"strategies": [Rounded(bits=8), LwF()], "projection": AGEM(Reservoir(12), size=5)},
    "bic": lambda: {"strategies": [Replay(Reservoir(12), size=5)], "head": BiC(ClassBalanced(12))},
}

EVERY = 16  # rows of an experience
BATCH = testing.examples("classification")
BATCH = replace(BATCH, task=np.arange(len(BATCH)) // EVERY)  # which is looked at with task masks only

# The module is gone through for one row here and for many there: products of matrices of other sizes are rounded
# otherwise, and what is learnt from them differs as much.
TOLERANCE = 1e-5


def neural(parts, *, device="cpu", task_masks=False):
    torch.set_num_threads(1)
    return rt.Neural(rt.neural.MLP(4, 6, 2).to(device), batch_size=3, **{"task_masks": task_masks, **parts})


class Lived:
    """A learner to which an experience ends after every `EVERY` rows of the batch."""

    def __init__(self, learner, batch):
        self.learner, self.batch, self.at = learner, batch, 0

    def learn(self, batch):
        said = []
        done = 0
        while done < len(batch) or not said:
            stop = min(len(batch), done + EVERY - self.at % EVERY)
            said.append(self.learner.learn(blocks.take_batch(batch, slice(done, stop))))
            self.at += stop - done
            if stop > done and self.at % EVERY == 0:
                end = (self.at - 1) % len(self.batch) + 1
                self.learner.consolidate([blocks.take_batch(self.batch, slice(end - EVERY, end))])
            done = stop
        return np.concatenate([np.pad(part, ((0, 0), (0, said[-1].shape[1] - part.shape[1]))) for part in said])

    def predict(self, x):
        """Rows of the task that is learnt next."""
        return self.learner.predict(x, task=np.full(len(x), self.at % len(self.batch) // EVERY))

    def state_dict(self):
        return {"learner": self.learner.state_dict(), "at": self.at}

    def load_state_dict(self, saved):
        self.learner.load_state_dict(saved["learner"])
        self.at = saved["at"]


def living(name, device="cpu", *, task_masks=False):
    return lambda: Lived(neural(METHODS[name](), device=device, task_masks=task_masks), BATCH)


@pytest.mark.parametrize("name", METHODS)
def test_blocks(name, device):
    testing.learner_blocks(living(name, device), BATCH, list(range(1, len(BATCH))), tolerance=TOLERANCE)
    testing.learner_blocks(living(name, device), BATCH, [5, 5, 20, 47], tolerance=TOLERANCE)


@pytest.mark.parametrize("name", METHODS)
def test_purity(name, device):
    testing.learner_purity(living(name, device), BATCH)


@pytest.mark.parametrize("name", METHODS)
def test_before(name, device):
    testing.learner_before(living(name, device), BATCH, tolerance=TOLERANCE)


@pytest.mark.parametrize("name", METHODS)
def test_resume(name, device):
    testing.learner_resume(living(name, device), BATCH, [5, 16, 17, 33])


@pytest.mark.parametrize("name", METHODS)
def test_bounded(name, device):
    testing.learner_bounded(living(name, device), BATCH)


@pytest.mark.parametrize("name", METHODS)
def test_poison(name, device):
    testing.learner_poison(lambda: neural(METHODS[name](), device=device), BATCH)


@pytest.mark.parametrize("name", [name for name, make in METHODS.items() if "strategies" in make()])
def test_order(name, device):
    def state_of(*, backwards):
        others = [Replay(Reservoir(9), size=2, name=other) for other in ("a", "zz")]
        parts = METHODS[name]()
        listed = [others[0], *parts["strategies"], others[1]]
        learner = Lived(neural({**parts, "strategies": listed[::-1] if backwards else listed}, device=device), BATCH)
        learner.learn(BATCH)
        return state.encode(learner.state_dict())

    assert state_of(backwards=True) == state_of(backwards=False)


@pytest.mark.parametrize("name", METHODS)
def test_newcomers(name, device):
    """The head grows in the middle of an experience, by more than one, while all that is kept is of the old width."""
    learner = living(name, device)()
    learner.learn(BATCH)
    late = blocks.take_batch(BATCH, slice(0, 30))
    learner.learn(replace(late, y=np.where(late.y >= 0, 4 + late.y % 2, -1)))
    learner.learn(late)
    assert learner.learner.skipped == 0
    said = learner.predict(BATCH.x)
    assert said.shape == (len(BATCH), 6)
    np.testing.assert_allclose(said.sum(1), 1, rtol=1e-5)


def narrow(learner):
    """Its module with four of six hidden units, and which weights were kept."""
    old, classes = learner.module, learner.module[-1].out_features
    module = rt.neural.MLP(4, 4, classes).to(old[1].weight.device)
    units, number, kept = torch.tensor([0, 1, 3, 5]), 0, []
    for i, name in enumerate(dict(old.named_parameters())):
        p = old.get_parameter(name)
        index = torch.arange(p.numel()).view(p.shape)
        index = index[units] if i < 2 else index[:, units] if i == 2 else index
        module.get_parameter(name).data = p.detach().reshape(-1)[index.to(p.device)]
        kept.append(number + index.flatten())
        number += p.numel()
    return module, torch.cat(kept)


@pytest.mark.parametrize("name", METHODS)
def test_another_shape(name, device):
    """In the middle of an experience, with rows that wait; the learner itself goes on as if nothing had been asked."""
    lived = living(name, device)()
    lived.learn(blocks.take_batch(BATCH, slice(0, 26)))
    before = state.encode(lived.state_dict())
    module, kept = narrow(lived.learner)
    other = lived.learner.reshaped(module, kept=kept)
    assert state.encode(lived.state_dict()) == before
    assert all(p.shape == q.shape for p, q in zip(other.model.weights, lived.learner.model.weights[kept], strict=True))
    fresh = neural(METHODS[name](), device=device).reshaped(rt.neural.MLP(4, 4, 2).to(device))
    fresh.load_state_dict(state.decode(state.encode(other.state_dict())))
    ends = []
    for one in (other, fresh):
        going = Lived(one, BATCH)
        going.at = 26
        going.learn(blocks.take_batch(BATCH, slice(26, None)))
        assert one.skipped == 0
        assert np.isfinite(one.predict(BATCH.x)).all()
        ends.append(state.encode(one.state_dict()))
    assert ends[0] == ends[1]
    assert state.encode(lived.state_dict()) == before


@pytest.mark.parametrize("name", METHODS)
def test_task_masks(name, device):
    """Each third of the rows is a task; classes outside a row's task are out of the question, for all that is added."""
    learner = living(name, device, task_masks=True)()
    learner.learn(BATCH)
    assert learner.learner.skipped == 0
    assert np.isfinite(learner.predict(BATCH.x)).all()


@pytest.mark.parametrize("name", METHODS if torch.cuda.is_available() else [])
def test_a_state_goes_from_one_device_to_another(name):
    """And what is learnt there is, but for rounding, what would have been learnt here."""
    here, there = living(name)(), living(name, "cuda")()
    half = blocks.take_batch(BATCH, slice(0, 29))
    here.learn(half)
    there.load_state_dict(state.decode(state.encode(here.state_dict())))
    np.testing.assert_allclose(there.predict(BATCH.x), here.predict(BATCH.x), atol=1e-5)
    rest = blocks.take_batch(BATCH, slice(29, None))
    np.testing.assert_allclose(there.learn(rest), here.learn(rest), atol=1e-3)
    here.load_state_dict(state.decode(state.encode(there.state_dict())))
    np.testing.assert_allclose(here.predict(BATCH.x), there.predict(BATCH.x), atol=1e-5)


def feed(part, start, stop):
    part.learn(blocks.take_batch(BATCH, slice(start, stop)))


PARTS = {name: (living(name), feed) for name in METHODS}


def test_they_go_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=48)
