"""The shipped tests can fail: broken plug-ins, each caught by the check that is named for it."""

import re
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
import torch

import multipath
from multipath import PathDecomposedLoss
from multipath.samplers import Importance, Reshuffle, Uniform
from multipath.samplers.base import Sampler
from multipath.testing import LossTests, OptimizerTests, SamplerTests


class Loss(PathDecomposedLoss):
    """L_p = mean_d (x_d - y_d - shift_p)^2, right; what is wrong with it is one line each below."""

    def __init__(self, **options):
        super().__init__(3, **options)
        self.register_buffer("shifts", torch.tensor([0.0, 0.5, 2.0]))

    def differences(self, input, target, indices):
        chosen = self.shifts[torch.as_tensor(indices).long()]
        return input - target - chosen[:, None, None]

    def path_losses(self, input, target, indices):
        return self.differences(input, target, indices).square().mean(dim=-1)


class OrderIgnored(Loss):
    def path_losses(self, input, target, indices):
        return super().path_losses(input, target, sorted(int(i) for i in indices))


class RepetitionsDropped(Loss):
    def path_losses(self, input, target, indices):
        return super().path_losses(input, target, list(dict.fromkeys(map(int, indices))))


class Together(Loss):
    """Normalises by the mean over the paths asked for."""

    def path_losses(self, input, target, indices):
        values = super().path_losses(input, target, indices)
        return values / values.detach().mean(dim=0)


class WrongWeight(Loss):
    def forward(self, input, target, reduction=None):
        return super().forward(input, target, reduction) * 3 / 2  # the divisor is off by one


class BatchMixing(Loss):
    def path_losses(self, input, target, indices):
        return super().path_losses(input - input.mean(dim=0), target, indices)


class BatchMixingInGradients(Loss):
    def path_losses(self, input, target, indices):
        nothing = input.sum() - input.sum().detach()
        return super().path_losses(input, target, indices) + nothing


class WrongGroups(Loss):
    def grouped(self, by):
        grouped = super().grouped(by)
        grouped._path_weights = torch.full((len(by),), 1 / len(by), dtype=torch.float64)
        return grouped


class WeightsThatDoNotFit(Loss):
    path_weights = torch.ones(2, dtype=torch.float64)


class NaNAtEquality(Loss):
    def path_losses(self, input, target, indices):
        differences = self.differences(input, target, indices)
        return differences.square().sum(dim=-1).sqrt()


class NaNAtZero(Loss):
    def path_losses(self, input, target, indices):
        return super().path_losses(input.square().sqrt(), target, indices)


class Overflowing(Loss):
    def path_losses(self, input, target, indices):
        return super().path_losses(1e30 * input, target, indices)


class Detached(Loss):
    def path_losses(self, input, target, indices):
        return super().path_losses(input.detach(), target, indices)


class WrongGradient(Loss):
    def path_losses(self, input, target, indices):
        return super().path_losses(input, target, indices) * (1 + input - input.detach()).mean(1)


class OneDtype(Loss):
    def path_losses(self, input, target, indices):
        return super().path_losses(input, target, indices).double()


class Imprecise(Loss):
    def path_losses(self, input, target, indices):
        large = 2.0**20
        return super().path_losses((input + large) - large, target, indices)


class Viewing(Loss):
    def path_losses(self, input, target, indices):
        flat = torch.as_strided(input, input.shape, (input.shape[1], 1), input.storage_offset())
        return super().path_losses(flat, target, indices)


class InPlace(Loss):
    def path_losses(self, input, target, indices):
        target -= 1.0
        return super().path_losses(input, target + 1.0, indices)


class NotCopied(Loss):
    def __deepcopy__(self, memo):
        return Loss(weights=[1.0, 0.0, 0.0])


class NotSaved(Loss):
    def __init__(self):
        super().__init__()
        self.shifts = torch.randn(3)
        del self._buffers["shifts"]
        self.hidden = torch.randn(3)

    def differences(self, input, target, indices):
        return input - target - self.hidden[torch.as_tensor(indices).long()][:, None, None]


