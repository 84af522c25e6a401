"""Spectrograms: equal to their reference; gradients by hand equal to those of plain operations."""

import json
from functools import partial

import numpy as np
import pytest
import scipy.signal
import torch

from multipath import TransformLoss
from multipath.compat.auraloss.freq import STFTLoss
from multipath.errors import ConfigurationError
from multipath.transforms import MultiResolutionSTFT, _frames
from tests import GOLDEN as FOLDER

from .cases import double_noise as noise

GOLDEN = np.load(FOLDER / "mrstft.npz")
SIZES = [  # fft, hop, win: even and odd, hops that do and do not divide the window, odd margins
    (64, 16, 64),
    (64, 7, 33),
    (63, 20, 20),
    (63, 62, 62),
    (32, 1, 17),
    (2, 1, 1),
    (61, 60, 20),  # samples skipped between windows
]


@pytest.mark.parametrize("index", range(4))
def test_magnitudes_and_gradients_equal_the_reference(index):
    n_samples, frequency = int(GOLDEN["n_samples"]), float(GOLDEN["frequency"])
    x = np.random.default_rng(int(GOLDEN["seed"])).standard_normal(n_samples).astype(np.float32)
    x += np.cos(2 * np.pi * frequency * np.arange(n_samples)).astype(np.float32)
    np.testing.assert_allclose(x[:8], GOLDEN["input_head"], rtol=1e-6)
    transform = MultiResolutionSTFT(**json.loads(str(GOLDEN["settings"])))
    x = torch.from_numpy(x).requires_grad_()
    (found,) = transform.coefficients(x, [index])
    assert found.shape == tuple(GOLDEN[f"shape_{index}"])
    expected = torch.from_numpy(GOLDEN[f"values_{index}"])
    values = found.detach().flatten()[:: int(GOLDEN["entry_stride"])]
    assert (values - expected).abs().max() <= 1e-6 * expected.max()
    found.sum().backward()
    expected = torch.from_numpy(GOLDEN[f"gradient_{index}"])
    assert (x.grad[::8] - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize(("fft", "hop", "win"), SIZES)
def test_any_sizes_give_what_torch_gives(fft, hop, win):
    def window(length, dtype):  # without symmetry, so that its place and direction matter
        return torch.linspace(0.2, 1.0, length, dtype=dtype)

    transform = MultiResolutionSTFT([fft], [hop], [win], window=window)
    x = noise(3, 211).requires_grad_()
    (found,) = transform(x)
    spectrum = torch.stft(x, fft, hop, win, window(win, dtype=torch.float64), return_complex=True)
    torch.testing.assert_close(found, spectrum.abs(), rtol=1e-10, atol=1e-12)
    weights = noise(*found.shape, seed=1)
    (plain,) = torch.autograd.grad(spectrum.abs(), x, weights)
    (by_hand,) = torch.autograd.grad(found, x, weights, retain_graph=True)
    (twice_differentiable,) = torch.autograd.grad(found, x, weights, create_graph=True)
    torch.testing.assert_close(by_hand, plain, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(twice_differentiable.detach(), plain, rtol=1e-9, atol=1e-11)
    assert (by_hand.requires_grad, twice_differentiable.requires_grad) == (False, True)


@pytest.mark.parametrize("name", ["hann", "flattop", ("kaiser", 12.0)])
def test_windows_by_name_are_those_of_scipy_periodic(name):
    transform = MultiResolutionSTFT([67], [33], window=name)
    window = torch.from_numpy(scipy.signal.get_window(name, 67, fftbins=True))
    x = noise(300)
    spectrum = torch.stft(x, 67, 33, 67, window, return_complex=True)
    torch.testing.assert_close(transform(x)[0], spectrum.abs(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (lambda length, dtype: torch.ones(length + 1, dtype=dtype), r"of 64 finite .* \(65,\)"),
        (lambda length, dtype: torch.ones(length, 1, dtype=dtype), r"of 64 finite .* \(64, 1\)"),
        (lambda length, dtype: torch.full((length,), torch.nan, dtype=dtype), "of 64 finite"),
        (lambda length, dtype: torch.ones(length) + 0j, "got torch.complex64"),
        (lambda length, dtype: np.ones(length), "got ndarray"),
        (lambda length: torch.ones(length), "a function of a length and dtype="),
    ],
)
def test_functions_that_make_no_window_are_refused(window, message):
    with pytest.raises(ConfigurationError, match=f"^window must .*{message}"):
        MultiResolutionSTFT([64], window=window)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "window",
    [
        (),
        ("kaiser",),
        ("kaiser", np.nan),
        ("kaiser", 1e9),
        ("gaussian", 0),
        np.nan,
        np.ones(64),
        {},
    ],
)
@pytest.mark.parametrize(
    "make", [partial(MultiResolutionSTFT, [64]), partial(STFTLoss, 64, 16, 64)]
)
def test_windows_that_scipy_cannot_make_are_refused(make, window):
    with pytest.raises(ConfigurationError, match=r"^window must be .* knows, got [^\n]*$"):
        make(window=window)


@pytest.mark.parametrize("sizes", [(16, 8, 16), (15, 4, 9)])
@pytest.mark.slow
def test_gradients_of_gradients(sizes):
    transform = MultiResolutionSTFT(*([size] for size in sizes))
    x = noise(2, 40).requires_grad_()
    assert torch.autograd.gradcheck(transform, (x,))
    assert torch.autograd.gradgradcheck(transform, (x,))


def test_tiles_join_without_seams(monkeypatch):
    transform = MultiResolutionSTFT([64], [16], [50])
    x = noise(5, 300).requires_grad_()
    results = []
    for size in (5, 2):
        monkeypatch.setattr(_frames, "tile_size", lambda *_, size=size: size)
        (found,) = transform(x)
        results.append((found, *torch.autograd.grad(found.square().sum(), x)))
    for whole, tiled in zip(*results, strict=True):
        torch.testing.assert_close(tiled, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("amplitude", [1e-30, 1e-12, 1.0, 1e12, 1e30])
@pytest.mark.parametrize("upstream", [1e-30, 1.0, 1e30])
def test_single_precision_serves_any_amplitude(amplitude, upstream):
    transform = MultiResolutionSTFT([64], [16], [50])
    x = noise(2, 300)
    x[1, :200] *= 1e-25  # squares beside the peak of which nothing is left
    reference = x.clone().requires_grad_()
    single = (amplitude * x).float().requires_grad_()
    (expected,), (found,) = transform(reference), transform(single)
    torch.testing.assert_close(
        found.double() / amplitude, expected, rtol=1e-4, atol=1e-5 * expected.max().item()
    )
    weights = noise(*found.shape, seed=1)
    (wanted,) = torch.autograd.grad(expected[:1], reference, weights[:1])
    (gradient,) = torch.autograd.grad(found, single, (upstream * weights).float())
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(
        gradient[0].double() / upstream, wanted[0], rtol=1e-3, atol=1e-4 * wanted.max().item()
    )


def test_silence_has_no_gradient_even_beside_sound():
    transform = MultiResolutionSTFT([32, 64], [16, 20])
    x = torch.cat([torch.zeros(1, 400), noise(1, 400).float()]).requires_grad_()
    sum(c.sum() for c in transform(x)).backward()
    assert torch.equal(x.grad[0], torch.zeros(400))
    assert x.grad[1].abs().min() > 0


def test_nothing_is_kept_for_a_target_without_gradient():
    transform = MultiResolutionSTFT([64, 128])
    loss = TransformLoss(transform, distance="l1")

    def kept(x, y):
        """Numbers that the graph holds of the transform, each storage once."""
        held = {}

        def keep(tensor):
            held[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            transform.coefficient_pairs(x, y, [0, 1])
        return sum(tensor.numel() for tensor in held.values() if tensor.is_complex())

    x, y = noise(2, 600).requires_grad_(), noise(2, 600, seed=1)
    alone = kept(x, y)
    bins = sum(c.numel() for c in transform(y))
    assert alone == bins
    assert kept(x, y.clone().requires_grad_()) == 2 * bins
    assert kept(x.detach(), y) == 0
    (a,) = torch.autograd.grad(loss(x, y), x)
    (b,) = torch.autograd.grad(loss(y, x), x)
    torch.testing.assert_close(a, b)
