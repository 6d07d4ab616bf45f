"""Files as bytes: compression undone whatever the name, damage told after what is whole, memory flat."""

import gzip
import random

import numpy as np
import pyarrow as pa
import pytest

from retain import state, streams
from retain.errors import SettingError, SourceError
from retain.streams import text
from retain.streams.files import Fingerprint, open_bytes

CONTENT = random.Random(0).randbytes(300_000) + b"\n" * 200_000
FORMS = {
    "plain": CONTENT,
    "gzip": gzip.compress(CONTENT),
    "members": gzip.compress(CONTENT[:1000]) + gzip.compress(b"") + gzip.compress(CONTENT[1000:]),
    "padded": gzip.compress(CONTENT) + b"\0" * 1000,
    "zstd": pa.compress(CONTENT, "zstd", asbytes=True),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [977, 100_000, 1 << 20])
def test_what_is_read(tmp_path, form, size):
    path = tmp_path / "x.anything"
    path.write_bytes(FORMS[form])
    stream = open_bytes(str(path))
    parts = []
    while part := stream.read(size):
        parts.append(part)
    stream.close()
    assert b"".join(parts) == CONTENT
    assert {len(part) for part in parts[:-1]} <= {size}


@pytest.mark.parametrize("form", FORMS)
def test_skipping(tmp_path, form):
    path = tmp_path / "x"
    path.write_bytes(FORMS[form])
    for at in (0, 1, 299_999, 400_000, 500_000):
        stream = open_bytes(str(path))
        first = stream.read(1) if at else b""
        stream.skip(at - len(first))
        assert stream.read(50) == CONTENT[at : at + 50]
        stream.close()
    stream = open_bytes(str(path))
    with pytest.raises(SourceError, match="is shorter than it was"):
        stream.skip(len(CONTENT) + 1)
    stream.close()


@pytest.mark.parametrize("form", ["gzip", "members", "zstd"])
@pytest.mark.parametrize("left", [0.1, 0.5, 0.99])
def test_a_cut_file_gives_a_prefix_and_then_an_error(tmp_path, form, left):
    path = tmp_path / "x"
    path.write_bytes(FORMS[form][: int(left * len(FORMS[form]))])
    stream = open_bytes(str(path))
    parts = []
    with pytest.raises(SourceError, match="cut off"):
        parts.extend(iter(lambda: stream.read(1000), b""))
    stream.close()
    assert CONTENT.startswith(b"".join(parts))


def test_a_fingerprint_stays_when_a_file_grows(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    was = Fingerprint.of(str(path))
    path.write_bytes(b"abcdef")
    assert Fingerprint.of(str(path)) != was
    assert Fingerprint.of(str(path), length=was.length) == was


def test_memory_is_flat_in_the_number_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "PIECE", 1 << 16)
    monkeypatch.setattr(text, "HEAD_BYTES", 1 << 16)
    line = b",".join([b"0.123456"] * 10) + b"\n"
    path = tmp_path / "x.csv"
    path.write_bytes(b",".join(b"c%d" % i for i in range(10)) + b"\n" + line * 100_000)
    most = [max(pa.total_allocated_bytes() for _ in _first(streams.csv(path), blocks)) for blocks in (5, 98)]
    assert most[1] < most[0] + 500_000  # the numbers alone take 8 MB


def _first(stream, blocks):
    for i, batch in enumerate(stream):
        if i == blocks:
            break
        yield batch


def test_a_position_of_another_stream(tmp_path):
    _, position = next(streams.arrays(np.zeros((3, 2))).read())
    path = tmp_path / "x.csv"
    path.write_text("x,y\n1,0\n2,1\n")
    with pytest.raises(SettingError, match="no position of files or tables"):
        list(streams.csv(path, target="y").read(position))


def test_positions_in_compressed_files(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "PIECE", 300)
    rows = "".join(f"{i},{i % 2}\n" for i in range(500)).encode()
    for name, data in (
        ("x.csv.gz", gzip.compress(b"x,y\n" + rows)),
        ("x.csv.zst", pa.compress(b"x,y\n" + rows, "zstd", asbytes=True)),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        found = list(streams.csv(path, target="y", block=64).read())
        for _, position in found:
            kept = state.decode(state.encode(position))
            rest = [
                v for batch, _ in streams.csv(path, target="y", block=64).read(kept) for v in batch.x["x"].to_pylist()
            ]
            assert rest == list(range(position["rows"], 500))
