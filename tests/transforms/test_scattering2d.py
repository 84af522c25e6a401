"""Scattering of images: equal to kymatio and to its readable twin; gradients, work and meaning."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath.transforms import Scattering2D
from multipath.transforms._numerics import tiles
from tests import GOLDEN as FOLDER
from tests.reference.scattering2d_twin import scattering2d_paths

from .cases import double_noise as noise

GOLDEN = np.load(FOLDER / "scattering2d.npz")
SETTINGS = json.loads(str(GOLDEN["settings"]))
SHAPE = (24, 17)


@pytest.fixture(scope="module")
def transform():
    return Scattering2D(SHAPE, J=3, L=4)


def golden_image(name):
    seed = int(GOLDEN[f"{name}_seed"])
    x = np.random.default_rng(seed).standard_normal(SETTINGS[name]["shape"])
    np.testing.assert_allclose(x.ravel()[:8], GOLDEN[f"{name}_head"], rtol=1e-12)
    return torch.from_numpy(x)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.slow
def test_all_paths_equal_kymatio_in_both_precisions(name):
    transform, x = Scattering2D(**SETTINGS[name]), golden_image(name)
    expected = torch.from_numpy(GOLDEN[f"{name}_values"])
    torch.testing.assert_close(torch.stack(transform(x)), expected, rtol=1e-12, atol=1e-14)
    single = torch.from_numpy(GOLDEN[f"{name}_single"])
    found = torch.stack(transform(x.float()))
    assert found.shape == single.shape
    torch.testing.assert_close(found, single, rtol=2e-5, atol=1e-6 * float(single.max()))


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.slow
def test_gradients_equal_kymatio(name):
    x = golden_image(name).requires_grad_()
    sum(c.square().sum() for c in Scattering2D(**SETTINGS[name])(x)).backward()
    expected = torch.from_numpy(GOLDEN[f"{name}_gradient"])
    torch.testing.assert_close(x.grad, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.slow
def test_the_table_says_what_kymatio_says(name):
    table = Scattering2D(**SETTINGS[name]).paths
    rows = zip(*(GOLDEN[f"{name}_{column}"].tolist() for column in "nj"), strict=True)
    thetas = GOLDEN[f"{name}_theta"].tolist()
    for path, (n, j), theta in zip(table, rows, thetas, strict=True):
        order = path.metadata["order"]
        assert path.key == tuple(n[:order])
        for position in range(order):
            assert path.metadata[f"j{position + 1}"] == j[position]
            assert path.metadata[f"theta{position + 1}"] == theta[position]


@settings(max_examples=6)
@given(
    J=st.integers(1, 3),
    L=st.integers(1, 6),
    extra=st.tuples(st.integers(0, 13), st.integers(0, 13)),
    seed=st.integers(0, 99),
)
@pytest.mark.slow
def test_any_size_gives_what_the_definition_gives(J, L, extra, seed):
    shape = tuple(2**J + e for e in extra)
    transform = Scattering2D(shape, J, L)
    x = noise(*shape, seed=seed)
    expected = scattering2d_paths(x.numpy(), J, L)
    assert transform.paths.keys == list(expected)
    for path, found, wanted in zip(transform.paths, transform(x), expected.values(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11, err_msg=str(path.key))


BORDERS = [
    ((17, 13), "reflect", "reflect"),
    ((17, 13), "zero", "constant"),
    ((17, 13), "periodic", "wrap"),
    ((16, 13), "periodic", "wrap"),
    ((16, 12), "periodic", None),  # one period is enough
]


@pytest.mark.parametrize(("shape", "border", "mode"), BORDERS, ids=str)
def test_borders(shape, border, mode):
    transform = Scattering2D(shape, J=2, L=3, border=border)
    x = noise(2, *shape)
    found = transform(x)
    for i in range(2):
        expected = scattering2d_paths(x[i].numpy(), 2, 3, border=mode)
        for path, values, wanted in zip(transform.paths, found, expected.values(), strict=True):
            assert values[i].shape == (shape[0] // 4, shape[1] // 4)
            message = str(path.key)
            np.testing.assert_allclose(values[i], wanted, rtol=1e-9, atol=1e-11, err_msg=message)


def test_a_periodic_image_has_no_edge():
    transform = Scattering2D((16, 24), J=2, L=3, border="periodic")
    x = noise(2, 16, 24)
    moved = transform(x.roll((4, -8), (-2, -1)))
    for a, b in zip(transform(x), moved, strict=True):
        torch.testing.assert_close(a.roll((1, -2), (-2, -1)), b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("shape", "border", "mode"), BORDERS, ids=str)
def test_global_means_are_those_of_the_moduli_inside_the_image(shape, border, mode):
    transform = Scattering2D(shape, J=2, L=3, border=border, T="global")
    x = noise(2, *shape)
    found = transform(x)
    for i in range(2):
        expected = scattering2d_paths(x[i].numpy(), 2, 3, border=mode, means=True)
        for path, values, wanted in zip(transform.paths, found, expected.values(), strict=True):
            assert values[i].shape == (1, 1)
            np.testing.assert_allclose(values[i], wanted, rtol=1e-10, err_msg=str(path.key))


@pytest.mark.parametrize("options", [{}, {"border": "periodic", "T": "global"}], ids=str)
def test_single_precision_loses_nothing_to_the_work_that_paths_share(options):
    transform = Scattering2D((33, 40), J=3, L=4, **options)
    x = noise(3, 33, 40)
    for a, b in zip(transform(x.float()), transform(x), strict=True):
        assert (a - b).norm() <= 1e-6 * b.norm()


def test_tiles_change_nothing(monkeypatch):
    transform = Scattering2D(SHAPE, J=3, L=4)
    x = noise(3, *SHAPE).requires_grad_()
    whole = torch.stack(transform(x))
    (expected,) = torch.autograd.grad(whole.square().sum(), x)
    monkeypatch.setattr(tiles, "CPU_TILE", 2**12)  # two images of the padded size, and few filters
    parts = torch.stack(transform(x))
    (found,) = torch.autograd.grad(parts.square().sum(), x)
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("keys", [[(0, 5), (1, 4), (2, 5), (2,), ()], [(1,)], [(0, 3)]], ids=str)
def test_gradients_of_some_paths(keys):
    transform = Scattering2D((10, 9), J=3, L=2)
    indices = [transform.paths.index_of(key) for key in keys]
    x = noise(2, 10, 9).requires_grad_()

    def values(x):
        return torch.stack(transform.coefficients(x, indices))

    assert torch.autograd.gradcheck(values, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(values, x, fast_mode=True)


def fourier_pixels(monkeypatch, transform, keys):
    """Pixels that go through Fourier transforms when some paths are evaluated, and how many do."""
    sizes = []
    for name in ("fft2", "ifft2"):
        original = getattr(torch.fft, name)

        def counted(x, original=original, **options):
            sizes.append(x.numel())
            return original(x, **options)

        monkeypatch.setattr(torch.fft, name, counted)
    transform.coefficients(noise(*transform.shape), [transform.paths.index_of(k) for k in keys])
    monkeypatch.undo()
    return sum(sizes)


@pytest.mark.slow
def test_costs_are_the_work_of_a_path_alone(monkeypatch):
    transform = Scattering2D((32, 32), J=3, L=2)
    paths = [path for path in transform.paths if path.key]
    work = [fourier_pixels(monkeypatch, transform, [path.key]) for path in paths]
    unit = paths[0].cost / work[0]
    assert [path.cost for path in paths] == pytest.approx([unit * w for w in work])
    assert len({path.cost for path in paths}) > 3
    assert transform.paths[0].cost < min(path.cost for path in paths)
    assert fourier_pixels(monkeypatch, transform, [()]) == 0


def test_the_first_layer_is_shared(monkeypatch):
    transform = Scattering2D((32, 32), J=3, L=2)
    apart = [fourier_pixels(monkeypatch, transform, [key]) for key in [(0,), (0, 2), (0, 5)]]
    together = fourier_pixels(monkeypatch, transform, [(0,), (0, 2), (0, 5)])
    whole = 48 * 48
    # the image once, |x * psi[0]| once there and back, then 1/4 and 1/16
    assert together == whole * (1 + 2 + 1 / 4 + 1 / 16)
    assert together < sum(apart) / 2


@pytest.mark.slow
def test_coefficients_scale_with_the_image(transform):
    x = noise(2, *SHAPE)
    for gain in (1e-300, 3e-7, 1e306):
        for a, b in zip(transform(gain * x), transform(x), strict=True):
            torch.testing.assert_close(a / gain, b, rtol=1e-11, atol=0)


@pytest.mark.parametrize("angle", [0.0, 45.0, 90.0, -45.0])
@pytest.mark.slow
def test_a_grating_is_found_at_its_frequency_and_angle(angle):
    transform = Scattering2D((64, 64), J=3, L=4)
    y, x = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    along = math.cos(math.radians(angle)) * y + math.sin(math.radians(angle)) * x
    grating = torch.from_numpy(np.cos(2 * np.pi * 3 / 16 * along))
    first = transform.paths.filter(order=1)
    norms = [c.norm().item() for c in transform.coefficients(grating, first.indices)]
    best = first[norms.index(max(norms))].metadata
    assert best["frequency1"] == pytest.approx(3 / 16)
    assert (best["angle1"] - angle) % 180 == pytest.approx(0)


def test_first_order_alone():
    both, first = (Scattering2D(SHAPE, J=2, L=3, max_order=order) for order in (2, 1))
    assert len(first.paths) == 1 + 2 * 3
    x = noise(*SHAPE)
    for a, b in zip(first(x), both(x), strict=False):
        assert torch.equal(a, b)
