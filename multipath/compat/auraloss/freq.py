r"""Losses of spectrograms. Signals have shape (batch, channels, T).

Norms run over the whole batch here, as auraloss's do; those of :class:`~multipath.SpectralLoss` run
over each item.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, pad

from multipath._internal.bookkeeping import has_float64
from multipath._internal.inputs import described
from multipath._internal.settings import affordable, choice, count, not_negative, positive, several
from multipath.errors import ConfigurationError, InputError
from multipath.transforms._filter_banks import chroma_bank, mel_bank
from multipath.transforms._frames import Frames, magnitudes
from multipath.transforms.base import without_autocast, working_dtype
from multipath.transforms.stft import scipy_window

from ._parts import check_alike, check_reduction, check_signals, number, reduced, refusal
from .perceptual import FIRFilter, SumAndDifference

__all__ = [
    "ChromaSTFTLoss",
    "MelSTFTLoss",
    "MultiResolutionSTFTLoss",
    "RandomResolutionSTFTLoss",
    "STFTLoss",
    "STFTMagnitudeLoss",
    "SpectralConvergenceLoss",
    "SumAndDifferenceSTFTLoss",
]

logger = logging.getLogger(__name__)

Losses = Tensor | tuple[Any, ...]
"""What losses return: the loss, or with ``output="full"`` the loss and its terms."""
Window = str | tuple[Any, ...] | float


class SpectralConvergenceLoss(nn.Module):
    r""":math:`\lVert X - Y \rVert_2 / \lVert Y \rVert_2` of magnitudes, over all that they hold.

    Zero, not NaN, where both are zero.

    Example:
        >>> print(SpectralConvergenceLoss()(torch.zeros(2), torch.ones(2)))
        tensor(1.)
    """

    def forward(self, x_mag: Tensor, y_mag: Tensor) -> Tensor:
        """The loss of the magnitudes of an input and of a target, a scalar."""
        norm = torch.linalg.vector_norm(y_mag).clamp_min(torch.finfo(y_mag.dtype).tiny)
        ratio: Tensor = torch.linalg.vector_norm(y_mag - x_mag) / norm
        return ratio


class STFTMagnitudeLoss(nn.Module):
    r"""Distance between magnitudes, or between :math:`\log(c X + e)` and :math:`\log(c Y + e)`.

    Args:
        log: Whether to take logarithms. Default True.
        log_eps: e, default 0.
        log_fac: c, default 1.
        distance: ``"L1"`` (absolute differences) or ``"L2"`` (their squares).
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ConfigurationError: If there is no such distance or reduction, e is negative, or c is not
            positive.

    Example:
        >>> x, y = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0])
        >>> STFTMagnitudeLoss()(x, y)
        tensor(0.3466)
    """

    def __init__(
        self,
        log: bool = True,
        log_eps: float = 0.0,
        log_fac: float = 1.0,
        distance: str = "L1",
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        number(not_negative, "log_eps", log_eps)
        number(positive, "log_fac", log_fac)
        self.log, self.log_eps, self.log_fac = log, log_eps, log_fac
        kinds = {"L1": nn.L1Loss, "L2": nn.MSELoss}
        kind = kinds[choice("distance", distance, *kinds)]
        self.distance = kind(reduction=check_reduction(reduction))

    def forward(self, x_mag: Tensor, y_mag: Tensor) -> Tensor:
        """The loss of the magnitudes of an input and of a target."""
        if self.log:
            x_mag, y_mag = self._logarithm(x_mag), self._logarithm(y_mag)
        result: Tensor = self.distance(x_mag, y_mag)
        return result

    def _logarithm(self, magnitudes: Tensor) -> Tensor:
        values = self.log_fac * magnitudes + self.log_eps
        # bands without any bin are equal in all signals, and infinity less infinity is not zero
        return values.masked_fill(values == 0, torch.finfo(values.dtype).tiny).log()


class STFTLoss(nn.Module):
    r"""Distances between the spectrograms of an input and of a target.

    Magnitudes are at least :math:`\sqrt\varepsilon`. The loss is the weighted sum of spectral
    convergence, distance between logarithms, distance between magnitudes, and mean squared
    difference of phases; terms of weight 0 are not computed.

    Args:
        fft_size: FFT size in samples. Default 1024.
        hop_size: Hop in samples. Default 256.
        win_length: Window length in samples, at most the FFT size. Default 1024.
        window: A window of torch (``"hann_window"``) or of ``scipy.signal.get_window`` (``"hann"``,
            ``("kaiser", 8.0)``).
        w_sc: Weight of spectral convergence. Default 1.
        w_log_mag: Weight of logarithms. Default 1.
        w_lin_mag: Weight of magnitudes. Default 0.
        w_phs: Weight of phases. Default 0.
        sample_rate: In Hz; needed by a scale and by the perceptual weighting.
        scale: None, ``"mel"`` or ``"chroma"``.
        n_bins: Number of bands of the scale.
        perceptual_weighting: Whether signals pass through an A-weighting :class:`FIRFilter
            <multipath.compat.auraloss.perceptual.FIRFilter>` first.
        scale_invariance: Whether each target is multiplied by the number that brings its
            spectrogram nearest to that of its input.
        eps: :math:`\varepsilon`, default 1e-8.
        output: ``"loss"``, or ``"full"`` for the loss and the terms, without their weights.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, of the distances between magnitudes.
        mag_distance: ``"L1"`` or ``"L2"``, of magnitudes and their logarithms.
        device: Where the filter bank is kept before the first call.
        **kwargs: ``log_eps`` and ``log_fac`` of :class:`STFTMagnitudeLoss`.

    Raises:
        ConfigurationError: If a setting is out of range. The error is also the built-in one that
            auraloss raises.

    Example:
        >>> tone = torch.sin(0.3 * torch.arange(4096.0))[None, None]
        >>> print(f"{STFTLoss()(0.5 * tone, tone):.3f}")
        0.817

    Source: Yamamoto, Song and Kim, Probability density distillation with GANs, INTERSPEECH 2019.
    """

    fb: Tensor

    def __init__(
        self,
        fft_size: int = 1024,
        hop_size: int = 256,
        win_length: int = 1024,
        window: Window = "hann_window",
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        w_phs: float = 0.0,
        sample_rate: float | None = None,
        scale: str | None = None,
        n_bins: int | None = None,
        perceptual_weighting: bool = False,
        scale_invariance: bool = False,
        eps: float = 1e-8,
        output: str = "loss",
        reduction: str = "mean",
        mag_distance: str = "L1",
        device: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        _check_sizes(fft_size, hop_size, win_length)
        number(not_negative, "eps", eps)
        if sample_rate is not None:
            number(positive, "sample_rate", sample_rate, "Hz")
        self.fft_size, self.hop_size, self.win_length = fft_size, hop_size, win_length
        self.window = _make_window(window, win_length)
        self.w_sc, self.w_log_mag, self.w_lin_mag, self.w_phs = w_sc, w_log_mag, w_lin_mag, w_phs
        self.sample_rate, self.scale, self.n_bins = sample_rate, scale, n_bins
        self.perceptual_weighting, self.scale_invariance = perceptual_weighting, scale_invariance
        self.eps = eps
        choice("mag_distance", mag_distance, "L1", "L2")
        self.output = choice("output", output, "loss", "full")
        self.reduction, self.mag_distance = check_reduction(reduction), mag_distance
        self.device = device
        self.phs_used = bool(w_phs)
        common: dict[str, Any] = {"distance": mag_distance, "reduction": reduction}
        self.spectralconv = SpectralConvergenceLoss()
        self.logstft = STFTMagnitudeLoss(log=True, **common, **kwargs)
        self.linstft = STFTMagnitudeLoss(log=False, **common, **kwargs)
        if scale is not None:
            bank = _make_bank(scale, sample_rate, fft_size, n_bins)
            self.register_buffer("fb", bank if device is None else bank.to(device))
        if perceptual_weighting:
            if sample_rate is None:
                raise ConfigurationError("perceptual_weighting needs the sample_rate of signals")
            self.prefilter = FIRFilter(filter_type="aw", fs=sample_rate)

    def stft(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Magnitudes, and phases if they have a weight.

        Args:
            x: Signals, shape (batch, T).

        Returns:
            Tensors of shape (batch, fft_size // 2 + 1, frames); None for phases without weight.

        Raises:
            InputError: If the signals are too short.
        """
        check_signals(x)
        x = x.to(working_dtype(x))
        if x.shape[-1] <= self.fft_size // 2:
            message = (
                f"signals of {x.shape[-1]} samples are too short for an FFT of {self.fft_size}: "
                f"more than {self.fft_size // 2} are needed"
            )
            raise refusal(InputError, RuntimeError, message)
        # windows of SciPy are in double precision, and what auraloss makes with them too
        dtype = self.window.dtype if has_float64(x) else x.dtype
        if self.window.device != x.device:
            self.window = self.window.to(x.device, dtype)
        x = x.to(torch.promote_types(x.dtype, dtype))
        window = self.window.to(x.dtype)
        with without_autocast(x.device.type):
            if not self.phs_used:
                half = self.fft_size // 2
                padded = pad(x, (half, half), mode="reflect")
                frames = Frames(self.fft_size, self.hop_size, self.win_length)
                return magnitudes(padded, window, frames).clamp_min(self.eps**0.5), None
            # in the very steps of torch: where a bin is real, its phase hangs on rounding errors
            sizes = self.fft_size, self.hop_size, self.win_length
            bins = torch.stft(x, *sizes, window, return_complex=True)
            power = bins.real.square() + bins.imag.square()
            size = power.clamp_min(self.eps or torch.finfo(power.dtype).tiny).sqrt()
            return size, bins.angle()

    def forward(self, input: Tensor, target: Tensor) -> Losses:
        """The loss.

        Args:
            input: Signals of shape (batch, channels, T), T more than half the FFT size.
            target: The same shape, or one whose spectrograms can be broadcast.

        Returns:
            The loss; or the loss, spectral convergence, distances of logarithms and of magnitudes,
            and that of phases, 0.0 for what has no weight. With ``reduction="none"``, distances
            have shape (batch * channels, bands, frames).

        Raises:
            InputError: If signals have another shape or are too short. Errors are also those that
                auraloss raises.
        """
        x, x_phase = self._analysed(input, "input")
        y, y_phase = self._analysed(target, "target")
        check_alike(input, target, x, y)
        if self.scale_invariance:
            dims = (-2, -1)
            level = (x * y).sum(dims, keepdim=True) / y.square().sum(dims, keepdim=True)
            y = y * level
        convergence = self.spectralconv(x, y) if self.w_sc else 0.0
        logarithms = self.logstft(x, y) if self.w_log_mag else 0.0
        linear = self.linstft(x, y) if self.w_lin_mag else 0.0
        phases = 0.0 if x_phase is None or y_phase is None else mse_loss(x_phase, y_phase)
        loss = (
            self.w_sc * convergence
            + self.w_log_mag * logarithms
            + self.w_lin_mag * linear
            + self.w_phs * phases
        )
        loss = reduced(torch.as_tensor(loss), self.reduction)
        if self.output == "full":
            return loss, convergence, logarithms, linear, phases
        return loss

    def _analysed(self, signals: Tensor, name: str) -> tuple[Tensor, Tensor | None]:
        """Magnitudes on the scale, and phases."""
        check_signals(signals, name)
        if signals.ndim != 3:
            shape = tuple(signals.shape)
            raise InputError(f"{name}: expected signals of shape (batch, channels, T), got {shape}")
        rows = signals.reshape(-1, 1, signals.shape[-1])
        if self.perceptual_weighting:
            rows = self.prefilter._filtered(rows)
        values, phases = self.stft(rows.squeeze(1))
        if self.scale is not None:
            if self.fb.device != values.device:
                self.fb = self.fb.to(values.device)
            values = self.fb.to(values.dtype) @ values
        return values, phases


