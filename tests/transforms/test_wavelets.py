"""Both wavelet transforms: PyWavelets' values, inverses, bands, no more work than asked for."""

import copy
import math
import pickle
from typing import get_args

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import TransformLoss
from multipath.errors import InputError
from multipath.transforms import WaveletPacket, WaveletTransform
from multipath.transforms._dwt.extension import Mode
from multipath.transforms._dwt.subbands import Subbands

from .cases import PRECISION, require_equal
from .cases import double_noise as noise

MODES = get_args(Mode)
WAVELETS = ["haar", "db2", "db5", "sym4", "coif1", "bior1.3", "bior2.2", "rbio3.1", "dmey"]


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore:Level value of:UserWarning")  # of PyWavelets
def test_signals_equal_pywavelets(mode, dtype):
    for wavelet in WAVELETS:
        for length in (2, 3, 8, 13, 32, 57) if wavelet != "haar" else (8, 13):
            if mode == "reflect" and wavelet == "dmey" and length == 2:
                continue
            x = noise(2, length)
            transform = WaveletTransform(wavelet, level=2, mode=mode)
            expected = pywt.wavedec(x.numpy(), wavelet, mode, level=2, axis=-1)
            for found, band in zip(transform(x.to(dtype)), expected, strict=True):
                require_equal(found, band, dtype)
            packet = WaveletPacket(wavelet, level=2, mode=mode)
            tree = pywt.WaveletPacket(x.numpy(), wavelet, mode, maxlevel=2, axis=-1)
            for key, found in zip(packet.paths.keys, packet(x.to(dtype)), strict=True):
                require_equal(found, tree[key].data, dtype)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore:Level value of:UserWarning")  # of PyWavelets
def test_images_equal_pywavelets(mode):
    for wavelet, shape in [("haar", (8, 16)), ("db2", (13, 22)), ("bior2.2", (31, 20))]:
        x = noise(2, *shape)
        transform = WaveletTransform(wavelet, level=2, mode=mode, signal_ndim=2)
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
@pytest.mark.parametrize("shape", [(32,), (16, 24)])
def test_the_loss_of_an_orthogonal_wavelet_is_the_distance_of_the_signals(kind, shape):
    x, y = noise(*shape), noise(*shape, seed=1)
    loss = TransformLoss(kind("sym5", level=3, signal_ndim=len(shape)))(x[None], y[None])
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


def test_a_wavelet_of_ones_own():
    taps = np.array([1.0, 1.0]) / math.sqrt(2)
    bank = (taps, taps * [-1, 1], taps, taps * [1, -1])
    own = WaveletTransform(pywt.Wavelet("own", filter_bank=bank), level=2)
    copies = [copy.deepcopy(own), pickle.loads(pickle.dumps(own))]
    x = noise(8)
    for transform in (own, *copies):
        for a, b in zip(transform(x), WaveletTransform("haar", level=2)(x), strict=True):
            torch.testing.assert_close(a, b)


def test_filters_of_odd_length_are_padded():
    odd = pywt.Wavelet("odd", filter_bank=[[0.5, 1.0, 0.2]] * 4)
    x = noise(9)
    for found, expected in zip(
        WaveletTransform(odd, level=1, mode="zero")(x),
        pywt.dwt(x.numpy(), odd, "zero"),
        strict=True,
    ):
        require_equal(found, expected, torch.float64)


def test_joining_is_done_in_full_precision():
    transform = WaveletTransform("db2", level=2)
    x = noise(16).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        joined = transform.inverse(transform(x), 16)
    torch.testing.assert_close(joined, x, rtol=1e-5, atol=1e-5)


def test_coefficients_that_are_no_signals_or_of_several_batches():
    transform = WaveletTransform("db2", 2)
    x = noise(2, 8)
    bands = transform(x)
    torch.testing.assert_close(transform.inverse(bands, np.int64(8)), x)
    with pytest.raises(InputError, match=r"got torch\.int64"):
        transform.inverse([band.long() for band in bands], 8)
    with pytest.raises(InputError, match=r"path 'd2' of shape \(1, .* got \(2, "):
        transform.inverse([bands[0][:1], *bands[1:]], 8)


def test_signals_and_coefficients_that_do_not_fit():
    transform, images = (WaveletTransform("haar", 2, signal_ndim=ndim) for ndim in (1, 2))
    with pytest.raises(InputError, match=r"images of shape \(..., H, W\), got \(8,\)"):
        images(torch.zeros(8))
    with pytest.raises(InputError, match=r"got torch\.int64"):
        transform(torch.zeros(8, dtype=torch.int64))
    bands = transform(torch.zeros(2, 8))
    with pytest.raises(InputError, match="coefficients of all 3 paths, got 2"):
        transform.inverse(bands[:2], 8)
    with pytest.raises(InputError, match=r"path 'd1' of shape \(8,\) .* 16, got \(2, 4\)"):
        transform.inverse([torch.zeros(4), torch.zeros(4), bands[2]], 16)
    with pytest.raises(InputError, match=r"expected 2 positive lengths, got 8"):
        images.inverse(images(torch.zeros(8, 8)), 8)
    with pytest.raises(InputError, match=r"expected 1 positive lengths, got 0"):
        transform.inverse(bands, 0)


def test_orders_of_packets_are_those_of_pywavelets():
    tree = pywt.WaveletPacket(np.ones(32), "haar", maxlevel=4)
    image = pywt.WaveletPacket2D(np.ones((8, 8)), "haar", maxlevel=2)
    natural, frequency = (
        WaveletPacket("haar", 4, order=order).paths.keys for order in ("natural", "frequency")
    )
    assert natural == [node.path for node in tree.get_level(4, "natural")]
    assert frequency == [node.path for node in tree.get_level(4, "freq")]
    natural, frequency = (
        WaveletPacket("haar", 2, signal_ndim=2, order=order).paths.keys
        for order in ("natural", "frequency")
    )
    assert natural == [node.path for node in image.get_level(2, "natural")]
    assert frequency == [node.path for row in image.get_level(2, "freq") for node in row]


@pytest.mark.parametrize("row_band", range(4))
def test_a_wave_is_in_the_band_of_an_image_that_says_so(row_band):
    transform = WaveletPacket("db10", 2, signal_ndim=2)
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for path in transform.paths.filter(row_band=row_band):
        row, column = (
            math.pi * (path.metadata[f"{axis}_low"] + path.metadata[f"{axis}_high"])
            for axis in ("row", "column")
        )
        energies = [c.square().sum() for c in transform(torch.cos(row * rows + column * columns))]
        assert energies.index(max(energies)) == path.index
