"""Kernels of the scattering transforms: hand-written adjoints, tiles and what they save."""

import gc
import weakref

import pytest
import torch

from multipath.transforms import JTFS, Scattering1D
from multipath.transforms._numerics import tiles as _tiles
from multipath.transforms._scattering.average import StridedAverage
from multipath.transforms._scattering.bands import concatenate, extend, find_band
from multipath.transforms._scattering.first_layer import (
    WaveletGroup,
    as_sources,
    differentiable_modulus_spectra,
    modulus_spectra,
)
from multipath.transforms._scattering.low_bins import LowBins
from multipath.transforms._scattering.modulation import Modulation, Part
from multipath.transforms._scattering.second_layer import Branch, averaged_moduli
from multipath.transforms._scattering.wavelets import Wavelet, low_pass

N = 512
TRANSFORMS = {
    "scattering1d": lambda: Scattering1D(N, J=5, Q=(4, 1), T=32),
    "jtfs": lambda: JTFS(N, J=5, Q=(4, 1), J_fr=2, Q_fr=1, T=32, F=4),
    "jtfs, frames kept": lambda: JTFS(N, J=5, Q=(3, 2), J_fr=2, Q_fr=2, T=64, F=2, unpad=False),
}
TILES = [2**10, 2**13, 2**21]
DOUBLE = torch.zeros((), dtype=torch.float64)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def scalar(a, b):
    """Real scalar product."""
    return (a * b.conj()).real.sum()


def assert_near(actual, expected, tolerance=1e-12):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


# Low bins

# both ways to compute them, for powers of two and for other lengths
LOW = [(64, 3), (96, 10), (256, 129), (512, 1), (1024, 2), (1024, 9), (1536, 5), (4096, 40)]
LOW += [(4096, 65), (4096, 2049), (16384, 100), (2**17, 300)]


@pytest.mark.parametrize(("length", "n_bins"), LOW)
@pytest.mark.parametrize("mean", [0.0, 1.0, 1e4])
def test_low_bins_are_those_of_the_whole_spectrum(length, n_bins, mean):
    x = noise(2, 3, length) + mean * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None]
    expected = torch.fft.rfft(x)[..., :n_bins]
    assert_near(LowBins(length, n_bins, like=x)(x), expected)
    single = x.float()
    low_bins = LowBins(length, n_bins, like=single)
    actual = low_bins(single)
    assert actual.dtype == torch.complex64
    if not low_bins.n_frames:
        assert torch.equal(actual, torch.fft.rfft(single)[..., :n_bins])
        return
    errors = (actual - torch.fft.rfft(single.double())[..., :n_bins]).abs()
    assert (errors[..., 0] <= 2e-7 * single.abs().sum(dim=-1)).all()
    # However large the mean, the other bins keep their digits: fluctuations are of unit variance,
    # and subtracting a constant near the mean is exact up to the rounding of the signal itself.
    rounding = 3e-6 + 2e-8 * mean
    assert (errors[..., 1:] <= rounding * length**0.5).all()


@pytest.mark.parametrize(("length", "n_bins"), LOW)
def test_adjoint_of_low_bins(length, n_bins):
    low_bins = LowBins(length, n_bins, like=DOUBLE)
    x, gradient = noise(2, 3, length), noise(2, 3, n_bins, seed=1, dtype=torch.complex128)
    back = low_bins.adjoint(gradient)
    assert back.shape == x.shape
    gap = scalar(low_bins(x), gradient) - scalar(x, back)
    assert gap.abs() <= 1e-13 * x.norm() * back.norm()


