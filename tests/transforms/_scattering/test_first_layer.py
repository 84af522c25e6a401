"""The first layer: groups of wavelets, and spectra of their moduli."""

import pytest
import torch

from multipath.transforms._numerics import tiles as _tiles
from multipath.transforms._numerics.analytic import stuffed
from multipath.transforms._scattering.bands import find_band, unwrapped
from multipath.transforms._scattering.blocks import Blocks
from multipath.transforms._scattering.first_layer import (
    Section,
    WaveletGroup,
    as_sources,
    differentiably_read_moduli,
    read_moduli,
)
from multipath.transforms._scattering.low_bins import LowBins, SignedBins
from multipath.transforms._scattering.readings import Mean, OfRows, Samples
from multipath.transforms._scattering.wavelets import Wavelet
from tests.transforms.cases import assert_near
from tests.transforms.cases import double_noise as noise

from .cases import DOUBLE, scalar

PADDED = 256


GROUPS = {  # wavelets; one sample kept in 2^level, how much longer transforms must be, shifts
    "narrow": ([Wavelet(0.11, 0.004), Wavelet(0.1, 0.004), Wavelet(0.09, 0.003)], 2, 1, 1),
    "a wide one": ([Wavelet(0.11, 0.03), Wavelet(0.1, 0.008), Wavelet(0.09, 0.007)], 2, 8, 1),
    "apart": ([Wavelet(0.4, 0.004), Wavelet(0.2, 0.004), Wavelet(0.05, 0.004)], 2, 1, 3),
    "wide, apart": ([Wavelet(0.38, 0.007), Wavelet(0.2, 0.006), Wavelet(0.1, 0.006)], 3, 2, 3),
    "beyond both ends": ([Wavelet(0.45, 0.03), Wavelet(0.03, 0.02)], 0, 2, 1),
    "coarse": ([Wavelet(0.2, 0.02), Wavelet(0.15, 0.02)], 4, 16, 1),
}


