"""Tables, as aligned text and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TypeVar

T = TypeVar("T")

MOST_ROWS = 20
"""Longer tables are shown in notebooks without their middle."""


def aligned(rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """Lay out a table with all columns right-aligned but one.

    Args:
        rows: The cells of each row, the heading first.
        left: Which column to align to the left.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def ends(items: Sequence[T]) -> tuple[list[T], int]:
    """The first and the last items of a long sequence, and how many are between them.

    Example:
        >>> items, omitted = ends(range(1000))
        >>> items[8:12], omitted
        ([8, 9, 990, 991], 980)
    """
    omitted = len(items) - MOST_ROWS
    if omitted <= 0:
        return list(items), 0
    half = MOST_ROWS // 2
    return [*items[:half], *items[-half:]], omitted


def html_table(rows: Sequence[Sequence[str]], caption: str = "", omitted: int = 0) -> str:
    """Lay out a table for a notebook.

    Args:
        rows: The cells of each row, the heading first.
        caption: What stands above it.
        omitted: How many rows are missing in its middle.
    """
    head, *body = rows
    lines = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in body]
    if omitted:
        gap = f'<tr><td colspan="{len(head)}">… {omitted} more …</td></tr>'
        lines.insert(len(lines) // 2, gap)
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    body_rows = "".join(lines)
    return f"<table>{above}<thead><tr>{titles}</tr></thead><tbody>{body_rows}</tbody></table>"
