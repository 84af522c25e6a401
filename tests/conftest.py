"""Settings for all tests."""

import pytest
from hypothesis import settings

from tests.browser import MISSING, PROGRAM, Browser

# Two busy cores are no place for deadlines, and a red run must be repeatable.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, where one is installed."""
    if PROGRAM is None:
        pytest.skip(MISSING)
    with Browser() as browser:
        yield browser
