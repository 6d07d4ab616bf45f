"""`Branches` as an ONNX graph: one operator of ai.onnx.ml that walks all trees.

Shapes: n rows, d features, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from retain.branches import Branches
from retain.compression.graph import library
from retain.core import Array, Ints
from retain.errors import SettingError
from retain.learners.trees.answering import floored

if TYPE_CHECKING:
    import onnx

__all__ = ["constants", "tree_graph"]


def constants(branches: Branches, /) -> dict[str, Array]:
    """What has to be shipped, by name, in float32 and int32."""
    plain = branches.plain()
    return {name: _short(value) for name, value in plain.items() if value.size}


def tree_graph(branches: Branches, /) -> onnx.ModelProto:
    """From rows (n, d) to answers (n, K), NaN among them. Raises SettingError where a leaf says Bayes.

    The operator is TreeEnsembleRegressor with an output for each class: the one for classification treats two classes
    and sums of votes by rules of its own, and puts out labels, too.
    """
    onnx = library()
    says = len(branches.says)
    if says:
        raise SettingError(
            f"{says:,} of {len(branches.shares):,} leaves say what naive Bayes does, which no tree of ONNX can; "
            "compress with rt.compression.MajorityLeaves() first and export that, or choose --to table or numpy"
        )
    d, k = branches.width, branches.classes
    pairs = _pairs(branches)
    before = _NAMED if len(pairs) else "given = Identity(rows)"
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 18, "ai.onnx.ml": 3]>
        retain (float[n, {d}] rows) => (float[n, {k}] answers) {{ {before} {_TOLD} }}"""
    )
    for node in model.graph.node:
        node.name = node.output[0]
    if len(pairs):
        values = {"which": pairs[:, 0], "values": pairs[:, 1].astype(np.float32)}
        values["buckets"] = np.array(branches.nominal, dtype=np.float32)
        for name, value in values.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    trees = onnx.helper.make_node(
        "TreeEnsembleRegressor", ["given"], ["votes"], name="trees", domain="ai.onnx.ml", **_attributes(branches, pairs)
    )
    at = next(i for i, node in enumerate(model.graph.node) if node.output[0] == "votes")
    model.graph.node[at].CopyFrom(trees)
    return model


# A test of a nominal value is one of how far its bucket is from the value, a column behind the others. (The operator
# has tests for equality, of which ONNX Runtime 1.32 merges those in a row, and takes the wrong leaf.)
_NAMED = """
    named = Gather<axis = 1>(rows, which)
    whole = Floor(named)
    part = Mod<fmod = 1>(whole, buckets)
    above = Add(part, buckets)
    bucket = Mod<fmod = 1>(above, buckets)
    off = Sub(bucket, values)
    far = Abs(off)
    given = Concat<axis = 1>(rows, far)"""
_TOLD = """
    votes = Identity(given)
    axis = Constant<value = int64[1] {1}>()
    total = ReduceSum<keepdims = 1>(votes, axis)
    nothing = Constant<value = float {0.0}>()
    some = Greater(total, nothing)
    share = Div(votes, total)
    answers = Where(some, share, votes)"""


def _pairs(branches: Branches) -> Ints:
    """(P, 2) the nominal features and values that are asked for."""
    inner = np.flatnonzero(branches.test >= 0)
    named = inner[branches.place[branches.test[inner]] >= 0]
    pairs = np.stack([branches.test[named], branches.value[named]], axis=1).astype(np.int64)
    return np.unique(pairs, axis=0)


def _attributes(branches: Branches, pairs: Ints) -> dict[str, Any]:
    """As the operator has them: a node is numbered within its tree."""
    inner = branches.test >= 0
    nodes, tree = np.arange(len(branches.test)), branches.tree()
    first = branches.root[tree]
    asked, value = np.where(inner, branches.test, 0), floored(branches.value)
    named = np.flatnonzero(inner & (branches.place[asked] >= 0))
    column = {pair: branches.width + i for i, pair in enumerate(map(tuple, pairs.tolist()))}
    asked[named] = [column[int(f), int(v)] for f, v in zip(asked[named], branches.value[named], strict=True)]
    value[named] = 0.5
    # A leaf's children are not looked at; what is missing goes where a test that holds does, if told so.
    leaves, k = np.flatnonzero(~inner), branches.classes
    votes = branches.trust[tree[leaves], None] * branches.shares[branches.leaf[leaves]]
    return {
        "n_targets": k,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "nodes_treeids": tree.tolist(),
        "nodes_nodeids": (nodes - first).tolist(),
        "nodes_featureids": asked.tolist(),
        "nodes_values": value.tolist(),
        "nodes_modes": np.where(inner, "BRANCH_LEQ", "LEAF").tolist(),
        "nodes_truenodeids": np.where(inner, branches.child[:, 0] - first, 0).tolist(),
        "nodes_falsenodeids": np.where(inner, branches.child[:, 1] - first, 0).tolist(),
        "nodes_missing_value_tracks_true": (inner & (branches.missing == 0)).astype(int).tolist(),
        "target_treeids": np.repeat(tree[leaves], k).tolist(),
        "target_nodeids": np.repeat((nodes - first)[leaves], k).tolist(),
        "target_ids": np.tile(np.arange(k), len(leaves)).tolist(),
        "target_weights": votes.astype(np.float32).reshape(-1).tolist(),
    }


def _short(value: Array) -> Array:
    if value.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return value.astype(np.float32)
    return value if value.dtype.itemsize == 1 else value.astype(np.int32)
