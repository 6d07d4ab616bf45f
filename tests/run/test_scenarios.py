"""Scenarios deal rows to experiences as they say: nothing is lost, doubled or shown otherwise."""

import numpy as np
import pytest

from retain.core import Batch
from retain.errors import SchemaError, SettingError
from retain.run import scenarios as sc
from retain.run.views import Permute, Rotate
from retain.streams import TrainTest, train_test

N = 120
X = np.arange(N * 4, dtype=np.float32).reshape(N, 4)
Y = np.arange(N) % 6
DATA = train_test(X, Y, share=0.25)


def dealt(scenario):
    """All rows to learn, as their first numbers, experience by experience."""
    return [scenario.stage(i).block(np.arange(len(scenario.stage(i)))) for i in range(len(scenario.stages))]


def firsts(batches):
    return sorted(np.concatenate([batch.x[:, 0] for batch in batches]).tolist())


@pytest.mark.parametrize(
    "scenario",
    [
        sc.class_incremental(DATA, experiences=3),
        sc.task_incremental(DATA, experiences=4),
        sc.domain_incremental(DATA, experiences=3),
        sc.blurry(DATA, experiences=3, blur=0.3),
        sc.split(DATA, experiences=7),
        sc.joint(sc.class_incremental(DATA, experiences=3)),
    ],
    ids=lambda scenario: scenario.name,
)
def test_every_row_is_learnt_once_and_tested_once(scenario):
    assert firsts(dealt(scenario)) == sorted(DATA.train.x[:, 0].tolist())
    tested = np.concatenate([experience.test.x[:, 0] for experience in scenario.experiences])
    assert sorted(tested.tolist()) == sorted(DATA.test.x[:, 0].tolist())


def test_classes_come_in_the_order_given():
    scenario = sc.class_incremental(DATA, experiences=3, order=[5, 0, 1, 4, 2, 3])
    assert [experience.classes.tolist() for experience in scenario.experiences] == [[0, 5], [1, 4], [2, 3]]
    assert scenario.classes == 6
    assert not scenario.tasks


