"""`retain compress` and `retain export`: a version of a registry made smaller, and as a file for whoever serves it."""

from __future__ import annotations

import io
import json
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import retain as rt
from retain.blocks import take_batch
from retain.cli.catalogue import Entry, find
from retain.cli.pipelines import held
from retain.cli.registry import opened
from retain.compose import learns
from retain.core import Array, Batch, Learner, State, Stream, Version
from retain.errors import SettingError
from retain.registry import FileRegistry
from retain.run import Pipeline

if TYPE_CHECKING:
    from retain.compression import Rung, Step, Within
    from retain.compression.packed import Numbers
    from retain.scores import Scores

__all__ = ["STEPS", "compress_version", "export_version"]

_PASSES = 5  # through the lessons, to learn again what a cut cost


def _distil() -> Step:
    return rt.compression.Distil(passes=_PASSES)


STEPS: Mapping[str, Entry[Callable[[float], Step]]] = {
    "half": Entry("weights kept in sixteen bits", lambda _: rt.compression.Half()),
    "int8": Entry("weights and activations in eight bits", lambda _: rt.compression.Int8()),
    "shrink": Entry(
        "takes units and channels out, and teaches what is left: shrink=.5 takes half",
        lambda share: rt.compression.Shrink(share, recover=_distil()),
    ),
    "low-rank": Entry(
        "layers as products of thinner ones: low-rank=.5 saves half of the work",
        lambda share: rt.compression.LowRank(share, recover=_distil()),
    ),
    "magnitude": Entry(
        "the smallest weights become zero: fewer bytes once zipped, no gain of speed: magnitude=.8",
        lambda share: rt.compression.Magnitude(share, recover=_distil()),
    ),
    "truncate": Entry(
        "the weights of a linear learner that move least become zero: truncate=.5",
        lambda share: rt.compression.Truncate(share),  # noqa: PLW0108 - imported where it is asked for
    ),
    "fewer-bits": Entry(
        "a hashed linear learner has so many bits from then on: fewer-bits=16",
        lambda bits: rt.compression.FewerBits(_whole(bits)),
    ),
    "narrow": Entry(
        "random features that an analytic learner can do without are not computed: narrow=.5",
        lambda share: rt.compression.Narrow(share),  # noqa: PLW0108
    ),
    "majority-leaves": Entry(
        "leaves of trees say shares of classes, recent rows among them, and not what naive Bayes finds",
        lambda _: rt.compression.MajorityLeaves(),
    ),
    "prune-branches": Entry(
        "subtrees that do little for recent rows become leaves: prune-branches=.5 takes half of the leaves",
        lambda share: rt.compression.PruneBranches(share),  # noqa: PLW0108
    ),
    "prune-members": Entry(
        "trees of a forest that the others can do without: prune-members=.5",
        lambda share: rt.compression.PruneMembers(share),  # noqa: PLW0108
    ),
}
_SHARELESS = ("half", "int8", "majority-leaves")
_FORMATS = ("onnx", "onnx-int8", "onnx-half", "table", "table-int8", "table-half", "numpy")
_NUMBERS: Mapping[str, Numbers] = {"": "float32", "half": "float16", "int8": "int8"}  # by what a format ends with
_KINDS = {"graph": "onnx", "table": "table", "trees": "table"}  # what a format begins with, by the form
_BEHIND = "the file begins behind the transforms: give it what they put out\n"
_WITHIN = ("accuracy", "per_class", "forgetting", "faster", "smaller", "confidence")
_LAST = 20_000  # rows of a pipeline's stream that judge where its file names no data


