"""Draws: when they are made, how they are weighted, how they are saved, what is refused."""

import copy
import pickle

import pytest
import torch

from multipath import PathTable, StochasticLoss
from multipath.errors import ConfigurationError, DrawError
from multipath.optim import PAdam
from multipath.samplers import AdaptiveImportance, Importance, Reshuffle, Uniform
from multipath.testing import QuadraticLoss

PROBABILITIES = [0.1, 0.2, 0.3, 0.4]


@pytest.fixture
def batch():
    return torch.ones(3, 2, requires_grad=True), torch.zeros(3, 2)


def drawn(criterion, batch, n=1):
    """Paths of n forwards."""
    paths = []
    for _ in range(n):
        criterion(*batch)
        paths.append(criterion.last_draw.indices.tolist())
    return paths


@pytest.mark.parametrize("n_draws", [1, 2, 5])
def test_weights_and_probabilities_of_a_draw(batch, n_draws):
    weights = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    loss = QuadraticLoss(4, weights=weights)
    criterion = StochasticLoss(loss, Importance(PROBABILITIES), n_draws=n_draws, generator=1)
    value = criterion(*batch)
    draw = criterion.last_draw
    pi = torch.tensor(PROBABILITIES, dtype=torch.float64)[draw.indices]
    torch.testing.assert_close(draw.probabilities, pi)
    torch.testing.assert_close(draw.weights, weights[draw.indices] / (n_draws * pi))
    expected = sum(
        w * loss.path_losses(*batch, [p]).mean()
        for w, p in zip(draw.weights, draw.indices, strict=True)
    )
    torch.testing.assert_close(value, expected.float())


def test_a_path_drawn_twice_is_evaluated_once(batch):
    class Counting(QuadraticLoss):
        asked = ()

        def path_losses(self, input, target, indices):
            self.asked = tuple(indices)
            return super().path_losses(input, target, indices)

    loss = Counting(2)
    criterion = StochasticLoss(loss, Importance([0.0, 1.0]), n_draws=6, generator=0)
    value = criterion(*batch)
    assert loss.asked == (1,)
    torch.testing.assert_close(value, loss.path_losses(*batch, [1]).mean() / 2)


def test_the_same_seed_gives_the_same_paths(batch):
    make = lambda seed: StochasticLoss(QuadraticLoss(1000), n_draws=3, generator=seed)  # noqa: E731
    assert drawn(make(5), batch, 4) == drawn(make(5), batch, 4)
    assert drawn(make(5), batch, 4) != drawn(make(6), batch, 4)
    generator = torch.Generator().manual_seed(5)
    assert drawn(make(generator), batch, 4) == drawn(make(5), batch, 4)


def test_without_a_generator_the_global_seed_governs(batch):
    torch.manual_seed(3)
    first = drawn(StochasticLoss(QuadraticLoss(10**4)), batch, 3)
    torch.manual_seed(3)
    assert drawn(StochasticLoss(QuadraticLoss(10**4)), batch, 3) == first


