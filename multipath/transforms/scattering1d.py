"""Scattering over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor

from multipath._internal.settings import positive
from multipath.paths import priced_paths

from ._numerics.settings import (
    Window,
    check_octaves_given,
    highest_order,
    octaves,
    suggested,
    wavelets_per_octave,
)
from ._scattering.base import Finish, Scattering
from ._scattering.layers import FirstLayer, Request
from ._scattering.time import TimeScattering, with_others


class Scattering1D(Scattering):
    r"""Scattering transform over time, orders 0, 1 and 2.

    .. math::
        \phi_{()}(x) = x * \varphi_T, \qquad
        \phi_{(n_1)}(x) = |x * \psi_{n_1}| * \varphi_T, \\
        \phi_{(n_1, n_2)}(x) = \big| |x * \psi_{n_1}| * \psi_{n_2} \big| * \varphi_T

    for all pairs with :math:`j_1 < j_2`. The first order tells how much energy there is near a
    *frequency*, the second order how fast that energy fluctuates, at a *rate*. Signals are mirrored
    at both ends; a path has one coefficient in :math:`2^{\lfloor\log_2 T\rfloor}` samples, shape
    (..., time). Conventions and values are those of ``Scattering1D`` in kymatio 0.4; see
    :class:`multipath.compat.kymatio.torch.Scattering1D` for those of kymatio 0.3.

    With ``T="none"`` nothing is averaged: a path is its modulus (order 0: the signal) at its own
    rate, one sample in :math:`2^{j}` of its last wavelet. With ``T="global"`` it is the mean of
    that over the signal, shape (..., 1).

    Args:
        n_samples: Length of the signals in samples.
        J: Octaves of the filter banks; the slowest wavelet spans 2^J samples. Required;
            :meth:`suggest` chooses it, with T and Q, for you.
        Q: Wavelets per octave of the first and second filter bank; an int means (Q, 1).
        T: Averaging window in samples, ``"global"`` or ``"none"``. Default 2^J.
        max_order: The highest order, 1 or 2.
        unpad: Drop the frames of the padded ends, as kymatio does.
        sampling: ``"exact"``, or ``"reduced"`` to keep about half of the samples; see
            :class:`JTFS`.
        sample_rate: Sample rate in Hz, only used in the path table. Default 1.0 (cycles/sample).
        stride: Samples between coefficients, a power of two. Default: the largest up to T.
        border: How signals go on beyond their ends: ``"reflect"`` mirrors them, ``"periodic"``
            repeats them, ``"zero"`` is silence. Periodic signals whose length is a multiple of
            2^(J + 1) and of twice the stride are not padded at all, which halves the cost.

    Attributes:
        paths: Columns ``order``, ``frequency`` (Hz, orders 1 and 2), ``rate`` (Hz, order 2),
            ``n1``, ``n2``; sorted by order, then n1, then n2. Keys ``()``, ``(n1,)``,
            ``(n1, n2)``.

    Raises:
        ConfigurationError: If a setting is out of range, or the signal too short for J or T.

    Example:
        >>> transform = Scattering1D(n_samples=4096, J=6, Q=(1, 1), T=256, sample_rate=4096.0)
        >>> print(transform.paths.filter(order=2, frequency=(700, 800)))
        index  key     order  frequency  n1   rate  n2   cost
           12  (1, 3)      2      716.8   1  179.2   3  1.475
           13  (1, 4)      2      716.8   1   89.6   4   1.37
           14  (1, 5)      2      716.8   1   44.8   5  1.317
           15  (1, 6)      2      716.8   1   22.4   6  1.291

    Source: Andén and Mallat, Deep scattering spectrum, IEEE Transactions on Signal Processing
    62(16), 2014.
    """

    def __init__(
        self,
        n_samples: int,
        J: int | None = None,
        Q: int | tuple[int, int] = (8, 1),
        T: Window | None = None,
        max_order: int = 2,
        unpad: bool = True,
        sampling: Literal["exact", "reduced"] = "exact",
        sample_rate: float = 1.0,
        stride: int | None = None,
        border: Literal["reflect", "periodic", "zero"] = "reflect",
    ) -> None:
        check_octaves_given(J, type(self), n_samples)
        max_order, J, Q = highest_order(max_order), octaves("J", J), wavelets_per_octave(Q)
        sample_rate = positive("sample_rate", sample_rate, "Hz")
        time = TimeScattering(n_samples, J, Q, T, unpad, sampling, border, stride)
        super().__init__(priced_paths(_rows(time, max_order, sample_rate)), time, zeroth=0)
        self.max_order, self.sample_rate = max_order, sample_rate

    @classmethod
    def suggest(cls, n_samples: int, sample_rate: float) -> dict[str, Any]:
        """Settings that fit signals of some length: a start where you have none of your own.

        The slowest wavelet spans an eighth of the signal, but at most half a second (J), and
        coefficients are averages over an eighth of the signal, but at most a fifth of a second (T),
        both rounded down to a power of two. Below 512 Hz, where signals are no sounds, these times
        count as at 512 Hz. J is at least 3.

        Q is (8, 1).

        Args:
            n_samples: Length of the signals in samples, at least 8.
            sample_rate: Sample rate in Hz.

        Returns:
            All settings that the constructor needs, by name.

        Raises:
            ConfigurationError: If n_samples is below 8, or the sample rate is not positive.

        Example:
            >>> Scattering1D.suggest(16000, 16000)
            {'n_samples': 16000, 'J': 10, 'T': 1024, 'sample_rate': 16000.0, 'Q': (8, 1)}
        """
        return suggested(n_samples, sample_rate) | {"Q": (8, 1)}

    def _own_settings(self) -> str:
        return f"max_order={self.max_order}, sample_rate={self.sample_rate}"

    def _request(self, indices: Sequence[int]) -> Request:
        first, partners = self._by_order(indices)
        rates = {n2: sorted(rows) for n2, rows in partners.items()}
        if self.time.windowed:
            return Request(rates, averaged=sorted(first))
        return Request(rates, read=sorted(first))

    def _averages(
        self, first: FirstLayer, indices: Sequence[int]
    ) -> Iterator[tuple[Tensor, Finish]]:
        singles, partners = self._by_order(indices)
        if self.time.windowed:
            moduli = self.time.first_order(first, singles)
        else:
            moduli = ((part.rows, with_others(part.values, part.joint)) for part in first.read)
        for numbers, averaged in moduli:
            yield averaged, partial(_rows_of, indices=[singles.get(n1) for n1 in numbers])
        branches = [self.time.branch(first.layers, n2, list(rows)) for n2, rows in partners.items()]
        averages = self.time.second_order(first.layers, branches)
        for averaged, rows in zip(averages, partners.values(), strict=True):
            yield averaged, partial(_rows_of, indices=list(rows.values()))

    def _by_order(self, indices: Sequence[int]) -> tuple[dict[int, int], dict[int, dict[int, int]]]:
        """Paths of order 1 by n1, and of order 2 by n2 and n1."""
        by_key: dict[Any, int] = {self.paths[index].key: index for index in indices}
        first = {key[0]: index for key, index in by_key.items() if len(key) == 1}
        partners: dict[int, dict[int, int]] = {}
        for n1, n2 in sorted(key for key in by_key if len(key) == 2):
            partners.setdefault(n2, {})[n1] = by_key[n1, n2]
        return first, partners


def _rows_of(averaged: Tensor, indices: Sequence[int | None]) -> dict[int, Tensor]:
    """Rows of a tensor by the index of their path; rows without one are left out."""
    rows = zip(indices, averaged.unbind(1), strict=True)
    return {index: row for index, row in rows if index is not None}


def _rows(
    time: TimeScattering, max_order: int, sample_rate: float
) -> Iterator[tuple[tuple[int, ...], dict[str, Any], float]]:
    """Key, metadata and cost of every path; the cost counts samples through Fourier transforms."""
    whole = time.padded
    yield (), {"order": 0}, whole
    first = [time.padded >> level for level in time.levels1]
    for n1, psi in enumerate(time.psi1):
        frequency = {"order": 1, "frequency": psi.xi * sample_rate, "n1": n1}
        yield (n1,), frequency, whole + first[n1]
    if max_order == 1:
        return
    for n1, psi in enumerate(time.psi1):
        for n2, slow in enumerate(time.psi2):
            if psi.j < slow.j:
                metadata = {
                    "order": 2,
                    "frequency": psi.xi * sample_rate,
                    "n1": n1,
                    "rate": slow.xi * sample_rate,
                    "n2": n2,
                }
                second = time.padded >> time.levels2[n2]
                yield (n1, n2), metadata, whole + 2 * first[n1] + second
