"""The generator scripts import packages that the tests must not depend on."""

from pathlib import Path

collect_ignore = [file.name for file in Path(__file__).parent.glob("make_*.py")]