class Noisy(Loss):
    def path_losses(self, input, target, indices):
        return super().path_losses(input + torch.rand(()), target, indices)


class Numbered(Loss):
    calls = 0

    def path_losses(self, input, target, indices):
        self.calls += 1
        return super().path_losses(input, target, indices) + self.calls


class NegativeNorms(Loss):
    def target_norms(self, target, indices):
        return -super().target_norms(target, indices)


class WrongShape(Loss):
    def path_losses(self, input, target, indices):
        return super().path_losses(input, target, indices).mean(dim=1)


class Biased(Loss):
    """Alone a path is worth more than among others."""

    def evaluate(self, input, target, indices):
        return super().evaluate(input, target, indices) * (2 if len(indices) == 1 else 1)


class Worn(Loss):
    """Moving it to another device leaves its mark."""

    def _apply(self, *arguments, **named):
        self.moves = getattr(self, "moves", 0) + 1
        return super()._apply(*arguments, **named)

    def path_losses(self, input, target, indices):
        return super().path_losses(input, target, indices) * getattr(self, "moves", 0)


BROKEN_LOSSES = [
    (OrderIgnored, "requested_paths_come_in_the_order_asked", "in the order asked.*off by"),
    (
        RepetitionsDropped,
        "requested_paths_come_in_the_order_asked",
        r"shape \(len\(indices\), batch\)",
    ),
    (Together, "paths_asked_together_equal_paths_asked_apart", "path 0 asked alone must equal"),
    (WrongWeight, "full_loss_is_the_weighted_sum", "do not override forward. Expected"),
    (BatchMixing, "items_of_a_batch_do_not_mix", "item 0 alone must have .* in a batch of 4"),
    (BatchMixingInGradients, "items_of_a_batch_do_not_mix", "must not depend on other items"),
    (WrongGroups, "groups_keep_the_value", "in 2 groups of paths must keep its value"),
    (WeightsThatDoNotFit, "number_of_paths_and_weights", r"float64 of shape \(3,\), got .*\(2,\)"),
    (NaNAtEquality, "gradients_are_finite_at_equality", "finite at input == target in .*float32"),
    (NaNAtZero, "gradients_are_finite_at_zero", "gradients must be finite at a zero input"),
    (Overflowing, "values_and_gradients_are_finite", "path losses must be finite on a batch"),
    (Detached, "values_and_gradients_are_finite", "look for detach"),
    (WrongGradient, "gradients_match_finite_differences", "gradient of path 0 must match finite"),
    (OneDtype, "precision_follows_the_input", "float32 must give path losses in torch.float32"),
    (Imprecise, "precision_follows_the_input", "float32 must agree with those in float64"),
    (Viewing, "memory_layout_does_not_matter", "use reshape, not view"),
    (InPlace, "arguments_are_left_untouched", "must not write to its target in place"),
    (NotCopied, "copies_and_pickles_evaluate_alike", "a copy.deepcopy of the loss must have"),
    (NotSaved, "state_holds_all_that_the_loss_depends_on", "register what is random or learned"),
    (Noisy, "evaluation_is_deterministic", "changed that of torch; use an explicit torch.Gen"),
    (Numbered, "evaluation_is_deterministic", "two evaluations of the same batch must be equal"),
    (NegativeNorms, "target_norms", "target_norms must not be negative"),
    (WrongShape, "full_loss_is_the_weighted_sum", r"= \(3, 4\), got \(3,\)"),
    (Biased, "estimates_are_unbiased", "the expected value must be that of the loss"),
    (Loss, "reference_values", r"must be those of reference.*row 0"),
    (Worn, "a_gpu_gives_what_the_cpu_gives", "the value on cpu must be that on the CPU"),
]


class LossCase(LossTests):
    accelerator = "cpu"  # there is always one

    def __init__(self, kind):
        self.make_loss = kind

    def make_batch(self, generator):
        return torch.randn(2, 4, 5, generator=generator).unbind()


class WithReference(LossCase):
    def reference(self, input, target):
        return torch.ones(3, 4)


