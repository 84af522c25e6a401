"""Pages: templates filled with escaped text, and numbers as people read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from .files import write_text


def render_page(file: Path, template: str, **values: Any) -> Path:
    """Fill one of the package's templates, escaping text; write the page whole or not at all."""
    loader = PackageLoader("multipath.applications", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters["number"] = number
    write_text(file, environment.get_template(template).render(**values))
    return file


def number(value: float) -> str:
    """Write a number with three digits, or all of those before the point.

    Example:
        >>> number(0.012345), number(12345.6)
        ('0.0123', '12346')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
