"""What a source holds: a kind for every column, found in a head of fixed size and then kept.

The head is the first 10,000 rows (of a text file: of its first MiB). It does not depend on the block size, so the
schema does not either.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from retain import buffers
from retain.blocks import schema_from_state, schema_to_state
from retain.core import Column, Kind, Schema, State
from retain.errors import SchemaError, SettingError

__all__ = [
    "ARROW",
    "HEAD_BYTES",
    "HEAD_ROWS",
    "MISSING",
    "NO_LABEL",
    "Head",
    "Layout",
    "Roles",
    "check_columns",
    "check_ignored",
    "infer",
    "is_number",
    "no_column",
]

HEAD_ROWS = 10_000
HEAD_BYTES = 1 << 20
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-NaN", "-nan", "null", "NULL", "Null", "None", "none", "?")
"""What stands for a missing number or time in text. A missing category or text is an empty field, nothing else."""

NO_LABEL = ("", "NA", "NaN", "nan", "null", "NULL", "?")
_MAX_CLASSES = 20  # whole numbers with more distinct values are taken for a quantity
_ENOUGH = 200  # labels, to tell ids from classes: most of these values come once
_MOST = 0.9  # a column is what nine in ten of its values are; the others are bad rows
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?(?P<zone>Z|[+-]\d\d(:?\d\d)?)?)?")
_BOOL = frozenset(("true", "false"))

ARROW: Mapping[str, pa.DataType] = {
    "float64": pa.float64(),
    "float32": pa.float32(),
    "int64": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "timestamp": pa.timestamp("us"),
    "zoned": pa.timestamp("us", "UTC"),
    "seconds": pa.float64(),  # since the epoch; a column of times
    "whole": pa.float64(),  # a target of whole numbers that are classes
}
"""How the values of a column are stored while they are read, by the name that a `Layout` gives."""


@dataclass(frozen=True, slots=True)
class Roles:
    """What the caller says of the columns; whatever is not said is inferred."""

    target: str | None = None
    time: str | None = None
    label_time: str | None = None
    key: str | None = None
    id: str | None = None
    weight: str | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    task: str | None = None
    missing: tuple[str, ...] = ()

    @property
    def named(self) -> dict[str, str]:
        """Role to column, of the roles that are given."""
        roles = ("target", "time", "label_time", "key", "id", "weight")
        return {role: name for role in roles if (name := getattr(self, role)) is not None}

    @staticmethod
    def of(
        *,
        target: str | None,
        time: str | None,
        label_time: str | None,
        key: str | None,
        id: str | None,  # noqa: A002 - the field's name
        weight: str | None,
        kinds: Mapping[str, Kind] | None,
        ignore: Sequence[str],
        task: str | None,
        missing: Sequence[str] = (),
    ) -> Roles:
        """Check what a caller says. Raises SettingError for kinds and tasks that do not exist."""
        if task not in (None, "classification", "regression"):
            raise SettingError(
                f"task={task!r}; expected 'classification' or 'regression', or nothing: the target tells"
            )
        known: dict[str, Kind] = {}
        for name, kind in (kinds or {}).items():
            try:
                known[name] = Kind(kind)
            except ValueError as error:
                raise SettingError(
                    f"kinds[{name!r}] is {kind!r}; expected one of {', '.join(k.value for k in Kind)}"
                ) from error
        if isinstance(ignore, str):
            raise SettingError(f"ignore={ignore!r} is one string; expected a list of names: ignore=[{ignore!r}]")
        roles = Roles(target, time, label_time, key, id, weight, known, tuple(ignore), task, tuple(missing))
        taken = [roles.target, roles.label_time, roles.id, roles.weight]
        for name in taken:
            if name is not None and (taken.count(name) > 1 or name in (time, key)):
                raise SettingError(
                    f"column {name!r} has two roles; expected one: target, label_time, id or weight alone"
                )
        return roles


@dataclass(frozen=True, slots=True)
class Head:
    """The first rows of a source, unconverted."""

    table: pa.Table
    source: str  # for messages: the file, or "the table"
    text: bool  # all columns are strings as they stand in a text file


@dataclass(frozen=True, slots=True)
class Layout:
    """The schema of a source, how each of its columns is stored while being read, and what stands for 'missing'."""

    schema: Schema
    types: Mapping[str, str]  # column to name in ARROW, in the order of the source; only columns that are read
    missing: tuple[str, ...] = ()  # besides MISSING
    text: bool = False  # empty strings are missing
    empty: tuple[str, ...] = ()  # columns without a single value in the head, nothing being said of them

    @property
    def ignored(self) -> frozenset[str]:
        return frozenset(c.name for c in self.schema.columns if c.kind is Kind.IGNORED)

    def to_state(self) -> dict[str, Any]:
        return {
            "schema": schema_to_state(self.schema),
            "types": [[name, kind] for name, kind in self.types.items()],
            "missing": list(self.missing),
            "text": self.text,
        }

    @staticmethod
    def from_state(state: State) -> Layout:
        schema = schema_from_state(state["schema"])
        types = {str(name): str(kind) for name, kind in state["types"]}
        return Layout(schema, types, tuple(state["missing"]), bool(state["text"]))


def infer(head: Head, roles: Roles, /) -> Layout:
    """The layout of a source, from its head and what the caller says.

    A column of text is NUMERIC where at least nine in ten of its values are numbers (or all are true/false), TIME
    where as many are ISO 8601 dates or times, TEXT where the values have three words or more on average and more than
    a fifth of them are distinct, and CATEGORICAL otherwise. Columns that have a type follow it; their strings are
    judged in the same way, except that they are never numbers. A target of strings, booleans or at most 20 distinct
    whole numbers is a class, sorted; any other is a number. Strings are refused that are times, or ids: of 200 labels
    or more, more than half are distinct. To say the task is to insist.

    Raises SchemaError for a role, kind or target that the columns do not bear out.
    """
    names = head.table.schema.names
    for role, name in roles.named.items():
        if name not in names:
            raise no_column(name, names, f"{role} in {head.source}")
    for name in roles.kinds:
        if name not in names:
            raise no_column(name, names, f"kinds of {head.source}")
    types: dict[str, str] = {}
    columns: list[Column] = []
    empty: list[str] = []
    for name in names:
        values = head.table.column(name).combine_chunks()
        role = next((role for role, column in roles.named.items() if column == name), None)
        if role in ("target", "label_time", "id", "weight"):
            types[name] = "" if role == "target" else _role_type(values, role, name, head, roles)
            continue
        if name in roles.ignore:
            kind, storage = Kind.IGNORED, None
        else:
            kind, storage = _kind(values, name, head, roles)
            if storage is None and kind is None:
                empty.append(name)
        if role == "key" and name not in roles.kinds:
            types[name] = _role_type(values, role, name, head, roles)
            continue
        if role is not None and storage is None:
            storage = _role_type(values, role, name, head, roles)
        if role == "time" and kind not in (Kind.TIME, Kind.NUMERIC, Kind.IGNORED):
            raise SchemaError(_not_time(head, name, values))
        columns.append(Column(name, kind or Kind.IGNORED))
        if storage is not None:
            types[name] = storage
    gone = [Column(name, Kind.IGNORED) for name in roles.ignore if name not in names]  # may appear in a later file
    classes: tuple[str, ...] | None = None
    if roles.target is not None:
        types[roles.target], classes = _target(
            head.table.column(roles.target).combine_chunks(), roles.target, head, roles
        )
    schema = Schema(
        (*columns, *gone), roles.target, classes, roles.time, roles.label_time, roles.key, roles.id, roles.weight
    )
    return Layout(schema, types, roles.missing, head.text, tuple(empty))


def no_column(name: str, names: Sequence[str], what: str) -> SchemaError:
    """The error for a name that is no column, with the columns there are."""
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    shown = ", ".join(names[:40]) + (f", ... ({len(names)} in all)" if len(names) > 40 else "")
    return SchemaError(f"there is no column {name!r} ({what}); {hint}the columns are: {shown}")


def check_ignored(ignore: Sequence[str], head: Head, columns: Callable[[], Sequence[str] | None], /) -> None:
    """Whether what is to be left out is there: a misspelt name would let its column be learnt.

    `columns` tells those of all files, or None where any row may bring a new one: then a name is only refused that is
    nearly that of a column which is not left out.
    """
    names = head.table.column_names
    absent = [name for name in ignore if name not in names]
    there = columns() if absent else None
    for name in absent:
        learnt = [column for column in names if column not in ignore]
        if difflib.get_close_matches(name, learnt, n=1) if there is None else name not in there:
            raise no_column(name, there or learnt, f"ignore in {head.source}")


def check_columns(name: str, columns: Sequence[str], layout: Layout, ignore: Sequence[str], /) -> None:
    """Whether a file has the columns that were there when the schema was inferred, and no others."""
    gone = [column for column in layout.types if column not in columns]
    if gone:
        raise SchemaError(
            f"column {gone[0]!r} has vanished from {name}, though the source had it before; "
            f"put it back, or start anew with ignore=[{gone[0]!r}] ({no_column(gone[0], columns, name)})"
        )
    new = [c for c in columns if c not in layout.types and c not in layout.ignored and c not in ignore]
    if new:
        raise SchemaError(
            f"{name} has a column {new[0]!r} that the source did not have before; leave it out with ignore=[{new[0]!r}]"
        )


def _kind(values: pa.Array, name: str, head: Head, roles: Roles) -> tuple[Kind | None, str | None]:
    """Kind and storage of a feature column; (None, None) where there is no value and nothing is said."""
    said = roles.kinds.get(name)
    if said is Kind.IGNORED:
        return said, None
    kind, storage = _text_kind(values, roles, text=head.text) if _is_string(values.type) else _typed_kind(values.type)
    if kind is None and said is None:
        if storage is not None:
            raise SchemaError(
                f"column {name!r} of {head.source} holds {values.type}; expected numbers, strings or times: "
                f"leave it out with ignore=[{name!r}]"
            )
        return None, None
    if said is None or said is kind:
        return kind, storage
    if said is Kind.NUMERIC:
        return said, "float64"
    if said is Kind.TIME:
        numbers = kind is Kind.NUMERIC and storage != "bool"
        return said, "seconds" if numbers else "timestamp"
    return said, "dictionary" if storage == "dictionary" else "string"


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _typed_kind(kind: pa.DataType) -> tuple[Kind | None, str | None]:
    """Of a column that is not made of strings: its type tells. (None, type) is one we cannot use."""
    is_ = pa.types
    if is_.is_null(kind):
        return None, None
    if is_.is_boolean(kind):
        return Kind.NUMERIC, "bool"
    if is_.is_float32(kind) or is_.is_float16(kind):
        return Kind.NUMERIC, "float32"
    if is_.is_floating(kind) or is_.is_integer(kind) or is_.is_decimal(kind):
        return Kind.NUMERIC, "float64"
    if is_.is_timestamp(kind) or is_.is_date(kind):
        return Kind.TIME, "timestamp"
    if is_.is_dictionary(kind) and _is_string(kind.value_type):
        return Kind.CATEGORICAL, "dictionary"
    return None, str(kind)


def _text_kind(values: pa.Array, roles: Roles, *, text: bool) -> tuple[Kind | None, str | None]:
    """Of a column of strings: what its values look like. (None, None) where there are none.

    Where the source has types (not `text`), numbers in quotes were meant to be strings: postcodes, account numbers.
    """
    if text and _all_numbers(values, roles.missing):
        return Kind.NUMERIC, "float64"
    counted = _counted(values, (*MISSING, *roles.missing))
    total = sum(counted.values())
    if total == 0:
        return None, None
    numbers = sum(n for value, n in counted.items() if is_number(value))
    if text and numbers >= _MOST * total:
        return Kind.NUMERIC, "float64"
    if text and all(value.lower() in _BOOL or value in "01" for value in counted):
        return Kind.NUMERIC, "bool"
    times = zoned = 0
    for value, n in counted.items():
        match = _TIME.fullmatch(value)
        if match:
            times += n
            zoned += n if match["zone"] else 0
    if times >= _MOST * total:
        return Kind.TIME, "zoned" if 2 * zoned > times else "timestamp"
    words = sum(n * (1 + value.strip().count(" ")) for value, n in counted.items())
    is_text = words >= 3 * total and len(counted) > 0.2 * total
    return (Kind.TEXT if is_text else Kind.CATEGORICAL), "string"


def _all_numbers(values: pa.Array, missing: Sequence[str]) -> bool:
    """The common case, in a hundredth of the time that counting values takes."""
    values = pc.utf8_trim_whitespace(values.drop_null())
    there = values.filter(pc.invert(pc.is_in(values, value_set=buffers.text([*MISSING, *missing]))))
    try:
        return len(there.cast(pa.float64())) > 0
    except pa.ArrowInvalid:
        return False


def _counted(values: pa.Array, missing: Sequence[str]) -> dict[str, int]:
    """How often each value is there, without those that are missing; spaces around a value are not part of it."""
    counts: dict[str, int] = {}
    for entry in pc.value_counts(values.cast(pa.string())).to_pylist():
        value = entry["values"]
        if value is not None and (value := value.strip()) not in missing:
            counts[value] = counts.get(value, 0) + int(entry["counts"])
    return counts


def is_number(value: str, /) -> bool:
    """Whether text is a number, as Python reads it."""
    try:
        float(value)
    except ValueError:
        return False
    return "_" not in value


def _role_type(values: pa.Array, role: str, name: str, head: Head, roles: Roles) -> str:
    """Storage of a column that is no feature."""
    kind, storage = _text_kind(values, roles, text=head.text) if _is_string(values.type) else _typed_kind(values.type)
    if role in ("key", "id"):
        whole = pa.types.is_integer(values.type) and values.null_count == 0
        return "int64" if whole else "string"
    if role == "weight":
        if kind not in (Kind.NUMERIC, None):
            raise SchemaError(f"weight column {name!r} of {head.source} is {kind.value}; expected numbers >= 0")
        return "float64"
    if kind is Kind.TIME and storage is not None:
        return storage
    if kind in (Kind.NUMERIC, None) and storage != "bool":
        return "float64"
    raise SchemaError(_not_time(head, name, values))


def _not_time(head: Head, name: str, values: pa.Array) -> str:
    example = next((value for value in values.to_pylist() if value not in (None, "")), None)
    return (
        f"column {name!r} of {head.source} holds {example!r} where a time is needed; expected ISO 8601 "
        "(2013-01-31 or 2013-01-31T23:59:00Z) or numbers: rewrite the column"
    )


def _check_classes(values: pa.Array, labels: Mapping[str, int], name: str, head: Head, roles: Roles) -> None:
    """Whether strings come again, as classes do: with every value a class, a learner grows until nothing moves."""
    total, cure = sum(labels.values()), "choose another target, or insist with task='classification'"
    if _is_string(values.type) and _text_kind(values, roles, text=head.text)[0] is Kind.TIME:
        raise SchemaError(
            f"target {name!r} of {head.source} holds times such as {next(iter(labels))!r}; expected classes or "
            f"numbers: {cure}"
        )
    if total >= _ENOUGH and 2 * len(labels) > total:
        raise SchemaError(
            f"target {name!r} of {head.source} has {len(labels):,} values in {total:,} rows: is it an id? Expected "
            f"classes or numbers: {cure}"
        )


def _target(values: pa.Array, name: str, head: Head, roles: Roles) -> tuple[str, tuple[str, ...] | None]:
    """Storage of the target, and its classes: sorted, as numbers where all are; None where it is a number."""
    said = roles.kinds.get(name)
    if said not in (None, Kind.CATEGORICAL, Kind.NUMERIC):
        raise SchemaError(f"kinds says that the target {name!r} is {said.value}; expected categorical or numeric")
    task = roles.task or {None: None, Kind.CATEGORICAL: "classification", Kind.NUMERIC: "regression"}[said]
    is_string = _is_string(values.type) or pa.types.is_dictionary(values.type)
    if is_string:
        labels = _counted(values, (*NO_LABEL, *roles.missing) if head.text else ())
        numbers = sum(n for label, n in labels.items() if is_number(label))
        quantity = bool(labels) and head.text and numbers >= _MOST * sum(labels.values())
        found = [float(v) for v in labels if is_number(v)] if quantity else []
    else:
        kind, _ = _typed_kind(values.type)
        if kind is not Kind.NUMERIC and not pa.types.is_null(values.type):
            raise SchemaError(
                f"target {name!r} of {head.source} holds {values.type}; expected classes or numbers: choose another"
            )
        quantity = not pa.types.is_boolean(values.type)
        distinct = [v for v in pc.unique(values).to_pylist() if v is not None and v == v]  # not NaN
        found = [float(v) for v in distinct] if quantity else []
        labels = {} if quantity else {str(v).lower(): 1 for v in distinct}
    if task is None and is_string and not quantity:
        _check_classes(values, labels, name, head, roles)
    if not labels and not found:
        if task == "regression":
            return "float64", None
        if task == "classification":
            return "string", ()
        raise SchemaError(
            f"target {name!r} of {head.source} has no label in the first {len(values)} rows; "
            "choose another target, or say task='classification' or task='regression'"
        )
    if task == "regression":
        if not quantity:
            raise SchemaError(
                f"target {name!r} of {head.source} holds {next(iter(labels))!r}; task='regression' needs numbers"
            )
        return "float64", None
    whole = quantity and all(v == v // 1 and abs(v) < 2**53 for v in found)
    if whole and said is None and (task == "classification" or len(set(found)) <= _MAX_CLASSES):
        return "whole", tuple(str(v) for v in sorted({int(v) for v in found}))
    if quantity and task is None:
        return "float64", None
    # What the caller calls classes, be it numbers: each spelling is one.
    spelt = list(labels) or pc.unique(values.drop_null()).cast(pa.string()).to_pylist()
    return "string", tuple(sorted(spelt, key=lambda v: (float(v), v)) if all(map(is_number, spelt)) else sorted(spelt))
