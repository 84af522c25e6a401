"""``torch.compile`` around a loss leaves the transforms as they are, whatever batch and dtype."""

import pytest
import torch

from multipath import TransformLoss
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    WaveletPacket,
    WaveletTransform,
)

TRANSFORMS = {
    "Scattering1D": (lambda: Scattering1D(512, J=5, Q=(1, 1), T=128), (512,)),
    "Scattering2D": (lambda: Scattering2D((16, 16), J=2, L=4), (16, 16)),
    "JTFS": (lambda: JTFS(512, J=5, Q=(4, 1), J_fr=2, Q_fr=1, T=128, F=4), (512,)),
    "MultiResolutionSTFT": (lambda: MultiResolutionSTFT([64, 128], [16, 32], [64, 128]), (512,)),
    "WaveletTransform": (lambda: WaveletTransform("db2", 2), (512,)),
    "WaveletPacket": (lambda: WaveletPacket("db2", 2), (512,)),
}


def value_and_gradient(loss, shape, dtype):
    x, y = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    x.requires_grad_()
    value = loss(2 * x, y)
    value.backward()
    return value.detach(), x.grad


@pytest.mark.filterwarnings("ignore")  # the compiler warns of what it does itself
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.slow
def test_a_compiled_loss_is_the_loss(name):
    build, shape = TRANSFORMS[name]
    torch.compiler.reset()
    loss = TransformLoss(build())
    compiled = torch.compile(loss, backend="eager")
    for batch, dtype in ((3, torch.float32), (6, torch.float32), (6, torch.float64)):
        found, expected = (value_and_gradient(f, (batch, *shape), dtype) for f in (compiled, loss))
        torch.testing.assert_close(found, expected)