def test_drawing_leaves_the_global_generator_alone(batch):
    criterion = StochasticLoss(QuadraticLoss(100), generator=0)
    state = torch.get_rng_state()
    drawn(criterion, batch, 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluation_is_exact_and_leaves_the_stream_alone(batch):
    make = lambda: StochasticLoss(QuadraticLoss(10**3), generator=0)  # noqa: E731
    plain, interrupted = make(), make()
    expected = drawn(plain, batch, 4)
    actual = drawn(interrupted, batch, 2)
    last = interrupted.last_draw
    interrupted.eval()
    torch.testing.assert_close(interrupted(*batch), interrupted.loss(*batch))
    assert interrupted.last_draw is last
    interrupted.train()
    assert actual + drawn(interrupted, batch, 2) == expected


@pytest.mark.parametrize("reweight", [True, False])
@pytest.mark.parametrize("sampler", [Uniform, Reshuffle, lambda: Importance([0.1, 0.2, 0.3, 0.4])])
def test_evaluations_by_some_draws_are_unbiased_over_seeds(batch, sampler, reweight):
    """Whatever training does with the weights of its draws."""
    values, n_seeds = [], 300
    for seed in range(n_seeds):
        made = StochasticLoss(
            QuadraticLoss(4), sampler(), reweight=reweight, generator=seed, eval_draws=3
        )
        values.append(made.eval()(*batch).item())
    standard_error = torch.tensor(values).std() / n_seeds**0.5
    assert abs(torch.tensor(values).mean() - made.loss(*batch)) < 4 * standard_error


def test_evaluations_by_some_draws_can_be_compared(batch):
    """The same paths at every call, after training, a restart and a copy; training goes on."""
    criterion = StochasticLoss(QuadraticLoss(10**3), generator=0, eval_draws=8)
    plain = StochasticLoss(QuadraticLoss(10**3), generator=0)
    assert criterion.training
    expected = drawn(plain, batch, 4)
    found = drawn(criterion, batch, 2)
    last = criterion.last_draw
    value = criterion.eval()(*batch)
    assert value != criterion.loss(*batch)
    assert criterion(*batch) == value
    assert criterion.last_draw is last
    found += drawn(criterion.train(), batch, 2)
    assert found == expected
    assert criterion.eval()(*batch) == value
    assert copy.deepcopy(criterion)(*batch) == value
    restored = StochasticLoss(QuadraticLoss(10**3), generator=5, eval_draws=8)
    restored.load_state_dict(criterion.state_dict())
    assert restored.eval()(*batch) == value


def test_evaluations_by_draws_that_leave_paths_out_are_refused():
    leaving_out = AdaptiveImportance(floor=0)
    with pytest.raises(ConfigurationError, match=r"AdaptiveImportance.* may leave paths out"):
        StochasticLoss(QuadraticLoss(4), leaving_out, eval_draws=2)
    with pytest.raises(ConfigurationError, match="eval_draws must be a positive integer, got 0"):
        StochasticLoss(QuadraticLoss(4), eval_draws=0)
    with pytest.raises(ConfigurationError, match="5 draws without replacement"):
        StochasticLoss(QuadraticLoss(4), Reshuffle(), eval_draws=5)


@pytest.mark.parametrize("linked", [False, True])
def test_estimates_without_gradients_leave_the_training_stream_alone(batch, linked):
    x, _ = batch
    expected = drawn(StochasticLoss(QuadraticLoss(10**3), generator=0), batch, 3)
    criterion = StochasticLoss(QuadraticLoss(10**3), generator=0)
    optimizer = torch.optim.SGD([x], lr=0.0)
    if linked:
        criterion.redraw_after(optimizer)
    trained, last = [], None
    for _ in range(3):
        evaluated = evaluated_paths(criterion, batch, 3)
        assert criterion.last_draw is last
        trained += drawn(criterion, batch)
        last = criterion.last_draw
        evaluated += evaluated_paths(criterion, batch, 3)  # also while a draw is pending
        assert criterion.last_draw is last
        if linked:
            assert drawn(criterion, batch) == trained[-1:]
            optimizer.step()
        assert len({tuple(path) for path in evaluated}) == 6
        assert trained[-1] not in evaluated
    assert trained == expected


def evaluated_paths(criterion, batch, n):
    """Paths of n forwards without gradients."""
    evaluate, paths = criterion.loss.evaluate, []

    def spy(input, target, indices):
        paths.append(indices.tolist())
        return evaluate(input, target, indices)

    criterion.loss.evaluate = spy
    with torch.no_grad():
        for _ in range(n):
            assert not criterion(*batch).requires_grad
    del criterion.loss.evaluate
    return paths


class Overflowing(QuadraticLoss):
    """Every second path has an infinite gradient."""

    def path_losses(self, input, target, indices):
        factor = torch.where(torch.tensor(indices) % 2 == 1, torch.inf, 1.0)
        return factor[:, None] * super().path_losses(input, target, indices)


@pytest.mark.parametrize("discard", [True, False])
@pytest.mark.parametrize("make", [PAdam, torch.optim.SGD])
def test_a_step_that_is_not_made_can_give_its_draw_up(batch, make, discard):
    criterion = StochasticLoss(Overflowing(8), generator=0)
    optimizer = linked_to(criterion, make, batch[0])
    finite, infinite = set(), set()
    for _ in range(40):
        loss = criterion(*batch)
        path = int(criterion.last_draw.indices)
        if not loss.isfinite():
            infinite.add(path)
            if discard:
                criterion.discard_draw()
            continue
        loss.backward()
        optimizer.step()
        finite.add(path)
    assert (len(finite), len(infinite)) == ((4, 4) if discard else (len(finite), 1))


@pytest.mark.parametrize("discard", [True, False])
@pytest.mark.parametrize("make", [PAdam, torch.optim.SGD])
def test_a_scaler_that_skips_a_path_for_ever_gets_past_it(batch, make, discard):
    criterion = StochasticLoss(Overflowing(8), generator=0)
    optimizer = linked_to(criterion, make, batch[0])
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    made = 0
    for _ in range(40):
        optimizer.zero_grad()
        scaler.scale(criterion(*batch)).backward()
        scaler.step(optimizer)
        scale = scaler.get_scale()
        scaler.update()
        skipped = scaler.get_scale() < scale
        assert skipped == bool(criterion.last_draw.indices % 2 == 1)
        made += not skipped
        if skipped and discard:
            criterion.discard_draw()
    assert bool(batch[0].isfinite().all())
    assert (made > 10) == discard


def linked_to(criterion, make, x):
    if make is PAdam:
        return PAdam([x], criterion, lr=0.01)
    optimizer = make([x], lr=0.0)
    criterion.redraw_after(optimizer)
    return optimizer


def test_a_discarded_draw_is_not_stepped_on(batch):
    criterion = StochasticLoss(QuadraticLoss(4), generator=0)
    optimizer = PAdam([batch[0]], criterion)
    criterion(*batch).backward()
    criterion.discard_draw()
    with pytest.raises(DrawError, match="used by a step or discarded"):
        optimizer.step()


def test_an_optimizer_does_not_step_on_an_evaluation(batch):
    x, _ = batch
    criterion = StochasticLoss(QuadraticLoss(4), generator=0)
    optimizer = PAdam([x], criterion, lr=0.1)
    criterion(*batch).backward()
    optimizer.step()
    with torch.no_grad():
        criterion(*batch)
    with pytest.raises(DrawError, match="stale draw"):
        optimizer.step()
    optimizer = PAdam([x], (criterion := StochasticLoss(QuadraticLoss(4))), lr=0.1)
    with torch.no_grad():
        criterion(*batch)
    with pytest.raises(DrawError, match=r"no draw: .* in training mode and with gradients"):
        optimizer.step()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_reductions_in_both_modes(batch, reduction):
    criterion = StochasticLoss(QuadraticLoss(1, reduction=reduction), generator=0)
    torch.testing.assert_close(criterion(*batch), criterion.eval()(*batch))


def test_a_restored_draw_survives_linking_a_new_optimizer(batch):
    x, _ = batch
    saved = StochasticLoss(QuadraticLoss(10**4), generator=0)
    optimizer = PAdam([x], saved, lr=0.1)
    (before,) = drawn(saved, batch)
    restored = StochasticLoss(QuadraticLoss(10**4), generator=9)
    restored.load_state_dict(saved.state_dict())
    later = PAdam([x], restored, lr=0.1)  # criterion first, optimizer second
    assert drawn(restored, batch) == [before]
    later.step()
    optimizer.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_draws": 3}, "n_draws=2, reweight=True, and the criterion has n_draws=3"),
        ({"n_draws": 2, "reweight": False}, "n_draws=2, reweight=False: dropped"),
    ],
)
def test_a_draw_that_was_made_otherwise_is_dropped(batch, options, message, caplog):
    x, _ = batch
    saved = StochasticLoss(QuadraticLoss(10**4), n_draws=2, generator=0)
    optimizer = torch.optim.SGD([x], lr=0.0)
    saved.redraw_after(optimizer)
    (before,) = drawn(saved, batch)
    restored = StochasticLoss(QuadraticLoss(10**4), **options)
    restored.redraw_after(optimizer)
    restored.load_state_dict(saved.state_dict())
    assert message in caplog.text
    (after,) = drawn(restored, batch)
    assert after != before
    assert len(after) == options["n_draws"]
    optimizer.step()
    caplog.clear()
    restored.load_state_dict(StochasticLoss(saved.loss, n_draws=7).state_dict())
    assert not caplog.text  # nothing waited


