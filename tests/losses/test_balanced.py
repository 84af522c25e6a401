"""Balanced losses: their weights, where sizes come from, and who follows restored weights."""

import copy
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath import BalancedLoss, StochasticLoss, TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.optim import PSAGA
from multipath.samplers import AdaptiveImportance
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT

SIZES = st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3)


@given(SIZES, st.floats(0, 1), st.floats(1e-6, 1), st.integers(0, 2**32))
def test_weights_are_sizes_to_a_negative_power_and_keep_their_sum(sizes, power, floor, seed):
    loss = QuadraticLoss(3, weights=[0.5, 2.0, 1.0])
    balanced = BalancedLoss(loss, sizes, power, floor)
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64).unbind()
    by_hand = torch.tensor(
        [
            w / (s + floor * max(sizes)) ** power
            for w, s in zip([0.5, 2.0, 1.0], sizes, strict=True)
        ],
        dtype=torch.float64,
    )
    by_hand *= 3.5 / by_hand.sum()
    values = loss.path_losses(x, y, range(3))
    torch.testing.assert_close(balanced(x, y, reduction="none"), by_hand @ values)


def test_power_zero_is_the_loss_itself():
    loss = QuadraticLoss(3, weights=[0.5, 2.0, 1.0])
    torch.testing.assert_close(
        BalancedLoss(loss, [1.0, 2.0, 3.0], 0.0).path_weights, loss.path_weights
    )


def test_sizes_from_targets_are_distances_from_silence():
    loss = TransformLoss(MultiResolutionSTFT([64, 128], [16, 32], [64, 128]))
    targets = torch.randn(6, 1024, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets[3:] *= 0.01
    silent = loss.path_losses(torch.zeros_like(targets), targets, [0, 1]).mean(dim=1)
    wanted = BalancedLoss(loss, silent, power=0.7, floor=0.01)
    found = BalancedLoss.from_targets(loss, targets.split(4), power=0.7, floor=0.01)
    torch.testing.assert_close(found.path_weights, wanted.path_weights)
    whole = BalancedLoss.from_targets(loss, targets, power=0.7, floor=0.01)
    torch.testing.assert_close(whole.path_weights, wanted.path_weights)


@pytest.mark.parametrize("power", [0.0, 0.25])
def test_the_estimator_for_training_draws_loud_paths_from_a_loss_balanced_on_request(power):
    loss = TransformLoss(MultiResolutionSTFT([64, 128, 256], [16, 32, 64], [64, 128, 256]))
    targets = torch.randn(6, 1024, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    criterion = StochasticLoss.for_training(
        loss, iter(targets.split(2)), n_draws=2, power=power, floor=0.2, generator=0
    )
    sizes = loss.path_losses(torch.zeros_like(targets), targets, range(3)).mean(dim=1)
    balanced = BalancedLoss(loss, sizes, power, floor=4e-4)
    torch.testing.assert_close(criterion.loss.path_weights, balanced.path_weights)
    norms = loss.target_norms(targets, range(3)).mean(dim=1)
    wanted = 0.8 * norms / norms.sum() + 0.2 / 3
    torch.testing.assert_close(criterion.sampler.probabilities, wanted)
    assert criterion.unbiased
    assert criterion.n_draws == 2
    mean = sum(
        probability * criterion.estimate(0.5 * targets, targets, criterion.make_draw(indices))
        for indices, probability in criterion.sampler.enumerate(2)
    )
    torch.testing.assert_close(mean, balanced(0.5 * targets, targets), rtol=1e-12, atol=0)


@pytest.mark.parametrize("power", [0.0, 0.25])
def test_targets_are_listened_to_once_and_not_kept(power):
    alive, most = weakref.WeakSet(), 0

    def batches():
        nonlocal most
        for seed in range(5):
            batch = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed))
            alive.add(batch)
            most = max(most, len(alive))
            yield batch
            del batch

    StochasticLoss.for_training(QuadraticLoss(3), batches(), power=power, generator=0)
    assert most <= 2  # the batch measured, and the next one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_draws": 0}, "n_draws must be a positive integer, got 0"),
        ({"power": -0.5}, r"power must lie in \[0, 1\], got -0.5"),
        ({"floor": 1.5}, r"floor must lie in \[0, 1\], got 1.5"),
        ({"generator": "seed"}, "generator must be a seed"),
        ({"loss": torch.nn.MSELoss()}, "wrap a transform in TransformLoss"),
    ],
)
def test_training_is_refused_before_the_targets_are_listened_to(options, message):
    def batches():
        pytest.fail("listened")
        yield

    with pytest.raises(ConfigurationError, match=message):
        StochasticLoss.for_training(
            **{"loss": QuadraticLoss(3), "targets": batches(), "generator": 0} | options
        )


