"""The look that all plots share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .names import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT = "#333333", "#9a9a9a"
LONGEST = 64
"""Characters of a name in a plot."""


def tidy(axes: Axes) -> None:
    """Leave few lines on the axes, all of them faint."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)


def plain(name: object, longest: int = LONGEST) -> str:
    r"""A name as a plot has to be given it, to be shown as it is.

    Otherwise ``$`` would begin a formula, and a label with a leading ``_`` would be left out.

    Args:
        name: The name.
        longest: Of names with more characters the middle is left out.

    Example:
        >>> plain("$x$"), plain("_a"), plain(100 * "ab")
        ('\\$x\\$', ' _a', 'abab...ab…ab...abab')
    """
    shown = visible(name)
    if len(shown) > longest:
        shown = f"{shown[: longest // 2]}…{shown[-(longest // 2) :]}"
    return (" " if shown.startswith("_") else "") + shown.replace("$", r"\$")
