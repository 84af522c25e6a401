"""The recipes import packages that the tests must not depend on: pytest leaves them alone."""

from pathlib import Path

collect_ignore = [file.name for file in Path(__file__).parent.glob("make_*.py")]
