"""What every path-decomposed loss owes its users, as tests to inherit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from multipath._internal.bookkeeping import has_float64
from multipath.losses import PathDecomposedLoss
from multipath.losses.base import Indices
from multipath.samplers import Importance, Sampler, Uniform
from multipath.stochastic import StochasticLoss

from ._checks import (
    global_randomness_untouched,
    require,
    require_close,
    require_finite,
    same,
    skip,
    through_file,
    undefined,
    value_and_gradient,
)


class LossTests:
    """Inherit, name the subclass ``Test...``, define :meth:`make_loss` and :meth:`make_batch`.

    Attributes:
        n_paths: The number of paths P that the loss should have, or None not to check it.
        differentiable_at_equality: Whether gradients are finite where ``input`` equals ``target``.
        differentiable_at_zero: Whether the loss makes sense, and has finite gradients, where
            ``input`` is zero. If so, it also measures how loud targets are (``target_norms``).
        smooth: Whether gradients can be compared with finite differences.
        tolerance: Largest difference between two ways to compute the same float64 value, relative
            to the values of a path.
        single_tolerance: Largest difference between float32 and float64, relative in the same way.
        gradient_tolerance: Largest difference between gradients and finite differences, relative
            to the gradient of a path.
        accelerator: Type of the device that is compared with the CPU, if there is one.

    Example:
        >>> from multipath.testing import QuadraticLoss
        >>> class TestQuadratic(LossTests):
        ...     n_paths = 3
        ...     def make_loss(self):
        ...         return QuadraticLoss(3)
        ...     def make_batch(self, generator):
        ...         return torch.randn(2, 4, 5, generator=generator).unbind()
        >>> TestQuadratic().test_items_of_a_batch_do_not_mix()  # pytest calls them all
    """

    n_paths: int | None = None
    differentiable_at_equality: bool = True
    differentiable_at_zero: bool = True
    smooth: bool = True
    tolerance: float = 1e-9
    single_tolerance: float = 1e-3
    gradient_tolerance: float = 1e-4
    accelerator: str = "cuda"

    def make_loss(self) -> PathDecomposedLoss:
        """A small loss to test; every check calls this anew and casts to the dtype of the batch."""
        raise undefined(self, "make_loss()", "return a new PathDecomposedLoss")

    def make_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """An input and a target, batch first, of at least two items.

        Args:
            generator: The only source of randomness.
        """
        raise undefined(self, "make_batch(generator)", "return (input, target), batch first")

    def reference(self, input: Tensor, target: Tensor) -> Tensor | None:
        """Expected path losses, computed in another, readable way; optional.

        Args:
            input: The input from :meth:`make_batch`, in float64.
            target: The target from :meth:`make_batch`, in float64.

        Returns:
            Shape (P, batch), or None if there is nothing to compare with.
        """
        return None

    def test_number_of_paths_and_weights(self) -> None:
        """P is as declared; weights are float64 of shape (P,), not negative and not all zero."""
        loss, _, _ = self._trial()
        count, weights = len(loss.paths), loss.path_weights
        require(
            self.n_paths in (None, count),
            f"expected n_paths={self.n_paths}, and the loss has {count} paths",
        )
        require(
            weights.dtype == torch.float64 and weights.shape == (count,),
            f"path_weights must be float64 of shape ({count},), got {weights.dtype} of shape "
            f"{tuple(weights.shape)}; pass weights= to PathDecomposedLoss.__init__",
        )
        require(
            bool(torch.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0),
            f"path_weights must be finite, not negative and not all zero, got {weights}",
        )

    def test_requested_paths_come_in_the_order_asked(self) -> None:
        """There is a row for each index of a list, tuple or tensor, permuted or repeated."""
        loss, x, y = self._trial()
        count = len(loss.paths)
        every = self._values(loss, x, y, range(count))
        last, middle = count - 1, count // 2
        order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
        requests: list[Indices] = [
            list(range(count))[::-1],
            (last, 0, middle),
            [middle, middle, 0, middle],
            order,
            order[: 1 + middle].int(),
        ]
        for indices in requests:
            rows = [int(index) for index in indices]
            require_close(
                self._values(loss, x, y, indices),
                every[rows],
                self.tolerance,
                f"path_losses(input, target, {_shown(rows)}) must have one row for each index, in "
                "the order asked, also for repeated indices",
                by_row=True,
            )

    def test_paths_asked_together_equal_paths_asked_apart(self) -> None:
        """A path has the same loss whichever other paths are evaluated with it."""
        loss, x, y = self._trial()
        every = self._values(loss, x, y, range(len(loss.paths)))
        for index in _spread(len(loss.paths), 16):
            require_close(
                self._values(loss, x, y, [index])[0],
                every[index],
                self.tolerance,
                f"path {index} asked alone must equal path {index} asked with all others; work "
                "shared between paths must not depend on which are asked for",
            )

    def test_full_loss_is_the_weighted_sum(self) -> None:
        """Calling the loss gives sum_p w_p L_p, reduced over the batch as asked."""
        loss, x, y = self._trial()
        values = self._values(loss, x, y, range(len(loss.paths)))
        weights = loss.path_weights.to(values.device)
        items = (weights[:, None] * values).sum(dim=0)
        reductions: dict[Any, Tensor] = {
            "none": items,
            "sum": items.sum(),
            "mean": items.mean(),
        }
        for reduction, expected in reductions.items():
            require_close(
                loss(x, y, reduction=reduction),
                expected,
                self.tolerance,
                f"loss(input, target, reduction={reduction!r}) must be the sum over paths of "
                "path_weights times path_losses; do not override forward",
            )

    def test_items_of_a_batch_do_not_mix(self) -> None:
        """An item has the same losses alone as in a batch, and they depend on no other item."""
        loss, x, y = self._trial()
        paths = _spread(len(loss.paths), 16)
        x.requires_grad_()
        every = self._values(loss, x, y, paths)
        for item in range(len(x)):
            require_close(
                self._values(loss, x[item : item + 1], y[item : item + 1], paths)[:, 0],
                every[:, item],
                self.tolerance,
                f"item {item} alone must have the path losses that it has in a batch of {len(x)}; "
                "reduce over all dimensions but the batch, and normalise by no statistic of it",
            )
        (slope,) = torch.autograd.grad(every[:, 0].sum(), x)
        leak = float(slope[1:].abs().max())
        require(
            leak <= 1e-12 * float(slope.abs().max()),
            f"the losses of item 0 must not depend on other items, got a gradient of {leak:.3g} "
            "with respect to them",
        )

    def test_groups_keep_the_value(self) -> None:
        """Grouping the paths changes neither the loss nor its gradient."""
        loss, x, y = self._trial()
        x.requires_grad_()
        count = len(loss.paths)
        value, slope = value_and_gradient(loss(x, y, reduction="mean"), x)
        groupings = [[list(range(count))], [[p] for p in reversed(range(count))]]
        if count > 1:
            groupings.append([list(range(1, count, 2)), list(range(0, count, 2))])
        for by in groupings:
            found = value_and_gradient(loss.grouped(by)(x, y, reduction="mean"), x)
            message = f"the loss in {len(by)} groups of paths must keep its"
            require_close(found[0], value, self.tolerance, f"{message} value")
            require_close(found[1], slope, self.tolerance, f"{message} gradient")

    def test_values_and_gradients_are_finite(self) -> None:
        """An ordinary batch gives finite values and gradients in both precisions."""
        for dtype in (torch.float32, torch.float64):
            self._require_finite(*self._trial(dtype), f"on a batch in {dtype}")

    def test_gradients_are_finite_at_equality(self) -> None:
        """Gradients are finite where input and target agree, as those of a perfect model do."""
        if not self.differentiable_at_equality:
            skip("declared not to be differentiable where input equals target")
        for dtype in (torch.float32, torch.float64):
            loss, _, y = self._trial(dtype)
            self._require_finite(loss, y.clone(), y, f"at input == target in {dtype}")

    def test_gradients_are_finite_at_zero(self) -> None:
        """Gradients are finite where the input is zero, and where the target is zero as well."""
        if not self.differentiable_at_zero:
            skip("declared not to be differentiable at zero")
        for dtype in (torch.float32, torch.float64):
            loss, x, y = self._trial(dtype)
            self._require_finite(loss, torch.zeros_like(x), y, f"at a zero input in {dtype}")
            if self.differentiable_at_equality:
                zero = torch.zeros_like(y)
                self._require_finite(loss, torch.zeros_like(x), zero, f"at zero in {dtype}")

    def test_gradients_match_finite_differences(self) -> None:
        """Gradients agree with finite differences along a random direction, path by path."""
        if not self.smooth:
            skip("declared not to be smooth")
        loss, x, y = self._trial()
        paths = _spread(len(loss.paths), 8)
        direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
        direction = direction.to(x.device)
        step = 1e-5 * (float(x.abs().max()) or 1.0)
        with torch.no_grad():
            above, below = (
                self._values(loss, x + sign * step * direction, y, paths).sum(dim=1)
                for sign in (1, -1)
            )
        values = self._values(loss, x.requires_grad_(), y, paths).sum(dim=1)
        for number, path in enumerate(paths):
            value, slope = value_and_gradient(values[number], x)
            expected = float(above[number] - below[number]) / (2 * step)
            found = float((slope * direction).sum())
            typical = float(slope.norm() * direction.norm()) / direction.numel() ** 0.5
            allowed = self.gradient_tolerance * typical + 1e-14 * abs(float(value)) / step
            require(
                abs(found - expected) <= allowed,
                f"the gradient of path {path} must match finite differences along a random "
                f"direction, expected {expected:.8g}, got {found:.8g}; look for detach, "
                "in-place changes and hand-written backward functions",
            )

    def test_precision_follows_the_input(self) -> None:
        """An input in float32 gives losses in float32, which agree with those in float64."""
        values: dict[torch.dtype, Tensor] = {}
        for dtype in (torch.float64, torch.float32):
            loss, x, y = self._trial(dtype)
            values[dtype] = self._values(loss, x, y, range(len(loss.paths)))
            require(
                values[dtype].dtype == dtype,
                f"an input in {dtype} must give path losses in {dtype}, got "
                f"{values[dtype].dtype}; make constants with the dtype of the input, or buffers",
            )
        require_close(
            values[torch.float32],
            values[torch.float64],
            self.single_tolerance,
            "path losses in float32 must agree with those in float64",
            by_row=True,
        )

    def test_memory_layout_does_not_matter(self) -> None:
        """Strided views have the losses of their contiguous copies."""
        loss, x, y = self._trial()
        expected = self._values(loss, x, y, range(len(loss.paths)))
        first, second = (torch.stack([tensor, tensor], dim=-1)[..., 0] for tensor in (x, y))
        require_close(
            self._values(loss, first, second, range(len(loss.paths))),
            expected,
            self.tolerance,
            "non-contiguous tensors must have the losses of contiguous ones; use reshape, not view",
        )

    def test_arguments_are_left_untouched(self) -> None:
        """Input and target are not written to."""
        loss, x, y = self._trial()
        before = x.clone(), y.clone()
        with torch.no_grad():
            self._values(loss, x, y, range(len(loss.paths)))
        for name, now, then in (("input", x, before[0]), ("target", y, before[1])):
            require(same(now, then), f"path_losses must not write to its {name} in place")

    def test_copies_and_pickles_evaluate_alike(self) -> None:
        """Deep copies and pickles, which worker processes get, have the same value."""
        loss, x, y = self._trial()
        expected = loss(x, y)
        for how, twin in (
            ("copy.deepcopy", copy.deepcopy(loss)),
            ("pickle", pickle.loads(pickle.dumps(loss))),
        ):
            require(same(twin(x, y), expected), f"a {how} of the loss must have the same value")

    def test_state_holds_all_that_the_loss_depends_on(self) -> None:
        """Another instance that loads the saved state gives the same value."""
        loss, x, y = self._trial()
        other = self._loss().to(torch.float64)
        other.load_state_dict(through_file(loss.state_dict(), type(loss).__name__))
        require_close(
            other(x, y),
            loss(x, y),
            self.tolerance,
            "a second make_loss() that loads the state_dict of the first must be the same loss; "
            "register what is random or learned as a buffer or parameter",
        )

    def test_estimates_are_unbiased(self) -> None:
        """The mean of estimates over all possible draws is the loss, in value and gradient."""
        loss, x, y = self._trial()
        x.requires_grad_()
        units = loss
        if len(loss.paths) > 32:  # whole groups, so that there are few draws
            groups = [list(range(start, len(loss.paths), 16)) for start in range(16)]
            units = loss.grouped(groups)
        count = len(units.paths)
        ramp = torch.arange(1, count + 1, dtype=torch.float64)
        samplers: list[tuple[Sampler, int]] = [(Importance(ramp / ramp.sum()), 1)]
        if 2 <= count <= 8:
            samplers.append((Uniform(replacement=False), 2))
        expected = value_and_gradient(loss(x, y, reduction="mean"), x)
        for sampler, n_draws in samplers:
            criterion = StochasticLoss(units, sampler, n_draws, generator=0, reduction="mean")
            value, slope = torch.zeros_like(expected[0]), torch.zeros_like(x)
            for indices, probability in sampler.enumerate(n_draws):
                draw = criterion.make_draw(indices)
                estimate = value_and_gradient(criterion.estimate(x, y, draw), x)
                value += probability * estimate[0]
                slope += probability * estimate[1]
            message = (
                f"over all draws of {n_draws} path(s), the expected {{}} must be that of the loss"
            )
            require_close(value, expected[0], self.tolerance, message.format("value"))
            require_close(slope, expected[1], self.tolerance, message.format("gradient"))

    def test_target_norms(self) -> None:
        """Norms that the sampler Energy asks for are finite and >= 0, for each path and item."""
        if not self.differentiable_at_zero:
            skip("declared to have no meaning at zero, from which target norms are measured")
        loss, _, y = self._trial()
        paths = _spread(len(loss.paths), 16)
        norms = loss.target_norms(y.requires_grad_(y.is_floating_point()), paths)
        require(
            norms.shape == (len(paths), len(y)) and not norms.requires_grad,
            f"target_norms must have shape {(len(paths), len(y))} and no gradient, got "
            f"{tuple(norms.shape)}, requires_grad={norms.requires_grad}",
        )
        require_finite(norms, "target_norms must be finite")
        require(bool((norms >= 0).all()), f"target_norms must not be negative, got {norms.min()}")

    def test_reference_values(self) -> None:
        """Path losses equal those of :meth:`reference`."""
        loss, x, y = self._trial()
        expected = self.reference(x, y)
        if expected is None:
            skip("reference(input, target) is not defined")
        require_close(
            self._values(loss, x, y, range(len(loss.paths))),
            expected,
            self.tolerance,
            "path losses must be those of reference(input, target)",
            by_row=True,
        )

    def test_evaluation_is_deterministic(self) -> None:
        """Two evaluations are equal and leave global random state alone."""
        loss, x, y = self._trial()
        with global_randomness_untouched("path_losses"):
            first = self._values(loss, x, y, range(len(loss.paths)))
            second = self._values(loss, x, y, range(len(loss.paths)))
        require(same(first, second), "two evaluations of the same batch must be equal")

    def test_a_gpu_gives_what_the_cpu_gives(self) -> None:
        """Values and gradients equal those on the CPU; skipped without such a device.

        In float64, or in float32 on a device that has nothing wider.
        """
        if not torch.get_device_module(self.accelerator).is_available():
            skip(f"there is no {self.accelerator} device")
        device = torch.device(self.accelerator)
        dtype, tolerance = torch.float64, 1e-6
        if not has_float64(torch.empty(0, device=device)):
            dtype, tolerance = torch.float32, self.single_tolerance
        loss, x, y = self._trial(dtype)
        x.requires_grad_()
        expected = value_and_gradient(loss(x, y, reduction="mean"), x)
        there, goal = x.detach().to(device).requires_grad_(), y.to(device)
        loss = loss.to(device)
        found = value_and_gradient(loss(there, goal, reduction="mean"), there)
        for name, ours, theirs in zip(("value", "gradient"), found, expected, strict=True):
            require(ours.device.type == device.type, f"the {name} must be on the input's device")
            require_close(
                ours.cpu(), theirs, tolerance, f"the {name} on {device} must be that on the CPU"
            )
        indices = torch.arange(len(loss.paths), device=device)
        require_close(
            self._values(loss, there, goal, indices).cpu(),
            self._values(loss, there, goal, indices.tolist()).cpu(),
            tolerance,
            f"indices may be a tensor on {device}",
        )

    def _loss(self) -> PathDecomposedLoss:
        loss: Any = self.make_loss()
        require(
            isinstance(loss, PathDecomposedLoss),
            f"make_loss() must return a PathDecomposedLoss, got {type(loss).__name__}",
        )
        return loss  # type: ignore[no-any-return]

    def _batch(self) -> tuple[Tensor, Tensor]:
        x, y = self.make_batch(torch.Generator().manual_seed(0))
        require(
            len(x) == len(y) >= 2 and x.is_floating_point(),
            "make_batch must return a floating-point input and a target of the same batch size, "
            f"at least 2, got {x.dtype} of shape {tuple(x.shape)} and shape {tuple(y.shape)}",
        )
        return x.detach(), y.detach()

    def _trial(
        self, dtype: torch.dtype = torch.float64
    ) -> tuple[PathDecomposedLoss, Tensor, Tensor]:
        x, y = (_cast(tensor, dtype) for tensor in self._batch())
        return self._loss().to(dtype), x, y

    def _values(
        self, loss: PathDecomposedLoss, input: Tensor, target: Tensor, indices: Indices
    ) -> Tensor:
        """Path losses as the loss returns them, checked for their shape."""
        values: Any = loss.path_losses(input, target, indices)
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        expected = (len(indices), len(input))
        require(
            got == expected,
            f"path_losses must return a tensor of shape (len(indices), batch) = {expected}, got "
            f"{got}",
        )
        return values  # type: ignore[no-any-return]

    def _require_finite(
        self, loss: PathDecomposedLoss, input: Tensor, target: Tensor, where: str
    ) -> None:
        x = input.detach().requires_grad_()
        values = self._values(loss, x, target, range(len(loss.paths)))
        require(
            values.requires_grad,
            "path losses must be differentiable with respect to the input; look for detach, "
            "item and no_grad",
        )
        require_finite(values, f"path losses must be finite {where}")
        slope = value_and_gradient(values.sum(), x)[1]
        require_finite(
            slope,
            f"gradients must be finite {where}; the derivative of a root, a norm or a logarithm "
            "needs care at zero",
        )


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy in a precision; labels and other integers keep their dtype."""
    return tensor.to(dtype, copy=True) if tensor.is_floating_point() else tensor.clone()


def _spread(count: int, most: int) -> list[int]:
    """At most so many indices, evenly spaced from the first to the last."""
    chosen = min(count, most)
    return sorted({round(i * (count - 1) / max(1, chosen - 1)) for i in range(chosen)})


def _shown(indices: Sequence[int]) -> str:
    listed = ", ".join(str(index) for index in indices[:8])
    return f"[{listed}{', ...' if len(indices) > 8 else ''}]"
