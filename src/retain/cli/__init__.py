"""`retain ...`: each command calls one function of a lower room."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["collect", "main"]

_USER_ERROR = 2
# What library messages say to those who write Python, and what it is called here.
_OPTIONS = {
    r"on_bad_rows=Skip\(\) or Quarantine\(path\) \((--on-bad-rows [^)]*)\)": r"\1",
    r"\bkinds=\{'([^']+)': '(\w+)'\}": r"--kind \1=\2",
    r"\b(ignore|missing)=\['([^']*)'\]": r"--\1 '\2'",
    r"\bdelimiter=": "--delimiter ",
    r"\bchoose another target\b": "choose another --target",
    r"\btask='(\w+)'": r"--task \1",
    r"\bmost=$": "--bad-at-most",
    r"\b(?:Skip|Quarantine) got most=([^;]+); (.*), or None$": r"--bad-at-most \1; \2",
    r"\(label_time in ([^)]*)\)": r"(--delay in \1, neither rows such as 500 nor a time such as 90s or 3d)",
    r"\bname the time column\b": "name its column with --time",
    r"\bnames=\[\.\.\.\]": "--names A,B,...",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0 done, 2 for input that cannot be used, 130 when interrupted."""
    # Nothing that modules make while they are loaded is garbage: to look for some, dozens of times, costs a tenth of
    # the start. Commands that go on for long say `collect()` when all is loaded.
    gc.disable()
    try:
        return _run(argv)
    finally:
        gc.unfreeze()
        gc.enable()


def collect() -> None:
    """Look for garbage from now on, among what is made from now on."""
    gc.freeze()
    gc.enable()


def _run(argv: Sequence[str] | None) -> int:
    import typer

    from retain.cli.app import app
    from retain.errors import RetainError

    # Of click, or of the copy that newer versions of typer bring: what is common to all that is typed wrongly.
    usage: type[Exception] = typer.BadParameter.__mro__[1]
    try:
        typed = _joined(sys.argv[1:] if argv is None else argv)
        code = app(typed or ["--help"], prog_name="retain", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as done:  # a pipe was closed
        return done.code if isinstance(done.code, int) else 0
    except usage as error:
        sys.stderr.write(f"retain: {_mistyped(error)}\n")
        return _USER_ERROR
    except RetainError as error:
        sys.stderr.write(f"retain: {_typed(' '.join(str(error).split()))}\n")
        return _USER_ERROR
    except BrokenPipeError:  # `retain ... | head` is no error of ours
        sys.stdout = None
    return 0


def _mistyped(error: Any) -> str:
    """What the parser says of an option or a command, and where those are listed."""
    said = " ".join(error.format_message().split()).rstrip(".")
    command = "retain" if error.ctx is None else error.ctx.command_path
    return f"{said[:1].lower()}{said[1:]}; see {command} --help"


def _typed(message: str) -> str:
    """A message that names arguments of Python, with the options of the command line in their place."""
    for argument, option in _OPTIONS.items():
        message = re.sub(argument, option, message)
    return message


def _joined(argv: Sequence[str]) -> list[str]:
    """`--on-bad-rows quarantine FILE` is one option with two words; join them into one for the parser."""
    args = list(argv)
    for option in ("--on-bad-rows", "--on-bad-rows=quarantine"):
        if option in args:
            i = args.index(option)
            if option.endswith("quarantine"):
                args[i : i + 1] = ["--on-bad-rows", "quarantine"]
            if args[i + 1 : i + 2] == ["quarantine"] and i + 2 < len(args):
                args[i + 1 : i + 3] = [f"quarantine {args[i + 2]}"]
    return args
