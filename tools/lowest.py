"""Print the lowest versions that ``pyproject.toml`` allows, as constraints for pip.

``make lowest`` installs them. The group ``docs`` is left out: the documentation is built with the
versions of ``constraints.txt`` alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BOUND = re.compile(r"([\w.-]+)>=([\d.]+)")


def lowest(content: Mapping[str, Any]) -> dict[str, str]:
    """The lowest version of each package, by name.

    Args:
        content: That of ``pyproject.toml``.

    Raises:
        ValueError: If a requirement has no lower bound, or two have different ones.
    """
    project = content["project"]
    extras = project["optional-dependencies"].values()
    versions: dict[str, str] = {}
    development = content["dependency-groups"]["dev"]
    for requirement in chain(project["dependencies"], *extras, development):
        bound = BOUND.match(requirement)
        if not bound:
            raise ValueError(f"{requirement!r} needs a lower bound, NAME>=VERSION")
        name, version = bound.groups()
        if versions.setdefault(name, version) != version:
            raise ValueError(f"{name} has two lower bounds, {versions[name]} and {version}")
    return versions


if __name__ == "__main__":
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package, version in lowest(tomllib.loads(text)).items():
        print(f"{package}=={version}")
