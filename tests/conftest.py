"""What several test files share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No test is timed: a crowded machine is no fault.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real preference data that RMBENCH_TEST_DATA names; skips where it is unset."""
    folder = os.environ.get("RMBENCH_TEST_DATA")
    if not folder:
        pytest.skip("RMBENCH_TEST_DATA is not set: no real data to read")
    return Path(folder) / "data"
