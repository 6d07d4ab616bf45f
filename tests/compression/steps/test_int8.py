import numpy as np
import pytest
from tests.compression.nets import Case

from retain.compression.graph import drawn, folded, initialisers
from retain.compression.session import Session
from retain.compression.steps.int8 import Int8
from retain.errors import SettingError


def answers(model, x):
    session = Session(model.SerializeToString(), threads=1)
    return session.answers(session.rows(x))


def made(case: Case, **settings):
    return Int8(**settings).made(folded(case.graph()), case.rows.x)


def test_a_quarter_of_the_bytes_and_about_the_same_answers(plain: Case, images: Case) -> None:
    for case in (plain, images):
        model = made(case)
        weights = sum(value.size for value in drawn(case.learner).values())
        assert 0.25 < model.ByteSize() / (4 * weights) < 0.45  # small nets: scales and names weigh
        assert np.abs(answers(model, case.rows.x[:200]) - case.learner.predict(case.rows.x[:200])).mean() < 0.02


def test_convolutions_are_static_and_the_rest_dynamic(plain: Case, images: Case) -> None:
    assert "DynamicQuantizeLinear" in {node.op_type for node in made(plain).graph.node}
    assert "DynamicQuantizeLinear" not in {node.op_type for node in made(images).graph.node}
    assert "DynamicQuantizeLinear" not in {node.op_type for node in made(plain, static=True).graph.node}


def test_rows_of_all_times_calibrate(images: Case) -> None:
    """The range of the input is that of all rows, though few of them are looked at: the last are ten times as large."""
    x = images.rows.x.copy()
    x[-len(x) // 4 :] *= 10
    model = Int8(rows=16).made(folded(images.graph()), x)
    assert initialisers(model)["rows_scale"] * 255 > 2 * np.abs(images.rows.x).max()


def test_a_weight_is_the_nearest_of_255_steps(plain: Case) -> None:
    there = initialisers(made(plain))
    weight = plain.learner.module[1].weight.detach().numpy()
    whole, scale = there["1.weight_Transposed_quantized"].T, there["1.weight_Transposed_scale"]
    np.testing.assert_allclose(scale, np.abs(weight).max(axis=1) / 127, rtol=1e-6)
    np.testing.assert_array_equal(whole, np.rint(weight / scale[:, None]))


def test_nothing_to_calibrate_by_is_refused(images: Case) -> None:
    with pytest.raises(SettingError, match="no rows to calibrate by; give some: patch"):
        Int8().made(folded(images.graph()), images.rows.x[:0])
    with pytest.raises(SettingError, match="rows=0"):
        Int8(rows=0)