class MelSTFTLoss(STFTLoss):
    """:class:`STFTLoss` on a mel scale.

    Args:
        sample_rate: In Hz.
        fft_size: As in :class:`STFTLoss`, and so on.
        hop_size: In samples. Default 256.
        win_length: In samples. Default 1024.
        window: Default ``"hann_window"``.
        w_sc: Weight of spectral convergence. Default 1.
        w_log_mag: Weight of logarithms. Default 1.
        w_lin_mag: Weight of magnitudes. Default 0.
        w_phs: Weight of phases. Default 0.
        n_mels: Number of bands. Default 128.
        **kwargs: Further arguments of :class:`STFTLoss`.

    Example:
        >>> MelSTFTLoss(44100, n_mels=20).fb.shape
        torch.Size([1, 20, 513])
    """

    def __init__(
        self,
        sample_rate: float,
        fft_size: int = 1024,
        hop_size: int = 256,
        win_length: int = 1024,
        window: Window = "hann_window",
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        w_phs: float = 0.0,
        n_mels: int = 128,
        **kwargs: Any,
    ) -> None:
        weights = w_sc, w_log_mag, w_lin_mag, w_phs
        sizes = fft_size, hop_size, win_length
        super().__init__(*sizes, window, *weights, sample_rate, "mel", n_mels, **kwargs)


