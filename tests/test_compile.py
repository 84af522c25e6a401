"""``torch.compile`` around a loss leaves the transforms as they are, whatever batch and dtype."""

import pytest
import torch

from multipath import TransformLoss

from .transforms.cases import SMALL, small_signal


def value_and_gradient(loss, name, items, dtype):
    x, y = (small_signal(name, seed, items, dtype) for seed in (0, 1))
    x.requires_grad_()
    value = loss(2 * x, y)
    value.backward()
    return value.detach(), x.grad


@pytest.mark.filterwarnings("ignore")  # the compiler warns of what it does itself
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.slow
def test_a_compiled_loss_is_the_loss(name):
    torch.compiler.reset()
    loss = TransformLoss(SMALL[name]())
    compiled = torch.compile(loss, backend="eager")
    for batch, dtype in ((3, torch.float32), (6, torch.float32), (6, torch.float64)):
        found, expected = (value_and_gradient(f, name, batch, dtype) for f in (compiled, loss))
        torch.testing.assert_close(found, expected)