@pytest.mark.parametrize(("kind", "check", "message"), BROKEN_LOSSES)
def test_broken_losses_are_caught(kind, check, message):
    case = WithReference(kind) if check == "reference_values" else LossCase(kind)
    assert_caught(case, check, message)


def assert_caught(case, check, message):
    with pytest.raises(AssertionError) as caught:
        getattr(case, f"test_{check}")()
    assert re.search(message, str(caught.value)), str(caught.value)


class Skewed(Sampler):
    """Independent draws with probabilities proportional to p + 1; right in all methods."""

    @property
    def probabilities(self):
        masses = torch.arange(1, self.n_paths + 1, dtype=torch.float64)
        return masses / masses.sum()

    def draw(self, n_draws, generator):
        points = torch.rand(n_draws, generator=generator, dtype=torch.float64)
        indices = torch.searchsorted(self.probabilities.cumsum(0), points).clamp(
            max=self.n_paths - 1
        )
        return indices, self.probabilities[indices]

    def enumerate(self, n_draws):
        return Importance(self.probabilities).enumerate(n_draws)


class Unnormalised(Skewed):
    @property
    def probabilities(self):
        return super().probabilities * 1.01


class SinglePrecision(Skewed):
    @property
    def probabilities(self):
        return super().probabilities.float()


class MissingDraws(Skewed):
    def enumerate(self, n_draws):
        return list(super().enumerate(n_draws))[: max(1, self.n_paths**n_draws - 1)]


class ImpossibleDraws(Skewed):
    def enumerate(self, n_draws):
        yield from super().enumerate(n_draws)
        yield (0,) * n_draws + (0,), 0.0


class WrongInclusion(Skewed):
    """Uniform, which it is not."""

    def inclusion(self, n_draws):
        return torch.full((self.n_paths,), 1 / self.n_paths, dtype=torch.float64)


class WrongCovariance(Skewed):
    def count_covariance(self, n_draws):
        return n_draws * torch.diag(self.probabilities)


class WrongShares(Skewed):
    def draw(self, n_draws, generator):
        indices, shares = super().draw(n_draws, generator)
        return indices, shares / n_draws


class NarrowIndices(Skewed):
    def draw(self, n_draws, generator):
        indices, shares = super().draw(n_draws, generator)
        return indices.int(), shares


class OtherLaw(Skewed):
    """Says one law and follows another."""

    def draw(self, n_draws, generator):
        indices = torch.randint(self.n_paths, (n_draws,), generator=generator)
        return indices, self.probabilities[indices]


class OtherFreshLaw(Skewed):
    def fresh_draw(self, n_draws, generator):
        return OtherLaw.draw(self, n_draws, generator)


class BiasedShares(Skewed):
    """A divisor off by one."""

    def inclusion(self, n_draws):
        return self.probabilities * n_draws / (n_draws + 1)


class Forgotten(Skewed):
    """A path of positive weight that is never drawn."""

    @property
    def probabilities(self):
        masses = torch.arange(self.n_paths, dtype=torch.float64)
        return masses / masses.sum() if self.n_paths > 1 else masses + 1


class Liar(Forgotten):
    unbiased = True


class Repeating(Uniform):
    """Refuses as if distinct, draws with replacement."""

    def check_draws(self, n_draws):
        Uniform(replacement=False).check_draws(n_draws)


class Unrefusing(Uniform):
    def check_draws(self, n_draws):
        pass


class GlobalGenerator(Skewed):
    def draw(self, n_draws, generator):
        return super().draw(n_draws, torch.default_generator)


class NumpyGenerator(Skewed):
    def draw(self, n_draws, generator):
        np.random.rand()  # noqa: NPY002
        return super().draw(n_draws, generator)


class Deaf(Skewed):
    def draw(self, n_draws, generator):
        return super().draw(n_draws, torch.Generator().manual_seed(0))


class FreshDeals(Reshuffle):
    fresh_draw = Reshuffle.draw


class Forgetful(Reshuffle):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class AliasedState(Skewed):
    def __init__(self):
        self.count = torch.zeros(())

    def draw(self, n_draws, generator):
        self.count += 1
        return super().draw(n_draws, generator)

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"].clone()


