"""What every optimizer that trains on drawn paths owes its users, as tests to inherit."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters
from torch.optim import Optimizer

from multipath.draws import Draw
from multipath.errors import DrawError
from multipath.samplers import Importance
from multipath.stochastic import StochasticLoss

from ._checks import require, require_close, require_finite, same, skip, through_file, undefined
from ._run import Run
from .quadratic import QuadraticLoss


class OptimizerTests:
    """Inherit, name the subclass ``Test...``, and define :meth:`make_optimizer`.

    The model in training has two parameters of shape (1, 2) whose sum is compared with a constant
    by a :class:`QuadraticLoss`, with unequal probabilities.

    Attributes:
        lr: Learning rate of all checks.
        n_paths: Number of paths P, except in the check with one path.
        n_draws: Number of draws k.
        n_steps: After so many steps the loss must have halved.
        pathwise: Whether ``step()`` takes the draw of the criterion and refuses to step without
            one. False for a plain optimizer, which ``make_optimizer`` passes to
            ``criterion.redraw_after``.
        maximize: Whether ``make_optimizer(..., maximize=True)`` is supported, and ascends.
        tolerance: Largest relative difference from a reference in float64.
        single_tolerance: Largest relative difference between training in float32 and in float64.

    Example:
        >>> class TestSGD(OptimizerTests):
        ...     pathwise = False
        ...     def make_optimizer(self, params, criterion, **options):
        ...         optimizer = torch.optim.SGD(params, **options)
        ...         criterion.redraw_after(optimizer)
        ...         return optimizer
        >>> TestSGD().test_one_draw_lasts_for_a_step()  # pytest calls them all
    """

    lr: float = 0.01
    n_paths: int = 3
    n_draws: int = 1
    n_steps: int = 200
    pathwise: bool = True
    maximize: bool = True
    tolerance: float = 1e-6
    single_tolerance: float = 1e-3

    def make_optimizer(
        self, params: Iterable[Any], criterion: StochasticLoss, **options: Any
    ) -> Optimizer:
        """The optimizer to test.

        Args:
            params: Parameters or parameter groups.
            criterion: Draws the paths; a plain optimizer is passed to its ``redraw_after``.
            **options: ``lr``, and ``maximize`` in one check.
        """
        raise undefined(
            self, "make_optimizer(params, criterion, **options)", "return a new Optimizer"
        )

    def reference_optimizer(self, params: Iterable[Any], lr: float) -> Optimizer | None:
        """The optimizer that it should equal with a single path, e.g. SGD; optional.

        Args:
            params: Parameters.
            lr: Learning rate.

        Returns:
            The optimizer, or None if there is nothing to compare with.
        """
        return None

    def reference_step(
        self, weights: Tensor, gradient: Tensor, draw: Draw, memory: dict[Any, Any]
    ) -> Tensor | None:
        """One step of a slow, readable twin; optional.

        Args:
            weights: All weights before the step, float64 of shape (D,).
            gradient: The gradient of the weighted path losses that ``backward`` left in ``.grad``.
            draw: The paths drawn, their weights and probabilities.
            memory: A dictionary, empty at first, for what the algorithm remembers between steps.

        Returns:
            The weights after the step, shape (D,), or None if there is nothing to compare with.
        """
        return None

    def test_one_path_is_the_reference_optimizer(self) -> None:
        """With P = 1 there is nothing to draw, and the optimizer equals a known one."""
        run, plain = self._run(n_paths=1), self._run(n_paths=1)
        reference = self.reference_optimizer(plain.parameters, self.lr)
        if reference is None:
            skip("reference_optimizer(params, lr) is not defined")
        plain.optimizer = reference
        plain.criterion.redraw_after(reference)
        for step in range(20):
            run.step()
            plain.step()
            require_close(
                run.weights,
                plain.weights,
                self.tolerance,
                f"with one path, step {step + 1} must be that of {type(reference).__name__}",
            )

    def test_every_step_is_that_of_the_reference(self) -> None:
        """Each of 40 updates equals that of the readable twin."""
        run, memory = self._run(), dict[Any, Any]()
        for step in range(40):
            before = run.weights.clone()
            run.backward()
            gradient = torch.cat([p.grad.flatten() for p in run.parameters if p.grad is not None])
            draw: Any = run.criterion.last_draw
            run.optimizer.step()
            expected = self.reference_step(before, gradient, draw, memory)
            if expected is None:
                skip("reference_step(weights, gradient, draw, memory) is not defined")
            require_close(
                run.weights - before,
                expected - before,
                self.tolerance,
                f"the update of step {step + 1}, with paths {draw.indices.tolist()} drawn, must be "
                "that of reference_step",
            )

    def test_training_reduces_a_quadratic(self) -> None:
        """Training at least halves the loss over all paths."""
        run = self._run()
        start = run.full_loss()
        run.step(self.n_steps)
        require_finite(run.weights, "weights must stay finite")
        require(
            run.full_loss() < start / 2,
            f"{self.n_steps} steps must halve the loss, which went from {start:.4g} to "
            f"{run.full_loss():.4g}; check the sign of the update, lr and n_steps",
        )

    def test_maximize_is_the_negative_loss(self) -> None:
        """Ascending a loss is descending its negative."""
        if not self.maximize:
            skip("maximize is declared not to be supported")
        up, down = self._run(maximize=True), self._run()
        start = up.full_loss()
        for _ in range(5):
            up.step()
            down.step(factor=-1.0)
        require(up.full_loss() > start, "with maximize=True the loss must rise, and it does not")
        require_close(
            up.weights,
            down.weights,
            self.tolerance,
            "maximize=True must do to a loss what the default does to its negative",
        )

    def test_parameter_groups_keep_their_settings(self) -> None:
        """A group of learning rate zero stands still while another moves."""
        run = self._run()
        moving, still = run.parameters
        groups = [{"params": [moving]}, {"params": [still], "lr": 0.0}]
        run.optimizer = self._make(groups, run.criterion)
        before = [parameter.detach().clone() for parameter in run.parameters]
        run.step(3)
        require(same(still.detach(), before[1]), "a group with lr=0 must stand still")
        require(not same(moving.detach(), before[0]), "a group with lr > 0 must move")

    def test_schedulers_set_the_rate_of_the_next_step(self) -> None:
        """A scheduler acts as if the learning rate of the group had been set by hand."""
        scheduled, by_hand = self._run(), self._run()
        scheduler = torch.optim.lr_scheduler.ExponentialLR(scheduled.optimizer, 0.5)
        for step in range(6):
            scheduled.step()
            scheduler.step()
            by_hand.optimizer.param_groups[0]["lr"] = self.lr * 0.5**step
            by_hand.step()
        require(
            same(scheduled.weights, by_hand.weights),
            "a scheduler must act like setting param_groups[i]['lr'] by hand",
        )
        require(
            not same(scheduled.weights, self._run().step(6).weights),
            "halving the learning rate must change the weights; read hyperparameters from the "
            "group at every step",
        )

    def test_closures(self) -> None:
        """``step(closure)`` evaluates the closure once, steps, and returns the loss."""
        closed, plain = self._run(), self._run().step(5)
        calls = []

        def closure() -> Tensor:
            calls.append(torch.is_grad_enabled())
            return closed.backward()

        for number in range(1, 6):
            value = closed.optimizer.step(closure)  # type: ignore[arg-type]
            require(
                isinstance(value, Tensor),
                f"step(closure) must return what the closure returned, got {value!r}",
            )
            require(
                calls == [True] * number,
                "step(closure) must call the closure once, with gradients enabled, got "
                f"{len(calls)} calls in {number} steps",
            )
        require(
            same(closed.weights, plain.weights),
            "step(closure) must do what backward and step() do; take the draw after the closure",
        )

    def test_one_draw_lasts_for_a_step(self) -> None:
        """Four micro-batches share one draw, and make the step of the whole batch."""
        whole, parts = self._run(), self._run()
        seen = []
        for _ in range(8):
            whole.step()
            parts.optimizer.zero_grad()
            draws = []
            for _ in range(4):
                parts.loss(0.25).backward()
                draws.append(parts.criterion.last_draw)
            require(
                all(draw is draws[0] for draw in draws),
                "all forwards before a step must use one draw; pass the optimizer to "
                "criterion.redraw_after",
            )
            seen.append(draws[0])
            parts.optimizer.step()
        require(len({id(draw) for draw in seen}) == 8, "every step must be followed by a new draw")
        require_close(
            parts.weights,
            whole.weights,
            self.tolerance,
            "accumulated gradients of four quarters must make the step of the whole batch",
        )

    def test_parameters_without_gradient_stand_still(self) -> None:
        """Parameters that are never used, or not used in one step, do not move."""
        run = self._run()
        idle = nn.Parameter(torch.ones(3, dtype=torch.float64))
        run.optimizer.add_param_group({"params": [idle]})
        run.step(3)
        run.backward()
        other = run.parameters[1]
        before, other.grad = other.detach().clone(), None
        run.optimizer.step()
        require(same(other.detach(), before), "a parameter with grad=None must stand still")
        require(bool((idle == 1).all()), "a parameter that was never used must stand still")
        run.step(3)
        require_finite(run.weights, "weights must stay finite after a step without gradient")

    def test_a_group_added_later_trains(self) -> None:
        """``add_param_group`` works in the middle of training."""
        run = self._run().step(5)
        late = nn.Parameter(torch.zeros(1, 2, dtype=torch.float64))
        run.optimizer.add_param_group({"params": [late], "lr": self.lr})
        run.parameters.append(late)
        run.step(3)
        require(not bool((late == 0).all()), "a parameter added later must be trained")
        require_finite(run.weights, "weights must stay finite with a parameter added later")

    def test_resume_continues_to_the_last_bit(self) -> None:
        """A checkpoint between backward and step resumes in a new optimizer of other settings."""
        run = self._run().step(7)
        run.backward()
        saved = through_file(
            {"criterion": run.criterion.state_dict(), "optimizer": run.optimizer.state_dict()},
            "the optimizer",
        )
        weights = run.weights.clone()
        run.step(7)
        other = self._run(seed=1, lr=10 * self.lr)
        vector_to_parameters(weights, other.parameters)
        other.criterion.load_state_dict(saved["criterion"])
        other.optimizer.load_state_dict(saved["optimizer"])
        require(
            same(other.optimizer.state_dict(), saved["optimizer"]),
            "state_dict must be what load_state_dict was given, tensors in their own dtype",
        )
        other.step(7)
        require(
            same(other.weights, run.weights),
            "training from a checkpoint must go on to the last bit; keep all that step() remembers "
            "in self.state and param_groups",
        )
        require(
            same(other.optimizer.state_dict(), run.optimizer.state_dict()),
            "the state of a resumed run must stay equal to that of an uninterrupted one",
        )

    def test_copies_go_on_by_themselves(self) -> None:
        """A deep copy of model, criterion and optimizer trains like the original, apart from it."""
        run = self._run().step(5)
        twin = copy.deepcopy(run)
        if not self.pathwise:  # the hook of redraw_after on a plain optimizer is not copied
            twin.criterion.redraw_after(twin.optimizer)
        run.step(5)
        require(not same(run.weights, twin.weights), "training a run must not train its copy")
        require(same(run.weights, twin.step(5).weights), "a copy must go on like the original")

    def test_a_stale_draw_is_refused(self) -> None:
        """A step without a forward, or a second one, raises DrawError and keeps the weights."""
        if not self.pathwise:
            skip("not path-wise: it steps with whatever gradients there are")
        run = self._run()
        for parameter in run.parameters:
            parameter.grad = torch.ones_like(parameter)
        for situation in ("without a forward", "twice after one forward"):
            before = run.weights.clone()
            try:
                run.optimizer.step()
            except DrawError:
                pass
            else:
                raise AssertionError(
                    f"step() {situation} must raise DrawError; take the draw with "
                    "criterion.take_draw(self)"
                )
            require(same(run.weights, before), f"a step {situation} must leave the weights alone")
            run.step()

    def test_a_skipped_scaler_step_changes_nothing(self) -> None:
        """Where mixed precision overflows and GradScaler skips the step, the draw is kept."""
        run = self._run(dtype=torch.float32)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

        def attempt(spoil: bool) -> Draw | None:
            run.optimizer.zero_grad()
            scaler.scale(run.loss()).backward()
            gradient = run.parameters[0].grad
            if spoil and gradient is not None:
                gradient[0, 0] = torch.inf
            scaler.step(run.optimizer)
            scaler.update()
            return run.criterion.last_draw

        attempt(spoil=False)
        attempt(spoil=False)
        before, state = run.weights.clone(), copy.deepcopy(run.optimizer.state_dict())
        skipped = attempt(spoil=True)
        require(same(run.weights, before), "a skipped step must leave the weights alone")
        require(
            same(run.optimizer.state_dict(), state), "a skipped step must leave the state alone"
        )
        require(attempt(spoil=False) is skipped, "the draw of a skipped step must serve the next")
        require(not same(run.weights, before), "the step after a skipped one must move the weights")

    def test_gradients_of_zero_give_finite_updates(self) -> None:
        """Gradients of zero, and ordinary ones after them, leave the weights finite."""
        for dtype in (torch.float32, torch.float64):
            run = self._run(dtype=dtype)
            for factor in (0.0, 0.0, 1.0, 1.0):
                run.step(factor=factor)
                require_finite(run.weights, "gradients of zero must not make weights NaN")

    def test_precisions_agree(self) -> None:
        """Training in float32 follows training in float64, and keeps its dtype."""
        single, double = self._run(dtype=torch.float32).step(10), self._run().step(10)
        require(
            all(parameter.dtype == torch.float32 for parameter in single.parameters),
            "float32 parameters must stay float32",
        )
        require_close(
            single.weights,
            double.weights,
            self.single_tolerance,
            "ten steps in float32 must agree with ten steps in float64",
        )

    def _make(self, params: Iterable[Any], criterion: StochasticLoss, **options: Any) -> Optimizer:
        optimizer: Any = self.make_optimizer(params, criterion, **{"lr": self.lr, **options})
        require(
            isinstance(optimizer, Optimizer),
            f"make_optimizer must return a torch.optim.Optimizer, got {type(optimizer).__name__}",
        )
        return optimizer  # type: ignore[no-any-return]

    def _run(
        self,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
        n_paths: int | None = None,
        **options: Any,
    ) -> Run:
        count = n_paths or self.n_paths
        falling = torch.arange(count, 0, -1, dtype=torch.float64)
        sampler = Importance(falling / falling.sum())
        criterion = StochasticLoss(QuadraticLoss(count), sampler, self.n_draws, generator=seed)
        start = torch.tensor([[1.0, -2.0]], dtype=dtype)
        parameters = [nn.Parameter(factor * start) for factor in (1.0, 0.1)]

        def make(parameters: list[nn.Parameter]) -> Optimizer:
            return self._make(parameters, criterion, **options)

        return Run(criterion, parameters, make)
