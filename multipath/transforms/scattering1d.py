"""Scattering over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from ..errors import ConfigurationError
from ..paths import Path, PathTable, check_indices
from ._analytic import modulus
from ._settings import check_integers, check_rate, wavelets_per_octave
from ._time import ModulusLayer, TimeScattering
from .base import Transform, check_signal, full_precision, working_dtype


class Scattering1D(Transform):
    r"""Scattering transform over time, orders 0, 1 and 2.

    .. math::
        \phi_{()}(x) = x * \varphi_T, \qquad
        \phi_{(n_1)}(x) = |x * \psi_{n_1}| * \varphi_T, \qquad
        \phi_{(n_1, n_2)}(x) = \big| |x * \psi_{n_1}| * \psi_{n_2} \big| * \varphi_T

    for all pairs with :math:`j_1 < j_2`. First order: how much energy near a *frequency*; second
    order: how fast that energy fluctuates, at a *rate*. Signals are mirrored at both ends; a path
    has one coefficient in :math:`2^{\lfloor\log_2 T\rfloor}` samples, shape (..., time).
    Conventions are those of kymatio's ``Scattering1D``.

    Args:
        n_samples: Length of the signals in samples.
        J: Octaves of the filter banks; the slowest wavelet spans 2^J samples.
        Q: Wavelets per octave of the first and second filter bank; an int means (Q, 1).
        T: Averaging window in samples. Default 2^J.
        max_order: 1 or 2.
        unpad: Drop the frames of the mirrored ends, as kymatio does.
        sample_rate: In Hz; only used in the path table. Default 1.0 (cycles/sample).

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
        J: int,
        Q: int | tuple[int, int] = (8, 1),
        T: int | None = None,
        max_order: int = 2,
        unpad: bool = True,
        sample_rate: float = 1.0,
    ) -> None:
        if max_order not in (1, 2):
            raise ConfigurationError(f"max_order must be 1 or 2, got {max_order}")
        check_integers(J=J)
        Q = wavelets_per_octave(Q, second=1)
        check_rate(sample_rate)
        time = TimeScattering(n_samples, J, Q, 2**J if T is None else T, unpad)
        rows = list(_rows(time, max_order, sample_rate))
        mean = sum(cost for *_, cost in rows) / len(rows)
        super().__init__(
            PathTable(
                Path(index, key, metadata, cost / mean)
                for index, (key, metadata, cost) in enumerate(rows)
            )
        )
        self.n_samples = n_samples
        self.unpad = unpad
        self.time = time

    @full_precision
    def coefficients(self, x: Tensor, indices: Sequence[int] | Tensor) -> list[Tensor]:
        """Coefficients of the chosen paths, each of shape (..., time).

        Each first-order wavelet is applied once, and each second-order wavelet once to all the
        first-order moduli that ask for it.

        Args:
            x: Signals, shape (..., n_samples), float32 or float64 (half precision is computed in
                float32).
            indices: Which paths.

        Raises:
            InputError: If the signals do not have n_samples samples, or an index is out of range.
        """
        check_signal(x, self.n_samples)
        keys: list[Any] = [
            self.paths[index].key for index in check_indices(indices, len(self.paths))
        ]
        signals = x.reshape(-1, self.n_samples).to(working_dtype(x))
        found: dict[Any, Tensor] = {}
        if () in keys:
            found[()] = self.time.average(self.time.pad(signals), level=0)
        needed = sorted({key[0] for key in keys if key})
        layers = self.time.first_layer(signals, needed) if needed else []
        for layer in layers:
            averaged = [n1 for n1 in layer.rows if (n1,) in set(keys)]
            if averaged:
                found.update(self._first_order(layer, averaged))
        partners: dict[int, set[int]] = {}
        for key in keys:
            if len(key) == 2:
                partners.setdefault(key[1], set()).add(key[0])
        for n2, rows in partners.items():
            found.update(self._second_order(layers, n2, sorted(rows)))
        return [found[key].reshape(*x.shape[:-1], -1) for key in keys]

    def _first_order(self, layer: ModulusLayer, rows: Sequence[int]) -> dict[Any, Tensor]:
        positions = [layer.rows.index(n1) for n1 in rows]
        averaged = self.time.average(layer.moduli[:, positions], layer.level)
        return {(n1,): averaged[:, i] for i, n1 in enumerate(rows)}

    def _second_order(
        self, layers: Sequence[ModulusLayer], n2: int, rows: Sequence[int]
    ) -> dict[Any, Tensor]:
        moduli = modulus(self.time.second_layer(layers, n2, rows))
        averaged = self.time.average(moduli, self.time.level(self.time.psi2[n2]))
        return {(n1, n2): averaged[:, i] for i, n1 in enumerate(rows)}

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"n_samples={self.n_samples}, P={len(self.paths)}, unpad={self.unpad}"


def _rows(
    time: TimeScattering, max_order: int, sample_rate: float
) -> Iterator[tuple[tuple[int, ...], dict[str, Any], float]]:
    """Key, metadata and cost of every path; the cost counts samples through Fourier transforms."""
    whole = time.padded
    yield (), {"order": 0}, whole
    first = [time.padded >> time.level(psi) for psi in time.psi1]
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
                second = time.padded >> time.level(slow)
                yield (n1, n2), metadata, whole + 2 * first[n1] + second