class UnsafeState(Skewed):
    def state_dict(self):
        return {"kind": Skewed}


class Careless(Skewed):
    def bind(self, paths, weights=None):
        self.n_paths, self.weights = len(paths), weights


class SharedMemory(Reshuffle):
    """All copies deal out one permutation."""

    def __deepcopy__(self, memo):
        return self


class WeighedByComponent(Skewed):
    """Half of the draws are uniform, and weighted as if all were."""

    def fresh_draw(self, n_draws, generator):
        if torch.rand(1, generator=generator) < 0.5:
            return super().draw(n_draws, generator)
        indices = torch.randint(self.n_paths, (n_draws,), generator=generator)
        return indices, torch.full((n_draws,), 1 / self.n_paths, dtype=torch.float64)


class Positional(Skewed):
    """Is told of its paths and goes by their places."""

    def __init__(self, order=None):
        self.order = order


class Relabelled(Positional):
    @property
    def probabilities(self):
        pi = super().probabilities
        return pi if self.order is None else pi[list(self.order)]


class Neighbourly(Relabelled):
    """Knows what each path is, and draws together what stands together."""

    def enumerate(self, n_draws):
        return Importance(self.probabilities, replacement=False).enumerate(n_draws)

    def inclusion(self, n_draws):
        return Importance(self.probabilities, replacement=False).inclusion(n_draws)


class AnyLoss(Skewed):
    def bind(self, paths, weights=None):
        if self.n_paths not in (None, len(paths)):
            super().bind(paths, weights)
        self.n_paths, self.weights = len(paths), weights


class Greedy(Skewed):
    """Learns without a floor."""

    observes = "gradient_norms"
    measured = None

    @property
    def probabilities(self):
        if self.measured is None:
            return super().probabilities
        return self.measured / self.measured.sum()

    def observe(self, indices, values):
        measured = self.probabilities.clone()
        measured[indices] = values
        self.measured = measured


class Misspelt(Skewed):
    observes = "loses"


class Hopeful(Greedy):
    """Learns from losses and takes them to be positive."""

    observes = "losses"

    def observe(self, indices, values):
        super().observe(indices, values + 1e-9)


BROKEN_SAMPLERS = [
    (Unnormalised, "probabilities_are_valid", "probabilities at P=1.* must sum to 1, got 1.01"),
    (SinglePrecision, "probabilities_are_valid", "must be float64 .*got torch.float32"),
    (MissingDraws, "enumeration_is_a_law", r"probabilities of enumerate\(1\) must sum to 1"),
    (ImpossibleDraws, "enumeration_is_a_law", r"must yield draws of 1 indices .* got \[\(0, 0\)\]"),
    (WrongInclusion, "inclusion_is_that_of_the_enumeration", "must be the mean counts"),
    (WrongCovariance, "count_covariance_is_that_of_the_enumeration", r"count_covariance\(1\) must"),
    (WrongShares, "draws_carry_their_shares", r"draw\(2, generator\) must return inclusion\(2\)"),
    (NarrowIndices, "draws_carry_their_shares", "must return int64 indices .*got torch.int32"),
    (OtherLaw, "draws_follow_the_enumerated_law", "^draw must follow enumerate.*expected .* times"),
    (OtherFreshLaw, "draws_follow_the_enumerated_law", "^fresh_draw must follow"),
    (BiasedShares, "estimates_are_unbiased", "weights must be those of the loss"),
    (Forgotten, "bias_is_declared", r"paths \[0\] are never drawn at P=2"),
    (Liar, "bias_is_declared", "sampler.unbiased must be False at P=2"),
    (WeighedByComponent, "identical_paths_have_no_variance", "without variance, as 1, got 1.3"),
    (Positional, "relabelled_paths_are_drawn_alike", "inclusion must go with the paths"),
    (Neighbourly, "relabelled_paths_are_drawn_alike", "or declare follows_table"),
    (AnyLoss, "another_loss_is_refused", r"of other weights .*call super\(\).bind"),
    (Repeating, "draws_are_distinct", "a draw must hold distinct paths"),
    (Unrefusing, "impossible_numbers_of_draws_are_refused", "must raise ConfigurationError"),
    (Reshuffle, "impossible_numbers_of_draws_are_refused", "or declare distinct or limited"),
    (GlobalGenerator, "draws_depend_on_the_generator_alone", "changed that of torch; use"),
    (NumpyGenerator, "draws_depend_on_the_generator_alone", "changed that of numpy; use"),
    (Deaf, "draws_depend_on_the_generator_alone", "must change with the seed"),
    (FreshDeals, "fresh_draws_leave_no_trace", "fresh_draw must leave the state"),
    (Forgetful, "resume_continues_to_the_last_bit", "must go on to the last bit, at P=7, k=3"),
    (AliasedState, "resume_continues_to_the_last_bit", "state_dict must hold copies"),
    (UnsafeState, "resume_continues_to_the_last_bit", "save tensors, numbers, strings"),
    (SharedMemory, "copies_go_on_by_themselves", "a deep copy must go on like the original"),
    (Careless, "another_number_of_paths_is_refused", r"call super\(\).bind"),
    (Greedy, "observations_keep_probabilities_valid", "after observing .*must"),
    (Hopeful, "observations_keep_probabilities_valid", r"after observing \[-1.0\], must be finite"),
    (Misspelt, "what_it_observes_exists", "observes must be one of 'grad.*, None, got 'loses'"),
]


