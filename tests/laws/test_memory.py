"""Every memory, with every store, through the laws; and in a new process."""

import numpy as np
import pytest
import torch

from retain import memory as rm
from retain import testing
from retain.rows import take

torch.set_num_threads(1)

ROWS = testing.example_rows(rows=48)
NUMBERS = testing.example_rows("regression", rows=48)

MEMORIES = {
    "reservoir": rm.Reservoir,
    "ring": rm.Ring,
    "classes": rm.ClassBalanced,
    "experiences": rm.ExperienceBalanced,
    "herding": rm.Herding,
    "losses": rm.LossAware,
    "past": lambda *budget, **parts: rm.Past(rm.Reservoir(*budget, **parts)),
}
# A store, and how far from an input it may be. Inputs are within 4 of 0; the widest of them is what 256 steps share.
STORES = {
    "plain": (rm.Plain, 0.0),
    "uint8": (lambda: rm.UInt8(-4.0, 4.0), 8 / 510 + 1e-6),
    "uint8 fitted": (lambda: rm.UInt8(rows=7), 2.0),  # what comes later may lie outside the range of seven rows
    "half": (rm.Half, 1e-3),
    "product": (lambda: rm.ProductQuantised(2, codewords=6, rows=9), 4.0),
}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("name", MEMORIES)
def test_memories(name, store):
    make, tolerance = STORES[store]
    testing.check_memory(lambda: MEMORIES[name](12, seed=3, store=make()), ROWS, tolerance=tolerance, tries=3)


@pytest.mark.parametrize("name", MEMORIES)
def test_budgets_in_bytes(name):
    testing.check_memory(lambda: MEMORIES[name](rm.Bytes(900)), ROWS, tries=3)


@pytest.mark.parametrize("name", ["reservoir", "ring", "experiences", "losses", "past"])
def test_memories_of_numbers(name):
    testing.check_memory(lambda: MEMORIES[name](12), NUMBERS, tries=4)


@pytest.mark.parametrize(
    ("name", "store"), [*((name, "plain") for name in MEMORIES), *(("reservoir", store) for store in STORES)]
)
def test_memories_in_files(name, store, tmp_path):
    make, tolerance = STORES[store]
    testing.check_memory(
        lambda: MEMORIES[name](12, store=make(), at=tmp_path / "rows"), ROWS, tolerance=tolerance, tries=2
    )
    assert not list((tmp_path / "rows").iterdir())  # the files have no names: nothing is left behind


def step(part, start, stop):
    for i in range(start, stop, 7):
        part.add(take(ROWS, slice(i, min(i + 7, stop))))
        if len(part):
            part.sample(3)
    part.consolidate(testing.memories.Still(), [take(ROWS, slice(start, stop))])


PARTS = {
    f"{name} {store}": (lambda memory=memory, make=make: memory(12, seed=5, store=make()), step)
    for name, memory in MEMORIES.items()
    for store, (make, _) in STORES.items()
}


def test_resume_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=40)


# --- the laws catch what they forbid ----------------------------------------------------------------------------------


class Broken:
    """A ring of rows in a list, each law of which can be broken."""

    wants = frozenset()

    def __init__(self, breaks=""):
        self.breaks = breaks
        self.inner = rm.Ring(12)
        self.blocks = 0

    def __len__(self):
        return len(self.inner)

    def add(self, rows):
        if self.breaks == "blocks" and len(rows) > 1:
            self.inner._slots.check(rows)
            rows = take(rows, torch.arange(len(rows)).flip(0))
        if self.breaks == "poison":
            self.blocks += 1
        if self.breaks == "bounded":
            self.blocks = [0] * (len(self.blocks or []) + 40)
        if self.breaks == "truth":
            rows = type(rows)(rows.x.flip(0), rows.y, rows.weight, rows.extra)
        self.inner.add(rows)

    def sample(self, n):
        if self.breaks == "draws":
            return take(self.inner.rows(), slice(0, n))
        return self.inner.sample(n)

    def rows(self):
        return self.inner.rows()

    def consolidate(self, model, experience):
        pass

    def state_dict(self):
        return {"inner": self.inner.state_dict(), "blocks": self.blocks}

    def load_state_dict(self, state):
        self.inner.load_state_dict(state["inner"])
        self.blocks = state["blocks"]
        if self.breaks == "resume":
            self.inner._rng = np.random.default_rng(0)


def test_a_memory_that_keeps_the_laws_passes():
    testing.check_memory(Broken, ROWS, tries=2)


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        ("blocks", "split at"),
        ("poison", "after a refused"),
        ("bounded", "expected a bound"),
        ("truth", "inputs held"),
        ("draws", "expected draws"),
        ("resume", "after resuming|after loading"),
    ],
)
def test_the_law_says_what_is_broken(breaks, says):
    with pytest.raises(AssertionError, match=says):
        testing.check_memory(lambda: Broken(breaks), ROWS, tries=2)
