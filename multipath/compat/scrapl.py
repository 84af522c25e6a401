"""For users of scrapl-loss: the same constructor and loss values, built from multipath's parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from multipath._internal.compilation import as_written
from multipath._internal.inputs import brief, described, is_whole
from multipath._internal.settings import between, choice, not_negative, positive, seeded
from multipath.errors import ConfigurationError, InputError
from multipath.losses.base import reduce_batch
from multipath.losses.transform import TransformLoss
from multipath.optim import PSAGA, PAdam
from multipath.samplers import Importance, Sampler, Uniform
from multipath.stochastic import StochasticLoss
from multipath.transforms import JTFS
from multipath.transforms._scattering.base import Finish
from multipath.transforms._scattering.layers import FirstLayer

from ._scrapl_hooks import GradientHooks


class SCRAPLLoss(StochasticLoss):
    r"""A :class:`~multipath.StochasticLoss` with the signature and the settings of scrapl-loss 0.1.

    One path p of a joint time-frequency scattering transform is drawn per step, with the loss

    .. math:: L_p(x, y) = \lVert \rho(\phi_p(x)) - \rho(\phi_p(y)) \rVert

    It is neither squared nor multiplied by P, keeps the padding (``unpad=False``) and is averaged
    over batch and channels. Probabilities are not corrected for (``reweight=False``). The values
    are those of scrapl-loss on every path.

    What differs is that the optimizer holds the moments (see :meth:`make_optimizer`), which
    replaces ``attach_params``, and follows the paper where scrapl-loss does not
    (:doc:`/migrating`); that evaluation mode computes the mean over all paths instead of one path;
    and that draws come from ``generator`` instead of a seed for each call.

    **With** ``exact=True`` nothing differs: given the same paths, training takes the steps of
    scrapl-loss 0.1, to rounding. :meth:`attach_params` hooks P-Adam and P-SAGA onto the gradients,
    and any optimizer steps (``torch.optim.SGD`` there). Each forward draws a path, also in
    evaluation mode, from the same random numbers; ``path_idx`` gives one, and ``seed`` draws one
    from that seed. So what is exact has the limits of scrapl-loss, too: one forward and one
    backward for each step, in one process, without mixed precision.

    Args:
        shape: Number of samples of the signals.
        J: Octaves of the temporal filters.
        Q1: Wavelets per octave, first order.
        Q2: Wavelets per octave, second order.
        J_fr: Octaves of the filters along log-frequency.
        Q_fr: Wavelets per octave of the filters along log-frequency.
        T: Temporal averaging in samples, or ``"global"`` for the sum over the padded signal.
            Default 2^J.
        F: Averaging over log-frequency in wavelets, or ``"global"`` for the sum over the padded
            axis, which leaves paths of spin 0 as they are. Default 2^J_fr.
        p: Order of the norm.
        use_rho_log1p: Whether to compress, :math:`\rho(S) = \log(1 + S / \varepsilon)`.
        log1p_eps: The :math:`\varepsilon` of the compression.
        grad_mult: Without P-Adam, :meth:`make_optimizer` multiplies the learning rate by it.
            P-Adam needs no larger gradients here, so that it changes nothing there.
        use_p_adam: Whether :meth:`make_optimizer` returns P-Adam.
        use_p_saga: Whether :meth:`make_optimizer` applies SAGA, with P-Adam or without.
        sample_all_paths_first: Go once through all paths first. Only with ``exact=True``;
            :class:`~multipath.samplers.Reshuffle` goes through them epoch after epoch.
        n_theta: Accepted but not used: it served the warm-up of theta-importance.
        min_prob_frac: Accepted but not used, for the same reason.
        probs_path: File with a tensor of P probabilities. Default: uniform.
        eps: Accepted but not used.
        p_adam_b1: The :math:`\beta_1` of P-Adam.
        p_adam_b2: The :math:`\beta_2` of P-Adam.
        p_adam_eps: The :math:`\varepsilon` of P-Adam.
        generator: Seed or generator of the draws, see :class:`~multipath.StochasticLoss`. With
            ``exact=True``, None is torch's global generator, as in scrapl-loss; its state is then
            saved and restored with that of the loss.
        exact: Whether to step exactly as scrapl-loss does, see above.

    Raises:
        ConfigurationError: If the transform cannot be built, grad_mult is not positive,
            ``sample_all_paths_first`` is set without ``exact``, or an exact P-Adam has neither
            log1p nor a ``grad_mult`` above 1, where squares of gradients underflow.
        InputError: If the file of probabilities holds no tensor.

    Example:
        >>> criterion = SCRAPLLoss(shape=256, J=5, Q1=2, Q2=1, J_fr=2, Q_fr=1, generator=0)
        >>> x, x_target = torch.randn(2, 3, 1, 256)
        >>> model = torch.nn.Linear(256, 256)
        >>> optimizer = criterion.make_optimizer(model.parameters(), lr=1e-4)
        >>> criterion(model(x), x_target).backward()
        >>> optimizer.step()
        >>> criterion(x, x_target, path_idx=8).shape  # one path, outside of training
        torch.Size([])
    """

    def __init__(
        self,
        shape: int,
        J: int,
        Q1: int,
        Q2: int,
        J_fr: int,
        Q_fr: int,
        T: int | str | None = None,
        F: int | str | None = None,
        p: float = 2,
        use_rho_log1p: bool = False,
        log1p_eps: float = 1e-3,
        grad_mult: float = 1e8,
        use_p_adam: bool = True,
        use_p_saga: bool = True,
        sample_all_paths_first: bool = False,
        n_theta: int = 1,
        min_prob_frac: float = 0.0,
        probs_path: str | PathLike[str] | None = None,
        eps: float = 1e-12,
        p_adam_b1: float = 0.9,
        p_adam_b2: float = 0.999,
        p_adam_eps: float = 1e-8,
        *,
        generator: int | torch.Generator | None = None,
        exact: bool = False,
    ) -> None:
        windows: dict[str, Any] = {"T": T, "F": F}
        for name, window in windows.items():
            if isinstance(window, str):
                choice(name, window, "global", other="a whole number")
        if sample_all_paths_first and not exact:
            raise ConfigurationError(
                "sample_all_paths_first needs exact=True; otherwise StochasticLoss(loss, "
                "sampler=Reshuffle()) goes through all paths, epoch after epoch"
            )
        grad_mult, p = positive("grad_mult", grad_mult), positive("p", p)
        if exact and use_p_adam and not use_rho_log1p and grad_mult <= 1:
            raise ConfigurationError(
                f"an exact P-Adam without log1p needs a grad_mult above 1, got {grad_mult}: it "
                "squares gradients, which would underflow"
            )
        kind = _SummedJTFS if isinstance(T, str) or isinstance(F, str) else JTFS
        transform = kind(shape, J, (Q1, Q2), J_fr, Q_fr, **windows, unpad=False)
        loss = TransformLoss(
            transform,
            rho="log1p" if use_rho_log1p else None,
            eps=log1p_eps,
            distance="l2" if p == 2 else partial(_norm, order=p),
        )
        sampler: Sampler = Uniform()
        if probs_path is not None:
            sampler = Importance(_probabilities(probs_path))
        if exact and generator is None:
            generator = torch.default_generator
        super().__init__(loss, sampler, n_draws=1, reweight=False, generator=generator)
        self._adaptive, self._saga = bool(use_p_adam), bool(use_p_saga)
        self._grad_mult = grad_mult
        # here eps stands inside the root; there it is added to the root of larger gradients
        self._betas = (
            between("p_adam_b1", p_adam_b1, 0, 1, "[)"),
            between("p_adam_b2", p_adam_b2, 0, 1, "[)"),
        )
        eps = not_negative("p_adam_eps", p_adam_eps)
        self._eps = (eps / grad_mult) ** 2
        self._all_first = bool(sample_all_paths_first)
        self.hooks: GradientHooks | None = None
        if exact:
            self.hooks = GradientHooks(
                self.n_paths, self._betas, eps, grad_mult, self._adaptive, self._saga
            )

    @property
    def n_paths(self) -> int:
        """The number of paths P."""
        return len(self.loss.paths)

    @property
    def curr_path_idx(self) -> int | None:
        """Index of the path drawn last, None before the first draw."""
        if self.hooks is not None:
            return self.hooks.path
        return None if self.last_draw is None else int(self.last_draw.indices)

    def attach_params(self, params: Iterable[Any]) -> None:
        """Hook P-Adam and P-SAGA onto the gradients of some parameters, with ``exact=True``.

        All moments, the clock and earlier hooks are dropped. Call it before ``load_state_dict``,
        and again for a copy of the loss, which is attached to nothing.

        Args:
            params: The parameters that the loss trains, each once and without those that are
                frozen.

        Raises:
            ConfigurationError: Without ``exact=True``; use :meth:`make_optimizer` there. Or if
                these are no such parameters; then everything stays as it was.
        """
        if self.hooks is None:
            raise ConfigurationError(
                "attach_params needs exact=True: otherwise the optimizer holds the moments; use "
                "criterion.make_optimizer(params, lr, weight_decay) in place of it and of "
                "torch.optim.SGD"
            )
        self.hooks.attach(params)

    def forward(
        self,
        x: Tensor,
        x_target: Any = None,
        seed: int | None = None,
        path_idx: int | None = None,
    ) -> Tensor:
        """The loss of the path drawn, of all paths in evaluation mode, or of the path given.

        Args:
            x: Signals of shape (batch, channels, samples), or any other (..., samples).
            x_target: Target signals of the same shape.
            seed: Draw from this seed, with ``exact=True``; otherwise draws come from
                ``generator``.
            path_idx: Evaluate this path instead of drawing one. With ``exact=True`` it counts as
                drawn. Otherwise a path-wise optimizer cannot step on the result, since there is no
                draw.

        Returns:
            A scalar.

        Raises:
            ConfigurationError: If a seed is given without ``exact=True``.
        """
        if self.hooks is not None:
            return self._exact_forward(self.hooks, x, x_target, seed, path_idx)
        if seed is not None:
            raise ConfigurationError(
                f"seed={seed} is not supported: draws come from a stream of their own, which is "
                "saved and resumed; seed it with SCRAPLLoss(..., generator=seed)"
            )
        if path_idx is None:
            return super().forward(x, x_target)
        return reduce_batch(self.loss.evaluate(x, x_target, [path_idx])[0], self.reduction)

    @as_written
    def _exact_forward(
        self,
        hooks: GradientHooks,
        x: Tensor,
        x_target: Tensor,
        seed: int | None,
        path_idx: int | None,
    ) -> Tensor:
        if path_idx is None:
            generator = self.generator if seed is None else seeded(seed)
            path_idx = hooks.draw(self.sampler.probabilities, generator, self._all_first)
        draw = self.make_draw([path_idx])
        loss = self.estimate(x, x_target, draw)
        hooks.visit(int(draw.indices))
        self.last_draw = draw
        if self.training and hooks.idle and loss.requires_grad:
            self._warn_once(
                "no parameters are attached, so that gradients are those of the loss, without "
                "grad_mult, P-Adam and P-SAGA; call criterion.attach_params(model.parameters())"
            )
        return loss

    def make_optimizer(
        self, params: Iterable[Any], lr: float, weight_decay: float = 0.0
    ) -> Optimizer:
        """Make the optimizer that replaces ``attach_params`` and ``torch.optim.SGD`` together.

        It is :class:`~multipath.optim.PSAGA`, :class:`~multipath.optim.PAdam`, SAGA on gradients,
        or SGD, as ``use_p_adam`` and ``use_p_saga`` say. With ``exact=True`` it is
        ``torch.optim.SGD``, and its parameters are attached.

        Args:
            params: Parameters or parameter groups; with ``exact=True`` none that are frozen.
            lr: Learning rate.
            weight_decay: As in SGD.

        Raises:
            ConfigurationError: If a parameter is frozen, with ``exact=True``.
        """
        if self.hooks is not None:
            plain = torch.optim.SGD(params, lr, weight_decay=weight_decay)
            self.attach_params(p for group in plain.param_groups for p in group["params"])
            return plain
        if self._adaptive:
            kind = PSAGA if self._saga else PAdam
            return kind(params, self, lr, self._betas, self._eps, weight_decay)
        # there, gradients are multiplied but weights are not
        lr, weight_decay = lr * self._grad_mult, weight_decay / self._grad_mult
        if self._saga:
            return PSAGA(params, self, lr, weight_decay=weight_decay, adaptive=False)
        optimizer = torch.optim.SGD(params, lr, weight_decay=weight_decay)
        self.redraw_after(optimizer)
        return optimizer


class _SummedJTFS(JTFS):
    """Where coefficients are averages over everything, the sums that scrapl-loss has instead."""

    def __init__(self, *settings: Any, **named: Any) -> None:
        # what is averaged over all rows is summed here, from the rows, unless its spin is 0
        sums_rows = isinstance(named["F"], str)
        super().__init__(*settings, **{**named, "F": "none" if sums_rows else named["F"]})
        self._sums_rows = sums_rows

    def _averages(
        self, first: FirstLayer, indices: Sequence[int]
    ) -> Iterator[tuple[Tensor, Finish]]:
        for averaged, finish in super()._averages(first, indices):
            yield averaged, partial(self._summed, finish=finish)

    def _summed(self, averaged: Tensor, finish: Finish) -> dict[int, Tensor]:
        return {index: self._sum(index, path) for index, path in finish(averaged).items()}

    def _sum(self, index: int, path: Tensor) -> Tensor:
        metadata = self.paths[index].metadata
        if self._sums_rows and metadata["spin"]:
            path = path.sum(dim=-2, keepdim=True)
        if self.time.T == "global":
            path = path * (self.time.padded >> self.time.levels2[metadata["n2"]])
        return path


def _norm(difference: Tensor, order: float) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(difference.flatten(1), ord=order, dim=1)
    return norm


def _probabilities(file: str | PathLike[str]) -> Tensor:
    try:
        values = torch.load(file, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:
        raise InputError(f"{file} is no file of probabilities: {brief(error)}") from error
    if not isinstance(values, Tensor):
        raise InputError(
            f"{file} must hold a tensor of probabilities, one for each path, got "
            f"{type(values).__name__}"
        )
    if not values.is_floating_point() or not is_whole(values):
        raise InputError(f"{file} must hold real, dense probabilities, got {described(values)}")
    return values
