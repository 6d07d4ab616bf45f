"""Forests as packed trees and as ONNX: answers, sizes, state, registry, patch, and the way back."""

import subprocess
import sys
from copy import deepcopy

import numpy as np
import onnxruntime
import pytest
from tests.compression.forests import KINDS, NOMINAL, learnt, made, numbers, rows

import retain as rt
from retain.branches import Branches
from retain.compression import Artifact, Draft, Half, Int8, Lessons, MajorityLeaves, PruneBranches, PruneMembers
from retain.compression.branched import tree_graph
from retain.compression.forms import loaded, shipped
from retain.compression.packed_trees import packed_trees
from retain.compression.trees import Trees
from retain.errors import PoisonError, SettingError, StateError
from retain.testing.compare import same_state

WHOLE = 1e-5  # of probabilities: float32 of means about their middle, of variances, of shares
STUMP = [[1, 2], [0, 0], [0, 0]]  # children of a node with two leaves
BUDGET = rt.Within(accuracy=0.03, per_class=None, forgetting=None)


def majority(learner):
    return learner.counting(np.zeros((len(learner.branches().test), learner.branches().classes)))


@pytest.fixture(scope="module")
def parent():
    learner = rt.ARF(6)
    learner.learn(numbers(8_000))
    return learner


@pytest.fixture(scope="module")
def artifact(parent):
    steps = (MajorityLeaves(), Half(), Int8(), PruneBranches(0.3), PruneMembers(0.2))
    return rt.compress(parent, *steps, data=numbers(6_000, seed=1), budget=BUDGET, seconds=0.01)


@pytest.mark.parametrize("leaf", ["either", "bayes", "majority"])
@pytest.mark.parametrize("name", KINDS)
def test_packed_trees_answer_as_their_learner(name, leaf):
    learner, asked = learnt(name, leaf=leaf), rows(600, seed=2).x
    trees = Trees.of(learner, None, rows(50, seed=3).x)
    near = 1e-3 if leaf == "bayes" else WHOLE  # narrow Gaussians, of which a row of a forest adds up many, in float32
    np.testing.assert_allclose(trees.predict(asked), learner.predict(asked), atol=near)
    exact, read = learner.branches(), trees.branches
    for part in ("root", "test", "child", "missing", "leaf", "bayes", "place"):
        np.testing.assert_array_equal(getattr(read, part), getattr(exact, part), err_msg=part)
    np.testing.assert_allclose(read.answers(asked), trees.predict(asked), atol=near)
    half, short = (Trees.of(learner, one, asked).predict(asked) for one in (Half(), Int8()))
    assert np.abs(half - learner.predict(asked)).mean() < 5e-3
    assert np.abs(short - learner.predict(asked)).mean() < 5e-3


def test_a_row_on_a_threshold_goes_the_same_way():
    """Thresholds in float64 lie between numbers of float32; rounded down they part the same ones."""
    at = np.random.default_rng(0).normal(size=100)
    at[:20] = at[:20].astype(np.float32)  # some are such numbers
    near = at.astype(np.float32)
    rows_ = np.stack([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))], axis=1)
    for threshold, x in zip(at, rows_, strict=True):
        one = Branches.of_shares(test=[0, -1, -1], value=[threshold, 0, 0], child=STUMP, shares=np.eye(2))
        said = Trees(packed_trees(one, "float32")).predict(x[:, None])
        np.testing.assert_array_equal(said[:, 0] == 1.0, x.astype(np.float64) <= threshold)


@pytest.mark.parametrize("width", [3, 300, 70_000])
@pytest.mark.parametrize("classes", [1, 2, 40])
def test_wide_rows_and_many_classes(width, classes):
    rng = np.random.default_rng(1)
    shares = rng.dirichlet(np.ones(classes), size=3)
    tests = [width - 1, 0, -1, -1, -1]
    child = [[1, 4], [2, 3], [0, 0], [0, 0], [0, 0]]
    one = Branches.of_shares(test=tests, value=[0.3, -1e9, 0, 0, 0], child=child, shares=shares, width=width)
    x = rng.normal(size=(20, width)).astype(np.float32)
    for kind, apart in (("float32", 1e-6), ("float16", 2e-3), ("int8", 0.1)):
        trees = Trees(packed_trees(one, kind))
        np.testing.assert_allclose(trees.predict(x), one.answers(x), atol=apart)
        np.testing.assert_allclose(trees.predict(x).sum(axis=1), 1.0)
        assert trees.numbers == kind


