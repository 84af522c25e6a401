"""A sampler serves one loss, and says what it cannot do."""

from contextlib import nullcontext

import pytest
import torch

from multipath import Path, PathTable, StochasticLoss
from multipath.errors import ConfigurationError
from multipath.samplers import (
    AdaptiveImportance,
    Energy,
    Importance,
    Mixture,
    Reshuffle,
    Stratified,
    Uniform,
)
from multipath.samplers.base import Sampler
from multipath.testing import QuadraticLoss

from .cases import bound


class Observing(Uniform):
    def __init__(self, observes):
        super().__init__()
        self.observes = observes


def test_one_sampler_does_not_serve_two_losses():
    weights, others = [0.1, 0.2, 0.7], [0.7, 0.2, 0.1]
    for make in (Uniform, AdaptiveImportance, lambda: Mixture([AdaptiveImportance()])):
        first = StochasticLoss(QuadraticLoss(3, weights=weights), make())
        before = first.sampler.probabilities.clone()
        with pytest.raises(ConfigurationError, match="with other weights; make one sampler for"):
            StochasticLoss(QuadraticLoss(3, weights=others), first.sampler)
        costly = PathTable(Path(i, cost=1.0 + i) for i in range(3))
        with pytest.raises(ConfigurationError, match="with another table of paths; make one"):
            StochasticLoss(QuadraticLoss(costly, weights=weights), first.sampler)
        assert torch.equal(first.sampler.probabilities, before)
    by_rate = Stratified("rate")
    for rates, message in (([1, 1, 2], None), ([1, 2, 1], "with another table of paths")):
        table = PathTable(Path(i, metadata={"rate": rate}) for i, rate in enumerate(rates))
        with pytest.raises(ConfigurationError, match=message) if message else nullcontext():
            by_rate.bind(table)


