"""Trees as a file: tests, thresholds and leaves, zipped.

The file begins with RETAINT and a zero, is of version 1, and laid out as `retain.compression.sealed` tells.

The text says `features` (d), `classes` (K), `numbers` ("float32", "float16" or "int8"), `nodes` (N), `leaves` (L),
`trees` (T), `bayes` (B: leaves that say what naive Bayes does), `looked` (m: features that such a leaf looks at),
`nominal` (a list of the nominal features) and `values` (V: their buckets). Then there are these arrays:

    test      N       1 + the feature that a node asks for, 0 at a leaf, in one, two or four bytes, the fewest that
                      hold d. Nodes are in an order in which the left child comes next, and the right one behind all
                      that is below the left: so this tells the shape of the trees, which come one after the other
    middle    2 d     float64, not with float32: the middle of the thresholds of each feature, and half of their range
    value     N - L   thresholds of nodes with a test: float32, rounded down; else float16, (t - middle) / half
    named     N - L   of nominal features the bucket is the value: of all nodes, int32, only where any is nominal
    missing   N - L   bits, 1: what is missing goes right; filled up to whole bytes, the highest bit first, as all bits
    says      L       bits, 1: the leaf says what naive Bayes does
    empty     L       bits, 1: the leaf knows of no class
    shares    (L - B) (K - 1)   of leaves that say shares, without the last class, which has the rest: float32,
                      float16, or with int8 unsigned bytes, of 255
    trust     T       float32, by which what a tree says is multiplied

and for leaves that say Bayes, in this order (with int8 as with float16):

    pick      B m     features, as in `test`, without the 1
    middle    2 d     float64: the middle of the means of each feature, and half of their range
    mean      B K m   float32, less the middle; float16, (mean - middle) / half
    narrow    B K m   1 / (2 variance): float32; float16: the binary logarithm, of narrow times half squared
    prior     B K     less the largest of the leaf
    values    B Q V K logarithms of the shares of nominal values

Shapes as in `retain.branches`.
"""

from __future__ import annotations

import numpy as np

from retain.branches import Bayes, Branches
from retain.compression.packed import Numbers
from retain.compression.sealed import Unsealed, sealed
from retain.core import Array, Floats, Ints
from retain.learners.trees.answering import floored, middle

__all__ = ["packed_trees", "unpacked_trees"]

_MAGIC, _VERSION = b"RETAINT\0", 1
_MOST = float(np.finfo(np.float16).max)
_NUMBERS = {"float32": ("<f4", "<f4"), "float16": ("<f2", "<f2"), "int8": ("<f2", "u1")}  # of all else, and of shares


def packed_trees(branches: Branches, numbers: Numbers, /) -> bytes:
    """Trees as a file, in such numbers."""
    kind, of_shares = _NUMBERS[numbers]
    says, inner = branches.says, branches.test >= 0
    plain = branches.bayes < 0
    nominal = np.flatnonzero(branches.place >= 0)
    order = np.argsort(branches.place[nominal])
    told = {
        "features": branches.width,
        "classes": branches.classes,
        "numbers": numbers,
        "nodes": len(branches.test),
        "leaves": len(plain),
        "trees": branches.trees,
        "bayes": len(says),
        "looked": says.pick.shape[1],
        "nominal": nominal[order].tolist(),
        "values": branches.nominal,
    }
    where = _whole(branches.width)
    asked, value = branches.test[inner], branches.value[inner]
    parts: list[Array] = [(branches.test + 1).astype(where)]
    if numbers == "float32":
        parts.append(floored(value).astype("<f4"))
    else:
        at, half = middle(branches, of_means=False)
        parts += [at, half, _short((value - at[asked]) / half[asked])]
    if len(nominal):
        parts.append(np.where(branches.place[asked] >= 0, value, 0).astype("<i4"))
    parts += [np.packbits(branches.missing[inner] > 0), np.packbits(~plain)]
    parts.append(np.packbits(~(branches.shares.sum(axis=1) > 0)))
    shares = branches.shares[plain, :-1]
    parts.append(np.rint(255 * shares).astype(of_shares) if of_shares == "u1" else shares.astype(of_shares))
    parts.append(branches.trust.astype("<f4"))
    if len(says):
        parts += [says.pick.astype(where), *_gaussians(branches, kind)]
    return sealed(_MAGIC, _VERSION, told, parts)


