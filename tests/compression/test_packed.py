"""The file of a table: what goes in comes out, damage is told, and its description is enough to read it by."""

import hashlib
import json
import struct
import zlib

import numpy as np
import pytest

from retain.compression.packed import packed, unpacked
from retain.errors import StateError
from retain.scores import Scores


def sparse(k=3, d=5000, share=0.02, **given):
    rng = np.random.default_rng(0)
    weights = np.where(rng.random((k, d)) < share, rng.normal(size=(k, d)), 0.0)
    return Scores(weights.astype(np.float32).astype(float), np.arange(k) / 4, **{"link": "rest", **given})


def same(a, b):
    for name in ("weights", "bias", "low", "high"):
        mine, theirs = getattr(a, name), getattr(b, name)
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            np.testing.assert_array_equal(mine, theirs)
    assert (a.link, a.flat) == (b.link, b.flat)


def test_in_float32_it_is_what_it_was():
    scores = sparse(low=np.array([-np.inf, 0, 1]), high=np.array([5.0, np.inf, 2]), reach=np.arange(5000.0))
    again, numbers = unpacked(packed(scores, "float32"))
    same(again, scores)
    assert numbers == "float32"
    used = scores.weights.any(axis=0)
    np.testing.assert_array_equal(again.reach, np.where(used, scores.reach, np.inf))
    flat = sparse(1, link="numbers", flat=True)
    same(unpacked(packed(flat, "float32"))[0], flat)


@pytest.mark.parametrize("empty", [Scores(np.zeros((2, 0)), np.ones(2), "softmax"), sparse(share=0.0)])
def test_nothing_at_all(empty):
    for numbers in ("int8", "float16", "float32"):
        same(unpacked(packed(empty, numbers))[0], empty)


def test_shorter_numbers_are_near_and_small():
    scores = sparse(d=50_000)
    sizes = {}
    for numbers, bound in (("int8", 0.5 / 127), ("float16", 2.0**-11)):
        data = packed(scores, numbers)
        again, _ = unpacked(data)
        step = np.abs(scores.weights).max(axis=1, keepdims=True) if numbers == "int8" else np.abs(scores.weights)
        assert (np.abs(again.weights - scores.weights) <= 1.001 * bound * step + 3e-8).all()
        sizes[numbers] = len(data)
    count = np.count_nonzero(scores.weights)
    assert sizes["int8"] < 2.2 * count  # a byte for a weight, and about one for where it is
    assert sizes["float16"] < 3.2 * count
    huge = Scores(np.array([[1e6, 1.0]]), np.zeros(1), "odds")
    assert unpacked(packed(huge, "float16"))[0].weights.tolist() == [[65504.0, 1.0]]


def test_what_rounds_to_0_is_left_out():
    scores = Scores(np.array([[1.0, 0.001, 0.0, -1.0]]), np.zeros(1), "odds")
    assert _told(packed(scores, "int8"))["entries"] == [2]
    assert _told(packed(scores, "float32"))["entries"] == [3]


def _told(data):
    whole = zlib.decompress(data[44:])
    return json.loads(whole[4 : 4 + struct.unpack("<I", whole[:4])[0]])


@pytest.mark.parametrize("place", [0, 7, 12, 43, 44, 60, -1])
def test_one_flipped_bit_is_told(place):
    data = bytearray(packed(sparse(), "int8"))
    data[place] ^= 4
    with pytest.raises(StateError, match="damaged; compress anew"):
        unpacked(bytes(data))


def test_damage_of_other_kinds():
    data = packed(sparse(), "int8")
    for broken in (b"", data[:20], data[:-1], data + b"x"):
        with pytest.raises(StateError, match="damaged"):
            unpacked(broken)
    with pytest.raises(StateError, match="of version 2, this retain reads 1; update it"):
        unpacked(data[:8] + b"\x02" + data[9:])
    told = zlib.decompress(data[44:]).replace(b'"rest"', b'"resh"')
    body = zlib.compress(told)
    with pytest.raises(StateError, match="link 'resh' that this retain does not know"):
        unpacked(data[:12] + hashlib.sha256(body).digest() + body)
