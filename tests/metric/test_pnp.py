"""The PNP loss against its formula, and the damping against Levenberg and Marquardt."""

import copy
import math

import pytest
import torch
from torch import nn

from multipath import StochasticLoss
from multipath.errors import ConfigurationError, InputError
from multipath.metric import AdaptiveDamping, PNPLoss
from multipath.testing import LossTests, QuadraticLoss

DTYPE = torch.float64
N, SIZE, P = 5, 3, 4


def some_metrics(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(*shape, SIZE, SIZE, generator=generator, dtype=DTYPE)
    return roots @ roots.mT


def some_pair(count=N):
    generator = torch.Generator().manual_seed(7)
    return torch.rand(2, count, SIZE, generator=generator, dtype=DTYPE)


DAMPED = {
    "identity": lambda metric: torch.eye(SIZE, dtype=DTYPE).expand(len(metric), -1, -1),
    "diagonal": lambda metric: torch.stack([m.diagonal().diag() for m in metric]),
    "mean": lambda metric: metric.mean(0).expand(len(metric), -1, -1),
}


@pytest.mark.parametrize("name", DAMPED)
def test_it_is_the_quadratic_form(name):
    metric, (estimate, theta) = some_metrics(N), some_pair()
    loss = PNPLoss(metric, 0.3, damping_matrix=name)
    error = estimate - theta
    forms = metric + 0.3 * DAMPED[name](metric)
    wanted = torch.stack([e @ m @ e for e, m in zip(error, forms, strict=True)])
    torch.testing.assert_close(loss(estimate, theta, "none"), wanted)
    torch.testing.assert_close(loss(estimate, theta), wanted.mean())
    rows = torch.tensor([4, 0])
    torch.testing.assert_close(loss.take(rows)(estimate[rows], theta[rows], "none"), wanted[rows])


@pytest.mark.parametrize("rows", [1, torch.tensor(1), [], [0.0], torch.tensor([[0, 1]])])
def test_rows_are_the_numbers_of_examples(rows):
    with pytest.raises(InputError, match="rows must be the numbers of some examples"):
        PNPLoss(some_metrics(N)).take(rows)


@pytest.mark.parametrize("name", DAMPED)
def test_a_normalized_loss_keeps_its_size_while_the_damping_shrinks(name):
    metric, (estimate, theta) = some_metrics(N), some_pair()
    damping = AdaptiveDamping(1e6)
    loss = PNPLoss(metric, damping, damping_matrix=name, normalize=True)
    plain = PNPLoss(metric, damping, damping_matrix=name)
    for damping.value in (1e6, 1.0, 1e-6):
        forms = metric + damping.value * DAMPED[name](metric)
        mean = torch.stack([torch.linalg.eigvalsh(form) for form in forms]).mean()
        torch.testing.assert_close(loss(estimate, theta) * mean, plain(estimate, theta))
        rows = torch.tensor([2, 3])  # the examples of a batch do not decide
        part = loss.take(rows)(estimate[rows], theta[rows])
        torch.testing.assert_close(part * mean, plain.take(rows)(estimate[rows], theta[rows]))
    assert not PNPLoss(0 * metric, normalize=True)(estimate, theta)


def test_paths_add_up_to_the_whole():
    parts, weights = some_metrics(P, N), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=DTYPE)
    whole = PNPLoss(torch.einsum("p,pnuv->nuv", weights, parts), 0.2, damping_matrix="diagonal")
    loss = PNPLoss(parts, 0.2, damping_matrix="diagonal", weights=weights)
    estimate, theta = some_pair()
    torch.testing.assert_close(loss(estimate, theta, "none"), whole(estimate, theta, "none"))
    assert len(loss.paths) == P
    criterion = StochasticLoss(loss, generator=0)
    draw = criterion(estimate, theta)
    torch.testing.assert_close(
        draw, (weights * P)[criterion.last_draw.indices] @ loss.path_losses(
            estimate, theta, criterion.last_draw.indices
        ).mean(1),
    )  # fmt: skip