def test_states_of_another_criterion_are_refused():
    uniform = StochasticLoss(QuadraticLoss(4), generator=0)
    fixed = StochasticLoss(QuadraticLoss(4), Importance(PROBABILITIES), generator=0)
    fewer = StochasticLoss(QuadraticLoss(3), generator=0)
    with pytest.raises(ConfigurationError, match=r"Importance sampler over 4 .* has Uniform"):
        uniform.load_state_dict(fixed.state_dict())
    with pytest.raises(ConfigurationError, match=r"Uniform sampler over 3 .* has Uniform"):
        uniform.load_state_dict(fewer.state_dict())


def test_declared_bias():
    assert StochasticLoss(QuadraticLoss(4)).unbiased
    assert StochasticLoss(QuadraticLoss(4), reweight=False).unbiased
    assert StochasticLoss(QuadraticLoss(4), Importance(PROBABILITIES)).unbiased
    assert not StochasticLoss(QuadraticLoss(4), Importance([0.5, 0.5, 0.0, 0.0])).unbiased


def test_probabilities_are_part_of_the_state():
    first = StochasticLoss(QuadraticLoss(4), Importance(PROBABILITIES), generator=0)
    second = StochasticLoss(QuadraticLoss(4), Importance([0.25] * 4), generator=0)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second.sampler.probabilities, first.sampler.probabilities)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_continue_the_stream_unlinked(batch, clone):
    x, _ = batch
    criterion = StochasticLoss(QuadraticLoss(10**4), generator=0)
    optimizer = PAdam([x], criterion, lr=0.1)
    twin = clone(criterion)
    expected = drawn(StochasticLoss(QuadraticLoss(10**4), generator=0), batch, 2)
    assert drawn(twin, batch, 2) == expected
    criterion(*batch).backward()
    optimizer.step()  # the original is still linked


