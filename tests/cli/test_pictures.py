"""Images on the command line, as the features of an encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.cli.test_texts import said
from tests.features.test_pixels import saved, vit

from retain.cli import main

MODULE = """
import torch
import retain as rt

class Sides(torch.nn.Module):
    def forward(self, x):
        return x.mean(3).flatten(1)

encoder = torch.nn.Sequential(rt.Pixels(8), Sides())
"""


@pytest.fixture
def images(tmp_path: Path) -> str:
    """Three classes that differ in where a bar lies, as far as only the net's own view of rows can see it."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 60)
    x = rng.integers(0, 120, size=(180, 1, 8, 8)).astype(np.uint8)
    for row, label in zip(x, y, strict=True):
        row[0, 2 * label : 2 * label + 2] += 100
    np.savez(tmp_path / "bars.npz", x=x, y=y)
    return f"npz:{tmp_path / 'bars.npz'}"


ARGS = ("--experiences", "3", "--strategy", "slda")


def test_a_python_file_makes_the_encoder(tmp_path: Path, images: str, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "encoder.py"
    file.write_text(MODULE)
    result, _ = said(capfd, "continual", images, *ARGS, "--encoder", str(file))
    assert result["acc"]["mean"] > 0.95
    assert result["settings"]["encoder"] == str(file)


def test_a_folder_is_an_encoder_and_none_leaves_pixels(
    tmp_path: Path, images: str, capfd: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, vit)
    by_net, plain, none = (
        said(capfd, "continual", images, *ARGS, *by)[0]["acc"]["mean"]
        for by in (("--encoder", str(tmp_path)), (), ("--encoder", "none"))
    )
    assert plain == none != by_net


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (None, "there is no file"),
        ("encoder = 3", "`encoder` in"),
        ("import no_such_module", "line 1: ModuleNotFoundError"),
        ("import torch\nencoder = torch.nn.Linear(3, 2)", "takes no rows of shape (1, 8, 8)"),
    ],
)
def test_files_that_make_no_encoder(
    code: str | None, says: str, tmp_path: Path, images: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    if code is not None:
        file.write_text(code)
    assert main(["continual", images, *ARGS, "--encoder", str(file)]) == 2
    assert says in capfd.readouterr().err


def test_rows_that_are_neither_texts_nor_images_have_no_encoder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "flat.npz", x=np.eye(10, dtype=np.float32), y=np.arange(10) % 2)
    assert main(["continual", f"npz:{tmp_path / 'flat.npz'}", "--encoder", "none"]) == 2
    assert "has none" in capfd.readouterr().err