def compress_version(
    folder: Path,
    ref: str,
    /,
    *,
    pipeline: Path | None,
    steps: list[str],
    within: list[str],
    alias: str,
    seconds: float,
    dry: bool,
    as_json: bool,
) -> int:
    """Climb the ladder with a version, keep what came of it as one that descends from it; return the exit code."""
    registry = opened(folder)
    name = registry.name(ref)
    if alias in ("champion", "candidate", "previous"):
        raise SettingError(f"--alias {alias} means a learner; choose a word of its own, such as serving")
    if pipeline is None:
        raise SettingError("a learner's code is not in the registry; name its file: --pipeline FILE.py")
    known, rows = held(pipeline)
    learner = _learner(registry, name, known)
    data = _after(known.stream, registry.version(name)) if rows is None else rows
    budget, chosen = _budget(within), [_step(step) for step in steps]
    artifact = rt.compress(learner, *chosen, data=data, budget=budget, seconds=seconds, told=_tell)
    report = artifact.report
    told: dict[str, Any] = {} if report is None else report.to_dict()
    if not dry:
        why = f"retain compress {ref}"
        kept = registry.push({"artifact": artifact.state_dict()}, parent=name, report={"compression": told}, why=why)
        registry.point(alias, kept.name, why=why)
        told |= {"version": kept.name, "alias": alias}
    if as_json:
        sys.stdout.write(json.dumps(told, default=float) + "\n")
        return 0
    from rich.console import Console

    if report is not None:
        Console().print(report)
    if not dry:
        back = f"retain rollback {folder} --alias {alias}"
        sys.stdout.write(f"{alias} in {folder}: {told['version'][:12]}; back again: {back}\n")
    return 0


def export_version(folder: Path, ref: str, /, *, to: str, output: Path, pipeline: Path | None) -> int:
    """Write a version as a file that runs without `retain`; return the exit code."""
    if to not in _FORMATS:
        raise SettingError(f"--to got {to!r}; expected one of {', '.join(_FORMATS)}")
    registry = opened(folder)
    name = registry.name(ref)
    state = registry.pull(name)
    if "artifact" in state:
        data = _of_artifact(state["artifact"], to)
    elif pipeline is None:
        raise SettingError(f"{ref} is a learner, whose code is not in the registry; name its file: --pipeline FILE.py")
    else:
        data = _of_learner(_learner(registry, name, held(pipeline)[0]), to)
    output.write_bytes(data)
    sys.stdout.write(f"{output}: {len(data):,} bytes\n")
    return 0


def _learner(registry: FileRegistry, name: str, pipeline: Pipeline) -> Learner:
    """The learner of a pipeline as it was when the version was kept."""
    state = registry.pull(name)
    learner = deepcopy(pipeline.learner)
    if "learner" not in state:
        raise SettingError(f"the version {name[:12]} is no learner but an artefact; name what it descends from")
    try:
        learner.load_state_dict(state["learner"])
    except Exception as error:
        raise SettingError(
            f"the version {name[:12]} is not of the learner in the file ({type(error).__name__}: {error}); name the "
            "file of the pipeline that kept it"
        ) from error
    return learner


def _after(stream: Stream, version: Version) -> list[Batch]:
    """The last rows of a stream that came after a version was kept, and that it has not learnt."""
    since = int(version.report.get("rows", 0))
    kept: deque[Batch] = deque()
    number, known = 0, False
    for batch, _ in stream.read():
        number += len(batch)
        new = min(len(batch), max(number - since, 0))
        known = known or batch.y is not None
        if new and batch.y is not None:
            kept.append(take_batch(batch, slice(len(batch) - new, None)))
        while len(kept) > 1 and sum(map(len, kept)) - len(kept[0]) >= _LAST:
            kept.popleft()
    if not kept:
        why = f"the version has seen all {number:,} rows" if known else "labels come apart from the rows"
        raise SettingError(
            f"{why} of the pipeline's stream; name rows that it has not learnt in "
            "the pipeline's file: held_out = rt.Batch(x, y=y), or an iterable of such"
        )
    return list(kept)


