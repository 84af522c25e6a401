r"""Distances between spectrograms: a path is one term at one resolution, and has its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from multipath._internal.printing import listed
from multipath._internal.settings import not_negative, several, switch
from multipath.errors import ConfigurationError, InputError
from multipath.paths import Path, check_indices
from multipath.transforms import MultiResolutionSTFT
from multipath.transforms._numerics.analytic import modulus, norms

from .base import Indices, PathDecomposedLoss, Reduction
from .transform import check_pair


class _Piece(NamedTuple):
    """What a path is: a term of a channel ("" where all are alike) at a resolution."""

    resolution: int
    channel: str
    term: str


class SpectralLoss(PathDecomposedLoss):
    r"""Weighted terms of spectrograms at several resolutions, one path for each pair of both.

    With the magnitudes :math:`X` of the input and :math:`Y` of the target at a resolution, none of
    them smaller than ``floor``, a term is one of

    - ``"convergence"``: :math:`\lVert X - Y \rVert_2 / \lVert Y \rVert_2`, spectral convergence;
    - ``"linear_l1"``, ``"linear_l2"``: mean of :math:`|X - Y|` and of :math:`(X - Y)^2`;
    - ``"linear_norm"``: :math:`\lVert X - Y \rVert_2`;
    - ``"log_l1"``, ``"log_l2"``, ``"log_norm"``: the same of :math:`\log(X + \text{offset})` and
      :math:`\log(Y + \text{offset})`;
    - ``"phase"``: mean of :math:`1 - \cos(\varphi - \psi)` over the bins, :math:`\varphi` and
      :math:`\psi` their phases. It neither jumps where phases wrap nor depends on the scale and the
      weighting of the transform. Bins below ``floor`` count less, down to nothing at silence.

    Norms and means run over the frequencies and frames of one item. The loss is the sum over terms,
    each with its weight, of the mean over resolutions. Any sampler may draw its paths, and
    :attr:`StochasticLoss.last_values <multipath.StochasticLoss>` logs those drawn by name.

    Args:
        transform: The resolutions, with their frequency scale and weighting. Default
            ``MultiResolutionSTFT()``.
        terms: Their names, or their weights by name (:math:`\ge 0`). Default spectral convergence
            and the mean absolute difference of logarithms, each of weight 1.
        floor: Smallest magnitude; what is below counts as equal, without gradient. Default 1e-4,
            80 dB below a sample of 1.
        offset: What is added to magnitudes before the logarithm. Default 0; with an offset of 1,
            logarithms are :math:`\log(1 + X)`.
        mid_side: Compare the sum and the difference of two channels instead of the channels.
            Signals then have shape (..., 2, T), and there is a path for each of both.
        reduction: Over the batch: ``"mean"``, ``"sum"`` or ``"none"``.

    Attributes:
        paths: Keys ``"RESOLUTION/TERM"``, or ``"RESOLUTION/mid/TERM"``; columns ``resolution``,
            ``term``, ``channel`` of mid and side, and those of the transform.

    Raises:
        ConfigurationError: If there is no such term, or a setting is out of range; if logarithms
            are to be taken of magnitudes that may be zero.

    Example:
        >>> loss = SpectralLoss(MultiResolutionSTFT([64, 128]), {"convergence": 1.0, "log_l1": 0.5})
        >>> print(loss.paths.filter(fft_size=64).keys)
        ['fft64-hop16-win64/convergence', 'fft64-hop16-win64/log_l1']
        >>> loss.path_weights
        tensor([0.5000, 0.2500, 0.5000, 0.2500], dtype=torch.float64)
        >>> tone = torch.sin(0.3 * torch.arange(1024.0))[None]
        >>> print(f"{loss(0.5 * tone, tone):.2f}")
        0.72

    Source: Arik, Jun and Diamos, Fast spectrogram inversion, IEEE Signal Processing Letters 2019;
    Yamamoto, Song and Kim, Parallel WaveGAN, ICASSP 2020.
    """

    def __init__(
        self,
        transform: MultiResolutionSTFT | None = None,
        terms: Mapping[str, float] | Sequence[str] = ("convergence", "log_l1"),
        *,
        floor: float = 1e-4,
        offset: float = 0.0,
        mid_side: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        transform = MultiResolutionSTFT() if transform is None else transform
        if not isinstance(transform, MultiResolutionSTFT):
            raise ConfigurationError(
                f"transform must be a MultiResolutionSTFT, got {type(transform).__name__}; "
                "TransformLoss compares the coefficients of any transform"
            )
        weights = _weights(terms)
        floor, offset = not_negative("floor", floor), not_negative("offset", offset)
        if floor + offset == 0 and any(term.startswith("log") for term in weights):
            raise ConfigurationError(
                "the logarithm of a magnitude of 0 is infinite; give a positive floor or offset"
            )
        mid_side = switch("mid_side", mid_side)
        channels = ("mid", "side") if mid_side else ("",)
        self._pieces = [
            _Piece(*piece) for piece in product(range(len(transform.paths)), channels, weights)
        ]
        paths = []
        for index, (resolution, channel, term) in enumerate(self._pieces):
            path = transform.paths[resolution]
            key = "/".join(filter(None, [str(path.key), channel, term]))
            named = {"resolution": path.key, "term": term}
            if channel:
                named["channel"] = channel
            paths.append(Path(index, key, {**named, **path.metadata}, path.cost))
        share = len(transform.paths) * len(channels)
        super().__init__(
            paths,
            weights=[weights[piece.term] / share for piece in self._pieces],
            reduction=reduction,
        )
        self.transform = transform
        self.floor, self.offset, self.mid_side = floor, offset, mid_side
        self.terms = weights

    @property
    def compilable(self) -> bool:
        """Whether the transform is."""
        return self.transform.compilable

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """The chosen terms; each spectrogram that they need is computed once.

        Args:
            input: Signals of shape (..., T), or (..., 2, T) for mid and side; all dimensions before
                that are the batch.
            target: The same shape.
            indices: Which paths.

        Raises:
            InputError: If shapes, dtypes or devices differ, signals are too short, or there are not
                two channels where mid and side are compared.
        """
        pieces = [self._pieces[path] for path in check_indices(indices, len(self.paths))]
        check_pair(input, target)
        channels = {
            channel: (self._signals(input, channel), self._signals(target, channel))
            for channel in dict.fromkeys(piece.channel for piece in pieces)
        }
        found: dict[_Piece, Tensor] = {}
        for resolution, channel in dict.fromkeys(piece[:2] for piece in pieces):
            here = (piece.term for piece in pieces if piece[:2] == (resolution, channel))
            terms = list(dict.fromkeys(here))  # in order: gradients are added up as they come
            for term, value in self._compared(resolution, *channels[channel], terms):
                found[_Piece(resolution, channel, term)] = value
        return torch.stack([found[piece] for piece in pieces])

    def _signals(self, signals: Tensor, channel: str) -> Tensor:
        """Those of a channel, in one batch."""
        if not self.mid_side:
            return signals.reshape(-1, signals.shape[-1])
        if signals.ndim < 2 or signals.shape[-2] != 2:
            raise InputError(
                "mid and side are of two channels: expected signals of shape (..., 2, T), got "
                f"{tuple(signals.shape)}"
            )
        left, right = signals.reshape(-1, 2, signals.shape[-1]).unbind(dim=1)
        return left + right if channel == "mid" else left - right

    def _compared(
        self, resolution: int, x: Tensor, y: Tensor, terms: list[str]
    ) -> Iterator[tuple[str, Tensor]]:
        """Terms of signals (batch, T) at one resolution, shape (batch,) each."""
        if PHASE in terms:
            spectra = (self.transform.spectra(signals, [resolution])[0] for signals in (x, y))
            yield PHASE, self._between_phases(*spectra)
        terms = [term for term in terms if term != PHASE]
        if not terms:
            return
        pair = self.transform.coefficient_pairs(x, y, [resolution])
        ours, theirs = (magnitudes[0].clamp_min(self.floor) for magnitudes in pair)
        differences = {"linear": ours - theirs}
        if any(term.startswith("log") for term in terms):
            differences["log"] = (ours + self.offset).log() - (theirs + self.offset).log()
        for term in terms:
            scale, _, distance = term.partition("_")
            if term == "convergence":
                least = torch.finfo(theirs.dtype).tiny
                size = norms(theirs.flatten(1)).clamp_min(least)
                yield term, norms(differences["linear"].flatten(1)) / size
            else:
                yield term, DISTANCES[distance](differences[scale])

    def _between_phases(self, *spectra: Tensor) -> Tensor:
        """Half the squared distance of directions in the plane: one minus the cosine between."""
        floor = self.floor or torch.finfo(spectra[0].dtype).tiny
        x, y = (planes / modulus(planes).clamp_min(floor)[:, None] for planes in spectra)
        return (x - y).square().sum(dim=1).flatten(1).mean(dim=1) / 2

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        shown = listed(
            terms=self.terms, floor=self.floor, offset=self.offset, mid_side=self.mid_side
        )
        return f"{super().extra_repr()}, {shown}"


DISTANCES: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": lambda difference: difference.abs().flatten(1).mean(dim=1),
    "l2": lambda difference: difference.square().flatten(1).mean(dim=1),
    "norm": lambda difference: norms(difference.flatten(1)),
}
PHASE = "phase"
TERMS = (
    "convergence",
    *(f"{scale}_{distance}" for scale in ("linear", "log") for distance in DISTANCES),
    PHASE,
)


def _weights(terms: Mapping[str, float] | Sequence[str]) -> dict[str, float]:
    """Weights of the terms by name."""
    given = terms if isinstance(terms, Mapping) else dict.fromkeys(several("terms", terms), 1.0)
    for term in given:
        if term not in TERMS:
            raise ConfigurationError(f"terms are {', '.join(TERMS)}, got {term!r}")
    if not given:
        raise ConfigurationError(f"a loss needs at least one of the terms {', '.join(TERMS)}")
    return {term: not_negative(f"the weight of {term}", weight) for term, weight in given.items()}
