import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from tests.compression.nets import Case, rows

import retain as rt
from retain.compression import Draft, Half, Int8
from retain.compression.cost import latencies, multiply_adds
from retain.errors import BudgetError, SettingError
from retain.testing.compare import same_state


@dataclass(frozen=True)
class Noise:
    """A step that damages the weights and makes nothing smaller."""

    size: float

    @property
    def name(self) -> str:
        return f"noise {self.size}"

    def __call__(self, draft: Draft, lessons) -> Draft:
        learner = deepcopy(draft.learner)
        with torch.no_grad():
            for p in learner.module.parameters():
                p.add_(self.size * p.abs().mean())
        return replace(draft, learner=learner)


@dataclass(frozen=True)
class Impossible:
    name = "impossible"

    def __call__(self, draft: Draft, lessons) -> Draft:
        raise SettingError("there is nothing to cut here")


def test_the_ladder_keeps_the_last_rung_inside_the_budget_and_the_learner_as_it_is(plain: Case) -> None:
    before = deepcopy(plain.learner.state_dict())
    heard = []
    steps = (Half(), Noise(30.0), Noise(30.0), Int8(), Impossible(), Noise(0.0))
    artifact = rt.compress(plain.learner, *steps, data=plain.rows, seconds=0.2, told=heard.append)
    expected = ["parent", "taken", "taken", "outside", "taken", "failed", "no gain"]  # nothing is tried twice
    assert [rung.fate for rung in artifact.report.rungs] == expected
    assert tuple(heard) == artifact.report.rungs
    assert artifact.report.taken.name == "int8"
    assert artifact.report.taken.smaller > 2.5  # a small net, whose names weigh
    assert artifact.report.rungs[-2].why == "there is nothing to cut here"
    same_state(plain.learner.state_dict(), before, 0.0, "its state")
    same_state(artifact.resume().state_dict(), before, 0.0, "its state")
    told = str(artifact.report)
    assert "noise 30.0: outside, accuracy: -" in told
    assert "judged on 4,800 rows, taught by 1,200" in told


def test_forgetting_is_judged_where_rows_tell_their_experience(plain: Case) -> None:
    artifact = rt.compress(plain.learner, Half(), data=plain.rows, lessons=rows(100), seconds=0.01)
    judgement = artifact.report.taken.judgement
    assert judgement.forgetting is not None
    assert judgement.change.rows == 6_000


def test_a_budget_that_nothing_meets(plain: Case) -> None:
    with pytest.raises(BudgetError, match=r"(?s)nothing that was tried is 100 times smaller within.*int8"):
        rt.compress(plain.learner, Int8(), data=plain.rows, budget=rt.Within(smaller=100), seconds=0.01)


def test_rows_that_cannot_judge_are_refused(plain: Case) -> None:
    with pytest.raises(SettingError, match="400 held-out rows cannot tell"):
        rt.compress(plain.learner, data=rows(500), seconds=0.01)
    with pytest.raises(SettingError, match="no labelled rows"):
        rt.compress(plain.learner, data=rt.Batch(plain.rows.x), seconds=0.01)
    with pytest.raises(SettingError, match="alone or at the end of a chain; got NoChange"):
        rt.compress(rt.NoChange(), data=plain.rows, seconds=0.01)


def test_wrappers_are_refused_and_nested_chains_go_through(plain: Case) -> None:
    with pytest.raises(SettingError, match="OpenSet cannot be made smaller as it is; compress the learner inside it"):
        rt.compress(rt.OpenSet(plain.learner), data=plain.rows)
    learner = rt.Scale() | rt.Neural(rt.neural.MLP(32, 64, 4))
    nested = rt.Chain([rt.Scale()], learner)
    nested.learn(rows(2_000))
    artifact = rt.compress(nested, Half(), data=rows(4_000, seed=5), budget=rt.Within(accuracy=0.01), seconds=0.01)
    x = rows(100, seed=6).x
    np.testing.assert_allclose(artifact.predict(x), nested.predict(x), atol=1e-2)


