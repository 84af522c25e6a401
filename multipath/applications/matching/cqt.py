"""The features of a sound that encoders look at: a log-compressed constant-Q transform."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multipath.errors import ConfigurationError, InputError


class LogCQT(nn.Module):
    r"""Maps a signal to :math:`\log(1 + |CQT(x)| / \epsilon)`; nothing in it is trained.

    The lowest bin lies at :math:`0.4 \cdot` sample rate :math:`/ 2^{octaves}`, so that the highest
    stays below 0.4 of the sample rate.

    Args:
        sample_rate: In Hz.
        octaves: Range of the transform.
        bins_per_octave: Frequency resolution.
        hop: Samples between two frames.
        eps: Level below which the logarithm becomes linear.

    Attributes:
        lowest: Frequency of the lowest bin, in Hz.
        seconds_per_frame: From one frame to the next.

    Raises:
        ConfigurationError: If an argument is not positive.

    Example:
        >>> features = LogCQT(sample_rate=8192.0, octaves=5, hop=256)
        >>> features(torch.zeros(2, 32768)).shape  # batch, bins, frames
        torch.Size([2, 60, 129])

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), encoder; the transform is nnAudio's.
    """

    def __init__(
        self,
        sample_rate: float,
        octaves: int,
        *,
        bins_per_octave: int = 12,
        hop: int = 256,
        eps: float = 1e-3,
    ) -> None:
        super().__init__()
        from nnAudio.features import CQT  # an extra, and slow to import

        for name, value in {
            "sample_rate": sample_rate,
            "octaves": octaves,
            "bins_per_octave": bins_per_octave,
            "hop": hop,
            "eps": eps,
        }.items():
            if not value > 0:
                raise ConfigurationError(f"{name} must be positive, got {value}")
        self.eps = eps
        self.lowest, self.bins_per_octave = 0.4 * sample_rate / 2**octaves, bins_per_octave
        self.seconds_per_frame = hop / sample_rate
        self.cqt = CQT(
            sr=sample_rate,
            hop_length=hop,
            fmin=self.lowest,
            n_bins=octaves * bins_per_octave,
            bins_per_octave=bins_per_octave,
            output_format="Magnitude",
            trainable=False,
            verbose=False,
        )

    def forward(self, signals: Tensor) -> Tensor:
        """Signals (batch, n_samples) to features (batch, bins, frames).

        Raises:
            InputError: If the signals are not a batch of one-dimensional ones.
        """
        if signals.ndim != 2:
            raise InputError(
                f"signals must have shape (batch, n_samples), got {tuple(signals.shape)}"
            )
        magnitude: Tensor = self.cqt(signals)
        return torch.log1p(magnitude / self.eps)
