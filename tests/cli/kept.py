"""A registry that a pipeline has filled, made once for the tests of a file."""

from pathlib import Path

import pytest

from retain.cli import main


def kept(folder: Path, pipeline: str) -> Path:
    """The folder in which a pipeline was run, as one would from a shell; its registry is `models`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("pipeline.py").write_text(pipeline)
        assert main(["run", "pipeline.py"]) == 0
    return folder