def test_classes_in_turn_are_taught_and_judged_alike(plain: Case) -> None:
    held = rows(4_000, seed=5)
    order = np.argsort(np.arange(4_000) % 1_000 * 4 + np.argsort(np.argsort(held.y, kind="stable")) // 1_000)
    artifact = rt.compress(plain.learner, Half(), data=rt.Batch(held.x[order], y=held.y[order]), seconds=0.01)
    assert artifact.report.taught == 800
    assert artifact.report.taken.judgement.pooled == ()


def test_a_class_that_waits_to_be_learnt_is_in_nobodys_way(plain: Case) -> None:
    learner = deepcopy(plain.learner)
    learner.learn(rt.Batch(plain.rows.x[:3], y=np.array([0, 1, 4])))
    assert learner.predict(plain.rows.x[:2]).shape == (2, 5)
    artifact = rt.compress(learner, Half(), data=plain.rows, seconds=0.01)
    assert artifact.predict(plain.rows.x[:2]).shape == (2, 4)


def test_a_step_that_breaks_is_one_that_failed(plain: Case) -> None:
    class Broken:
        name = "broken"

        def __call__(self, draft, lessons):
            raise IndexError("7 is out of range")

    artifact = rt.compress(plain.learner, Broken(), Half(), data=plain.rows, seconds=0.01)
    fates = [(rung.fate, rung.why) for rung in artifact.report.rungs[2:]]
    assert fates == [("failed", "IndexError: 7 is out of range"), ("taken", "")]


def test_zeros_are_a_gain_once_they_are_zipped(plain: Case) -> None:
    step = rt.compression.Magnitude(0.5)
    budget = rt.Within(accuracy=0.2, per_class=None, forgetting=None)
    artifact = rt.compress(plain.learner, step, data=plain.rows, budget=budget, seconds=0.01)
    graph, taken = artifact.report.rungs[1].cost, artifact.report.taken.cost
    assert artifact.report.taken.name == step.name
    assert taken.packed < 0.8 * graph.packed
    assert taken.bytes == graph.bytes


def test_a_chain_is_compressed_at_its_end() -> None:
    learner = rt.Scale() | rt.Neural(rt.neural.MLP(32, 64, 4))
    learner.learn(rows(3_000))
    held = rows(4_000, seed=5)
    artifact = rt.compress(learner, Int8(), data=[held], budget=rt.Within(accuracy=0.01), seconds=0.01)
    assert (artifact.predict(held.x).argmax(1) == learner.predict(held.x).argmax(1)).mean() > 0.98


def test_numbers_are_compressed_too() -> None:
    x = np.random.default_rng(0).normal(size=(6_000, 16)).astype(np.float32)
    y = np.rint(20 * (np.sin(x[:, 0]) + x[:, 1])).astype(int)  # whole numbers, and negative ones, are numbers here
    learner = rt.Neural(rt.neural.MLP(16, 64, 1), criterion=rt.neural.Squared())
    learner.learn(rt.Batch(x[:3_000], y=y[:3_000]))
    artifact = rt.compress(learner, Half(), data=rt.Batch(x[3_000:], y=y[3_000:]), seconds=0.01)
    assert artifact.predict(x[:7]).shape == (7,)
    np.testing.assert_allclose(artifact.predict(x[:7]), learner.predict(x[:7]), atol=0.2)
    assert not artifact.report.classes


def test_products_are_counted(plain: Case, images: Case) -> None:
    assert multiply_adds(plain.learner, plain.rows.x) == 32 * 96 + 96 * 96 + 96 * 4
    assert multiply_adds(images.learner, images.rows.x) == 64 * 9 * (3 * 32 + 32 * 32) + 32 * 3


def test_models_are_timed_in_turn() -> None:
    asked = []
    models = {name: lambda x, name=name: asked.append((name, len(x))) for name in "ab"}
    found = latencies(models, np.zeros((5, 2)), sizes=(1, 8), seconds=0.0)
    assert {n for name, n in asked} == {1, 8}
    ones = [name for name, n in asked if n == 1]
    turns = ["".join(ones[i : i + 5]) for i in range(0, len(ones), 5)]
    assert {frozenset(turns[i : i + 2]) for i in range(0, len(turns), 2)} == {frozenset({"aaaaa", "bbbbb"})}
    assert found["a"][1].median <= found["a"][1].p99


def test_what_to_install_is_said() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import retain as rt\n"
        "try:\n    rt.compression.Distil()\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "MissingExtraError compression.Distil needs torch: pip install 'retain[deploy]'\n"
