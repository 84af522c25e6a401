"""Pages: templates filled with escaped text, what they embed, and numbers as people read them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from multipath._internal.names import visible

from .files import write_text


def render_page(file: Path, template: str, **values: Any) -> Path:
    """Fill one of the package's templates; write the page whole or not at all.

    Text is escaped: what would be markup, and what would not show.
    """
    loader = PackageLoader("multipath.applications", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, finalize=_shown
    )
    environment.filters["number"] = number
    write_text(file, environment.get_template(template).render(**values))
    return file


def embed(kind: str, content: bytes) -> str:
    """An address that holds its content, so that a page needs no file beside it.

    Args:
        kind: The media type, such as ``"image/png"``.
        content: What is to be there.

    Example:
        >>> embed("text/plain", b"hello")
        'data:text/plain;base64,aGVsbG8='
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def embed_files(folder: Path) -> dict[str, str]:
    """Embed the tables and the settings of a run for download, by the names of their files.

    Args:
        folder: That of the run.
    """
    files = [folder / name for name in ("metrics.csv", "draws.csv", "config.json")]
    return {file.name: embed("text/plain", file.read_bytes()) for file in files if file.is_file()}


def _shown(value: Any) -> Any:
    """Names as they can be read; markup was made here, and JSON has escapes of its own."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def number(value: float) -> str:
    """Write a number with three digits, or all of those before the point.

    Example:
        >>> number(0.012345), number(12345.6)
        ('0.0123', '12346')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
