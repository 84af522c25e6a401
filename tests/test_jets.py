"""Derivatives in a few parameters, pushed through transforms and losses, against autograd's."""

import pytest
import torch

from multipath import TransformLoss
from multipath.jets import JetOrder
from multipath.losses import PathDecomposedLoss
from multipath.testing import QuadraticLoss
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    Tiled,
    WaveletPacket,
)
from tests.testing.test_conformance import combined

N = 256
SETTINGS = {"J": 5, "Q": (2, 1), "T": 64}
TRANSFORMS = {
    "JTFS": lambda: JTFS(N, **SETTINGS, J_fr=2, Q_fr=1, F=4),
    "JTFS, reduced": lambda: JTFS(N, **SETTINGS, J_fr=2, Q_fr=1, F=4, sampling="reduced"),
    "JTFS, all orders": lambda: JTFS(
        N, **{**SETTINGS, "T": "none"}, J_fr=2, Q_fr=1, F="none", orders=(0, 1, 2)
    ),
    "scattering": lambda: Scattering1D(N, **SETTINGS),
    "scattering, means": lambda: Scattering1D(N, **{**SETTINGS, "T": "global"}),
    "tiled": lambda: Tiled(Scattering1D(N // 2, J=2, Q=(2, 1), T=4)),
    "spectrograms": lambda: MultiResolutionSTFT([32, 64], [8, 16], [24, 64]),
    "wavelet packet": lambda: WaveletPacket("db2", level=2),
    "images": lambda: Scattering2D((16, 16), J=2, L=2),
}
LOSSES = {
    **{name: (lambda make=make: TransformLoss(make())) for name, make in TRANSFORMS.items()},
    "l2": lambda: TransformLoss(TRANSFORMS["JTFS"](), distance="l2"),
    "log1p": lambda: TransformLoss(TRANSFORMS["JTFS"](), rho="log1p"),
    "combined": lambda: combined(TRANSFORMS["JTFS"]()),
    "grouped": lambda: TransformLoss(TRANSFORMS["JTFS"]()).grouped(by="rate"),
    "quadratic": lambda: QuadraticLoss(3),
}


def decode(theta, shape):
    """Decaying tones, or gratings; theta (batch, 3)."""
    time = torch.arange(N, dtype=theta.dtype)
    size, pitch, decay = theta[:, :, None].unbind(dim=1)
    return (size * torch.sin((0.2 + pitch) * time) * torch.exp(-decay * time / 50)).reshape(
        -1, *shape
    )


def by_autograd(losses, theta):
    """Value, slopes and second derivatives of (paths, batch) losses, backwards and one by one."""
    leaf = theta.clone().requires_grad_()
    values = losses(leaf)
    components = [values.detach()]
    firsts, seconds = [], []
    for row in values:
        (slope,) = torch.autograd.grad(row.sum(), leaf, create_graph=True)
        firsts.append(slope)
        seconds.append(
            [torch.autograd.grad(s.sum(), leaf, retain_graph=True)[0] for s in slope.unbind(dim=1)]
        )
    n = theta.shape[1]
    components += [torch.stack([slope.detach()[:, u] for slope in firsts]) for u in range(n)]
    components += [
        torch.stack([rows[u][:, v] for rows in seconds]) for u in range(n) for v in range(u + 1)
    ]
    return torch.stack(components)


def close(found, wanted, tolerance):
    scale = wanted.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    torch.testing.assert_close(found / scale, wanted / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.slow
def test_jets_of_losses_are_their_derivatives(name):
    loss = LOSSES[name]()
    shape = (16, 16) if name == "images" else (N,)
    generator = torch.Generator().manual_seed(0)
    theta, other = 0.2 + 0.6 * torch.rand(2, 2, 3, generator=generator, dtype=torch.float64)
    target = decode(other, shape)
    indices = [len(loss.paths) - 1, 0, 1]  # in any order
    order = JetOrder(3)
    wanted = by_autograd(lambda t: loss.evaluate(decode(t, shape), target, indices), theta)
    sounds = order.of(lambda t: decode(t, shape), theta)
    close(loss.path_loss_jets(sounds, target, indices, order), wanted, 1e-7)
    # and so are those that torch.func finds by itself
    generic = PathDecomposedLoss.path_loss_jets(loss, sounds, target, indices, order)
    close(generic, wanted, 1e-7)
    slopes = loss.path_loss_jets(sounds[:4], target, indices, JetOrder(3, order=1))
    close(slopes, wanted[:4], 1e-9)


@pytest.mark.parametrize("name", ["JTFS", "scattering"])
def test_jets_are_finite_at_silence(name):
    loss = LOSSES[name]()
    order = JetOrder(2)
    found = loss.path_loss_jets(
        torch.zeros(len(order), 2, N), torch.zeros(2, N), range(len(loss.paths)), order
    )
    assert not found.any()
    theta = torch.zeros(2, 2, dtype=torch.float64)
    sounds = order.of(lambda t: decode(torch.cat([t, t[:, :1]], dim=1), (N,)), theta)
    found = loss.path_loss_jets(sounds, torch.zeros_like(sounds[0]), [0, 1, 2], order)
    assert torch.isfinite(found).all()


def test_components_are_in_the_order_that_is_told():
    order = JetOrder(2)
    theta = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    jet = order.of(lambda t: t[:, :1] ** 2 * t[:, 1:], theta)
    assert order.pairs == [(0, 0), (1, 0), (1, 1)]
    assert len(order) == 6
    assert jet.flatten().tolist() == [12.0, 12.0, 4.0, 6.0, 4.0, 0.0]
    assert len(JetOrder(2, order=1)) == 3
