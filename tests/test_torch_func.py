"""Forward differentiation through the transforms agrees with differentiating backwards."""

import pytest
import torch
from torch.func import grad, jvp

from multipath import TargetCache, TransformLoss

from .transforms.cases import SMALL, small_signal


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
