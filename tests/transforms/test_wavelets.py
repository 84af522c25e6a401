"""What both wavelet transforms owe: PyWavelets' values, inverses, no more work than asked for."""

import math
from contextlib import nullcontext
from typing import get_args

import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import TransformLoss
from multipath.errors import ConfigurationError
from multipath.transforms import WaveletPacket, WaveletTransform
from multipath.transforms._dwt.extension import Mode
from multipath.transforms._dwt.subbands import Subbands

from .cases import PRECISION, require_equal
from .cases import double_noise as noise

MODES = get_args(Mode)


WAVELETS = ["haar", "db2", "db5", "sym4", "coif1", "bior1.3", "bior2.2", "rbio3.1", "dmey"]


ORTHOGONAL = ["haar", "db2", "db7", "sym5", "coif2"]


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("mode", MODES)
def test_signals_equal_pywavelets(mode, dtype):
    for wavelet in WAVELETS:
        for length in (2, 3, 8, 13, 32, 57) if wavelet != "haar" else (8, 13):
            if mode == "reflect" and wavelet == "dmey" and length == 2:
                continue
            x = noise(2, length)
            transform = WaveletTransform(wavelet, level=2, mode=mode)
            with pytest.warns() if _too_deep(length, wavelet, 2) else nullcontext():
                expected = pywt.wavedec(x.numpy(), wavelet, mode, level=2, axis=-1)
            for found, band in zip(transform(x.to(dtype)), expected, strict=True):
                require_equal(found, band, dtype)
            packet = WaveletPacket(wavelet, level=2, mode=mode)
            tree = pywt.WaveletPacket(x.numpy(), wavelet, mode, maxlevel=2, axis=-1)
            for key, found in zip(packet.paths.keys, packet(x.to(dtype)), strict=True):
                require_equal(found, tree[key].data, dtype)


def _too_deep(length, wavelet, level):
    return level > pywt.dwt_max_level(length, wavelet)


@pytest.mark.parametrize("mode", MODES)
def test_images_equal_pywavelets(mode):
    for wavelet, shape in [("haar", (8, 16)), ("db2", (13, 22)), ("bior2.2", (31, 20))]:
        x = noise(2, *shape)
        transform = WaveletTransform(wavelet, level=2, mode=mode, signal_ndim=2)
        with pytest.warns() if _too_deep(min(shape), wavelet, 2) else nullcontext():
            approximation, *details = pywt.wavedec2(x.numpy(), wavelet, mode, level=2)
        expected = [approximation, *(band for level in details for band in level)]
        for found, band in zip(transform(x), expected, strict=True):
            require_equal(found, band, torch.float64)
        packet = WaveletPacket(wavelet, level=2, mode=mode, signal_ndim=2)
        tree = pywt.WaveletPacket2D(x.numpy(), wavelet, mode, maxlevel=2)
        for key, found in zip(packet.paths.keys, packet(x), strict=True):
            require_equal(found, tree[key].data, torch.float64)


@pytest.mark.parametrize("kind", [WaveletTransform, WaveletPacket])
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=15)
@given(
    wavelet=st.sampled_from([w for w in WAVELETS if w != "dmey"]),
    level=st.integers(1, 3),
    shape=st.lists(st.integers(2, 40), min_size=1, max_size=2),
    dtype=st.sampled_from(list(PRECISION)),
)
def test_what_was_split_can_be_joined(kind, wavelet, mode, level, shape, dtype):
    transform = kind(wavelet, level, mode, signal_ndim=len(shape))
    x = noise(3, *shape)
    found = transform.inverse(transform(x.to(dtype)), length=shape)
    assert found.shape == x.shape
    assert (found - x).abs().max() < 1e5 * torch.finfo(dtype).eps


@pytest.mark.parametrize("kind", [WaveletTransform, WaveletPacket])
@pytest.mark.parametrize("wavelet", ORTHOGONAL)
def test_orthogonal_wavelets_keep_energy(kind, wavelet):
    x = noise(32)
    energy = sum(c.square().sum() for c in kind(wavelet, level=3)(x))
    assert energy.item() == pytest.approx(x.square().sum().item(), rel=1e-10)
    image = noise(16, 24)
    bands = kind(wavelet, level=2, signal_ndim=2)(image)
    assert sum(c.square().sum() for c in bands).item() == pytest.approx(
        image.square().sum().item(), rel=1e-10
    )
    # hence the loss is the squared distance of the signals
    y = noise(32, seed=1)
    loss = TransformLoss(kind(wavelet, level=3))(x, y)
    assert loss.item() == pytest.approx((x - y).square().sum().item(), rel=1e-10)


def test_a_tone_is_in_the_band_that_says_so():
    sample_rate = 1000.0
    for transform in (
        WaveletPacket("db10", 3, sample_rate=sample_rate),
        WaveletTransform("db10", 4, sample_rate=sample_rate),
    ):
        for path in transform.paths:
            middle = (path.metadata["low"] + path.metadata["high"]) / 2
            tone = torch.cos(2 * math.pi * middle / sample_rate * torch.arange(512.0))
            energies = [c.square().sum().item() for c in transform(tone)]
            assert energies.index(max(energies)) == path.index
            assert energies[path.index] > 0.8 * sum(energies)
    bands = WaveletPacket("haar", 3, sample_rate=sample_rate).paths
    assert [path.metadata["band"] for path in bands] == list(range(8))
    assert bands[-1].metadata["high"] == sample_rate / 2


