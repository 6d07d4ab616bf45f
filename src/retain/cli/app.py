"""The commands and their options. What a command does stands in the module of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import retain

__all__ = ["app"]

app = typer.Typer(
    name="retain",
    help="Retain, don't retrain: models that keep learning after deployment.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in half the time
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback signature
    if wanted:
        typer.echo(f"retain {retain.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


SourceName = Annotated[
    str,
    typer.Argument(
        help="A file, a glob in quotes, '-' for standard input, a name of `retain datasets`, or a pipeline.py."
    ),
]
Target = Annotated[str | None, typer.Option(help="The column to predict.", metavar="COL")]
Time = Annotated[str | None, typer.Option(help="The column with the time of a row.", metavar="COL")]
Key = Annotated[str | None, typer.Option(help="The column with the entity of a row.", metavar="COL")]
Id = Annotated[str | None, typer.Option(help="The column with the id of a row.", metavar="COL")]
Weight = Annotated[str | None, typer.Option(help="The column with the weight of a row.", metavar="COL")]
Ignore = Annotated[list[str] | None, typer.Option(help="A column to leave out; may be given again.", metavar="COL")]
Kinds = Annotated[
    list[str] | None,
    typer.Option(help="What a column holds: numeric, categorical, text, time, ignored.", metavar="COL=KIND"),
]
Texts = Annotated[
    list[str] | None, typer.Option("--text", help="A column of text to learn from; may be given again.", metavar="COL")
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="What turns texts into features: a folder, an installed package, or none (words are hashed); by default "
        "one that is installed. Of images: a folder, or a FILE.py with an `encoder`.",
        metavar="NAME",
    ),
]
Task = Annotated[
    str | None, typer.Option(help="classification or regression; by default seen from the target.", metavar="TASK")
]
Delay = Annotated[
    str | None,
    typer.Option(
        help="When labels arrive: after so many rows (500), after a time (90s, 15m, 2h, 3d), or the column with "
        "the time at which each is known.",
        metavar="WHEN",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Labels that come in files of their own, with the columns --id, --time (when each was heard) and "
        "--target.",
        metavar="FILE",
    ),
]
Expire = Annotated[
    str | None,
    typer.Option(help="Give a label up after a time (90s, 15m, 2h, 3d), or so many rows.", metavar="WHEN"),
]
Format = Annotated[
    str | None, typer.Option(help="csv, parquet, jsonl or arrow; by default from the file's name.", metavar="FORMAT")
]
Delimiter = Annotated[str | None, typer.Option(help="What parts the columns of a CSV file.", metavar="CHAR")]
Missing = Annotated[
    list[str] | None,
    typer.Option(help="What stands for a missing value in a CSV file; may be given again.", metavar="TEXT"),
]
Names = Annotated[
    str | None, typer.Option(help="Names of the columns of a CSV file without a header.", metavar="A,B,...")
]
Result = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, last on standard output.")]


_OF_ANY_RUN = ("source", "limit", "state", "resume", "report", "json", "log", "watchdog")


def _besides(context: typer.Context) -> list[str]:
    """The options that were typed and are about what a pipeline brings."""
    names = {option.name: option.opts[0] for option in context.command.params if option.name not in _OF_ANY_RUN}
    sources = {name: context.get_parameter_source(name or "") for name in names}
    return [names[name] for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


@app.command()
def run(
    context: typer.Context,
    source: SourceName,
    *,
    target: Target = None,
    text: Texts = None,
    encoder: EncoderName = None,
    learner: Annotated[
        str | None,
        typer.Option(help="A name of `retain learners`; by default auto, with --text intents.", metavar="NAME"),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="What to measure; may be given again.", metavar="NAME")
    ] = None,
    unknown: Annotated[
        float | None,
        typer.Option(
            help="Answer that a row is of no known class, for so large a share of those that are of one (0.05).",
            metavar="RATE",
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Say bounds, intervals or sets of classes, that hold such a share of labels (0.9).", metavar="SHARE"
        ),
    ] = None,
    time: Time = None,
    key: Key = None,
    id: Id = None,  # noqa: A002 - the option's name
    weight: Weight = None,
    ignore: Ignore = None,
    kind: Kinds = None,
    task: Task = None,
    delay: Delay = None,
    labels: Labels = None,
    expire: Expire = None,
    silence: Annotated[
        str | None,
        typer.Option(help="The class of rows whose labels are not heard of before --expire.", metavar="CLASS"),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help="How long a later label still corrects what --silence said.", metavar="WHEN"),
    ] = None,
    format: Format = None,  # noqa: A002 - the option's name
    delimiter: Delimiter = None,
    missing: Missing = None,
    names: Names = None,
    on_bad_rows: Annotated[
        str, typer.Option(help="Rows that cannot be read: stop, skip, or quarantine FILE.", metavar="POLICY")
    ] = "stop",
    bad_at_most: Annotated[
        float | None,
        typer.Option(help="End with an error when more than this share of the rows cannot be read.", metavar="SHARE"),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Stop after so many rows.", min=1, metavar="N")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Keep the run's state here, safe from kill -9.", metavar="DIR")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in --state.")] = False,
    rules: Annotated[
        str,
        typer.Option(help="By what the model is updated besides: a name of `retain rules`.", metavar="NAME"),
    ] = "none",
    registry: Annotated[
        Path | None,
        typer.Option(help="Keep the model, and what rules promote, as versions in this registry.", metavar="DIR"),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            help="Append what happens, as it happens: start, reports, deeds of rules, end; one JSON object a line.",
            metavar="FILE.jsonl",
        ),
    ] = None,
    watchdog: Annotated[
        str | None,
        typer.Option(
            help="End with exit code 3 and the stacks of all threads when no report has come for so long (90s, 15m).",
            metavar="TIME",
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as one HTML file.", metavar="FILE.html")] = None,
    json: Result = False,
) -> None:
    """Learn a stream row by row: predict, score when the label arrives, learn."""
    from retain.cli.run import Recipe, run_file, run_source
    from retain.cli.source import Source
    from retain.cli.watch import How

    how = How(limit=limit, state=state, resume=resume, report=report, as_json=json, log=log, watchdog=watchdog)
    from retain.errors import SettingError

    told = {*(ignore or ()), *(one.partition("=")[0] for one in kind or ())}
    if twice := sorted(told.intersection(text or ())):
        raise SettingError(f"--text {twice[0]} and --ignore or --kind say two things of one column; leave one out")
    if source.endswith(".py"):
        raise typer.Exit(run_file(Path(source), how, besides=_besides(context)))
    where = Source(
        source,
        format=format,
        target=target,
        time=time,
        key=key,
        id=id,
        weight=weight,
        ignore=tuple(ignore or ()),
        kinds=(*(kind or ()), *(f"{column}=text" for column in text or ())),
        task=task,
        labels=labels,
        expire=expire,
        silence=silence,
        until=until,
        delay=delay,
        on_bad_rows=on_bad_rows,
        bad_at_most=bad_at_most,
        delimiter=delimiter,
        missing=tuple(missing or ()),
        names=tuple(names.split(",")) if names else (),
    )
    named = learner or ("intents" if text else "auto")
    recipe = Recipe(named, metrics=metric or [], rules=rules, unknown=unknown, encoder=encoder, coverage=coverage)
    raise typer.Exit(run_source(where, how, recipe, registry=registry))


@app.command()
def replay(
    quarantine: Annotated[Path, typer.Argument(help="The file of --on-bad-rows quarantine FILE.", show_default=False)],
    *,
    source: Annotated[str, typer.Option(help="What the rows come from, as `retain run` was given it.", metavar="FILE")],
    into: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The new file for mended rows; by default beside the source, behind its last file."
        ),
    ] = None,
    target: Target = None,
    time: Time = None,
    key: Key = None,
    id: Id = None,  # noqa: A002 - the option's name
    weight: Weight = None,
    ignore: Ignore = None,
    kind: Kinds = None,
    task: Task = None,
    delay: Delay = None,
    labels: Labels = None,
    format: Format = None,  # noqa: A002 - the option's name
    delimiter: Delimiter = None,
    missing: Missing = None,
    names: Names = None,
    json: Result = False,
) -> None:
    """Make a file of the rows in quarantine that were mended; the other options are those of `retain run`."""
    from retain.cli.replay import replay_rows
    from retain.cli.source import Source

    where = Source(
        source,
        format=format,
        target=target,
        time=time,
        key=key,
        id=id,
        weight=weight,
        ignore=tuple(ignore or ()),
        kinds=tuple(kind or ()),
        task=task,
        labels=labels,
        delay=delay,
        delimiter=delimiter,
        missing=tuple(missing or ()),
        names=tuple(names.split(",")) if names else (),
    )
    replay_rows(quarantine, where, into=into, as_json=json)


@app.command()
def backtest(
    source: Annotated[
        str, typer.Argument(help="A Python file with a `pipeline`, or a name of `retain datasets`.", show_default=False)
    ],
    *,
    rules: Annotated[
        list[str] | None,
        typer.Option(help="For a bundled stream: a name of `retain rules`; may be given again.", metavar="NAME"),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Stop after so many rows.", min=1, metavar="N")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as one HTML file.", metavar="FILE.html")] = None,
    json: Result = False,
) -> None:
    """Try rules out on past rows: what would have served, how well, at what cost, and each decision."""
    from retain.cli.pipelines import run_backtest

    raise typer.Exit(run_backtest(source, rules=rules or [], limit=limit, report=report, as_json=json))


@app.command()
def continual(
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="digits, mnist:DIR, clinc150:DIR, npz:FILE, csv:FILE, ...; --list names them all.", show_default=False
        ),
    ] = None,
    *,
    scenario: Annotated[str, typer.Option(help="What changes between experiences.", metavar="NAME")] = "class",
    experiences: Annotated[
        int | None, typer.Option(help="How many; by default 5 (10 permuted, 20 rotated).", metavar="N")
    ] = None,
    strategy: Annotated[str, typer.Option(help="What keeps old knowledge.", metavar="NAME")] = "replay",
    memory: Annotated[int, typer.Option(help="Rows that a strategy may keep.", metavar="N")] = 1000,
    epochs: Annotated[int, typer.Option(help="How often the rows of an experience are gone through.")] = 1,
    seeds: Annotated[int, typer.Option(help="How many runs: mean and standard error are over these.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes among which the seeds are shared out.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of torch in each; one is fastest for small nets.")] = 1,
    device: Annotated[str, typer.Option(help="Where nets are trained: cpu, cuda, ...", metavar="NAME")] = "cpu",
    bounds: Annotated[
        bool, typer.Option("--bounds", help="Run the lower and the upper bound too: naive and joint training.")
    ] = False,
    model: Annotated[str, typer.Option(help="mlp, conv or resnet18.", metavar="NAME")] = "mlp",
    hidden: Annotated[str, typer.Option(help="Units of the layers of an mlp.", metavar="N,N,...")] = "400,400",
    batch_size: Annotated[int, typer.Option(help="Rows of a mini-batch.", metavar="N")] = 32,
    rate: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 1e-3,
    target: Annotated[str | None, typer.Option(help="The column of a CSV file to predict.", metavar="COL")] = None,
    text: Texts = None,
    encoder: EncoderName = None,
    ignore: Ignore = None,
    delimiter: Delimiter = None,
    missing: Missing = None,
    names: Names = None,
    state: Annotated[
        Path | None, typer.Option(help="Keep the state of every run here, safe from kill -9.", metavar="DIR")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in --state.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the report as one HTML file.", metavar="FILE.html")] = None,
    json: Result = False,
    list_: Annotated[
        bool, typer.Option("--list", help="List data sets, scenarios, strategies and models, and do nothing else.")
    ] = False,
) -> None:
    """Learn experiences one after the other, and measure what is retained."""
    from retain.cli.continual import Asked, list_names, run_continual, widths
    from retain.cli.recipes import Columns
    from retain.errors import SettingError

    if list_:
        list_names()
        return
    if dataset is None:
        raise SettingError("which data? name a set such as digits, mnist:DIR or csv:FILE; --list names them all")
    asked = Asked(
        dataset,
        columns=Columns(
            target=target,
            text=tuple(text or ()),
            ignore=tuple(ignore or ()),
            delimiter=delimiter,
            missing=tuple(missing or ()),
            names=tuple(names.split(",")) if names else None,
        ),
        encoder=encoder,
        scenario=scenario,
        experiences=experiences,
        strategy=strategy,
        model=model,
        hidden=widths(hidden),
        memory=memory,
        epochs=epochs,
        batch_size=batch_size,
        rate=rate,
        seeds=seeds,
        workers=workers,
        threads=threads,
        device=device,
        bounds=bounds,
        state=state,
        resume=resume,
    )
    raise typer.Exit(run_continual(asked, report=report, as_json=json))


@app.command()
def datasets() -> None:
    """List the streams that come with the package."""
    from retain.cli.catalogue import DATASETS, show

    show("Streams that come with retain", {name: entry.about for name, entry in DATASETS.items()})


@app.command()
def learners() -> None:
    """List the learners that `retain run --learner` knows."""
    from retain.cli.catalogue import LEARNERS, show

    show("Learners", {name: entry.about for name, entry in LEARNERS.items()})


@app.command()
def rules() -> None:
    """List the sets of rules that `retain run --rules` and `retain backtest` know."""
    from retain.cli.catalogue import RULES, show

    show("Rules", {name: entry.about for name, entry in RULES.items()})


@app.command()
def metrics() -> None:
    """List the measures that `retain run --metric` knows."""
    from retain.cli.catalogue import METRICS, show

    show("Metrics", {name: entry.about for name, entry in METRICS.items()})


Registry = Annotated[Path, typer.Argument(help="The folder of the registry.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Why = Annotated[str, typer.Option(help="What the log shall say of the reason.", metavar="TEXT")]
Alias = Annotated[str, typer.Option(help="Which alias to move.", metavar="NAME")]


@app.command()
def versions(folder: Registry, *, json: Json = False) -> None:
    """List the versions of a registry, newest first."""
    from retain.cli.registry import list_versions

    list_versions(folder, as_json=json)


@app.command()
def log(folder: Registry, *, json: Json = False) -> None:
    """Tell all that was done in a registry, by whom, when and why."""
    from retain.cli.registry import tell_log

    tell_log(folder, as_json=json)


@app.command()
def promote(
    folder: Registry,
    version: Annotated[str, typer.Argument(help="A version's name, its beginning, or an alias.", show_default=False)],
    *,
    alias: Alias = "champion",
    why: Why = "",
) -> None:
    """Make a version the champion."""
    from retain.cli.registry import promote as move

    move(folder, version, alias=alias, why=why)


@app.command()
def rollback(folder: Registry, *, alias: Alias = "champion", why: Why = "") -> None:
    """Make the version before the champion again."""
    from retain.cli.registry import roll_back

    roll_back(folder, alias=alias, why=why)


PipelineFile = Annotated[
    Path | None, typer.Option(help="The Python file of the pipeline that kept it.", metavar="FILE.py")
]


@app.command()
def compress(
    folder: Registry,
    version: Annotated[str, typer.Argument(help="A version's name, its beginning, or an alias.")] = "champion",
    *,
    pipeline: PipelineFile = None,
    step: Annotated[
        list[str] | None,
        typer.Option(help="A rung of the ladder: half, int8, shrink=.5, ...; may be given again.", metavar="STEP"),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option(help="The budget: accuracy=.005, faster=2, ...; may be given again.", metavar="NAME=NUMBER"),
    ] = None,
    ladder: Annotated[bool, typer.Option("--ladder", help="List the steps.")] = False,
    alias: Alias = "serving",
    seconds: Annotated[
        float, typer.Option(help="About how long to measure each model.", min=0.0, metavar="SECONDS")
    ] = 0.25,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, and keep nothing.")] = False,
    json: Json = False,
) -> None:
    """Make a version smaller and faster, as far as a budget allows, and keep it under the alias `serving`."""
    from retain.cli.catalogue import show
    from retain.cli.compression import STEPS, compress_version

    if ladder:
        show("Steps", {name: entry.about for name, entry in STEPS.items()})
        return
    raise typer.Exit(
        compress_version(
            folder,
            version,
            pipeline=pipeline,
            steps=step or [],
            within=within or [],
            alias=alias,
            seconds=seconds,
            dry=dry_run,
            as_json=json,
        )
    )


@app.command()
def export(
    folder: Registry,
    version: Annotated[str, typer.Argument(help="A version's name, its beginning, or an alias.")] = "serving",
    *,
    to: Annotated[
        str, typer.Option(help="onnx, table, each with -half or -int8 too, or numpy.", metavar="FORMAT")
    ] = "onnx",
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.", metavar="FILE")],
    pipeline: PipelineFile = None,
) -> None:
    """Write a version as a file that runs without `retain`."""
    from retain.cli.compression import export_version

    raise typer.Exit(export_version(folder, version, to=to, output=output, pipeline=pipeline))


@app.command()
def diff(
    folder: Registry,
    first: Annotated[str, typer.Argument(help="A version's name, its beginning, or an alias.", show_default=False)],
    second: Annotated[str, typer.Argument(help="The other one.", show_default=False)],
    *,
    json: Json = False,
) -> None:
    """Tell how two versions differ: their reports and what they remember."""
    from retain.cli.registry import compare

    compare(folder, first, second, as_json=json)


@app.command()
def verify(folder: Registry) -> None:
    """Read every file of a registry and tell what is damaged or missing."""
    from retain.cli.registry import check

    raise typer.Exit(check(folder))


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("pipeline.py"),
) -> None:
    """Write a commented pipeline in Python that works as it is."""
    from retain.cli.init import write_pipeline

    write_pipeline(path)
    typer.echo(f"wrote {path}; try its rules out: retain backtest {path}; or serve: retain run {path} --state state")
