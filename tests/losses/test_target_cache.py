"""Targets from a cache give the same values and gradients for less work."""

import copy
import re

import pytest
import torch

from multipath import StochasticLoss, TargetCache, TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import JTFS, MultiResolutionSTFT, Scattering1D, Transform

N = 1024
TRANSFORMS = {
    "jtfs": lambda: JTFS(N, J=5, Q=(4, 1), J_fr=2, Q_fr=1, T=64, F=4),
    "scattering1d": lambda: Scattering1D(N, J=5, Q=(4, 1), T=64),
    "mrstft": lambda: MultiResolutionSTFT([64, 128]),
}


def sounds(n, seed=0):
    return torch.randn(n, N, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return TRANSFORMS[request.param]()


def test_the_same_values_and_gradients_as_without(transform):
    cache = TargetCache(max_bytes=10**8)
    plain, cached = TransformLoss(transform), TransformLoss(transform, cache=cache)
    target = sounds(3)
    indices = [0, len(transform.paths) - 1]
    gradients = []
    for epoch in range(2):
        for loss in (plain, cached):
            x = sounds(3, seed=1).requires_grad_()
            with cache.keyed(["a", "b", "c"]):
                values = loss.path_losses(x, target, indices)
            values.sum().backward()
            gradients.append((values.detach(), x.grad))
        assert (cache.misses, cache.hits) == (3, 3 * epoch)
    for values, gradient in gradients[1:]:
        torch.testing.assert_close(values, gradients[0][0], rtol=1e-5, atol=0)
        torch.testing.assert_close(gradient, gradients[0][1], rtol=1e-4, atol=1e-6)


def test_items_are_found_in_other_batches_and_orders():
    cache = TargetCache(max_bytes=10**8)
    loss = TransformLoss(TRANSFORMS["jtfs"](), cache=cache)
    x, target = sounds(4, seed=1), sounds(4)
    for chosen in ([0, 1], [3, 1, 0], [2, 3]):
        with cache.keyed(torch.tensor(chosen)):
            value = loss.path_losses(x[chosen], target[chosen], [3])
        expected = TransformLoss(loss.transform).path_losses(x[chosen], target[chosen], [3])
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    assert (cache.misses, cache.hits) == (4, 3)


def test_first_layer_is_not_computed_again(monkeypatch):
    cache = TargetCache(max_bytes=10**8)
    loss = TransformLoss(TRANSFORMS["jtfs"](), cache=cache)
    target = sounds(2)
    with cache.keyed([0, 1]):
        loss.path_losses(target, target, [0])
    seen = []
    first_layer = loss.transform.time.first_layer

    def count(x, *args, others=None, **kwargs):
        seen.append(len(x) + (0 if others is None else len(others)))
        return first_layer(x, *args, others=others, **kwargs)

    monkeypatch.setattr(loss.transform.time, "first_layer", count)
    with cache.keyed([0, 1]):
        loss.path_losses(target, target, [5])
    assert seen == [2]  # the input's alone


def test_a_path_of_a_target_is_computed_once(monkeypatch):
    cache = TargetCache(max_bytes=10**8)
    loss = TransformLoss(TRANSFORMS["jtfs"](), cache=cache)
    seen = []
    finish = loss.transform.finish

    def count(prepared, indices):
        seen.append((len(prepared[0]), list(indices)))
        return finish(prepared, indices)

    monkeypatch.setattr(loss.transform, "finish", count)
    x, target = sounds(3, seed=1), sounds(3)
    for keys, indices in (
        ([0, 1], [3, 5]),
        ([1, 0], [5, 3, 5]),
        ([0, 2], [3, 7]),  # of target 0 path 3 is known, of target 2 nothing
        ([2, 0], [7]),
        ([1, 1], [8]),
    ):
        with cache.keyed(keys):
            value = loss.path_losses(x[keys], target[keys], indices)
        expected = TransformLoss(loss.transform).path_losses(x[keys], target[keys], indices)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    assert seen == [(2, [3, 5]), (2, [3, 7]), (2, [8])]
    assert cache.size == sum(
        tensor.nbytes
        for item in cache._items.values()
        for tensor in (item.target, *item.prepared, *item.coefficients.values())
    )


def test_coefficients_take_no_room_from_targets():
    transform, target = TRANSFORMS["scattering1d"](), sounds(3)
    probe = TargetCache(max_bytes=10**9)
    with probe.keyed([0]):
        probe.prepared(transform, target[:1])
    everything = range(len(transform.paths))
    n_bytes = transform.coefficients(target[0], [0])[0].nbytes
    cache = TargetCache(max_bytes=2 * probe.size + 3 * n_bytes)
    for key in (0, 1):
        with cache.keyed([key]):
            found = cache.coefficients(transform, target[key : key + 1], everything)
        for ours, theirs in zip(found, transform(target[key : key + 1]), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert sorted(cache._items) == [0, 1]
    assert cache.size <= cache.max_bytes
    # those of the first target made room for the second, which found room for three paths
    assert [len(item.coefficients) for item in cache._items.values()] == [0, 3]


def test_nothing_is_kept_outside_of_keyed():
    cache = TargetCache(max_bytes=10**8)
    loss = TransformLoss(TRANSFORMS["scattering1d"](), cache=cache)
    with cache.keyed([0, 1]):
        pass
    loss(sounds(2, seed=1), sounds(2))
    assert len(cache) == 0
    assert not cache.active


def test_never_more_bytes_than_allowed_and_the_oldest_go_first():
    target = sounds(6)
    probe = TargetCache(max_bytes=10**9)
    transform = TRANSFORMS["scattering1d"]()
    with probe.keyed([0]):
        probe.prepared(transform, target[:1])
    cache = TargetCache(max_bytes=int(3.5 * probe.size))
    for key in (0, 1, 2, 0, 3, 4):  # 0 is used again before 3 and 4 come
        with cache.keyed([key]):
            cache.prepared(transform, target[key : key + 1])
        assert cache.size <= cache.max_bytes
    assert list(cache._items) == [0, 3, 4]
    small = TargetCache(max_bytes=10)
    with small.keyed([0]):
        small.prepared(transform, target[:1])
    assert len(small) == 0


def test_a_key_stands_for_one_target():
    cache = TargetCache(max_bytes=10**8)
    loss = TransformLoss(TRANSFORMS["jtfs"](), cache=cache)
    with cache.keyed(["kick"]):
        loss(sounds(1, seed=1), sounds(1))
        with pytest.raises(InputError, match="the target under key 'kick' is not the one"):
            loss(sounds(1, seed=1), 0.5 * sounds(1))
    cache.clear()
    with cache.keyed(["kick"]):
        loss(sounds(1, seed=1), 0.5 * sounds(1))


def test_as_many_keys_as_targets():
    cache = TargetCache(max_bytes=10**8)
    loss = TransformLoss(TRANSFORMS["jtfs"](), cache=cache)
    message = re.escape("expected a key for each of the 2 targets, got ['kick']")
    with cache.keyed(["kick"]), pytest.raises(InputError, match=message):
        loss(sounds(2, seed=1), sounds(2))


def test_a_cache_serves_one_transform():
    cache = TargetCache(max_bytes=10**8)
    with cache.keyed([0]):
        cache.prepared(TRANSFORMS["jtfs"](), sounds(1))
        with pytest.raises(ConfigurationError, match="serves another transform"):
            cache.prepared(TRANSFORMS["jtfs"](), sounds(1))


def test_bytes_must_be_positive():
    with pytest.raises(ConfigurationError, match="max_bytes must be positive, got 0"):
        TargetCache(max_bytes=0)


def test_another_precision_is_computed_anew():
    cache = TargetCache(max_bytes=10**8)
    loss = TransformLoss(TRANSFORMS["jtfs"](), cache=cache)
    target = sounds(1)
    with cache.keyed([0]):
        loss(target, target)
        value = loss(2 * target.double(), target.double())
    expected = TransformLoss(loss.transform)(2 * target.double(), target.double())
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


def test_another_precision_of_a_path_is_computed_anew():
    cache, transform, target = TargetCache(max_bytes=10**8), TRANSFORMS["jtfs"](), sounds(1)
    with cache.keyed(["kick"]):
        for _ in range(2):
            cache.coefficients(transform, target, [3])
        (found,) = cache.coefficients(transform, target.double(), [3])
    assert found.dtype == torch.float64
    (expected,) = transform.coefficients(target.double(), [3])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_what_is_kept_has_full_precision():
    cache, transform, target = TargetCache(max_bytes=10**8), TRANSFORMS["jtfs"](), sounds(1)
    with cache.keyed([0]), torch.autocast("cpu", dtype=torch.bfloat16):
        (found,) = cache.coefficients(transform, target, [3])
    torch.testing.assert_close(found, transform.coefficients(target, [3])[0], rtol=1e-5, atol=0)


class Scaled(Transform):
    """A path whose last step has a parameter."""

    def __init__(self):
        super().__init__(1)
        self.factor = torch.nn.Parameter(torch.ones(()))

    def coefficients(self, x, indices):
        return self.finish([x], indices)

    def prepare(self, x):
        return [x]

    def finish(self, prepared, indices):
        return [self.factor * prepared[0] for _ in indices]


def test_what_is_kept_holds_no_graph():
    cache, transform = TargetCache(max_bytes=10**8), Scaled()
    with cache.keyed([0, 1]):
        for _ in range(2):
            (found,) = cache.coefficients(transform, sounds(2), [0])
            assert not found.requires_grad


def test_through_estimators_and_copies():
    cache = TargetCache(max_bytes=10**8)
    loss = TransformLoss(TRANSFORMS["jtfs"](), cache=cache)
    criterion = StochasticLoss(loss, generator=0)
    plain = StochasticLoss(TransformLoss(loss.transform), generator=0)
    x, target = sounds(2, seed=1), sounds(2)
    for _ in range(3):
        with cache.keyed([0, 1]):
            value = criterion(x, target)
        torch.testing.assert_close(value, plain(x, target), rtol=1e-5, atol=0)
    assert len(copy.deepcopy(loss).cache) == 0
    assert "2 targets" in repr(cache)
