"""What every test shares: where the data is, and how Hypothesis searches."""

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every machine, and no deadline: a kernel may have to be compiled first.
settings.register_profile("retain", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("retain")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets that may not be redistributed; it lies beside the repository, where there is one."""
    if not DATA.is_dir():
        pytest.skip(f"no folder of data sets at {DATA}")
    return DATA


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that ask for a `device` run on every one that torch has here."""
    if "device" in metafunc.fixturenames:
        import torch

        metafunc.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes by their length: what gzip wrote holds the time, and two workers must call a test alike."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None