def test_leaves_that_know_nothing_stay_silent():
    shares = np.array([[0.0, 0.0], [0.2, 0.8]])
    one = Branches.of_shares(test=[0, -1, -1], value=[0.5, 0, 0], child=STUMP, shares=shares)
    for kind in ("float32", "float16", "int8"):
        said = Trees(packed_trees(one, kind)).predict(np.array([[0.0], [1.0]]))
        np.testing.assert_array_equal(said[0], [0.0, 0.0])
        np.testing.assert_allclose(said[1], [0.2, 0.8], atol=2e-3)


def test_large_numbers_in_sixteen_bits():
    """Seconds since the epoch do not fit into float16: what is kept is where a threshold lies among the others."""
    rng = np.random.default_rng(0)
    x = np.stack([1.7e9 + 1e6 * rng.random(6_000), rng.normal(size=6_000)], axis=1).astype(np.float32)
    y = ((x[:, 0] > 1.7e9 + 4e5) ^ (x[:, 1] > 0)).astype(int)
    learner = rt.HoeffdingTree()
    learner.learn(rt.Batch(x, y=y))
    assert (learner.predict(x).argmax(1) == y).mean() > 0.9
    half = Trees.of(learner, Half(), x)
    assert (half.predict(x).argmax(1) == learner.predict(x).argmax(1)).mean() > 0.99


@pytest.mark.parametrize("name", KINDS)
def test_onnx_answers_as_the_learner(name):
    learner = majority(learnt(name))
    asked = rows(500, seed=2).x  # gaps and nominal values among them
    model = tree_graph(learner.branches()).SerializeToString()
    said = onnxruntime.InferenceSession(model).run(None, {"rows": asked})[0]
    np.testing.assert_allclose(said, learner.predict(asked), atol=WHOLE)
    assert shipped(learner, None) == model


def test_onnx_of_leaves_that_say_bayes_is_refused_with_the_cure():
    learner = learnt("ARF", leaf="bayes")
    with pytest.raises(SettingError, match=r"MajorityLeaves\(\) first and export that, or choose --to table"):
        shipped(learner, None)
    with pytest.raises(SettingError, match="trees in float32 only"):
        shipped(majority(learner), Half())
    with pytest.raises(SettingError, match="in float16 it answers otherwise"):  # many narrow Gaussians in few bits
        shipped(learner, Half(), table=True)


def test_much_smaller_and_faster_and_as_good(parent, artifact):
    names = [rung.name for rung in artifact.report.rungs]
    expected = ["parent", "trees", "majority leaves", "float16", "int8", "prune branches 30%", "prune members 20%"]
    assert names == expected
    first, taken = artifact.report.rungs[0], artifact.report.taken
    assert taken.smaller > 10
    assert min(taken.faster.values()) > 2
    assert first.cost.bytes < parent.memory / 4  # what only learning needs is not counted
    assert taken.cost.multiply_adds < first.cost.multiply_adds
    x, y = numbers(4_000, seed=3).x, numbers(4_000, seed=3).y
    before, after = ((one.predict(x).argmax(1) == y).mean() for one in (parent, artifact))
    assert after > before - 0.02


def test_the_way_back_is_the_parent_bit_for_bit(parent, artifact):
    state = deepcopy(parent.state_dict())
    assert artifact.revert() is parent
    small = artifact.resume()
    small.learn(numbers(500, seed=4))
    artifact_said = artifact.predict(numbers(50, seed=5).x)
    same_state(parent.state_dict(), state, 0.0, "its state")
    np.testing.assert_array_equal(artifact.predict(numbers(50, seed=5).x), artifact_said)


def test_learning_goes_on_and_is_patched_in(parent):
    steps = (MajorityLeaves(), Int8(), PruneBranches(0.6))
    artifact = rt.compress(parent, *steps, data=numbers(4_000, seed=1), budget=BUDGET, seconds=0.01)
    small, x = artifact.resume(), numbers(500, seed=6).x
    leaves = len(small.branches().shares)
    small.learn(rt.Batch(numbers(6_000, seed=7).x, y=np.where(numbers(6_000, seed=7).x[:, 3] > 1, 2, 0)))
    assert len(small.branches().shares) != leaves
    artifact.patch(small)
    assert artifact.form.numbers == "int8"
    assert artifact.predict(x).shape == (500, 3)  # a class that is new
    assert np.abs(artifact.predict(x) - small.predict(x)).mean() < 5e-3


