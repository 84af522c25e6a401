"""Sums of named terms: values, what is not computed, costs, and what it refuses."""

import pytest
import torch
from torch import nn

from multipath import StochasticLoss, TermLoss
from multipath.errors import ConfigurationError, InputError
from multipath.samplers import AdaptiveImportance


def squares(input, target):
    return (input - target).square().mean(dim=1)


def total(input, target):
    return input.sum()


def test_is_the_sum_that_somebody_would_write():
    loss = TermLoss({"squares": squares, "total": total}, weights={"total": 0.5, "squares": 3.0})
    x, y = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss(x, y), 3.0 * squares(x, y).mean() + 0.5 * total(x, y))
    assert loss.paths.keys == ["squares", "total"]
    assert loss.path_losses(x, y, [1, 0, 1]).shape == (3, 4)


def test_only_the_terms_asked_for_are_computed_and_once():
    calls = []

    def term(name):
        return lambda x, y: calls.append(name) or squares(x, y)

    loss = TermLoss({name: term(name) for name in "abc"})
    x = torch.zeros(2, 3)
    loss.path_losses(x, x, [2, 0, 2])
    assert calls == ["c", "a"]


def test_input_may_be_anything_that_the_terms_take():
    loss = TermLoss({"first": lambda batch, _: batch["u"].square().mean()})
    criterion = StochasticLoss(loss, generator=0)
    assert criterion({"u": torch.full((5,), 2.0)}, None) == 4.0


def test_expensive_terms_are_drawn_less_often():
    costs = {"cheap": 1.0, "expensive": 9.0}
    loss = TermLoss({"expensive": squares, "cheap": squares}, costs=costs)
    assert loss.paths.costs.tolist() == [9.0, 1.0]
    sampler = AdaptiveImportance(cost_aware=True, floor=0.0)
    criterion = StochasticLoss(loss, sampler, n_draws=1, generator=0)
    x, y = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    for _ in range(40):
        criterion(x.requires_grad_(), y).backward()
    expensive, cheap = sampler.probabilities.tolist()
    assert cheap == pytest.approx(3 * expensive, rel=1e-6)  # equal terms: by 1 / sqrt(cost)


def test_terms_that_are_modules_move_and_are_saved_with_it():
    layer = nn.Linear(3, 1)

    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, input, target):
            return self.layer(input - target)[:, 0].square()

    loss = TermLoss({"plain": squares, "a.b": Learned()}).double()
    assert list(loss.parameters()) == list(layer.parameters())
    assert layer.weight.dtype == torch.float64
    x = torch.ones(2, 3, dtype=torch.float64)
    assert loss(x, 0 * x).dtype == torch.float64


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        ({}, {}, "at least one path, got 0"),
        ({"a": 3}, {}, "term 'a' must be a function, got 3"),
        ({1: squares}, {}, "the name of a term must be a string, got 1"),
        ([squares], {}, "terms must be functions by name, got"),
        ({"a": squares}, {"weights": 1.0}, "weights must be numbers, by name or one for each of"),
        (
            {"a": squares},
            {"costs": ["expensive"]},
            r"costs must be numbers, .* got \['expensive'\]",
        ),
        ({"a": squares}, {"weights": [1.0, 2.0]}, "weights must have one entry for each of the 1"),
        ({"a": squares}, {"costs": {"b": 1.0}}, "costs must name every term, a, got b"),
        ({"a": squares}, {"costs": [0.0]}, "cost of path a must be positive"),
        ({"a": squares}, {"weights": [-1.0]}, "weights must be finite, not negative"),
    ],
)
def test_settings_that_cannot_work_are_refused(terms, options, message):
    with pytest.raises(ConfigurationError, match=message):
        TermLoss(terms, **options)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            torch.zeros(2, 3),
            r"term 'a' must return .*shape \(2,\), or a scalar tensor, got \(2, 3\)",
        ),
        (torch.zeros(1), r"got \(1,\)"),
        (1.0, "got float"),
    ],
)
def test_values_of_no_item_are_refused(value, message):
    with pytest.raises(InputError, match=message):
        TermLoss({"a": lambda *_: value})(torch.zeros(2, 3), torch.zeros(2, 3))
