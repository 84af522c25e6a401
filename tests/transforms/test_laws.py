"""What every transform owes its users, on a table of transforms."""

import copy
from itertools import product

import pytest
import torch

from multipath import StochasticLoss, TransformLoss

from .cases import TRANSFORMS, N, noise, random_subset, shared


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return shared(request.param)


@pytest.mark.slow
def test_any_batch_shape_and_memory_layout(transform):
    x = noise(2, 3, N)
    batched = transform(x)
    for i, j in [(0, 0), (1, 2)]:
        for whole, single in zip(batched, transform(x[i, j]), strict=True):
            torch.testing.assert_close(whole[i, j], single, rtol=1e-5, atol=1e-8)
    strided = noise(N, 2).t()
    for a, b in zip(transform(strided), transform(strided.contiguous()), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.slow
def test_precision_follows_the_signal_and_is_at_least_single(transform):
    x = noise(2, N, dtype=torch.float64)
    for exact, single in zip(transform(x), transform(x.float()), strict=True):
        assert (exact.dtype, single.dtype) == (torch.float64, torch.float32)
        assert (exact - single).abs().max() <= 1e-5 * exact.abs().max()
    for dtype in (torch.float16, torch.bfloat16):
        half = x.to(dtype)
        for found, expected in zip(transform(half), transform(half.float()), strict=True):
            assert found.dtype == torch.float32
            assert torch.equal(found, expected)


def test_casting_the_module_there_and_back_loses_nothing(transform):
    x = noise(N, dtype=torch.float64)
    there_and_back = copy.deepcopy(transform).half().double()
    for a, b in zip(transform(x), there_and_back(x), strict=True):
        assert torch.equal(a, b)


def test_filters_are_named_buffers_and_not_saved(transform):
    assert dict(transform.named_buffers())
    assert not transform.state_dict()


HARD = {
    "silence": lambda: torch.zeros(N),
    "nearly zero": lambda: 1e-40 * noise(N),
    "too quiet to square": lambda: 1e-30 * noise(N),
    "barely audible": lambda: 1e-12 * noise(N),
    "impulse": lambda: torch.eye(N)[N // 2],
    "impulse at the end": lambda: torch.eye(N)[-1],
    "constant": lambda: torch.ones(N),
    "constant and silence": lambda: torch.cat([torch.zeros(N // 2), torch.ones(N - N // 2)]),
    "square wave": lambda: torch.sign(torch.sin(0.1 * torch.arange(N))),
}


@pytest.mark.parametrize("signal", HARD)
@pytest.mark.slow
def test_gradients_are_finite_at_hard_signals(transform, signal):
    x = HARD[signal]().expand(2, N).clone()
    chosen = random_subset(transform, 4, seed=2)
    for distance, rho in product(("squared_l2", "l2", "l1"), (None, "log1p")):
        loss = TransformLoss(transform, distance=distance, rho=rho)
        for y in (x.clone(), torch.zeros(2, N), noise(2, N)):
            moving = x.clone().requires_grad_()
            loss.path_losses(moving, y, chosen).sum().backward()
            assert torch.isfinite(moving.grad).all()
    if signal not in ("silence", "nearly zero", "constant"):  # where moduli vanish, nothing pulls
        assert moving.grad.abs().max() > 0


@pytest.mark.parametrize("make", [*list(TRANSFORMS.values())[:3], TRANSFORMS["mrstft"]])
@pytest.mark.slow
def test_second_derivatives_of_sounds_with_silences(make):
    # Rounding leaves some moduli exactly zero there, where 1 / |z| must not be met.
    transform = make()
    burst = torch.zeros(N, dtype=torch.float64)
    burst[400:600] = torch.hann_window(200, dtype=torch.float64) * noise(200, dtype=torch.float64)
    gain = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = TransformLoss(transform)

    def slope(gain):
        value = loss(torch.sin(gain * burst), burst)
        return torch.autograd.grad(value, gain, create_graph=True)[0]

    (curvature,) = torch.autograd.grad(slope(gain), gain)
    step = 1e-5
    above, below = ((1 + sign * step) * gain.detach() for sign in (1, -1))
    difference = slope(above.requires_grad_()) - slope(below.requires_grad_())
    assert curvature.item() == pytest.approx(difference.item() / (2 * step), rel=1e-4)


@pytest.mark.parametrize("gain", [1e9, 1e20, 1e30])
def test_large_gradients_at_silence_stay_finite(transform, gain):
    x = torch.zeros(N, requires_grad=True)
    sum(gain * c.sum() for c in transform(x)).backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.slow
def test_an_evaluation_in_inference_mode_does_not_spoil_training():
    for make in TRANSFORMS.values():
        transform = make()
        with torch.inference_mode():
            transform(noise(2, N))
        x = noise(2, N).requires_grad_()
        sum(c.sum() for c in transform(x)).backward()
        assert x.grad.abs().max() > 0


def test_autocast_keeps_out_of_coefficients_and_losses(transform):
    x, y = noise(2, N), noise(2, N, seed=1)
    criterion = StochasticLoss(TransformLoss(transform), n_draws=3, generator=0)
    expected, value = transform(x), criterion.estimate(x, y, criterion.make_draw([0, 1, 2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for a, b in zip(transform(x), expected, strict=True):
            assert torch.equal(a, b)
        assert torch.equal(criterion.estimate(x, y, criterion.make_draw([0, 1, 2])), value)
        linear = torch.nn.Linear(N, N)
        loss = criterion(linear(x), y)  # a bfloat16 input beside a float32 target
    assert loss.dtype == torch.float32
    loss.backward()
    assert torch.isfinite(linear.weight.grad).all()
