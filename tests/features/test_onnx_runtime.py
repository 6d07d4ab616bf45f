"""Encoders by ONNX Runtime: the same features as by torch, but for rounding."""

import subprocess
import sys

import numpy as np
import pytest
from tests.features.tiny import LIMIT, texts, tiny

import retain as rt
from retain.errors import PoisonError, SettingError, StateError
from retain.state import equal

torch = pytest.importorskip("torch", reason="needs the extra `torch`")
pytest.importorskip("onnxruntime", reason="needs the extra `deploy`")
pytest.importorskip("onnxscript", reason="needs the extra `deploy`")

SOME = texts("a card", "freeze my card, please", "", None, "a card", "what is it", "long " * LIMIT)


class Net(torch.nn.Module):
    """Convolutions, and a mean whose divisor an exporter must not take for a constant."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3, padding=1)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return torch.relu(self.conv(x)).mean((2, 3))


def images(n, side):
    return np.random.default_rng(n).integers(0, 256, size=(n, 3, side, side)).astype(np.uint8)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_texts_get_the_features_that_torch_gives_them(pooling, batch_size):
    fast = rt.Embed(tiny(), pooling=pooling, runtime=rt.OnnxRuntime(), batch_size=batch_size)
    slow = rt.Embed(tiny(), pooling=pooling)
    np.testing.assert_allclose(fast.apply(SOME), slow.apply(SOME), atol=1e-5)
    np.testing.assert_allclose(fast.apply(texts("b")), slow.apply(texts("b")), atol=1e-5)
    assert fast.encoder_hash == slow.encoder_hash


def test_images_of_any_size_and_number_go_through_a_graph_and_not_through_torch():
    net = Net()
    embed = rt.Embed(torch.nn.Sequential(rt.Pixels(), net), runtime=rt.OnnxRuntime(), batch_size=4)
    expected = rt.Embed(torch.nn.Sequential(rt.Pixels(), net))
    for side, n in ((8, 9), (5, 1)):
        np.testing.assert_allclose(embed.apply(images(n, side)), expected.apply(images(n, side)), atol=1e-5)
    before = net.calls
    embed.apply(images(20, 5))
    assert net.calls == before
    assert embed.apply(images(0, 5)).shape == (0, 6)


def test_a_state_goes_on_under_it_but_not_under_rounded_weights():
    y = np.arange(len(SOME)) % 2
    chain = rt.Embed(tiny()) | rt.NearestMean(batch_size=1)
    chain.learn(rt.Batch(SOME, y=y))
    again = rt.Embed(tiny(), runtime=rt.OnnxRuntime()) | rt.NearestMean(batch_size=1)
    again.load_state_dict(chain.state_dict())
    np.testing.assert_allclose(again.predict(SOME), chain.predict(SOME), atol=1e-4)
    rounded = rt.Embed(tiny(), runtime=rt.OnnxRuntime(int8=True)) | rt.NearestMean(batch_size=1)
    with pytest.raises(StateError, match="other weights or settings"):
        rounded.load_state_dict(chain.state_dict())


def test_rounded_weights_are_near_and_not_the_same():
    exact = rt.Embed(tiny()).apply(SOME)
    rounded = rt.Embed(tiny(), runtime=rt.OnnxRuntime(int8=True)).apply(SOME)
    assert 1e-4 < np.abs(rounded - exact).max() < 0.1
    assert (rounded * exact).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("of", ["texts", "images"])
def test_the_same_encoder_by_a_graph_that_was_made_before(of):
    net = tiny() if of == "texts" else torch.nn.Sequential(rt.Pixels(), Net(), torch.nn.Linear(6, 4000))
    x = SOME if of == "texts" else images(6, 8)
    embed = rt.Embed(net)
    embed.learn(rt.Batch(x))
    small = embed.rounded()
    before = small.state_dict()
    features = small.apply(x)
    np.testing.assert_array_equal(features, rt.Embed(net, runtime=rt.OnnxRuntime(int8=True)).apply(x))
    assert equal(small.state_dict(), before)  # the graph was in it from the first
    assert small.size == len(small.model)
    assert of == "texts" or small.size < 0.6 * embed.size  # of texts it is smaller than the names in the graph
    again = rt.Embed(net)
    again.load_state_dict(small.state_dict())
    assert again.model == small.model  # before any item came
    np.testing.assert_array_equal(again.apply(x), features)
    assert (embed.model, "model" in embed.state_dict()) == (None, False)
    again.load_state_dict(embed.state_dict())  # and back again
    np.testing.assert_array_equal(again.apply(x), embed.apply(x))
    with pytest.raises(StateError, match="other weights or settings"):
        again.load_state_dict({**small.state_dict(), "encoder": embed.encoder_hash})
    with pytest.raises(StateError, match="other weights or settings"):
        rt.Embed(net, normalised=False).load_state_dict(small.state_dict())


@pytest.mark.parametrize(
    ("module", "x", "says"),
    [
        (torch.nn.Linear(3, 2), np.ones((4, 5), np.float32), "takes no rows of shape (5,)"),
        (torch.nn.Conv2d(1, 2, 1), np.ones((1, 1, 2, 2), np.float32), "made (1, 2, 2, 2) of 1 rows"),
    ],
)
def test_rows_that_do_not_fit_are_told_as_they_are_without(module, x, says):
    with pytest.raises(PoisonError) as met:
        rt.Embed(module, runtime=rt.OnnxRuntime()).apply(x)
    assert says in str(met.value)


def test_a_net_that_looks_at_its_numbers_cannot_be_a_graph():
    class Looking(torch.nn.Module):
        def forward(self, x):
            return x * 2 if float(x.sum()) > 1 else x

    with pytest.raises(SettingError, match="no graph can be made of the encoder"):
        rt.Embed(Looking(), runtime=rt.OnnxRuntime()).apply(np.ones((2, 2), np.float32))


def test_what_to_install_is_said():
    code = (
        "import sys; sys.modules['onnxscript'] = None\n"
        "import retain as rt\n"
        "from retain.errors import MissingExtraError\n"
        "try:\n    rt.OnnxRuntime()\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "needs onnxscript, which is absent; install it with: pip install 'retain[deploy]'" in said
