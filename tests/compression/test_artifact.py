import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from tests.compression.nets import Case, net, rows

import retain as rt
from retain.compression import Artifact, Int8
from retain.errors import PoisonError, SettingError, StateError
from retain.testing.compare import same_state


@pytest.fixture(scope="module")
def artifact(plain: Case) -> Artifact:
    return rt.compress(plain.learner, Int8(), data=plain.rows, seconds=0.01)


def test_it_predicts_and_changes_nothing(artifact: Artifact, plain: Case) -> None:
    before = artifact.state_dict()
    said = artifact.predict(plain.rows.x)
    assert (said.argmax(1) == plain.learner.predict(plain.rows.x).argmax(1)).mean() > 0.98
    same_state(artifact.state_dict(), before, 0.0, "its state")


def test_the_parent_is_the_parent(artifact: Artifact, plain: Case) -> None:
    assert artifact.revert() is plain.learner


def test_saved_and_loaded_it_is_the_same(artifact: Artifact, plain: Case) -> None:
    other = Artifact(plain.blank)
    other.load_state_dict(artifact.state_dict())
    np.testing.assert_array_equal(other.predict(plain.rows.x[:100]), artifact.predict(plain.rows.x[:100]))
    assert other.report == artifact.report
    with pytest.raises(StateError, match="its parent was not; pull the version"):
        other.revert()
    same_state(other.resume().state_dict(), artifact.resume().state_dict(), 0.0, "its state")


def test_through_a_registry_into_another_process(artifact: Artifact, plain: Case, tmp_path) -> None:
    registry = rt.FileRegistry(tmp_path)
    champion = registry.push(plain.learner.state_dict(), parent=None, report={})
    version = registry.push(artifact.state_dict(), parent=champion.name, report=artifact.report.to_dict())
    registry.point("serving", version.name)
    np.save(tmp_path / "x.npy", plain.rows.x[:50])
    code = f"""
import numpy as np, retain as rt
artifact = rt.compression.Artifact(rt.Neural(rt.neural.MLP(32, 96, 96, 4)))
artifact.load_state_dict(rt.FileRegistry({str(tmp_path)!r}).pull("serving"))
np.save({str(tmp_path / "said.npy")!r}, artifact.predict(np.load({str(tmp_path / "x.npy")!r})))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "said.npy"), artifact.predict(plain.rows.x[:50]))


def test_learning_goes_on_and_is_patched_in(plain: Case) -> None:
    """What runs after a patch is what would be made anew; float32 graphs answer as torch does."""
    artifact = rt.compress(plain.learner, Int8(), data=plain.rows, seconds=0.01)
    before, parent = artifact.predict(plain.rows.x), deepcopy(plain.learner.state_dict())
    learner = artifact.resume()
    learner.learn(rows(2_000, seed=11))
    np.testing.assert_array_equal(artifact.predict(plain.rows.x), before)
    artifact.patch(learner)
    same_state(plain.learner.state_dict(), parent, 0.0, "its state")
    anew = rt.compress(learner, Int8(), data=plain.rows, seconds=0.01)
    assert not np.array_equal(artifact.predict(plain.rows.x), before)
    np.testing.assert_array_equal(artifact.predict(plain.rows.x), anew.predict(plain.rows.x))
    float32 = anew.form.formatted(learner, None, plain.rows.x)
    learner.learn(rows(500, seed=12))
    renewed = float32.renewed(learner, None)
    np.testing.assert_allclose(renewed.predict(plain.rows.x), learner.predict(plain.rows.x), atol=1e-5)
    assert artifact.report is None  # it told of what was
    with pytest.raises(SettingError, match="another chain"):
        artifact.patch(rt.Scale() | learner)
    layers = [torch.nn.Tanh() if isinstance(one, torch.nn.ReLU) else one for one in net().module]
    tanh = rt.Neural(torch.nn.Sequential(*layers))
    tanh.learn(rows(500, seed=12))
    with pytest.raises(SettingError, match="answers otherwise than the learner"):
        artifact.patch(tanh)
    learner.learn(rt.Batch(plain.rows.x[:96], y=np.full(96, 4)))  # the fifth class of a net of four
    with pytest.raises(SettingError, match="compress anew"):
        artifact.patch(learner)


def test_convolutions_are_calibrated_anew(images: Case) -> None:
    budget = rt.Within(accuracy=0.05, per_class=None)
    artifact = rt.compress(images.learner, Int8(), data=images.rows, budget=budget, seconds=0.01)
    learner = artifact.resume()
    learner.learn(images.rows)
    with pytest.raises(SettingError, match="no rows to calibrate by"):
        artifact.patch(learner)
    artifact.patch(learner, rows=images.rows.x)
    said, wanted = artifact.predict(images.rows.x), learner.predict(images.rows.x)
    assert np.abs(said - wanted).mean() < 0.03


def test_tables_recurrent_nets_and_averages_are_renewed_whole() -> None:
    """What int8 makes of a table, of scalars in a graph, and of weights that are tied."""

    class Words(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.gru, self.head = torch.nn.Embedding(50, 16), rt.neural.GRU(16, 8), torch.nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.gru(self.table(x)))

    x = np.random.default_rng(0).integers(50, size=(600, 4))
    batch = rt.Batch(x, y=x[:, 3] % 3)
    learner = rt.Neural(Words(), averaging=rt.strategies.EMA(decay=0.9))
    learner.learn(batch)
    artifact = rt.compress(learner, Int8(static=False), data=batch, budget=rt.Within(accuracy=0.2), seconds=0.01)
    for _ in range(5):
        learner.learn(batch)
    artifact.patch(learner)
    assert np.abs(artifact.predict(x) - learner.predict(x)).max() < 0.1


def test_poison_is_refused_as_the_learner_would(artifact: Artifact, plain: Case) -> None:
    poisoned = plain.rows.x[:5].copy()
    poisoned[3, 2] = np.nan
    with pytest.raises(PoisonError, match="nan in row 3, column 2"):
        artifact.predict(poisoned)
    with pytest.raises(PoisonError, match=r"rows of shape \(31,\); expected \(32,\)"):
        artifact.predict(plain.rows.x[:5, :31])


def test_damage_is_told(artifact: Artifact) -> None:
    state = artifact.state_dict()
    for broken in (state["form"]["model"][:5000], np.zeros(100, dtype=np.uint8)):
        with pytest.raises(StateError, match="anew"):
            Artifact(net()).load_state_dict({**state, "form": {**state["form"], "model": broken}})
    with pytest.raises(StateError, match="empty"):
        Artifact(net()).predict(np.zeros((1, 32), dtype=np.float32))