def test_orientations():
    stripes = torch.cos(2 * math.pi * 0.35 * torch.arange(64.0))[:, None].expand(64, 64)
    for kind in (WaveletTransform, WaveletPacket):
        transform = kind("db4", level=2, signal_ndim=2)
        for image, expected in [
            (stripes, "horizontal"),
            (stripes.T, "vertical"),
            (stripes * stripes.T, "diagonal"),
        ]:
            energies = [c.square().sum().item() for c in transform(image)]
            best = transform.paths[energies.index(max(energies))]
            assert best.metadata["orientation"] == expected
        assert "orientation" not in transform.paths[0].metadata


def nodes_computed(monkeypatch, transform, x, keys):
    """How many nodes of the tree are computed for some paths, and of how many samples."""
    outputs = []
    original = Subbands._halves

    def counted(self, *arguments):
        outputs.append(original(self, *arguments))
        return outputs[-1]

    monkeypatch.setattr(Subbands, "_halves", counted)
    transform.coefficients(x, [transform.paths.index_of(key) for key in keys])
    monkeypatch.undo()
    return sum(out.shape[1] for out in outputs), sum(out.numel() for out in outputs)


@pytest.mark.parametrize(
    ("kind", "ndim", "keys", "expected"),
    [
        (WaveletTransform, 1, ["d1"], 1),
        (WaveletTransform, 1, ["d3"], 3),
        (WaveletTransform, 1, ["d3", "a3"], 4),
        (WaveletTransform, 1, ["a3", "d3", "d2", "d1"], 6),
        (WaveletTransform, 2, ["h1"], 2),
        (WaveletTransform, 2, ["h1", "d1"], 3),
        (WaveletPacket, 1, ["aad"], 3),
        (WaveletPacket, 1, ["aad", "aaa"], 4),
        (WaveletPacket, 1, ["aad", "add", "daa"], 8),
        (WaveletPacket, 2, ["ahd"], 6),
    ],
)
def test_only_branches_that_are_needed_are_computed_and_once(
    monkeypatch, kind, ndim, keys, expected
):
    transform = kind("db2", level=3, signal_ndim=ndim)
    count, _ = nodes_computed(monkeypatch, transform, noise(*[32] * ndim), keys)
    assert count == expected
    every = transform(noise(*[32] * ndim))
    found = transform.coefficients(noise(*[32] * ndim), [transform.paths.index_of(k) for k in keys])
    for key, band in zip(keys, found, strict=True):
        torch.testing.assert_close(band, every[transform.paths.index_of(key)])


@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize("kind", [WaveletTransform, WaveletPacket])
def test_costs_are_the_samples_computed_for_a_path_alone(monkeypatch, kind, ndim):
    transform = kind("db2", level=3, signal_ndim=ndim)
    x = noise(*[32] * ndim)
    samples = torch.tensor(
        [nodes_computed(monkeypatch, transform, x, [key])[1] for key in transform.paths.keys],
        dtype=torch.float64,
    )
    costs = torch.tensor([path.cost for path in transform.paths], dtype=torch.float64)
    torch.testing.assert_close(costs, samples / samples.mean())
    assert (len(set(costs.tolist())) > 1) == (kind is WaveletTransform)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.slow
def test_first_and_second_derivatives(mode):
    for kind, shape in ((WaveletTransform, (11,)), (WaveletPacket, (5, 6))):
        transform = kind("db2", level=2, mode=mode, signal_ndim=len(shape))
        x = noise(2, *shape).requires_grad_()

        def energies(x, transform=transform):
            return torch.stack([c.square().sum() for c in transform(x)])

        assert torch.autograd.gradcheck(energies, (x,))
        assert torch.autograd.gradgradcheck(energies, (x,))


@pytest.mark.parametrize("kind", [WaveletTransform, WaveletPacket])
def test_images_of_any_batch_shape_and_layout(kind):
    transform = kind("db2", level=2, signal_ndim=2)
    x = noise(2, 3, 9, 12)
    for whole, single in zip(transform(x), transform(x.mT.contiguous().mT[1, 2]), strict=True):
        torch.testing.assert_close(whole[1, 2], single)
    joined = transform.inverse(transform(x), length=(9, 12))
    torch.testing.assert_close(joined, x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WaveletTransform("db99"), r"no discrete wavelet 'db99'; pywt.wavelist"),
        (lambda: WaveletTransform("morl"), "no discrete wavelet 'morl'"),
        (lambda: WaveletTransform(4), "a name or a pywt.Wavelet, got 4"),
        (lambda: WaveletTransform(""), "no discrete wavelet ''"),
        (lambda: WaveletTransform(level=0), "level must lie between 1 and 62, got 0"),
        (lambda: WaveletTransform(level=1200), "level must lie between 1 and 62, got 1200"),
        (lambda: WaveletTransform(signal_ndim=1.0), "signal_ndim must be a whole number, got 1.0"),
        (lambda: WaveletTransform(sample_rate="a"), "sample_rate must be positive, .* got 'a'"),
        (lambda: WaveletPacket(level=2.0), "level must be a whole number, got 2.0"),
        (lambda: WaveletPacket(mode="smooth"), "mode must be one of periodization, .* 'smooth'"),
        (lambda: WaveletPacket(signal_ndim=3), "signal_ndim must be 1 or 2, got 3"),
        (lambda: WaveletPacket(order="freq"), '"frequency" or "natural", got \'freq\''),
        (lambda: WaveletPacket(sample_rate=0), "sample_rate must be positive"),
    ],
)
def test_what_cannot_be_is_refused_at_construction(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()
