"""One number per path as a plot: losses, probabilities, counts of draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from multipath._internal.bookkeeping import bookkept
from multipath._internal.extras import extra
from multipath.errors import InputError
from multipath.paths import PathTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_path_values(
    paths: PathTable, values: Sequence[float] | Tensor, quantity: str = "loss", title: str = ""
) -> Figure:
    """Plot one number per path, laid out by what describes the paths. Needs matplotlib.

    - Paths with a ``rate`` and a ``scale`` (joint time-frequency scattering): the plane of rate
      (Hz) and signed scale (cycles/octave), rising patterns above zero and falling ones below.
    - Paths with an ``order``, a ``frequency`` and a ``rate`` (scattering over time): the first
      order over frequency (Hz), and the second over the plane of frequency and rate (Hz).
    - Other paths: one bar per path.

    Args:
        paths: The paths.
        values: One number per path, not negative; a tensor may be on any device.
        quantity: What the values are, for the labels.
        title: The title of the figure.

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        InputError: If there are not as many values as paths.

    Example:
        >>> from multipath import TransformLoss
        >>> from multipath.transforms import MultiResolutionSTFT
        >>> loss = TransformLoss(MultiResolutionSTFT([64, 128]))
        >>> figure = plot_path_values(loss.paths, [0.5, 2.0], title="two resolutions")
        >>> [float(bar.get_height()) for bar in figure.axes[0].patches]
        [0.5, 2.0]
    """
    array = bookkept(values).numpy()
    if array.shape != (len(paths),):
        raise InputError(f"expected a value for each of the {len(paths)} paths, got {array.shape}")
    with extra():
        from multipath._plots.path_values import plot_values
    return plot_values(paths, array, quantity, title)
