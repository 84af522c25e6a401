"""Recursive filters: against scipy's sample by sample recursion, and against the formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from multipath.applications.audio.biquad import biquad, high_pass, high_pass_coefficients
from multipath.errors import InputError

RATE = 44100.0
CUTOFFS = torch.tensor([20.0, 20.0, 300.0, 5000.0, 21900.0], dtype=torch.float64)
QUALITIES = torch.tensor([0.5, 10.0, math.sqrt(0.5), 2.0, 10.0], dtype=torch.float64)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def recursion(x: torch.Tensor, b: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    rows = [lfilter(*row) for row in zip(b.numpy(), a.numpy(), x.numpy(), strict=True)]
    return torch.as_tensor(np.stack(rows))


def test_equals_the_recursion_sample_by_sample():
    x = noise(5, 44100)
    b, a = high_pass_coefficients(CUTOFFS, QUALITIES, RATE)
    assert (high_pass(x, CUTOFFS, QUALITIES, RATE) - recursion(x, b, a)).abs().max() < 1e-10


@settings(deadline=None)
@given(
    length=st.integers(1, 70),
    radii=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    angle=st.floats(0, math.pi),
    conjugate=st.booleans(),
)
@pytest.mark.slow
def test_any_length_and_any_poles(length, radii, angle, conjugate):
    if conjugate:
        pole = radii[0] * np.exp(1j * angle)
        a = torch.as_tensor(np.poly([pole, pole.conj()]).real)
    else:
        a = torch.as_tensor(np.poly([radii[0], -radii[1]]).copy())
    x, b = noise(1, length), noise(3)
    found = biquad(x, b, a)
    torch.testing.assert_close(found, recursion(x, b[None], a[None]), rtol=1e-10, atol=1e-10)


def test_single_precision_is_exact_to_single_precision():
    x = noise(5, 44100)
    found = high_pass(x.float(), CUTOFFS.float(), QUALITIES.float(), RATE)
    assert found.dtype == torch.float32
    wanted = high_pass(x.float().double(), CUTOFFS, QUALITIES.float().double(), RATE)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("frequency", [50.0, 997.0, 8000.0])
@pytest.mark.parametrize(("cutoff", "q"), [(997.0, 0.5), (997.0, 3.0), (10000.0, 1.0)])
def test_response_to_a_sine_is_that_of_the_analogue_filter(frequency, cutoff, q):
    phase = 2 * math.pi * frequency * torch.arange(44100, dtype=torch.float64) / RATE
    basis = torch.stack([torch.sin(phase), torch.cos(phase)])
    found = high_pass(basis[0], torch.tensor(cutoff), torch.tensor(q), RATE)
    late = slice(22050, None)  # whole periods, after the onset has died down
    amplitude = (basis[:, late] @ found[late] * 2 / 22050).norm()
    ratio = math.tan(math.pi * frequency / RATE) / math.tan(math.pi * cutoff / RATE)
    wanted = ratio**2 / abs(complex(1 - ratio**2, ratio / q))
    assert amplitude.item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own call
@pytest.mark.slow
def test_gradients_of_first_and_second_order():
    def filtered(x, cutoff, q):
        return high_pass(x, 1000 * cutoff, q, RATE)

    settings = torch.tensor([[0.3, 5.0, 15.0], [0.5, 4.0, 1.0]], dtype=torch.float64)
    inputs = [values.requires_grad_() for values in (noise(3, 40), *settings)]
    assert torch.autograd.gradcheck(filtered, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(filtered, inputs)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own call
def test_functional_transforms_agree_with_autograd():
    x, b = noise(4, 33), noise(4, 3)
    _, a = high_pass_coefficients(CUTOFFS[:4], QUALITIES[:4], RATE)
    mapped = torch.func.vmap(biquad)(x, b, a)
    torch.testing.assert_close(mapped, biquad(x, b, a))

    def energy(a):
        return biquad(x, b, a).square().sum()

    forward_over_reverse = torch.func.jvp(torch.func.grad(energy), (a,), (b,))[1]
    leaf = a.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(leaf), leaf, create_graph=True)
    (reverse_over_reverse,) = torch.autograd.grad((gradient * b).sum(), leaf)
    torch.testing.assert_close(forward_over_reverse[:, 1:], reverse_over_reverse[:, 1:])


def test_one_filter_for_many_signals_and_many_filters_for_one_signal():
    x = noise(2, 3, 50)
    b, a = high_pass_coefficients(CUTOFFS[:3], QUALITIES[:3], RATE)
    torch.testing.assert_close(biquad(x, b[0], a[0])[1, 2], biquad(x[1, 2], b[0], a[0]))
    torch.testing.assert_close(biquad(x[0, 0], b, a)[2], biquad(x[0, 0], b[2], a[2]))


def test_silence_stays_silent_with_finite_gradients():
    cutoff = torch.tensor([20.0, 22049.0], requires_grad=True)
    x = torch.zeros(2, 5000, requires_grad=True)
    y = high_pass(x, cutoff, torch.tensor(10.0), RATE)
    assert not y.any()
    y.sum().backward()
    assert bool(x.grad.isfinite().all())
    assert not cutoff.grad.any()


@pytest.mark.parametrize(
    ("cutoff", "q", "message"),
    [(bad, 1.0, "cutoffs must lie between 0 and half") for bad in (0.0, -1.0, 22050.0, math.nan)]
    + [(100.0, bad, "Q must be positive") for bad in (0.0, -1.0, math.nan)],
)
def test_settings_out_of_range(cutoff, q, message):
    with pytest.raises(InputError, match=message):
        high_pass(noise(1, 9), torch.tensor(cutoff), torch.tensor(q), RATE)
