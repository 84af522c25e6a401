"""What is heard of a sound: all paths but the mean, compressed."""

import pytest
import torch

from multipath import TargetCache, TransformLoss
from multipath.applications.distance.compare import default_transform
from multipath.applications.distance.heard import Heard, measure
from multipath.transforms import Scattering1D

RATE = 2048
TIME = torch.arange(1024) / RATE
TONE = 0.3 * torch.sin(2 * torch.pi * 300 * TIME) * torch.exp(-6 * TIME)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jtfs", "scattering1d"])
def test_the_distance_is_that_of_the_full_loss_without_order_zero(name):
    noise = 0.1 * torch.randn(1024, generator=torch.Generator().manual_seed(0))
    target, signal = TONE[None].double(), noise[None].double()
    transform = default_transform(name, 1024, RATE).double()
    reference = TransformLoss(transform, rho="log1p")
    audible = transform.paths.filter(lambda path: path.metadata["order"] != 0).indices
    heard = Heard(transform)
    assert [path.index for path in heard.audible] == list(audible)
    assert heard.paths.keys == [transform.paths[index].key for index in audible]
    scale = len(heard.paths) / len(transform.paths)
    expected = scale * reference.path_losses(signal, target, audible)[:, 0]
    losses, relative = measure(heard(signal), heard(target))
    torch.testing.assert_close(losses, expected, rtol=1e-9, atol=0.0)
    silence = scale * sum(
        float(reference.path_losses(0 * x, x, audible).sum()) for x in (signal, target)
    )
    assert relative == pytest.approx((float(expected.sum()) / silence) ** 0.5, rel=1e-9)
    cache = TargetCache(2**30)
    loss = TransformLoss(heard, cache=cache)
    for _ in range(2):
        with cache.keyed(["target"]):
            found = loss.path_losses(signal, target, [3, 0])
        torch.testing.assert_close(found[:, 0], expected[[3, 0]], rtol=1e-9, atol=0.0)
    assert (cache.hits, cache.misses) == (1, 1)


def test_sounds_of_which_nothing_is_heard_are_at_no_distance():
    losses, relative = measure([torch.zeros(3)] * 2, [torch.zeros(3)] * 2)
    assert losses.tolist() == [0.0, 0.0]
    assert relative == 0.0


def test_the_gradient_is_finite_at_silence_and_at_the_target():
    loss = TransformLoss(Heard(Scattering1D(1024, J=5, Q=(2, 1), T=256)))
    for start in (torch.zeros(1, 1024), TONE[None]):
        signal = start.clone().requires_grad_()
        loss(signal, TONE[None]).backward()
        assert bool(signal.grad.isfinite().all())