# Groups of wavelets

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
    bands, bank = concatenate([find_band(w.spectrum(PADDED), w.xi, 1e-16) for w in wavelets])
    below = max(0, *(-band.start for band in bands))
    beyond = max(0, *(band.stop - PADDED // 2 - 1 for band in bands))
    remaining, groups = iter(bands), []
    for name in names:
        members, level, *_ = GROUPS[name]
        chosen = [next(remaining) for _ in members]
        bank_of_all = torch.from_numpy(bank)
        groups.append(WaveletGroup.design(chosen, bank_of_all, below, level, PADDED >> level))
    return groups, below, beyond


def plain_moduli(x, name):
    """Full-length products and inverse transforms, subsampled."""
    wavelets, level, *_ = GROUPS[name]
    filters = torch.stack([torch.from_numpy(w.spectrum(PADDED)) for w in wavelets])
    return torch.fft.ifft(torch.fft.fft(x)[:, None] * filters)[..., :: 2**level].abs()


def sources_of(x, below, beyond):
    return as_sources(extend(torch.fft.rfft(x), below, beyond))


def moduli(group, sources):
    return torch.hypot(*group.analyse(sources, group.scratch(len(sources), sources)).unbind(1))


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
        sources = noise(2, 2, 2 * (below + PADDED // 2 + 1 + beyond))
        planes = noise(2, 2, len(part), part.length, seed=1)
        before = noise(*sources.shape, seed=2)
        found = before.clone()
        part.synthesise(planes, found)  # adds to what is there
        back = found - before
        gap = (part.analyse(sources, part.scratch(2, sources)) * planes).sum()
        gap -= (sources * back).sum()
        assert gap.abs() <= 1e-13 * sources.norm() * back.norm()


# Spectra of moduli

PLAN = ["a wide one", "coarse", "wide, apart"]


@pytest.fixture(scope="module")
def first_layer():
    groups, below, beyond = designed(*PLAN)
    plan = [
        (group, LowBins(group.length, n_bins, like=DOUBLE), negative)
        for group, n_bins, negative in zip(groups, (9, 9, 17), (0, 3, 1), strict=True)
    ]
    return plan, [extend(torch.fft.rfft(noise(5, PADDED, seed=s)), below, beyond) for s in (0, 1)]


@pytest.mark.parametrize("tile", [1, 2**8, 2**9, 2**21])
@pytest.mark.parametrize("with_others", [False, True])
def test_spectra_of_moduli(first_layer, tile, with_others, monkeypatch):
    monkeypatch.setattr(_tiles, "CPU_TILE", tile)
    plan, (spectrum, others) = first_layer
    found = {}
    for name in ("tiled", "plain"):
        x = spectrum.clone().requires_grad_()
        if name == "tiled":
            pairs = modulus_spectra(plan, x, others[:3] if with_others else None)
            outputs, joint = zip(*pairs, strict=True)
            assert not any(spectra.requires_grad for spectra in joint)
        else:
            outputs = differentiable_modulus_spectra(plan, x)
            joint = outputs
            if with_others:
                both = torch.cat([spectrum, others[:3]])
                joint = differentiable_modulus_spectra(plan, both)
        weights = [noise(*out.shape, seed=i, dtype=out.dtype) for i, out in enumerate(outputs)]
        total = sum(scalar(out, weight) for out, weight in zip(outputs, weights, strict=True))
        found[name] = [*outputs, *joint, *torch.autograd.grad(total, x)]
    for a, b in zip(found["tiled"], found["plain"], strict=True):
        assert_near(a, b)


def test_spectra_of_moduli_of_which_some_are_not_used(first_layer):
    plan, (spectrum, _) = first_layer
    x = spectrum.clone().requires_grad_()
    second = modulus_spectra(plan, x)[1][0]
    plain = differentiable_modulus_spectra(plan, x)[1]
    weight = noise(*second.shape, dtype=second.dtype)
    for create_graph in (False, True):
        (actual,) = torch.autograd.grad(
            scalar(second, weight), x, retain_graph=True, create_graph=create_graph
        )
        (expected,) = torch.autograd.grad(scalar(plain, weight), x, retain_graph=True)
        assert_near(actual, expected)


# Averages of moduli

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
    mixing = noise(2 * OUT, 2 * ROWS, seed=4) if mixed else None
    return Branch(Modulation(parts, SAMPLES), average, mixing)


def plain_average(branch, spectra):
    first, second = (2 * part.weights[0] for part in branch.modulate.parts)
    bands = torch.cat([spectra[0][:, :2, 3:23] * first, spectra[1][:, [0, 2, 3], 1:21] * second], 1)
    bands = torch.nn.functional.pad(bands, (1, 0))  # bin 0 stays free
    analytic = torch.fft.ifft(bands, n=SAMPLES, norm="forward")
    real, imaginary = analytic.real, analytic.imag
    if branch.mixing is not None:
        stacked = torch.cat([real, imaginary], dim=1)
        real, imaginary = (branch.mixing @ stacked).chunk(2, dim=1)
    low = torch.from_numpy(low_pass(12).spectrum(SAMPLES))
    smooth = torch.fft.ifft(torch.fft.fft((real**2 + imaginary**2).sqrt()) * low).real
    return smooth[..., 8:56:8]


def two_spectra(n, seed=0):
    return [noise(n, rows, 30, seed=seed + rows, dtype=torch.complex128) for rows in (2, 4)]


@pytest.mark.parametrize("tile", [1, 500, 1000, 2**12, 2**21])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("extra", [None, 0, 2])
def test_averages_of_moduli(tile, mixed, extra, monkeypatch):
    monkeypatch.setattr(_tiles, "CPU_TILE", tile)
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


def test_gradients_of_several_branches_add_up():
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


@pytest.mark.parametrize("mixed", [False, True])
def test_tiles_cover_every_frame_once(mixed, monkeypatch):
    branch = branch_of(mixed)
    counts = set()
    for tile in (1, 500, 1000, 2**12, 2**21):
        monkeypatch.setattr(_tiles, "CPU_TILE", tile)
        frames = torch.zeros(3, 8)
        samples = torch.zeros(3, SAMPLES)
        count = 0
        for batch, _ in branch.batches(3, 0, frames.device):
            for some, made_of in branch.tiles(samples[batch].numel(), frames.device):
                frames[batch].view(-1)[some] += 1
                samples[batch].view(-1)[made_of] += 1
                count += 1
        assert (frames == 1).all()
        assert (samples == 1).all()
        counts.add(count)
    assert {1, 24} <= counts  # from all at once to frame by frame


# Whole transforms


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return TRANSFORMS[request.param]()


def some_paths(transform):
    return list(range(0, len(transform.paths), 3))


def values_and_gradient(transform, x, create_graph=False):
    x = x.detach().requires_grad_()
    values = transform.coefficients(x, some_paths(transform))
    total = sum((c.square() * noise(*c.shape, seed=5)).sum() for c in values)
    (gradient,) = torch.autograd.grad(total, x, create_graph=create_graph)
    return [*(c.detach() for c in values), gradient]


def test_tile_size_changes_nothing(transform, monkeypatch):
    x = noise(3, N)
    expected = values_and_gradient(transform, x)
    for tile in TILES:
        monkeypatch.setattr(_tiles, "CPU_TILE", tile)
        for a, b in zip(values_and_gradient(transform, x), expected, strict=True):
            assert_near(a, b)


def test_pairs_equal_two_calls(transform):
    chosen = [5, 0, 5, *some_paths(transform)]
    x, y = noise(2, 2, N).requires_grad_(), 1e3 * noise(2, 2, N, seed=1)
    of_x, of_y = transform.coefficient_pairs(x, y, chosen)
    expected_x, expected_y = transform.coefficients(x, chosen), transform.coefficients(y, chosen)
    for actual, expected in ((of_x, expected_x), (of_y, expected_y)):
        for a, b in zip(actual, expected, strict=True):
            assert_near(a.detach(), b.detach())
    assert not any(c.requires_grad for c in of_y)
    gradient, alone = (
        torch.autograd.grad(sum((a * b).sum() for a, b in zip(c, of_y, strict=True)), x)[0]
        for c in (of_x, expected_x)
    )
    assert_near(gradient, alone)


def test_pairs_give_the_second_its_gradient_where_it_asks_for_one(transform):
    chosen = some_paths(transform)
    for x_learns in (True, False):
        x, y = noise(2, N).requires_grad_(x_learns), noise(2, N, seed=1).requires_grad_()
        wanted = [x, y] if x_learns else [y]
        found = []
        for of_x, of_y in (
            transform.coefficient_pairs(x, y, chosen),
            (transform.coefficients(x, chosen), transform.coefficients(y, chosen)),
        ):
            total = sum((a - b).square().sum() for a, b in zip(of_x, of_y, strict=True))
            found.append(torch.autograd.grad(total, wanted))
        for a, b in zip(*found, strict=True):
            assert_near(a, b)
        with torch.no_grad():
            assert not any(c.requires_grad for c in transform.coefficient_pairs(x, y, chosen)[1])


def test_backward_twice(transform):
    x = noise(2, N).requires_grad_()
    total = sum(c.square().sum() for c in transform.coefficients(x, some_paths(transform)))
    total.backward(retain_graph=True)
    once = x.grad.clone()
    total.backward()
    assert once.abs().max() > 0
    assert torch.equal(x.grad, 2 * once)


def test_both_backwards_agree(transform):
    x = noise(2, N)
    plain = values_and_gradient(transform, x)[-1]
    graph = values_and_gradient(transform, x, create_graph=True)[-1]
    assert graph.requires_grad
    assert_near(graph.detach(), plain)


def test_hessian_vector_products_against_differences_of_the_gradient(transform):
    x, direction = noise(1, N), noise(1, N, seed=1)
    moving = x.clone().requires_grad_()
    values = transform.coefficients(moving, some_paths(transform))
    total = sum((c.square() * noise(*c.shape, seed=5)).sum() for c in values)
    (gradient,) = torch.autograd.grad(total, moving, create_graph=True)
    (product,) = torch.autograd.grad((gradient * direction).sum(), moving)
    step = 1e-5
    above, below = (
        values_and_gradient(transform, x + sign * step * direction)[-1] for sign in (1, -1)
    )
    assert_near(product, (above - below) / (2 * step), 1e-5)


# Memory


def tensors():
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def test_steps_leave_nothing_behind(transform):
    generator = torch.Generator().manual_seed(0)
    x, y = noise(2, N).requires_grad_(), noise(2, N, seed=1)

    def step(create_graph=False):
        chosen = torch.randperm(len(transform.paths), generator=generator)[:4]
        of_x, of_y = transform.coefficient_pairs(x, y, chosen)
        total = sum((a - b).square().sum() for a, b in zip(of_x, of_y, strict=True))
        (gradient,) = torch.autograd.grad(total, x, create_graph=create_graph)
        if create_graph:
            torch.autograd.grad(gradient.square().sum(), x)
        return weakref.ref(gradient), weakref.ref(of_x[0])

    for index in range(len(transform.paths)):  # from here on nothing new is derived
        transform.coefficients(x.detach(), [index])
    step()
    held, derived = tensors(), len(transform.time._derived)
    for number in range(12):
        references = step(create_graph=number % 2 == 0)
        assert all(reference() is None for reference in references)  # without a collection
    assert tensors() <= held
    assert len(transform.time._derived) == derived


@pytest.mark.parametrize("name", ["jtfs", "jtfs, frames kept"])
def test_more_scales_at_a_rate_keep_no_more_for_the_gradient(name):
    transform = TRANSFORMS[name]()
    fastest = transform.paths.filter(n2=transform.paths[0].metadata["n2"]).indices
    x = noise(2, N).requires_grad_()
    kept = []
    for chosen in (fastest[:1], fastest):
        sizes = {}

        def note(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            found = transform.coefficients(x, chosen)
        kept.append(sum(sizes.values()))
    # averages in front of the last smoothing, about the size of the coefficients
    assert 0 < kept[0] < kept[1] < kept[0] + 2 * sum(c.numel() * c.element_size() for c in found)
