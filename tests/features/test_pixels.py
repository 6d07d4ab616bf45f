"""Images in front of encoders: resized as Pillow does, and nets in folders as `transformers` itself runs them."""

import json

import numpy as np
import pytest

import retain as rt
from retain.errors import PoisonError, SettingError

torch = pytest.importorskip("torch", reason="needs the extra `torch`")
Image = pytest.importorskip("PIL.Image", reason="needs Pillow, which comes with matplotlib")

IMAGES = np.random.default_rng(0).integers(0, 256, size=(6, 3, 12, 10)).astype(np.uint8)
PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


def pixels(x, *args, **settings):
    return rt.Pixels(*args, **settings)(torch.from_numpy(x.astype(np.float32)) / 255).numpy()


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize("size", [(5, 4), (24, 31), (12, 3)])
def test_images_are_resized_as_pillow_does(size, bicubic):
    got = pixels(IMAGES, size, bicubic=bicubic, **PLAIN)
    how = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    for image, expected in zip(IMAGES.reshape(-1, 12, 10), got.reshape(-1, *size), strict=True):
        theirs = np.asarray(Image.fromarray(image.astype(np.float32)).resize(size[::-1], how))
        np.testing.assert_allclose(expected, np.clip(theirs, 0, 255) / 255, atol=1e-5)


def test_channels_are_standardised_and_grey_becomes_all_of_them():
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    got = pixels(IMAGES[:, :1], mean=mean, std=std)
    for c in range(3):
        np.testing.assert_allclose(got[:, c], (IMAGES[:, 0] / 255 - mean[c]) / std[c], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "says"), [((2, 2, 4, 4), "expected images (1 or 3 channels"), ((2, 16), "rows of shape (16,)")]
)
def test_rows_that_are_no_images_are_refused(shape, says):
    embed = rt.Embed(torch.nn.Sequential(rt.Pixels(4), torch.nn.Flatten()))
    with pytest.raises(PoisonError) as met:
        embed.learn(rt.Batch(np.zeros(shape, np.uint8)))
    assert says in str(met.value)
    assert str(met.value).startswith("Pixels got")
    assert embed.state_dict()["shape"] is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"size": 0}, "size=0"),
        ({"size": (3, -1)}, "size=(3, -1)"),
        ({"std": (1.0, 0.0, 1.0)}, "std > 0"),
        ({"mean": (0.5,)}, "one of each for every channel"),
        ({"mean": (), "std": ()}, "one of each for every channel"),
    ],
)
def test_settings_that_make_no_sense(settings, says):
    with pytest.raises(SettingError) as met:
        rt.Pixels(**settings)
    assert says in str(met.value)


@pytest.mark.parametrize("other", [{"size": 5}, {"size": 4, "bicubic": True}, {"size": 4, "mean": (0.4, 0.4, 0.4)}])
def test_other_pixels_are_another_encoder(other):
    first, second = (
        rt.Embed(torch.nn.Sequential(rt.Pixels(**one), torch.nn.Flatten())) for one in ({"size": 4}, other)
    )
    assert first.encoder_hash != second.encoder_hash


def vit(transformers):
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, image_size=8, patch_size=4
    )
    return transformers.ViTModel(config)


def resnet(transformers):
    return transformers.ResNetModel(transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))


def saved(folder, make, **said):
    transformers = pytest.importorskip("transformers", reason="needs the extra `text`")
    torch.manual_seed(0)
    net = make(transformers).eval()
    net.save_pretrained(folder)
    told = {"size": {"height": 8, "width": 8}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2] * 3, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(told | said))
    return net


@pytest.mark.parametrize(
    ("make", "pooling", "pooled"),
    [
        (vit, "mean", lambda hidden: hidden.mean(1)),
        (vit, "cls", lambda hidden: hidden[:, 0]),
        (resnet, "mean", lambda hidden: hidden.flatten(2).mean(2)),
    ],
)
def test_a_folder_with_a_net_of_images_is_an_encoder(tmp_path, make, pooling, pooled):
    net = saved(tmp_path, make)
    got = rt.Embed(tmp_path, pooling=pooling, normalised=False).apply(IMAGES)
    with torch.inference_mode():
        x = rt.Pixels(8, mean=(0.5, 0.4, 0.3), std=(0.2,) * 3, bicubic=True)(torch.from_numpy(IMAGES / 255).float())
        np.testing.assert_allclose(got, pooled(net(pixel_values=x).last_hidden_state), atol=1e-5)
    assert rt.Embed(tmp_path, pooling=pooling).encoder_hash == rt.Embed(tmp_path, pooling=pooling).encoder_hash


def test_what_a_folder_says_of_pixels_is_part_of_the_encoder(tmp_path):
    saved(tmp_path, vit)
    first = rt.Embed(tmp_path)
    saved(tmp_path, vit, resample=2)
    assert rt.Embed(tmp_path).encoder_hash != first.encoder_hash != rt.Embed(tmp_path, pooling="cls").encoder_hash


@pytest.mark.parametrize(
    ("said", "x"),
    [
        ({"size": {"shortest_edge": 9}, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}}, IMAGES),
        ({"size": {"shortest_edge": 8}}, IMAGES),
        ({"size": 8}, IMAGES),
        ({"do_resize": False}, IMAGES[:, :, :8, :8]),
        ({"do_normalize": False}, IMAGES),
    ],
)
def test_sizes_as_folders_say_them(tmp_path, said, x):
    net = saved(tmp_path, vit, **said)
    plain = PLAIN if said.get("do_normalize") is False else {"mean": (0.5, 0.4, 0.3), "std": (0.2,) * 3}
    with torch.inference_mode():
        rows = rt.Pixels(8, bicubic=True, **plain)(torch.from_numpy(x / 255).float())
        expected = net(pixel_values=rows).last_hidden_state.mean(1)
    np.testing.assert_allclose(rt.Embed(tmp_path, normalised=False).apply(x), expected, atol=1e-5)


@pytest.mark.parametrize("said", [{"image_mean": None}, {"size": {}}, {"do_rescale": False}, {"image_std": [0.1]}])
def test_a_folder_that_says_nothing_of_use_is_refused(tmp_path, said):
    saved(tmp_path, vit, **said)
    with pytest.raises(SettingError, match=r"size|one of each"):
        rt.Embed(tmp_path)


def test_a_chain_learns_images():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = np.stack([rng.integers(0, 100, size=(1, 6, 6)) for _ in y]).astype(np.uint8)
    x[y == 1, :, :3] += 100
    chain = rt.Embed(torch.nn.Sequential(rt.Pixels(3), torch.nn.Flatten())) | rt.SLDA(batch_size=20)
    chain.learn(rt.Batch(x, y=y))
    assert (chain.predict(x).argmax(axis=1) == y).mean() > 0.95
