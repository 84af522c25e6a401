"""For users of scrapl-loss: the same constructor and loss values, built from multipath's parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from multipath._internal.inputs import brief, described, is_whole
from multipath._internal.settings import choice, not_negative, positive
from multipath.errors import ConfigurationError, InputError
from multipath.losses.base import reduce_batch
from multipath.losses.transform import TransformLoss
from multipath.optim import PSAGA, PAdam
from multipath.samplers import Importance, Sampler, Uniform
from multipath.stochastic import StochasticLoss
from multipath.transforms import JTFS
from multipath.transforms._scattering.base import Finish
from multipath.transforms._scattering.time import FirstLayer


class SCRAPLLoss(StochasticLoss):
    r"""A :class:`~multipath.StochasticLoss` with the signature and the settings of scrapl-loss 0.1.

    One path p of a joint time-frequency scattering transform is drawn per step, with the loss

    .. math:: L_p(x, y) = \lVert \rho(\phi_p(x)) - \rho(\phi_p(y)) \rVert

    It is neither squared nor multiplied by P, keeps the padding (``unpad=False``) and is averaged
    over batch and channels. Probabilities are not corrected for (``reweight=False``). The values
    are those of scrapl-loss on every path.

    What differs is that the optimizer holds the moments (see :meth:`make_optimizer`), which
    replaces ``attach_params``; that evaluation mode computes the mean over all paths instead of one
    path; and that draws come from ``generator`` instead of a seed for each call.

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
        sample_all_paths_first: Not supported; :class:`~multipath.samplers.Reshuffle` goes through
            all paths, epoch after epoch.
        n_theta: Accepted but not used: it served the warm-up of theta-importance.
        min_prob_frac: Accepted but not used, for the same reason.
        probs_path: File with a tensor of P probabilities. Default: uniform.
        eps: Accepted but not used.
        p_adam_b1: The :math:`\beta_1` of P-Adam.
        p_adam_b2: The :math:`\beta_2` of P-Adam.
        p_adam_eps: The :math:`\varepsilon` of P-Adam.
        generator: Seed or generator of the draws, see :class:`~multipath.StochasticLoss`.

    Raises:
        ConfigurationError: If the transform cannot be built, grad_mult is not positive, or
            ``sample_all_paths_first`` is set.
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
    ) -> None:
        windows: dict[str, Any] = {"T": T, "F": F}
        for name, window in windows.items():
            if isinstance(window, str):
                choice(name, window, "global", other="a whole number")
        if sample_all_paths_first:
            raise ConfigurationError(
                "sample_all_paths_first is not supported; StochasticLoss(loss, "
                "sampler=Reshuffle()) goes through all paths, epoch after epoch"
            )
        grad_mult, p = positive("grad_mult", grad_mult), positive("p", p)
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
        super().__init__(loss, sampler, n_draws=1, reweight=False, generator=generator)
        self._adaptive, self._saga = use_p_adam, use_p_saga
        self._grad_mult = grad_mult
        # here eps stands inside the root; there it is added to the root of larger gradients
        self._betas = p_adam_b1, p_adam_b2
        self._eps = (not_negative("p_adam_eps", p_adam_eps) / grad_mult) ** 2

    @property
    def n_paths(self) -> int:
        """The number of paths P."""
        return len(self.loss.paths)

    @property
    def curr_path_idx(self) -> int | None:
        """Index of the path drawn last, None before the first draw."""
        return None if self.last_draw is None else int(self.last_draw.indices)

    def attach_params(self, params: Iterable[Any]) -> None:
        """Not supported.

        Raises:
            ConfigurationError: Always; use :meth:`make_optimizer` instead.
        """
        raise ConfigurationError(
            "attach_params is not supported: the optimizer holds the moments; use "
            "criterion.make_optimizer(params, lr, weight_decay) in place of it and of "
            "torch.optim.SGD"
        )

    def forward(
        self,
        x: Tensor,
        x_target: Tensor,
        seed: int | None = None,
        path_idx: int | None = None,
    ) -> Tensor:
        """The loss of the path drawn, of all paths in evaluation mode, or of the path given.

        Args:
            x: Signals of shape (batch, channels, samples), or any other (..., samples).
            x_target: Target signals of the same shape.
            seed: Not supported; draws come from ``generator``.
            path_idx: Evaluate this path instead of drawing one. A path-wise optimizer cannot step
                on the result, since there is no draw.

        Returns:
            A scalar.

        Raises:
            ConfigurationError: If a seed is given.
        """
        if seed is not None:
            raise ConfigurationError(
                f"seed={seed} is not supported: draws come from a stream of their own, which is "
                "saved and resumed; seed it with SCRAPLLoss(..., generator=seed)"
            )
        if path_idx is None:
            return super().forward(x, x_target)
        return reduce_batch(self.loss.evaluate(x, x_target, [path_idx])[0], self.reduction)

    def make_optimizer(
        self, params: Iterable[Any], lr: float, weight_decay: float = 0.0
    ) -> Optimizer:
        """Make the optimizer that replaces ``attach_params`` and ``torch.optim.SGD`` together.

        It is :class:`~multipath.optim.PSAGA`, :class:`~multipath.optim.PAdam`, SAGA on gradients,
        or SGD, as ``use_p_adam`` and ``use_p_saga`` say.

        Args:
            params: Parameters or parameter groups.
            lr: Learning rate.
            weight_decay: As in SGD.
        """
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
