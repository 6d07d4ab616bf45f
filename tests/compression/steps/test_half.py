import numpy as np
from tests.compression.nets import Case

from retain.compression.graph import folded, initialisers
from retain.compression.session import Session
from retain.compression.steps.half import Half


def test_half_the_bytes_and_answers_apart_by_rounding(plain: Case) -> None:
    whole = folded(plain.graph())
    size = whole.ByteSize()
    half = Half().made(whole, plain.rows.x)
    assert half.ByteSize() < 0.53 * size
    session = Session(half.SerializeToString(), threads=1)
    x = plain.rows.x[:200]
    assert 0 < np.abs(session.answers(session.rows(x)) - plain.learner.predict(x)).max() < 5e-3


def test_what_is_beyond_sixteen_bits_becomes_the_largest(plain: Case) -> None:
    import onnx

    model = folded(plain.graph())
    one = next(one for one in model.graph.initializer if one.name == "3.weight")
    value = np.full(tuple(one.dims), -1e6, dtype=np.float32)
    one.CopyFrom(onnx.numpy_helper.from_array(value, "3.weight"))
    assert initialisers(Half().made(model, plain.rows.x))["3.weight_half"].min() == -65504
