"""Figures that a notebook shows where they end a cell, whether or not pyplot was imported."""

from __future__ import annotations

import io

from matplotlib import figure


class Figure(figure.Figure):
    """A figure that draws itself for notebooks; matplotlib's own only does once pyplot is there."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=90)
        return buffer.getvalue()
