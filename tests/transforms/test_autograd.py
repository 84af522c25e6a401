"""Whatever way torch differentiates a loss, it finds what a plain backward finds."""

from functools import cache, partial

import pytest
import torch
from torch.autograd import forward_ad
from torch.autograd.functional import hessian, jacobian
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from multipath import SlicedWasserstein, StochasticLoss, TargetCache, TransformLoss
from multipath.transforms import MultiResolutionSTFT, WaveletPacket, WaveletTransform
from multipath.transforms._scattering import first_layer, second_layer

from .cases import SCATTERINGS, SMALL, assert_near, noise, random_subset
from .cases import double_noise as double

# torch says of its own vmap that some rules are missing, and goes on with a loop
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")

TRANSFORMS = {
    **{
        name: (SMALL[name], (128,))
        for name in ("jtfs", "scattering1d", "tiled", "stft", "wavelet packet")
    },
    "scattering2d": (SMALL["scattering2d"], (8, 8)),
    "wavelet": (
        lambda: WaveletTransform("haar", level=2, mode="symmetric", signal_ndim=2),
        (8, 8),
    ),
    "longer jtfs": (SCATTERINGS["jtfs, frames kept"], (512,)),
    "longer scattering1d": (SCATTERINGS["scattering1d"], (512,)),
}
LOSSES = {
    **{
        name: (lambda make=make: TransformLoss(make()), shape)
        for name, (make, shape) in TRANSFORMS.items()
    },
    "log jtfs": (lambda: TransformLoss(SMALL["jtfs"](), rho="log1p", distance="l2"), (128,)),
    "clouds": (lambda: SlicedWasserstein(2, n_projections=6), (5, 2)),
    "clouds with masses": (lambda: SlicedWasserstein(1, n_projections=6, masses=True), (5, 2)),
}
SMALLER = [name for name in LOSSES if "longer" not in name]


class Case:
    """A loss, two batches of three items and a direction."""

    def __init__(self, name):
        make, shape = LOSSES[name]
        self.loss = make()
        self.x, self.y, self.v = (double(3, *shape, seed=seed) for seed in range(3))
        if "masses" in name:
            self.x, self.y = self.x.abs(), self.y.abs()
        self.chosen = random_subset(self.loss, 4, seed=3)
        self.weights = double(4, 3, seed=4)

    def losses(self, x, y=None):
        """Three values, each of which depends on one item."""
        return self.loss.path_losses(x, self.y if y is None else y, self.chosen).mean(dim=0)

    def leaf(self):
        return self.x.clone().requires_grad_()

    def gradients(self, losses, leaf, **settings):
        """One after the other."""
        each = (
            torch.autograd.grad(losses, leaf, weights, retain_graph=True, **settings)[0]
            for weights in self.weights
        )
        return torch.stack(list(each))


get = cache(Case)


@pytest.fixture(params=LOSSES)
def case(request):
    return get(request.param)


@pytest.mark.parametrize("create_graph", [False, True])
def test_what_is_saved_is_read_once(case, create_graph):
    leaf, read = case.leaf(), []

    def pack(tensor):
        read.append(0)
        return len(read) - 1, tensor

    def unpack(packed):
        place, tensor = packed
        read[place] += 1
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        losses = case.losses(leaf)
    torch.autograd.grad(losses.sum(), leaf, create_graph=create_graph)
    assert max(read) == 1


@pytest.mark.parametrize("early_stop", [False, True])
def test_checkpoints(case, early_stop):
    plain, leaf = case.leaf(), case.leaf()
    expected = case.losses(plain)
    gradients = case.gradients(expected, plain)
    with set_checkpoint_early_stop(early_stop):
        losses = checkpoint(case.losses, leaf, use_reentrant=False)
        batched = checkpoint(case.losses, leaf, use_reentrant=False)
    assert torch.equal(losses, expected)
    assert torch.equal(case.gradients(losses, leaf), gradients)  # several backwards
    (found,) = torch.autograd.grad(batched, leaf, case.weights, is_grads_batched=True)
    torch.testing.assert_close(found, gradients, rtol=1e-12, atol=1e-14)
    with torch.autograd.graph.save_on_cpu():
        losses = case.losses(leaf)
    assert torch.equal(case.gradients(losses, leaf), gradients)