def test_the_optimizer_linked_last_owns_the_draws(batch):
    x, _ = batch
    criterion = StochasticLoss(QuadraticLoss(4), generator=0)
    first = PAdam([x], criterion, lr=0.1)
    PAdamKept = PAdam([x], criterion, lr=0.1)
    criterion(*batch).backward()
    with pytest.raises(DrawError, match="called with another optimizer"):
        first.step()
    PAdamKept.step()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_draws": 0}, "n_draws must be a positive integer, got 0"),
        ({"n_draws": True}, "n_draws must be a positive integer, got True"),
        ({"generator": 2**64}, "a seed must fit in 64 bits"),
        ({"n_draws": 1.5}, "n_draws must be a positive integer, got 1.5"),
        ({"sampler": Uniform}, "must be a Sampler instance"),
        ({"reduction": "avg"}, '"mean", "sum" or "none", got .avg.'),
        ({"generator": "seed"}, "a seed, a torch.Generator or None"),
        ({"sampler": Importance([0.5, 0.5])}, "2 probabilities for a loss with 4 paths"),
    ],
)
def test_refused_arguments(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        StochasticLoss(QuadraticLoss(4), **arguments)


def test_refused_losses_and_shared_samplers():
    with pytest.raises(ConfigurationError, match="wrap a transform in TransformLoss"):
        StochasticLoss(torch.nn.MSELoss())
    shared = Uniform()
    shared.bind(PathTable(3))
    with pytest.raises(ConfigurationError, match="for 3 paths and the loss has 4"):
        StochasticLoss(QuadraticLoss(4), shared)
