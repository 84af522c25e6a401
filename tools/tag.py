"""Check a tag before it is released: ``python -m tools.tag v1.2.3``.

The version of the package, the citation and the changelog have to say the same.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAID = {  # where a version or its date is written down
    "multipath/__init__.py": r'^__version__ = "(?P<version>.+)"$',
    "CITATION.cff": r"^version: (?P<version>.+)\n(?:.*\n)*?date-released: (?P<date>.+)$",
    "CHANGELOG.md": r"^## \[(?P<version>\d.*)\] - (?P<date>.+)$",
}


def objections(tag: str, root: Path = ROOT) -> list[str]:
    """What speaks against releasing the files of a folder under a tag, a line each.

    Args:
        tag: The letter v and the version.
        root: The folder.
    """
    found, dates = [], {}
    for file, pattern in SAID.items():
        said = re.search(pattern, (root / file).read_text(encoding="utf-8"), re.MULTILINE)
        if said is None:
            found.append(f"{file} names no version")
            continue
        if f"v{said['version']}" != tag:
            found.append(f"{file} has version {said['version']}, and the tag is {tag}")
        if "date" in said.groupdict():
            dates[file] = said["date"]
    if len(set(dates.values())) > 1:
        found.append(" but ".join(f"{file} says {date}" for file, date in dates.items()))
    return found


if __name__ == "__main__":
    if lines := objections(*sys.argv[1:]):
        raise SystemExit("\n".join(lines))
    print(f"{sys.argv[1]} is the version of the package, of its citation and of its changelog")