def test_batches_of_gradients(case):
    leaf = case.leaf()
    losses = case.losses(leaf)
    close = partial(torch.testing.assert_close, rtol=1e-11, atol=1e-13)
    expected = case.gradients(losses, leaf)
    twice = case.gradients(losses, leaf, create_graph=True)

    def along(weights, **settings):
        return torch.autograd.grad(losses, leaf, weights, retain_graph=True, **settings)[0]

    close(along(case.weights, is_grads_batched=True), expected)
    close(torch.func.vmap(along)(case.weights), expected)
    close(jacobian(case.losses, case.x, vectorize=True), jacobian(case.losses, case.x))
    further = partial(torch.autograd.grad, inputs=leaf, retain_graph=True)
    (bend,) = further(twice.square().sum())
    for found in (
        along(case.weights, is_grads_batched=True, create_graph=True),
        torch.func.vmap(partial(along, create_graph=True))(case.weights),
    ):
        close(found, expected)
        assert_near(further(found.square().sum())[0], bend, 1e-10)
    # batches again, through the gradient of the gradient
    directions = torch.stack([case.x, case.v])
    (found,) = further(twice[0], grad_outputs=directions, is_grads_batched=True)
    each = [further(twice[0], grad_outputs=direction)[0] for direction in directions]
    assert_near(found, torch.stack(each), 1e-10)


@pytest.mark.parametrize("moving", ["input", "target"])
def test_dual_numbers(case, moving):
    losses = case.losses if moving == "input" else lambda y: case.losses(case.x, y)
    start = case.x if moving == "input" else case.y
    with forward_ad.dual_level():
        value, slope = forward_ad.unpack_dual(losses(forward_ad.make_dual(start, case.v)))
    expected, along = torch.func.jvp(losses, (start,), (case.v,))
    assert_near(value, expected, 1e-14)
    assert_near(slope, along, 1e-13)
    assert_near(torch.autograd.functional.jvp(losses, start, case.v)[1], along, 1e-11)
    leaf = start.clone().requires_grad_()
    gradients = case.gradients(losses(leaf), leaf)
    assert_near(case.weights @ slope, (gradients * case.v).flatten(1).sum(dim=1), 1e-11)


def test_dual_numbers_through_a_backward(case):
    """The product of the second derivatives with a direction, and a gradient of dual weights."""
    leaf = case.leaf()
    losses = case.losses(leaf)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(leaf, case.v)
        (gradient,) = torch.autograd.grad(case.losses(dual).sum(), dual)
        product = forward_ad.unpack_dual(gradient).tangent
        weights = forward_ad.make_dual(*case.weights[:2])
        parts = forward_ad.unpack_dual(torch.autograd.grad(losses, leaf, weights)[0])
    losses = case.losses(leaf)
    (gradient,) = torch.autograd.grad(losses.sum(), leaf, create_graph=True)
    (expected,) = torch.autograd.grad((gradient * case.v).sum(), leaf, retain_graph=True)
    assert_near(product, expected, 1e-10)
    for part, expected in zip(parts, case.gradients(losses, leaf), strict=False):
        assert_near(part, expected, 1e-11)


def test_gradients_item_by_item(case):
    """``vmap`` over the items, both of the input and the target or of the input alone."""

    def loss(x, y):
        return case.losses(x[None], y[None])[0]

    leaf = case.leaf()
    for ys, dims in ((case.y, 0), (case.y[:1].expand_as(case.y), None)):
        losses = case.losses(leaf, ys)
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        y = ys if dims == 0 else ys[0]
        for function, expected in ((loss, losses), (torch.func.grad(loss), gradient)):
            found = torch.func.vmap(function, in_dims=(0, dims))(case.x, y)
            assert_near(found, expected, 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLER)
def test_jacobians_and_second_derivatives(name):
    case = get(name)
    x, y = case.x[:1], case.y[:1]

    def loss(x):
        return case.losses(x, y).sum()

    expected = jacobian(case.losses, case.x)
    assert_near(jacobian(case.losses, case.x, vectorize=True, strategy="forward-mode"), expected)
    expected = hessian(loss, x)
    for strategy in ("reverse-mode", "forward-mode"):
        found = hessian(loss, x, vectorize=True, outer_jacobian_strategy=strategy)
        assert_near(found, expected, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLER)
