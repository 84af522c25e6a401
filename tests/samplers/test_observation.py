"""What samplers that learn are told, and when."""

import logging

import pytest
import torch

from multipath import StochasticLoss, TransformLoss
from multipath.samplers import AdaptiveImportance, Mixture, Uniform
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT

from .cases import batch, gradient_norms


class Recorder(Uniform):
    """Remembers what it is told."""

    def __init__(self, observes, every=1):
        super().__init__()
        self.observes, self.every, self.asked, self.told = observes, every, 0, []

    def wants_observation(self):
        self.asked += 1
        return (self.asked - 1) % self.every == 0

    def observe(self, indices, values):
        self.told.append((indices.tolist(), values))


@pytest.mark.parametrize("grouped", [False, True])
def test_gradient_norms_are_measured_without_disturbing_the_backward(grouped):
    loss = QuadraticLoss(6, weights=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    loss = loss.grouped(by=[[0, 3], [1, 2, 5], [4]]) if grouped else loss
    recorder = Recorder("gradient_norms")
    criterion = StochasticLoss(loss, recorder, n_draws=4, generator=0)
    x, y = batch()
    criterion(x, y).backward()
    ((indices, values),) = recorder.told
    assert indices == criterion.last_draw.indices.unique().tolist()
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, gradient_norms(loss, x, y, indices), rtol=1e-12, atol=0)
    measured, x.grad = x.grad, None
    criterion.estimate(x, y, criterion.last_draw).backward()
    assert torch.equal(measured, x.grad)


def test_gradient_norms_of_a_transform_and_of_a_reconstruction_inside_a_graph():
    loss = TransformLoss(MultiResolutionSTFT([64, 256], [16, 64]))
    recorder = Recorder("gradient_norms")
    criterion = StochasticLoss(loss, recorder, n_draws=6, generator=0)
    weight = torch.ones(1, requires_grad=True)
    sound = torch.randn(2, 1024, generator=torch.Generator().manual_seed(0))
    x = weight * sound
    criterion(x, 0.3 * sound).backward()
    ((indices, values),) = recorder.told
    leaf = sound.clone().requires_grad_()
    expected = gradient_norms(loss, leaf, 0.3 * sound, indices)
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=0)


def test_target_norms_are_averaged_over_the_batch():
    loss, recorder = QuadraticLoss(5), Recorder("target_norms")
    x, y = batch()
    StochasticLoss(loss, recorder, n_draws=3, generator=0)(x.detach(), y)
    ((indices, values),) = recorder.told
    torch.testing.assert_close(values, loss.target_norms(y, indices).mean(dim=1))


def test_only_new_draws_of_training_with_gradients_are_observed():
    x, y = batch()
    recorder = Recorder("gradient_norms", every=2)
    criterion = StochasticLoss(QuadraticLoss(5), recorder, generator=0)
    with torch.no_grad():
        criterion(x, y)
    criterion.eval()(x, y)
    criterion.train()
    criterion.estimate(x, y, criterion.make_draw([1]))
    assert recorder.asked == 0
    optimizer = torch.optim.SGD([x], lr=0.0)
    criterion.redraw_after(optimizer)
    for _ in range(4):
        for _ in range(3):  # micro-batches with one draw
            criterion(x, y)
        optimizer.step()
    assert recorder.asked == 4
    assert len(recorder.told) == 2
    StochasticLoss(QuadraticLoss(5), other := Recorder("gradient_norms"))(x.detach(), y)
    assert other.told == []  # nothing to differentiate


def test_a_path_that_does_not_depend_on_the_input_has_no_gradient():
    class Half(QuadraticLoss):
        def path_losses(self, input, target, indices):
            values = super().path_losses(input, target, indices)
            return values * (torch.as_tensor(indices) > 0)[:, None]

    recorder = Recorder("gradient_norms")
    criterion = StochasticLoss(Half(2), recorder, n_draws=9, generator=0)
    criterion(*batch())
    assert recorder.told[0][0] == [0, 1]
    assert recorder.told[0][1][0] == 0 < recorder.told[0][1][1]


def test_an_overflow_is_dropped_and_said_once(caplog):
    class Overflowing(QuadraticLoss):
        def path_losses(self, input, target, indices):
            factor = torch.as_tensor([torch.inf if p == 1 else 1.0 for p in indices])
            return super().path_losses(input, target, indices) * factor[:, None]

    sampler = AdaptiveImportance()
    criterion = StochasticLoss(Overflowing(3), sampler, generator=0)
    with caplog.at_level(logging.WARNING, logger="multipath"):
        for _ in range(30):
            criterion(*batch())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "gradient_norms of path 1 was inf" in caplog.text
    assert sampler.state_dict()["estimates"].isnan().tolist() == [False, True, False]
    assert torch.isfinite(sampler.probabilities).all()


def test_the_weights_of_a_draw_are_those_before_it_was_observed():
    loss = QuadraticLoss(4)
    criterion = StochasticLoss(loss, AdaptiveImportance(decay=0.0), n_draws=2, generator=3)
    x, y = batch()
    for step in range(5):
        before = criterion.sampler.probabilities.clone()
        criterion(x + step, y)
        draw = criterion.last_draw
        torch.testing.assert_close(draw.weights, 0.25 / (2 * before[draw.indices]))
        assert not torch.equal(criterion.sampler.probabilities, before)


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
