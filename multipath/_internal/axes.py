"""The look that all plots share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT = "#333333", "#9a9a9a"


def tidy(axes: Axes) -> None:
    """Leave few lines on the axes, all of them faint."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)


def legend(axes: Axes, **options: Any) -> None:
    """Add a legend of names as they are: a folder called ``$a$`` is no formula."""
    for text in axes.legend(frameon=False, **options).get_texts():
        text.set_parse_math(False)
