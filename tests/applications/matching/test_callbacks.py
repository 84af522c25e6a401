"""Counting draws, and files that are damaged."""

import pytest

from multipath.applications.matching.train import run
from multipath.applications.runs.files import (
    read_draws,
)
from tests.applications.tiny import TINY


def total(file):
    return sum(row["count"] for row in read_draws(file))


@pytest.mark.slow
def test_callback_counts_the_draws_of_training_steps_only(tmp_path):
    run(TINY.changed(loss="kpaths"), tmp_path)  # 10 steps of 4 draws, validated after 4 and 8
    assert total(tmp_path / "draws.csv") == 40
    assert "rate" in read_draws(tmp_path / "draws.csv")[0]


@pytest.mark.slow
def test_callback_counts_nothing_where_nothing_is_drawn(tmp_path):
    run(TINY.changed(steps=4), tmp_path)
    assert not (tmp_path / "draws.csv").exists()
