"""Hashed linear learners as tables: answers, state, registry, patch, and the way back."""

import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
from tests.compression.light import BITS, hashed, learnt, texts

import retain as rt
from retain.blocks import take
from retain.compression import Artifact, Draft, FewerBits, Half, Int8, Lessons, Truncate
from retain.compression.forms import loaded
from retain.compression.table import Table
from retain.errors import PoisonError, SettingError, StateError
from retain.testing.compare import same_state

LEARNERS = {
    "ftrl": learnt,
    "adaptive": lambda: learnt(update=rt.Adaptive(), l1=0.0),
    "sgd, hinge": lambda: learnt(update=rt.SGD(0.05), loss=rt.Hinge(), l1=0.0),
    "no bias": lambda: learnt(bias=False),
}


def rows(learner, batch):
    return learner.transforms[-1].apply(batch.x)


@pytest.fixture(scope="module")
def parent():
    return learnt()


@pytest.fixture(scope="module")
def artifact(parent):
    return rt.compress(parent, Half(), Int8(), data=texts(5_000, seed=1), budget=rt.Within(accuracy=0.01), seconds=0.01)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_table_answers_as_its_learner(name):
    learner = LEARNERS[name]()
    x = rows(learner, texts(300, seed=2))
    table = Table.of(learner, None, x)
    far = rt.CSR(x.indptr, x.indices, 50 * x.values, x.width)
    for asked in (x, far):
        np.testing.assert_allclose(table.predict(asked), learner.learner.predict(asked), atol=1e-5)


@pytest.mark.parametrize("classes", [3, 5])
@pytest.mark.parametrize("loss", [rt.Logistic(), rt.Multinomial(), rt.Hinge()])
def test_many_classes(loss, classes):
    learner = hashed(loss=loss)
    learner.learn(texts(2_000, classes=classes))
    x = rows(learner, texts(100, seed=2))
    assert learner.learner.predict(x).shape == (100, classes)
    np.testing.assert_allclose(Table.of(learner, None, x).predict(x), learner.learner.predict(x), atol=1e-5)


