"""What a transform is: a path table and the coefficients of some of its paths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from multipath._internal.compilation import as_written
from multipath._internal.inputs import check_real
from multipath.errors import InputError
from multipath.jets import JetOrder
from multipath.paths import Path, check_indices, complete_table

Method = TypeVar("Method", bound=Callable[..., Any])


class Transform(nn.Module, ABC):
    """Maps a signal to coefficients, path by path.

    Subclasses call ``super().__init__(paths)`` and define :meth:`coefficients`; wrap them in
    :class:`~multipath.TransformLoss` to get a loss.

    Args:
        paths: The paths, as a number, a table or an iterable of :class:`~multipath.Path`.

    Attributes:
        signal_ndim: How many trailing dimensions make one signal: 1 for sound, 2 for images.
        compilable: Whether ``torch.compile`` can follow the coefficients. Where it is False, as for
            gradients written by hand, a compiled program runs them as they are written.

    Example:
        >>> class Differences(Transform):  # path p: the p-th finite difference
        ...     def coefficients(self, x, indices):
        ...         return [torch.diff(x, n=p).abs() for p in indices]
        >>> Differences(3).coefficients(torch.tensor([1.0, 4.0, 9.0]), [1, 2])
        [tensor([3., 5.]), tensor([2.])]
    """

    signal_ndim: int = 1
    compilable: bool = True

    def __init__(self, paths: int | Iterable[Path]) -> None:
        super().__init__()
        self.paths = complete_table(paths)

    @abstractmethod
    def coefficients(self, x: Tensor, indices: Sequence[int] | Tensor) -> list[Tensor]:
        """Coefficients of the chosen paths; work that they share is done once.

        Args:
            x: Signals of shape (..., T), float32 or float64, any batch shape.
            indices: Which paths.

        Returns:
            One real tensor per path, whose leading dimensions are those of x before T.
        """

    def coefficient_pairs(
        self, x: Tensor, y: Tensor, indices: Sequence[int] | Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Coefficients of two batches of signals, of which y is usually a target.

        A transform that gains from computing both at once overrides this.
        """
        return self.coefficients(x, indices), self.coefficients(y, indices)

    def coefficient_jets(
        self, jets: Tensor, indices: Sequence[int] | Tensor, order: JetOrder
    ) -> list[Tensor]:
        """Coefficients and their derivatives in the parameters behind the signals.

        The base class computes them by ``torch.func``. A transform that is linear but for its
        moduli overrides this, so that it costs one transform for each component.

        Args:
            jets: Signals and their derivatives, see :class:`~multipath.jets.JetOrder`, shape
                (components, batch, T).
            indices: Which paths.
            order: Which derivatives there are.

        Returns:
            One tensor per path, components first.
        """
        chosen = check_indices(indices, len(self.paths))

        def through(index: int) -> Tensor:
            return order.through(lambda x: self.coefficients(x[0], [index])[0], [jets])

        return [through(index) for index in chosen]

    def prepare(self, x: Tensor) -> list[Tensor]:
        """What the paths of some signals share, to be kept for signals that will come again.

        The base class keeps the coefficients of all paths; a transform whose paths share expensive
        work overrides this to keep the result of that work.

        Args:
            x: Signals, shape (batch, T).

        Returns:
            Tensors with the batch first, for :meth:`finish`.
        """
        return self.coefficients(x, range(len(self.paths)))

    def finish(self, prepared: Sequence[Tensor], indices: Sequence[int] | Tensor) -> list[Tensor]:
        """:meth:`coefficients` of signals from what :meth:`prepare` kept, without gradient."""
        return [prepared[index] for index in check_indices(indices, len(self.paths))]

    def forward(self, x: Tensor, *others: Any) -> list[Tensor]:
        """Coefficients of all paths.

        Raises:
            InputError: If more than the signals is given, as to a loss.
        """
        if others:
            raise InputError("a transform is no loss: wrap it, TransformLoss(transform)(x, y)")
        return self.coefficients(x, range(len(self.paths)))


def full_precision(method: Method) -> Method:
    """Keep autocast out of a method of a transform, and ``torch.compile`` if it cannot follow.

    Half precision would cost FFTs and long sums their accuracy.
    """

    @wraps(method)
    def in_full_precision(self: Any, x: Any, *arguments: Any, **named: Any) -> Any:
        first = x[0] if isinstance(x, list | tuple) and x else x
        device = first.device.type if isinstance(first, Tensor) else "cpu"
        with without_autocast(device):
            return method(self, x, *arguments, **named)

    left_alone = as_written(in_full_precision)

    @wraps(method)
    def called(self: Any, *arguments: Any, **named: Any) -> Any:
        chosen = in_full_precision if self.compilable else left_alone
        return chosen(self, *arguments, **named)

    return cast(Method, called)


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Autocast switched off for a type of device, if it has any."""
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def check_signal(x: Tensor, n_samples: int | None = None) -> None:
    """Refuse what is not a batch of real floating-point signals of the right length.

    Args:
        x: The signals.
        n_samples: Their length, or None to allow any.

    Raises:
        InputError: If they are not; the message says what was expected and what came.
    """
    check_real(x)
    if n_samples is not None and x.shape[-1] != n_samples:
        raise InputError(
            f"expected signals of {n_samples} samples, got {x.shape[-1]} in shape "
            f"{tuple(x.shape)}; pad or cut them, or make a transform for that length"
        )


def working_dtype(x: Tensor) -> torch.dtype:
    """The dtype to compute in: float32 for half precision, which FFTs lack, else that of x."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
