"""What is timed: how each library is constructed and asked for a loss.

Read by every interpreter, so every import of a library is inside the function that needs it. Losses
of sounds are constructed from the arguments of JTFS, of which some take a part only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# those of auraloss by default
RESOLUTIONS: dict[str, Any] = {
    "fft_sizes": (1024, 2048, 512),
    "hop_sizes": (120, 240, 50),
    "win_lengths": (600, 1200, 240),
}


@dataclass(frozen=True)
class Loss:
    """A constructed loss: a scalar from (input, target, path indices), batches of signals."""

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
    construct: Callable[..., Loss]

    def load(self) -> None:
        """Import the library, apart from construction, which is timed on its own."""
        for module in self.modules:
            importlib.import_module(module)


def _jtfs(**settings: Any) -> Loss:
    from multipath import TransformLoss
    from multipath.transforms import JTFS

    loss = TransformLoss(JTFS(**settings))

    def value(x: Tensor, y: Tensor, indices: Sequence[int] | None) -> Tensor:
        return loss(x, y) if indices is None else loss.path_losses(x, y, indices).sum()

    return Loss(value, n_paths=len(loss.paths))


def _scattering1d(n_samples: int, J: int, Q: tuple[int, int], T: int, **_: Any) -> Loss:
    from multipath import TransformLoss
    from multipath.transforms import Scattering1D

    loss = TransformLoss(Scattering1D(n_samples, J=J, Q=Q, T=T))
    return Loss(lambda x, y, indices: loss(x, y), n_paths=len(loss.paths))


def _scattering2d(shape: tuple[int, int], **settings: Any) -> Loss:
    from multipath import TransformLoss
    from multipath.transforms import Scattering2D

    loss = TransformLoss(Scattering2D(shape, **settings))
    return Loss(lambda x, y, indices: loss(x, y), n_paths=len(loss.paths))


def _energy_draws(**settings: Any) -> Loss:
    """As late in training: reduced sampling, and most that is drawn of the targets is known."""
    import torch

    from multipath import StochasticLoss, TargetCache, TransformLoss
    from multipath.transforms import JTFS

    cache = TargetCache(max_bytes=2**30)
    loss = TransformLoss(JTFS(**settings, sampling="reduced"), cache=cache)
    targets = torch.randn(4, settings["n_samples"], generator=torch.Generator().manual_seed(1))
    criterion = StochasticLoss.for_training(loss, targets, n_draws=8, generator=0)

    def value(x: Tensor, y: Tensor, indices: Sequence[int] | None) -> Tensor:
        with cache.keyed(range(len(y))):
            return criterion(x, y)

    return Loss(value, n_paths=len(loss.paths))


def _mss_log(n_samples: int, **_: Any) -> Loss:
    from multipath.applications.losses.multi_scale import mss_log

    loss = mss_log(n_samples=n_samples)
    return Loss(lambda x, y, indices: loss(x, y), n_paths=len(loss.paths))


def scrapl_loss(n_samples: int, Q: tuple[int, int], **settings: Any) -> Any:
    """The reference's loss, from the arguments of our JTFS."""
    from scrapl import SCRAPLLoss

    return SCRAPLLoss(shape=n_samples, Q1=Q[0], Q2=Q[1], **settings)


def _scrapl(**settings: Any) -> Loss:
    loss = scrapl_loss(**settings)

    def value(x: Tensor, y: Tensor, indices: Sequence[int] | None) -> Tensor:
        (path,) = indices  # it takes one at a time
        return loss(x[:, None], y[:, None], path_idx=path)

    return Loss(value, n_paths=loss.n_paths)


def _distance(transform: Callable[[Tensor], Tensor]) -> Loss:
    return Loss(lambda x, y, indices: (transform(x) - transform(y)).square().sum())


def _kymatio_jtfs(n_samples: int, **settings: Any) -> Loss:
    from kymatio.torch import TimeFrequencyScattering

    return _distance(
        TimeFrequencyScattering(shape=n_samples, out_type="array", format="joint", **settings)
    )


def _kymatio_scattering1d(n_samples: int, J: int, Q: tuple[int, int], T: int, **_: Any) -> Loss:
    from kymatio.torch import Scattering1D

    return _distance(Scattering1D(shape=n_samples, J=J, Q=Q, T=T))


def _kymatio_scattering2d(shape: tuple[int, int], J: int, L: int) -> Loss:
    from kymatio.torch import Scattering2D

    return _distance(Scattering2D(J=J, shape=shape, L=L))


def _stft(module: str, **_: Any) -> Loss:
    """The loss of auraloss, or of the module that stands in for it."""
    loss = importlib.import_module(module).MultiResolutionSTFTLoss()
    n_paths = len(RESOLUTIONS["fft_sizes"])
    return Loss(lambda x, y, indices: loss(x[:, None], y[:, None]), n_paths)


LIBRARY = ("multipath", "multipath.transforms")  # all that an older state need have
OURS = ("multipath", "multipath.transforms", "multipath.compat.auraloss.freq")
VENDORED = ("scrapl", "kymatio.torch")  # kymatio with JTFS is importable after scrapl only

SUBJECTS = {
    "jtfs": Subject(OURS, _jtfs),
    "jtfs-reduced": Subject(OURS, partial(_jtfs, sampling="reduced")),
    "scattering1d": Subject(OURS, _scattering1d),
    "scattering2d": Subject(LIBRARY, _scattering2d),
    "energy-draws": Subject(OURS, _energy_draws),
    "mss-log": Subject((*OURS, "multipath.applications.losses.multi_scale"), _mss_log),
    "older-jtfs": Subject(LIBRARY, _jtfs),
    "older-scattering1d": Subject(LIBRARY, _scattering1d),
    "older-scattering2d": Subject(LIBRARY, _scattering2d),
    "mrstft": Subject(OURS, partial(_stft, "multipath.compat.auraloss.freq")),
    "scrapl": Subject(("scrapl",), _scrapl),
    "kymatio-jtfs": Subject(VENDORED, _kymatio_jtfs),
    "kymatio-scattering1d": Subject(VENDORED, _kymatio_scattering1d),
    "kymatio-scattering2d": Subject(VENDORED, _kymatio_scattering2d),
    "auraloss": Subject(("auraloss.freq",), partial(_stft, "auraloss.freq")),
}