def test_gradcheck(name):
    case = get(name)
    check = {"fast_mode": True, "check_batched_grad": True}
    forward = {"check_forward_ad": True, "check_batched_forward_grad": True}
    assert torch.autograd.gradcheck(case.losses, (case.leaf(),), **check, **forward)
    again = {"check_fwd_over_rev": True, "atol": 1e-4}
    assert torch.autograd.gradgradcheck(case.losses, (case.leaf(),), **check, **again)


@pytest.mark.parametrize("wavelet", ["haar", "db2"])
@pytest.mark.parametrize("mode", ["periodization", "reflect"])
def test_inverse_wavelets(wavelet, mode):
    transform = WaveletPacket(wavelet, level=2, mode=mode)
    x = double(1, 20)

    def energy(x):
        return transform.inverse([c.square() for c in transform(x)], 20).square().sum()

    expected = hessian(energy, x)
    for strategy in ("reverse-mode", "forward-mode"):
        found = hessian(energy, x, vectorize=True, outer_jacobian_strategy=strategy)
        assert_near(found, expected)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_silence_has_slopes(name):
    """Where moduli vanish, all ways find the slope of zero that a backward finds."""
    case = get(name)
    silence = torch.zeros_like(case.x)
    expected = jacobian(case.losses, silence)
    assert torch.equal(jacobian(case.losses, silence, vectorize=True), expected)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(silence, case.v)
        slope = forward_ad.unpack_dual(case.losses(dual)).tangent
    along = (expected * case.v).flatten(1).sum(dim=1)
    torch.testing.assert_close(slope, along, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("gain", [1e-30, 1e-20, 1e20])
def test_spectrograms_of_quiet_and_loud_signals_in_plain_steps(gain):
    transform = MultiResolutionSTFT([64], [16], [50])
    x, v = (noise(2, 200, seed=seed) for seed in range(2))
    leaf = (gain * x).requires_grad_()
    value = transform(leaf)[0].sum()
    (gradient,) = torch.autograd.grad(value, leaf)
    (plain,) = torch.autograd.grad(transform(leaf)[0].sum(), leaf, create_graph=True)
    by_func = torch.func.grad(lambda x: transform(x)[0].sum())(leaf.detach())
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(leaf.detach(), v)
        found, slope = forward_ad.unpack_dual(transform(dual)[0].sum())
    assert_near(found, value, 1e-5)
    assert_near(slope, (gradient * v).sum(), 1e-4)
    for other in (plain, by_func):
        assert_near(other, gradient, 1e-5)


def test_tiles_join_without_seams_in_batches_and_dual_numbers(monkeypatch):
    case = get("longer jtfs")
    found = []
    for size in (1, 64):
        for module in (first_layer, second_layer):
            monkeypatch.setattr(module, "tile_size", lambda *_, size=size: size)
        leaf = case.leaf()
        (batch,) = torch.autograd.grad(case.losses(leaf), leaf, case.weights, is_grads_batched=True)
        with forward_ad.dual_level():
            slope = case.losses(forward_ad.make_dual(case.x, case.v))
            found.append((batch, forward_ad.unpack_dual(slope).tangent))
    for one, other in zip(*found, strict=True):
        assert_near(one, other)


@pytest.mark.parametrize("n_draws", [1, 3])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_criterion_in_a_checkpoint(name, n_draws):
    case = get(name)
    plain, repeated = (StochasticLoss(case.loss, n_draws=n_draws, generator=0) for _ in range(2))
    ours, theirs = case.leaf(), case.leaf()
    for _ in range(3):
        expected = plain(ours, case.y)
        value = checkpoint(repeated, theirs, case.y, use_reentrant=False)
        assert torch.equal(value, expected)
        expected.backward()
        value.backward()
        assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("name", ["jtfs", "scattering1d", "stft"])
def test_cached_targets_in_a_checkpoint(name):
    case = get(name)
    loss = TransformLoss(case.loss.transform, cache=TargetCache(max_bytes=2**22))
    leaf, plain = case.leaf(), case.leaf()
    case.loss(plain, case.y).backward()
    for _ in range(2):
        leaf.grad = None
        with loss.cache.keyed(range(3)):
            checkpoint(loss, leaf, case.y, use_reentrant=False).backward()
        assert_near(leaf.grad, plain.grad)
    assert loss.cache.misses == 3
    with loss.cache.keyed(range(3)), forward_ad.dual_level():  # a dual number is never kept
        dual = forward_ad.make_dual(case.y, case.v)
        assert forward_ad.unpack_dual(loss(case.x, dual)).tangent is not None
    assert loss.cache.misses == 3
