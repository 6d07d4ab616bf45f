"""What the linear benchmarks run, each in a process of its own, on rows that lie in a folder.

    python contenders.py FOLDER NAME

A contender learns all rows in blocks of 1,000, keeps every prediction it made before learning a row, and prints one
JSON object: the CPU-seconds of the loop (start-up, loading and compiling not counted) and how right it was.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

BLOCK = 1000
FLAGS = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]


class Rows:
    """The rows of a folder, dense (X) or sparse (indptr, indices, values), and their labels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.y = np.load(folder / "y.npy")
        self.sparse = not (folder / "X.npy").exists()
        if self.sparse:
            self.indptr, self.indices, self.values = (
                np.load(folder / f"{n}.npy") for n in ("indptr", "indices", "values")
            )
            self.width = 1 << 18
        else:
            self.X = np.load(folder / "X.npy")
            self.width = self.X.shape[1]

    def blocks(self) -> Iterator[slice]:
        for start in range(0, len(self.y), BLOCK):
            yield slice(start, min(start + BLOCK, len(self.y)))


def retain(rows: Rows, update: str) -> tuple[float, np.ndarray]:
    import retain as rt

    updates = {"adaptive": rt.Adaptive(), "adaptive, vw's rate": rt.Adaptive(learning_rate=0.5), "plain": rt.SGD()}
    batches = []
    for part in rows.blocks():
        if rows.sparse:
            ends = rows.indptr[part.start : part.stop + 1]
            inside = slice(ends[0], ends[-1])
            x = rt.CSR(ends - ends[0], rows.indices[inside], rows.values[inside], rows.width)
        else:
            x = rows.X[part]
        batches.append(rt.Batch(x, y=rows.y[part]))
    rt.Linear(loss=rt.Logistic(), update=updates[update]).learn(batches[0])  # compiled, or loaded
    learner = rt.Linear(loss=rt.Logistic(), update=updates[update])
    said = np.zeros(len(rows.y))
    start = time.process_time()
    for part, batch in zip(rows.blocks(), batches, strict=True):
        p = learner.learn(batch)
        said[part] = p[:, -1]
    return time.process_time() - start, said


def c_loop(rows: Rows, update: str) -> tuple[float, np.ndarray]:
    library = rows.folder / "linear.so"
    if not library.exists():
        source = Path(__file__).parent / "linear.c"
        subprocess.run(["cc", *FLAGS, "-o", str(library), str(source), "-lm"], check=True)
    code = ctypes.CDLL(str(library))
    n, d = len(rows.y), rows.width
    out, rest, move = np.zeros((n, 2)), np.zeros(4), np.zeros(max(d, 1000))
    state = np.zeros((d, 4))
    w, G, s, inverse = (np.zeros(d) for _ in range(4))
    rate = ctypes.c_double(3.0 if update == "adaptive" else 0.01)

    def at(array: np.ndarray, row: int = 0) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data + row * array.strides[0])

    start = time.process_time()
    for part in rows.blocks():
        i, count = part.start, ctypes.c_int64(part.stop - part.start)
        if rows.sparse:
            head = (at(rows.indptr, i), at(rows.indices), at(rows.values), at(rows.y, i), count)
            if update == "adaptive":
                code.adaptive_sparse(*head, at(state), at(move), at(rest), rate, at(out, i))
            else:
                code.plain_sparse(*head, at(w), at(rest), rate, at(out, i))
        else:
            head = (at(rows.X, i), at(rows.y, i), count, ctypes.c_int64(d))
            if update == "adaptive":
                code.adaptive_dense(*head, at(w), at(G), at(s), at(inverse), at(move), at(rest), rate, at(out, i))
            else:
                code.plain_dense(*head, at(w), at(rest), rate, at(out, i))
    return time.process_time() - start, out[:, 1]


def river(rows: Rows, _: str) -> tuple[float, np.ndarray]:
    """`learn_one` on the first 20,000 rows; told as if for all."""
    from river import linear_model, preprocessing

    few = 20_000
    if rows.sparse:
        inputs = [
            dict(zip(rows.indices[a:b].tolist(), rows.values[a:b].tolist(), strict=True))
            for a, b in zip(rows.indptr[:few], rows.indptr[1 : few + 1], strict=True)
        ]
        model = linear_model.LogisticRegression()
    else:
        inputs = [dict(enumerate(row)) for row in rows.X[:few].tolist()]
        model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    labels = rows.y[:few].astype(bool).tolist()
    said = np.zeros(few)
    start = time.process_time()
    for i, (x, y) in enumerate(zip(inputs, labels, strict=True)):
        said[i] = model.predict_proba_one(x).get(True, 0.5)
        model.learn_one(x, y)
    return (time.process_time() - start) * len(rows.y) / few, said


def scikit_learn(rows: Rows, _: str) -> tuple[float, np.ndarray]:
    """`predict_proba`, then `partial_fit`, of blocks of 1,000: one update of the prediction for each block."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss="log_loss")
    X = csr_matrix((rows.values, rows.indices, rows.indptr), (len(rows.y), rows.width)) if rows.sparse else rows.X
    said = np.zeros(len(rows.y))
    start = time.process_time()
    for i, part in enumerate(rows.blocks()):
        said[part] = model.predict_proba(X[part])[:, 1] if i else 0.5
        model.partial_fit(X[part], rows.y[part], classes=[0, 1])
    return time.process_time() - start, said


CONTENDERS: dict[str, Callable[[Rows, str], tuple[float, np.ndarray]]] = {
    "retain": retain,
    "C loop": c_loop,
    "river": river,
    "scikit-learn": scikit_learn,
}


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    who, _, update = name.partition(", ")
    rows = Rows(folder)
    seconds, said = CONTENDERS[who](rows, update)
    y = rows.y[: len(said)]
    p = np.clip(np.where(y == 1, said, 1 - said), 1e-9, None)
    score = {"cpu": seconds, "accuracy": float(((said > 0.5) == y).mean()), "log_loss": float(-np.log(p).mean())}
    print(json.dumps(score))


if __name__ == "__main__":
    main()
