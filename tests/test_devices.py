"""No tensor strays from its device: operations on tensors of two devices are refused."""

from contextlib import nullcontext

import pytest
import torch
import torch.fx.experimental._config as fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from multipath import StochasticLoss
from multipath.optim import PSAGA, PAdam
from multipath.testing import QuadraticLoss, shipped
from multipath.transforms._numerics.filters import FilterBuffers

LOSSES = {
    name: tests
    for name, tests in vars(shipped).items()
    if isinstance(tests, type)
    and hasattr(tests, "make_loss")
    and tests.__module__ == shipped.__name__
}


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch):
    """There is none for tensors without storage."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


class OneDevice(TorchDispatchMode):
    """Refuses what CUDA would: on tensors without storage, products take operands of the CPU."""

    ALLOWED = ("copy", "index", "empty", "zeros", "ones")  # also of torch: indices may be elsewhere

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        if not any(word in name for word in self.ALLOWED):
            found = [
                each
                for each in tree_leaves((args, kwargs))
                if isinstance(each, torch.Tensor) and each.dim()
            ]
            devices = {each.device.type for each in found}
            assert len(devices) < 2, f"{operation} on tensors of {devices}"
        return operation(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def one_device():
    with OneDevice():
        yield


@pytest.fixture(autouse=True)
def filters_with_storage(monkeypatch):
    """What is derived from filters is computed, so that they stay where they were designed."""
    monkeypatch.setattr(FilterBuffers, "_apply", lambda self, *_, **__: self)
    monkeypatch.setattr(fx, "meta_nonzero_assume_all_nonzero", True, raising=False)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_stay_on_the_device_of_their_module(name):
    tests = LOSSES[name]()
    loss = tests.make_loss()
    x, y = tests.make_batch(torch.Generator().manual_seed(0))
    loss, x, y = loss.to("meta"), x.to("meta").requires_grad_(), y.to("meta")
    value = loss(x, y, reduction="mean")
    assert value.device.type == "meta"
    value.backward()
    assert x.grad.device.type == "meta"
    criterion = StochasticLoss(loss, n_draws=3, generator=0)
    assert criterion(x, y).device.type == "meta"


def test_a_stray_tensor_is_found():
    class Stray(QuadraticLoss):
        def path_losses(self, input, target, indices):
            return super().path_losses(input @ torch.eye(input.shape[1]), target, indices)

    x = torch.ones(2, 3, device="meta")
    with pytest.raises(AssertionError, match="on tensors of"):
        Stray(4)(x, x)


@pytest.mark.parametrize("make", [PAdam, PSAGA])
def test_optimizers_stay_on_the_device_of_the_weights(make):
    criterion = StochasticLoss(QuadraticLoss(4), generator=0)
    weight = torch.nn.Parameter(torch.ones(3, device="meta"))
    optimizer = make([weight], criterion, lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        criterion(weight[None], torch.zeros(1, 3, device="meta")).backward()
        optimizer.step()
    kept = [each for each in tree_leaves(optimizer.state[weight]) if isinstance(each, torch.Tensor)]
    assert {each.device.type for each in kept} == {"meta"}
