"""Every stream of files, tables and arrays through the laws: blocks change nothing, positions resume, twice too."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from retain import streams, testing
from retain.core import CSR

ROWS = 57
ROLES = {"target": "fraud", "time": "at", "label_time": "known", "key": "card", "id": "number", "weight": "weight"}


def payments(rows: int = ROWS, seed: int = 5) -> pa.Table:
    """A table with every kind of column and role, missing values, and a class that comes late."""
    rng = np.random.default_rng(seed)
    at = 1_357_000_000 + np.cumsum(rng.integers(1, 9000, size=rows))
    words = ["paid in cash", 'a "gift", they said', "two\nlines", "by card, abroad", "no note here at all"]
    label = rng.choice(["no", "yes"], size=rows)
    label[rows * 2 // 3] = "perhaps"
    return pa.table(
        {
            "amount": pa.array(rng.normal(50, 10, rows).round(3), mask=rng.random(rows) < 0.1),
            "count": pa.array(rng.integers(0, 9, rows)),
            "abroad": pa.array(rng.random(rows) < 0.5),
            "country": pa.array(rng.choice(["DE", "FR", "NA"], size=rows), mask=rng.random(rows) < 0.1),
            "note": pa.array([f"{rng.choice(words)} {i}" for i in range(rows)]),
            "at": pa.array(at.astype("datetime64[s]")).cast(pa.timestamp("us")),
            "known": pa.array((at + 5000).astype("datetime64[s]"), mask=rng.random(rows) < 0.2).cast(
                pa.timestamp("us")
            ),
            "card": pa.array([f"card {i}" for i in rng.integers(0, 5, rows)]),
            "number": pa.array(np.arange(rows) + 1000),
            "weight": pa.array(rng.uniform(0.5, 2, rows).round(3)),
            "fraud": pa.array(label, mask=rng.random(rows) < 0.1),
        }
    )


def write(table: pa.Table, folder, kind: str) -> str:
    """Two files each, the second with its columns in another order where names tell them."""
    for i, part in enumerate((table.slice(0, 23), table.slice(23).select(table.column_names[::-1]))):
        if kind in ("csv", "csv.gz", "csv.zst"):
            with pa.output_stream(str(folder / f"{i}.{kind}"), compression="detect") as sink:
                csv.write_csv(part, sink)
        elif kind == "parquet":
            parquet.write_table(part, folder / f"{i}.parquet", row_group_size=7)
        elif kind == "jsonl":
            lines = [
                json.dumps({k: v for k, v in row.items() if v is not None}, default=str) for row in part.to_pylist()
            ]
            (folder / f"{i}.jsonl").write_text("\n".join(lines))
        else:
            new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
            with new(str(folder / f"{i}.{kind}"), part.schema) as writer:
                writer.write_table(part, max_chunksize=5)
            if kind == "ipc":
                data = (folder / f"{i}.ipc").read_bytes()
                (folder / f"{i}.ipc").write_bytes(gzip.compress(data))
    return str(folder / f"*.{kind}")


READERS = {
    "csv": streams.csv,
    "csv.gz": streams.csv,
    "csv.zst": streams.csv,
    "jsonl": streams.jsonl,
    "parquet": streams.parquet,
    "arrow": streams.arrow,
    "ipc": streams.arrow,
}


@pytest.mark.parametrize("kind", READERS)
def test_files(kind, tmp_path):
    paths = write(payments(), tmp_path, kind)
    testing.check_stream(lambda block: READERS[kind](paths, **ROLES, block=block), rows=ROWS, tries=5)


def test_tables():
    pandas = payments().to_pandas()
    for data in (payments(), pandas):
        testing.check_stream(lambda block, data=data: streams.table(data, **ROLES, block=block), rows=ROWS, tries=5)


def test_arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3))
    sparse = CSR(np.arange(31), np.arange(30, dtype=np.int32), rng.normal(size=30).astype(np.float32), 40)
    for rows in (x, rng.normal(size=(30, 1, 4, 4)), sparse):
        y = rng.integers(-1, 3, size=30)
        testing.check_stream(
            lambda block, rows=rows, y=y: streams.arrays(
                rows, y, time=np.arange(30), key=list("abc") * 10, block=block
            ),
            rows=30,
            tries=5,
        )


@pytest.mark.parametrize("of_labels", [1, 4, 100])
def test_rows_and_labels_joined(of_labels):
    rng = np.random.default_rng(0)
    time, heard = np.sort(rng.integers(0, 40, 30)), np.sort(rng.integers(0, 50, 25))
    y, ids = rng.integers(0, 3, 25), rng.permutation(30)[:25]
    labels = streams.arrays(np.zeros((25, 1)), y, time=heard, id=ids, block=of_labels)
    rows = rng.normal(size=(30, 2))

    def make(block):
        return streams.join(streams.arrays(rows, time=time, id=np.arange(30), block=block), labels)

    testing.check_stream(make, rows=30)
    for block in (1, 7, 30):  # what is heard is heard once, in order, and before the last row of its block
        blocks = list(make(block))
        told = np.concatenate([batch.answers.id for batch in blocks])
        assert told.tolist() == ids[heard < time.max()].tolist()
        assert all((batch.answers.time < batch.time.max()).all() for batch in blocks)


def test_csv_with_refused_rows(tmp_path):
    lines = ["x,y"] + [f"{i},{i % 2}" if i % 7 else ("bad,1" if i % 2 else "1,2,3") for i in range(50)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    testing.check_stream(
        lambda block: streams.csv(tmp_path / "a.csv", target="y", block=block, on_bad_rows=streams.Skip()), rows=100
    )
