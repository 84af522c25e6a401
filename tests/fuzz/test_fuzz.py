"""A minute of what ``make fuzz`` does for longer."""

import pytest

from .run import fuzz

SECONDS = 60


@pytest.mark.slow
@pytest.mark.project
@pytest.mark.filterwarnings("ignore")
def test_inputs_at_random():
    figures = fuzz(SECONDS, seed=0)
    assert not figures.findings, figures
    assert all(ended.total() for ended in figures.ended.values()), figures