class ChromaSTFTLoss(STFTLoss):
    """:class:`STFTLoss` on a chroma scale.

    Args:
        sample_rate: In Hz.
        fft_size: As in :class:`STFTLoss`, and so on.
        hop_size: In samples. Default 256.
        win_length: In samples. Default 1024.
        window: Default ``"hann_window"``.
        w_sc: Weight of spectral convergence. Default 1.
        w_log_mag: Weight of logarithms. Default 1.
        w_lin_mag: Weight of magnitudes. Default 0.
        w_phs: Weight of phases. Default 0.
        n_chroma: Number of pitch classes. Default 12.
        **kwargs: Further arguments of :class:`STFTLoss`.

    Example:
        >>> ChromaSTFTLoss(44100).fb.shape
        torch.Size([1, 12, 513])
    """

    def __init__(
        self,
        sample_rate: float,
        fft_size: int = 1024,
        hop_size: int = 256,
        win_length: int = 1024,
        window: Window = "hann_window",
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        w_phs: float = 0.0,
        n_chroma: int = 12,
        **kwargs: Any,
    ) -> None:
        weights = w_sc, w_log_mag, w_lin_mag, w_phs
        sizes = fft_size, hop_size, win_length
        super().__init__(*sizes, window, *weights, sample_rate, "chroma", n_chroma, **kwargs)


