"""Compare two recordings: the full path-decomposed distance, and the paths it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log2
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from multipath import Path, PathTable
from multipath._internal.tables import html_table
from multipath.applications.audio.files import check_waveform
from multipath.errors import InputError
from multipath.transforms import JTFS, MultiResolutionSTFT, Scattering1D, Transform

from .heard import Heard, measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "LEVELS",
    "TRANSFORMS",
    "Comparison",
    "Contribution",
    "check_length",
    "compare",
    "default_octaves",
    "default_transform",
    "plot",
]

MIN_SAMPLES = 256  # room for four octaves of wavelets
MOST_ROWS = 10
"""Paths that a notebook shows."""


@dataclass(frozen=True)
class Contribution:
    """What one path adds to a distance.

    Attributes:
        path: The path, with its rate, scale, spin or resolution in ``path.metadata``.
        loss: The distance L_p on the path.
        share: Its share in the sum over all paths, in [0, 1].
    """

    path: Path
    loss: float
    share: float


@dataclass(frozen=True)
class Comparison:
    """The distance between two recordings and where it comes from.

    Attributes:
        distance: L, the mean over paths of L_p.
        relative: sqrt(L(a, b) / (L(a, 0) + L(b, 0))), in [0, 1]: 0 for equal recordings, 1 for
            recordings with no coefficient in common.
        path_losses: L_p of every path, in the order of ``paths``.
        paths: The path table of the transform.
        settings: Transform, its sizes, sample rate (Hz) and length (samples).
        notes: What was done to the recordings before they were compared.
    """

    distance: float
    relative: float
    path_losses: tuple[float, ...]
    paths: PathTable
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def contributions(self, count: int | None = None) -> list[Contribution]:
        """Return the paths that contribute most, largest first; all of them without ``count``."""
        total = sum(self.path_losses) or 1.0
        ranked = sorted(
            (
                Contribution(path, loss, loss / total)
                for path, loss in zip(self.paths, self.path_losses, strict=True)
            ),
            key=lambda contribution: -contribution.loss,
        )
        return ranked[:count]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, fit for JSON; paths are sorted by contribution."""
        return {
            "distance": self.distance,
            "relative": self.relative,
            "settings": dict(self.settings),
            "notes": list(self.notes),
            "paths": [
                {
                    "index": item.path.index,
                    "key": item.path.key,
                    "loss": item.loss,
                    "share": item.share,
                    **item.path.metadata,
                }
                for item in self.contributions()
            ],
        }

    def _repr_html_(self) -> str:
        """The paths that contribute most, in notebooks."""
        columns = self.paths.columns
        rows = [["path", *columns, "distance", "share"]]
        for item in self.contributions(MOST_ROWS):
            values = [item.path.metadata.get(name, "-") for name in columns]
            cells = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
            share = f"{100 * item.share:.2f} %"
            rows.append([str(item.path.key), *cells, f"{item.loss:.4g}", share])
        found = f"distance {self.distance:.4g}, relative {100 * self.relative:.1f} %"
        shown = f"{len(rows) - 1} of {len(self.paths)} paths"
        return html_table(rows, f"{found}; the {shown} that contribute most")


def compare(
    a: Tensor,
    b: Tensor,
    sample_rate: float,
    transform: str | Transform = "jtfs",
    level: str = "rms",
) -> Comparison:
    r"""Compute the path-decomposed distance between two recordings.

    .. math:: L(a, b) = \frac{1}{P} \sum_p L_p(a, b), \qquad
        L_p = P \lVert \rho(\phi_p(a)) - \rho(\phi_p(b)) \rVert_2^2, \qquad
        \rho(S) = \log(1 + S / 10^{-3})

    The shorter recording is followed by silence until both have the same length. Nothing is aligned
    beyond what the averaging of the transform forgives: cut what comes before the sound.

    Args:
        a: Samples of shape (T,).
        b: Samples of shape (T',).
        sample_rate: Sample rate of both, in Hz.
        transform: One of ``TRANSFORMS`` with the settings of :func:`default_transform`, or a
            transform made for max(T, T') samples. Order 0 of a scattering transform, the mean, is
            not heard and is left out.
        level: How loudness is made equal first, one of ``LEVELS``.

    Returns:
        The distance, its parts, and what was done to the recordings.

    Raises:
        InputError: If a recording is not a mono waveform, is silent, holds NaN or infinite samples
            or is too short for the transform, or if the transform or level is unknown.

    Example:
        >>> t = torch.arange(2048) / 2048
        >>> slow = torch.sin(2 * torch.pi * 300 * t) * (1 + torch.sin(2 * torch.pi * 20 * t))
        >>> fast = torch.sin(2 * torch.pi * 300 * t) * (1 + torch.sin(2 * torch.pi * 80 * t))
        >>> comparison = compare(slow, fast, sample_rate=2048)
        >>> print(f"{comparison.distance:.0f}, {100 * comparison.relative:.0f} %")
        4102, 93 %
        >>> for item in comparison.contributions(2):
        ...     print(f"{item.path.metadata['rate']:.0f} Hz: {100 * item.share:.1f} %")
        22 Hz: 3.7 %
        22 Hz: 3.7 %

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), equation 3, with the compression of its TR-808
    experiments.
    """
    if level not in LEVELS:
        raise InputError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    if not sample_rate > 0:
        raise InputError(f"a sample rate must be positive, got {sample_rate}")
    recordings = [_check_mono(waveform, name) for waveform, name in ((a, "a"), (b, "b"))]
    lengths = [len(recording) for recording in recordings]
    check_length(min(lengths), transform if isinstance(transform, str) else "comparing")
    n_samples = max(lengths)
    notes = []
    if lengths[0] != lengths[1]:
        missing = (n_samples - min(lengths)) / sample_rate
        notes.append(f"{'ab'[lengths[0] > lengths[1]]} is followed by {missing:.3g} s of silence")
    if isinstance(transform, str):
        name, transform = transform, default_transform(transform, n_samples, sample_rate)
    else:
        name = type(transform).__name__
    pair = torch.stack([pad(x, (0, n_samples - len(x))) for x in recordings])
    heard = Heard(transform)
    with torch.no_grad():
        found = heard(LEVELS[level](pair))  # both in one batch
    losses, relative = measure([x[0] for x in found], [x[1] for x in found])
    return Comparison(
        distance=float(losses.mean()),
        relative=relative,
        path_losses=tuple(losses.tolist()),
        paths=heard.audible,
        settings={
            "transform": name,
            "level": level,
            "sample_rate": sample_rate,
            "n_samples": n_samples,
            "n_paths": len(heard.paths),
        },
        notes=tuple(notes),
    )


