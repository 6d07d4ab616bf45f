"""Nets as graphs: names are kept, and what is rounded is all that should be."""

import numpy as np
import pytest

from retain.errors import MissingExtraError, StateError
from retain.graphs import exported, needed, opened, rounded

torch = pytest.importorskip("torch", reason="needs the extra `torch`")
onnx = pytest.importorskip("onnx", reason="needs the extra `deploy`")
pytest.importorskip("onnxscript", reason="needs the extra `deploy`")


class Reader(torch.nn.Module):
    """Words to classes, through attention and a convolution."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(500, 32)
        self.layer = torch.nn.TransformerEncoderLayer(32, 2, 64, batch_first=True, dropout=0.0)
        self.near = torch.nn.Conv1d(32, 32, 3, padding=1)
        self.head = torch.nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.near(self.layer(self.words(x)).transpose(1, 2)).mean(2))


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    torch.manual_seed(0)
    net = Reader().eval()
    path = tmp_path_factory.mktemp("graph") / "net.onnx"
    exported(net, (torch.zeros((2, 6), dtype=torch.int64),), free=2, inputs=["rows"]).save(path)
    return net, path


def answers(model, x):
    return opened(model, threads=1).run(None, {"rows": x})[0]


def test_weights_keep_their_names_and_rows_are_as_many_and_as_long_as_they_come(reader):
    net, path = reader
    model = onnx.load(path)
    assert set(net.state_dict()) <= {one.name for one in model.graph.initializer}
    for shape in ((1, 6), (7, 11)):
        x = np.random.default_rng(0).integers(0, 500, shape)
        with torch.no_grad():
            np.testing.assert_allclose(answers(path, x), net(torch.from_numpy(x)).numpy(), atol=1e-5)


def test_every_matrix_is_rounded_and_convolutions_are_not(reader):
    """Also those of attention and of wide layers, which exporters write as transposes of the weights."""
    _, path = reader
    model = onnx.load(small := rounded(path))
    whole = [tuple(one.dims) for one in model.graph.initializer if one.data_type == 1 and np.prod(one.dims) > 500]
    assert whole == [(32, 32, 3)]
    x = np.random.default_rng(0).integers(0, 500, (40, 8))
    apart = np.abs(answers(small, x) - answers(path, x)).max()
    assert 0 < apart < 0.05 * np.abs(answers(path, x)).max()


def test_one_long_row_of_a_table_does_not_take_the_digits_of_the_others(tmp_path):
    torch.manual_seed(0)
    net = Reader().eval()
    with torch.no_grad():
        net.words.weight[7] *= 50
        net.words.weight[8] = 0
    exported(net, (torch.zeros((2, 6), dtype=torch.int64),), free=2, inputs=["rows"]).save(
        path := tmp_path / "net.onnx"
    )
    small = rounded(path)
    tables = {one.name: one for one in onnx.load(small).graph.initializer if one.dims and one.dims[0] == 500}
    assert {(tuple(one.dims), one.data_type) for one in tables.values()} == {((500, 32), 3), ((500, 1), 1)}
    x = np.random.default_rng(0).integers(8, 500, (40, 8))
    assert np.abs(answers(small, x) - answers(path, x)).max() < 0.02
    assert np.abs(answers(small, x * 0 + 7) - answers(path, x * 0 + 7)).max() < 0.05


def test_what_is_absent_or_no_graph_is_said():
    with pytest.raises(MissingExtraError, match=r"X needs nowhere_to_be_found, .*pip install 'retain\[deploy\]'"):
        needed("onnx", "nowhere_to_be_found", reader="X")
    with pytest.raises(StateError, match="the graph cannot be run"):
        opened(b"no graph", threads=1)