class MultiResolutionSTFTLoss(nn.Module):
    """Mean of :class:`STFTLoss` over several resolutions.

    Args:
        fft_sizes: In samples. Default 1024, 2048 and 512.
        hop_sizes: In samples. Default 120, 240 and 50.
        win_lengths: In samples. Default 600, 1200 and 240.
        window: As in :class:`STFTLoss`, and so on.
        w_sc: Weight of spectral convergence. Default 1.
        w_log_mag: Weight of logarithms. Default 1.
        w_lin_mag: Weight of magnitudes. Default 0.
        w_phs: Weight of phases. Default 0.
        sample_rate: In Hz.
        scale: None, ``"mel"`` or ``"chroma"``.
        n_bins: Number of bands of the scale.
        perceptual_weighting: Whether to filter signals by an A-weighting.
        scale_invariance: Whether to scale targets.
        **kwargs: Further arguments of :class:`STFTLoss`.

    Raises:
        ConfigurationError: If the lists differ in length, or :class:`STFTLoss` refuses a setting.

    Example:
        >>> tone = torch.sin(0.3 * torch.arange(4096.0))[None, None]
        >>> print(f"{MultiResolutionSTFTLoss()(0.5 * tone, tone):.3f}")
        0.852

    Source: Yamamoto, Song and Kim, Parallel WaveGAN, ICASSP 2020.
    """

    def __init__(
        self,
        # lists, as code that looks at the signature expects; nothing changes them
        fft_sizes: Sequence[int] = [1024, 2048, 512],
        hop_sizes: Sequence[int] = [120, 240, 50],
        win_lengths: Sequence[int] = [600, 1200, 240],
        window: Window = "hann_window",
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        w_phs: float = 0.0,
        sample_rate: float | None = None,
        scale: str | None = None,
        n_bins: int | None = None,
        perceptual_weighting: bool = False,
        scale_invariance: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if not len(fft_sizes) == len(hop_sizes) == len(win_lengths) > 0:
            message = (
                "fft_sizes, hop_sizes and win_lengths need one entry per resolution, got "
                f"{len(fft_sizes)}, {len(hop_sizes)} and {len(win_lengths)}"
            )
            raise refusal(ConfigurationError, AssertionError, message)
        self.fft_sizes = list(fft_sizes)
        self.hop_sizes, self.win_lengths = list(hop_sizes), list(win_lengths)
        common: tuple[Any, ...] = (
            *(window, w_sc, w_log_mag, w_lin_mag, w_phs, sample_rate, scale, n_bins),
            *(perceptual_weighting, scale_invariance),
        )
        self.stft_losses = nn.ModuleList(
            STFTLoss(*sizes, *common, **kwargs)
            for sizes in zip(fft_sizes, hop_sizes, win_lengths, strict=True)
        )

    def forward(self, x: Tensor, y: Tensor) -> Losses:
        """The loss.

        Args:
            x: Inputs of shape (batch, channels, T).
            y: Targets of the same shape.

        Returns:
            The loss; or with ``output="full"`` the loss and, for each term, a list of its values at
            the resolutions.
        """
        found = [loss(x, y) for loss in self.stft_losses]
        if isinstance(found[0], Tensor):
            return _mean(found)
        losses, *terms = zip(*found, strict=True)
        return _mean(losses), *map(list, terms)


class RandomResolutionSTFTLoss(nn.Module):
    """Mean of :class:`STFTLoss` over resolutions that are drawn anew every few calls.

    FFT sizes are powers of two; windows span all, a half or a quarter of the FFT. Draws come from
    numpy's global generator, as auraloss's do, so that ``numpy.random.seed`` gives the same.
    :func:`~multipath.applications.losses.random_resolutions.mss_random` draws from a generator of
    its own, and not in evaluation.

    Args:
        resolutions: How many there are at a time. Default 3.
        min_fft_size: Smallest FFT size, from which powers of two go up. Default 16.
        max_fft_size: What FFT sizes are below. Default 32768.
        min_hop_size: Smallest hop, as a fraction of the FFT size; at least a sample. Default 0.1.
        max_hop_size: Largest hop, likewise. Default 1.
        windows: Names of windows to draw from.
        w_sc: Weight of spectral convergence. Default 1.
        w_log_mag: Weight of logarithms. Default 1.
        w_lin_mag: Weight of magnitudes. Default 0.
        w_phs: Weight of phases. Default 0.
        sample_rate: In Hz.
        scale: None, ``"mel"`` or ``"chroma"``.
        n_mels: Number of bands of the scale.
        randomize_rate: Calls between two draws. Default 1.
        **kwargs: Accepted without effect, as by auraloss; the log says so.

    Attributes:
        stft_losses: Those drawn last.
        nforwards: Calls so far.

    Raises:
        ConfigurationError: If a range is empty, there is no such window, or :class:`STFTLoss`
            refuses a setting.

    Example:
        >>> loss = RandomResolutionSTFTLoss(max_fft_size=512)
        >>> tone = torch.sin(0.3 * torch.arange(1024.0))[None, None]
        >>> bool(loss(0.5 * tone, tone) > 0)
        True

    Source: Steinmetz and Reiss, auraloss, DMRN+15, 2020.
    """

    def __init__(
        self,
        resolutions: int = 3,
        min_fft_size: int = 16,
        max_fft_size: int = 32768,
        min_hop_size: float = 0.1,
        max_hop_size: float = 1.0,
        windows: Sequence[str] = [
            "hann_window",
            "bartlett_window",
            "blackman_window",
            "hamming_window",
            "kaiser_window",
        ],
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        w_phs: float = 0.0,
        sample_rate: float | None = None,
        scale: str | None = None,
        n_mels: int | None = None,
        randomize_rate: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if kwargs:
            logger.warning(
                "RandomResolutionSTFTLoss takes %s without effect, as auraloss does",
                ", ".join(kwargs),
            )
        self.resolutions = count("resolutions", resolutions)
        number(positive, "min_fft_size", min_fft_size)
        number(positive, "max_fft_size", max_fft_size)
        low, high = (int(power) for power in np.log2([float(min_fft_size), float(max_fft_size)]))
        if not (min_fft_size >= 1 and low < high):
            raise ConfigurationError(
                "FFT sizes are powers of two from min_fft_size on and below max_fft_size, and "
                f"there is none from {min_fft_size} to {max_fft_size}"
            )
        self.min_fft_size, self.max_fft_size = min_fft_size, max_fft_size
        number(positive, "min_hop_size", min_hop_size)
        number(positive, "max_hop_size", max_hop_size)
        self.min_hop_size, self.max_hop_size = min_hop_size, max_hop_size
        self.windows = several("windows", windows)
        if not (self.windows and all(isinstance(window, str) for window in self.windows)):
            raise ConfigurationError(f"windows must be names of windows, got {windows!r}")
        for window in self.windows:
            _make_window(window, 8)
        self.randomize_rate = count("randomize_rate", randomize_rate)
        self.w_sc, self.w_log_mag, self.w_lin_mag, self.w_phs = w_sc, w_log_mag, w_lin_mag, w_phs
        self.sample_rate, self.scale, self.n_mels = sample_rate, scale, n_mels
        self.nforwards = 0
        self.randomize_losses()

    def randomize_losses(self) -> None:
        """Draw other resolutions."""
        weights = self.w_sc, self.w_log_mag, self.w_lin_mag, self.w_phs
        scale = self.sample_rate, self.scale, self.n_mels
        self.stft_losses = nn.ModuleList(
            STFTLoss(*self._draw(), *weights, *scale) for _ in range(self.resolutions)
        )

    def _draw(self) -> tuple[int, int, int, str]:
        """FFT size, hop, window length and window, in the order in which auraloss draws them."""
        chance = np.random  # the global generator on purpose: users seed it
        low, high = np.log2([float(self.min_fft_size), float(self.max_fft_size)])
        fft = 2 ** int(chance.randint(low, high))
        spread = self.max_hop_size - self.min_hop_size
        hop = int(fft * (self.min_hop_size + chance.rand() * spread))
        win = int(fft * chance.choice([1.0, 0.5, 0.25]))
        return fft, max(1, hop), max(1, win), str(chance.choice(self.windows))

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss, at other resolutions than before if it is time for that.

        Args:
            input: Signals of shape (batch, channels, T), T above the largest FFT size.
            target: The same shape.

        Raises:
            InputError: If signals are too short.
        """
        for name, signals in (("input", input), ("target", target)):
            check_signals(signals, name)
            if signals.shape[-1] <= self.max_fft_size:
                raise InputError(
                    f"{name}: signals must be longer than max_fft_size={self.max_fft_size}, got "
                    f"{signals.shape[-1]} samples"
                )
        if self.nforwards % self.randomize_rate == 0:
            self.randomize_losses()
        self.nforwards += 1
        return _mean([loss(input, target) for loss in self.stft_losses])


class SumAndDifferenceSTFTLoss(nn.Module):
    """:class:`MultiResolutionSTFTLoss` of the sum and of the difference of two channels.

    Args:
        fft_sizes: In samples.
        hop_sizes: In samples.
        win_lengths: In samples.
        window: As in :class:`STFTLoss`.
        w_sum: Weight of the sum. Default 1.
        w_diff: Weight of the difference. Default 1.
        output: ``"loss"``, or ``"full"`` for the loss and those of the sum and of the difference.
        **kwargs: Further arguments of :class:`MultiResolutionSTFTLoss`; or ``mel_stft=True`` and
            ``n_mel_bins`` (default 128) for a mel scale.

    Raises:
        ConfigurationError: If a setting is out of range.

    Example:
        >>> loss = SumAndDifferenceSTFTLoss([256, 64], [64, 16], [256, 64])
        >>> x = torch.sin(0.3 * torch.arange(2048.0)).reshape(1, 2, 1024)
        >>> print(f"{loss(0.5 * x, x):.3f}")
        0.966

    Source: Steinmetz et al., Automatic multitrack mixing with a differentiable mixing console,
    ICASSP 2021.
    """

    def __init__(
        self,
        fft_sizes: Sequence[int],
        hop_sizes: Sequence[int],
        win_lengths: Sequence[int],
        window: Window = "hann_window",
        w_sum: float = 1.0,
        w_diff: float = 1.0,
        output: str = "loss",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.sd = SumAndDifference()
        self.w_sum, self.w_diff = w_sum, w_diff
        self.output = choice("output", output, "loss", "full")
        n_mel_bins = kwargs.pop("n_mel_bins", 128)
        if kwargs.pop("mel_stft", False):
            kwargs = {"scale": "mel", "n_bins": n_mel_bins, **kwargs}
        self.mrstft = MultiResolutionSTFTLoss(fft_sizes, hop_sizes, win_lengths, window, **kwargs)

    def forward(self, input: Tensor, target: Tensor) -> Losses:
        """The loss.

        Args:
            input: Signals of shape (batch, 2, T).
            target: The same shape.

        Raises:
            InputError: If shapes differ or there are not two channels.
        """
        check_signals(input, "input")
        check_signals(target, "target")
        if input.shape != target.shape:
            message = (
                "input and target must have the same shape, got "
                f"{tuple(input.shape)} and {tuple(target.shape)}"
            )
            raise refusal(InputError, AssertionError, message)
        pairs = zip(self.sd(input), self.sd(target), strict=True)
        total, difference = (self.mrstft(x, y) for x, y in pairs)
        loss: Tensor = (self.w_sum * total + self.w_diff * difference) / 2
        return (loss, total, difference) if self.output == "full" else loss


def _mean(losses: Sequence[Tensor]) -> Tensor:
    """Mean of losses of one shape."""
    total = losses[0]
    for loss in losses[1:]:
        if loss.shape != total.shape:
            message = (
                f"losses of shapes {tuple(total.shape)} and {tuple(loss.shape)} have no mean; "
                'reduction="none" needs resolutions of one shape'
            )
            raise refusal(InputError, RuntimeError, message)
        total = total + loss
    return total / len(losses)


def _check_sizes(fft: Any, hop: Any, win: Any) -> None:
    for name, size in (("fft_size", fft), ("hop_size", hop), ("win_length", win)):
        if not isinstance(size, Integral):
            message = f"{name} must be a whole number, got {described(size)}"
            raise refusal(ConfigurationError, TypeError, message)
    if not (1 <= win <= fft and hop >= 1):
        message = (
            "a resolution needs 1 <= win_length <= fft_size and hop_size >= 1, got "
            f"fft_size={fft}, hop_size={hop}, win_length={win}"
        )
        raise refusal(ConfigurationError, RuntimeError, message)
    affordable("samples of a window", fft)


TORCH_WINDOWS = (
    *(f"{name}_window" for name in ("bartlett", "blackman", "hamming", "hann", "kaiser")),
    "ones",  # SciPy has it too, but in double precision
)


def _make_window(window: Window, length: int) -> Tensor:
    """A window of torch by its name, or one of SciPy."""
    if isinstance(window, str) and window in TORCH_WINDOWS:
        with torch.device("cpu"):
            made: Tensor = getattr(torch, window)(length)
        return made
    return torch.from_numpy(scipy_window(window, length, "a name that torch or"))


def _make_bank(scale: Any, rate: float | None, fft_size: int, n_bins: Any) -> Tensor:
    """Weights of the bins for each band, float32 of shape (1, n_bins, fft_size // 2 + 1)."""
    make = {"mel": mel_bank, "chroma": chroma_bank}[choice("scale", scale, "mel", "chroma")]
    if rate is None:
        raise refusal(ConfigurationError, AssertionError, f'scale="{scale}" needs a sample_rate')
    if not isinstance(n_bins, Integral):
        message = f'scale="{scale}" needs n_bins, a whole number, got {described(n_bins)}'
        raise refusal(ConfigurationError, TypeError, message)
    n_bins = int(n_bins)
    if not 1 <= n_bins <= fft_size:
        message = f"n_bins must lie between 1 and fft_size={fft_size}, got {n_bins}"
        raise refusal(ConfigurationError, AssertionError, message)
    return torch.from_numpy(make(float(rate), fft_size, n_bins)).float().unsqueeze(0)
