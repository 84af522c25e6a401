"""Mirror images in the second layer: they change nothing, whatever is read and of which spins."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath.jets import JetOrder
from multipath.transforms import JTFS, Scattering1D
from multipath.transforms._scattering import time as _time
from multipath.transforms._scattering.average import StridedAverage
from multipath.transforms._scattering.blocks import Circle, Line
from multipath.transforms._scattering.readings import Mean, Samples
from multipath.transforms._scattering.wavelets import low_pass
from tests.transforms.cases import assert_near
from tests.transforms.cases import double_noise as noise

from .cases import DOUBLE, scalar

SMALL_JTFS = {"J": 4, "Q": (2, 1), "J_fr": 1, "Q_fr": 2, "T": 32, "F": 2}
# Settings, and which spins are wanted.
CASES = {
    "both spins": ({**SMALL_JTFS, "n_samples": 512}, (-1, 0, 1)),
    "no low-pass": ({**SMALL_JTFS, "n_samples": 512}, (-1, 1)),
    "one spin": ({**SMALL_JTFS, "n_samples": 512}, (0, 1)),
    "spins that differ": ({**SMALL_JTFS, "n_samples": 512, "J_fr": 2, "Q_fr": 1}, (-1, 0, 1)),
    "all frames": ({**SMALL_JTFS, "n_samples": 512, "unpad": False}, (-1, 0, 1)),
    "means": ({**SMALL_JTFS, "n_samples": 500, "T": "global"}, (-1, 0, 1)),
    "moduli": ({**SMALL_JTFS, "n_samples": 499, "T": "none", "F": "none"}, (-1, 0, 1)),
    "stride": ({**SMALL_JTFS, "n_samples": 512, "stride": 8}, (-1, 0, 1)),
}


def evaluated(transform, spins):
    """Coefficients of two batches, gradients, curvature, jets and what a target cache gives."""
    chosen = [index for index, path in enumerate(transform.paths) if path.metadata["spin"] in spins]
    x, y = noise(2, 1, transform.n_samples)
    moving = x.clone().requires_grad_()
    of_x, of_y = transform.coefficient_pairs(moving, y, chosen)
    total = sum((c.square() * noise(*c.shape, seed=5)).sum() for c in of_x)
    (fast,) = torch.autograd.grad(total, moving, retain_graph=True)
    (gradient,) = torch.autograd.grad(total, moving, create_graph=True)
    (curvature,) = torch.autograd.grad((gradient * y).sum(), moving)
    jets = transform.coefficient_jets(torch.stack([x, y, x * y]), chosen, JetOrder(1, 2))
    kept = transform.finish(transform.prepare(x), chosen)
    return [*of_x, *of_y, fast, gradient, curvature, *jets, *kept]


@pytest.mark.parametrize("name", CASES)
def test_images_change_nothing(name, monkeypatch):
    options, spins = CASES[name]
    lines = []

    def of(*arguments):
        lines.append(line_of(*arguments))
        return lines[-1]

    line_of = Line.of
    with monkeypatch.context() as patch:
        patch.setattr(Line, "of", of)
        found = evaluated(JTFS(**options), spins)
    assert any(line.images for line in lines)
    monkeypatch.setattr(_time, "WORTHWHILE", 0)
    for a, b in zip(found, evaluated(JTFS(**options), spins), strict=True):
        assert_near(a.detach(), b.detach(), 1e-11)


@pytest.mark.parametrize("border", ["zero", "periodic"])
def test_signals_that_are_not_mirrored_have_no_images(border):
    transform = Scattering1D(1000, J=5, T=64, border=border)
    assert transform.time._line(4, [0], 1, DOUBLE).whole


def test_fewer_samples_are_computed_of_both_spins():
    transform = JTFS(n_samples=2048, J=6, Q=(4, 2), T=128, F=8)
    rows = transform._members[6]
    widths = []
    for scales in ([3], [3, 10], [0], [0, 3, 10, 4]):
        mixing = transform.frequency.batch(scales, len(rows), DOUBLE).mixing
        first = transform.time.first_layer(noise(1, 2048), transform._request([60]))
        branch = transform.time.branch(first.layers, 6, rows, mixing)
        widths.append(
            sum((t.rows.stop - t.rows.start) * t.line.width for t in branch.tiles(1, DOUBLE.device))
            / (branch.rows * branch.line.length)
        )
    assert widths[0] == 1
    assert max(widths[1:3]) < 0.85
    assert 0.85 < widths[3] < 1


READINGS = {
    "average": lambda length: StridedAverage(
        low_pass(length / 8).spectrum(length), length // 16, range(2, 9), like=DOUBLE
    ),
    "samples": lambda length: Samples(length, range(5, length - 9)),
    "mean": lambda length: Mean(length, range(5, length - 9), like=DOUBLE),
}


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(list(READINGS)), st.integers(0, 2), st.integers(1, 90), st.booleans(), st.data()
)
def test_lines_are_read_as_circles(name, level, reach, pairs, data):
    length = 1024 >> level
    reading = READINGS[name](length)
    n_samples = data.draw(st.sampled_from([512, 511, 480] if name == "average" else [512, 437]))
    left = (1024 - n_samples) // 2
    circle = Circle(1024, (2 * left, 2 * (left + n_samples - 1)))
    line = Line.of(circle, level, reach, reading.unit)
    if line.first % reading.unit:
        return
    samples = noise(4, 2, line.width, seed=reach)
    found = reading.gather(reading.project(samples, line, pairs))
    assert_near(found, reading(line.circle(samples, pairs)), 1e-13)
    gradient = noise(*found.shape, seed=1)
    back = reading.project_adjoint(reading.gather_adjoint(gradient), line, pairs)
    assert_near(back, line.circle_adjoint(reading.adjoint(gradient), pairs), 1e-13)
    gap = scalar(found, gradient) - scalar(samples, back)
    assert gap.abs() <= 1e-13 * samples.norm() * back.norm()
    around = noise(4, 2, length, seed=2)
    gap = scalar(line.cut(around), samples) - scalar(around, line.cut_adjoint(samples))
    assert gap.abs() <= 1e-13 * samples.norm() * around.norm()


def test_second_derivatives():
    transform = JTFS(160, J=3, Q=(2, 1), J_fr=1, Q_fr=2, T=8, F=2)
    chosen = range(len(transform.paths))
    x = noise(1, 160).requires_grad_()

    def total(x):
        return torch.stack([c.square().sum() for c in transform.coefficients(x, chosen)])

    assert torch.autograd.gradcheck(total, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(total, x, fast_mode=True)