def test_silent_targets_are_refused_for_training():
    with pytest.raises(ConfigurationError, match="every path is silent"):
        StochasticLoss.for_training(
            TransformLoss(MultiResolutionSTFT([64], [16], [64])), torch.zeros(2, 1024)
        )


def test_the_objective_survives_a_restart():
    loss = QuadraticLoss(2)
    first, second = BalancedLoss(loss, [1.0, 9.0]), BalancedLoss(loss, [5.0, 5.0])
    second.load_state_dict(first.state_dict())
    assert second.path_weights.equal(first.path_weights)
    with pytest.raises(ConfigurationError, match="balances 2 paths and the loss has 3"):
        BalancedLoss(QuadraticLoss(3), [1.0, 1.0, 1.0]).load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": [1.0, 1.0], "power": 1.5}, r"power must lie in \[0, 1\], got 1.5"),
        ({"sizes": [1.0, 1.0], "floor": 0.0}, "floor must be positive"),
        ({"sizes": [1.0]}, r"shape \(2,\), got \(1,\)"),
        ({"sizes": [0.0, 0.0]}, "not all zero"),
        ({"sizes": [1.0, float("nan")]}, "must be finite"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigurationError, match=message):
        BalancedLoss(QuadraticLoss(2), **options)


def test_batches_of_targets_are_checked():
    loss = QuadraticLoss(2)
    with pytest.raises(InputError, match="no batch of targets"):
        BalancedLoss.from_targets(loss, [])
    with pytest.raises(InputError, match="NaN"):
        BalancedLoss.from_targets(loss, [torch.full((1, 3), float("nan"))])
    with pytest.raises(InputError, match="got tuple"):
        BalancedLoss.from_targets(loss, [(torch.ones(1, 3), torch.ones(1, 3))])


SAVED, BUILT = [1.0, 20.0, 3.0, 0.2], [5.0, 1.0, 0.5, 9.0]
LATE = {  # who may have copied the weights of the balanced loss before it restored others
    "itself": lambda balanced: balanced,
    "grouped": lambda balanced: balanced.grouped([[0, 2], [1], [3]]),
    "grouped twice": lambda balanced: balanced.grouped([[0, 2], [1], [3]]).grouped([[0], [1, 2]]),
}


def in_training(sizes, wrap, optimizer, seed):
    x = torch.nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3))
    loss = wrap(BalancedLoss(QuadraticLoss(4), sizes, power=1.0))
    criterion = StochasticLoss(loss, AdaptiveImportance(decay=0.5), generator=seed)
    linked = optimizer([x], criterion)
    return torch.nn.ParameterDict({"x": x}), criterion, linked


def sgd(params, criterion):
    optimizer = torch.optim.SGD(params, lr=0.05)
    criterion.redraw_after(optimizer)
    return optimizer


def train(parts, steps):
    weights, criterion, optimizer = parts
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        criterion(weights["x"], torch.zeros_like(weights["x"])).backward()
        optimizer.step()
        draw = criterion.last_draw
        seen.append((int(draw.indices), float(draw.weights), weights["x"].detach().clone()))
    return seen


@pytest.mark.parametrize("wrap", LATE)
@pytest.mark.parametrize(
    "optimizer",
    [
        sgd,
        lambda p, c: PSAGA(p, c, lr=0.05),
        lambda p, c: PSAGA(p, c, lr=0.05, adaptive=False),
    ],
)
@pytest.mark.slow
def test_restored_weights_reach_all_who_use_them(wrap, optimizer):
    first = in_training(SAVED, LATE[wrap], optimizer, seed=0)
    train(first, 7)
    other = in_training(BUILT, LATE[wrap], optimizer, seed=1)
    for new, old in zip(other, first, strict=True):
        new.load_state_dict(copy.deepcopy(old.state_dict()))
    x = torch.ones(2, 3, dtype=torch.float64)
    assert torch.equal(other[1].loss(x, 0 * x), first[1].loss(x, 0 * x))
    assert torch.equal(other[1].loss.path_weights, first[1].loss.path_weights)
    assert torch.equal(other[1].sampler.probabilities, first[1].sampler.probabilities)
    for (path, weight, after), (wanted, weighed, where) in zip(
        train(other, 20), train(first, 20), strict=True
    ):
        assert (path, weight) == (wanted, weighed)
        assert torch.equal(after, where)


def test_a_sampler_follows_a_loss_that_is_restored_alone():
    first, second = (BalancedLoss(QuadraticLoss(4), sizes, power=1.0) for sizes in (SAVED, BUILT))
    criterion = StochasticLoss(second, AdaptiveImportance(floor=0.0), generator=0)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(criterion.sampler.probabilities, first.path_weights)
    torch.testing.assert_close(criterion.new_draw().weights, torch.ones(1, dtype=torch.float64))
