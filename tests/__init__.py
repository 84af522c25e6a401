"""The tests mirror the package; `project/` holds those of the repository around it."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
RECORDINGS = ROOT.parent / "shared" / "data" / "tr808"
"""Real drums; tests that want them are skipped where they are not."""
