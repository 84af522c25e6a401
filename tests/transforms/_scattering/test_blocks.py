"""Blocks and mirror images: they change nothing, whatever the length, the borders and the order."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import jvp

from multipath.jets import JetOrder
from multipath.transforms import JTFS, Scattering1D
from multipath.transforms._scattering import blocks as _blocks
from multipath.transforms._scattering.blocks import Blocks, Circle
from multipath.transforms._scattering.low_bins import LowBins
from multipath.transforms._scattering.wavelets import Wavelet
from tests.golden import noise as golden_noise
from tests.reference.scattering1d_twin import scattering1d_paths
from tests.transforms.cases import assert_near
from tests.transforms.cases import double_noise as noise

from .cases import DOUBLE, scalar

SMALL = {"SHORTEST": 128, "REACHES": 4, "FEWEST": 2, "UNIT": 32}


@pytest.fixture
def small(monkeypatch):
    """Blocks small enough for short signals."""
    for name, value in SMALL.items():
        monkeypatch.setattr(_blocks, name, value)


def designed(length, n_samples, level, mirrored, reach):
    """Blocks, and signals that they are made for."""
    left = (length - n_samples) // 2
    margins, mode = (left, length - n_samples - left), "reflect" if mirrored else "constant"
    x = torch.nn.functional.pad(noise(2, 1, n_samples), margins, mode=mode)[:, 0]
    centres = (2 * left, 2 * (left + n_samples - 1)) if mirrored else None
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(_blocks, name, value)
        return Blocks.design(Circle(length, centres), level, reach), x


@settings(max_examples=40, deadline=None)
@given(st.integers(350, 1024), st.integers(0, 2), st.booleans())
def test_circles_are_those_of_full_length(n_samples, level, mirrored):
    wavelet = Wavelet(0.3 / 2**level, 0.08 / 2**level)
    reach = math.ceil(8.3 / (2 * math.pi * wavelet.sigma) / 2**level)
    blocks, x = designed(1024, n_samples, level, mirrored, reach)
    full = torch.fft.ifft(torch.fft.fft(x) * torch.from_numpy(wavelet.spectrum(1024))).abs()
    cut = blocks.blocks(x)
    filters = torch.from_numpy(wavelet.spectrum(cut.shape[-1]))
    filtered = torch.fft.ifft(torch.fft.fft(cut) * filters).abs()
    line = blocks.line(blocks.valid(filtered[..., :: 2**level])[:, :, None])
    assert line.shape == (2, 1, blocks.width)
    assert_near(blocks.circle(line)[:, 0], full[:, :: 2**level], 1e-13)


def test_what_is_mirrored_is_not_computed():
    found = []
    for n_samples, level in [(512, 0), (511, 0), (511, 1), (512, 2)]:
        blocks, _ = designed(1024, n_samples, level, True, reach=4)
        found.append((len(blocks.images), blocks.width))
    # the signal and the seam, in units of 32 samples
    assert found == [(2, 512 + 64), (2, 512 + 64), (2, 256 + 64), (1, 224)]
    blocks, _ = designed(1024, 512, 0, False, reach=4)
    assert (blocks.images, blocks.width) == ((), 1024)


CIRCLES = [(1024, 500, 0, True), (1024, 501, 1, True), (2048, 1024, 2, True), (1024, 512, 0, False)]


@pytest.mark.parametrize("case", CIRCLES, ids=str)
def test_adjoints(case):
    blocks, x = designed(*case, reach=4)
    assert not blocks.whole
    moving = x.clone().requires_grad_()
    cut = blocks.blocks(moving)
    weight = noise(*cut.shape, seed=1)
    (back,) = torch.autograd.grad((cut * weight).sum(), moving, create_graph=True)
    torch.testing.assert_close((back * x).sum(), (cut * weight).sum())
    line, circle = noise(2, 3, blocks.width), noise(2, 3, blocks.length, seed=1)
    torch.testing.assert_close(
        (blocks.circle(line) * circle).sum(), (line * blocks.circle_adjoint(circle)).sum()
    )
    directions = noise(2, blocks.n_blocks, 2, 3, blocks.hop, seed=2)
    for step in (1, 2):
        planes = noise(2, blocks.n_blocks, 2, 3, step * blocks.size, seed=3)
        towards = blocks.valid(planes[..., ::step]) * directions
        room = blocks.room(5, 3, step, DOUBLE)
        blocks.line_adjoint(directions, 2 * line, room)  # what is left there is overwritten
        torch.testing.assert_close(
            (blocks.line_adjoint(directions, line, room) * planes).sum(),
            (blocks.line(towards.sum(dim=2)) * line).sum(),
        )


@pytest.mark.parametrize("n_bins", [3, 12, 30, 100])
@pytest.mark.parametrize("case", CIRCLES, ids=str)
def test_low_bins_of_lines_are_those_of_circles(case, n_bins):
    blocks, _ = designed(*case, reach=4)
    low_bins = LowBins(blocks, n_bins, like=DOUBLE)
    line, gradient = noise(2, 3, blocks.width) + 1, noise(2, 3, n_bins, dtype=torch.complex128)
    found = low_bins(line)
    assert_near(found, torch.fft.rfft(blocks.circle(line))[..., :n_bins])
    back = low_bins.project_adjoint(low_bins.gather_adjoint(gradient))
    gap = scalar(found, gradient) - scalar(line, back)
    assert gap.abs() <= 1e-13 * line.norm() * back.norm()


@pytest.mark.parametrize(
    ("case", "shifts"),
    [
        ((4096, 2048, 0, True), [1, -1]),  # the first sample of an image is the second of a frame
        ((4096, 2048, 1, True), [1, 0]),
        ((4096, 2054, 2, True), [2]),
        ((4096, 2005, 0, True), [1]),  # the other image is too far off: it is read
        ((4096, 2048, 0, False), []),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projections_of_images_follow_from_those_of_their_originals(case, shifts, dtype):
    blocks, _ = designed(*case, reach=4)
    low_bins = LowBins(blocks, 20, like=torch.zeros((), dtype=dtype))
    projection = low_bins._projection
    assert [turn.shift for turn in projection.turns.values()] == shifts
    line = noise(2, 3, blocks.width, dtype=dtype)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    # only what slow waves see of the frames has to agree
    bins = low_bins.gather(*low_bins.project(line))
    whole = torch.fft.rfft(blocks.circle(line).double())[..., :20]
    assert_near(bins, whole.to(bins.dtype), tolerance)
    frames = projection(line)
    weight = noise(*frames.shape, dtype=dtype, seed=5)
    gap = (frames * weight).sum() - (line * projection.adjoint(weight)).sum()
    assert gap.abs() <= tolerance * line.norm() * weight.norm()


# Whole transforms

TRANSFORMS = {
    "scattering1d": lambda n: Scattering1D(n, J=5, Q=(4, 1), T=64),
    "reduced": lambda n: Scattering1D(n, J=5, Q=(4, 1), T=64, sampling="reduced"),
    "frames kept": lambda n: Scattering1D(n, J=5, Q=(2, 1), T=64, unpad=False, stride=16),
    "moduli": lambda n: Scattering1D(n, J=4, Q=(2, 1), T="none"),
    "means": lambda n: Scattering1D(n, J=4, Q=(2, 1), T="global", border="zero"),
    "periodic": lambda n: Scattering1D(n, J=4, Q=(2, 1), T=32, border="periodic"),
    "jtfs": lambda n: JTFS(n, J=5, Q=(4, 1), J_fr=2, Q_fr=1, T=64, F=4, orders=(0, 1, 2)),
}


def evaluated(transform, x, y):
    """Coefficients, gradients, curvatures, jets and what a target cache keeps."""
    chosen = list(range(0, len(transform.paths), len(transform.paths) // 6))
    moving = x.clone().requires_grad_()
    of_x, of_y = transform.coefficient_pairs(moving, y, chosen)
    weights = [noise(*c.shape, seed=5) for c in of_x]
    total = sum((c.square() * w).sum() for c, w in zip(of_x, weights, strict=True))
    (fast,) = torch.autograd.grad(total, moving, retain_graph=True)
    (gradient,) = torch.autograd.grad(total, moving, create_graph=True)
    (curvature,) = torch.autograd.grad((gradient * y).sum(), moving)
    order = JetOrder(1, 2)
    jets = torch.stack([x, y, x * y])
    found = [c.detach() for c in (*of_x, *of_y, fast, gradient, curvature)]
    found += transform.coefficient_jets(jets, chosen, order)
    return [*found, *transform.finish(transform.prepare(x), chosen)]


CASES = [(name, 1023 - i) for i, name in enumerate(TRANSFORMS)]
CASES += [("scattering1d", 1024), ("scattering1d", 1000)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_samples"), CASES)
def test_blocks_change_nothing(name, n_samples, monkeypatch):
    x, y = noise(2, 1, n_samples)
    expected = evaluated(TRANSFORMS[name](n_samples), x, y)
    for constant, value in SMALL.items():
        monkeypatch.setattr(_blocks, constant, value)
    transform = TRANSFORMS[name](n_samples)
    found = evaluated(transform, x, y)
    sections = [b.group.blocks for (k, *_), b in transform.time._derived.items() if k[0] == "psi1"]
    assert any(not blocks.whole for blocks in sections)
    assert any(blocks.images for blocks in sections) == (transform.time.border == "reflect")
    # a threshold that leaves bins out is a filter of its own in a block
    tolerance = 3e-5 if name == "reduced" else 1e-11
    for a, b in zip(found, expected, strict=True):
        assert_near(a, b, tolerance)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", [(1024, 5, (4, 1), 64), (997, 5, (3, 2), 48)], ids=str)
def test_twin(case):
    n_samples, J, Q, T = case
    x = golden_noise(0, n_samples).astype(np.float64)
    expected = scattering1d_paths(x, J, Q, T)
    transform = Scattering1D(n_samples, J, Q, T)
    actual = transform.coefficients(torch.from_numpy(x), range(len(expected)))
    for key, path in zip(expected, actual, strict=True):
        assert_near(path, expected[key], 1e-10, key)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("border", ["reflect", "zero"])
def test_second_derivatives_and_forward_mode(border):
    transform = Scattering1D(250, J=3, Q=(1, 1), T=16, border=border)
    x = noise(1, 250).requires_grad_()

    def total(x):
        return torch.stack([c.square().sum() for c in transform.coefficients(x, [1, 4, 5])])

    assert torch.autograd.gradcheck(total, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(total, x, fast_mode=True)
    direction = noise(1, 250, seed=1)
    _, forward = jvp(total, (x.detach(),), (direction,))
    (first,) = torch.autograd.grad(total(x)[0], x)
    torch.testing.assert_close(forward[0], (first * direction).sum())


def test_single_precision_by_blocks_as_in_full_length(monkeypatch):
    x = noise(2, 8192).float()
    chosen = list(range(0, 60, 7))
    exact = Scattering1D(8192, J=5, Q=(8, 1), T=256).coefficients(x.double(), chosen)
    monkeypatch.setattr(_blocks, "FEWEST", 2)
    found = Scattering1D(8192, J=5, Q=(8, 1), T=256).coefficients(x, chosen)
    for a, b in zip(found, exact, strict=True):
        assert_near(a.double(), b, 1e-6)


SLOW = 34  # a path that needs few bins of each spectrum


def in_inference_mode(transform, x):
    with torch.inference_mode():
        transform.coefficients(x, [SLOW])


def under_grad(transform, x):
    torch.func.grad(lambda x: transform.coefficients(x, [SLOW])[0].sum())(x)


def under_jvp(transform, x):
    jvp(lambda x: transform.coefficients(x, [SLOW])[0], (x,), (x,))


def on_meta(transform, x):
    with torch.device("meta"):
        transform.coefficients(x, [SLOW])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("first_visit", [in_inference_mode, under_grad, under_jvp, on_meta])
def test_a_first_visit_serves_all_others(first_visit):
    transform = JTFS(2048, J=7, Q=(4, 1), J_fr=2, Q_fr=1, T=256, F=4)
    x = noise(1, 2048)
    first_visit(transform, x)
    gradients = []
    for jtfs in (transform, JTFS(2048, J=7, Q=(4, 1), J_fr=2, Q_fr=1, T=256, F=4)):
        moving = x.clone().requires_grad_()
        total = jtfs.coefficients(moving, [SLOW])[0].square().sum()
        (gradient,) = torch.autograd.grad(total, moving, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), moving)
        gradients.append((gradient.detach(), second))
    for actual, expected in zip(*gradients, strict=True):
        assert_near(actual, expected, 1e-10)
    turns = [
        turn
        for (key, *_), low_bins in transform.time._derived.items()
        if key[0] == "low bins" and low_bins.n_frames
        for turn in low_bins._projection.turns.values()
    ]
    assert turns
    assert not any(turn.matrix.is_inference() for turn in turns)
