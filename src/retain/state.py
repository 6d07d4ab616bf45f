"""A `State` as bytes and as files: safetensors for arrays, JSON for the rest, SHA-256 for the name.

Nothing here can execute what it reads: no pickle anywhere. A snapshot is one file whose name holds the hash of its
content, so a torn write and a flipped byte, in the content or in the name, are both seen; one rename makes it visible.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from retain.core import State
from retain.errors import StateError

__all__ = [
    "FORMAT",
    "copy",
    "decode",
    "encode",
    "equal",
    "read_snapshot",
    "snapshots",
    "sync_folder",
    "write_file",
    "write_snapshot",
]

FORMAT = 1
_TENSOR = "$array"  # a JSON leaf {"$array": "000012"} stands for the tensor of that name
_FLOAT = "$float"  # NaN and infinities are not JSON
_STRINGS = "$strings"  # an array of strings (ids, keys)
_SUFFIX = ".safetensors"
_DTYPES = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)


def encode(state: State, /) -> bytes:
    """Write a state as one safetensors file; equal states give equal bytes.

    >>> import numpy as np
    >>> decode(encode({"w": np.arange(3.0), "rows": 7, "inner": {"name": "a"}}))
    {'inner': {'name': 'a'}, 'rows': 7, 'w': array([0., 1., 2.])}

    Raises StateError, naming the entry, for anything that is not an array of numbers, a number, a string, a boolean,
    None, a list of these or a mapping with string keys.
    """
    from safetensors.numpy import save

    tensors: dict[str, np.ndarray[Any, Any]] = {}
    tree = _fold(state, tensors, "state")
    manifest = {"format": FORMAT, "tree": tree}
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return save(tensors, metadata={"retain": text})


def decode(data: bytes, /) -> dict[str, Any]:
    """Read what `encode` wrote. Raises StateError where the bytes are not such a file, or of a newer format."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        manifest = json.loads(header["__metadata__"]["retain"])
        tensors = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError, MemoryError) as error:
        raise StateError(
            f"this is not a state that retain wrote ({error}); expected a safetensors file of ours"
        ) from error
    if manifest["format"] != FORMAT:
        raise StateError(
            f"this state has format {manifest['format']}, this retain reads {FORMAT}; use the retain that wrote it"
        )
    return cast("dict[str, Any]", _unfold(manifest["tree"], tensors))


def copy(state: State, /) -> dict[str, Any]:
    """A deep copy that shares no array with `state`."""
    return {key: _copy(value) for key, value in state.items()}


def equal(a: Any, b: Any, /) -> bool:
    """Whether two states hold the same entries, bit for bit (NaN equals NaN, 0.0 differs from -0.0)."""
    if isinstance(a, dict) and isinstance(b, dict):
        left, right = cast("dict[str, Any]", a), cast("dict[str, Any]", b)
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        pair = cast("tuple[Any, ...]", a), cast("tuple[Any, ...]", b)
        return len(pair[0]) == len(pair[1]) and all(map(equal, *pair))
    return encode({"value": a}) == encode({"value": b})


def write_snapshot(folder: Path, number: int, state: State, /) -> Path:
    """Put a state into `folder` as snapshot `number`, whole or not at all, and durably: it survives a power cut.

    Raises StateError where the folder cannot be written; what was there before stays as it was.
    """
    data = encode(state)
    try:
        # Hashing takes as long as writing to the disk; each leaves the interpreter to the other.
        with ThreadPoolExecutor(max_workers=1) as pool:
            digest = pool.submit(hashlib.sha256, data)
            with _durably(folder / f".{number:012d}.part", data) as temporary:
                path = folder / f"{number:012d}-{digest.result().hexdigest()}{_SUFFIX}"
                temporary.replace(path)
    except OSError as error:
        raise StateError(
            f"cannot write state into {folder}: {error.strerror or error}; free some space or choose another --state"
        ) from error
    return path


def write_file(path: Path, data: bytes, /) -> None:
    """Put bytes into a file, whole or not at all, and durably; its folder is made if need be. Raises OSError."""
    with _durably(path.with_name(f".{path.name}.part"), data) as temporary:
        temporary.replace(path)


@contextmanager
def _durably(temporary: Path, data: bytes) -> Generator[Path]:
    """Bytes in a file, on the disk, for the caller to rename; what was not renamed is removed."""
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
        sync_folder(temporary.parent)
    finally:
        temporary.unlink(missing_ok=True)


def read_snapshot(path: Path, /) -> dict[str, Any]:
    """Read a snapshot and check it against its name. Raises StateError where they disagree."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StateError(f"cannot read the snapshot {path}: {error.strerror or error}") from error
    if path.stem.partition("-")[2] != hashlib.sha256(data).hexdigest():
        raise StateError(f"the snapshot {path} is damaged: its content does not match the SHA-256 in its name")
    return decode(data)


def snapshots(folder: Path, /) -> Iterator[tuple[int, Path]]:
    """Numbers and paths of the snapshots in a folder, newest first; damaged ones too."""
    for path in sorted(folder.glob(f"[0-9]*-*{_SUFFIX}"), reverse=True):
        number = path.name.partition("-")[0]
        if number.isdigit():
            yield int(number), path


def sync_folder(folder: Path, /) -> None:
    """Make the names in a folder durable: without it a rename may be lost in a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fold(value: Any, tensors: dict[str, np.ndarray[Any, Any]], where: str) -> Any:
    """Replace the arrays in a tree by references into `tensors`."""
    if isinstance(value, dict):
        branch = cast("dict[Any, Any]", value)
        for key in branch:
            if not isinstance(key, str) or key.startswith("$"):
                raise StateError(f"{where} has the key {key!r}; expected a string that does not start with '$'")
        # In the order of the keys, so that equal states number their tensors alike and give equal bytes.
        return {key: _fold(branch[key], tensors, f"{where}.{key}") for key in sorted(branch)}
    if isinstance(value, (list, tuple)):
        return [_fold(item, tensors, f"{where}[{i}]") for i, item in enumerate(cast("list[Any]", value))]
    if isinstance(value, bytes):
        value = np.frombuffer(value, dtype=np.uint8)
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        if array.dtype.kind == "U":
            return {_STRINGS: array.tolist()}
        if array.dtype.name not in _DTYPES:
            raise StateError(f"{where} is an array of {array.dtype}; expected numbers or booleans")
        name = f"{len(tensors):06d}"
        # A view saved as it is would carry its whole parent; 0-d arrays keep their shape through reshape.
        tensors[name] = np.ascontiguousarray(array).reshape(array.shape)
        return {_TENSOR: name}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return {_FLOAT: repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise StateError(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}; expected arrays, numbers, strings, lists "
        "and mappings: a part with such an object in its state cannot be saved"
    )


def _unfold(tree: Any, tensors: dict[str, Any]) -> Any:
    if isinstance(tree, dict):
        branch = cast("dict[str, Any]", tree)
        if branch.keys() == {_TENSOR}:
            return tensors[branch[_TENSOR]].copy()  # the loaded bytes are read-only
        if branch.keys() == {_STRINGS}:
            return np.array(branch[_STRINGS], dtype=np.str_)
        if branch.keys() == {_FLOAT}:
            return float(branch[_FLOAT])
        return {key: _unfold(item, tensors) for key, item in branch.items()}
    if isinstance(tree, list):
        return [_unfold(item, tensors) for item in cast("list[Any]", tree)]
    return tree


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return copy(cast("State", value))
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in cast("list[Any]", value)]
    return value.copy() if isinstance(value, np.ndarray) else value