skip_relabelling = SamplerTests().make_relabelled


class SamplerCase(SamplerTests):
    def __init__(self, kind, **declared):
        self.kind, self.__dict__ = kind, {"kind": kind, **declared}

    def make_sampler(self, n_paths):
        return self.kind()

    def make_relabelled(self, order):
        return self.kind(order) if issubclass(self.kind, Positional) else skip_relabelling(order)


DISTINCT = (Neighbourly, Repeating, Unrefusing, FreshDeals, Forgetful, SharedMemory)


@pytest.mark.parametrize(("kind", "check", "message"), BROKEN_SAMPLERS)
def test_broken_samplers_are_caught(kind, check, message):
    assert_caught(SamplerCase(kind, distinct=kind in DISTINCT), check, message)


def test_a_bias_that_is_declared_and_not_there_is_caught():
    assert_caught(SamplerCase(Skewed, biased=True), "bias_is_declared", "remove the declaration")
    SamplerCase(Forgotten, biased=True).test_bias_is_declared()


class Momentum(torch.optim.Optimizer):
    """Heavy-ball momentum on the gradients of the drawn paths; right as it stands."""

    def __init__(self, params, criterion, lr, maximize=False):
        self.criterion = criterion
        super().__init__(params, {"lr": lr, "maximize": maximize})
        criterion.attach(self)

    @torch.no_grad()
    def step(self, closure=None):
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        self.take()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.move(p, self.rate(group), group)
        return result

    def take(self):
        self.criterion.take_draw(self)

    def rate(self, group):
        return -group["lr"] if group["maximize"] else group["lr"]

    def move(self, p, lr, group):
        state = self.state[p]
        state["velocity"] = 0.5 * state.get("velocity", torch.zeros_like(p)) + p.grad
        p.sub_(lr * state["velocity"])

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_optimizer_")}

    def __setstate__(self, state):
        super().__setstate__(state)
        if "criterion" in state:
            self.criterion.attach(self)


class Ascending(Momentum):
    def rate(self, group):
        return -super().rate(group)


class MaximizeIgnored(Momentum):
    def rate(self, group):
        return group["lr"]


class OneRate(Momentum):
    def rate(self, group):
        return self.defaults["lr"]


class OneRateForEachGroup(Momentum):
    """Read at construction."""

    def rate(self, group):
        return group.setdefault("first_lr", group["lr"])


class ClosureTwice(Momentum):
    def step(self, closure=None):
        if closure is not None:
            closure()
        return super().step(closure)


class ClosureSwallowed(Momentum):
    def step(self, closure=None):
        super().step(closure)


class Unlinked(Momentum):
    def __init__(self, params, criterion, lr, maximize=False):
        super().__init__(params, criterion, lr, maximize)
        criterion._optimizer = None

    def take(self):
        pass


