"""Forward differentiation through the transforms agrees with differentiating backwards."""

import pytest
import torch
from torch.func import grad, jvp

from multipath import TargetCache, TransformLoss
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    WaveletPacket,
    WaveletTransform,
)

DTYPE = torch.float64
SHAPES = {"scattering2d": (8, 8)}
TRANSFORMS = {
    "jtfs": lambda: JTFS(n_samples=128, J=3, Q=(2, 1), J_fr=1, Q_fr=1, T=16, F=2),
    "jtfs, reduced": lambda: JTFS(
        n_samples=128, J=3, Q=(2, 1), J_fr=1, Q_fr=1, T=16, F=2, sampling="reduced"
    ),
    "scattering1d": lambda: Scattering1D(n_samples=128, J=3, Q=(2, 1), T=8),
    "scattering2d": lambda: Scattering2D((8, 8), J=1, L=2),
    "stft": lambda: MultiResolutionSTFT([16, 32], [8, 16], [16, 32]),
    "wavelet packet": lambda: WaveletPacket("db2", level=2),
    "wavelet": lambda: WaveletTransform("db2", level=2),
}


def signal(name, seed, items=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(items, *SHAPES.get(name, (128,)), generator=generator, dtype=DTYPE)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.slow
def test_directional_derivatives(name, silent):
    loss = TransformLoss(TRANSFORMS[name]())
    x, y, v, w = (signal(name, seed) for seed in range(4))
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


@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_is_kept_under_torch_func_stays_usable(name):
    """Filters, plans and targets that a transform computes at its first call are plain tensors."""
    x, y, v = (signal(name, seed) for seed in range(3))
    plain = TransformLoss(TRANSFORMS[name]())
    used = TransformLoss(TRANSFORMS[name](), cache=TargetCache(max_bytes=2**20))
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