def _budget(within: Sequence[str]) -> Within:
    """A budget from words such as accuracy=.005."""
    given: dict[str, float | None] = {}
    for word in within:
        name, _, value = word.replace("-", "_").partition("=")
        if name not in _WITHIN:
            raise SettingError(f"--within got {word!r}; expected NAME=NUMBER, with a name of {', '.join(_WITHIN)}")
        given[name] = None if value == "none" else _number(value, f"--within {word}")
    return rt.Within(**given)  # pyright: ignore[reportArgumentType] - it refuses what may not be None


def _step(word: str) -> Step:
    """A step from words such as shrink=.5."""
    name, given, value = word.partition("=")
    make = find(STEPS, name, "step")
    if bool(given) == (name in _SHARELESS):
        example = name if name in _SHARELESS else f"{name}={16 if name == 'fewer-bits' else '.5'}"
        raise SettingError(f"--step got {word!r}; expected {example}: see retain compress DIR --ladder")
    return make(_number(value, f"--step {word}") if given else 0.0)


def _whole(value: float) -> int:
    if not value.is_integer():
        raise SettingError(f"--step fewer-bits got {value:g}; expected a whole number, e.g. 16")
    return int(value)


def _number(value: str, where: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise SettingError(f"{where}: {value!r} is no number; expected one, e.g. .005") from error


def _of_artifact(state: State, to: str) -> bytes:
    """What an artefact runs as, if it is of that format; trees in any numbers are plain arrays and a graph, too."""
    from retain.compression.branched import tree_graph
    from retain.compression.forms import loaded
    from retain.compression.trees import Trees

    form = loaded(state["form"])
    if "transforms" in state["master"]:
        sys.stderr.write(_BEHIND)
    if isinstance(form, Trees) and to in ("onnx", "numpy"):
        return tree_graph(form.branches).SerializeToString() if to == "onnx" else _arrays(form.branches.plain())
    ends = {numbers: f"-{word}" if word else "" for word, numbers in _NUMBERS.items()}
    has = f"{_KINDS[form.name]}{ends[form.numbers]}"
    if to != has:
        raise SettingError(f"the artefact is {has}, and --to is {to}; export the learner that it descends from")
    return form.data


def _of_learner(learner: Learner, to: str) -> bytes:
    """A learner as a file; a chain's transforms are not in it."""
    from retain.compression.draft import neural
    from retain.compression.forms import shipped
    from retain.compression.graph import drawn
    from retain.compression.source import branched, branching, scored

    last = learns(learner)
    if last is not learner:
        sys.stderr.write(_BEHIND)
    kind, _, short = to.partition("-")
    if kind == "table" and neural(last):
        raise SettingError("a table is of linear and analytic learners and trees, not of a neural net; give --to onnx")
    if kind != "numpy":
        formats = {"": None, "int8": rt.compression.Int8(), "half": rt.compression.Half()}
        return shipped(learner, formats[short], table=kind == "table")
    if branching(last):
        return _arrays(branched(last).plain())
    return _arrays(drawn(last) if neural(last) else _of_scores(scored(last)))


def _arrays(arrays: Mapping[str, Array]) -> bytes:
    """As a file of NumPy's."""
    out = io.BytesIO()
    np.savez(out, **arrays)  # pyright: ignore[reportArgumentType]
    return out.getvalue()


def _of_scores(scores: Scores) -> dict[str, Array]:
    """Weights (k, d), bias (k,), the link, and bounds where there are any."""
    bounds = {name: getattr(scores, name) for name in ("low", "high", "reach")}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    flat = np.array(scores.flat)
    return {"weights": scores.weights, "bias": scores.bias, "link": np.array(scores.link), "flat": flat, **given}


def _tell(rung: Rung) -> None:
    told = [rung.fate, *([rung.why] if rung.why else [])]
    if rung.fate == "taken":
        told += [
            f"{rung.smaller:.1f} times smaller",
            *(f"{x:.1f} times faster" for x in list(rung.faster.values())[:1]),
        ]
    sys.stderr.write(f"{rung.name}: {', '.join(told)}\n" if rung.fate != "parent" else "measuring the parent\n")
