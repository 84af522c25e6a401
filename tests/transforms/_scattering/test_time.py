"""Whole scattering transforms: tiles, pairs of signals, derivatives, and the memory they keep."""

import gc
import weakref

import pytest
import torch

from multipath.transforms import Scattering1D
from multipath.transforms._numerics import tiles as _tiles
from tests.transforms.cases import SCATTERINGS, assert_near
from tests.transforms.cases import double_noise as noise

N = 512


@pytest.fixture(params=["scattering1d", "jtfs", "jtfs, frames kept", "jtfs, moduli"])
def transform(request):
    return SCATTERINGS[request.param]()


def some_paths(transform):
    return list(range(0, len(transform.paths), 3))


def values_and_gradient(transform, x, create_graph=False):
    x = x.detach().requires_grad_()
    values = transform.coefficients(x, some_paths(transform))
    total = sum((c.square() * noise(*c.shape, seed=5)).sum() for c in values)
    (gradient,) = torch.autograd.grad(total, x, create_graph=create_graph)
    return [*(c.detach() for c in values), gradient]


@pytest.mark.slow
def test_tile_size_changes_nothing(transform, monkeypatch):
    x = noise(3, N)
    expected = values_and_gradient(transform, x)
    for tile in (2**10, 2**13, 2**21):
        monkeypatch.setattr(_tiles, "CPU_TILE", tile)
        for a, b in zip(values_and_gradient(transform, x), expected, strict=True):
            assert_near(a, b)


@pytest.mark.parametrize("learning", [(True, False), (True, True), (False, True)], ids=str)
@pytest.mark.slow
def test_pairs_equal_two_calls(transform, learning):
    chosen = [5, 0, 5, *some_paths(transform)]
    x, y = noise(2, 2, N), 1e3 * noise(2, 2, N, seed=1)
    wanted = [signal.requires_grad_() for signal, it in zip((x, y), learning, strict=True) if it]
    found = []
    for of_x, of_y in (
        transform.coefficient_pairs(x, y, chosen),
        (transform.coefficients(x, chosen), transform.coefficients(y, chosen)),
    ):
        assert all(c.requires_grad == learning[1] for c in of_y)
        total = sum((a * b).sum() for a, b in zip(of_x, of_y, strict=True))
        found.append([*of_x, *of_y, *torch.autograd.grad(total, wanted)])
    for a, b in zip(*found, strict=True):
        assert_near(a.detach(), b.detach())
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


@pytest.mark.slow
def test_hessian_vector_products_against_differences_of_the_gradient(transform):
    x, direction = noise(1, N), noise(1, N, seed=1)
    moving = x.clone().requires_grad_()
    values = transform.coefficients(moving, some_paths(transform))
    total = sum((c.square() * noise(*c.shape, seed=5)).sum() for c in values)
    (gradient,) = torch.autograd.grad(total, moving, create_graph=True)
    (product,) = torch.autograd.grad((gradient * direction).sum(), moving)
    assert_near(gradient.detach(), values_and_gradient(transform, x)[-1])
    step = 1e-5
    above, below = (
        values_and_gradient(transform, x + sign * step * direction)[-1] for sign in (1, -1)
    )
    assert_near(product, (above - below) / (2 * step), 1e-5)


def tensors():
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.slow
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
    transform = SCATTERINGS[name]()
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


def test_averaging_takes_memory_in_proportion_to_the_signal():
    sizes = []
    for n_samples in (2**14, 2**16):
        transform = Scattering1D(n_samples, J=4, Q=(1, 1), T=64)
        transform(noise(n_samples))
        averages = [v for (k, *_), v in transform.time._derived.items() if k[0] == "averaging"]
        bins = [v for (k, *_), v in transform.time._derived.items() if k[0] == "phi bins"]
        assert averages
        assert bins
        sizes.append(sum(a.parts.numel() + a.shapes.numel() + a.source.numel() for a in averages))
        sizes[-1] += sum(b.numel() for b in bins)
    assert sizes[1] < 4.5 * sizes[0]
