"""Reshuffling deals out every path once per epoch."""

from collections import Counter

import pytest
import torch
from scipy import stats

from multipath import StochasticLoss
from multipath.samplers import Reshuffle
from multipath.testing import QuadraticLoss

from .cases import make


@pytest.mark.parametrize(("n_paths", "n_draws"), [(5, 1), (5, 2), (5, 5), (7, 3), (1, 1)])
def test_reshuffling_deals_each_path_once_an_epoch(n_paths, n_draws):
    sampler, generator = make("reshuffle", n_paths), torch.Generator().manual_seed(0)
    draws = [sampler.draw(n_draws, generator)[0].tolist() for _ in range(6 * n_paths)]
    assert all(len(set(draw)) == n_draws for draw in draws)
    visits = Counter()
    for draw in draws:
        visits.update(draw)
        # never two epochs apart, and inside of a draw never more than one
        assert max(visits.values()) - min(visits[p] for p in range(n_paths)) <= 2
        if sum(visits.values()) % n_paths == 0:
            assert len({visits[p] for p in range(n_paths)}) == 1
    assert len({tuple(draw) for draw in draws}) > 1 or n_draws == n_paths


@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.slow
def test_every_draw_of_a_reshuffled_stream_is_a_random_subset(position):
    """Also those that reach over the end of an epoch, where the next one is made to fit."""
    generator, counts = torch.Generator().manual_seed(2), Counter()
    for _ in range(2000):
        sampler = make("reshuffle", 4)
        for _ in range(position):
            sampler.draw(3, generator)
        counts[tuple(sampler.draw(3, generator)[0].tolist())] += 1
    assert len(counts) == 4
    assert stats.chisquare(list(counts.values())).pvalue > 1e-6


def test_two_epochs_differ():
    sampler, generator = Reshuffle(), torch.Generator().manual_seed(0)
    StochasticLoss(QuadraticLoss(20), sampler)
    first, second = ([sampler.draw(1, generator)[0].item() for _ in range(20)] for _ in range(2))
    assert sorted(first) == sorted(second)
    assert first != second


def test_estimates_without_gradients_do_not_deal_out_the_epoch():
    def criterion():
        return StochasticLoss(QuadraticLoss(9), Reshuffle(), n_draws=2, generator=0)

    def train(criterion):
        criterion(torch.ones(1, 1, requires_grad=True), torch.zeros(1, 1))
        return criterion.last_draw.indices.tolist()

    plain, interrupted = criterion(), criterion()
    for _ in range(9):
        with torch.no_grad():
            interrupted(torch.ones(1, 1), torch.zeros(1, 1))
        assert train(interrupted) == train(plain)