def default_transform(name: str, n_samples: int, sample_rate: float) -> Transform:
    """Make a transform that suits recordings of some length and sample rate.

    One second at 44.1 kHz gets the published setting for drums: J=12, Q=(8, 2), J_fr=5, Q_fr=2,
    T=2048, F=1. J follows the sample rate, so that the wavelets span the same time (2^J samples are
    about 93 ms), and is at most log2(n_samples) - 3; T = 2^(J - 1).

    Args:
        name: One of ``TRANSFORMS``.
        n_samples: Length of the recordings in samples.
        sample_rate: Sample rate in Hz.

    Raises:
        InputError: If the name is unknown or the recordings are too short.

    Example:
        >>> transform = default_transform("jtfs", n_samples=4096, sample_rate=44100)
        >>> len(transform.paths), f"{min(transform.paths.column('rate')):.1f} Hz"
        (345, '21.3 Hz')
    """
    if name not in TRANSFORMS:
        raise InputError(f"transform must be one of {', '.join(TRANSFORMS)}, got {name!r}")
    check_length(n_samples, name)
    return TRANSFORMS[name](n_samples, sample_rate)


def plot(comparison: Comparison, file: str | FilePath | None = None) -> Figure:
    """Plot where a distance comes from, as :func:`~multipath.diagnostics.plot_path_values` does.

    Args:
        comparison: What :func:`compare` returned.
        file: File to write, e.g. ``difference.png``, if any.

    Returns:
        The plot, which a notebook shows.

    Raises:
        InputError: If there is no such folder or format.
        OSError: If the file cannot be written.
    """
    from .plot import write_path_values  # matplotlib is slow to import

    title = (
        f"{comparison.settings['transform']}: distance {comparison.distance:.4g}, "
        f"relative {100 * comparison.relative:.1f} %"
    )
    return write_path_values(comparison.paths, comparison.path_losses, "distance", title, file)


def check_length(n_samples: int, purpose: str) -> None:
    """Refuse recordings too short for any default transform.

    Raises:
        InputError: If there are fewer than ``MIN_SAMPLES`` samples.
    """
    if n_samples < MIN_SAMPLES:
        raise InputError(
            f"a recording of {n_samples} samples is too short for {purpose}: at least "
            f"{MIN_SAMPLES} are needed"
        )


def _check_mono(waveform: Tensor, name: str) -> Tensor:
    """Check a waveform; integers become float32."""
    waveform = torch.as_tensor(waveform)
    if waveform.ndim != 1 or not waveform.numel():
        raise InputError(
            f"{name}: expected a mono waveform of shape (T,), got shape {tuple(waveform.shape)}"
        )
    if not waveform.is_floating_point():
        waveform = waveform.float()
    check_waveform(waveform, name)
    return waveform


def default_octaves(n_samples: int, sample_rate: float) -> int:
    """Compute J of the transforms that :func:`default_transform` makes."""
    same_time = 12 + round(log2(sample_rate / 44100))
    return max(4, min(same_time, int(log2(n_samples)) - 3))


def _jtfs(n_samples: int, sample_rate: float) -> Transform:
    J, Q1 = default_octaves(n_samples, sample_rate), 8
    J_fr = min(5, int(log2(J * Q1)) - 1)
    return JTFS(n_samples, J, (Q1, 2), J_fr, Q_fr=2, T=2 ** (J - 1), F=1, sample_rate=sample_rate)


def _scattering1d(n_samples: int, sample_rate: float) -> Transform:
    J = default_octaves(n_samples, sample_rate)
    return Scattering1D(n_samples, J, (8, 2), T=2 ** (J - 1), sample_rate=sample_rate)


def _mrstft(n_samples: int, sample_rate: float) -> Transform:
    sizes = [size for size in (256, 512, 1024, 2048, 4096) if size <= n_samples]
    return MultiResolutionSTFT(sizes, sample_rate=sample_rate)


TRANSFORMS: Mapping[str, Callable[[int, float], Transform]] = {
    "jtfs": _jtfs,
    "scattering1d": _scattering1d,
    "mrstft": _mrstft,
}
"""Transforms that :func:`compare` knows by name, made from length and sample rate (Hz)."""

LEVELS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "rms": lambda pair: 0.1 * pair / pair.square().mean(dim=1, keepdim=True).sqrt(),
    "peak": lambda pair: pair / pair.abs().amax(dim=1, keepdim=True),
    "none": lambda pair: pair,
}
"""How loudness can be made equal: ``"rms"`` scales both recordings to the same energy (a root mean
square of 0.1 over their common length), ``"peak"`` to a largest sample of 1, ``"none"`` compares
them as they are."""