def test_tasks_are_told_from_1():
    scenario = sc.task_incremental(DATA, experiences=3)
    assert [np.unique(batch.task).tolist() for batch in dealt(scenario)] == [[1], [2], [3]]
    together = dealt(sc.joint(scenario))[0]
    assert ((together.y // 2) + 1 == together.task).all()
    assert dealt(sc.task_free(scenario))[0].task is None


def test_domains_share_their_labels():
    scenario = sc.domain_incremental(DATA, experiences=3)
    assert scenario.classes == 2
    for batch, experience in zip(dealt(scenario), scenario.experiences, strict=True):
        assert (batch.y == Y[(batch.x[:, 0] / 4).astype(int)] % 2).all()
        assert experience.train.schema.classes == ("0|2|4", "1|3|5")


def test_blur_sends_that_share_elsewhere_and_tests_stay_sharp():
    data = train_test(np.zeros((30_000, 1)), np.arange(30_000) % 6)
    scenario = sc.blurry(data, experiences=3, blur=0.3)
    for i, experience in enumerate(scenario.experiences):
        away = ~np.isin(experience.train.y, [2 * i, 2 * i + 1])
        assert away.mean() == pytest.approx(0.3, abs=0.02)
        assert np.unique(experience.test.y).tolist() == [2 * i, 2 * i + 1]


def test_a_block_has_its_rows_in_the_order_asked_for_across_experiences():
    stage = sc.joint(sc.permuted(DATA, experiences=3)).stage(0)
    rows = np.random.default_rng(1).permutation(len(stage))
    whole, mixed = stage.block(np.arange(len(stage))), stage.block(rows)
    assert (mixed.x == whole.x[rows]).all()
    assert (mixed.y == whole.y[rows]).all()


def test_permuted_rows_hold_the_same_numbers_and_the_first_experience_is_as_it_was():
    scenario = sc.permuted(DATA, experiences=3)
    first, second, third = dealt(scenario)
    assert (first.x == DATA.train.x).all()
    assert not (second.x == first.x).all()
    assert not (second.x == third.x).all()
    assert (np.sort(second.x, axis=1) == first.x).all()


def test_rotation_agrees_with_quarter_turns_and_keeps_the_middle():
    x = np.random.default_rng(0).random((5, 2, 7, 7)).astype(np.float32)
    for turns in range(4):
        turned = Rotate(90.0 * turns, height=7, width=7)(x)
        assert np.allclose(turned, np.rot90(x, turns, axes=(2, 3)), atol=1e-6)
    assert np.allclose(Rotate(33.0, height=7, width=7)(x)[:, :, 3, 3], x[:, :, 3, 3])


def test_rotation_agrees_with_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    x = np.random.default_rng(0).random((3, 1, 9, 9)).astype(np.float32)
    wanted = ndimage.rotate(x, 25.0, axes=(3, 2), reshape=False, order=1, mode="grid-constant")
    assert np.allclose(Rotate(25.0, height=9, width=9)(x), wanted, atol=1e-5)


def test_bytes_are_seen_as_numbers_from_0_to_1_and_flat_where_asked():
    data = train_test(np.full((20, 1, 3, 3), 255, np.uint8), np.arange(20) % 2)
    block = dealt(sc.flat(sc.class_incremental(data, experiences=2)))[0]
    assert block.x.dtype == np.float32
    assert block.x.shape[1:] == (9,)
    assert (block.x == 1).all()
    assert dealt(sc.rotated(data, experiences=2))[0].x.shape[1:] == (1, 3, 3)


def test_rotations_in_order_or_drawn():
    data = train_test(np.zeros((40, 1, 4, 4), dtype=np.float32), np.arange(40) % 2)
    names = [[one.name for one in sc.rotated(data, experiences=4, seed=seed).experiences] for seed in (None, 0, 0, 1)]
    assert names[0] == ["0°", "45°", "90°", "135°"]
    assert names[1] == names[2] != names[3]
    angles = [float(name.removesuffix("°")) for name in names[1]]
    assert angles != sorted(angles)
    assert all(0 <= angle <= 180 for angle in angles)


def test_experiences_may_be_told_by_the_rows():
    task = np.array([3, 7])[np.arange(N) % 2]
    rows = Batch(X, y=np.arange(N) % 3, task=task)
    scenario = sc.by_task(TrainTest(rows, rows))
    assert [experience.name for experience in scenario.experiences] == ["3", "7"]
    assert [len(experience.train) for experience in scenario.experiences] == [60, 60]
    with pytest.raises(SchemaError, match="experience="):
        sc.by_task(DATA)


def test_a_permutation_is_a_view_not_a_copy_of_the_data():
    scenario = sc.permuted(DATA, experiences=9)
    assert all(np.shares_memory(experience.train.x, DATA.train.x) for experience in scenario.experiences)
    assert isinstance(scenario.experiences[1].views[-1], Permute)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sc.class_incremental(DATA, experiences=7), "of 6 classes"),
        (lambda: sc.class_incremental(DATA, experiences=0), "expected 1 to 6"),
        (lambda: sc.class_incremental(DATA, order=[0, 1, 1, 2, 3, 4]), "each of the 6 classes once"),
        (lambda: sc.blurry(DATA, blur=2), "between 0 and 1"),
        (lambda: sc.permuted(DATA, experiences=0), "at least one"),
        (lambda: sc.rotated(DATA), "only images"),
        (lambda: sc.Scenario("none", ()), "numbers of experiences"),
        (lambda: sc.Scenario("odd", sc.split(DATA).experiences, stages=((0,), (9,))), "numbers of experiences"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises(SettingError, match=says):
        make()


def test_labels_must_be_classes_and_none_missing():
    rows = Batch(X, y=np.where(Y == 0, -1, Y))
    with pytest.raises(SchemaError, match="need a class each"):
        sc.class_incremental(TrainTest(rows, rows))
