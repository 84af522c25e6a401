"""What is timed: how each library is constructed and asked for a loss.

Read by both interpreters, so every import of a library is inside the function that needs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Settings = dict[str, Any]

# auraloss's own default, so that both sides compute the same three spectrograms.
RESOLUTIONS: dict[str, Any] = {
    "fft_sizes": (1024, 2048, 512),
    "hop_sizes": (120, 240, 50),
    "win_lengths": (600, 1200, 240),
}


@dataclass(frozen=True)
class Loss:
    """A constructed loss: a scalar from (input, target, path indices), each (batch, samples)."""

    value: Callable[[Tensor, Tensor, Sequence[int] | None], Tensor]
    n_paths: int = 1


@dataclass(frozen=True)
class Subject:
    """A loss that can be timed.

    Args:
        modules: What has to be imported, in this order.
        construct: From settings to a loss.
    """

    modules: tuple[str, ...]
    construct: Callable[[Settings], Loss]

    def load(self) -> None:
        """Import the library, apart from construction, which is timed on its own."""
        for module in self.modules:
            importlib.import_module(module)


class UnavailableError(Exception):
    """This version of a library cannot do what is asked; the contender is left out."""


def _jtfs(settings: Settings) -> Loss:
    from multipath import TransformLoss
    from multipath.transforms import JTFS

    try:
        loss = TransformLoss(JTFS(**settings))
    except TypeError as error:
        if "sampling" not in settings:
            raise
        raise UnavailableError("this version of JTFS has no such mode") from error

    def value(x: Tensor, y: Tensor, indices: Sequence[int] | None) -> Tensor:
        return loss(x, y) if indices is None else loss.path_losses(x, y, indices).sum()

    return Loss(value, n_paths=len(loss.paths))


def _scattering1d(settings: Settings) -> Loss:
    from multipath import TransformLoss
    from multipath.transforms import Scattering1D

    loss = TransformLoss(Scattering1D(**settings))
    return Loss(lambda x, y, indices: loss(x, y), n_paths=len(loss.paths))


def _multi_resolution_stft(settings: Settings) -> Loss:
    """The same two terms as auraloss: spectral convergence and the distance of log magnitudes."""
    import torch

    from multipath.transforms import MultiResolutionSTFT

    transform = MultiResolutionSTFT(**RESOLUTIONS)
    floor = 1e-4  # auraloss clamps powers at 1e-8

    def value(x: Tensor, y: Tensor, indices: Sequence[int] | None) -> Tensor:
        total = torch.zeros(())
        for a, b in zip(transform(x), transform(y), strict=True):
            a, b = a.clamp_min(floor), b.clamp_min(floor)
            total = total + (b - a).norm() / b.norm() + (b.log() - a.log()).abs().mean()
        return total / len(RESOLUTIONS["fft_sizes"])

    return Loss(value, n_paths=len(transform.paths))


def scrapl_loss(settings: Settings) -> Any:
    """The reference's loss, from the arguments of our JTFS."""
    from scrapl import SCRAPLLoss

    arguments = dict(settings)
    first, second = arguments.pop("Q")
    return SCRAPLLoss(shape=arguments.pop("n_samples"), Q1=first, Q2=second, **arguments)


def _scrapl(settings: Settings) -> Loss:
    loss = scrapl_loss(settings)

    def value(x: Tensor, y: Tensor, indices: Sequence[int] | None) -> Tensor:
        if indices is None or len(indices) != 1:
            raise UnavailableError("scrapl-loss takes one path at a time")
        distance: Tensor = loss(x[:, None], y[:, None], path_idx=indices[0])
        return distance

    return Loss(value, n_paths=loss.n_paths)


def _kymatio(settings: Settings) -> tuple[int, Settings]:
    arguments = dict(settings)
    return arguments.pop("n_samples"), arguments


def _kymatio_jtfs(settings: Settings) -> Loss:
    from kymatio.torch import TimeFrequencyScattering

    shape, arguments = _kymatio(settings)
    transform = TimeFrequencyScattering(shape=shape, out_type="array", format="joint", **arguments)
    return Loss(lambda x, y, indices: (transform(x) - transform(y)).square().sum())


def _kymatio_scattering1d(settings: Settings) -> Loss:
    from kymatio.torch import Scattering1D

    shape, arguments = _kymatio(settings)
    transform = Scattering1D(shape=shape, **arguments)
    return Loss(lambda x, y, indices: (transform(x) - transform(y)).square().sum())


def _auraloss(settings: Settings) -> Loss:
    from auraloss.freq import MultiResolutionSTFTLoss

    loss = MultiResolutionSTFTLoss()
    return Loss(lambda x, y, indices: loss(x[:, None], y[:, None]), n_paths=3)


OURS = ("multipath", "multipath.transforms")
VENDORED = ("scrapl", "kymatio.torch")  # kymatio with JTFS is importable after scrapl only

SUBJECTS = {
    "jtfs": Subject(OURS, _jtfs),
    "scattering1d": Subject(OURS, _scattering1d),
    "mrstft": Subject(OURS, _multi_resolution_stft),
    "scrapl": Subject(("scrapl",), _scrapl),
    "kymatio-jtfs": Subject(VENDORED, _kymatio_jtfs),
    "kymatio-scattering1d": Subject(VENDORED, _kymatio_scattering1d),
    "auraloss": Subject(("auraloss.freq",), _auraloss),
}