class DrawKept(Momentum):
    """Never gives the draw back: all steps see one path."""

    def take(self):
        pass


class MovesWithoutGradient(Momentum):
    def step(self, closure=None):
        result = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.mul_(0.99)
        return result


class GroupsAtConstruction(Momentum):
    def __init__(self, params, criterion, lr, maximize=False):
        super().__init__(params, criterion, lr, maximize)
        self.known = set(self.param_groups[0]["params"])

    def move(self, p, lr, group):
        if p in self.known:
            super().move(p, lr, group)


class StateElsewhere(Momentum):
    def move(self, p, lr, group):
        velocities = self.__dict__.setdefault("velocities", {})
        velocities[p] = 0.5 * velocities.get(p, 0.0) + p.grad
        p.sub_(lr * velocities[p])


class ForgetsWhenCopied(Momentum):
    def __setstate__(self, state):
        super().__setstate__(state)
        if "criterion" in state:
            self.state.clear()


class NoDrawNoError(Momentum):
    def take(self):
        if self.criterion._pending is not None:
            super().take()


class Normalised(Momentum):
    """0 / 0 at silence."""

    def move(self, p, lr, group):
        p.sub_(lr * p.grad / p.grad.norm())


class Truncating(Momentum):
    def move(self, p, lr, group):
        super().move(p, lr, group)
        if p.dtype == torch.float32:
            p.copy_(p.bfloat16())


class BeforeTheScaler(Momentum):
    """Moves as soon as a gradient comes, in a hook: a scaler cannot stop it."""

    def __init__(self, params, criterion, lr, maximize=False):
        super().__init__(params, criterion, lr, maximize)
        for group in self.param_groups:
            for p in group["params"]:
                p.register_hook(lambda g, p=p: p.data.sub_(1e-3 * g.sign()) * 0 + g)


BROKEN_OPTIMIZERS = [
    (Ascending, "training_reduces_a_quadratic", "must halve the loss, which went from"),
    (MaximizeIgnored, "maximize_is_the_negative_loss", "with maximize=True the loss must rise"),
    (OneRate, "parameter_groups_keep_their_settings", "a group with lr=0 must stand still"),
    (OneRateForEachGroup, "schedulers_set_the_rate_of_the_next_step", "from the group at"),
    (ClosureTwice, "closures", "must call the closure once, .* got 2 calls in 1 steps"),
    (ClosureSwallowed, "closures", "must return what the closure returned, got None"),
    (Unlinked, "one_draw_lasts_for_a_step", "must use one draw; pass the optimizer"),
    (DrawKept, "one_draw_lasts_for_a_step", "every step must be followed by a new draw"),
    (MovesWithoutGradient, "parameters_without_gradient_stand_still", "grad=None must stand"),
    (GroupsAtConstruction, "a_group_added_later_trains", "added later must be trained"),
    (StateElsewhere, "resume_continues_to_the_last_bit", "keep all that step.. remembers"),
    (ForgetsWhenCopied, "copies_go_on_by_themselves", "a copy must go on like the original"),
    (NoDrawNoError, "a_stale_draw_is_refused", "without a forward must raise DrawError"),
    (BeforeTheScaler, "a_skipped_scaler_step_changes_nothing", "must leave the weights alone"),
    (Normalised, "gradients_of_zero_give_finite_updates", "must not make weights NaN"),
    (Truncating, "precisions_agree", "float32 must agree with ten steps in float64"),
    (Momentum, "one_path_is_the_reference_optimizer", "step 2 must be that of SGD"),
    (Momentum, "every_step_is_that_of_the_reference", "the update of step 2, with paths"),
]


class OptimizerCase(OptimizerTests):
    lr = 0.002

    def __init__(self, kind):
        self.kind = kind

    def make_optimizer(self, params, criterion, **options):
        return self.kind(params, criterion, **options)

    def reference_optimizer(self, params, lr):
        return torch.optim.SGD(params, lr=lr)

    def reference_step(self, weights, gradient, draw, memory):
        return weights - self.lr * gradient


