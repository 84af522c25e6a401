"""Joint time-frequency scattering with the settings and outputs of kymatio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multipath._internal.settings import whole
from multipath.errors import ConfigurationError
from multipath.transforms import JTFS
from multipath.transforms._scattering.time import TimeScattering
from multipath.transforms._scattering.wavelets import Wavelet, low_pass

from ._attributes import Computed, Setting
from ._time import Record, TimeBase, parsed_stride, parsed_window, wavelets_per_octave

FORMATS = ("time", "joint")
Joint = dict[str, Any]


class TimeFrequencyBase(TimeBase):
    """Joint time-frequency scattering, whatever the frontend."""

    J_fr, Q_fr, F, log2_F, average_fr = (Setting() for _ in range(5))
    oversampling_fr, max_order = Setting(0), Setting(2)

    def __init__(
        self,
        J: int,
        J_fr: int,
        Q: int | tuple[int, ...],
        shape: int | tuple[int],
        T: int | str | None = None,
        stride: int | None = None,
        Q_fr: int | tuple[int] = 1,
        F: int | str | None = None,
        stride_fr: int | None = None,
        out_type: str = "array",
        format: str = "time",
        backend: Any = None,
    ) -> None:
        super().__init__()
        self._set_time(J, shape, Q, T, stride, out_type, backend)
        self.J_fr, self.format = whole("J_fr", J_fr), format
        self.Q_fr = wavelets_per_octave("Q_fr", Q_fr, most=1)
        n_first = (self.J + 1) * self.Q[0]
        self.F, self.average_fr = parsed_window("F", F, self.J_fr, n_first)
        self.log2_F = self.F.bit_length() - 1
        self._stride_fr = parsed_stride("stride_fr", stride_fr, "F", F, self.average_fr)
        self._transform = JTFS(
            self.shape[0],
            self.J,
            self.Q,
            self.J_fr,
            self.Q_fr[0],
            T=self._native_T,
            F=self.F if self.average_fr == "local" else "none",
            unpad=self._unpad,
            orders=(0, 1, 2),
            stride=self._stride,
            stride_fr=self._stride_fr,
        )

    @property
    def _time(self) -> TimeScattering:
        return self._transform.time

    @property
    def stride_fr(self) -> int:
        """Wavelets between rows where they are averages over a window."""
        return 1 << self.log2_stride_fr

    @property
    def log2_stride_fr(self) -> int:
        """The logarithm of that stride."""
        return self.log2_F if self._stride_fr is None else self._stride_fr.bit_length() - 1

    @property
    def _N_padded_fr(self) -> int:
        return self._transform.frequency.length

    @Computed
    def filters_fr(self) -> tuple[Record, list[Record]]:
        """The low-pass filter over log-frequency; the wavelets, of which the first is one too."""
        length = self._N_padded_fr
        phi = self._record(low_pass(self.F), length, 1 + self.log2_F)
        psis = [self._record(wavelet, length) for wavelet in self._wavelets_fr]
        return {**phi, "j": self.log2_F, "N": length}, psis

    @property
    def _wavelets_fr(self) -> list[Wavelet]:
        return self._transform.frequency.wavelets

    def _check_outputs(self) -> None:
        super()._check_outputs()
        stacked = self.format == "joint" and self.out_type == "array"
        if stacked and self.average_fr != "local":
            raise ConfigurationError(
                "Cannot convert to format='joint' with out_type='array' and "
                f"F={self.average_fr or 0}. Either set format='time', out_type='dict', or "
                "out_type='list'."
            )
        if stacked and self.log2_stride_fr > self.J_fr:
            raise ConfigurationError(
                f"Cannot convert to format='joint' with out_type='array': rows are "
                f"{self.stride_fr} wavelets apart, but those of the low-pass filter 2^J_fr = "
                f"{2**self.J_fr}. Set stride_fr={2**self.J_fr} or less, or out_type='dict'."
            )
        if self.format not in FORMATS:
            raise ConfigurationError(f"format must be 'time' or 'joint', got {self.format!r}")

    def _described(self) -> Iterator[Joint]:
        """Each joint path without its coefficients, in the order of the native table."""
        yield {"j": (), "n": ()}
        for path in self._transform.paths:
            if path.metadata["order"] == 0:
                continue
            n_fr, n2 = path.metadata["n_fr"], path.metadata.get("n2")
            wavelet = self._wavelets_fr[n_fr]
            n1_max = len(self._time.psi1)
            j: tuple[int, ...] = (-1,)
            if n2 is not None:
                j = (-1, self._time.psi2[n2].j)
                n1_max = sum(first.j < j[1] for first in self._time.psi1)
            stride = 2**wavelet.j
            if n_fr and self.average_fr == "local":
                stride = self.stride_fr
            elif n_fr and self.average_fr == "global":
                stride = n1_max
            yield {
                "j": j,
                "n": path.key,
                "n1_max": n1_max,
                "j_fr": (wavelet.j,),
                "n_fr": (n_fr,),
                "n1_stride": stride,
                "spin": int(np.sign(wavelet.xi)),
            }

    def _formatted(self, joint: Joint) -> Iterator[Joint]:
        """A joint path in the format wanted: as it is, or split along log-frequency."""
        if not joint["n"] or self.format == "joint":
            yield {**joint, "order": len(joint["n"])}
            return
        rows = range(0, joint["n1_max"], joint["n1_stride"])
        common = {k: v for k, v in joint.items() if k not in ("n1_max", "n1_stride")}
        for row, n1 in enumerate(rows):
            # kymatio says so, one less than the order in meta()
            path = {**common, "n": (n1, *joint["n"]), "order": len(joint["n"]) - 1}
            if "coef" in joint:
                path["coef"] = joint["coef"][..., row, :]
            yield path

    def _scatter(self, x: Tensor) -> Any:
        self._check_outputs()
        stacked = self.format == "joint" and self.out_type == "array"
        coefficients = self._transform(x)
        paths: list[Joint] = []
        for joint, found in zip(self._described(), coefficients, strict=True):
            levels = 0, self.log2_T, joint["j"][-1] if joint["n"] else 0
            values = found
            if self.average == "global":
                values = values * self._count(levels[len(joint["n"])])
            if joint["n"]:
                if self.average_fr == "global" and joint["spin"]:
                    values = values.sum(dim=-2, keepdim=True)
                if not stacked:
                    values = values[..., : 1 + joint["n1_max"] // joint["n1_stride"], :]
            paths += self._formatted({**joint, "coef": values})
        if stacked:
            return torch.stack([path["coef"] for path in paths[1:]], dim=-3)
        if self.out_type == "array":
            return torch.stack([path["coef"] for path in paths], dim=-2)
        if self.out_type == "dict":
            return {path["n"]: path["coef"] for path in paths}
        return paths

    def meta(self) -> dict[str, Any]:
        """What each path is: ``order``, ``n``, ``n_fr``, ``xi``, ``sigma``, ``j``, ``spin``, ...

        Sorted by the length of the key, then by the key, as in kymatio; ``xi_fr``, ``sigma_fr`` and
        ``j_fr`` describe the wavelet over log-frequency. With ``format="joint"`` and
        ``out_type="array"`` only ``key`` has an entry for order 0.
        """
        paths = [path for joint in self._described() for path in self._formatted(joint)]
        paths.sort(key=lambda path: (len(path["n"]), path["n"]))
        meta: dict[str, Any] = {"key": [path["n"] for path in paths]}
        if self.format == "joint" and self.out_type == "array":
            paths = paths[1:]
        time = self.format == "time"
        banks = self._time.psi1, self._time.psi2
        n = np.full((len(paths), 2), np.nan, dtype=object)
        for row, path in zip(n, paths, strict=True):
            if not path["n"]:
                continue
            first, *second = path["n"][:-1] if time else (None, *path["n"][:-1])
            row[0] = first if time else range(0, path["n1_max"], path["n1_stride"])
            if second:
                row[1] = second[0]
        meta["n"] = n
        meta["n_fr"] = np.array([path["n_fr"][0] if path["n"] else np.nan for path in paths])
        meta["order"] = np.array([len(path["n"]) - (time and path["n"] != ()) for path in paths])
        for field in ("xi", "sigma", "j"):
            meta[field] = np.full(n.shape, np.nan)
            for row, numbers in zip(meta[field], n, strict=True):
                for order, number in enumerate(numbers):
                    if isinstance(number, int):
                        row[order] = getattr(banks[order][number], field)
            meta[f"{field}_fr"] = np.array(
                [
                    getattr(self._wavelets_fr[path["n_fr"][0]], field) if path["n"] else np.nan
                    for path in paths
                ]
            )
        meta["spin"] = np.sign(meta["xi_fr"])
        return meta

    def output_size(self, detail: bool = False) -> int | tuple[int, ...]:
        """The number of paths, or with ``detail`` that of each order."""
        meta = self.meta()
        return tuple(Counter(meta["order"].tolist()).values()) if detail else len(meta["key"])
