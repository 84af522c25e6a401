"""Several distances on one transform as one loss: values, sharing of work, sizes, state."""

import copy

import pytest
import torch

from multipath import (
    BalancedLoss,
    CombinedLoss,
    Log1p,
    StochasticLoss,
    TargetCache,
    TransformLoss,
)
from multipath._internal.state import pack
from multipath.errors import ConfigurationError, InputError
from multipath.optim import PSAGA
from multipath.samplers import AdaptiveImportance, Energy, Stratified
from multipath.transforms import JTFS, MultiResolutionSTFT, Scattering1D, WaveletTransform

N = 256
SHARES, SIZES = {"plain": 3.0, "compressed": 1.0}, {"plain": 20.0, "compressed": 4.0}


def sounds(n=4, seed=0, dtype=torch.float64):
    return torch.randn(n, N, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def losses(transform, **options):
    return {
        "plain": TransformLoss(transform, **options),
        "compressed": TransformLoss(transform, rho="log1p", eps=0.1, **options),
    }


def stft():
    return MultiResolutionSTFT([16, 32, 64])


class Counted(WaveletTransform):
    """Remembers which paths were asked for, and of how many signals."""

    def __init__(self):
        super().__init__("db2", level=3)
        self.asked, self.signals = [], []

    def coefficients(self, x, indices):
        self.asked.append(list(indices))
        self.signals.append(len(x))
        return super().coefficients(x, indices)


@pytest.mark.parametrize("distance", ["squared_l2", "l2", "l1"])
@pytest.mark.parametrize("normalize", [None, "target"])
def test_it_is_the_sum_of_its_losses_by_share_and_size(distance, normalize):
    parts = losses(stft(), distance=distance, normalize=normalize, weights=[0.5, 0.0, 0.2])
    loss = CombinedLoss(parts, SHARES, SIZES)
    x, y = sounds(), sounds(seed=1)
    whole, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = loss(whole, y, reduction="none")
    plain, compressed = (part(other, y, reduction="none") for part in parts.values())
    expected = 0.75 * plain / 20 + 0.25 * compressed / 4
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(whole.grad, other.grad, rtol=1e-10, atol=1e-15)


def test_paths_come_in_any_order_and_more_than_once():
    loss = CombinedLoss(losses(stft()), SHARES, SIZES)
    x, y = sounds(), sounds(seed=1)
    table = loss.path_losses(x, y, range(6))
    chosen = [4, 1, 0, 4, 3]
    torch.testing.assert_close(loss.path_losses(x, y, chosen), table[chosen], rtol=1e-12, atol=0)
    norms = loss.target_norms(y, range(6))
    torch.testing.assert_close(loss.target_norms(y, chosen), norms[chosen], rtol=1e-12, atol=0)


def test_a_path_that_both_look_at_is_computed_once():
    transform = Counted()
    loss = CombinedLoss(losses(transform), SHARES, SIZES)
    n = len(transform.paths)
    x, y = sounds(), sounds(seed=1)
    loss.path_losses(x, y, [2, n + 2, n + 1])
    assert transform.asked == [[2, 1], [2, 1]]  # of the input and of the target
    transform.asked.clear()
    loss.target_norms(y, [n, 0, n])
    assert transform.asked[0] == [0]


def test_the_table_tells_losses_and_paths():
    loss = CombinedLoss(losses(JTFS(N, J=5, Q=(2, 1), J_fr=2, Q_fr=1, T=64, F=4)))
    n = len(loss.losses[0].paths)
    key = loss.losses[0].paths[2].key
    assert loss.paths.find([("compressed", key)]) == [n + 2]
    assert len(loss.paths.filter(distance="plain")) == n
    assert len(loss.paths.filter(path=key)) == 2
    assert loss.paths.costs.mean().item() == pytest.approx(1.0)
    assert set(loss.paths.columns) > {"rate", "scale", "spin", "distance", "path"}
    assert loss.shares == {"plain": 0.5, "compressed": 0.5}
    assert len(loss.grouped("path").paths) == n
    assert len(loss.grouped("rate").paths) == len(loss.losses[0].grouped("rate").paths)


@pytest.mark.parametrize("unit", [0.03, 1.0, 1e4])
def test_with_compression_it_does_not_depend_on_the_unit(unit):
    """Neither do value, weights and probabilities; the median is that of the targets."""
    y = sounds(6)
    criteria = [
        StochasticLoss.for_training(
            CombinedLoss.with_compression(TransformLoss(stft(), distance=distance), scale * y),
            scale * y,
        )
        for distance in ("squared_l2", "l1")
        for scale in (1.0, unit)
    ]
    for one, other in (criteria[:2], criteria[2:]):
        torch.testing.assert_close(
            one.sampler.probabilities, other.sampler.probabilities, rtol=1e-4, atol=0
        )
        here, there = one.loss(y[1:], y[:-1]), other.loss(unit * y[1:], unit * y[:-1])
        torch.testing.assert_close(here, there, rtol=1e-5, atol=0)
        assert float(here) == pytest.approx(1.0)
    transform = criteria[0].loss.losses[0].transform
    median = torch.cat([c.flatten() for c in transform.coefficients(y, range(3))]).median()
    assert criteria[0].loss.losses[1].rho.eps == pytest.approx(10 * float(median))


def test_zeros_are_no_coefficients_of_the_targets():
    y = sounds(4)
    y[:, N // 8 :] = 0.0
    loss = CombinedLoss.with_compression(TransformLoss(WaveletTransform("haar", level=2)), y)
    transform = loss.losses[0].transform
    coefficients = torch.cat([c.flatten() for c in transform.coefficients(y, range(3))]).abs()
    assert float(coefficients.median()) == 0
    wanted = 10 * float(coefficients[coefficients > 0].median())
    assert loss.losses[1].rho.eps == pytest.approx(wanted)


@pytest.mark.parametrize("normalize", [None, "target"])
@pytest.mark.parametrize("channels", [(), (2,)])
def test_sizes_are_losses_between_neighbours_however_targets_are_batched(channels, normalize):
    y = sounds(10).reshape(5, *channels, -1)
    parts = losses(stft(), normalize=normalize, weights=[0.5, 0.0, 0.2])
    whole = CombinedLoss.from_targets(parts, y, SHARES)
    assert whole.sizes == pytest.approx(
        {name: float(part(y[1:], y[:-1])) for name, part in parts.items()}
    )
    for batches in (y.split(1), iter(y.split(2)), y.split(4)):
        assert CombinedLoss.from_targets(parts, batches).sizes == pytest.approx(whole.sizes)


def test_sizes_take_the_coefficients_of_each_target_once():
    transform = Counted()
    n = len(transform.paths)
    parts = losses(transform, weights=[0.0, *[1 / (n - 1)] * (n - 1)])
    CombinedLoss.from_targets(parts, sounds(5).split(2), SHARES)
    assert transform.asked == [list(range(1, n))] * 3
    assert transform.signals == [2, 2, 1]


def test_both_losses_are_drawn_and_the_estimate_is_unbiased():
    loss = CombinedLoss.with_compression(TransformLoss(stft()), sounds(6))
    criterion = StochasticLoss.for_training(loss, sounds(6), n_draws=1, generator=0)
    plain = float(criterion.sampler.probabilities[:3].sum())
    assert 0.2 < plain < 0.8
    x, y = sounds(), sounds(seed=1)
    expected = sum(
        float(probability) * criterion.estimate(x, y, criterion.make_draw([path]))
        for path, probability in enumerate(criterion.sampler.probabilities)
    )
    torch.testing.assert_close(expected, loss(x, y), rtol=1e-12, atol=0)


def test_it_works_with_what_works_with_losses():
    y = sounds(6, dtype=torch.float32)
    loss = CombinedLoss.with_compression(TransformLoss(stft()), y)
    balanced = BalancedLoss.from_targets(loss, y, power=1.0)
    norms = loss.target_norms(y, range(6)).mean(dim=1)
    share = balanced.path_weights / loss.path_weights * norms.double() ** 2
    assert float(share.max() / share.min()) < 3  # equal votes, up to the noise in the norms
    for sampler in (Energy(), AdaptiveImportance(), Stratified("distance")):
        criterion = StochasticLoss(loss, sampler, n_draws=2, generator=0)
        x = sounds(6, seed=1, dtype=torch.float32).requires_grad_()
        for _ in range(3):
            criterion(x, y).backward()
        restored = StochasticLoss(copy.deepcopy(loss), copy.deepcopy(sampler), 2, generator=1)
        restored.load_state_dict(criterion.state_dict())
        pairs = [float(c(x, y).detach()) for c in (criterion, restored)]
        assert pairs[0] == pairs[1]
    criterion = StochasticLoss(loss.grouped("path"), generator=0)
    weight = torch.nn.Parameter(sounds(6, seed=1, dtype=torch.float32))
    optimizer = PSAGA([weight], criterion)
    criterion(weight, y).backward()
    optimizer.step()
    assert not weight.equal(sounds(6, seed=1, dtype=torch.float32))


def test_targets_come_from_the_cache():
    cache = TargetCache(2**24)
    transform = Scattering1D(N, J=5, Q=(2, 1), T=64)
    loss = CombinedLoss(losses(transform, cache=cache), SHARES, SIZES)
    plain = CombinedLoss(losses(transform), SHARES, SIZES)
    x, y = sounds(), sounds(seed=1)
    for _ in range(2):
        with cache.keyed(range(len(y))):
            torch.testing.assert_close(loss(x, y), plain(x, y), rtol=1e-12, atol=0)
    assert (cache.misses, cache.hits) == (4, 4)


def test_double_backward():
    loss = CombinedLoss(losses(WaveletTransform("db2", level=2)), SHARES, SIZES)
    x, y = sounds(1)[:, :12].clone().requires_grad_(), sounds(1, seed=1)[:, :12]
    assert torch.autograd.gradgradcheck(lambda x: loss.path_losses(x, y, [0, 4, 1]), x)


def test_state_holds_what_was_measured():
    loss = CombinedLoss.with_compression(TransformLoss(stft()), sounds(6))
    other = CombinedLoss.with_compression(TransformLoss(stft()), 3 * sounds(6, seed=2))
    x, y = sounds(), sounds(seed=1)
    assert float(other(x, y)) != float(loss(x, y))
    other.load_state_dict(loss.state_dict())
    assert float(other(x, y)) == float(loss(x, y))
    assert other.sizes == loss.sizes
    transform = stft()
    plain = CombinedLoss({name: TransformLoss(transform) for name in "ab"})
    with pytest.raises(InputError, match="eps of CombinedLoss must be positive where it compress"):
        plain.load_state_dict(loss.state_dict())


def test_a_state_out_of_range_restores_nothing():
    loss = CombinedLoss.with_compression(TransformLoss(stft()), sounds(6))
    sizes, eps = dict(loss.sizes), loss.losses[1].rho.eps
    one, other = torch.ones(2, dtype=torch.float64), torch.tensor([0.0, 1e40], dtype=torch.float64)
    with pytest.raises(InputError, match=r"eps of log1p must lie in .*; it is damaged"):
        loss.set_extra_state(pack({"sizes": one, "eps": other}))
    assert (loss.sizes, loss.losses[1].rho.eps) == (sizes, eps)


def test_what_cannot_be_combined_is_refused():
    transform, y = stft(), sounds()
    plain = TransformLoss(transform)
    for losses_, message in [
        ({}, "must be TransformLosses by name"),
        ([plain], "must be TransformLosses by name"),
        ({"a": transform}, "by name, got 'a': MultiResolutionSTFT"),
        ({0: plain}, "by name, got 0: TransformLoss"),
        ({"a": plain, "b": TransformLoss(stft())}, "the same transform; that of 'b'"),
        ({"a": plain, "b": TransformLoss(transform, cache=TargetCache(8))}, "the same cache"),
        ({"a": plain, "b": TransformLoss(transform, reduction="sum")}, "the same reduction"),
    ]:
        for make in (CombinedLoss, lambda given: CombinedLoss.from_targets(given, y)):
            with pytest.raises(ConfigurationError, match=message):
                make(losses_)
    for options, message in [
        ({"shares": {"b": 1.0}}, "a share for each of a, got"),
        ({"shares": [1.0]}, "a share for each of a, got"),
        ({"shares": {"a": -1.0}}, "the share of 'a' must be finite and not negative"),
        ({"shares": {"a": 0.0}}, "shares must not all be zero"),
        ({"sizes": {"a": 0.0}}, "the size of 'a' must be positive"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            CombinedLoss({"a": plain}, **options)
    with pytest.raises(ConfigurationError, match="share must lie in"):
        CombinedLoss.with_compression(plain, y, share=1.5)
    for loss in (TransformLoss(transform, rho=Log1p()), transform):
        with pytest.raises(ConfigurationError, match="TransformLoss without a rho"):
            CombinedLoss.with_compression(loss, y)


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_targets_too_quiet_or_loud_to_compress_are_refused_by_name(scale):
    with pytest.raises(InputError, match=r"the median of the targets' is .*; scale the signals"):
        CombinedLoss.with_compression(TransformLoss(stft()), scale * sounds(4).double())


def test_targets_that_tell_nothing_are_refused():
    plain = TransformLoss(stft())
    for targets, message in [
        (sounds(1), "at least two"),
        ([], "at least two"),
        (sounds(1).expand(3, -1), "all alike"),
        (torch.full((2, N), torch.nan), "NaN|finite"),
        ([(sounds(), sounds())], "for pairs"),
        (sounds().numpy(), "numpy"),
        (sounds()[0], r"in batches, \(batch, ...\), of signals of one shape, got shapes \(256,\)"),
        ([sounds(), sounds()[:, :100]], r"of one shape, got shapes \(4, 256\) and \(4, 100\)"),
    ]:
        with pytest.raises(InputError, match=message):
            CombinedLoss.from_targets({"a": plain}, targets)
    for targets in ([], sounds()[0], [sounds(), sounds()[:, :100]]):
        with pytest.raises(InputError, match=r"at least two|of one shape"):
            CombinedLoss.with_compression(plain, targets)
    with pytest.raises(InputError, match="all zero, or not finite"):
        CombinedLoss.with_compression(plain, torch.zeros(2, N))