def unpacked_trees(data: bytes, /) -> tuple[Branches, Numbers]:
    """What `packed_trees` put down. Raises StateError for what is damaged, or of a later version."""
    file = Unsealed(data, magic=_MAGIC, version=_VERSION, what="trees")
    told, take = file.told, file.take
    numbers: Numbers = told["numbers"]
    kind, of_shares = _NUMBERS[numbers]
    d, k, n, leaves, count = (told[name] for name in ("features", "classes", "nodes", "leaves", "bayes"))
    place = np.full(d, -1, dtype=np.int32)
    place[told["nominal"]] = np.arange(len(told["nominal"]))
    test = take(n, _whole(d)).astype(np.int32) - 1
    inner = test >= 0
    asked = test[inner]
    value = np.zeros(n)
    if numbers == "float32":
        value[inner] = take(n - leaves, kind)
    else:
        at, half = take(d, "<f8"), take(d, "<f8")
        value[inner] = at[asked] + half[asked] * take(n - leaves, kind).astype(np.float64)
    if told["nominal"]:
        value[inner] = np.where(place[asked] >= 0, take(n - leaves, "<i4"), value[inner])
    missing = np.zeros(n, dtype=np.int8)
    missing[inner] = _bits(file, n - leaves)
    found, empty = _bits(file, leaves) > 0, _bits(file, leaves) > 0
    shares = np.zeros((leaves, k))
    first = take((leaves - count) * (k - 1), of_shares).astype(np.float64).reshape(leaves - count, k - 1)
    shares[~found, :-1] = first / 255 if of_shares == "u1" else first
    shares[:, -1] = np.maximum(1.0 - shares.sum(axis=1), 0.0)
    shares[found | empty] = 0.0
    trust = take(told["trees"], "<f4").astype(np.float64)
    child, root = _shape(test)
    branches = Branches(
        d,
        root,
        trust,
        test,
        value,
        child,
        missing,
        np.where(inner, -1, np.cumsum(~inner) - 1).astype(np.int32),
        shares,
        np.zeros(leaves),
        np.where(found, np.cumsum(found) - 1, -1).astype(np.int32),
        _bayes(file, kind),
        place,
    )
    return branches, numbers


def _gaussians(branches: Branches, kind: str) -> list[Array]:
    """What naive Bayes needs, from the middle on."""
    says = branches.says
    at, half = (one[says.pick][:, None] for one in middle(branches, of_means=True))
    best = says.prior.max(axis=1, keepdims=True)
    parts = list(middle(branches, of_means=True))
    if kind == "<f4":
        most = float(np.finfo(np.float32).max)
        parts += [(says.mean - at).astype(kind), np.minimum(says.narrow, most).astype(kind)]
    else:
        with np.errstate(divide="ignore"):
            logs = np.log2(says.narrow) + 2 * np.log2(half)
        parts += [_short((says.mean - at) / half), np.where(says.narrow > 0, _short(logs), -np.inf).astype(kind)]
    return [*parts, (says.prior - best).astype(kind), says.values.astype(kind)]


def _bayes(file: Unsealed, kind: str) -> Bayes:
    told, take = file.told, file.take
    d, k, count, m, v = (told[name] for name in ("features", "classes", "bayes", "looked", "values"))
    q = len(told["nominal"])
    if not count:
        none = np.zeros((0, k, m))
        return Bayes(np.zeros((0, m), dtype=np.int32), none, none, np.zeros((0, k)), np.zeros((0, q, v, k)))
    pick = take(count * m, _whole(d)).astype(np.int32).reshape(count, m)
    at, half = (take(d, "<f8")[pick][:, None] for _ in range(2))
    mean, narrow = (take(count * k * m, kind).astype(np.float64).reshape(count, k, m) for _ in range(2))
    if kind == "<f4":
        mean = at + mean
    else:
        mean, narrow = at + half * mean, np.exp2(narrow) / half**2
    prior = take(count * k, kind).astype(np.float64).reshape(count, k)
    values = take(count * q * v * k, kind).astype(np.float64).reshape(count, q, v, k)
    return Bayes(pick, mean, narrow, prior, values)


def _shape(test: Ints) -> tuple[Ints, Ints]:
    """The children of nodes (N, 2), and the roots (T,).

    The left child is the next node, the right one comes when all below the left has come.
    """
    child, root = np.zeros((len(test), 2), dtype=np.int32), list[int]()
    waiting = list[int]()  # nodes whose right child has not come
    begins = True
    for node, feature in enumerate(test.tolist()):
        if begins:
            root.append(node)
            begins = False
        if feature >= 0:
            child[node, 0] = node + 1
            waiting.append(node)
        elif waiting:
            child[waiting.pop(), 1] = node + 1
        else:
            begins = True
    return child, np.array(root, dtype=np.int32)


def _bits(file: Unsealed, count: int) -> Array:
    return np.unpackbits(file.take(-(-count // 8), "u1"), count=count)


def _short(values: Floats) -> Array:
    return np.clip(values, -_MOST, _MOST).astype("<f2")


def _whole(width: int) -> str:
    """The shortest kind of numbers that hold the features and one more."""
    return "u1" if width < 1 << 8 else "<u2" if width < 1 << 16 else "<u4"
