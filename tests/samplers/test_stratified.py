"""Stratified draws: where strata come from, their shares, and their variance."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import Path, PathTable, StochasticLoss
from multipath.errors import InputError
from multipath.samplers import Importance, Stratified
from multipath.testing import QuadraticLoss


def test_strata_come_from_columns_functions_and_lists():
    table = PathTable(Path(i, metadata={"rate": 2.0 ** (i % 2)}) for i in range(4))
    labels = ["even", "odd", "even", "odd"]
    for by in ("rate", lambda path: path.index % 2, [[0, 2], [1, 3]], labels, [0, 1, 0, 1]):
        sampler = Stratified(by)
        sampler.bind(table)
        assert {indices for indices, _ in sampler.enumerate(2)} == {(0, 1), (0, 3), (2, 1), (2, 3)}
    with pytest.raises(InputError, match="no column 'scale'"):
        Stratified("scale").bind(table)


def test_strata_get_their_share_of_the_draws():
    sampler = Stratified(by=[[0, 1, 2, 3], [4, 5], [6, 7]])
    StochasticLoss(QuadraticLoss(8), sampler, 4)
    for indices, _ in sampler.enumerate(4):
        assert sum(i < 4 for i in indices) == 2
        assert sum(i in (4, 5) for i in indices) == sum(i in (6, 7) for i in indices) == 1


@given(data=st.data())
@settings(max_examples=50)
def test_stratification_never_has_more_variance_than_independent_draws(data):
    n_paths = data.draw(st.integers(1, 7))
    masses = data.draw(st.lists(st.floats(0.01, 1), min_size=n_paths, max_size=n_paths))
    pi = torch.tensor(masses, dtype=torch.float64) / sum(masses)
    labels = data.draw(st.lists(st.integers(0, 2), min_size=n_paths, max_size=n_paths))
    n_draws = data.draw(st.integers(1, 5))
    sampler = Stratified(by=lambda path: labels[path.index], probabilities=pi)
    StochasticLoss(QuadraticLoss(n_paths), sampler, n_draws)
    excess = Importance(pi).count_covariance(n_draws) - sampler.count_covariance(n_draws)
    assert torch.linalg.eigvalsh(excess).min() > -1e-12