def test_in_another_process_from_a_blank_forest(parent, artifact, tmp_path):
    """Fewer trees and branches, and what leaves say, are in the state; torch is not needed."""
    registry = rt.FileRegistry(tmp_path)
    champion = registry.push(parent.state_dict(), parent=None, report={})
    version = registry.push(artifact.state_dict(), parent=champion.name, report=artifact.report.to_dict())
    registry.point("serving", version.name)
    code = f"""
import sys, numpy as np, retain as rt
from tests.compression.forests import numbers
artifact = rt.compression.Artifact(rt.ARF(6))
artifact.load_state_dict(rt.FileRegistry({str(tmp_path)!r}).pull("serving"))
np.save({str(tmp_path / "said.npy")!r}, artifact.predict(numbers(100, seed=4).x))
more = artifact.resume()
np.save({str(tmp_path / "more.npy")!r}, more.learn(numbers(3_000, seed=5)))
print("torch" in sys.modules, more.branches().trees)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == f"False {artifact.master.branches().trees}\n"
    np.testing.assert_array_equal(np.load(tmp_path / "said.npy"), artifact.predict(numbers(100, seed=4).x))
    np.testing.assert_array_equal(np.load(tmp_path / "more.npy"), artifact.resume().learn(numbers(3_000, seed=5)))


def test_behind_an_encoder_of_sparse_rows():
    import pyarrow as pa

    rng = np.random.default_rng(0)
    table = pa.record_batch({"a": rng.choice(list("abcdefgh"), 4_000), "b": rng.normal(size=4_000)})
    y = ((np.array(table.column("a").to_pylist()) > "d") ^ (table.column("b").to_numpy() > 0)).astype(int)
    chain = rt.OneHot() | rt.ARF(4)
    chain.learn(rt.Batch(table.slice(0, 3_000), y=y[:3_000]))
    held = rt.Batch(table.slice(3_000), y=y[3_000:])
    artifact = rt.compress(chain, MajorityLeaves(), Int8(), data=held, budget=BUDGET, seconds=0.01)
    assert artifact.report.taken.name == "int8"
    assert np.abs(artifact.predict(held.x) - artifact.master.predict(held.x)).max() < 0.01
    other = Artifact(rt.OneHot() | rt.ARF(4))
    other.load_state_dict(artifact.state_dict())
    np.testing.assert_array_equal(other.predict(held.x), artifact.predict(held.x))


def test_what_a_table_of_weights_refuses_is_refused(parent, artifact):
    trees = artifact.form
    assert np.isfinite(trees.predict(np.full((2, 5), np.nan, dtype=np.float32))).all()
    for bad, told in ((np.full((2, 5), np.inf), "inf in row 0"), (np.zeros((2, 4)), "rows of 4 features; expected 5")):
        with pytest.raises(PoisonError, match=told):
            trees.predict(bad)
    wide = rt.CSR(np.array([0, 1]), np.array([7], dtype=np.int32), np.ones(1, dtype=np.float32), 9)
    np.testing.assert_array_equal(trees.predict(wide), trees.predict(np.zeros((1, 5))))
    assert trees.predict(np.zeros((0, 5))).shape == (0, 2)


def test_damage_is_told(artifact):
    state = artifact.form.state_dict()
    data = state["data"].copy()
    data[100] ^= 1
    with pytest.raises(StateError, match="packed trees are damaged; compress anew"):
        loaded({**state, "data": data})
    data = state["data"].copy()
    data[8] = 9
    with pytest.raises(StateError, match="trees are of version 9, this retain reads 1"):
        loaded({**state, "data": data})


def test_trees_that_answer_otherwise_are_refused(parent, monkeypatch):
    def wrong(branches, kind):
        from dataclasses import replace

        return packed_trees(replace(branches, value=branches.value + 0.3), kind)

    monkeypatch.setattr("retain.compression.trees.packed_trees", wrong)
    with pytest.raises(SettingError, match="answers otherwise than the"):
        Trees.of(parent, None, numbers(60).x)


def test_what_has_no_trees_is_told():
    class Short:
        name = "int4"

    learner = rt.AMF()
    learner.learn(numbers(500))
    with pytest.raises(SettingError, match=r"Hoeffding trees and forests of them.*got AMF"):
        rt.compress(learner, data=numbers(3_000))
    with pytest.raises(SettingError, match="int8 or float16, and got int4"):
        Trees.of(learnt("ARF", 500), Short(), rows(5).x)


def test_the_ladder_of_forests():
    names = [step.name for step in rt.compression.ladder(rt.OneHot() | made("ARF"))]
    assert names[:3] == ["majority leaves", "float16", "int8"]
    assert names[3:] == [
        *["prune branches 50%"] * 2,
        *["prune branches 25%"] * 2,
        "prune members 50%",
        "prune members 25%",
    ]


def test_nominal_features_go_along():
    learner = learnt("SRP", leaf="bayes")
    assert learner.branches().place[NOMINAL] == 0
    draft = MajorityLeaves()(Draft(learner), Lessons([rows(500, seed=4)], teacher=learner))
    x = rows(300, seed=5).x
    np.testing.assert_allclose(Trees.of(draft.learner, None, x).predict(x), draft.learner.predict(x), atol=WHOLE)
