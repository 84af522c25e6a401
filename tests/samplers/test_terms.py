"""Every sampler with terms that take a network: what those that learn are told instead."""

import logging

import pytest
import torch
from torch import nn

from multipath import BalancedLoss, StochasticLoss, TermLoss
from multipath.errors import ConfigurationError
from multipath.samplers import AdaptiveImportance, Energy, Mixture, Uniform
from multipath.testing import QuadraticLoss

from .cases import CASES, UNBIASED
from .test_observation import Recorder

POINTS = torch.linspace(0.0, 1.0, 8, dtype=torch.float64)[:, None]


def residual(u, points):
    """Of u' = u."""
    x = (points if isinstance(points, torch.Tensor) else POINTS).clone().requires_grad_()
    values = u(x)
    (slope,) = torch.autograd.grad(values.sum(), x, create_graph=True)
    return (slope - values).square().mean()


def start(u, points):
    return (u(torch.zeros(1, 1).double()) - 1.0).square().mean()


def area(u, points):
    return -u(POINTS).mean()  # a loss may be negative


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def terms():
    return TermLoss({"residual": residual, "start": start, "area": area}, weights=[1.0, 5.0, 0.1])


NETWORK = network()
INPUTS = {
    "network": (NETWORK, POINTS),
    "network alone": (NETWORK, None),
    "function": (lambda x: NETWORK(x), {"points": 3}),
}


