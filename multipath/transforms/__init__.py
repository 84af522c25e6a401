"""Transforms: coefficients of signals, path by path."""

from .base import Transform
from .jtfs import JTFS
from .scattering1d import Scattering1D
from .scattering2d import Scattering2D
from .stft import MultiResolutionSTFT
from .tiled import Tiled
from .wavelet import WaveletTransform
from .wavelet_packet import WaveletPacket

__all__ = [
    "JTFS",
    "MultiResolutionSTFT",
    "Scattering1D",
    "Scattering2D",
    "Tiled",
    "Transform",
    "WaveletPacket",
    "WaveletTransform",
]