@pytest.mark.parametrize(("kind", "check", "message"), BROKEN_OPTIMIZERS)
@pytest.mark.slow
def test_broken_optimizers_are_caught(kind, check, message):
    assert_caught(OptimizerCase(kind), check, message)


@pytest.mark.parametrize(
    "case",
    [LossCase(Loss), SamplerCase(Skewed), SamplerCase(Relabelled), OptimizerCase(Momentum)],
    ids=["loss", "sampler", "relabelled sampler", "optimizer"],
)
@pytest.mark.slow
def test_what_was_broken_was_right_before(case):
    """Each broken plug-in is one change away from one that passes everything."""
    if isinstance(case, OptimizerCase):
        case.reference_optimizer = lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.5)
        case.reference_step = momentum_step
    for name in dir(case):
        if name.startswith("test_"):
            with suppress(SkipTest):  # no reference, not declared distinct, does not observe
                getattr(case, name)()


def momentum_step(weights, gradient, draw, memory):
    memory["v"] = 0.5 * memory.get("v", 0.0) + gradient
    return weights - OptimizerCase.lr * memory["v"]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (LossTests, BROKEN_LOSSES),
        (SamplerTests, BROKEN_SAMPLERS),
        (OptimizerTests, BROKEN_OPTIMIZERS),
    ],
)
def test_every_check_has_caught_something(kind, rows):
    checks = {name.removeprefix("test_") for name in dir(kind) if name.startswith("test_")}
    assert {check for _, check, _ in rows} == checks


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: LossTests().test_target_norms(), r"must define make_(loss|batch)\("),
        (lambda: SamplerTests().test_draws_are_distinct(), None),
        (lambda: SamplerTests().test_bias_is_declared(), r"SamplerTests must define make_sampler"),
        (lambda: OptimizerTests().test_closures(), r"must define make_optimizer\(params"),
    ],
)
def test_methods_to_define_are_asked_for(run, message):
    with pytest.raises(NotImplementedError if message else SkipTest, match=message):
        run()


@pytest.mark.parametrize(
    ("case", "check", "message"),
    [
        (LossCase(lambda: torch.nn.Linear(1, 1)), "target_norms", "a PathDecomposedLoss, got Lin"),
        (SamplerCase(lambda: 3), "probabilities_are_valid", "return a Sampler, got int"),
        (OptimizerCase(lambda *_, **__: None), "closures", "torch.optim.Optimizer, got NoneType"),
    ],
)
def test_methods_that_return_something_else_are_told_so(case, check, message):
    assert_caught(case, check, message)


def test_batches_of_one_item_are_refused():
    case = LossCase(Loss)
    case.make_batch = lambda generator: (torch.ones(1, 5), torch.ones(1, 5))
    assert_caught(case, "items_of_a_batch_do_not_mix", r"at least 2, got torch.float32 of shape")


@pytest.mark.slow
def test_they_run_under_pytest_and_unittest_and_need_neither(tmp_path):
    """A user's file: collected, skipped where a hook is missing, red where it is broken."""
    file = tmp_path / "test_mine.py"
    file.write_text(
        textwrap.dedent("""
        import sys, unittest
        import multipath.testing
        assert not {"pytest", "hypothesis"} & set(sys.modules) or "pytest" in sys.argv[0]
        from multipath.samplers import Reshuffle
        from multipath.testing import SamplerTests

        class TestMine(SamplerTests, unittest.TestCase):
            distinct = True
            def make_sampler(self, n_paths):
                return Reshuffle()

        class TestWrong(TestMine):
            distinct = False
        """)
    )
    environment = {
        "PYTHONPATH": str(Path(multipath.__file__).parent.parent),
        "OMP_NUM_THREADS": "1",
    }
    for runner in (["unittest", "test_mine"], ["pytest", "-q", "-p", "no:cacheprovider"]):
        done = subprocess.run(
            [sys.executable, "-m", *runner],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert done.returncode == 1, output
        assert "or declare distinct or limited" in output
        broken = re.findall(r"^(?:FAIL|ERROR|FAILED)\b.*(TestMine|TestWrong)\b", output, re.M)
        assert set(broken) == {"TestWrong"}, output
