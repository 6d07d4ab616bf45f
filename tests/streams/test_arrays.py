"""Arrays in memory: views, labels of every type, scikit-learn's bunches."""

import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets

from retain import streams
from retain.core import CSR
from retain.errors import PoisonError, SettingError, SourceError

X = np.arange(12.0).reshape(4, 3)


def test_blocks_are_views():
    for batch in streams.arrays(X, np.arange(4), block=3):
        assert np.shares_memory(batch.x, X)


@pytest.mark.parametrize(
    ("y", "task", "classes", "codes"),
    [
        ([0, 2, -1, 1], None, ("0", "1", "2"), [0, 2, -1, 1]),
        ([True, False, True, True], None, ("false", "true"), [1, 0, 1, 1]),
        (["b", "a", "b", "c"], None, ("a", "b", "c"), [1, 0, 1, 2]),
        (np.array(["b", None, "b", "a"], dtype=object), None, ("a", "b"), [1, -1, 1, 0]),
        ([-1, 1, 1, -1], "classification", ("-1", "1"), [0, 1, 1, 0]),
        ([0.5, 1.0, np.nan, 2.0], None, None, [0.5, 1.0, np.nan, 2.0]),
        ([0.5, 1.0, np.nan, 0.5], "classification", ("0.5", "1.0"), [0, 1, -1, 0]),
        ([0, 1, 2, 3], "regression", None, [0.0, 1.0, 2.0, 3.0]),
    ],
)
def test_labels(y, task, classes, codes):
    stream = streams.arrays(X, np.asarray(y), task=task)
    (batch,) = stream
    assert stream.schema().classes == classes
    np.testing.assert_array_equal(batch.y, codes)
    assert batch.y.dtype == (np.float64 if classes is None else np.int64)


def test_sparse_rows():
    matrix = sparse.random(6, 9, density=0.4, random_state=0, format="coo")
    rows = [batch.x for batch in streams.arrays(matrix, block=4)]
    assert all(isinstance(part, CSR) for part in rows)
    dense = np.zeros((6, 9), dtype=np.float32)
    for start, part in zip((0, 4), rows, strict=True):
        for i in range(len(part)):
            entries = slice(part.indptr[i], part.indptr[i + 1])
            dense[start + i, part.indices[entries]] = part.values[entries]
    np.testing.assert_array_equal(dense, matrix.toarray().astype(np.float32))


def test_every_field():
    batch = next(
        iter(
            streams.arrays(
                X,
                np.zeros((4, 2)),
                weight=[1, 2, 3, 4],
                time=np.array(["2013-01-01", "NaT", "1970-01-01", "1970-01-02"], dtype="datetime64[D]"),
                label_time=[1, np.nan, 2, 3],
                key=["a", "b", "a", "b"],
                id=np.arange(4, dtype=np.int32),
                experience=[0, 0, 1, 1],
                names=["p", "q", "r"],
            )
        )
    )
    np.testing.assert_array_equal(batch.time, [1356998400.0, np.nan, 0.0, 86400.0])
    assert batch.y.shape == (4, 2)
    assert batch.key.tolist() == ["a", "b", "a", "b"]
    assert (batch.id.dtype, batch.task.dtype, batch.weight.dtype) == (np.int64, np.int64, np.float64)
    assert batch.schema.names == ("p", "q", "r")


@pytest.mark.parametrize(
    ("args", "options", "error", "match"),
    [
        ((X, [0, 1]), {}, SettingError, "x has 4 rows and y has 2"),
        ((X,), {"weight": [1, 2]}, SettingError, "weight has 2"),
        ((X,), {"weight": [1, 2, -3, 1]}, PoisonError, "the weight of row 2 is -3.0"),
        ((X[:0],), {}, SourceError, "no rows"),
        ((X[0],), {}, PoisonError, r"shape \(3,\)"),
        ((X.astype(str),), {}, PoisonError, "see streams.table"),
        ((X, [-1, 1, 1, -1]), {}, SettingError, "y holds -1"),
        ((X, [-5, 1, 1, -1]), {}, SettingError, "y holds -5"),
        ((X, list("abca")), {"task": "regression"}, PoisonError, "needs numbers"),
        ((X, [0, 1, 2, 0]), {"classes": ["a", "b"]}, SettingError, "the code 2 and there are 2 classes"),
        ((X,), {"names": ["a"]}, SettingError, "1 names for 3 columns"),
        ((X,), {"block": 0}, SettingError, "block=0"),
        ((X,), {"task": "ranking"}, SettingError, "task='ranking'"),
        ((X,), {"key": [0.5] * 4}, PoisonError, "key has the type float64"),
        ((X, np.zeros((4, 2), int)), {}, PoisonError, "one class code for each row"),
    ],
)
def test_what_is_refused(args, options, error, match):
    with pytest.raises(error, match=match):
        streams.arrays(*args, **options)


def test_a_position_of_other_arrays():
    _, position = next(streams.arrays(X).read())
    with pytest.raises(SourceError, match="row 4 of arrays with 2"):
        list(streams.arrays(X[:2]).read(position))


def test_bunches():
    iris = streams.bunch(datasets.load_iris(), block=100)
    assert iris.schema().classes == ("setosa", "versicolor", "virginica")
    assert iris.schema().names[0] == "sepal length (cm)"
    assert sum(map(len, iris)) == 150
    assert streams.bunch(datasets.load_diabetes()).schema().classes is None
    assert len(streams.bunch(datasets.load_digits()).schema().classes) == 10
    frame = streams.bunch(datasets.load_iris(as_frame=True))
    assert frame.schema().classes == ("setosa", "versicolor", "virginica")
    assert next(iter(frame)).x.num_columns == 4
    with pytest.raises(SettingError, match="this is no Bunch"):
        streams.bunch({"data": X})
