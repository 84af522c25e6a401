"""Scattering of long recordings, in tiles over time."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from multipath._internal.inputs import described
from multipath._internal.tracing import is_traced
from multipath.errors import ConfigurationError, InputError
from multipath.paths import check_indices

from ._scattering.time import PADDING, TimeScattering
from ._scattering.wavelets import low_pass
from .base import Transform, check_signal, full_precision, working_dtype
from .jtfs import JTFS
from .scattering1d import Scattering1D

# So many standard deviations from its centre, a Gaussian no longer matters beside the rounding.
REACH = {torch.float32: 5.3, torch.float64: 8.3}
SAMPLES = 2**20  # short tiles are computed together, up to so many samples


class Tiled(Transform):
    r"""A scattering transform of recordings of any length, in tiles over time.

    Memory is that of one tile, beside some numbers for each sample of the recording. Its gradient
    computes each tile again. The coefficients of N samples are those of the same transform made for
    N samples: the recording is continued beyond its own two ends only, and within it every tile
    overlaps its neighbours.

    **How far tiles overlap.** A modulus changes by no more than what it is the modulus of. So a
    sample acts on a coefficient no more than through the convolution of the envelopes of its
    wavelets and its average, which are Gaussians of standard deviations
    :math:`\sigma_t = 1 / (2 \pi \sigma)`. A tile therefore begins and ends

    .. math:: c \max_{n_1, n_2} \sqrt{\sigma_t(n_1)^2 + \sigma_t(n_2)^2 + \sigma_t(T)^2}

    beyond what is kept of it, with c = 5.3 in single precision and 8.3 in double precision: about
    14 and 22 times 2^J for T = 2^J, rounded up to the stride.

    **How equal they are.** Over all paths, coefficients and gradients agree to 1e-6 of their norm
    in float32, and to 1e-12 in float64; a path whose coefficients are small beside the others is
    as exact as it is in the whole transform. Where a recording is silent beside something loud,
    within the overlap, agreement is relative to what is loud. With ``sampling="reduced"``, which
    leaves out more of each filter, coefficients agree to 1e-4.

    Args:
        transform: A :class:`Scattering1D` or a :class:`JTFS`, whose settings are those of a tile:
            of ``n_samples`` samples with their padding, which holds neighbours instead of mirror
            images. Recordings must be at least as long. Larger tiles overlap less and take more
            memory: 64 times 2^J is a good start.

    Attributes:
        paths: Those of the transform.
        tile: Samples of which a tile is computed.
        overlap: At least so many samples of a tile are not kept, at each end, by dtype.

    Raises:
        ConfigurationError: If the transform is no scattering over time, averages over all of the
            signal, or its tiles are not longer than the two overlaps.

    Example:
        >>> import torch
        >>> from multipath.transforms import Scattering1D
        >>> settings = {"J": 5, "Q": (4, 1), "T": 32}
        >>> tiled = Tiled(Scattering1D(n_samples=2048, **settings))
        >>> recording = torch.randn(50_000)
        >>> found = tiled.coefficients(recording, [0, 30])
        >>> expected = Scattering1D(n_samples=50_000, **settings).coefficients(recording, [0, 30])
        >>> all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(found, expected))
        True
    """

    compilable = False

    def __init__(self, transform: Scattering1D | JTFS) -> None:
        if not isinstance(transform, Scattering1D | JTFS):
            raise ConfigurationError(
                f"only Scattering1D and JTFS can be computed in tiles, got {described(transform)}"
            )
        super().__init__(transform.paths)
        time = transform.time
        if time.T == "global":
            raise ConfigurationError(
                'a mean over the whole signal (T="global") cannot be computed in tiles; choose a '
                "window T, and take the mean of the coefficients over time"
            )
        self.tile, self.unpad, self.border = time.padded, time.unpad, time.border
        self.shortest = time.n_samples
        self.overlap = {dtype: _overlap(time, reach) for dtype, reach in REACH.items()}
        self._hop(torch.float32, ConfigurationError)
        self._whole = time.circle
        # one tile is the whole circle of a transform that pads nothing
        self.transform = copy.deepcopy(transform)
        stride = time.stride if time.windowed else None
        place = next(time.buffers()).device
        circle = TimeScattering(
            self.tile, time.J, time.Q, time.T, False, time.sampling, "periodic", stride
        )
        self.transform.time = circle.to(place)
        self.transform.n_samples, self.transform.unpad = self.tile, False

    @full_precision
    def coefficients(self, x: Tensor, indices: Sequence[int] | Tensor) -> list[Tensor]:
        """Coefficients of the chosen paths, as of the transform made for recordings of that length.

        Args:
            x: Recordings, shape (..., N), float32 or float64 (half precision is computed in
                float32).
            indices: Which paths.

        Raises:
            InputError: If the recordings are shorter than the transform of a tile was made for, the
                tiles are too short for double precision, or an index is out of range.
        """
        check_signal(x)
        chosen = check_indices(indices, len(self.paths))
        n_samples = x.shape[-1]
        if n_samples < self.shortest:
            raise InputError(
                f"tiles are for recordings of at least {self.shortest} samples, got {n_samples}; "
                "use a transform made for that length itself"
            )
        signals = x.reshape(-1, n_samples).to(working_dtype(x))
        hop, overlap = self._hop(signals.dtype, InputError), self.overlap[signals.dtype]
        padded = self._whole(n_samples)
        first = (padded - n_samples) // 2 if self.unpad else 0
        last = first + n_samples if self.unpad else padded
        stride = self.transform.time.stride
        start, stop = first // stride * stride, -(-last // stride) * stride
        n_tiles = -(-(stop - start) // hop)
        around = self._around(signals, padded, start - overlap, stop + overlap)
        # what lies beyond the overlap of the last tile does not matter
        around = pad(around, (0, n_tiles * hop + 2 * overlap - around.shape[-1]))
        tiles = [
            tile for row in around.unfold(-1, self.tile, hop).unbind() for tile in row.unbind()
        ]
        parts = zip(*self._computed(tiles, chosen, overlap), strict=True)
        return [
            self._joined(torch.cat(part), n_tiles, hop, range(first - start, last - start)).reshape(
                *x.shape[:-1], *part[0].shape[1:-1], -1
            )
            for part in parts
        ]

    def _computed(
        self, tiles: Sequence[Tensor], indices: list[int], overlap: int
    ) -> list[list[Tensor]]:
        """What is kept of the coefficients of some tiles, some tiles at a time."""

        def kept(*some: Tensor) -> list[Tensor]:
            found = []
            for coefficients in self.transform.coefficients(torch.stack(some), indices):
                margin = overlap * coefficients.shape[-1] // self.tile
                found.append(coefficients[..., margin : coefficients.shape[-1] - margin].clone())
            return found

        size = max(1, SAMPLES // self.tile)
        groups = [tiles[first : first + size] for first in range(0, len(tiles), size)]
        wanted = torch.is_grad_enabled() and tiles[0].requires_grad and not is_traced(tiles[0])
        if not wanted or len(groups) == 1:
            return [kept(*group) for group in groups]
        return [
            checkpoint(kept, *group, use_reentrant=False, preserve_rng_state=False)
            for group in groups
        ]

    def _joined(self, parts: Tensor, n_tiles: int, hop: int, inside: range) -> Tensor:
        """The coefficients of tiles side by side, of which those inside the recording are kept."""
        step = hop // parts.shape[-1]
        side_by_side: Tensor = parts.unflatten(0, (-1, n_tiles)).movedim(1, -2).flatten(-2)
        return side_by_side[..., -(-inside.start // step) : -(-inside.stop // step)]

    def _around(self, x: Tensor, padded: int, start: int, stop: int) -> Tensor:
        """Samples from ``start`` to ``stop`` of recordings with their padding, on a circle."""
        left = (padded - x.shape[-1]) // 2
        right, mode = padded - x.shape[-1] - left, PADDING[self.border]
        if start >= 0 and stop <= padded:
            margins = left - start, stop - left - x.shape[-1]
            return pad(x[:, None], margins, mode=mode)[:, 0]
        circle = pad(x[:, None], (left, right), mode=mode)
        beyond = max(0, -start), max(0, stop - padded)
        return pad(circle, beyond, mode="circular")[:, 0, max(0, start) : beyond[0] + stop]

    def _hop(self, dtype: torch.dtype, error: type[ConfigurationError] | type[InputError]) -> int:
        """Samples from one tile to the next."""
        hop = self.tile - 2 * self.overlap[dtype]
        if hop <= 0:
            raise error(
                f"tiles of {self.tile} samples (n_samples={self.shortest} with its padding) are "
                f"not longer than the {self.overlap[dtype]} samples at each end that only serve "
                f"their neighbours in {str(dtype).removeprefix('torch.')}: make the transform for "
                f"n_samples={_power_above(2 * self.overlap[dtype])} or more, or lower J or T"
            )
        return hop

    def extra_repr(self) -> str:
        """The length of a tile and its overlap in single precision."""
        return (
            f"tile={self.tile}, overlap={self.overlap[torch.float32]}, unpad={self.unpad}, "
            f"border={self.border!r}"
        )


def _overlap(time: TimeScattering, reach: float) -> int:
    """Samples on either side of what is kept of a tile, a multiple of the stride."""
    spreads = [
        math.hypot(
            1 / first.sigma,
            max((1 / second.sigma for second in time.psi2 if first.j < second.j), default=0.0),
            1 / low_pass(time.window).sigma,
        )
        for first in time.psi1
    ]
    samples = reach * max(spreads) / (2 * math.pi)
    return math.ceil(samples / time.stride) * time.stride


def _power_above(number: int) -> int:
    """The smallest power of two that is larger."""
    return 1 << number.bit_length()
