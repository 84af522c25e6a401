"""Mixtures tell their components what they learn from."""

import pytest
import torch

from multipath import StochasticLoss
from multipath.samplers import AdaptiveImportance, Mixture, Uniform
from multipath.testing import QuadraticLoss


def test_a_mixture_tells_every_component_that_wants_to_know():
    often, seldom, deaf = AdaptiveImportance(), AdaptiveImportance(every=3), Uniform()
    criterion = StochasticLoss(QuadraticLoss(1), Mixture([often, seldom, deaf]), generator=0)
    for step in range(4):
        x = torch.full((1, 1), 1.0 + step, dtype=torch.float64, requires_grad=True)
        criterion(x, torch.zeros(1, 1, dtype=torch.float64))
    averages = [float(sampler.state_dict()["estimates"]) for sampler in (often, seldom)]
    norms = [2.0, 4.0, 6.0, 8.0]  # of 2 x
    expected = norms[0]
    for norm in norms[1:]:
        expected = 0.9 * expected + 0.1 * norm
    assert averages == pytest.approx([expected, 0.9 * norms[0] + 0.1 * norms[3]])
