"""A state written is the state read, and nothing that was damaged or could execute is ever read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from retain import state
from retain.errors import StateError

arrays = hnp.arrays(
    st.sampled_from([np.bool_, np.int8, np.int64, np.uint8, np.float16, np.float32, np.float64]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
leaves = st.one_of(
    arrays,
    st.integers(-(2**130), 2**130),
    st.floats(),
    st.text(),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=3),
)
names = st.text(min_size=1, max_size=5).filter(lambda name: not name.startswith("$"))
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=3), lambda t: st.dictionaries(names, t, max_size=2), max_leaves=5
)


@settings(deadline=None)
@given(tree=trees)
def test_decode_inverts_encode(tree: dict[str, object]) -> None:
    data = state.encode(tree)
    assert state.equal(state.decode(data), tree)
    assert state.encode(state.decode(data)) == data


def test_a_view_does_not_carry_its_parent() -> None:
    parent = np.zeros(1_000_000)
    assert len(state.encode({"view": parent[:2]})) < 1000


def test_equal_sees_signs_shapes_and_dtypes() -> None:
    assert state.equal({"a": np.nan}, {"a": np.nan})
    for other in (-0.0, np.zeros(1), np.float32(0)):
        assert state.equal({"a": 0.0}, {"a": other}) == (
            other is not None and np.shape(other) == () and not np.signbit(other)
        )


@pytest.mark.parametrize("wrong", [object(), {1: 2}, np.array([object()]), {"$array": 1}, {1, 2}])
def test_what_cannot_be_walked_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(StateError, match=r"state\.part"):
        state.encode({"part": wrong})


def test_every_flipped_byte_and_every_truncation_is_seen(tmp_path: Path) -> None:
    path = state.write_snapshot(tmp_path, 3, {"w": np.arange(5.0), "n": 1})
    data = path.read_bytes()
    assert state.equal(state.read_snapshot(path), {"w": np.arange(5.0), "n": 1})
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        with pytest.raises(StateError, match="damaged"):
            state.read_snapshot(path)
        path.write_bytes(data[:i])
        with pytest.raises(StateError, match="damaged"):
            state.read_snapshot(path)


def test_a_renamed_snapshot_is_seen(tmp_path: Path) -> None:
    path = state.write_snapshot(tmp_path, 3, {"n": 1})
    flipped = path.with_name(path.name.replace(path.name[20], "f" if path.name[20] != "f" else "0", 1))
    path.rename(flipped)
    with pytest.raises(StateError, match="damaged"):
        state.read_snapshot(flipped)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    for data in (pickle.dumps(Bomb()), b"", b"PK\x03\x04", b"\xff" * 64):
        with pytest.raises(StateError, match="not a state"):
            state.decode(data)
    assert not (tmp_path / "exploded").exists()


def test_another_format_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "FORMAT", 99)
    data = state.encode({"n": 1})
    monkeypatch.undo()
    with pytest.raises(StateError, match="format 99"):
        state.decode(data)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(StateError, match="choose another --state"):
        state.write_snapshot(blocked / "state", 1, {"n": 1})


def test_the_newest_snapshot_comes_first(tmp_path: Path) -> None:
    for number in (1, 12, 2):
        state.write_snapshot(tmp_path, number, {"n": number})
    (tmp_path / "notes.txt").write_text("not ours")
    assert [number for number, _ in state.snapshots(tmp_path)] == [12, 2, 1]
