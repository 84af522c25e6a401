"""Scattering of tensors with kymatio's constructors and outputs."""

from __future__ import annotations

from ._frontends import TorchFrontend
from ._images import Scattering2DBase
from ._not_offered import HarmonicScattering3D
from ._time import Scattering1DBase
from ._time_frequency import TimeFrequencyBase

__all__ = ["HarmonicScattering3D", "Scattering1D", "Scattering2D", "TimeFrequencyScattering"]


class Scattering1D(Scattering1DBase, TorchFrontend):
    r"""``kymatio.torch.Scattering1D``, computed by :class:`multipath.transforms.Scattering1D`.

    Args:
        J: Octaves of the filter banks.
        shape: Length of the signals, a number or a tuple of one.
        Q: Wavelets per octave, (Q1, Q2) or Q1, which Q2 = 1 goes with.
        T: Averaging window in samples, 2^J by default; 0 for no averaging, which needs
            ``out_type="dict"`` or ``"list"``; ``"global"`` for the sum over the padded signal.
        stride: Samples between coefficients, a power of two.
        max_order: The highest order, 1 or 2; may be changed later.
        oversampling: Halve the stride so many times. Deprecated, as in kymatio.
        out_type: ``"array"``, (..., paths, time); ``"dict"`` of (..., time) by the indices of the
            wavelets; ``"list"`` of dictionaries with ``coef``, ``j``, ``n`` and ``order``; may be
            changed later.
        backend: ``"torch"``, or an object of that name; it makes no difference.
        version: Which kymatio the values are those of. In ``"0.3"``, coefficients of coarse
            wavelets are smaller by powers of two: :math:`2^{-j_1}` in the first and
            :math:`2^{-(j_1 + j_2)}` in the second order, with j at most the logarithm of T (not
            averaged: 1 and :math:`2^{-j_1}`).
        average: With ``version="0.3"`` also False for ``T=0``, as that release takes it.

    Attributes:
        J, Q, T, shape, log2_T, stride, average: Settings, as kymatio has them.
        psi1_f, psi2_f, phi_f: Filters, dictionaries of ``xi``, ``sigma``, ``j`` and ``levels``.
        pad_left, pad_right, ind_start, ind_end: How signals are padded, and cut by rate.

    Raises:
        ConfigurationError: If a setting is out of range. Errors are also those of kymatio: a
            ``ValueError``, or an ``ImportError`` for an unknown backend.

    Example:
        >>> import torch
        >>> scattering = Scattering1D(J=6, shape=1024, Q=8)
        >>> scattering(torch.randn(2, 1024)).shape
        torch.Size([2, 126, 16])
    """


class TimeFrequencyScattering(TimeFrequencyBase, TorchFrontend):
    r"""``kymatio.torch.TimeFrequencyScattering``, computed by :class:`multipath.transforms.JTFS`.

    Args:
        J: Octaves of the temporal filter banks.
        J_fr: Octaves of the filter bank over log-frequency.
        Q: Wavelets per octave over time, (Q1, Q2) or Q1, which Q2 = 1 goes with.
        shape: Length of the signals, a number or a tuple of one.
        T: Averaging window in samples, 2^J by default, 0 for none or ``"global"`` for sums.
        stride: Samples between coefficients, a power of two.
        Q_fr: Wavelets per octave over log-frequency.
        F: Averaging window in first-order wavelets, 2^J_fr by default, 0 or ``"global"``.
        stride_fr: Wavelets between rows, a power of two.
        out_type: ``"array"``, ``"dict"`` or ``"list"``, as for :class:`Scattering1D`.
        format: ``"time"``, in which each row over log-frequency is a path of its own, (..., paths,
            time), or ``"joint"``, (..., paths, log-frequency, time) without order 0.
        backend: ``"torch"``, or an object of that name.

    Attributes:
        J, Q, T, shape, log2_T, stride, average, J_fr, Q_fr, F, log2_F, stride_fr, average_fr:
            Settings.
        psi1_f, psi2_f, phi_f, filters_fr: Filters.

    Raises:
        ConfigurationError: If a setting is out of range.

    Example:
        >>> import torch
        >>> scattering = TimeFrequencyScattering(J=6, J_fr=2, Q=4, shape=1024, format="joint")
        >>> scattering(torch.randn(2, 1024)).shape
        torch.Size([2, 32, 15, 16])
    """


class Scattering2D(Scattering2DBase, TorchFrontend):
    r"""``kymatio.torch.Scattering2D``, computed by :class:`multipath.transforms.Scattering2D`.

    Args:
        J: Octaves of the filter bank.
        shape: (M, N), height and width of the images.
        L: Angles.
        max_order: The highest order, 1 or 2; may be changed later.
        pre_pad: Whether images come with their padding, of the size that ``_M_padded`` and
            ``_N_padded`` say, and are treated as periodic.
        backend: ``"torch"``, or an object of that name.
        out_type: ``"array"``, (..., paths, M / 2^J, N / 2^J), or ``"list"`` of dictionaries with
            ``coef``, ``j``, ``n`` and ``theta``; may be changed later.

    Attributes:
        J, L, shape, M, N, pre_pad: Settings; (M, N) is the shape.
        psi, phi: Filters, dictionaries of ``j`` and ``levels``, which are NumPy arrays.

    Raises:
        ConfigurationError: If a setting is out of range; also a ``RuntimeError``.

    Example:
        >>> import torch
        >>> Scattering2D(J=2, shape=(32, 32))(torch.randn(5, 3, 32, 32)).shape
        torch.Size([5, 3, 81, 8, 8])
    """
