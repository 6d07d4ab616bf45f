"""What all tests share: how Hypothesis looks for examples, and where real data sets lie if they are here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Kernels compile on first call, so no deadline; CI repeats the same examples so that a red run can be looked at again.
settings.register_profile(
    "retain", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("retain")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets beside the project; tests that use it skip where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return folder