SEEN = {
    "as it is": lambda loss: loss,
    "grouped": lambda loss: loss.grouped([[0, 2], [1]]),
    "subset": lambda loss: loss.subset([2, 0]),
    "balanced": lambda loss: BalancedLoss(loss, [1.0, 2.0, 3.0]).subset([1, 2]),
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("sampler", CASES)
def test_every_sampler_trains_a_network_that_is_the_input(sampler, name):
    """Probabilities stay those of a law, and estimates unbiased where they claim to be."""
    loss, (u, target) = terms(), INPUTS[name]
    criterion = StochasticLoss(loss, CASES[sampler].make(range(3)), n_draws=2, generator=0)
    before = criterion.sampler.probabilities.clone()
    for _ in range(6):
        criterion(u, target).backward()
    learns = criterion.sampler.observes is not None
    assert torch.equal(criterion.sampler.probabilities, before) != learns
    if sampler in UNBIASED:
        expected = sum(
            probability * criterion.estimate(u, target, criterion.make_draw(paths))
            for paths, probability in criterion.sampler.enumerate(2)
        )
        torch.testing.assert_close(expected, loss(u, target), rtol=1e-12, atol=0)


@pytest.mark.parametrize("wanted", ["gradient_norms", "target_norms"])
@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("seen", SEEN)
def test_losses_take_the_place_of_what_there_is_not(wanted, name, seen, caplog):
    loss, (u, target) = SEEN[seen](terms()), INPUTS[name]
    told = {}
    for kind in (wanted, "losses"):
        recorder = Recorder(kind)
        criterion = StochasticLoss(loss, recorder, n_draws=3, generator=0)
        with caplog.at_level(logging.INFO, logger="multipath"):
            for _ in range(3):
                criterion(u, target)
        told[kind] = recorder.told
    assert [(indices, values.tolist()) for indices, values in told[wanted]] == [
        (indices, values.tolist()) for indices, values in told["losses"]
    ]
    if wanted == "target_norms" and target is None:  # there is nothing else to learn from
        assert not caplog.records
        return
    (record,) = caplog.records
    assert f"Recorder learns from {wanted}, which an input of type" in record.getMessage()
    assert "it learns from the losses instead" in record.getMessage()


def test_losses_are_means_over_the_batch_without_weights():
    loss = QuadraticLoss(5, weights=[1.0, 2.0, 3.0, 4.0, 5.0])
    recorder = Recorder("losses")
    criterion = StochasticLoss(loss, recorder, n_draws=3, generator=0)
    x = torch.linspace(-1, 2, 6).reshape(3, 2).requires_grad_()
    criterion(x, torch.zeros(3, 2)).backward()
    ((indices, values),) = recorder.told
    assert indices == criterion.last_draw.indices.unique().tolist()
    assert (values.dtype, values.device.type, values.requires_grad) == (torch.float64, "cpu", False)
    expected = loss.path_losses(x, torch.zeros(3, 2), indices).double().mean(dim=1)
    torch.testing.assert_close(values, expected.detach(), rtol=1e-7, atol=0)


def test_losses_take_no_pass_of_their_own():
    passes = []

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            passes.append("forward")
            return x.sum()

        @staticmethod
        def backward(ctx, gradient):
            passes.append("backward")
            return gradient.expand(1)

    loss = TermLoss({name: lambda x, _: Counted.apply(x) for name in "abcd"})
    x = torch.ones(1, requires_grad=True)
    criterion = StochasticLoss(loss, AdaptiveImportance(observes="losses"), generator=0)
    criterion(x, None).backward()
    assert passes == ["forward", "backward"]


def test_losses_of_no_number_are_dropped():
    loss = TermLoss({"fine": lambda x, _: x.mean(), "broken": lambda x, _: x.mean() / 0})
    sampler = AdaptiveImportance(observes="losses")
    criterion = StochasticLoss(loss, sampler, n_draws=4, generator=0)
    for _ in range(8):
        criterion(torch.ones(2), None)
    assert sampler.state_dict()["estimates"].tolist()[0] == 1.0
    assert sampler.state_dict()["estimates"].isnan().tolist() == [False, True]


def test_the_size_of_a_loss_counts_not_its_sign():
    signs = []
    loss = TermLoss({str(i): lambda x, _, i=i: i * x.mean() for i in (1, 2, 4)})
    for sign in (1.0, -1.0):
        sampler = AdaptiveImportance(observes="losses", floor=0.0)
        criterion = StochasticLoss(loss, sampler, n_draws=32, generator=0)
        criterion(sign * torch.ones(1), None)
        signs.append(sampler.probabilities)
    torch.testing.assert_close(signs[0], torch.tensor([1.0, 2.0, 4.0]).double() / 7)
    assert torch.equal(*signs)


def test_a_network_within_the_terms_is_learned_from_by_losses(caplog):
    """The points are the input: a tensor, but nothing behind it is trained."""
    u = network()
    loss = TermLoss({"a": lambda x, _: u(x).square().mean(), "b": lambda x, _: u(x).mean()})
    for sampler in (AdaptiveImportance(), Energy.running(), Mixture([Uniform(), Energy.running()])):
        criterion = StochasticLoss(loss, sampler, n_draws=2, generator=0)
        for _ in range(4):
            criterion(POINTS, None).backward()
        assert criterion.sampler.probabilities[0] != 0.5
    # that of gradients; norms of a target that there is not are not missed
    (record,) = caplog.records
    assert "AdaptiveImportance learns from gradient_norms" in record.getMessage()


def test_a_loss_that_says_how_loud_targets_are_is_believed(caplog):
    class Own(TermLoss):
        def target_norms(self, target, indices):
            return torch.as_tensor(indices)[:, None] + 1.0

    loss = Own({"residual": residual, "start": start, "area": area})
    for seen, paths in ((loss, [1.0, 2.0, 3.0]), (loss.subset([2, 0]), [3.0, 1.0])):
        recorder = Recorder("target_norms")
        criterion = StochasticLoss(seen, recorder, n_draws=40, generator=0)
        criterion(network(), POINTS)
        assert recorder.told[0][1].tolist() == paths
    assert not caplog.records


def test_a_kind_that_is_set_too_late_is_refused():
    recorder = Recorder("losses")
    criterion = StochasticLoss(QuadraticLoss(2), recorder)
    recorder.observes = "gradients"
    with pytest.raises(ConfigurationError, match=r"observes of Recorder must be .*got 'gradients'"):
        criterion(torch.ones(1, 1, requires_grad=True), torch.ones(1, 1))
