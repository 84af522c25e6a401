"""How large white noise is on each path of a transform: a yardstick for paths that are silent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from multipath._internal.tracing import untraced
from multipath.transforms._numerics.analytic import peak_scale
from multipath.transforms.base import Transform, working_dtype

SILENCE = 10**-2.5
"""The lowest level at which noise is compared: an RMS of 50 dB below 1."""
N_SIGNALS = 8  # on average: a path may have a single coefficient, which is small by chance


class WhiteNoise:
    """Coefficients of the size that white noise as loud as some signals would have.

    The size on a path is measured when the path is first asked for, at a level of 1, and kept as
    long as nothing in the transform can change.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[torch.Size, torch.dtype, torch.device], dict[int, Tensor]] = {}

    def like(
        self, transform: Transform, signals: Tensor, paths: Sequence[int], shaped: Sequence[Tensor]
    ) -> list[Tensor]:
        """Coefficients that rise from 0 with the RMS of white noise, one tensor for each path.

        Neither constant, which a distance may ignore, nor negative, which a compression may refuse.

        Args:
            transform: What makes coefficients of signals.
            signals: Shape (batch, ...); each gives the level of its noise, from ``SILENCE`` up.
            paths: The paths.
            shaped: Their coefficients of the signals, whose shapes are taken.
        """
        signals = signals.to(working_dtype(signals))
        flat = signals.flatten(1)
        scales = peak_scale(flat).clamp_min(SILENCE)  # the squares of what is loud are within range
        power = (flat / scales[:, None]).square().mean(dim=1)
        levels = scales * power.clamp_min((SILENCE / scales) ** 2).sqrt()
        sizes = self._sizes(transform, signals, paths)
        return [
            levels.reshape(-1, *[1] * (c.ndim - 1)) * (size * _ramp(c[0]))
            for size, c in zip(sizes, shaped, strict=True)
        ]

    def _sizes(self, transform: Transform, signals: Tensor, paths: Sequence[int]) -> list[Tensor]:
        place = signals.shape[1:], signals.dtype, signals.device
        known = self._known.setdefault(place, {})
        if transform.state_dict():  # training, or a checkpoint, may change what is there
            known = {}
        missing = [path for path in dict.fromkeys(paths) if path not in known]
        if missing:
            # what an evaluation or torch.func measures first must still serve in training
            with untraced(), torch.inference_mode(False), torch.no_grad():
                noise = torch.randn(
                    (N_SIGNALS, *signals.shape[1:]),
                    generator=torch.Generator().manual_seed(0),
                    dtype=torch.float64,
                    device="cpu",
                )
                found = transform.coefficients(noise.to(signals.dtype).to(signals.device), missing)
                sizes = [c.square().mean().sqrt() for c in found]
            known.update(zip(missing, sizes, strict=True))
        return [known[path] for path in paths]


def _ramp(coefficients: Tensor) -> Tensor:
    """From 0 up, with an RMS of 1 (a single value excepted), in the shape of some coefficients."""
    count = coefficients.numel()
    steps = torch.arange(count, dtype=coefficients.dtype, device=coefficients.device)
    return ((steps + 0.5) * (math.sqrt(3) / count)).reshape(coefficients.shape)
