import gzip
import json

import numpy as np
import pytest

import retain as rt
from retain.core import Column, Kind
from retain.errors import SourceError

ROWS = {
    "train": [["pay the bill", "pay"], ["do you know me", "who"], ["tie my shoe", "tie"], ["", "pay"]],
    "test": [["who is it", "who"], ["naïve — knots", "tie"], ["pay", "pay"]],
    "oos_train": [["why", "oos"]],
    "oos_test": [["how high", "oos"], ["is it so", "oos"]],
}
DOMAINS = {"shoes": ["tie"], "talk": ["who"], "bank": ["pay"]}


def lay(folder, rows=ROWS, domains=DOMAINS, *, packed=True):
    for name, content in (("data_full.json", rows), ("domains.json", domains)):
        if content is not None:
            text = json.dumps(content).encode()
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(text) if packed else text)
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_sentences_and_intents_in_the_order_of_their_domains(tmp_path, packed):
    data = rt.streams.clinc150(lay(tmp_path, packed=packed))
    assert data.classes == ("tie", "who", "pay")
    assert data.train.schema.columns == (Column("text", Kind.TEXT),)
    assert data.train.x.column("text").to_pylist() == [text for text, _ in ROWS["train"]]
    np.testing.assert_array_equal(data.train.y, [2, 1, 0, 2])
    np.testing.assert_array_equal(data.test.y, [1, 0, 2])


def test_without_domains_intents_are_sorted(tmp_path):
    assert rt.streams.clinc150(lay(tmp_path, domains=None)).classes == ("pay", "tie", "who")


def test_out_of_scope_sentences_have_no_label_and_the_same_classes(tmp_path):
    data = rt.streams.clinc150(lay(tmp_path), out_of_scope=True)
    assert data.test.x.column("text").to_pylist() == ["how high", "is it so"]
    np.testing.assert_array_equal(data.test.y, [-1, -1])
    np.testing.assert_array_equal(data.train.y, [-1])
    assert data.classes == ("tie", "who", "pay")


@pytest.mark.parametrize(
    ("rows", "domains", "says"),
    [
        (None, DOMAINS, "there is no data_full.json"),
        ({"train": []}, {}, "has no 'test'"),
        ({"train": 7}, {}, "expected `train`"),
        ({**ROWS, "test": [["x", "y"]]}, DOMAINS, "has no 'y'"),
        (ROWS, {"shoes": ["tie"]}, "other intents"),
    ],
)
def test_what_is_something_else_is_told(tmp_path, rows, domains, says):
    with pytest.raises(SourceError) as met:
        rt.streams.clinc150(lay(tmp_path, rows, domains))
    assert says in str(met.value)


def test_no_json(tmp_path):
    (lay(tmp_path) / "data_full.json.gz").write_bytes(gzip.compress(b"{'a"))
    with pytest.raises(SourceError, match="is no JSON"):
        rt.streams.clinc150(tmp_path)


def test_the_set_as_published(data):
    rows, none = (rt.streams.clinc150(data / "clinc150", out_of_scope=out) for out in (False, True))
    assert (len(rows.train), len(rows.test), len(none.train), len(none.test)) == (15_000, 4_500, 100, 1_000)
    assert rows.classes[:2] == ("freeze_account", "routing")
    np.testing.assert_array_equal(np.bincount(rows.train.y), np.full(150, 100))
