"""Scattering of images: equal to kymatio and to its readable twin; gradients, work and meaning."""

import copy
import json
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import StochasticLoss, TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import Scattering2D
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


@pytest.mark.slow
def test_some_paths_in_any_order_and_any_batch(transform):
    x = noise(2, 3, *SHAPE).mT.contiguous().mT
    every = transform(x)
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(1))[:20].tolist()
    for index, found in zip(
        [*order, order[0]], transform.coefficients(x, [*order, order[0]]), strict=True
    ):
        assert found.shape == (2, 3, 3, 2)
        torch.testing.assert_close(found, every[index])
        (alone,) = transform.coefficients(x[1, 2], [index])
        torch.testing.assert_close(alone, every[index][1, 2])


def fourier_pixels(monkeypatch, transform, keys):
    """Pixels that go through Fourier transforms when some paths are evaluated, and how many do."""
    sizes = []
    for name in ("fft2", "ifft2"):
        original = getattr(torch.fft, name)

        def counted(x, original=original):
            sizes.append(x.numel())
            return original(x)

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


@pytest.mark.parametrize("amplitude", [0.0, 1e-40, 1e-30, 1.0, 1e30])
@pytest.mark.slow
def test_gradients_are_finite_at_silence_and_at_equal_images(transform, amplitude):
    y = amplitude * noise(2, *SHAPE).float()
    y[1] = 0.5 * amplitude  # no structure at all
    for other in (y, torch.zeros_like(y)):
        for distance in ("l2", "l1"):
            x = y.clone().requires_grad_()
            TransformLoss(transform, distance=distance, rho="log1p")(x, other).backward()
            assert torch.isfinite(x.grad).all()


@pytest.mark.slow
def test_coefficients_scale_with_the_image(transform):
    x = noise(2, *SHAPE)
    for gain in (1e-300, 3e-7, 1e306):
        for a, b in zip(transform(gain * x), transform(x), strict=True):
            torch.testing.assert_close(a / gain, b, rtol=1e-11, atol=0)


@pytest.mark.slow
def test_precision_follows_the_image_and_not_the_module(transform):
    x = noise(2, *SHAPE)
    cast = copy.deepcopy(transform).half().double()
    clone = pickle.loads(pickle.dumps(transform))
    assert dict(transform.named_buffers())
    assert not transform.state_dict()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = transform(x.float())
    for exact, again, copied, single, half, other in zip(
        transform(x), cast(x), clone(x), transform(x.float()), transform(x.half()), under_autocast,
        strict=True,
    ):  # fmt: skip
        assert torch.equal(exact, again)
        assert torch.equal(exact, copied)
        assert torch.equal(single, other)
        assert (single.dtype, half.dtype) == (torch.float32, torch.float32)
        assert (exact - single).abs().max() <= 1e-5 * exact.abs().max()


def test_inference_mode_does_not_spoil_training():
    transform = Scattering2D((8, 8), J=1, L=2)
    with torch.inference_mode():
        transform(noise(8, 8))
    x = noise(8, 8).requires_grad_()
    sum(c.sum() for c in transform(x)).backward()
    assert x.grad.abs().max() > 0


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


@pytest.mark.slow
def test_small_shifts_are_forgotten():
    x = torch.zeros(64, 64, dtype=torch.float64)
    x[24:40, 24:40] = noise(16, 16)
    changes = []
    for J in (1, 3, 5):
        transform = Scattering2D((64, 64), J, L=2)
        some = [i for i, path in enumerate(transform.paths) if path.metadata["order"] == 1]
        a, b = (
            torch.cat([c.ravel() for c in transform.coefficients(image, some[:2])])
            for image in (x, x.roll(2, dims=1))
        )
        changes.append(((a - b).norm() / a.norm()).item())
    assert changes[0] > 1.5 * changes[1] > 6 * changes[2]


@pytest.mark.slow
def test_a_loss_between_images_draws_paths(transform):
    loss = TransformLoss(transform)
    x, y = noise(2, *SHAPE, seed=1), noise(2, *SHAPE)
    whole = loss(x, y)
    criterion = StochasticLoss(loss, n_draws=len(transform.paths), generator=0)
    estimate = criterion.estimate(x, y, criterion.make_draw(list(range(len(transform.paths)))))
    torch.testing.assert_close(estimate, whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": 32, "J": 2}, r"shape must be \(height, width\) of the images, got 32"),
        ({"shape": (32,), "J": 2}, r"got \(32,\)"),
        ({"shape": (32, 32.0), "J": 2}, "width must be a whole number, got 32.0"),
        ({"shape": (32, 32), "J": 0}, "J and L must be at least 1, got J=0, L=8"),
        ({"shape": (32, 32), "J": 2, "L": 0}, "got J=2, L=0"),
        ({"shape": (32, 32), "J": 2, "max_order": 3}, "max_order must be 1 or 2, got 3"),
        ({"shape": (32, 7), "J": 3}, r"at least 2\^J = 8 pixels .* got \(32, 7\); use a smaller J"),
    ],
)
def test_what_cannot_be_is_refused_at_construction(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Scattering2D(**arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 17, 24), r"\(..., 24, 17\), got \(2, 17, 24\); cut them or pad them"),
        (torch.zeros(17), r"expected images of shape \(..., 24, 17\), got \(17,\)"),
        (torch.zeros(SHAPE, dtype=torch.uint8), "real floating-point .* got torch.uint8"),
        (torch.zeros(0, *SHAPE), "none empty"),
    ],
)
def test_images_that_do_not_fit(transform, x, message):
    with pytest.raises(InputError, match=message):
        transform(x)


def test_first_order_alone():
    both, first = (Scattering2D(SHAPE, J=2, L=3, max_order=order) for order in (2, 1))
    assert len(first.paths) == 1 + 2 * 3
    x = noise(*SHAPE)
    for a, b in zip(first(x), both(x), strict=False):
        assert torch.equal(a, b)