def designed(*names):
    """Groups that apply to the same spectra, and how far these must be extended."""
    wavelets = [wavelet for name in names for wavelet in GROUPS[name][0]]
    bands = [find_band(w, PADDED, 1e-16) for w in wavelets]
    below = max(0, *(-band.start for band in bands))
    beyond = max(0, *(band.stop - PADDED // 2 - 1 for band in bands))
    remaining, groups = iter(bands), []
    for name in names:
        members, level, *_ = GROUPS[name]
        chosen = [next(remaining) for _ in members]
        blocks = Blocks.one(level, PADDED >> level)
        groups.append(WaveletGroup.design(chosen, DOUBLE, -below, blocks))
    return groups, below, beyond


def plain_moduli(x, name):
    """Full-length products and inverse transforms, subsampled."""
    wavelets, level, *_ = GROUPS[name]
    filters = torch.stack([torch.from_numpy(w.spectrum(PADDED)) for w in wavelets])
    return torch.fft.ifft(torch.fft.fft(x)[:, None] * filters)[..., :: 2**level].abs()


def sources_of(x, below, beyond):
    bins = range(-below, PADDED // 2 + 1 + beyond)
    return as_sources(unwrapped(torch.fft.rfft(x), bins)[:, None])


def moduli(group, sources):
    planes = group.analyse(sources, group.scratch(len(sources), sources))
    return torch.hypot(*planes[:, 0].unbind(1))


@pytest.mark.parametrize("name", GROUPS)
def test_analysis_equals_full_length_inverse_transforms(name):
    (group,), below, beyond = designed(name)
    assert (group.step, len(set(group.firsts))) == GROUPS[name][2:]
    x = noise(2, PADDED)
    assert_near(moduli(group, sources_of(x, below, beyond)), plain_moduli(x, name))


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("rows", [[0], [1], [0, 1], [0, 2]])
def test_part_of_a_group(name, rows):
    (group,), below, beyond = designed(name)
    rows = [row for row in rows if row < len(group)]
    part = group.of(rows)
    assert len(part) == len(rows)
    sources = sources_of(noise(2, PADDED), below, beyond)
    assert_near(moduli(part, sources), moduli(group, sources)[:, rows])


@pytest.mark.parametrize("name", GROUPS)
def test_synthesis_is_the_adjoint_of_analysis(name):
    (group,), below, beyond = designed(name)
    for part in (group, group.of([1]), group.of([0, len(group) - 1])):
        sources = noise(2, 1, 2, 2 * (below + PADDED // 2 + 1 + beyond))
        planes = noise(2, 1, 2, len(part), part.blocks.size, seed=1)
        before = noise(*sources.shape, seed=2)
        found = before.clone()
        part.synthesise(stuffed(planes, part.step), found)  # adds to what is there
        back = found - before
        gap = (part.analyse(sources, part.scratch(2, sources)) * planes).sum()
        gap -= (sources * back).sum()
        assert gap.abs() <= 1e-13 * sources.norm() * back.norm()


PLAN = ["a wide one", "coarse", "wide, apart"]
READINGS = [  # besides low bins
    [OfRows(Blocks.one(2, PADDED // 4), Mean(PADDED // 4, range(5, 60), DOUBLE), [0, 2], n_rows=3)],
    [],
    [OfRows(Blocks.one(3, PADDED // 8), Samples(PADDED // 8, range(3, 30)), [0, 1, 2], n_rows=3)],
]


@pytest.fixture(scope="module")
def first_layer():
    groups, below, beyond = designed(*PLAN)
    readings = [
        (group, [*more, SignedBins(LowBins(group.blocks, n_bins, like=DOUBLE), negative)])
        for group, n_bins, negative, more in zip(
            groups, (9, 9, 17), (0, 3, 1), READINGS, strict=True
        )
    ]
    bins = range(-below, PADDED // 2 + 1 + beyond)
    # two sections, which happen to be applied to the same blocks
    plan = [Section(bins, readings[:1]), Section(bins, readings[1:])]
    spectra = [
        [section.spectrum(noise(5, PADDED, seed=seed)) for section in plan] for seed in (0, 1)
    ]
    return plan, spectra


@pytest.mark.parametrize("tile", [1, 2**8, 2**9, 2**21])
@pytest.mark.parametrize("with_others", [False, True])
def test_spectra_of_moduli(first_layer, tile, with_others, monkeypatch):
    monkeypatch.setattr(_tiles, "CPU_TILE", tile)
    plan, (spectra, others) = first_layer
    some = [other[:3] for other in others]
    found = {}
    for name in ("tiled", "plain"):
        x = [spectrum.clone().requires_grad_() for spectrum in spectra]
        if name == "tiled":
            pairs = read_moduli(plan, x, some if with_others else None)
            outputs, joint = zip(*pairs, strict=True)
            assert not any(spectra.requires_grad for spectra in joint)
        else:
            outputs = differentiably_read_moduli(plan, x)
            joint = outputs
            if with_others:
                both = [torch.cat(pair) for pair in zip(spectra, some, strict=True)]
                joint = differentiably_read_moduli(plan, both)
        weights = [noise(*out.shape, seed=i, dtype=out.dtype) for i, out in enumerate(outputs)]
        total = sum(scalar(out, weight) for out, weight in zip(outputs, weights, strict=True))
        found[name] = [*outputs, *joint, *torch.autograd.grad(total, x)]
    for a, b in zip(found["tiled"], found["plain"], strict=True):
        assert_near(a, b)


def test_spectra_of_moduli_of_which_some_are_not_used(first_layer):
    plan, (spectra, _) = first_layer
    x = [spectrum.clone().requires_grad_() for spectrum in spectra]
    second = read_moduli(plan, x)[1][0]
    plain = differentiably_read_moduli(plan, x)[1]
    weight = noise(*second.shape, dtype=second.dtype)
    for create_graph in (False, True):
        actual = torch.autograd.grad(
            scalar(second, weight),
            x,
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
        )
        expected = torch.autograd.grad(
            scalar(plain, weight), x, retain_graph=True, allow_unused=True
        )
        for a, b in zip(actual, expected, strict=True):
            zero = torch.zeros_like(x[0])
            assert_near(zero if a is None else a, zero if b is None else b)


def test_nothing_is_read_where_nothing_is_planned():
    assert read_moduli([], []) == []
    assert read_moduli([], [], []) == []
