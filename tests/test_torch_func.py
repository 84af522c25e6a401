"""``torch.func`` through transforms and criteria agrees with plain differentiation."""

import pytest
import torch
from torch.func import grad, jacfwd, jacrev, jvp, vmap

from multipath import StochasticLoss, TargetCache, TransformLoss
from multipath.samplers import Uniform
from multipath.testing import QuadraticLoss

from .samplers.cases import CASES
from .transforms.cases import SMALL, small_signal

pytestmark = pytest.mark.slow  # every class in every way


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.slow
def test_directional_derivatives(name, silent):
    loss = TransformLoss(SMALL[name]())
    x, y, v, w = (small_signal(name, seed) for seed in range(4))
    if silent:
        x = torch.zeros_like(x)

    def values(x):
        return loss.evaluate(x, y, range(len(loss.paths))).sum(dim=1)

    def along(x):
        return jvp(values, (x,), (v,))[1]

    first, second = jvp(along, (x,), (w,))
    assert torch.isfinite(first).all()
    leaf = x.clone().requires_grad_()
    for p, value in enumerate(values(leaf)):
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
        torch.testing.assert_close(first[p], (gradient * v).sum(), rtol=1e-9, atol=1e-12)
        (bend,) = torch.autograd.grad((gradient * v).sum(), leaf, retain_graph=True)
        torch.testing.assert_close(second[p], (bend * w).sum(), rtol=1e-8, atol=1e-9)
    assert torch.isfinite(second).all()
    torch.testing.assert_close(
        grad(lambda x: values(x).sum())(x),
        torch.autograd.grad(values(leaf).sum(), leaf)[0],
    )  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_each_kind_of_path_alone(name):
    """A draw may hold no path of the second order, or none but the mean of the signal."""
    loss = TransformLoss(SMALL[name]())
    x, y = (small_signal(name, seed) for seed in (0, 1))
    orders = {path.metadata.get("order"): path.index for path in loss.paths}
    for path in orders.values():
        gradient = grad(lambda x, path=path: loss.evaluate(x, y, [path]).sum())(x)
        leaf = x.clone().requires_grad_()
        loss.evaluate(leaf, y, [path]).sum().backward()
        torch.testing.assert_close(gradient, leaf.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMALL)
def test_what_is_kept_under_torch_func_stays_usable(name):
    """Filters, plans and targets that a transform computes at its first call are plain tensors."""
    x, y, v = (small_signal(name, seed) for seed in range(3))
    plain = TransformLoss(SMALL[name]())
    used = TransformLoss(SMALL[name](), cache=TargetCache(max_bytes=2**20))
    keys = range(len(x))
    with used.cache.keyed(keys):
        jvp(lambda x: jvp(lambda x: used(x, y), (x,), (v,))[1], (x,), (v,))
        grad(lambda x: used(x, y))(x)
    leaf = x.clone().requires_grad_()
    for hits in (0, len(x)):  # targets are kept by plain calls only
        with used.cache.keyed(keys):
            value = used(leaf, y)
        assert used.cache.hits == hits
    value.backward()
    torch.testing.assert_close(value, plain(x, y))
    reference = x.clone().requires_grad_()
    plain(reference, y).backward()
    torch.testing.assert_close(leaf.grad, reference.grad)


WAYS = {
    "grad": lambda criterion, x, y: grad(lambda x: criterion(x, y))(x),
    "jacrev": lambda criterion, x, y: jacrev(lambda x: criterion(x, y))(x),
    "jacfwd": lambda criterion, x, y: jacfwd(lambda x: criterion(x, y))(x),
    "inner grad": lambda criterion, x, y: grad(
        lambda x: criterion(x, y) + 0 * grad(lambda z: z.square().sum())(x).sum()
    )(x),
    "sample by sample": lambda criterion, x, y: (
        vmap(grad(lambda x, y: criterion(x[None], y[None])))(x, y) / len(x)
    ),
    "sample by sample, one target": lambda criterion, x, y: (
        vmap(grad(lambda x: criterion(x[None], y[:1])))(x) / len(x)
    ),
    "samples last": lambda criterion, x, y: (
        vmap(grad(lambda x, y: criterion(x[None], y[None])), in_dims=-1, out_dims=-1)(x.T, y.T).T
        / len(x)
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_criteria_draw_and_learn_as_ever(name, way):
    """One draw of plain tensors, whatever is differentiated; learning sees the whole batch."""
    x = torch.linspace(-2, 3, 12, dtype=torch.float64).reshape(3, 4)
    y = torch.ones_like(x).cumsum(dim=1).expand(3, 4).contiguous()

    def make():
        return StochasticLoss(QuadraticLoss(4), CASES[name].make(range(4)), n_draws=2, generator=0)

    plain, criterion = make(), make()
    for _ in range(4):
        leaf = x.clone().requires_grad_()
        plain(leaf, y).backward()
        torch.testing.assert_close(WAYS[way](criterion, x, y), leaf.grad)
        for own, expected in zip(
            criterion.last_draw.state_dict().values(),
            plain.last_draw.state_dict().values(),
            strict=True,
        ):
            torch.testing.assert_close(torch.from_numpy(own.numpy()), expected)
    torch.testing.assert_close(
        criterion.sampler.state_dict(), plain.sampler.state_dict(), equal_nan=True
    )


@pytest.mark.parametrize("observes", ["gradient_norms", "target_norms", "losses"])
def test_nested_maps_are_one_batch(observes):
    x, y = torch.randn(2, 2, 3, 5, 4, dtype=torch.float64).unbind()
    plain, criterion = (
        StochasticLoss(QuadraticLoss(4), Listening(observes), generator=0) for _ in range(2)
    )

    def inner(x, y):
        return vmap(lambda x: grad(lambda x: criterion(x, y))(x), in_dims=1)(x)

    vmap(inner)(x, y[:, :, 0])
    wide = y[:, :, :1].expand(x.shape)
    plain(*(part.movedim(2, 1).reshape(-1, 4).requires_grad_() for part in (x, wide)))
    assert criterion.sampler.heard.keys() == plain.sampler.heard.keys()
    assert criterion.sampler.heard == pytest.approx(plain.sampler.heard, rel=1e-12)


class Listening(Uniform):
    """Keeps what it is told."""

    def __init__(self, observes):
        super().__init__()
        self.observes, self.heard = observes, {}

    def observe(self, indices, values):
        self.heard.update(zip(indices.tolist(), values.tolist(), strict=True))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # some rules torch lacks
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.slow
def test_criteria_of_transforms(name):
    """The recommended draws, per-sample gradients included."""
    x, y = (small_signal(name, seed, items=3) for seed in (0, 1))
    loss = TransformLoss(SMALL[name]())
    plain, criterion = (
        StochasticLoss.for_training(loss, y, n_draws=2, generator=0) for _ in range(2)
    )
    for way in ("grad", "sample by sample"):
        leaf = x.clone().requires_grad_()
        plain(leaf, y).backward()
        torch.testing.assert_close(WAYS[way](criterion, x, y), leaf.grad)
