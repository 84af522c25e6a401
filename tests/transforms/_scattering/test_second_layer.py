"""The second layer: averages of moduli, by tiles."""

import pytest
import torch

from multipath.transforms._numerics import tiles as _tiles
from multipath.transforms._scattering import second_layer as _second_layer
from multipath.transforms._scattering.average import StridedAverage
from multipath.transforms._scattering.blocks import Line
from multipath.transforms._scattering.mixing import Mixing
from multipath.transforms._scattering.modulation import Modulation, Part
from multipath.transforms._scattering.second_layer import Branch, averaged_moduli
from multipath.transforms._scattering.wavelets import low_pass
from tests.transforms.cases import assert_near
from tests.transforms.cases import double_noise as noise

from .cases import DOUBLE

SAMPLES, ROWS, OUT = 64, 5, 7


def branch_of(mixed):
    """Some rows of two layers, some of their bins."""
    halves = [noise(20) / 2, noise(20, seed=2) / 2]
    first, second = (torch.stack([half + 0j, -1j * half])[:, None, None] for half in halves)
    parts = [
        Part(0, [0, 1], slice(3, 23), first),
        Part(1, [0, 2, 3], slice(1, 21), second),
    ]
    average = StridedAverage(low_pass(12).spectrum(SAMPLES), 8, range(1, 7), like=DOUBLE)
    mixing = Mixing(noise(2 * OUT, 2 * ROWS, seed=4), OUT, 0) if mixed else None
    return Branch(Modulation(parts, SAMPLES), average, Line.all(SAMPLES), mixing)


def plain_average(branch, spectra):
    first, second = (2 * part.weights[0] for part in branch.modulate.parts)
    bands = torch.cat([spectra[0][:, :2, 3:23] * first, spectra[1][:, [0, 2, 3], 1:21] * second], 1)
    bands = torch.nn.functional.pad(bands, (1, 0))  # bin 0 stays free
    analytic = torch.fft.ifft(bands, n=SAMPLES, norm="forward")
    real, imaginary = analytic.real, analytic.imag
    if branch.mixing is not None:
        stacked = torch.cat([real, imaginary], dim=1)
        real, imaginary = (branch.mixing.matrix @ stacked).chunk(2, dim=1)
    low = torch.from_numpy(low_pass(12).spectrum(SAMPLES))
    smooth = torch.fft.ifft(torch.fft.fft((real**2 + imaginary**2).sqrt()) * low).real
    return smooth[..., 8:56:8]


def two_spectra(n, seed=0):
    return [noise(n, rows, 30, seed=seed + rows, dtype=torch.complex128) for rows in (2, 4)]


@pytest.mark.parametrize("tile", [1, 500, 1000, 2**11, 2**12, 2**21])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("kept", [0, 2**23])
@pytest.mark.parametrize("extra", [None, 0, 2])
def test_averages_of_moduli(tile, mixed, extra, kept, monkeypatch):
    monkeypatch.setattr(_tiles, "CPU_TILE", tile)
    monkeypatch.setattr(_second_layer, "KEPT", kept)
    branch = branch_of(mixed)
    spectra = [s.requires_grad_() for s in two_spectra(3)]
    joint = None
    if extra is not None:
        joint = [
            torch.cat([s.detach(), more[:extra]])
            for s, more in zip(spectra, two_spectra(3, seed=10), strict=True)
        ]
    (actual,) = averaged_moduli([branch], spectra, joint)
    assert_near(actual.detach(), plain_average(branch, joint or spectra).detach())
    weight = noise(*actual.shape)
    expected = torch.autograd.grad((plain_average(branch, spectra) * weight[:3]).sum(), spectra)
    for create_graph in (True, False):
        found = torch.autograd.grad(
            (actual * weight).sum(), spectra, create_graph=create_graph, retain_graph=True
        )
        for a, b in zip(found, expected, strict=True):
            assert_near(a.detach(), b)


def test_directions_are_kept_as_long_as_there_is_room(monkeypatch):
    branches = [branch_of(mixed) for mixed in (True, False, True)]
    spectra = [s.requires_grad_() for s in two_spectra(3)]
    joint = [torch.cat([s.detach(), s.detach()]) for s in spectra]  # a target in the same tile
    numbers = 2 * branches[0].rows * 3 * branches[0].line.length
    n_own = len(spectra)
    for room, n_directions in ((0, 1), (numbers, 2), (2 * numbers, 3)):
        monkeypatch.setattr(_second_layer, "KEPT", room)
        found = averaged_moduli(branches, spectra, joint)
        kept = found[0].grad_fn.saved_tensors[n_own:]
        assert len(kept) == n_directions
        # no part of something larger
        assert all(k.untyped_storage().nbytes() == k.nbytes for k in kept)


@pytest.mark.parametrize("kept", [0, 2**23])
def test_gradients_of_several_branches_add_up(kept, monkeypatch):
    monkeypatch.setattr(_second_layer, "KEPT", kept)
    branches = [branch_of(mixed) for mixed in (False, True, False)]
    spectra = [s.requires_grad_() for s in two_spectra(3)]
    first, second, _ = averaged_moduli(branches, spectra)  # the third one gets no gradient
    weights = [noise(*first.shape), noise(*second.shape)]
    actual = (first * weights[0]).sum() + (second * weights[1]).sum()
    expected = sum(
        (plain_average(branch, spectra) * weight).sum()
        for branch, weight in zip(branches, weights, strict=False)
    )
    assert_near(actual.detach(), expected.detach())
    for create_graph in (True, False):
        found = torch.autograd.grad(actual, spectra, create_graph=create_graph, retain_graph=True)
        wanted = torch.autograd.grad(expected, spectra, retain_graph=True)
        for a, b in zip(found, wanted, strict=True):
            assert_near(a.detach(), b)


def test_small_tiles_are_many(monkeypatch):
    branch, counts = branch_of(True), []
    for tile in (2**21, 1):
        monkeypatch.setattr(_tiles, "CPU_TILE", tile)
        batches = branch.batches(3, 0, DOUBLE.device)
        sizes = [len(range(3)[batch]) for batch, _ in batches]
        counts.append(sum(len(branch.tiles(size, DOUBLE.device)) for size in sizes))
    assert counts == [1, 12]  # from all at once to two rows of one signal