@pytest.mark.parametrize("loss", [rt.Squared(), rt.Poisson(), rt.Quantile()])
@pytest.mark.parametrize("update", [rt.Adaptive(), rt.FTRL()])
@pytest.mark.parametrize("k", [1, 2])
def test_numbers(loss, update, k):
    learner = hashed(loss=loss, update=update, l1=0.0)
    batch = texts(2_000)
    y = np.abs(batch.y[:, None] * [3.0, 1.0])[:, :k]
    learner.learn(rt.Batch(batch.x, y=y[:, 0] if k == 1 else y))
    x = rows(learner, texts(100, seed=2))
    x = rt.CSR(x.indptr, x.indices, 10 * x.values, x.width)  # so far that bounds hold them
    np.testing.assert_allclose(Table.of(learner, None, x).predict(x), learner.learner.predict(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [rt.Ridge, rt.RLS, rt.SLDA])
def test_analytic_learners_of_sparse_rows(make):
    learner = rt.Hash(bits=6, text="text") | make()
    learner.learn(texts(1_000, classes=3))
    x = rows(learner, texts(100, seed=2))
    np.testing.assert_allclose(Table.of(learner, None, x).predict(x), learner.learner.predict(x), atol=1e-4)


def test_rows_may_be_wider_and_nothing_may_be_in_them(parent):
    x = rows(parent, texts(3, seed=2))
    table = Table.of(parent, None, x)
    wide = rt.CSR(
        x.indptr, np.where(x.indices == x.indices[0], 2**BITS + 5, x.indices).astype(np.int32), x.values, 2**20
    )
    np.testing.assert_allclose(table.predict(wide), parent.learner.predict(wide), atol=1e-6)
    empty = take(x, slice(0, 0))
    assert table.predict(empty).shape == (0, 2)
    with pytest.raises(PoisonError, match="nan in row 0"):
        table.predict(rt.CSR(x.indptr, x.indices, np.full_like(x.values, np.nan), x.width))


def test_it_is_much_smaller_and_loses_nothing(parent, artifact):
    taken = artifact.report.taken
    assert [rung.name for rung in artifact.report.rungs] == ["parent", "table", "float16", "int8"]
    assert taken.name == "int8"
    assert artifact.report.rungs[0].cost.bytes == 4 * (2**BITS + 1)
    assert taken.smaller > 50
    assert artifact.report.rungs[0].cost.multiply_adds == taken.cost.multiply_adds
    assert 8 <= taken.cost.multiply_adds <= 10  # ten words a row, some twice
    x = texts(2_000, seed=3).x
    assert (artifact.predict(x).argmax(1) == parent.predict(x).argmax(1)).mean() > 0.99
    assert artifact.revert() is parent


def test_saved_and_loaded_it_is_the_same(artifact):
    other = Artifact(hashed())
    other.load_state_dict(artifact.state_dict())
    x = texts(200, seed=3).x
    np.testing.assert_array_equal(other.predict(x), artifact.predict(x))
    assert other.report == artifact.report
    assert other.form.numbers == "int8"
    same_state(other.resume().state_dict(), artifact.resume().state_dict(), 0.0, "its state")
    with pytest.raises(StateError, match="its parent was not"):
        other.revert()


def test_another_chain_comes_back_from_a_blank_parent_in_another_process(parent, tmp_path):
    """Fewer bits are in the state of the hash: who loads it builds the parent as it was first."""
    steps = (FewerBits(10), Int8())
    budget = rt.Within(accuracy=0.2, per_class=None, forgetting=None)
    artifact = rt.compress(parent, *steps, data=texts(3_000, seed=1), budget=budget, seconds=0.01)
    assert artifact.master.transforms[0].bits == 10
    registry = rt.FileRegistry(tmp_path)
    champion = registry.push(parent.state_dict(), parent=None, report={})
    version = registry.push(artifact.state_dict(), parent=champion.name, report=artifact.report.to_dict())
    registry.point("serving", version.name)
    code = f"""
import sys, numpy as np, retain as rt
from tests.compression.light import hashed, texts
artifact = rt.compression.Artifact(hashed())
artifact.load_state_dict(rt.FileRegistry({str(tmp_path)!r}).pull("serving"))
np.save({str(tmp_path / "said.npy")!r}, artifact.predict(texts(100, seed=4).x))
more = artifact.resume()
more.learn(texts(100, seed=5))
np.save({str(tmp_path / "more.npy")!r}, more.predict(texts(100, seed=4).x))
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
    x = texts(100, seed=4).x
    np.testing.assert_array_equal(np.load(tmp_path / "said.npy"), artifact.predict(x))
    more = artifact.resume()
    more.learn(texts(100, seed=5))
    np.testing.assert_array_equal(np.load(tmp_path / "more.npy"), more.predict(x))


def test_learning_goes_on_and_is_patched_in(parent):
    data = texts(3_000, seed=1)
    budget = rt.Within(accuracy=0.1, per_class=None, forgetting=None)
    artifact = rt.compress(parent, Truncate(0.3), Int8(), data=data, budget=budget, seconds=0.01)
    before, state = artifact.predict(data.x), deepcopy(parent.state_dict())
    learner = artifact.resume()
    learner.learn(texts(4_000, seed=7, classes=3))  # a class that is new: a table has room for it
    np.testing.assert_array_equal(artifact.predict(data.x), before)
    artifact.patch(learner)
    same_state(parent.state_dict(), state, 0.0, "its state")
    assert artifact.form.numbers == "int8"
    assert artifact.report is None
    assert artifact.predict(data.x).shape == (3_000, 3)
    assert np.abs(artifact.predict(data.x) - learner.predict(data.x)).max() < 0.1
    with pytest.raises(SettingError, match="another chain"):
        artifact.patch(learner.learner)


def test_damage_is_told(artifact):
    state = artifact.form.state_dict()
    data = state["data"].copy()
    data[100] ^= 1
    with pytest.raises(StateError, match="damaged; compress anew"):
        loaded({**state, "data": data})


def test_other_numbers_are_refused(parent):
    class Short:
        name = "int4"

    with pytest.raises(SettingError, match="int8 or float16, and got int4"):
        Table.of(parent, Short(), rows(parent, texts(5)))


def test_a_table_that_answers_otherwise_is_refused(parent, monkeypatch):
    monkeypatch.setattr("retain.compression.table.packed", _wrong)
    with pytest.raises(SettingError, match="answers otherwise than the"):
        Table.of(parent, None, rows(parent, texts(50)))


def _wrong(scores, numbers):
    from dataclasses import replace

    from retain.compression.packed import packed

    return packed(replace(scores, weights=1.01 * scores.weights), numbers)


def test_lessons_reach_the_folded_table(parent):
    draft, lessons = Draft(parent), Lessons([texts(2_000, seed=1)], teacher=parent)
    x, y = texts(2_000, seed=2).x, texts(2_000, seed=2).y
    right = [
        (FewerBits(8, passes=passes)(draft, lessons).learner.predict(x).argmax(1) == y).mean() for passes in (0, 1)
    ]
    assert right[1] > right[0] + 0.01