def test_one_metric_may_serve_all_examples():
    metric, (estimate, theta) = some_metrics(), some_pair()
    loss = PNPLoss(metric)
    wanted = torch.einsum("bu,uv,bv->b", estimate - theta, metric, estimate - theta)
    torch.testing.assert_close(loss(estimate, theta, "none"), wanted)
    estimate.requires_grad_()
    loss(estimate, theta).backward()
    torch.testing.assert_close(estimate.grad, 2 * (estimate.detach() - theta) @ metric / N)


def test_its_state_has_no_metrics_and_it_moves_and_casts():
    loss = PNPLoss(some_metrics(N), AdaptiveDamping(1.0))
    assert not loss.state_dict()
    single = copy.deepcopy(loss).float()
    estimate, theta = some_pair()
    torch.testing.assert_close(
        single(estimate.float(), theta.float()).double(), loss(estimate, theta), rtol=1e-5, atol=0
    )


REFUSED = {
    "not square": (lambda: PNPLoss(torch.zeros(2, 3)), "must have shape"),
    "not symmetric": (lambda: PNPLoss(torch.tensor([[1.0, 2.0], [0.0, 5.0]])), "be symmetric"),
    "negative": (lambda: PNPLoss(-torch.eye(2)), "no negative eigenvalues, got -1"),
    "NaN": (lambda: PNPLoss(torch.full((2, 2), torch.nan)), "finite"),
    "paths": (lambda: PNPLoss(some_metrics(P, N), paths=QuadraticLoss(3).paths), "as many metrics"),
    "another batch": (lambda: PNPLoss(some_metrics(N))(*some_pair(3)), r"choose .* \.take\(rows\)"),
    "another U": (lambda: PNPLoss(some_metrics(N))(torch.ones(N, 2), torch.ones(N, 2)), "batch, 3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        make()


SETTINGS = {
    "damping": (lambda: PNPLoss(torch.eye(2), -1.0), "damping must be finite and not negative"),
    "matrix": (lambda: PNPLoss(torch.eye(2), damping_matrix="max"), "damping_matrix must be"),
    "start": (lambda: AdaptiveDamping(0.0), "start must be positive"),
    "shrink": (lambda: AdaptiveDamping(1.0, shrink=1.0), "shrink must lie in"),
    "grow": (lambda: AdaptiveDamping(1.0, grow=0.5), "grow must be at least 1"),
    "silence": (lambda: AdaptiveDamping.for_metric(torch.zeros(1, 2, 2)), "no parameter has any"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_are_refused(name):
    make, message = SETTINGS[name]
    with pytest.raises(ConfigurationError, match=message):
        make()


class TestConformance(LossTests):
    def make_loss(self):
        return PNPLoss(some_metrics(P, 1), 0.1)

    def make_batch(self, generator):
        return tuple(torch.rand(2, N, SIZE, generator=generator, dtype=DTYPE))


# Damping


class Training:
    """A little network that learns a line."""

    def __init__(self):
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, SIZE))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.x = torch.randn(N, 2, generator=torch.Generator().manual_seed(1))

    def epoch(self, criterion, steps=5):
        for _ in range(steps):
            self.optimizer.zero_grad()
            criterion(self.model(self.x), torch.zeros(N, SIZE)).backward()
            self.optimizer.step()

    def state(self):
        return copy.deepcopy((self.model.state_dict(), self.optimizer.state_dict()["state"]))


def equal(first, second):
    if isinstance(first, torch.Tensor):
        return first.equal(second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, tuple):
        return all(map(equal, first, second))
    return first == second


@pytest.mark.parametrize("value", ["low", None, torch.ones(2)])
def test_the_value_of_an_epoch_is_a_number(value):
    module = nn.Linear(1, 1)
    damping = AdaptiveDamping(1.0)
    with pytest.raises(InputError, match="value must be a number, got"):
        damping.update(value, module, torch.optim.SGD(module.parameters()))


def test_a_run_goes_on_whose_best_value_is_negative():
    module = nn.Linear(1, 1)
    damping, other = AdaptiveDamping(1.0), AdaptiveDamping(1.0)
    damping.update(-3.0, module, torch.optim.SGD(module.parameters()))
    other.load_state_dict(damping.state_dict())
    assert (other.best, other.value) == (-3.0, damping.value)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (torch.ones(3), r"shape \(..., U, U\), got shape \(3,\)"),
        (torch.ones(3, 2), r"shape \(..., U, U\), got shape \(3, 2\)"),
        (torch.full((2, 2), math.nan), "finite numbers"),
    ],
)
def test_a_damping_begins_at_a_metric(metric, message):
    with pytest.raises(InputError, match=message):
        AdaptiveDamping.for_metric(metric)


