"""Joint time-frequency scattering."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from multipath._internal.settings import MOST, affordable, positive, several, whole
from multipath.errors import ConfigurationError
from multipath.paths import Path, priced_paths

from ._numerics.analytic import modulus
from ._numerics.settings import (
    Window,
    check_octaves_given,
    log2_stride,
    octaves,
    suggested,
    wavelets_per_octave,
    window,
)
from ._numerics.tiles import tile_size
from ._scattering.base import Finish, Scattering
from ._scattering.frequency import FrequencyBatch, FrequencyFilters
from ._scattering.layers import FirstLayer, Request
from ._scattering.modulus_jets import modulus_jets
from ._scattering.time import TimeScattering
from ._scattering.wavelets import Wavelet, low_pass, wavelet_bank


class JTFS(Scattering):
    r"""Joint time-frequency scattering: how a sound's spectrum moves, at many rates and scales.

    With :math:`U_1(t, \lambda) = |x * \psi_\lambda|(t)` over log-frequency :math:`\lambda`
    (J octaves, Q1 wavelets each), path (n2, n_fr) is

    .. math:: \phi_{n_2, n_{fr}}(x) = \big| U_1 *_t \psi_{n_2} *_\lambda \psi_{n_{fr}} \big|
        *_t \varphi_T *_\lambda \varphi_F

    where :math:`\psi_{n_2}` selects a *rate* (temporal modulation, Hz) and
    :math:`\psi_{n_{fr}}` a *scale* (modulation along log-frequency, cycles/octave) with a *spin*:
    +1 for patterns that rise in frequency, -1 for those that fall, 0 for the low-pass
    :math:`n_{fr} = 0`, which is not averaged by :math:`\varphi_F` again. The convolution over
    :math:`\lambda` runs over the wavelets with :math:`j_1 < j_2`, padded with zeros.

    Signals are mirrored at both ends. Coefficients of a path have shape
    (..., log-frequency, time), with one sample in :math:`2^{\lfloor\log_2 F\rfloor}` wavelets and
    one frame in :math:`2^{\lfloor\log_2 T\rfloor}` samples. Conventions are those of
    ``TimeFrequencyScattering`` in kymatio 0.4 (``out_type="array", format="joint"``).

    The lower orders are paths too, if ``orders`` says so: order 0 is the signal averaged over T,
    shape (..., time), and order 1 the spectrum of each frame,
    :math:`|(U_1 *_t \varphi_T) *_\lambda \psi_{n_{fr}}| *_\lambda \varphi_F`, which moves at no
    rate and hence has no spin.

    With ``T="none"`` nothing is averaged over time: a path of order 2 is its modulus at one sample
    in :math:`2^{j_2}`, while order 1, whose rows have different rates, stays averaged over 2^J
    samples. With ``T="global"`` a path is the mean of that over the signal, one frame. Likewise
    with ``F="none"`` a path has one row in :math:`2^{j_{fr}}` wavelets, and with ``F="global"`` the
    mean of that over the padded axis, one row.

    Args:
        n_samples: Length of the signals in samples.
        J: Octaves of the temporal filter banks; the slowest wavelet spans 2^J samples. Required;
            :meth:`suggest` chooses it, and the other settings, for you.
        Q: Wavelets per octave of the first and second temporal filter bank; an int means (Q, 1).
        J_fr: Octaves of the filter bank over log-frequency.
        Q_fr: Wavelets per octave of the filter bank over log-frequency.
        T: Temporal averaging in samples, ``"global"`` or ``"none"``. Default 2^J.
        F: Averaging over log-frequency in wavelets (F / Q1 octaves), ``"global"`` or ``"none"``.
            Default 2^J_fr.
        unpad: Drop the frames of the padded ends, as kymatio does. With ``unpad=False``, as in
            scrapl-loss, about half of the frames come from the mirror image, in which rising and
            falling patterns change places, so spins can no longer be told apart.
        sampling: ``"exact"`` keeps every wavelet's output at the sampling rate that kymatio gives
            it, so that coefficients agree to float32 accuracy. ``"reduced"`` keeps half of the
            samples, still more than the bandwidth of each wavelet. On noise, chirps and drums,
            coefficients then differ by up to 6e-4 of their norm in the median over paths, and by up
            to 1e-2 in the worst path above a thousandth of the loudest; their gradients differ by
            1e-2 and 2e-1: see ``benchmarks/sampling.py``. With ``T="none"`` paths then have fewer
            samples.
        sample_rate: Sample rate in Hz, only used to express rates in the path table. Default 1.0
            (cycles/sample).
        orders: Which orders are paths, of 0, 1 and 2. The second is always one.
        stride: Samples between frames, a power of two. Default: the largest up to T.
        stride_fr: Wavelets between rows, a power of two. Default: the largest up to F.
        border: How signals go on beyond their ends: ``"reflect"``, ``"periodic"`` or ``"zero"``,
            see :class:`Scattering1D`.

    Attributes:
        paths: Columns ``rate`` (Hz), ``scale`` (cycles/octave), ``spin``, ``order``, ``n2``,
            ``n_fr``; rates n2 in the outer loop, n_fr in the inner. Keys ``(n2, n_fr)``; lower
            orders come first, with keys ``()`` and ``(n_fr,)``.

    Raises:
        ConfigurationError: If a setting is out of range, or the signal too short for J or T.

    Example:
        >>> import torch
        >>> transform = JTFS(n_samples=4096, J=8, Q=(8, 1), J_fr=3, Q_fr=1, T=512, F=8,
        ...                  sample_rate=2048.0)
        >>> len(transform.paths)
        54
        >>> print(transform.paths.filter(spin=1, rate=(20, 40)))
        index  key      rate   scale  spin  order  n2  n_fr   cost
           19  (5, 1)  22.4    2.8     1      2   5     1  1.065
           20  (5, 2)  22.4    1.4     1      2   5     2  1.065
           21  (5, 3)  22.4    0.7     1      2   5     3  1.065
           22  (5, 4)  22.4   0.35     1      2   5     4  1.065
        >>> x = torch.sin(0.1 * torch.arange(4096.0)).expand(2, 4096)
        >>> [tuple(c.shape) for c in transform.coefficients(x, [0, 40])]
        [(2, 17, 8), (2, 17, 8)]

    Source: Andén, Lostanlen and Mallat, Joint time-frequency scattering, IEEE Transactions on
    Signal Processing 67(14), 2019.
    """

    def __init__(
        self,
        n_samples: int,
        J: int | None = None,
        Q: int | tuple[int, int] = (8, 2),
        J_fr: int = 3,
        Q_fr: int = 2,
        T: Window | None = None,
        F: Window | None = None,
        unpad: bool = True,
        sampling: Literal["exact", "reduced"] = "exact",
        sample_rate: float = 1.0,
        orders: Sequence[int] = (2,),
        stride: int | None = None,
        stride_fr: int | None = None,
        border: Literal["reflect", "periodic", "zero"] = "reflect",
    ) -> None:
        check_octaves_given(J, type(self), n_samples)
        J, J_fr, Q_fr = octaves("J", J), octaves("J_fr", J_fr), whole("Q_fr", Q_fr)
        Q, sample_rate = wavelets_per_octave(Q), positive("sample_rate", sample_rate, "Hz")
        time = TimeScattering(n_samples, J, Q, T, unpad, sampling, border, stride)
        F, orders = window("F", F, 2**J_fr), _check_orders(orders)
        n_first = (J + 1) * Q[0]
        if J_fr < 1 or Q_fr < 1 or not (isinstance(F, str) or 1 <= F <= n_first):
            raise ConfigurationError(
                f"J_fr and Q_fr must be at least 1 and F between 1 and (J + 1) * Q1 = {n_first}, "
                f"got J_fr={J_fr}, Q_fr={Q_fr}, F={F}"
            )
        affordable("paths", (J * Q[1] + 1) * (2 * J_fr * Q_fr + 1), MOST)
        affordable("numbers in filters over log-frequency", (J_fr * Q_fr + 1) * (n_first + 2**J_fr))
        # room for the averaging to fade out, and divisible by every subsampling factor
        widest = 2**J_fr if isinstance(F, str) else min(F, 2**J_fr)
        padded_fr = (n_first + 8 * widest) // 2**J_fr * 2**J_fr
        log2_stride_fr = log2_stride("stride_fr", stride_fr, "F", F, 2**J_fr, n_first)
        if stride_fr is not None and padded_fr % 2**log2_stride_fr:
            raise ConfigurationError(
                f"stride_fr must divide the {padded_fr} rows that the {len(time.psi1)} first-order "
                f"wavelets are padded to: use {padded_fr & -padded_fr} or less, or a larger J_fr; "
                f"got {2**log2_stride_fr}"
            )
        if padded_fr % 2**log2_stride_fr or padded_fr < len(time.psi1):
            raise ConfigurationError(
                f"J_fr={J_fr} and F={F} do not fit the {len(time.psi1)} first-order wavelets; "
                "use a larger J_fr or a smaller F"
            )
        one_sided = wavelet_bank(J_fr, Q_fr)
        psi_fr = [low_pass(2**J_fr), *one_sided, *(Wavelet(-w.xi, w.sigma) for w in one_sided)]
        # the first-order wavelets that each rate is applied to: faster modulations are empty
        members = [
            [n1 for n1, first in enumerate(time.psi1) if first.j < second.j] for second in time.psi2
        ]
        super().__init__(
            _path_table(time, members, psi_fr, Q[0], sample_rate, orders),
            time,
            zeroth=0 if 0 in orders else None,
        )
        self._members = members
        self.J_fr, self.Q_fr, self.F, self.sample_rate = J_fr, Q_fr, F, sample_rate
        self.orders, self._log2_stride_fr = orders, log2_stride_fr
        self.frequency = FrequencyFilters(psi_fr, padded_fr, F, log2_stride_fr)

    @classmethod
    def suggest(cls, n_samples: int, sample_rate: float) -> dict[str, Any]:
        """Settings that fit signals of some length: a start where you have none of your own.

        The slowest wavelet spans an eighth of the signal, but at most half a second (J), and
        coefficients are averages over an eighth of the signal, but at most a fifth of a second (T),
        both rounded down to a power of two. Below 512 Hz, where signals are no sounds, these times
        count as at 512 Hz. J is at least 3.

        The filter banks have Q = (8, 2), J_fr = 3, Q_fr = 2 and F = 8: scales are averaged over one
        octave. For the signals of SCRAPL (32768 samples at 8192 Hz) these are the published
        settings, but for T, which is 4096 there.

        Args:
            n_samples: Length of the signals in samples, at least 8.
            sample_rate: Sample rate in Hz.

        Returns:
            All settings that the constructor needs, by name.

        Raises:
            ConfigurationError: If n_samples is below 8, or the sample rate is not positive.

        Example:
            >>> JTFS.suggest(4096, 16000)
            {'n_samples': 4096, 'J': 9, 'T': 512, 'sample_rate': 16000.0, 'Q': (8, 2), 'J_fr': 3,
            'Q_fr': 2, 'F': 8}
            >>> len(JTFS(**JTFS.suggest(4096, 16000)).paths)
            225
        """
        bank = {"Q": (8, 2), "J_fr": 3, "Q_fr": 2, "F": 8}
        return suggested(n_samples, sample_rate) | bank

    def _own_settings(self) -> str:
        over_frequency = f"J_fr={self.J_fr}, Q_fr={self.Q_fr}, F={self.F!r}"
        if not isinstance(self.F, str):
            over_frequency += f", stride_fr={2**self._log2_stride_fr}"
        return f"{over_frequency}, orders={self.orders}, sample_rate={self.sample_rate}"

    def _by_order(self, indices: Sequence[int]) -> tuple[dict[int, int], dict[int, dict[int, int]]]:
        """Paths of order 1 by n_fr, and of order 2 by n2 and n_fr."""
        first: dict[int, int] = {}
        scales: dict[int, dict[int, int]] = {}
        for index in indices:
            path = self.paths[index].metadata
            if path["order"]:
                chosen = first if path["order"] == 1 else scales.setdefault(path["n2"], {})
                chosen[path["n_fr"]] = index
        return first, scales

    def _request(self, indices: Sequence[int]) -> Request:
        first, scales = self._by_order(indices)
        rates = {n2: self._members[n2] for n2 in sorted(scales)}
        return Request(rates, averaged=range(len(self.time.psi1)) if first else ())

    def _averages(
        self, first: FirstLayer, indices: Sequence[int]
    ) -> Iterator[tuple[Tensor, Finish]]:
        singles, scales = self._by_order(indices)
        if singles:
            yield from self._first_order(first, singles)
        branches, finishes = [], []
        for n2, chosen in scales.items():
            rows = self._members[n2]
            like = first.layers[0].joint.real
            batch = self.frequency.batch(list(chosen), len(rows), like)
            branches.append(self.time.branch(first.layers, n2, rows, batch.mixing))
            finishes.append(partial(_smooth, batch=batch, indices=chosen))
        yield from zip(self.time.second_order(first.layers, branches), finishes, strict=True)

    def _first_order(
        self, first: FirstLayer, chosen: dict[int, int]
    ) -> Iterator[tuple[Tensor, Finish]]:
        """Moduli of averaged spectra, and what averages them over log-frequency."""
        everything = range(len(self.time.psi1))
        # layers hold one row after the other
        spectra = torch.cat([part for _, part in self.time.first_order(first, everything)], dim=1)
        n_rows, most = spectra.shape[1], tile_size(2 * spectra.shape[2], spectra.device)
        order = first.layers[0].order
        for batch in self.frequency.batches(list(chosen), n_rows, most, spectra):
            # the spectra are real: the columns that filter imaginary parts are not needed
            planes = (batch.mixing.matrix[:, :n_rows] @ spectra).unflatten(1, (2, -1))
            if order is None:
                moduli = modulus(planes)
            else:
                jets = planes.unflatten(0, (-1, len(order))).movedim((2, 1), (0, 1))
                moduli = modulus_jets(jets, order).transpose(0, 1).flatten(0, 1)
            if self.time.T == "global":
                moduli = moduli.mean(dim=-1, keepdim=True)
            yield moduli, partial(_smooth, batch=batch, indices=chosen)


def _smooth(averaged: Tensor, batch: FrequencyBatch, indices: dict[int, int]) -> dict[int, Tensor]:
    """Average over log-frequency: coefficients (batch, log-frequency, frames) by index."""
    return {
        indices[n_fr]: smooth @ averaged[:, rows] for n_fr, (rows, smooth) in batch.smooth.items()
    }


def _path_table(
    time: TimeScattering,
    members: Sequence[Sequence[int]],
    psi_fr: Sequence[Wavelet],
    Q1: int,
    sample_rate: float,
    orders: Sequence[int],
) -> list[Path]:
    rows: list[tuple[Hashable, dict[str, Any], float]] = []
    if 0 in orders:
        rows.append(((), {"order": 0}, time.padded))
    if 1 in orders:
        cost = time.padded + 2 * sum(time.padded >> level for level in time.levels1)
        rows += (
            ((n_fr,), {"scale": scale.xi * Q1, "order": 1, "n_fr": n_fr}, cost)
            for n_fr, scale in enumerate(psi_fr)
            if scale.xi >= 0  # of a real spectrum, both spins are alike
        )
    for n2, rate in enumerate(time.psi2):
        if not members[n2]:
            continue
        for n_fr, scale in enumerate(psi_fr):
            metadata = {
                "rate": rate.xi * sample_rate,
                "scale": abs(scale.xi) * Q1,
                "spin": (scale.xi > 0) - (scale.xi < 0),
                "order": 2,
                "n2": n2,
                "n_fr": n_fr,
            }
            rows.append(((n2, n_fr), metadata, _cost(time, members[n2], n2)))
    if not any(members):
        raise ConfigurationError(f"J={time.J} leaves no path: use a larger J")
    return priced_paths(rows)


def _check_orders(orders: Any) -> tuple[int, ...]:
    chosen = tuple(sorted(whole("an order", order) for order in several("orders", orders)))
    if 2 not in chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= {0, 1, 2}:
        raise ConfigurationError(
            f"orders must be some of 0, 1 and 2, each once and 2 among them, got {orders!r}"
        )
    return chosen


def _cost(time: TimeScattering, members: Sequence[int], n2: int) -> float:
    """Cost of a path: samples that pass through Fourier transforms."""
    first = sum(time.padded >> time.levels1[n1] for n1 in members)
    second = len(members) * (time.padded >> time.levels2[n2])
    return 2 * first + 3 * second
