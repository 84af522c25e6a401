"""Draws by given probabilities."""

import pytest

from multipath.errors import ConfigurationError
from multipath.samplers import (
    Energy,
    Importance,
)


def test_unbiased_exactly_when_every_path_is_possible():
    assert Importance([0.5, 0.5]).unbiased
    assert not Importance([1.0, 0.0]).unbiased
    assert not Energy([1.0, 0.0], floor=0.0).unbiased
    assert Energy([1.0, 0.0], floor=0.1).unbiased


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([0.5, 0.6], "must sum to 1, got 1.1; divide"),
        ([0.2, 0.2], "must sum to 1, got 0.4"),
        ([1.5, -0.5], "must not be negative, got -0.5 for path 1"),
        ([float("nan"), 1.0], "must be finite"),
        ([[0.5, 0.5]], r"vector of shape \(P,\), got \(1, 2\)"),
        ([], "vector of shape"),
        ("ab", "must be numbers, one for each path, got 'ab'"),
        (None, "must be numbers, one for each path, got None"),
    ],
)
def test_refused_probabilities(probabilities, message):
    with pytest.raises(ConfigurationError, match=message):
        Importance(probabilities)