@pytest.mark.parametrize("value", [1.0, 1.5, math.nan, math.inf, -math.inf, torch.tensor(2.0)])
def test_a_bad_epoch_is_undone(value):
    metric = some_metrics(N).float()
    damping = AdaptiveDamping.for_metric(metric)
    assert damping.value == pytest.approx(float(torch.linalg.eigvalsh(metric).max()), rel=1e-5)
    training, criterion = Training(), PNPLoss(metric, damping)
    training.epoch(criterion)
    assert damping.update(1.0, training.model, training.optimizer)
    assert damping.value == pytest.approx(0.2 * damping.start)
    best = training.state()
    training.epoch(lambda x, y: -100 * criterion(x, y))  # planted
    training.optimizer.param_groups[0]["lr"] = 0.005  # of a schedule
    assert not equal(training.state(), best)
    assert not damping.update(value, training.model, training.optimizer)
    assert equal(training.state(), best)
    assert training.optimizer.param_groups[0]["lr"] == 0.005
    assert damping.value == pytest.approx(0.4 * damping.start)
    training.epoch(criterion)  # what is remembered is not what goes on
    assert not damping.update(value, training.model, training.optimizer)
    assert equal(training.state(), best)
    assert not damping.update(value, training.model, training.optimizer)
    assert damping.value == damping.start  # and no more


def test_it_goes_on_from_its_state():
    training, damping = Training(), AdaptiveDamping(1.0)
    training.epoch(PNPLoss(some_metrics(N).float(), damping))
    damping.update(0.5, training.model, training.optimizer)
    best = training.state()
    again = AdaptiveDamping(1.0)
    again.load_state_dict(copy.deepcopy(damping.state_dict()))
    training.epoch(lambda x, y: x.sum())
    assert not again.update(0.6, training.model, training.optimizer)
    assert equal(training.state(), best)
    assert (again.value, again.best) == (0.4, 0.5)
    fresh = AdaptiveDamping(1.0)
    fresh.load_state_dict(AdaptiveDamping(1.0).state_dict())
    assert fresh.best == math.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [({"value": -1.0}, "damping"), ({"best": "low"}, "best"), ({"weights": 3}, "weights")],
)
def test_a_damaged_state_is_refused(change, message):
    damping = AdaptiveDamping(1.0)
    with pytest.raises(InputError, match=message):
        damping.load_state_dict({**damping.state_dict(), **change})
    with pytest.raises(ConfigurationError, match="not that of AdaptiveDamping"):
        damping.load_state_dict({})
    assert damping.value == 1.0


def test_a_damping_grows_again_after_any_number_of_successes():
    module, damping = torch.nn.Linear(1, 1), AdaptiveDamping(1.0, shrink=0.05)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for step in range(400):
        assert damping.update(-float(step), module, optimizer)
    assert 0 < damping.value < 1e-11
    AdaptiveDamping(1.0).load_state_dict(damping.state_dict())
    before = damping.value
    assert not damping.update(1.0, module, optimizer)
    assert damping.value == 2 * before


def test_the_metric_of_one_example_is_not_taken_for_that_of_others():
    loss, (estimate, theta) = PNPLoss(some_metrics(N)), some_pair()
    assert loss.take([1])(estimate[1:2], theta[1:2]).isfinite()
    with pytest.raises(InputError, match=r"metrics of 1 examples, but the batch has"):
        loss.take([1])(estimate, theta)
