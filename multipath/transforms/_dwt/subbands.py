"""Filter-bank trees: what the wavelet transform and wavelet packets have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from numbers import Integral
from typing import Any, TypeAlias, get_args

import numpy as np
import pywt
import torch
from torch import Tensor

from multipath._internal.settings import choice, whole
from multipath.errors import ConfigurationError, InputError
from multipath.paths import Path, check_indices
from multipath.transforms._numerics.filters import FilterBuffers
from multipath.transforms._numerics.rows import take
from multipath.transforms._numerics.settings import DEEPEST
from multipath.transforms.base import Transform, check_signal, full_precision, working_dtype

from .extension import Mode, extend

# A node of the tree: 0 (low) or 1 (high) for every filtering on the way from the signal to it.
# Images are filtered along their rows' index, then along their columns' index, and so on in turn.
Node: TypeAlias = tuple[int, ...]


class Subbands(Transform):
    """Splits the band of signals into halves again and again, along a tree, and keeps the leaves.

    Args:
        paths: The path table, with a path for each leaf.
        leaves: The leaves in the order of the table; no other node may end a branch.
        wavelet: Name of a discrete wavelet of PyWavelets, or a ``pywt.Wavelet``.
        mode: How signals continue beyond their ends.
        signal_ndim: 1 for signals, 2 for images.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        leaves: Sequence[Node],
        wavelet: str | pywt.Wavelet,
        mode: Mode,
        signal_ndim: int,
    ) -> None:
        super().__init__(paths)
        self.wavelet, self.mode, self.signal_ndim = find_wavelet(wavelet), mode, signal_ndim
        self._leaves = tuple(leaves)
        low, high, low_back, high_back = map(np.array, self.wavelet.filter_bank)
        self.filters = FilterBuffers()
        # reversed, since a product with frames of the signal correlates instead of convolving
        self.filters.register_filter("analysis", np.stack([low, high])[:, ::-1])
        # taps[b, :, p] bring band b to the samples of parity p: taps that would meet the zeros
        # between coefficients are left out
        taps = np.stack([low_back, high_back])[:, ::-1].reshape(2, -1, 2)[..., ::-1].copy()
        self.filters.register_filter("synthesis", taps)

    @full_precision
    def coefficients(self, x: Tensor, indices: Sequence[int] | Tensor) -> list[Tensor]:
        """Signed coefficients of the chosen subbands; branches that they share are computed once.

        Args:
            x: Signals, shape (..., T), or images, shape (..., H, W), of any size; float32 or
                float64 (half precision is computed in float32).
            indices: Which paths.

        Raises:
            InputError: If x is no batch of signals, or an index is out of range.
        """
        check_signal(x)
        if x.ndim < self.signal_ndim:
            raise InputError(f"expected images of shape (..., H, W), got {tuple(x.shape)}")
        chosen = check_indices(indices, len(self.paths))
        batch, shape = x.shape[: -self.signal_ndim], x.shape[-self.signal_ndim :]
        bands = self._split(
            x.reshape(-1, 1, *shape).to(working_dtype(x)), {self._leaves[i] for i in chosen}
        )
        values = [bands[self._leaves[i]] for i in chosen]
        return [v.reshape(*batch, *v.shape[1:]) for v in values]

    @full_precision
    def inverse(self, coefficients: Sequence[Tensor], length: int | Sequence[int]) -> Tensor:
        """The signals that have these coefficients.

        Args:
            coefficients: One tensor for each path of the table, as ``transform(x)`` returns them.
            length: T, or (H, W); it does not follow from the number of coefficients.

        Returns:
            Signals of shape (..., T), or images of shape (..., H, W).

        Raises:
            InputError: If there is not one tensor for each path, or a tensor does not have the
                shape that signals of this length give.
        """
        given: Any = length
        shape = (int(given),) if isinstance(given, Integral) else tuple(given)
        if len(shape) != self.signal_ndim or min(shape) < 1:
            raise InputError(f"expected {self.signal_ndim} positive lengths, got {length}")
        if len(coefficients) != len(self.paths):
            raise InputError(
                f"expected coefficients of all {len(self.paths)} paths, got {len(coefficients)}"
            )
        batch = coefficients[0].shape[: -self.signal_ndim]
        for path, leaf, band in zip(self.paths, self._leaves, coefficients, strict=True):
            check_signal(band)
            expected = (*batch, *self._shape(leaf, shape))
            if tuple(band.shape) != expected:
                raise InputError(
                    f"expected coefficients of path {path.key!r} of shape {expected} for signals "
                    f"of length {length}, got {tuple(band.shape)}"
                )
        return self._merge((), dict(zip(self._leaves, coefficients, strict=True)), shape)

    def _split(self, x: Tensor, leaves: set[Node]) -> dict[Node, Tensor]:
        """Bands (batch, ...) of some leaves, from signals (batch, 1, ...), level by level."""
        wanted = {leaf[:depth] for leaf in leaves for depth in range(len(leaf) + 1)}
        analysis = self.filters.derived("analysis", x, partial(self.filters.filter, "analysis"))
        found: dict[Node, Tensor] = {}
        nodes: list[Node] = [()]
        while nodes:
            found.update((node, x[:, row]) for row, node in enumerate(nodes) if node in leaves)
            # nodes of one depth have one shape: those that need the same halves are split together
            rows: dict[tuple[int, ...], list[int]] = {}
            for row, node in enumerate(nodes):
                halves = tuple(half for half in (0, 1) if (*node, half) in wanted)
                if halves:
                    rows.setdefault(halves, []).append(row)
            children, parts = [], []
            for halves, chosen in rows.items():
                parents = x if len(chosen) == len(nodes) else take(x, chosen, dim=1)
                axis = len(nodes[0]) % self.signal_ndim - self.signal_ndim
                bank = analysis[halves[0] : halves[-1] + 1]
                parts.append(self._halves(parents, bank, axis))
                children += [(*nodes[row], half) for row in chosen for half in halves]
            nodes = children
            if parts:
                x = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        return found

    def _halves(self, x: Tensor, bank: Tensor, axis: int) -> Tensor:
        """Halves (batch, nodes * halves, ...) of nodes (batch, nodes, ...), subsampled by two."""
        n_taps = bank.shape[1]
        # a product rather than a convolution, which accelerators compute in reduced precision
        frames = extend(x.movedim(axis, -1), n_taps, self.mode).unfold(-1, n_taps, 2)
        return (frames @ bank.mT).movedim(-1, 2).flatten(1, 2).movedim(-1, axis)

    def _merge(self, node: Node, leaves: dict[Node, Tensor], shape: tuple[int, ...]) -> Tensor:
        """The signal at a node, put together from the leaves below it."""
        if node in leaves:
            return leaves[node]
        halves = torch.stack([self._merge((*node, half), leaves, shape) for half in (0, 1)])
        axis = len(node) % self.signal_ndim - self.signal_ndim
        bands = halves.movedim(axis, -1)
        taps = self.filters.derived("synthesis", bands, partial(self.filters.filter, "synthesis"))
        start = 0
        if self.mode == "periodization":  # coefficients continue periodically, as the signal does
            margin = taps.shape[1]
            around = torch.arange(-margin, bands.shape[-1] + margin, device=bands.device)
            bands = bands.index_select(-1, around % bands.shape[-1])
            start = margin + 1
        low, high = bands.unfold(-1, taps.shape[1], 1)
        samples: Tensor = (low @ taps[0] + high @ taps[1]).flatten(-2)
        return samples.narrow(-1, start, self._shape(node, shape)[axis]).movedim(-1, axis)

    def _shape(self, node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the signal at a node, for signals of a given shape."""
        sizes = list(shape)
        extra = 1 if self.mode == "periodization" else self.wavelet.dec_len - 1
        for depth in range(len(node)):
            axis = depth % self.signal_ndim
            sizes[axis] = (sizes[axis] + extra) // 2
        return tuple(sizes)

    def extra_repr(self) -> str:
        """Settings that ``print`` shows."""
        level = max(path.metadata["level"] for path in self.paths)
        settings = f"{self.wavelet.name!r}, level={level}, mode={self.mode!r}"
        return f"{settings}, signal_ndim={self.signal_ndim}, P={len(self.paths)}"


def find_wavelet(wavelet: str | pywt.Wavelet) -> pywt.Wavelet:
    """The wavelet that a name stands for; a wavelet is returned as it is.

    Raises:
        ConfigurationError: If PyWavelets has no discrete wavelet of this name.
    """
    if isinstance(wavelet, str):
        try:
            wavelet = pywt.Wavelet(wavelet)
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"PyWavelets has no discrete wavelet {wavelet!r}; "
                'pywt.wavelist(kind="discrete") lists them'
            ) from None
    if not isinstance(wavelet, pywt.Wavelet):
        raise ConfigurationError(f"wavelet must be a name or a pywt.Wavelet, got {wavelet!r}")
    return wavelet  # PyWavelets pads its filters to one even length


def check_tree(level: int, mode: str, signal_ndim: int) -> tuple[int, int]:
    """Level and signal_ndim of a wavelet transform, if they and the mode can work.

    Raises:
        ConfigurationError: If a setting is out of range; the message names it.
    """
    level, signal_ndim = whole("level", level), whole("signal_ndim", signal_ndim)
    if not 1 <= level <= DEEPEST:
        raise ConfigurationError(f"level must lie between 1 and {DEEPEST}, got {level}")
    choice("mode", mode, *get_args(Mode))
    if signal_ndim not in (1, 2):
        raise ConfigurationError(f"signal_ndim must be 1 or 2, got {signal_ndim!r}")
    return level, signal_ndim


def octave(band: int, level: int, sample_rate: float) -> tuple[float, float]:
    """Lowest and highest frequency of one of 2^level bands, in the unit of the sample rate."""
    width = sample_rate / 2 ** (level + 1)
    return band * width, (band + 1) * width


def work(leaf: Node) -> float:
    """Cost of a leaf alone: samples filtered on the way to it per sample of the signal."""
    return sum(0.5**depth for depth in range(len(leaf)))