def test_binding_anew_on_purpose_keeps_what_was_learned():
    sampler = Mixture([AdaptiveImportance(floor=0.0), Uniform()], [1.0, 0.0])
    sampler.bind(PathTable(2), torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert sampler.wants_observation()
    sampler.observe(torch.tensor([0, 1]), torch.tensor([1.0, 2.0], dtype=torch.float64))
    sampler.rebind(PathTable(2), torch.tensor([0.8, 0.2], dtype=torch.float64))
    torch.testing.assert_close(sampler.probabilities * 3, torch.tensor([2.0, 1.0]).double())
    with pytest.raises(ConfigurationError, match="for 2 paths and the loss has 3"):
        sampler.rebind(PathTable(3))


def test_a_sampler_that_cannot_enumerate_says_so():
    class Silent(Uniform):
        enumerate = Sampler.enumerate

    with pytest.raises(NotImplementedError, match="Silent does not enumerate its draws"):
        Silent().enumerate(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Importance([0.5, 0.6]), "must sum to 1, got 1.1; divide"),
        (lambda: Importance([1.5, -0.5]), "must not be negative, got -0.5 for path 1"),
        (lambda: Importance([float("nan"), 1.0]), "must be finite"),
        (lambda: Importance([[0.5, 0.5]]), r"vector of shape \(P,\), got \(1, 2\)"),
        (lambda: Importance([]), "vector of shape"),
        (lambda: Importance("ab"), "must be numbers, one for each path, got 'ab'"),
        (lambda: Importance(None), "must be numbers, one for each path, got None"),
        (lambda: Uniform().probabilities, "part of a StochasticLoss"),
        (lambda: Energy([0.0, 0.0]), "every path is silent"),
        (lambda: Energy([1.0, -1.0]), "numbers in \\[0, 1e\\+70\\]"),
        (lambda: Energy([1.0, 1e200], power=2.0), "numbers in \\[0, 1e\\+70\\]"),
        (lambda: Energy([1.0], floor=1.5), r"floor must lie in \[0, 1\]"),
        (lambda: Energy([1.0], threshold=1.0), r"threshold must lie in \[0, 1\), got 1"),
        (lambda: Energy([1.0], power=-1.0), "power must lie in \\[0, 4\\], got -1"),
        (lambda: Energy([1.0, 3.0], power=1e30), "power must lie in \\[0, 4\\]"),
        (lambda: Energy.running(decay=1.0), r"decay must lie in \[0, 1\), got 1"),
        (lambda: AdaptiveImportance(floor=-0.1), r"floor must lie in \[0, 1\], got -0.1"),
        (lambda: AdaptiveImportance(every=0), "every must be a positive integer, got 0"),
        (lambda: AdaptiveImportance(every=True), "every must be a positive integer, got True"),
        (lambda: AdaptiveImportance().probabilities, "AdaptiveImportance knows its paths only"),
        (lambda: Reshuffle().probabilities, "Reshuffle knows its paths only"),
        (lambda: Stratified("rate").probabilities, "Stratified knows its paths only"),
        (lambda: Stratified("rate", [0.5, 0.6]), "probabilities must sum to 1, got 1.1"),
        (
            lambda: bound(Stratified([[0, 1, 2, 3]], [0.5, 0.5])),
            "2 probabilities for a loss with 4",
        ),
        (lambda: bound(Energy([1.0, 2.0])), "2 energies for a loss with 4 paths"),
        (lambda: Mixture([]), r"a Mixture needs samplers, .* got \[\]"),
        (lambda: Mixture([Uniform]), "a Mixture needs samplers"),
        (lambda: Mixture([Uniform()], [0.5]), "mixture weights must sum to 1, got 0.5"),
        (lambda: Mixture([Uniform()], [0.5, 0.5]), "got 2 weights for 1 samplers"),
        (
            lambda: AdaptiveImportance(observes="target_norms"),
            'observes must be "gradient_norms" or "losses", got \'target_norms\'',
        ),
        (
            lambda: bound(Observing("loses")),
            'of Observing must be "gradient_norms", "losses", "target_norms" or None, got \'loses',
        ),
        (lambda: bound(Observing(["losses"])), r"or None, got \['losses'\]"),
        (lambda: Mixture([AdaptiveImportance(), Observing(())]), r"of Observing must .*, got \(\)"),
        (
            lambda: Mixture([AdaptiveImportance(), AdaptiveImportance(observes="losses")]),
            "must learn from the same thing, got gradient_norms and losses",
        ),
        (
            lambda: Mixture([AdaptiveImportance(), Energy()]),
            "must learn from the same thing, got gradient_norms and target_norms",
        ),
        (
            lambda: bound(Uniform(replacement=False), n_draws=5),
            "Uniform cannot make 5 draws without replacement: only 4 paths",
        ),
        (lambda: bound(Reshuffle(), n_draws=5), "Reshuffle cannot make 5 draws"),
        (
            lambda: bound(Importance([0.5, 0.5, 0.0, 0.0], replacement=False), n_draws=3),
            "Importance cannot make 3 draws without replacement: only 2 paths",
        ),
        (lambda: bound(Mixture([Uniform(), Reshuffle()]), n_draws=5), "Reshuffle cannot make 5"),
        (
            lambda: bound(AdaptiveImportance(floor=0.0, replacement=False), n_draws=2),
            "left with less than 2 paths when it learns with floor=0, threshold=0; set a positive",
        ),
        (
            lambda: bound(Energy.running(threshold=0.1, replacement=False), n_draws=2),
            "floor=0.1, threshold=0.1",
        ),
    ],
)
def test_refused_settings(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_unbiased_exactly_when_every_path_is_possible():
    assert Importance([0.5, 0.5]).unbiased
    assert not Importance([1.0, 0.0]).unbiased
    assert not Energy([1.0, 0.0], floor=0.0).unbiased
    assert Energy([1.0, 0.0], floor=0.1).unbiased
