"""PANNs: convolutional networks trained to tag sounds; their last layer but one is the embedding.

The file of weights is found by argument or in the environment variable ``MULTIPATH_PANNS``::

    export MULTIPATH_PANNS="Cnn14_mAP=0.431.pth"
    multipath ... multipath.applications.networks.panns:load
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.signal import get_window
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool1d, pad

from multipath.errors import InputError

from ._weights import build_with_weights, read_weights, weights_file

__all__ = ["Cnn14", "load"]

VARIABLE = "MULTIPATH_PANNS"


class Cnn14(nn.Module):
    """Cnn14 on log-mel spectrograms, with a wavegram beside them on request.

    Parameters are named as in the published checkpoints, which hold the front end too. Sounds are
    resampled outside: :class:`~multipath.applications.losses.embedding.EmbeddingLoss` does it.

    Args:
        sample_rate: In Hz. Published: 32000 and 16000.
        fft_size: Published: 1024 at 32 kHz, 512 at 16 kHz.
        hop_size: Published: 320 at 32 kHz, 160 at 16 kHz.
        frequencies: Range of the mel bands in Hz. Published: 50 to 14000, 50 to 8000 at 16 kHz.
        width: Channels of the first block; the others have 2 to 32 times as many. Published: 64.
        n_features: Size of the embedding. Published: 32 times the width.
        n_classes: Tags, of which only the weights are used here. Published: 527.
        wavegram: Also convolve the waveform itself, as in Wavegram-Logmel-Cnn14.

    Example:
        >>> network = Cnn14(width=2, n_classes=3).eval()
        >>> network(torch.zeros(2, 32000)).shape
        torch.Size([2, 64])

    Source: Kong et al., PANNs, IEEE/ACM Transactions on Audio, Speech, and Language Processing
    2020.
    """

    def __init__(
        self,
        sample_rate: int = 32000,
        fft_size: int = 1024,
        hop_size: int = 320,
        frequencies: tuple[float, float] = (50, 14000),
        width: int = 64,
        n_features: int | None = None,
        n_classes: int = 527,
        wavegram: bool = False,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.min_samples = 31 * hop_size  # 32 frames: their number is halved five times
        self.spectrogram_extractor = _Spectrogram(fft_size, hop_size)
        self.logmel_extractor = _LogMel(sample_rate, fft_size, frequencies)
        self.bn0 = nn.BatchNorm2d(_LogMel.n_bands)
        if wavegram:
            self.pre_conv0 = nn.Conv1d(1, 64, 11, stride=5, padding=5, bias=False)
            self.pre_bn0 = nn.BatchNorm1d(64)
            self.pre_block1, self.pre_block2 = _Block(64, 64, True), _Block(64, 128, True)
            self.pre_block3, self.pre_block4 = _Block(128, 128, True), _Block(4, width)
        self.wavegram = wavegram
        channels = [1] + [width * 2**exponent for exponent in range(6)]
        for number, (ins, outs) in enumerate(pairwise(channels), start=1):
            self.add_module(
                f"conv_block{number}", _Block(2 * ins if wavegram and number == 2 else ins, outs)
            )
        n_features = n_features or channels[-1]
        self.fc1 = nn.Linear(channels[-1], n_features)
        self.fc_audioset = nn.Linear(n_features, n_classes)

    def forward(self, sounds: Tensor) -> Tensor:
        """Embeddings (batch, features) of sounds (batch, samples).

        Raises:
            InputError: If the sounds are too short for 32 frames.
        """
        if sounds.shape[-1] < self.min_samples:
            raise InputError(
                f"Cnn14 needs at least {self.min_samples} samples at {self.sample_rate} Hz, got "
                f"{sounds.shape[-1]}; use longer sounds"
            )
        x = self.logmel_extractor(self.spectrogram_extractor(sounds))  # (batch, 1, time, band)
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        blocks = [self.get_submodule(f"conv_block{number}") for number in range(1, 7)]
        x = avg_pool2d(blocks[0](x), 2)
        if self.wavegram:
            waves = self._waves(sounds)
            shorter = min(x.shape[2], waves.shape[2])
            x = torch.cat([x[:, :, :shorter], waves[:, :, :shorter]], dim=1)
        for block in blocks[1:5]:
            x = avg_pool2d(block(x), 2)
        x = blocks[5](x).mean(dim=3)
        return torch.relu(self.fc1(x.amax(dim=2) + x.mean(dim=2)))

    def _waves(self, sounds: Tensor) -> Tensor:
        x = torch.relu(self.pre_bn0(self.pre_conv0(sounds[:, None])))
        for block in (self.pre_block1, self.pre_block2, self.pre_block3):
            x = max_pool1d(block(x), 4)
        x = x.reshape(len(x), -1, 32, x.shape[-1]).transpose(2, 3)
        return avg_pool2d(self.pre_block4(x), (2, 1))


def load(weights: str | Path | None = None) -> Cnn14:
    """Cnn14 with published weights; the variant is told by what is in the file.

    Args:
        weights: ``Cnn14_mAP=0.431.pth``, ``Cnn14_16k_mAP=0.438.pth`` or
            ``Wavegram_Logmel_Cnn14_mAP=0.439.pth``, as published on Zenodo (record 3987831), or the
            state dict of a narrower one. Default: the environment variable ``MULTIPATH_PANNS``.

    Raises:
        ConfigurationError: If the file is missing, unreadable or of another network.
    """
    path = weights_file(weights, VARIABLE, "a checkpoint of PANNs' Cnn14")
    return build_with_weights(build, read_weights(path), path, "Cnn14").eval()


def build(state: dict[str, Tensor]) -> Cnn14:
    """A network of the sizes that a state dict has."""

    def size(name: str, default: int, axis: int = 0) -> int:
        return state[name].shape[axis] if name in state else default

    fft_size = size("spectrogram_extractor.stft.conv_real.weight", 1024, axis=-1)
    at_16k = fft_size <= 512
    return Cnn14(
        sample_rate=16000 if at_16k else 32000,
        fft_size=fft_size,
        hop_size=160 if at_16k else 320,
        frequencies=(50, 8000) if at_16k else (50, 14000),
        width=size("conv_block1.conv1.weight", 64),
        n_features=size("fc1.weight", 2048),
        n_classes=size("fc_audioset.weight", 527),
        wavegram="pre_conv0.weight" in state,
    )


class _Spectrogram(nn.Module):
    """Power spectrograms by convolution with windowed sines and cosines, as weights."""

    def __init__(self, fft_size: int, hop_size: int) -> None:
        super().__init__()
        waves = get_window("hann", fft_size) * np.exp(
            -2j * np.pi / fft_size * np.outer(np.arange(fft_size // 2 + 1), np.arange(fft_size))
        )
        self.fft_size = fft_size
        self.stft = nn.Module()
        for name, part in (("conv_real", waves.real), ("conv_imag", waves.imag)):
            conv = nn.Conv1d(1, len(part), fft_size, stride=hop_size, bias=False)
            conv.weight = nn.Parameter(torch.from_numpy(part[:, None].astype(np.float32)), False)
            self.stft.add_module(name, conv)

    def forward(self, sounds: Tensor) -> Tensor:
        """Shape (batch, 1, time, frequency)."""
        half = self.fft_size // 2
        padded = pad(sounds[:, None], (half, half), mode="reflect")
        powers = [part(padded).square() for part in self.stft.children()]
        power: Tensor = powers[0] + powers[1]
        return power.transpose(1, 2)[:, None]


class _LogMel(nn.Module):
    n_bands = 64

    def __init__(self, sample_rate: int, fft_size: int, frequencies: tuple[float, float]) -> None:
        super().__init__()
        from nnAudio.librosa_functions import get_mel  # slow to import

        bands = get_mel(sample_rate, fft_size, self.n_bands, *frequencies)
        self.melW = nn.Parameter(torch.from_numpy(np.float32(bands.T)), requires_grad=False)

    def forward(self, power: Tensor) -> Tensor:
        """In dB."""
        return 10 * torch.log10((power @ self.melW).clamp_min(1e-10))


class _Block(nn.Module):
    """Two convolutions, each normalised and rectified; of waves, the second one is dilated."""

    def __init__(self, ins: int, outs: int, waves: bool = False) -> None:
        super().__init__()
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if waves else (nn.Conv2d, nn.BatchNorm2d)
        apart = 2 if waves else 1
        self.conv1 = conv(ins, outs, 3, padding=1, bias=False)
        self.conv2 = conv(outs, outs, 3, padding=apart, dilation=apart, bias=False)
        self.bn1, self.bn2 = norm(outs), norm(outs)

    def forward(self, x: Tensor) -> Tensor:
        """Same size, other channels."""
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)))
